//! The load: clients that send orders to the gateway, at a bounded rate.
//!
//! A client sends one request at a time. Requests are due at fixed distances; when all clients
//! are busy, those that are due are sent later, and not all at once.

use super::call::{Bare, Caller, bare};
use super::entrance::BUDGET;
use super::failure::Failure;
use super::faults::{self, Fault, Schedule, noise};
use super::photos::Photos;
use super::shop::{Order, Shop};
use super::store::ITEMS;
use super::tally::{Samples, Tally, lock};
use super::telemetry::CLIENTS;
use super::topology::Service;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use ripcord::{Ctx, CtxExt, JoinHandle, Phase};
use ripcord_http::ClientLayer;
use ripcord_propagation::{PeerPolicy, Propagation};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// How a request ended, as its client sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Ok,
    DeadlineExceeded,
    HungUp,
    Refused,
    Failed,
    NoAnswer,
    CutShort,
}

impl Outcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Ok,
        Self::DeadlineExceeded,
        Self::HungUp,
        Self::Refused,
        Self::Failed,
        Self::NoAnswer,
        Self::CutShort,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::HungUp => "hung_up",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NoAnswer => "no_answer",
            Self::CutShort => "cut_short",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Ok => "answered 200",
            Self::DeadlineExceeded => "out of time, answered 504",
            Self::HungUp => "the client hung up",
            Self::Refused => "refused, as the server was draining",
            Self::Failed => "answered with another error, or unreachable",
            Self::NoAnswer => "no answer, although the time was over",
            Self::CutShort => "under way when a second signal came",
        }
    }
}

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// Of the requests that were answered.
    pub(super) latency: Samples,
    pub(super) injected: BTreeMap<Fault, u64>,
    /// The different messages of what failed, and how often.
    pub(super) failures: BTreeMap<String, u64>,
    /// Failures whose message is not kept, because there were too many.
    pub(super) failures_dropped: u64,
}

impl Stats {
    pub(super) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.outcomes.values().sum()
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub(super) fn failed(&mut self, message: String) {
        if self.failures.len() < FAILURES_MAX || self.failures.contains_key(&message) {
            *self.failures.entry(message).or_default() += 1;
        } else {
            self.failures_dropped += 1;
        }
    }
}

#[derive(Debug)]
pub(super) struct Load {
    /// Its drain ends the load; its end also cuts off what is under way.
    pub(super) ctx: Ctx,
    /// The server's root: it drains first.
    server: Ctx,
    pub(super) gateway: SocketAddr,
    has_to_wait: Arc<Notify>,
    pub(super) photos: Arc<Photos>,
    pub(super) tally: Arc<Tally>,
    caller: Caller,
    pub(super) bare: Bare,
    schedule: Schedule,
    seed: u64,
    gap: Duration,
    next: AtomicU64,
    due: Mutex<Instant>,
    pub(super) stats: Mutex<Stats>,
}

impl Load {
    pub(super) fn new(ctx: &Ctx, shop: &Shop, rate: u32, faults: &[Fault]) -> Arc<Self> {
        // A client waits longer than it says, so that "too late" reaches it.
        let told = PeerPolicy::external().with_reserve(SLACK);
        let mut layer = ClientLayer::new(Propagation::default(), told);
        if let Some(observer) = shop.exports.of_client(CLIENTS) {
            layer = layer.observer(observer);
        }
        Arc::new(Self {
            ctx: ctx.clone(),
            server: shop.root.clone(),
            gateway: shop.addresses[Service::Gateway.index()],
            has_to_wait: Arc::clone(&shop.has_to_wait),
            photos: Arc::clone(&shop.photos),
            tally: Arc::clone(&shop.tally),
            // Apart from the services' own: a client that hangs up takes only its own
            // connection with it.
            caller: Caller::new(&layer),
            bare: bare(),
            schedule: Schedule::new(shop.seed, faults),
            seed: shop.seed,
            gap: Duration::from_secs(1) / rate,
            next: AtomicU64::new(0),
            due: Mutex::new(Instant::now()),
            stats: Mutex::default(),
        })
    }

    /// Starts the clients.
    pub(super) fn start(self: &Arc<Self>, clients: u16) -> Vec<JoinHandle<()>> {
        let start = |_| {
            let load = Arc::clone(self);
            self.ctx
                .spawn("client", |ctx| async move { load.client(&ctx).await })
        };
        (0..clients).map(start).collect()
    }

    pub(super) fn stats(&self) -> Stats {
        lock(&self.stats).clone()
    }

    async fn client(&self, ctx: &Ctx) {
        loop {
            let due = self.take_turn();
            let is_over = timeout_at(due, ctx.draining()).await.is_ok();
            if is_over || ctx.phase() != Phase::Live {
                return;
            }
            // Relaxed: a counter.
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            self.send(ctx, index).await;
        }
    }

    /// When the next request is due.
    fn take_turn(&self) -> Instant {
        let mut due = lock(&self.due);
        let turn = (*due).max(Instant::now());
        *due = turn + self.gap;
        turn
    }

    async fn send(&self, ctx: &Ctx, index: u64) {
        let fault = self.schedule.fault(index);
        if let Some(fault) = fault {
            *lock(&self.stats).injected.entry(fault).or_default() += 1;
        }
        let order = Order {
            id: index,
            sku: self.sku(index),
        };
        match fault {
            Some(Fault::UnreadUpload) => self.leave_an_upload(ctx, index).await,
            Some(Fault::WrongClock) => self.send_with_a_wrong_clock(ctx, order).await,
            _ => self.place(ctx, order, fault).await,
        }
    }

    async fn place(&self, ctx: &Ctx, order: Order, fault: Option<Fault>) {
        let budget = fault.and_then(Fault::budget).unwrap_or(BUDGET);
        let limit = ctx.named("client").with_timeout(budget + SLACK);
        let mut headers = HeaderMap::new();
        if let Some(fault) = fault {
            headers.insert(faults::HEADER, HeaderValue::from_static(fault.name()));
        }
        let url = format!("http://{}{}", self.gateway, Service::Gateway.path());
        let start = Instant::now();
        let call = self.caller.post(&limit, "gateway", url, order, headers);
        let answer = if fault == Some(Fault::HangUp) {
            self.unless_patience_ends(call).await
        } else {
            Some(call.await)
        };
        let took = start.elapsed();
        let mut stats = lock(&self.stats);
        let outcome = match answer {
            None => Outcome::HungUp,
            Some(Err(Failure::Cancelled(cancelled))) if cancelled.is_deadline() => {
                Outcome::NoAnswer
            }
            Some(Err(Failure::Cancelled(_))) => Outcome::CutShort,
            // A server that drains accepts no connections.
            Some(Err(Failure::Unreachable { .. })) if self.server.phase() != Phase::Live => {
                Outcome::Refused
            }
            Some(answer) => {
                stats.latency.add(took);
                answered(&mut stats, answer)
            }
        };
        stats.count(outcome);
    }

    /// Drops `call` a moment after a request came to where it has to wait.
    async fn unless_patience_ends<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        let mut has_to_wait = pin!(self.has_to_wait.notified());
        let answer = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => has_to_wait.as_mut().poll(cx).map(|()| None),
        });
        match answer.await {
            Some(answer) => Some(answer),
            None => timeout(PATIENCE, call).await.ok(),
        }
    }

    /// Some items sell better than others, so the cache has something to do.
    fn sku(&self, index: u64) -> u32 {
        let draw = noise(self.seed.wrapping_add(1), index);
        let range = if draw.is_multiple_of(4) { ITEMS } else { 40 };
        let at = (draw >> 8) % u64::from(range);
        1 + u32::try_from(at).unwrap_or_default()
    }
}

pub(super) fn answered(stats: &mut Stats, answer: Result<StatusCode, Failure>) -> Outcome {
    match answer {
        Ok(code) if code.is_success() => Outcome::Ok,
        Ok(StatusCode::GATEWAY_TIMEOUT) => Outcome::DeadlineExceeded,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Outcome::Refused,
        Ok(code) => {
            stats.failed(format!("gateway answered {code}"));
            Outcome::Failed
        }
        Err(failure) => {
            stats.failed(failure.to_string());
            Outcome::Failed
        }
    }
}

/// How much longer than its budget a client waits for the answer.
const SLACK: Duration = Duration::from_secs(1);

/// How long a client goes on waiting before it hangs up.
const PATIENCE: Duration = Duration::from_millis(40);

const FAILURES_MAX: usize = 8;

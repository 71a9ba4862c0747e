//! One load for several callers, which ends when the last of them has gone.
//!
//! A cache that loads each key once, whoever asks. If the load ran under the context of the
//! first caller, the others would lose it when that one hangs up; if it ran under none,
//! nobody could end it. A `Shared` is done when its last member is: each caller joins, and
//! leaves when it has its answer or its own context is done.
//!
//! ```text
//! cargo run -p ripcord-examples --example singleflight
//! ```

#![allow(
    clippy::disallowed_types,
    reason = "an example is outside every loom model"
)]

use ripcord::{Cancelled, Cause, Ctx, CtxExt as _, Member, Shared, sleep};
use ripcord_examples::Log;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long the remote side takes to answer.
const LOAD: Duration = Duration::from_millis(20);

/// The answer, once there is one.
type Answer = watch::Receiver<Option<u32>>;

/// A load that is under way, or was.
struct Flight {
    shared: Shared,
    answer: Answer,
}

#[derive(Clone)]
struct Cache {
    log: Log,
    flights: Arc<Mutex<HashMap<&'static str, Flight>>>,
}

impl Cache {
    /// The value of `key`, loaded at most once for all who ask at the same time.
    async fn get(&self, ctx: &Ctx, key: &'static str) -> Result<u32, Cancelled> {
        // Dropping the member leaves the load: on return, and if this future is dropped.
        let (_member, mut answer) = self.join(ctx, key)?;
        let value = ctx.run(answer.wait_for(Option::is_some)).await?;
        match value.as_deref() {
            Ok(Some(value)) => Ok(*value),
            Ok(None) | Err(_) => Err(Cancelled::new(Cause::custom("the load failed"))),
        }
    }

    /// Joins the load of `key`, and starts it if there is none to join.
    fn join(&self, ctx: &Ctx, key: &'static str) -> Result<(Member, Answer), Cancelled> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key)
            && let Ok(member) = flight.shared.join(ctx)
        {
            return Ok((member, flight.answer.clone()));
        }
        // The caller is done, or the load has ended: what has ended cannot be joined.
        ctx.check()?;
        let shared = Shared::new(ctx);
        let member = shared.join(ctx)?;
        let (tell, answer) = watch::channel(None);
        let log = self.log.clone();
        // The load runs on without its handle; its context ends it.
        drop(shared.ctx().spawn("load", |ctx| load(ctx, log, tell)));
        let flight = Flight {
            shared,
            answer: answer.clone(),
        };
        flights.insert(key, flight);
        Ok((member, answer))
    }
}

/// Asks the remote side, as long as anybody wants to know.
async fn load(ctx: Ctx, log: Log, tell: watch::Sender<Option<u32>>) {
    log.say("load: begins");
    match sleep(&ctx, LOAD).await {
        Ok(()) => {
            log.say("load: has the answer");
            // Nobody may be there any more to take it.
            let _ = tell.send(Some(42));
        }
        Err(end) => log.say(format!("load: ends early, {}", end.cause())),
    }
}

/// A caller in a task of its own, under `ctx`.
fn ask(ctx: &Ctx, cache: &Cache, name: &'static str) -> ripcord::JoinHandle<()> {
    let cache = cache.clone();
    ctx.spawn(name, move |ctx| async move {
        let answer = match cache.get(&ctx, "answer").await {
            Ok(value) => value.to_string(),
            Err(end) => end.kind().to_string(),
        };
        cache.log.say(format!("{name}: {answer}"));
    })
}

/// Three callers of whom one leaves, two who both leave, and one who comes after that.
pub(crate) async fn run() -> Vec<String> {
    let log = Log::new();
    let (server, _guard) = ripcord::root().name("server").build();
    let cache = Cache {
        log: log.clone(),
        flights: Arc::default(),
    };

    let (first, hang_up) = server.child();
    let (second, _second) = server.child();
    let tasks = [
        ask(&first, &cache, "first"),
        ask(&second, &cache, "second"),
        ask(&second, &cache, "third"),
    ];
    tokio::time::sleep(LOAD / 2).await;
    log.say("the first caller hangs up");
    hang_up.cancel("hung up");
    for task in tasks {
        task.await.expect("a caller does not panic");
    }

    let (both, hang_up) = server.child();
    let tasks = [ask(&both, &cache, "fourth"), ask(&both, &cache, "fifth")];
    tokio::time::sleep(LOAD / 2).await;
    log.say("both callers hang up");
    hang_up.cancel("hung up, too");
    for task in tasks {
        task.await.expect("a caller does not panic");
    }

    let late = ask(&second, &cache, "late");
    late.await.expect("a caller does not panic");
    log.events()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run().await;
}

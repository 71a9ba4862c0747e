//! Clients that do more than send an order: one that leaves behind an upload, one whose clock is
//! wrong.

use super::call::post_bare;
use super::entrance::BUDGET;
use super::evidence::Says;
use super::failure::Failure;
use super::gateway;
use super::load::{Load, Outcome, answered};
use super::photos;
use super::shop::Order;
use super::tally::lock;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ripcord::{Ctx, Kind};
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

impl Load {
    /// The fault `unread-upload`: sends a part of a photo, and leaves when its handler waits.
    pub(super) async fn leave_an_upload(&self, ctx: &Ctx, number: u64) {
        let limit = ctx.named("client").with_timeout(BUDGET);
        let ended = limit.run(self.upload(number)).await;
        self.photos.forget(number);
        let outcome = match ended {
            Ok(Ok((left, Some((Kind::PeerGone, at))))) => {
                let took = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(left));
                self.tally.evidence().uploads.noticed.add(took);
                Outcome::HungUp
            }
            Ok(Ok(_)) => {
                self.tally.evidence().uploads.unnoticed += 1;
                Outcome::HungUp
            }
            Ok(Err(error)) => {
                lock(&self.stats).failed(format!("upload: {error}"));
                Outcome::Failed
            }
            Err(cancelled) if cancelled.is_deadline() => Outcome::NoAnswer,
            Err(_) => Outcome::CutShort,
        };
        lock(&self.stats).count(outcome);
    }

    /// When the client left, and what its handler learnt of that.
    async fn upload(&self, number: u64) -> io::Result<(Instant, Option<(Kind, Option<Instant>)>)> {
        let upload = self.photos.announce(number);
        let mut stream = TcpStream::connect(self.gateway).await?;
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: {}\r\n{}: {number}\r\ncontent-length: 1048576\r\n\r\n",
            photos::PATH,
            self.gateway,
            photos::NUMBER,
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&[0; PART]).await?;
        let is_gone = |_| io::Error::other("the handler did not wait");
        upload.waits.await.map_err(is_gone)?;
        let left = self.ctx.clock_now();
        drop(stream);
        let cause = upload.ended.await.map_err(is_gone)?;
        Ok((left, cause.map(|cause| (cause.kind(), cause.at()))))
    }

    /// The fault `wrong-clock`: the same order with a relative deadline, and with the time of its
    /// deadline at both entrances.
    pub(super) async fn send_with_a_wrong_clock(&self, ctx: &Ctx, order: Order) {
        let limit = ctx.named("client").with_timeout(BUDGET * 2);
        let relative = BUDGET.as_millis().to_string();
        let relative = ("x-request-timeout-ms", relative.as_str());
        let absolute = deadline_behind().to_string();
        let absolute = ("x-request-deadline", absolute.as_str());
        for (says, path, header, times) in [
            (Says::Relative, gateway::PATH, relative, 1),
            (Says::Untrusted, gateway::PATH, absolute, 1),
            (Says::Trusted, gateway::PATH_PARTNER, absolute, TRUSTED),
        ] {
            for _ in 0..times {
                let answer = limit.run(self.post_by_hand(path, header, order)).await;
                let outcome = match answer {
                    Ok(answer) => {
                        self.tally.evidence().clocks.count(says, &answer);
                        answered(&mut lock(&self.stats), answer)
                    }
                    Err(cancelled) if cancelled.is_deadline() => Outcome::NoAnswer,
                    Err(_) => Outcome::CutShort,
                };
                lock(&self.stats).count(outcome);
            }
        }
    }

    /// A client without ripcord sends its deadline in a header of its choice.
    async fn post_by_hand(
        &self,
        path: &'static str,
        (name, value): (&'static str, &str),
        order: Order,
    ) -> Result<StatusCode, Failure> {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static(name);
        headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        let url = format!("http://{}{path}", self.gateway);
        post_bare(&self.bare, "gateway", url, order, headers).await
    }
}

/// When its request ends, in Unix milliseconds, as a client says whose clock is [`BEHIND`].
#[expect(
    clippy::disallowed_methods,
    reason = "a clock on the wall is what it is about"
)]
fn deadline_behind() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    (now.saturating_sub(BEHIND) + BUDGET).as_millis()
}

/// How wrong the clock of the fault `wrong-clock` is.
pub(super) const BEHIND: Duration = Duration::from_secs(60);

/// So many of its requests go to where clocks are trusted: at most a fifth of them is refused.
const TRUSTED: u32 = 10;

/// So much of the upload is sent: it fits into the buffers of the system.
const PART: usize = 16 * 1024;

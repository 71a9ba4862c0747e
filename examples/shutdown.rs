//! A shutdown by plan: drain, then cancel, then force.
//!
//! | phase | what it means | who reacts here |
//! |---|---|---|
//! | `Draining` | no new work | the acceptor |
//! | `Cancelled` | work under way should stop | the slow request |
//! | `Forced` | shields hold no longer | the report that is never finished |
//!
//! What has not ended a grace after the cancel is aborted and named, with the place where it
//! waits: the stuck request.
//!
//! ```text
//! cargo run -p ripcord-examples --example shutdown
//! ```

use ripcord::{Cancelled, Cause, Ctx, Grace, Kind, Scope, ScopeError, ShutdownPlan, scope, sleep};
use ripcord_examples::Log;
use std::time::Duration;

/// How long requests may go on after the shutdown has begun.
const DRAIN: Duration = Duration::from_millis(40);
/// How long they may clean up after the cancel.
const GRACE: Duration = Duration::from_millis(40);

/// Takes new work until the server drains.
async fn acceptor(ctx: Ctx, log: Log) -> Result<(), Cancelled> {
    ctx.draining().await;
    log.say(format!("acceptor: closed, phase {:?}", ctx.phase()));
    Ok(())
}

/// A request that takes so long; it stops when its context says so.
async fn request(ctx: Ctx, log: Log, name: &str, takes: Duration) -> Result<(), Cancelled> {
    match sleep(&ctx, takes).await {
        Ok(()) => log.say(format!("{name}: answered, phase {:?}", ctx.phase())),
        Err(end) => log.say(format!("{name}: gave up, {}", end.kind())),
    }
    Ok(())
}

/// Work that goes on after the cancel because it would be worse to leave it half done.
async fn shielded(ctx: Ctx, log: Log, name: &str, takes: Duration) -> Result<(), Cancelled> {
    let shield = ctx.shield(Grace::UNBOUNDED);
    match sleep(&shield, takes).await {
        Ok(()) => log.say(format!("{name}: complete, phase {:?}", ctx.phase())),
        Err(_) => log.say(format!("{name}: lost, phase {:?}", ctx.phase())),
    }
    Ok(())
}

/// Never looks at its context: the sleep of tokio knows none.
async fn stuck() -> Result<(), Cancelled> {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

async fn server(ctx: Ctx, log: Log) -> Result<(), ScopeError<Cancelled>> {
    scope(&ctx, async |s: Scope<Cancelled>| {
        let log = || log.clone();
        let (l1, l2, l3, l4, l5) = (log(), log(), log(), log(), log());
        drop(s.spawn("acceptor", |ctx| acceptor(ctx, l1))?);
        drop(s.spawn("quick", |ctx| request(ctx, l2, "quick", DRAIN / 2))?);
        drop(s.spawn("slow", |ctx| request(ctx, l3, "slow", DRAIN * 10))?);
        drop(s.spawn("commit", |ctx| {
            shielded(ctx, l4, "commit", DRAIN + GRACE / 2)
        })?);
        drop(s.spawn("report", |ctx| shielded(ctx, l5, "report", DRAIN * 10))?);
        drop(s.spawn("stuck", |_| stuck())?);
        Ok(())
    })
    // Longer than the plan's, so that the plan's force comes first.
    .grace(GRACE + GRACE / 2)
    .await
}

/// Starts a server, shuts it down, and returns what happened.
pub(crate) async fn run() -> Vec<String> {
    let log = Log::new();
    let (ctx, guard) = ripcord::root().name("server").build();
    let server = tokio::spawn(server(ctx, log.clone()));
    tokio::task::yield_now().await;

    log.say("shutdown: begins");
    let cause = Cause::new(Kind::Shutdown).with_message("deploy");
    guard.shutdown(ShutdownPlan::new(DRAIN, GRACE).with_cause(cause));
    let ended = server.await.expect("the server does not panic");
    let error = ended.expect_err("one task did not stop");
    for task in error.stragglers() {
        let site = task.stack.as_ref().and_then(|stack| stack.site());
        let place = site.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        log.say(format!("server: aborted `{}`, waits at {place}", task.name));
    }
    log.events()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run().await;
}

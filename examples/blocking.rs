//! Contexts on plain threads: `wait`, `sleep`, `check`, and a closure on tokio's blocking pool.
//!
//! None of the first three parts has a runtime. A thread that sleeps under a context wakes
//! when that is done; one that computes asks from time to time; one that has nothing else to
//! do waits. Nobody can stop a thread from outside: what does not look goes on.
//!
//! ```text
//! cargo run -p ripcord-examples --example blocking
//! ```

use ripcord::{Cancelled, Ctx, CtxExt as _};
use ripcord_examples::Log;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Something that is done every hour, until the context says that it is enough.
fn janitor(ctx: &Ctx, log: &Log, started: &mpsc::Sender<()>) -> Cancelled {
    loop {
        log.say("janitor: swept");
        // Whoever waits for the first round may be gone.
        let _ = started.send(());
        if let Err(end) = ctx.sleep(Duration::from_secs(3600)) {
            return end;
        }
    }
}

/// Adds up numbers, and looks at the context after each block of them.
fn sum(ctx: &Ctx, upto: u64) -> Result<u64, Cancelled> {
    const BLOCK: usize = 4096;
    let mut total = 0_u64;
    for (at, number) in (0..upto).enumerate() {
        if at % BLOCK == 0 {
            ctx.check()?;
        }
        total = total.wrapping_add(number);
    }
    Ok(total)
}

/// Runs each part and returns what happened.
pub(crate) fn run() -> Vec<String> {
    let log = Log::new();
    sleeping(&log);
    computing(&log);
    waiting(&log);
    on_the_pool(&log);
    log.events()
}

/// A sleep of an hour ends at once when somebody cancels.
fn sleeping(log: &Log) {
    let (ctx, guard) = Ctx::background().named("janitor").child();
    let (started, rounds) = mpsc::channel();
    thread::scope(|scope| {
        let janitor = scope.spawn(|| janitor(&ctx, log, &started));
        rounds.recv().expect("the janitor begins with a round");
        guard.cancel("moving out");
        let end = janitor.join().expect("the janitor does not panic");
        log.say(format!("janitor: woken, {:?}", end.cause().message()));
    });
}

/// A loop that checks sees a deadline although no timer runs.
fn computing(log: &Log) {
    let whole = sum(&Ctx::background(), 10_000);
    log.say(format!("sum: {}", whole.expect("never cancelled")));
    let brief = Ctx::background()
        .named("sum")
        .with_timeout(Duration::from_millis(2));
    let end = sum(&brief, u64::MAX).expect_err("2 ms are not enough");
    let owner = end.cause().name().unwrap_or("?");
    log.say(format!("sum: {}, set by `{owner}`", end.kind()));
}

/// A thread that only waits, here for a deadline.
fn waiting(log: &Log) {
    let ctx = Ctx::background().with_timeout(Duration::from_millis(2));
    let early = ctx.wait_timeout(Duration::ZERO);
    log.say(format!(
        "waiter: after no time {:?}",
        early.map(|c| c.kind())
    ));
    let cause = ctx.wait();
    log.say(format!("waiter: {}", cause.kind()));
}

/// The same on tokio's blocking threads: named, joined, and refused if it is too late.
fn on_the_pool(log: &Log) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let (ctx, guard) = ripcord::root().name("pool").build();
        let (started, begun) = tokio::sync::oneshot::channel();
        let task = ctx.spawn_blocking("endless sum", |ctx| {
            // Its receiver waits on the next line but two.
            let _ = started.send(());
            sum(&ctx, u64::MAX)
        });
        begun.await.expect("the closure begins");
        guard.cancel("enough");
        let ended = task.await.expect("the closure does not panic");
        log.say(format!(
            "endless sum: {}",
            ended.expect_err("cancelled").kind()
        ));

        let refused = ctx.spawn_blocking("too late", |_| ()).await;
        let refused = refused.expect_err("the context is done");
        log.say(format!(
            "too late: started = {}",
            refused.not_started().is_none()
        ));
    });
}

fn main() {
    run();
}

//! Four layers of one resource that end together, and are taken down in order.
//!
//! The resource is a cached view of something remote: a **connection** on which changes
//! arrive, a **store** with the latest state, **listeners** that react to it, and a
//! **refresher** that looks for gaps. Each layer uses the one before it, so they have to be
//! taken down from the last to the first, and none may go on alone.
//!
//! One context does both, and the output shows how:
//!
//! 1. *Together.* When the cancel returns, every layer is done, before any of its tasks has
//!    run. No layer passes the news on to the next one.
//! 2. *Hooks*, the immediate part, have run by then, the last registered first. A plain
//!    `cancel` runs a few of them and leaves the rest of a large tree to the sweeper;
//!    `cancel_and_sweep` runs all.
//! 3. *In order.* Scopes are nested as the layers are. The users of the store are joined
//!    before the store is saved, and the store is saved before the connection is closed.
//!    Both still have something to do after the end, so they do it under a shield.
//!
//! ```text
//! cargo run -p ripcord-examples --example layers
//! ```

use ripcord::{Cancelled, Ctx, CtxExt as _, Scope, scope, sleep};
use ripcord_examples::Log;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::{mpsc, watch};

type State = BTreeMap<String, u32>;

/// What every layer is given: where to say what it does, and to whom to show its context.
#[derive(Clone)]
struct Show {
    log: Log,
    layers: mpsc::UnboundedSender<Ctx>,
}

impl Show {
    fn enter(&self, ctx: &Ctx) {
        self.log.say(format!("{}: up", name(ctx)));
        // Nobody is looking any more when the receiver is gone.
        let _ = self.layers.send(ctx.clone());
    }
}

fn name(ctx: &Ctx) -> &str {
    ctx.name().unwrap_or("?")
}

/// Layer 1: reads changes. It is the last to go, and says goodbye.
async fn connection(ctx: Ctx, show: Show, mut remote: DuplexStream) -> Result<(), Cancelled> {
    let ctx = ctx.named("connection");
    show.enter(&ctx);
    let log = show.log.clone();
    let _hook = ctx.on_done(move |_| log.say("hook of the connection: no more requests"));

    store(&ctx, &show, &mut remote).await?;

    // The context is done, so nothing could be sent under it: a second more for this.
    let farewell = ctx.shield(Duration::from_secs(1));
    let told = farewell.run(remote.write_all(b"bye\n")).await?;
    show.log.say(match told {
        Ok(()) => "connection: closed".to_owned(),
        Err(error) => format!("connection: lost, {error}"),
    });
    Ok(())
}

/// Layer 2: holds the state. It goes when nobody uses it any more.
async fn store(ctx: &Ctx, show: &Show, remote: &mut DuplexStream) -> Result<(), Cancelled> {
    let ctx = ctx.named("store");
    show.enter(&ctx);
    let log = show.log.clone();
    let _hook = ctx.on_done(move |_| log.say("hook of the store: no more writes"));

    let state = watch::Sender::new(State::new());
    let users = scope(&ctx, async |users: Scope<Cancelled>| {
        for name in ["listener a", "listener b"] {
            let (show, state) = (show.clone(), state.subscribe());
            drop(users.spawn(name, |ctx| listener(ctx, show, state))?);
        }
        let (show, state_seen) = (show.clone(), state.subscribe());
        drop(users.spawn("refresher", |ctx| refresher(ctx, show, state_seen))?);

        // `next_line` keeps what it has read so far when it is dropped half-way.
        let mut lines = BufReader::new(remote).lines();
        while let Ok(Ok(Some(line))) = ctx.run(lines.next_line()).await {
            apply(&state, &line);
        }
        Ok(())
    });
    if let Err(error) = users.await {
        show.log.say(format!("store: {error}"));
    }

    let disk = ctx.shield(Duration::from_secs(1));
    sleep(&disk, Duration::from_millis(5)).await?;
    let entries = state.borrow().len();
    show.log.say(format!("store: saved, {entries} entries"));
    Ok(())
}

/// Takes over a line like `apples=3`; anything else is no change.
fn apply(state: &watch::Sender<State>, line: &str) {
    let change = line.split_once('=');
    if let Some((key, Ok(value))) = change.map(|(key, value)| (key, value.parse())) {
        state.send_modify(|state| state.extend([(key.to_owned(), value)]));
    }
}

/// Layer 3: reacts to every state until it is told to stop.
async fn listener(
    ctx: Ctx,
    show: Show,
    mut state: watch::Receiver<State>,
) -> Result<(), Cancelled> {
    show.enter(&ctx);
    let end = loop {
        match ctx.run(state.changed()).await {
            Ok(Ok(())) => {
                let sum: u32 = state.borrow_and_update().values().sum();
                show.log
                    .say(format!("{}: {sum} pieces of fruit", name(&ctx)));
            }
            Ok(Err(_)) => unreachable!("the store outlives its users"),
            Err(end) => break end,
        }
    };
    show.log
        .say(format!("{}: down, {}", name(&ctx), end.kind()));
    Ok(())
}

/// Layer 4: looks now and then whether the store still agrees with the remote side.
async fn refresher(ctx: Ctx, show: Show, state: watch::Receiver<State>) -> Result<(), Cancelled> {
    show.enter(&ctx);
    let every = Duration::from_millis(20);
    while sleep(&ctx, every).await.is_ok() {
        let entries = state.borrow().len();
        show.log
            .say(format!("refresher: {entries} entries checked"));
    }
    show.log.say("refresher: down");
    Ok(())
}

/// Brings the resource up, lets it work, ends it with one call, and returns what happened.
pub(crate) async fn run() -> Vec<String> {
    let log = Log::new();
    let (process, _process_guard) = ripcord::root().name("process").build();
    let (ctx, guard) = process.child();
    let (layers, mut shown) = mpsc::unbounded_channel();
    let (mut far_end, near_end) = tokio::io::duplex(256);

    let show = Show {
        log: log.clone(),
        layers,
    };
    let resource = ctx.spawn("resource", |ctx| connection(ctx, show, near_end));
    far_end
        .write_all(b"apples=3\npears=4\n")
        .await
        .expect("the pipe holds 256 bytes");
    tokio::time::sleep(Duration::from_millis(30)).await;

    log.say("cancel: deploy");
    guard.cancel_and_sweep("deploy");
    // No task has run since: on this runtime they do at the next await.
    while let Ok(layer) = shown.try_recv() {
        log.say(format!("{}: is done = {}", name(&layer), layer.is_done()));
    }

    let ended = resource.await.expect("the resource does not panic");
    let mut farewell = String::new();
    let read = far_end.read_to_string(&mut farewell).await;
    log.say(format!(
        "resource: {ended:?}; remote heard {farewell:?} ({read:?})"
    ));
    log.events()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run().await;
}

//! The course of a run: start, load, drain, stop, report.

use super::call::Caller;
use super::entrance;
use super::faults::{Fault, TAG};
use super::journal::Journal;
use super::load::Load;
use super::progress;
use super::recorded;
use super::report::{self, Asked, Facts, Stop};
use super::rpc::RpcCaller;
use super::shop::Shop;
use super::store::Store;
use super::telemetry::Exports;
use super::topology::{SERVE, Service, Topology};
use super::watch::Watch;
use crate::args::{DemoArgs, Format};
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use ripcord::trace::{Recorder, Recording, RecordingError};
use ripcord::{
    BuilderExt as _, CancelGuard, Ctx, Hook, JoinHandle, Kind, Phase, ShutdownPlan, SignalWatch,
    Signals, TaskInfo, inspect_overdue, live_tasks,
};
use ripcord_grpc::GrpcClientLayer;
use ripcord_http::ClientLayer;
use std::error::Error as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// `ripcord demo`.
///
/// # Errors
/// A fault that is excluded, a port that is taken, a demo without a single good answer.
pub(crate) fn run(args: &DemoArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    if args.list_faults {
        printer.result(list());
        return Ok(exit::OK);
    }
    let faults = args.faults()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let recording = record()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The fault `blocked-thread` takes one of them.
        .worker_threads(threads.max(4))
        .enable_all()
        .thread_hooks(&recording.hooks())
        .build()
        .map_err(|error| ExpectedError::demo("start the runtime", error))?;
    let facts = runtime.block_on(async {
        let run = Run::start(args, &faults).await?;
        Ok::<_, ExpectedError>(run.finish(args, &faults, printer).await)
    });
    // Threads that are still blocked are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let mut facts: Facts = facts?;
    if let Some(recorder) = recording.recorder() {
        facts.recorded = recorded::read(recorder, &faults);
    }
    recording
        .finish()
        .map_err(|error| ExpectedError::demo("write its recording", error))?;
    let is_cut_short = facts.stop.is_cut_short;
    let report = report::Report::new(facts);
    match args.format {
        Format::Text => printer.result(report::text(&report, printer.is_styled())),
        Format::Json => printer.result(report::json(&report)?),
    }
    if is_cut_short {
        return Ok(exit::cut_short());
    }
    report.verdict().map(|()| exit::OK)
}

/// The demo records itself; to a file as well, where the environment asks for one.
fn record() -> Result<Recording, ExpectedError> {
    let failed = |error: RecordingError| {
        // Its sources say what is wrong with a setting or a file.
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        ExpectedError::demo("record itself", text)
    };
    let recording = Recording::from_env().map_err(failed)?;
    if recording.recorder().is_some() {
        return Ok(recording);
    }
    let recorder = Recorder::builder().program("ripcord demo");
    Recording::of(recorder.memory(recorded::MEMORY).build()).map_err(failed)
}

/// The faults and what each one is.
fn list() -> String {
    let line = |fault: Fault| format!("{:<16} {}", fault.name(), fault.about());
    let lines: Vec<String> = Fault::ALL.into_iter().map(line).collect();
    lines.join("\n")
}

/// A run that goes on.
struct Run {
    root: Ctx,
    guard: CancelGuard,
    _signals: SignalWatch,
    /// Ends the services behind the gateway together with the root.
    _inside: Hook,
    shop: Arc<Shop>,
    load: Arc<Load>,
    /// The clients' right to go on: its drain ends the load.
    clients: CancelGuard,
    tasks: Vec<JoinHandle<()>>,
    watch: Watch,
    started: Instant,
}

impl Run {
    async fn start(args: &DemoArgs, faults: &[Fault]) -> Result<Self, ExpectedError> {
        let topology = Topology::bind(args.port).await?;
        let (root, guard) = ripcord::root().name("shop").build();
        if faults.contains(&Fault::Signal) {
            root.tag(TAG, Fault::Signal.name());
        }
        let signals = Signals::new(plan()).exit_on_third();
        let signals = signals
            .watch(guard.handle())
            .map_err(|error| ExpectedError::demo("watch for signals", error))?;
        let (inside, inside_guard) = ripcord::root().name("shop behind").build();
        let end_inside = root.on_done(move |cause| {
            inside_guard.cancel(cause.clone());
        });
        let exports = Exports::start(args.otlp.as_deref())?;
        let clients = |service: Service| Clients::of(service, &exports);
        let (gateway, order) = (clients(Service::Gateway), clients(Service::Order));
        let rpc = |of: Service| RpcCaller::new(of, topology.addresses[of.index()], &order.grpc);
        let shop = Arc::new(Shop {
            root: root.clone(),
            inside,
            seed: args.seed,
            addresses: topology.addresses,
            gateway: Caller::new(&gateway.http),
            caller: Caller::new(&order.http),
            inventory: rpc(Service::Inventory),
            risk: rpc(Service::Risk),
            store: Store::open()?,
            cache: Arc::default(),
            tally: Arc::default(),
            journal: Journal::new(&root),
            photos: Arc::default(),
            exports,
            has_to_wait: Arc::default(),
        });
        topology.serve(&shop);
        let (ctx, clients) = ripcord::root().name("load").build();
        let load = Load::new(&ctx, &shop, args.rate, faults);
        Ok(Self {
            root,
            guard,
            _signals: signals,
            _inside: end_inside,
            shop,
            tasks: load.start(args.concurrency),
            load,
            clients,
            watch: Watch::start()?,
            started: Instant::now(),
        })
    }

    async fn finish(mut self, args: &DemoArgs, faults: &[Fault], printer: &Printer) -> Facts {
        let load_time = load_time(&self.root, args.seconds, faults.contains(&Fault::Signal));
        if args.quiet {
            load_time.await;
        } else {
            let gateway = self.shop.addresses[Service::Gateway.index()];
            printer.note(format_args!(
                "gateway on http://{gateway}, six services, one database"
            ));
            let (load, watch) = (&self.load, &self.watch);
            progress::show_until(printer, load, watch, args.seconds, load_time).await;
            printer.progress("load is over · draining");
        }
        let seconds = self.started.elapsed();
        let (stop, left) = self.stop().await;
        let undelivered = self.shop.exports.stop(stop.is_cut_short).await;
        Facts {
            asked: Asked::new(args, faults),
            seconds,
            stop,
            left,
            stats: self.load.stats(),
            store: self.shop.store.counts(),
            cache: self.shop.cache.counts(),
            ended: self.shop.tally.all_ended(),
            tiers: self.shop.tally.all_tiers(),
            stragglers: self.shop.tally.all_stragglers(),
            served: self.shop.tally.all_served(),
            evidence: self.shop.tally.evidence().clone(),
            trips: self.shop.journal.pick(),
            undelivered,
            seen: self.watch.stop(),
            latency: ripcord::latency_report(),
            recorded: Err("it was not read".to_owned()),
        }
    }

    /// Ends load and services in stages: drain, cancel, grace; and who is left then.
    async fn stop(&mut self) -> (Stop, Vec<TaskInfo>) {
        let is_signalled = self.root.phase() != Phase::Live;
        self.clients.drain();
        if !is_signalled {
            self.guard.shutdown(plan());
        }
        let begin = Instant::now();
        // Ends with the last request under way; or when the drain is over, or with a second
        // signal, which both end the root.
        let drained = self.root.run(self.drained()).await.is_ok();
        let drain = begin.elapsed();
        let mut is_cut_short = !drained && drain < DRAIN;
        self.guard.cancel(Kind::Shutdown);
        self.clients.cancel(Kind::Shutdown);
        let begin = Instant::now();
        while !live_tasks().is_empty() {
            is_cut_short |= self.root.phase() == Phase::Forced && begin.elapsed() < GRACE;
            if begin.elapsed() > if is_cut_short { GRACE_CUT } else { GRACE } {
                break;
            }
            sleep(LOOK).await;
        }
        // Who is not gone now is asked where it waits.
        let cleanup = begin.elapsed();
        let left = inspect_overdue(INSPECT).await;
        for task in self.tasks.drain(..) {
            if is_cut_short {
                task.abort();
            }
            // A client that panicked has said so on standard error.
            drop(task.await);
        }
        let stop = Stop {
            is_signalled,
            is_cut_short,
            drain,
            cleanup,
        };
        (stop, left)
    }

    /// Resolves when all that still runs is what accepts connections.
    async fn drained(&self) {
        while live_tasks().iter().any(|task| task.name != SERVE) {
            sleep(LOOK).await;
        }
    }
}

/// What the calls of a service go through.
struct Clients {
    http: ClientLayer,
    grpc: GrpcClientLayer,
}

impl Clients {
    fn of(service: Service, exports: &Exports) -> Self {
        let (believed, told) = (entrance::colleague(), entrance::told_to_colleagues());
        let http = ClientLayer::new(believed.clone(), told.clone());
        let grpc = GrpcClientLayer::new(believed, told);
        match exports.of_client(service.name()) {
            None => Self { http, grpc },
            Some(observer) => Self {
                http: http.observer(Arc::clone(&observer)),
                grpc: grpc.observer(observer),
            },
        }
    }
}

/// Resolves when the load has lasted long enough: its time is up, or the root drains.
async fn load_time(root: &Ctx, seconds: u64, has_signal: bool) {
    let fifth = Duration::from_secs(seconds) / 5;
    if timeout(fifth * 4, root.draining()).await.is_ok() {
        return;
    }
    if has_signal {
        // It arrives at once; should it not, the load ends in time all the same.
        send_sigterm();
    }
    let _ = timeout(fifth, root.draining()).await;
}

/// The fault `signal`.
#[cfg(unix)]
fn send_sigterm() {
    use rustix::process::{Signal, getpid, kill_process};
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::TERM);
}

/// There are no signals that a process could send itself.
#[cfg(not(unix))]
fn send_sigterm() {}

fn plan() -> ShutdownPlan {
    ShutdownPlan::new(DRAIN, GRACE)
}

/// After the load, requests under way have so long: longer than any budget.
const DRAIN: Duration = Duration::from_secs(4);

/// After that, and after their cancel, so long to clean up.
const GRACE: Duration = Duration::from_secs(1);

/// After a second signal, a moment, so that those who listen are not taken for deaf.
const GRACE_CUT: Duration = Duration::from_millis(100);

/// Time between two looks at who still runs.
const LOOK: Duration = Duration::from_millis(5);

/// How long the last tasks have to say where they wait.
const INSPECT: Duration = Duration::from_millis(50);

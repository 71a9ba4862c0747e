//! What the thread does that keeps the worst requests: [`Run`].
//!
//! A request that is among the worst waits until the next cut, since a copy of the ring serves all that
//! wait. It is written under a name of its own, and what is not among the worst any more is removed.
//! Whatever goes wrong is counted, and the next look is made.
//!
//! # What becomes of a request
//! | When | it is |
//! |---|---|
//! | it ends, and is not worse than the bar of its route | nothing: nobody notes it |
//! | it is noted, and the queue is full | missed, or another one is |
//! | it is admitted, and enough others are worse | outdone |
//! | it is cut, and the ring has nothing of it | forgotten |
//! | its extract is longer than a mebibyte | too long |
//! | the disk or the quota does not take it | lost to the disk |
//! | it is written | kept, until a worse one comes |
//!
//! # The bar
//! That of a route is what the least bad of those has that are kept or wait, once they are as many as are
//! wanted. It is set after each change, so it falls as well: where an extract could not be written, or a
//! window begins.
//!
//! # Time
//! Each look is given the time, as that of the flight recorder is, so that a test can say what time it is.
//!
//! # Order at the end
//! The thread is stopped, admits what was noted until then, and cuts until nothing waits any more.

use super::cut::{Kept, Remembered, Request, Survey};
use super::routes::{Note, ROUTES_MAX};
use crate::clock::TraceClock;
use crate::flight::folder::{Folder, Limited, Names, Quota, WORST, WriterOf, plain};
use crate::output::{Live, Output, Totals, live, name_stacks};
use crate::shared::Shared;
use crate::sync::Mutex;
use ripcord_trace_format::Event;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// An extract that would be longer is not written.
const BYTES_MAX: u64 = 1 << 20;

/// Requests that are cut out of one copy of the ring; the others wait for the next.
const CUTS_MAX: usize = 8;

/// Of a route's name, in the name of a file.
const ROUTE_CHARS_MAX: usize = 48;

/// What users can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    /// Between two looks.
    pub(super) step: Duration,
    /// Between two copies of the ring.
    pub(super) every: Duration,
    /// Requests of a route.
    pub(super) per_route: usize,
    /// Late by less is not late.
    pub(super) late_min: Duration,
    /// After so long it begins anew; `None`: never.
    pub(super) window: Option<Duration>,
    pub(super) quota: Quota,
}

/// What has become of requests that were among the worst of their route when they ended.
///
/// Each that was noted is counted once, or waits still: `written`, `outdone`, `missed`, `forgotten`,
/// `too_long`, `disk` or `panicked`. The others tell of files and of routes.
///
/// # Examples
/// ```
/// let report = ripcord_tracer::WorstReport::default();
/// assert_eq!((report.written, report.too_long), (0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WorstReport {
    /// Written, removed ones included.
    ///
    /// Of a service whose requests are much alike it grows with the logarithm of their number: the hundredth
    /// is among the worst three with three parts in a hundred.
    pub written: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Files removed: for a worse one, or for the quota.
    pub removed: u64,
    /// Not as bad as others that came before they were written.
    pub outdone: u64,
    /// Of routes beyond those that are told apart: ranked together.
    ///
    /// More than a few mean that requests are named by their paths.
    pub others: u64,
    /// Beyond the 256 that can wait to be looked at.
    pub missed: u64,
    /// Forgotten by the ring before they were cut.
    ///
    /// A larger ring, or a shorter pause between two copies of it, keeps them.
    pub forgotten: u64,
    /// Extracts of more than a mebibyte: not written.
    pub too_long: u64,
    /// The file could not be made or written, or did not fit into the quota.
    pub disk: u64,
    /// A panic of foreign code came in between.
    pub panicked: u64,
}

/// One route: those of its requests that are kept, and those that may be.
///
/// Both together are never more than are wanted of a route, so that what waits is bounded by that and by
/// the number of routes.
struct Route {
    /// Its place in the table of bars.
    at: usize,
    /// As its requests are named.
    name: String,
    /// The worst first.
    kept: Vec<Written>,
    /// Those that wait to be cut, the worst first.
    pending: Vec<Note>,
}

/// An extract that is kept.
struct Written {
    /// As in its note.
    badness: u64,
    /// Of the file.
    name: String,
}

/// Why there is no extract.
enum Failed {
    /// The file could not be made, written, or given room.
    Disk,
    /// It would have more than [`BYTES_MAX`].
    TooLong,
    /// The ring has nothing of it any more.
    Forgotten,
    /// Foreign code has panicked, as a clock that the recorder was given.
    Panicked,
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Self::Disk
    }
}

/// The thread's own.
pub(super) struct Run<F> {
    /// The recorder.
    shared: Arc<Shared>,
    /// What the user has set.
    rules: Rules,
    /// Shared with who holds the handle.
    report: Arc<Mutex<WorstReport>>,
    /// Where extracts go.
    folder: F,
    /// How their files are named.
    names: Names,
    /// The number that the next file gets.
    number: u64,
    /// In the order in which they came; the one behind the last that is told apart is that of all others.
    routes: Vec<Route>,
    /// Where a route stands among them.
    by_name: HashMap<String, usize>,
    /// When the next copy of the ring may be made, in raw units.
    next_cut: u64,
    /// When everything begins anew, in raw units.
    window_ends: Option<u64>,
}

impl<F: Folder> Run<F> {
    /// With numbers that go on where this process has been before in that folder.
    ///
    /// # Errors
    /// What listing the folder says.
    pub(super) fn new(
        shared: &Arc<Shared>,
        rules: Rules,
        report: &Arc<Mutex<WorstReport>>,
        mut folder: F,
    ) -> io::Result<Self> {
        let names = Names::new(&shared.program, std::process::id()).of(WriterOf::Worst);
        let number = names.next(&folder.list(&names)?);
        let now = shared.clock.raw();
        let mut run = Self {
            shared: Arc::clone(shared),
            rules,
            report: Arc::clone(report),
            folder,
            names,
            number,
            routes: Vec::new(),
            by_name: HashMap::new(),
            next_cut: now,
            window_ends: None,
        };
        run.window_ends = run.window_end(now);
        Ok(run)
    }

    /// Looks until it is told to stop, and then writes what waits.
    pub(super) fn until(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.rules.step) == Err(RecvTimeoutError::Timeout) {
            self.look(self.shared.clock.raw());
        }
        self.admit();
        while self.is_waited_for() {
            self.cut();
        }
    }

    /// One look, by the clock of the recorder.
    pub(super) fn look(&mut self, now: u64) {
        self.admit();
        if self.is_waited_for() && now >= self.next_cut {
            self.next_cut = now.saturating_add(self.shared.clock.raw_in(self.rules.every));
            self.cut();
        }
        if self.window_ends.is_some_and(|end| now >= end) {
            self.begin_window(now);
        }
    }

    /// When a window ends that begins now.
    fn window_end(&self, now: u64) -> Option<u64> {
        let window = self.rules.window?;
        Some(now.saturating_add(self.shared.clock.raw_in(window)))
    }

    /// What was written stays until the quota needs its room.
    fn begin_window(&mut self, now: u64) {
        self.window_ends = self.window_end(now);
        for at in 0..self.routes.len() {
            if let Some(route) = self.routes.get_mut(at) {
                route.kept.clear();
            }
            self.set_bar(at);
        }
    }

    /// Whether there is anything to cut.
    fn is_waited_for(&self) -> bool {
        self.routes.iter().any(|route| !route.pending.is_empty())
    }

    /// Takes what was noted, and leaves out what is not worse than what is kept.
    ///
    /// A request waits with its name and five numbers; its events are in the ring, and are not looked at
    /// before it is cut.
    fn admit(&mut self) {
        for note in self.shared.worst.take() {
            let at = self.route(&note.route);
            let Some(route) = self.routes.get_mut(at) else {
                continue;
            };
            if route.at == ROUTES_MAX {
                self.report.lock().others += 1;
            }
            route.pending.push(note);
            // The worst first; of equals the first.
            let pending = &mut route.pending;
            pending.sort_by_key(|note| std::cmp::Reverse(note.badness));
            let outdone = Self::beyond(route, self.rules.per_route);
            self.report.lock().outdone += outdone;
            self.set_bar(at);
        }
    }

    /// Drops those that wait and that enough others outdo.
    fn beyond(route: &mut Route, per_route: usize) -> u64 {
        let before = route.pending.len();
        let kept = &route.kept;
        let mut better = 0;
        route.pending.retain(|note| {
            let of_kept = kept.iter().filter(|kept| kept.badness >= note.badness);
            let stays = of_kept.count() + better < per_route;
            better += 1;
            stays
        });
        (before - route.pending.len()) as u64
    }

    /// The route of that name, or the one of all others.
    fn route(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let is_other = self.routes.len() >= ROUTES_MAX;
        let name = if is_other { "other" } else { name };
        if is_other && self.routes.len() > ROUTES_MAX {
            return ROUTES_MAX;
        }
        let at = self.routes.len();
        self.routes.push(Route {
            at,
            name: name.to_owned(),
            kept: Vec::new(),
            pending: Vec::new(),
        });
        if !is_other {
            self.by_name.insert(name.to_owned(), at);
        }
        at
    }

    /// Whoever is to be noted must be worse than the least bad of those that are kept or wait.
    fn set_bar(&self, at: usize) {
        let Some(route) = self.routes.get(at) else {
            return;
        };
        let kept = route.kept.iter().map(|kept| kept.badness);
        let mut all: Vec<u64> = kept
            .chain(route.pending.iter().map(|note| note.badness))
            .collect();
        all.sort_unstable_by_key(|badness| std::cmp::Reverse(*badness));
        let least = self
            .rules
            .per_route
            .checked_sub(1)
            .and_then(|at| all.get(at));
        let bar = least.copied().unwrap_or(0);
        self.shared.worst.set_bar(route.at, &route.name, bar);
    }

    /// Cuts the worst of those that wait out of one copy of the ring; the rest waits for the next.
    ///
    /// # Costs
    /// Two times the memory of the ring, and some more for who is whose, until it returns.
    fn cut(&mut self) {
        let mut notes = Vec::new();
        for route in &mut self.routes {
            notes.append(&mut route.pending);
        }
        notes.sort_by_key(|note| std::cmp::Reverse(note.badness));
        let later = notes.split_off(notes.len().min(CUTS_MAX));
        for note in later {
            let at = self.route(&note.route);
            if let Some(route) = self.routes.get_mut(at) {
                route.pending.push(note);
            }
        }
        let shared = Arc::clone(&self.shared);
        let read = catch_unwind(AssertUnwindSafe(|| {
            name_stacks(&shared);
            let live = live(&shared);
            let all = Remembered::new(shared.ring.snapshot(), live);
            let survey = Survey::of(&all);
            (all, survey)
        }));
        let Ok((all, survey)) = read else {
            self.report.lock().panicked += notes.len() as u64;
            return;
        };
        for note in notes {
            let at = self.route(&note.route);
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&all, &survey, &note)));
            match written.unwrap_or(Err(Failed::Panicked)) {
                Ok((name, bytes)) => {
                    let mut report = self.report.lock();
                    report.written += 1;
                    report.bytes += bytes;
                    drop(report);
                    self.keep(at, note.badness, name);
                }
                Err(failed) => {
                    let mut report = self.report.lock();
                    match failed {
                        Failed::Disk => report.disk += 1,
                        Failed::TooLong => report.too_long += 1,
                        Failed::Forgotten => report.forgotten += 1,
                        Failed::Panicked => report.panicked += 1,
                    }
                }
            }
            self.set_bar(at);
        }
    }

    /// One more is kept of the route, and so the least bad one may be too much.
    fn keep(&mut self, at: usize, badness: u64, name: String) {
        let Some(route) = self.routes.get_mut(at) else {
            return;
        };
        route.kept.push(Written { badness, name });
        route
            .kept
            .sort_by_key(|kept| std::cmp::Reverse(kept.badness));
        for gone in route
            .kept
            .drain(self.rules.per_route.min(route.kept.len())..)
        {
            // The quota may have taken it before.
            if self.folder.remove(&gone.name).is_ok() {
                self.report.lock().removed += 1;
            }
        }
    }

    /// Cuts one request and writes its extract: the name and the length of the file.
    ///
    /// # Half a file
    /// It is filled under a temporary name, as a dump is, so a file under its final name is whole.
    fn write(
        &mut self,
        all: &Remembered,
        survey: &Survey,
        note: &Note,
    ) -> Result<(String, u64), Failed> {
        let request = Request {
            id: note.id,
            began: TraceClock::tick_of(note.began),
            ended: TraceClock::tick_of(note.ended),
        };
        let cut = survey.cut(all, request).ok_or(Failed::Forgotten)?;
        let kept = survey.kept(all, &cut);
        let live: Vec<_> = all
            .live()
            .iter()
            .filter(|(_, live)| cut.has(live))
            .collect();
        let ending = format!("{WORST}-{}", plain(&note.route, ROUTE_CHARS_MAX));
        let name = self.names.file(self.number, ending);
        self.number = self.number.saturating_add(1);
        let temporary = Names::temporary(&name);
        let file = self.folder.create(&temporary)?;
        let filled = fill(&self.shared, &kept, &live, file);
        let finished = filled.and_then(|bytes| {
            self.make_room(bytes, &temporary)?;
            self.folder.publish(&temporary, &name)?;
            Ok((name, bytes))
        });
        if finished.is_err() {
            // If not even that can be done, it goes when it is the oldest.
            let _ = self.folder.remove(&temporary);
        }
        finished
    }

    /// Removes the oldest until there is room.
    ///
    /// What it removes may be one that is kept still, of this process or of another one: that is what a
    /// quota is for.
    fn make_room(&mut self, bytes: u64, temporary: &str) -> Result<(), Failed> {
        let mut entries = self.folder.list(&self.names)?;
        entries.retain(|entry| entry.name != temporary);
        let gone = self.rules.quota.to_remove(entries, bytes);
        for entry in gone.ok_or(Failed::Disk)? {
            match self.folder.remove(&entry.name) {
                Ok(()) => self.report.lock().removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Writes the extract; its length.
///
/// # Errors
/// What the disk says, and [`Failed::TooLong`] as soon as it has more than a mebibyte: what was written until
/// then is removed with the file.
fn fill(
    shared: &Shared,
    kept: &[Kept<'_>],
    live: &[&(u64, Live)],
    file: impl Write,
) -> Result<u64, Failed> {
    let limited = Limited {
        out: file,
        room: BYTES_MAX,
        is_exceeded: false,
    };
    let mut out = BufWriter::new(limited);
    let written = put(shared, kept, live, &mut out).and_then(|()| out.flush());
    // Taken apart, or it would try again to write when it is dropped.
    let (limited, _) = out.into_parts();
    match written {
        Err(_) if limited.is_exceeded => Err(Failed::TooLong),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(BYTES_MAX - limited.room),
    }
}

/// In the order of a dump: see docs/internals/recording.md.
///
/// # Errors
/// What `out` says; what was written until then is a trace without its end.
fn put(
    shared: &Shared,
    kept: &[Kept<'_>],
    live: &[&(u64, Live)],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut output = Output::new(shared, out)?;
    let now = shared.clock.read();
    output.window_start(&[shared.clock.at_start(), now])?;
    let mut named = Named::default();
    for kept in kept {
        named.note(&kept.event);
    }
    for (_, live) in live {
        named.note_live(live);
    }
    output.some_tables(shared, &named.places, &named.labels)?;
    let mut totals = Totals::new();
    for thread in kept.chunk_by(|one, next| one.thread == next.thread) {
        let Some(first) = thread.first() else {
            continue;
        };
        totals.insert(first.thread, thread.len() as u64);
        let events = thread.iter().map(|kept| (kept.tick, kept.event));
        output.events(first.thread, events)?;
    }
    output.threads(shared)?;
    output.registry(live.iter().copied())?;
    output.window_end(shared, now, &totals)?;
    output.writer.finish()?;
    Ok(())
}

/// Numbers of places and labels that events name.
#[derive(Default)]
struct Named {
    /// Of places in the source.
    places: BTreeSet<u64>,
    /// Of labels: what is waited for, regions, keys of tags.
    labels: BTreeSet<u64>,
}

impl Named {
    /// An event with a number that is not found here is shown without its place, and nothing else is wrong.
    fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::TaskSpawn { loc, .. }
            | Event::TaskEnd { loc, .. }
            | Event::CtxCreate { loc, .. }
            | Event::CtxCancel { loc, .. }
            | Event::CtxSeen { loc, .. }
            | Event::CtxEnd { loc, .. }
            | Event::CtxVain { loc, .. }
            | Event::JobQueued { loc, .. }
            | Event::JobEnd { loc, .. } => self.places.extend(loc),
            Event::PollPending { label } | Event::PollListening { label } => {
                self.labels.extend(label);
            }
            Event::CtxTag { key: label, .. } | Event::RegionBegin { label } => {
                self.labels.insert(label);
            }
            _ => {}
        }
    }

    /// The registry says of who lives what was said of it since it began.
    fn note_live(&mut self, live: &Live) {
        match live {
            Live::Task(_, _, _, said) => self.places.extend(said.loc),
            Live::Context(_, said) => {
                self.places.extend(said.loc);
                let cancel = said.cancel.iter();
                self.places.extend(cancel.filter_map(|cancel| cancel.loc));
                self.labels.extend(said.tags.iter().map(|(key, _)| *key));
            }
        }
    }
}

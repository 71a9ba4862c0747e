//! A trace as tracks with slices, instants and flows: what Perfetto and Chrome have in common.
//!
//! | Track | Slices | Instants |
//! |---|---|---|
//! | thread | polls and blocking work by the name of the task, sleep | wakes, cancels, logs, tags, stalls, losses |
//! | task | `runs`, `queued`, `waits: …` | the first look at the end of its context |
//! | regions of a task | its regions | |
//! | work | what the program tells of | |
//!
//! A flow leads from a wake to the poll that it asked for.
//!
//! # Invariants
//! 1. On each track slices nest, and each one that begins ends.

use super::ExportError;
use super::follow::{About, Change, Follow, Poll, PollEnd, Woken, about, is_unknown};
use crate::read::{Origin, OrphanKind, Step, Tables, Timeline, Trace};
use foldhash::fast::RandomState;
use ripcord_trace_format::Event;
use std::collections::HashMap;
use std::io::{self, Read, Seek};

/// Something that has a row of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Track {
    Thread(u32),
    /// A task or a job, whose ids are of one kind.
    Task(u64),
    Regions(u64),
    Work(u64),
}

/// What a slice or an instant is.
#[derive(Clone, Copy, Debug)]
pub(super) struct What<'a> {
    pub(super) category: &'static str,
    pub(super) name: &'a str,
    pub(super) args: &'a [(&'static str, Arg<'a>)],
    pub(super) flow: Flow,
}

/// A detail of a slice or an instant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    Number(u64),
    Signed(i64),
    Text(&'a str),
}

/// An arrow from one place to another; the number is of the pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    None,
    Begins(u64),
    Ends(u64),
}

impl<'a> What<'a> {
    pub(super) const fn new(category: &'static str, name: &'a str) -> Self {
        Self {
            category,
            name,
            args: &[],
            flow: Flow::None,
        }
    }
}

/// Where a story is written to. Instants are nanoseconds of the monotonic clock.
pub(super) trait Sink {
    /// A track is about to be used, under this name.
    fn track(&mut self, at: u64, track: Track, name: &str) -> io::Result<()>;
    /// A track is not used any more; threads are not told.
    fn track_ends(&mut self, at: u64, track: Track, name: &str) -> io::Result<()>;
    fn begin(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()>;
    /// Ends the innermost slice of a track; category and name are those of its beginning.
    fn end(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()>;
    fn instant(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()>;
    fn counter(&mut self, at: u64, name: &str, value: i64) -> io::Result<()>;
}

/// Tells the whole of a trace to a sink.
pub(super) fn tell<R: Read + Seek>(
    trace: &mut Trace<R>,
    sink: &mut impl Sink,
) -> Result<(), ExportError> {
    let orphans = trace.orphans()?;
    let mut follow = Follow::new(&orphans);
    let first = trace.span().map_or(0, |span| span.0);
    let events = trace.events();
    let mut story = Story {
        sink,
        tables: events.tables(),
        time: events.timeline(),
        tasks: HashMap::default(),
        threads: HashMap::default(),
        work: HashMap::default(),
        flows: 0,
        last: 0,
    };
    let begin = story.time.nanos(first);
    for orphan in orphans {
        if orphan.kind != OrphanKind::Ctx {
            story.task(begin, &About::from(&orphan))?;
        }
    }
    let mut last = 0;
    let mut each = |step: Step<'_>| -> Result<(), ExportError> {
        last = last.max(step.tick);
        story.step(&step, &mut follow)
    };
    events.try_for_each(&mut each)?;
    story.last = last;
    story.finish(&mut follow)
}

struct Story<'s, S> {
    sink: &'s mut S,
    tables: &'s Tables,
    time: &'s Timeline,
    tasks: HashMap<u64, Task, RandomState>,
    threads: HashMap<u32, Thread, RandomState>,
    /// Names of what the program tells of and has not ended.
    work: HashMap<u64, String, RandomState>,
    flows: u64,
    last: u64,
}

/// What is open on the tracks of a task.
#[derive(Debug, Default)]
struct Task {
    /// What its polls are called: many tasks have the same.
    kind: String,
    /// What its track is called: with its number.
    name: String,
    /// The slice that says what it does; empty for none.
    doing: String,
    /// Polls of it that run; one by hand within itself is none of its own.
    running: u32,
    /// It was woken since its poll began.
    is_woken: bool,
    flow: Option<u64>,
    regions: Vec<u64>,
    has_regions: bool,
}

/// What is open on the track of a thread, apart from polls.
#[derive(Debug, Default)]
struct Thread {
    is_asleep: bool,
    job: Option<u64>,
}

impl Task {
    fn regions_name(&self) -> String {
        format!("{} regions", self.name)
    }
}

impl<S: Sink> Story<'_, S> {
    fn step(&mut self, step: &Step<'_>, follow: &mut Follow) -> Result<(), ExportError> {
        let at = self.time.nanos(step.tick);
        if step.origin == Origin::Window {
            if let Event::Metric { label, value } = step.event {
                let name = self.label(Some(label));
                self.sink.counter(at, &name, value)?;
            }
            return Ok(());
        }
        if step.origin == Origin::Registry {
            // It says what was live, and not what happened: that is told at its own place, if at all.
            if let Some(about) = about(&step.event) {
                self.task(at, &about)?;
            }
            return follow.step(step, |_| Ok(()));
        }
        if let Event::TaskSpawn { id, .. } | Event::JobQueued { job: id, .. } = step.event {
            if let Some(about) = about(&step.event) {
                self.task(at, &about)?;
            }
            self.does(at, id, "queued")?;
        }
        if let Event::ThreadStart { .. } = step.event {
            self.thread(at, step.thread)?;
        }
        // Logs and the like belong to what runs before the event ends it.
        self.happens(at, step, follow)?;
        follow.step(step, |change| self.change(at, step.thread, change))?;
        self.after(at, step)
    }

    /// What shows as an instant, and slices that are no polls.
    fn happens(&mut self, at: u64, step: &Step<'_>, follow: &Follow) -> Result<(), ExportError> {
        let here = Track::Thread(step.thread);
        match step.event {
            Event::CtxCancel { .. }
            | Event::CtxSeen { .. }
            | Event::CtxTag { .. }
            | Event::CtxVain { .. } => self.context(at, step),
            Event::Log { text } => self.mark(at, here, "log", text, &[]),
            Event::Dropped { events } => {
                let args = [("events", Arg::Number(events))];
                self.mark(at, here, "loss", "events lost", &args)
            }
            Event::Stack {
                task, why, text, ..
            } => {
                let args = [
                    ("task", Arg::Number(task)),
                    ("why", Arg::Text(why.as_str())),
                    ("stack", Arg::Text(text)),
                ];
                self.mark(at, here, "stack", "await stack", &args)
            }
            Event::Stall { slot, ticks } => {
                let begun = step.tick.saturating_sub(ticks);
                let long = self.time.duration(begun, step.tick).as_nanos();
                let long = u64::try_from(long).unwrap_or(u64::MAX);
                let both = [
                    ("for_ns", Arg::Number(long)),
                    (
                        "task",
                        Arg::Number(slot.map_or(0, |slot| follow.task(slot))),
                    ),
                ];
                let args = if slot.is_some() {
                    &both[..]
                } else {
                    &both[..1]
                };
                self.mark(at, here, "stall", "stall", args)
            }
            _ => self.slices(at, step, follow),
        }
    }

    /// What happens to contexts. The first look at an end is told where the task is.
    fn context(&mut self, at: u64, step: &Step<'_>) -> Result<(), ExportError> {
        let here = Track::Thread(step.thread);
        match step.event {
            Event::CtxCancel {
                id, kind, message, ..
            } => {
                let args = [
                    ("context", Arg::Number(id)),
                    ("kind", Arg::Text(kind.as_str())),
                    ("message", Arg::Text(message)),
                ];
                self.mark(at, here, "cancel", "cancel", &args)
            }
            Event::CtxSeen { id, task, how, .. } => {
                let known = task.filter(|task| self.tasks.contains_key(task));
                let args = [
                    ("context", Arg::Number(id)),
                    ("how", Arg::Text(how.as_str())),
                ];
                let track = known.map_or(here, Track::Task);
                self.mark(at, track, "cancel", "cancel seen", &args)
            }
            Event::CtxVain { id, .. } => {
                let args = [("context", Arg::Number(id))];
                self.mark(at, here, "cancel", "deadline in vain", &args)
            }
            Event::CtxTag { id, key, text } => {
                let name = self.label(Some(key));
                let args = [("context", Arg::Number(id)), ("text", Arg::Text(&text))];
                self.mark(at, here, "tag", &name, &args)
            }
            _ => Ok(()),
        }
    }

    /// Regions, work, blocking work and sleep.
    fn slices(&mut self, at: u64, step: &Step<'_>, follow: &Follow) -> Result<(), ExportError> {
        match step.event {
            Event::RegionBegin { label } => {
                if let Some(task) = follow.running(step.thread) {
                    self.region(at, task, label)?;
                }
            }
            Event::RegionEnd {} => {
                if let Some(task) = follow.running(step.thread) {
                    self.region_ends(at, task)?;
                }
            }
            Event::UserTaskBegin { id, name } => {
                let track = Track::Work(id);
                if self.work.len() < WORK_MAX && self.work.insert(id, name.to_owned()).is_none() {
                    self.sink.track(at, track, name)?;
                    self.sink.begin(at, track, &What::new("work", name))?;
                }
            }
            Event::UserTaskEnd { id } => self.work_ends(at, id)?,
            Event::Unpark {} => self.wakes_up(at, step.thread)?,
            Event::JobStart { job } => {
                self.thread(at, step.thread)?;
                self.job_ends(at, step.thread)?;
                let name = self.kind_of(job);
                let args = [("job", Arg::Number(job))];
                let what = What {
                    args: &args,
                    ..What::new("job", &name)
                };
                self.sink.begin(at, Track::Thread(step.thread), &what)?;
                self.threads.entry(step.thread).or_default().job = Some(job);
                self.does(at, job, "runs")?;
            }
            Event::JobEnd { job, .. } => {
                let runs_here = self.threads.get(&step.thread).and_then(|thread| thread.job);
                if runs_here == Some(job) {
                    self.job_ends(at, step.thread)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What an event leads to once it has changed who runs.
    fn after(&mut self, at: u64, step: &Step<'_>) -> Result<(), ExportError> {
        match step.event {
            Event::Park {} => {
                self.thread(at, step.thread)?;
                self.wakes_up(at, step.thread)?;
                self.sink
                    .begin(at, Track::Thread(step.thread), &What::new("park", "parked"))?;
                self.threads.entry(step.thread).or_default().is_asleep = true;
            }
            Event::ThreadStop {} => {
                self.wakes_up(at, step.thread)?;
                self.job_ends(at, step.thread)?;
                self.threads.remove(&step.thread);
            }
            Event::TaskEnd { id, .. } | Event::JobEnd { job: id, .. } => self.task_ends(at, id)?,
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self, at: u64, thread: u32, change: Change) -> Result<(), ExportError> {
        match change {
            Change::Began(poll) => self.poll_begins(at, &poll),
            Change::Ended(poll, end) => self.poll_ends(at, &poll, end),
            Change::Woken(task, woken) => self.woken(at, thread, task, &woken),
        }
    }

    fn poll_begins(&mut self, at: u64, poll: &Poll) -> Result<(), ExportError> {
        self.thread(at, poll.thread)?;
        self.wakes_up(at, poll.thread)?;
        self.known(at, poll.task)?;
        self.does(at, poll.task, "runs")?;
        let name = self.kind_of(poll.task);
        let mut flow = Flow::None;
        if let Some(task) = self.tasks.get_mut(&poll.task) {
            task.running = task.running.saturating_add(1);
            task.is_woken = false;
            flow = task.flow.take().map_or(Flow::None, Flow::Ends);
        }
        let by = poll.woken.map_or("nobody told", |woken| woken.by.as_str());
        let args = [
            ("task", Arg::Number(poll.task)),
            ("woken_by", Arg::Text(by)),
        ];
        let what = What {
            args: &args,
            flow,
            ..What::new("poll", &name)
        };
        Ok(self.sink.begin(at, Track::Thread(poll.thread), &what)?)
    }

    fn poll_ends(&mut self, at: u64, poll: &Poll, end: PollEnd) -> Result<(), ExportError> {
        let name = self.kind_of(poll.task);
        self.sink
            .end(at, Track::Thread(poll.thread), &What::new("poll", &name))?;
        let label = end.label();
        let waits = label.map(|_| format!("waits: {}", self.label(label)));
        let Some(task) = self.tasks.get_mut(&poll.task) else {
            return Ok(());
        };
        task.running = task.running.saturating_sub(1);
        if task.running > 0 {
            return Ok(());
        }
        let doing = match end {
            PollEnd::Yield | PollEnd::Preempt => "queued",
            PollEnd::Pending(_) | PollEnd::Listening(_) | PollEnd::Lost if task.is_woken => {
                "queued"
            }
            PollEnd::Pending(_) | PollEnd::Listening(_) => waits.as_deref().unwrap_or("waits"),
            PollEnd::Lost => "lost",
            PollEnd::Ready | PollEnd::Panicked | PollEnd::Untold => "",
        };
        self.does(at, poll.task, doing)
    }

    fn woken(
        &mut self,
        at: u64,
        thread: u32,
        target: u64,
        woken: &Woken,
    ) -> Result<(), ExportError> {
        self.thread(at, thread)?;
        self.known(at, target)?;
        self.flows += 1;
        let flow = self.flows;
        let Some(task) = self.tasks.get_mut(&target) else {
            return Ok(());
        };
        task.flow = Some(flow);
        task.is_woken = true;
        let name = format!("wakes {}", task.kind);
        let is_waiting = task.running == 0;
        let args = [
            ("task", Arg::Number(target)),
            ("by", Arg::Text(woken.by.as_str())),
        ];
        let what = What {
            args: &args,
            flow: Flow::Begins(flow),
            ..What::new("wake", &name)
        };
        self.instant(at, Track::Thread(thread), &what)?;
        if is_waiting {
            self.does(at, target, "queued")?;
        }
        Ok(())
    }

    fn mark(
        &mut self,
        at: u64,
        track: Track,
        category: &'static str,
        name: &str,
        args: &[(&'static str, Arg<'_>)],
    ) -> Result<(), ExportError> {
        let what = What {
            args,
            ..What::new(category, name)
        };
        self.instant(at, track, &what)
    }

    fn instant(&mut self, at: u64, track: Track, what: &What<'_>) -> Result<(), ExportError> {
        if let Track::Thread(thread) = track {
            self.thread(at, thread)?;
        }
        Ok(self.sink.instant(at, track, what)?)
    }

    /// Ends what a task did, and begins what it does now; nothing, if that is empty.
    fn does(&mut self, at: u64, id: u64, doing: &str) -> Result<(), ExportError> {
        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        if task.doing == doing {
            return Ok(());
        }
        let track = Track::Task(id);
        if !task.doing.is_empty() {
            self.sink.end(at, track, &What::new("task", &task.doing))?;
        }
        doing.clone_into(&mut task.doing);
        if !doing.is_empty() {
            self.sink.begin(at, track, &What::new("task", doing))?;
        }
        Ok(())
    }

    fn region(&mut self, at: u64, id: u64, label: u64) -> Result<(), ExportError> {
        let name = self.label(Some(label));
        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        let track = Track::Regions(id);
        if !task.has_regions {
            task.has_regions = true;
            self.sink.track(at, track, &task.regions_name())?;
        }
        if task.regions.len() < REGIONS_MAX {
            task.regions.push(label);
            self.sink.begin(at, track, &What::new("region", &name))?;
        }
        Ok(())
    }

    fn region_ends(&mut self, at: u64, id: u64) -> Result<(), ExportError> {
        let label = self.tasks.get_mut(&id).and_then(|task| task.regions.pop());
        if label.is_some() {
            let name = self.label(label);
            self.sink
                .end(at, Track::Regions(id), &What::new("region", &name))?;
        }
        Ok(())
    }

    fn task_ends(&mut self, at: u64, id: u64) -> Result<(), ExportError> {
        while self
            .tasks
            .get(&id)
            .is_some_and(|task| !task.regions.is_empty())
        {
            self.region_ends(at, id)?;
        }
        self.does(at, id, "")?;
        if let Some(task) = self.tasks.remove(&id) {
            if task.has_regions {
                self.sink
                    .track_ends(at, Track::Regions(id), &task.regions_name())?;
            }
            self.sink.track_ends(at, Track::Task(id), &task.name)?;
        }
        Ok(())
    }

    fn work_ends(&mut self, at: u64, id: u64) -> Result<(), ExportError> {
        let track = Track::Work(id);
        if let Some(name) = self.work.remove(&id) {
            self.sink.end(at, track, &What::new("work", &name))?;
            self.sink.track_ends(at, track, &name)?;
        }
        Ok(())
    }

    fn wakes_up(&mut self, at: u64, thread: u32) -> Result<(), ExportError> {
        let asleep = self
            .threads
            .get_mut(&thread)
            .map(|thread| &mut thread.is_asleep);
        if asleep.is_some_and(std::mem::take) {
            self.sink
                .end(at, Track::Thread(thread), &What::new("park", "parked"))?;
        }
        Ok(())
    }

    fn job_ends(&mut self, at: u64, thread: u32) -> Result<(), ExportError> {
        let job = self
            .threads
            .get_mut(&thread)
            .and_then(|thread| thread.job.take());
        if let Some(job) = job {
            let name = self.kind_of(job);
            self.sink
                .end(at, Track::Thread(thread), &What::new("job", &name))?;
        }
        Ok(())
    }

    /// Announces a thread, once.
    fn thread(&mut self, at: u64, number: u32) -> Result<(), ExportError> {
        if self.threads.contains_key(&number) {
            return Ok(());
        }
        self.threads.insert(number, Thread::default());
        let known = self.tables.thread(number);
        let name = match known {
            Some(thread) if !thread.name.is_empty() => thread.name.clone(),
            _ => format!("thread {number}"),
        };
        Ok(self.sink.track(at, Track::Thread(number), &name)?)
    }

    /// Announces a task, once.
    fn task(&mut self, at: u64, about: &About) -> Result<(), ExportError> {
        if self.tasks.contains_key(&about.id) {
            return Ok(());
        }
        let mut kind = about.name.clone();
        if kind.is_empty() {
            let place = about.loc.and_then(|loc| self.tables.location(loc));
            kind = place.map_or_else(|| "task".to_owned(), ToString::to_string);
        }
        let name = format!("{kind} #{}", about.id);
        self.sink.track(at, Track::Task(about.id), &name)?;
        let task = Task {
            kind,
            name,
            ..Task::default()
        };
        self.tasks.insert(about.id, task);
        Ok(())
    }

    /// Announces a task of which nothing but its slot is known.
    fn known(&mut self, at: u64, id: u64) -> Result<(), ExportError> {
        if self.tasks.contains_key(&id) {
            return Ok(());
        }
        let name = if is_unknown(id) { "task of slot" } else { "" };
        self.task(
            at,
            &About {
                id,
                name: name.to_owned(),
                ..About::default()
            },
        )
    }

    fn kind_of(&self, task: u64) -> String {
        let known = self.tasks.get(&task);
        known.map_or_else(|| "task".to_owned(), |task| task.kind.clone())
    }

    fn label(&self, label: Option<u64>) -> String {
        let Some(number) = label else {
            return String::new();
        };
        let text = self.tables.label(number);
        text.map_or_else(|| format!("label {number}"), ToString::to_string)
    }

    /// Ends what is open, in an order that is always the same (invariant 1).
    fn finish(mut self, follow: &mut Follow) -> Result<(), ExportError> {
        let at = self.time.nanos(self.last);
        follow.finish(|change| self.change(at, 0, change))?;
        let mut threads: Vec<u32> = self.threads.keys().copied().collect();
        threads.sort_unstable();
        for thread in threads {
            self.wakes_up(at, thread)?;
            self.job_ends(at, thread)?;
        }
        let mut tasks: Vec<u64> = self.tasks.keys().copied().collect();
        tasks.sort_unstable();
        for task in tasks {
            self.task_ends(at, task)?;
        }
        let mut work: Vec<u64> = self.work.keys().copied().collect();
        work.sort_unstable();
        for id in work {
            self.work_ends(at, id)?;
        }
        Ok(())
    }
}

/// Regions of one task that may be open; ends that are missing must not fill the memory.
const REGIONS_MAX: usize = 256;

/// Work that may be open at a time.
const WORK_MAX: usize = 1 << 20;

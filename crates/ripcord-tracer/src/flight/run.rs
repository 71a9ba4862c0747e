//! What the thread of a flight recorder does: [`Run`].
//!
//! Each look is given the time, so that a test can say what time it is. Whatever goes wrong in a look is
//! counted, and the next one is made: neither a disk nor foreign code ends the thread.
//!
//! # Ghosts
//! A task becomes one by nothing happening, so it has to be looked for. That costs a look at every live
//! task, so it is done only for as long after an end as new ghosts can come of it, and four times within
//! the limit.

use super::folder::{Folder, Limited, Names, Quota};
use super::gate::{Gate, Pace, Verdict};
use super::report::{FlightDump, FlightReport};
use crate::dump::{self, Dumped};
use crate::local::with_local;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::tasks::number_of;
use crate::trigger::{Fired, OFF, Reason};
use ripcord_trace_format::Event;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Calls of the program that wait with what they say; what comes beyond is counted with the others, and
/// has said nothing.
const CALLS_MAX: usize = 16;

/// What a call says is kept up to so many characters.
const WHY_MAX: usize = 200;

/// How many names are tried for one dump: somebody else may use the same ones.
const NAMES_TRIED: usize = 16;

/// Bytes that are handed to the disk at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is called with each dump.
pub(super) type OnDump = Box<dyn Fn(&FlightDump) + Send>;

/// What a flight recorder was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    pub(super) step: Duration,
    pub(super) after: Duration,
    pub(super) debounce: Duration,
    pub(super) every: Duration,
    pub(super) burst: u32,
    pub(super) quota: Quota,
}

/// What the thread and the handle share; nothing that records comes here.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) report: Mutex<FlightReport>,
    calls: Mutex<VecDeque<String>>,
    /// Set by the handler of a signal.
    pub(super) signal: Arc<AtomicBool>,
}

impl Desk {
    /// Keeps what a call says until the dump for it is written.
    pub(super) fn note_call(&self, why: &str) {
        let why = why.chars().take(WHY_MAX).collect();
        let mut calls = self.calls.lock();
        if calls.len() < CALLS_MAX {
            calls.push_back(why);
        }
    }

    /// Everything that was said since.
    fn take_calls(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.calls.lock())
    }
}

/// A dump that waits for its aftermath.
#[derive(Debug)]
struct Pending {
    due: u64,
    reasons: Vec<Reason>,
    triggers: u64,
    subject: u64,
    why: Option<String>,
}

/// Why there is no dump.
#[derive(Debug)]
enum Failed {
    Disk(io::Error),
    Quota,
    Panicked,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// The thread's part.
pub(super) struct Run<F> {
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Rules,
    pub(super) desk: Arc<Desk>,
    pub(super) folder: F,
    /// What files are called in what is told of them.
    pub(super) path: PathBuf,
    pub(super) names: Names,
    pub(super) on_dump: Option<OnDump>,
    gate: Gate,
    pending: Option<Pending>,
    /// Per thread: the beginning of the poll that it was told to be stuck in.
    stalls: HashMap<u32, u64>,
    ghosts: Ghosts,
    number: u64,
}

/// What is known of ghosts.
#[derive(Default)]
struct Ghosts {
    /// Tasks that were told.
    told: HashSet<u64>,
    /// Ends of contexts at the last look.
    ends: u64,
    /// New ones may come until then; `None`: until there is another end.
    until: Option<u64>,
    looked: u64,
}

impl<F: Folder> Run<F> {
    /// What is in the folder already gives the number of the first dump.
    pub(super) fn new(
        shared: &Arc<Shared>,
        rules: Rules,
        desk: &Arc<Desk>,
        mut folder: F,
        path: PathBuf,
        on_dump: Option<OnDump>,
    ) -> io::Result<Self> {
        let names = Names::new(&shared.program, std::process::id());
        let number = names.next(&folder.list(&names)?);
        let ghosts = Ghosts {
            ends: shared.triggers.ends(),
            ..Ghosts::default()
        };
        Ok(Self {
            shared: Arc::clone(shared),
            rules,
            desk: Arc::clone(desk),
            folder,
            path,
            names,
            on_dump,
            gate: Gate::default(),
            pending: None,
            stalls: HashMap::new(),
            ghosts,
            number,
        })
    }

    /// A look at a time, until it is to stop; then what waits is written, aftermath or not.
    pub(super) fn until(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.rules.step) == Err(RecvTimeoutError::Timeout) {
            self.look(self.shared.clock.raw());
        }
        self.last_look(self.shared.clock.raw());
    }

    /// Looks at what has been fired, and writes the dump whose time has come.
    pub(super) fn look(&mut self, now: u64) {
        self.find_stalls(now);
        self.find_ghosts(now);
        self.hear(now);
        if self.pending.as_ref().is_some_and(|dump| dump.due <= now) {
            self.write_pending();
        }
    }

    /// The same when there is no other look after it.
    pub(super) fn last_look(&mut self, now: u64) {
        self.look(now);
        self.write_pending();
    }

    fn hear(&mut self, now: u64) {
        // Relaxed: a flag that says nothing but itself.
        if self.desk.signal.swap(false, Ordering::Relaxed) {
            self.shared.triggers.note(Reason::Signal, now, 0);
        }
        for reason in Reason::ALL {
            if let Some(fired) = self.shared.triggers.take(reason) {
                self.admit(now, reason, fired);
            }
        }
    }

    /// What becomes of triggers of one kind that came since the last look.
    fn admit(&mut self, now: u64, reason: Reason, fired: Fired) {
        let clock = &self.shared.clock;
        let pace = Pace {
            debounce: clock.raw_in(self.rules.debounce),
            every: clock.raw_in(self.rules.every),
            burst: self.rules.burst,
        };
        let mut calls = match reason {
            Reason::Call => self.desk.take_calls(),
            _ => VecDeque::new(),
        };
        let verdict = self.gate.ask(pace, reason, now, self.pending.is_some());
        let desk = Arc::clone(&self.desk);
        let mut report = desk.report.lock();
        report.note_fired(reason, fired.times);
        let heard = match verdict {
            Verdict::Heard if pace.debounce > 0 => 1,
            Verdict::Heard => fired.times,
            Verdict::Debounced => 0,
            Verdict::NoToken => {
                report.suppressed.no_token += fired.times;
                return;
            }
        };
        report.suppressed.debounced += fired.times - heard;
        if heard == 0 {
            return;
        }
        report.waiting += heard;
        drop(report);
        let after = clock.raw_in(self.rules.after);
        let pending = self.pending.get_or_insert_with(|| Pending {
            due: fired.raw.saturating_add(after),
            reasons: Vec::new(),
            triggers: 0,
            subject: fired.subject,
            why: None,
        });
        pending.triggers += heard;
        if !pending.reasons.contains(&reason) {
            pending.reasons.push(reason);
        }
        pending.why = pending.why.take().or_else(|| calls.pop_front());
        self.say(now, reason, fired);
    }

    /// The trace itself says what it was written for.
    fn say(&self, now: u64, reason: Reason, fired: Fired) {
        if !self.shared.is_recording() {
            return;
        }
        let text = match fired.subject {
            0 => format!("flight recorder: {reason}"),
            subject => format!("flight recorder: {reason} of {subject}"),
        };
        with_local(&self.shared, |local| {
            local.record(now, &Event::Log { text: &text });
        });
    }

    /// Threads that have been in one poll for long: each poll is told once.
    fn find_stalls(&mut self, now: u64) {
        let triggers = &self.shared.triggers;
        if triggers.limit(Reason::Stall) == OFF {
            return;
        }
        let mut stalls = HashMap::new();
        for thread in self.shared.threads() {
            let Some((key, since)) = thread.poll() else {
                continue;
            };
            let length = now.saturating_sub(since);
            if length < triggers.limit(Reason::Stall) {
                continue;
            }
            if self.stalls.get(&thread.number) != Some(&since) {
                let task = number_of(key).and_then(|slot| self.shared.tasks.id_at(slot));
                triggers.note_value(Reason::Stall, length, now, task.unwrap_or(0));
            }
            stalls.insert(thread.number, since);
        }
        self.stalls = stalls;
    }

    /// Tasks and jobs that are there long after their context has ended: each is told once.
    fn find_ghosts(&mut self, now: u64) {
        let limit = self.shared.triggers.limit(Reason::Ghost);
        if limit == OFF {
            return;
        }
        let ends = self.shared.triggers.ends();
        if ends != self.ghosts.ends {
            self.ghosts.ends = ends;
            self.ghosts.until = Some(now.saturating_add(limit));
        }
        let Some(until) = self.ghosts.until else {
            return;
        };
        if now < until && now.saturating_sub(self.ghosts.looked) < (limit / 4).max(1) {
            return;
        }
        self.ghosts.looked = now;
        if now >= until {
            self.ghosts.until = None;
        }
        let mut told = HashSet::new();
        for (_, id, slot) in self.shared.tasks.live() {
            let (contexts, began) = (slot.live.contexts(), slot.live.began());
            let ends = contexts.map(|context| self.shared.ended_since(context));
            let Some(since) = ends.into_iter().flatten().min() else {
                continue;
            };
            let age = now.saturating_sub(since.max(began));
            // Another task may have taken the slot meanwhile.
            if age < limit || slot.id() != id {
                continue;
            }
            if !self.ghosts.told.contains(&id) {
                let triggers = &self.shared.triggers;
                triggers.note_value(Reason::Ghost, age, now, id);
            }
            told.insert(id);
        }
        self.ghosts.told = told;
    }

    /// Writes the dump that waits, and tells of it; or counts why there is none.
    fn write_pending(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let first = pending.reasons.first().copied().unwrap_or(Reason::Call);
        let written = catch_unwind(AssertUnwindSafe(|| self.write(first)));
        let written = written.unwrap_or(Err(Failed::Panicked));
        let desk = Arc::clone(&self.desk);
        let mut report = desk.report.lock();
        report.waiting -= pending.triggers;
        match written {
            Ok((name, dumped)) => {
                report.written += pending.triggers;
                report.dumps += 1;
                report.bytes += dumped.bytes;
                drop(report);
                self.tell(pending, &name, dumped);
                return;
            }
            Err(Failed::Quota) => report.suppressed.quota += pending.triggers,
            Err(Failed::Panicked) => report.suppressed.panicked += pending.triggers,
            Err(Failed::Disk(error)) => {
                report.suppressed.disk += pending.triggers;
                report.error = Some(error.kind());
            }
        }
        drop(report);
        // The next one is tried: what was in the way may be gone. It costs a token, as every try does.
        for reason in pending.reasons {
            self.gate.forget(reason);
        }
    }

    fn tell(&self, pending: Pending, name: &str, dumped: Dumped) {
        let Some(on_dump) = &self.on_dump else {
            return;
        };
        let dump = FlightDump {
            path: self.path.join(name),
            reasons: pending.reasons,
            triggers: pending.triggers,
            subject: Some(pending.subject).filter(|subject| *subject != 0),
            why: pending.why,
            dumped,
        };
        if catch_unwind(AssertUnwindSafe(|| on_dump(&dump))).is_err() {
            self.desk.report.lock().callback_panics += 1;
        }
    }

    /// Writes a dump under a name of its own; what cannot be finished is removed.
    fn write(&mut self, reason: Reason) -> Result<(String, Dumped), Failed> {
        let mut tried = 0;
        let (name, temporary, file) = loop {
            let name = self.names.file(self.number, reason);
            let temporary = Names::temporary(&name);
            self.number = self.number.saturating_add(1);
            tried += 1;
            match self.folder.create(&temporary) {
                Ok(file) => break (name, temporary, file),
                Err(error) if is_taken(&error) && tried < NAMES_TRIED => {}
                Err(error) => return Err(error.into()),
            }
        };
        let filled = catch_unwind(AssertUnwindSafe(|| self.fill(file)));
        let filled = filled.unwrap_or(Err(Failed::Panicked));
        let finished = filled.and_then(|dumped| {
            self.make_room(dumped.bytes, &temporary)?;
            let name = self.publish(&temporary, name, reason)?;
            Ok((name, dumped))
        });
        if finished.is_err() {
            // If not even that can be done, it goes when it is the oldest.
            let _ = self.folder.remove(&temporary);
        }
        finished
    }

    fn fill(&self, file: F::File) -> Result<Dumped, Failed> {
        let limited = Limited {
            out: file,
            room: self.rules.quota.bytes,
            is_exceeded: false,
        };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, limited);
        let dumped = dump::write(&self.shared, &mut out);
        let dumped = dumped.and_then(|dumped| out.flush().map(|()| dumped));
        // Taken apart, or it would try again to write when it is dropped.
        let (limited, _) = out.into_parts();
        match dumped {
            Err(_) if limited.is_exceeded => Err(Failed::Quota),
            dumped => Ok(dumped?),
        }
    }

    /// Removes what is oldest, until a dump of so many bytes has room.
    fn make_room(&mut self, bytes: u64, temporary: &str) -> Result<(), Failed> {
        let mut entries = self.folder.list(&self.names)?;
        entries.retain(|entry| entry.name != temporary);
        let gone = self.rules.quota.to_remove(entries, bytes);
        for entry in gone.ok_or(Failed::Quota)? {
            match self.folder.remove(&entry.name) {
                Ok(()) => self.desk.report.lock().removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return Err(Failed::Quota),
            }
        }
        Ok(())
    }

    /// Gives the file the first name that is free.
    fn publish(&mut self, temporary: &str, name: String, reason: Reason) -> io::Result<String> {
        let mut name = name;
        for _ in 0..NAMES_TRIED {
            match self.folder.publish(temporary, &name) {
                Err(error) if is_taken(&error) => {}
                published => return published.map(|()| name),
            }
            name = self.names.file(self.number, reason);
            self.number = self.number.saturating_add(1);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

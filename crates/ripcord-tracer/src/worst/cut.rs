//! Which events of a copy of the ring tell of one request: [`Survey`], [`Cut`].
//!
//! # What belongs to a request
//! | What | of whom |
//! |---|---|
//! | everything | its context, what is below it, and the tasks and jobs that worked there |
//! | beginnings, ends, tags | the contexts above it |
//! | polls while it lasted, and what woke them | tasks that worked for it among others, and who woke its tasks |
//! | the longest polls while it lasted | all others: they had the workers meanwhile |
//! | parks, stalls, losses while it lasted | each thread |
//!
//! Whoever has a poll in the extract also has there what says who it is. Slots and numbers stay
//! as they are, so a line of an extract is a line of the whole.
//!
//! # How
//! Three ways over the copy: who is whose (once for all requests that are cut), what is kept, and the
//! keeping. What is below a context is found by number: a parent is older than its children.
//!
//! # Whose poll it is
//! A poll names a slot, and slots are used again. So the survey notes from when to when each task had its
//! slot, as far as that is remembered: what began before the ring has it from the beginning, and what has
//! no end until now. Of two tasks that could have had it at a tick, as where one ends and the next is spawned in
//! the same 64 ns, it is the later.
//!
//! # How polls are followed
//! In each thread, with a stack, since they nest. A poll that panics has no end of its own, so it ends with
//! that of its task. Where a block of the thread is missing, whatever was open is given up: the end that comes
//! next may belong to a poll that nobody has seen begin. Such an end is left out with it.
//!
//! # What a request's neighbours tell
//! The analysis blames a busy worker for time in which a woken task was not polled, and names who had the
//! worker. For that the polls of everybody are wanted while the request lasted, and nothing else of them.
//! A second with a million short polls would be megabytes, so the longest are kept: a queue behind many
//! short ones shows as time that nobody is to blame for, and not as somebody's fault.
//!
//! # Limitations
//! Who woke a waker is not there: the way back goes one step beyond the request's own tasks. Marks of user
//! tasks and metrics are left out, as they belong to nobody. A merge has one parent in a trace, so what is
//! below a merge of several requests belongs to the first of them.
//!
//! # Costs
//! Memory for each task and context of the ring, and for each poll while the request lasted. Each way
//! decodes the whole ring, which is 30 ns an event.

use crate::output::Live;
use crate::ring::Copy;
use ripcord_trace_format::{Decoder, Event, Schema, WakeBy};
use std::collections::{HashMap, HashSet};

/// So many polls of tasks that have nothing to do with the request are kept.
const OTHERS_MAX: usize = 1_000;

/// A way up that is longer is left.
const DEPTH_MAX: usize = 256;

/// What is remembered, and what lives.
pub(super) struct Remembered {
    /// By thread, and then in order.
    copies: Vec<Copy>,
    /// With the ticks at which they began.
    live: Vec<(u64, Live)>,
    /// How the copies are decoded: this version of the crate has written them.
    schema: Schema,
}

/// When a task had its slot, and for whom it worked.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The slot that events name it by.
    slot: u64,
    /// When it was spawned; 0: before what is remembered.
    from: u64,
    /// When it ended; the largest number: it has not.
    to: u64,
    /// The context that was made for it.
    ctx: Option<u64>,
}

/// Who is whose in all that is remembered.
///
/// Made once for all requests that are cut out of one copy. It has no texts, only numbers.
#[derive(Default)]
pub(super) struct Survey {
    /// By context: the one above.
    parents: HashMap<u64, Option<u64>>,
    /// By the id of the task.
    tasks: HashMap<u64, Span>,
    /// By the id of the job: its context. A job has no slot.
    jobs: HashMap<u64, Option<u64>>,
    /// By slot: since when, until when, and the task.
    slots: HashMap<u64, Vec<(u64, u64, u64)>>,
}

/// A request, by the number of its context, and from when to when it lasted, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Of its context.
    pub(super) id: u64,
    /// When that was made.
    pub(super) began: u64,
    /// When its last handle was gone.
    pub(super) ended: u64,
}

/// What belongs to a request, by number.
///
/// A task may be in several of its sets: the request's own come first, then those that worked for it.
#[derive(Default)]
pub(super) struct Cut {
    /// The tick at which the request began.
    from: u64,
    /// The tick at which it was over.
    to: u64,
    /// The request's own context and those below it.
    inside: HashSet<u64>,
    /// These, those above, and those that have woken its tasks.
    contexts: HashSet<u64>,
    /// Tasks and jobs that belong to it.
    own: HashSet<u64>,
    /// Tasks of others that worked for it.
    visitors: HashSet<u64>,
    /// Tasks that woke one of those, or ended one of its contexts.
    wakers: HashSet<u64>,
    /// Everybody who is told of.
    known: HashSet<u64>,
    /// Polls that are kept, by thread and number.
    polls: HashSet<(u32, u64)>,
}

/// An event that belongs to a request.
pub(super) struct Kept<'a> {
    /// The thread that has written it.
    pub(super) thread: u32,
    /// When.
    pub(super) tick: u64,
    /// With texts that are borrowed from the copy.
    pub(super) event: Event<'a>,
}

/// A poll that has begun.
#[derive(Clone, Copy)]
struct Open {
    /// Counted in its thread, from the first one that is remembered.
    number: u64,
    /// Of the task.
    slot: u64,
    /// The tick at which it began.
    from: u64,
}

impl Remembered {
    /// Of a copy of the ring, and of what lived when it was made.
    ///
    /// What lives is to be asked for first, as for a dump: then whoever is missing there is in the copy.
    pub(super) fn new(mut copies: Vec<Copy>, live: Vec<(u64, Live)>) -> Self {
        copies.sort_by_key(|copy| (copy.thread, copy.sequence));
        Self {
            copies,
            live,
            schema: Schema::current(),
        }
    }

    /// What lived then, with the ticks at which it began.
    pub(super) fn live(&self) -> &[(u64, Live)] {
        &self.live
    }

    /// Each event with its thread and tick, and the poll that it happened in, which it may begin or end.
    fn walk<'a>(&'a self, mut each: impl FnMut(u32, u64, &Event<'a>, Option<Open>)) {
        let mut lane = Lane::default();
        let mut before = None;
        for copy in &self.copies {
            let this = (copy.thread, copy.sequence);
            if before.is_none_or(|(thread, _)| thread != copy.thread) {
                lane = Lane::default();
            } else if before.is_some_and(|(_, sequence)| sequence + 1 != copy.sequence) {
                lane.open.clear();
            }
            before = Some(this);
            let events = Decoder::new(&copy.bytes, copy.first_tick, &self.schema);
            for (tick, event) in events.map_while(Result::ok) {
                let open = lane.follow(tick, &event);
                each(copy.thread, tick, &event, open);
            }
        }
    }
}

/// Which polls are under way on a thread.
#[derive(Default)]
struct Lane {
    /// The innermost last.
    open: Vec<Open>,
    /// How many have begun so far.
    polls: u64,
}

impl Lane {
    /// The poll that an event happened in: the one that it begins or ends, or else the innermost.
    fn follow(&mut self, tick: u64, event: &Event<'_>) -> Option<Open> {
        match event {
            Event::PollStart { slot, .. } => {
                self.open.push(Open {
                    number: self.polls,
                    slot: *slot,
                    from: tick,
                });
                self.polls += 1;
                self.open.last().copied()
            }
            _ if is_poll_end(event) => self.open.pop(),
            // A poll that has panicked ends with its task.
            Event::TaskEnd { slot, .. } if self.open.last().is_some_and(|o| o.slot == *slot) => {
                self.open.pop()
            }
            _ => self.open.last().copied(),
        }
    }
}

/// Whether it ends the innermost poll of its thread, by itself.
fn is_poll_end(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::PollPending { .. }
            | Event::PollListening { .. }
            | Event::PollYield { .. }
            | Event::PollPreempt { .. }
            | Event::PollReady { .. }
            | Event::PollLost { .. }
    )
}

/// Whether the poll ends here.
fn ends(event: &Event<'_>, open: Open) -> bool {
    let is_its_task = matches!(event, Event::TaskEnd { slot, .. } if *slot == open.slot);
    is_its_task || is_poll_end(event)
}

impl Survey {
    /// Goes over everything once.
    ///
    /// Who lives is asked last: it knows the beginnings of those whose first event is forgotten.
    pub(super) fn of(all: &Remembered) -> Self {
        let mut survey = Self::default();
        all.walk(|_, tick, event, _| survey.note(tick, event));
        for (tick, live) in &all.live {
            match live {
                Live::Context(id, said) => {
                    survey.parents.insert(*id, said.parent);
                }
                Live::Task(_, id, true, said) => {
                    survey.jobs.insert(*id, said.ctx);
                }
                Live::Task(slot, id, false, said) => {
                    survey.task(*id, (*slot).into(), said.ctx).from = *tick;
                }
            }
        }
        for (id, span) in &survey.tasks {
            let spans = survey.slots.entry(span.slot).or_default();
            spans.push((span.from, span.to, *id));
        }
        for spans in survey.slots.values_mut() {
            spans.sort_unstable();
        }
        survey
    }

    /// Beginnings and ends say the same of whom they tell of, so either is enough.
    fn note(&mut self, tick: u64, event: &Event<'_>) {
        match *event {
            Event::CtxCreate { id, parent, .. } | Event::CtxEnd { id, parent, .. } => {
                self.parents.insert(id, parent);
            }
            Event::TaskSpawn { slot, id, ctx, .. } => self.task(id, slot, ctx).from = tick,
            Event::TaskEnd { slot, id, ctx, .. } => self.task(id, slot, ctx).to = tick,
            Event::JobQueued { job, ctx, .. } | Event::JobEnd { job, ctx, .. } => {
                self.jobs.insert(job, ctx);
            }
            _ => {}
        }
    }

    /// What is known of a task; of one that is new nothing but whose it is.
    fn task(&mut self, id: u64, slot: u64, ctx: Option<u64>) -> &mut Span {
        self.tasks.entry(id).or_insert(Span {
            slot,
            from: 0,
            to: u64::MAX,
            ctx,
        })
    }

    /// Who had the slot then: of two that could, the later.
    fn task_at(&self, slot: u64, tick: u64) -> Option<u64> {
        let spans = self.slots.get(&slot)?;
        let mut had = spans.iter().rev();
        let found = had.find(|(from, to, _)| (*from..=*to).contains(&tick));
        found.map(|(_, _, id)| *id)
    }

    /// What belongs to the request; `None` where nothing is remembered of it.
    pub(super) fn cut(&self, all: &Remembered, request: Request) -> Option<Cut> {
        self.parents.get(&request.id)?;
        let mut cut = Cut {
            from: request.began,
            to: request.ended,
            inside: self.inside(request.id),
            ..Cut::default()
        };
        cut.contexts.clone_from(&cut.inside);
        let mut above = request.id;
        for _ in 0..DEPTH_MAX {
            let Some(Some(parent)) = self.parents.get(&above) else {
                break;
            };
            cut.contexts.insert(*parent);
            above = *parent;
        }
        let is_own = |ctx: &Option<u64>| ctx.is_some_and(|ctx| cut.inside.contains(&ctx));
        let tasks = self.tasks.iter().filter(|(_, span)| is_own(&span.ctx));
        let jobs = self.jobs.iter().filter(|(_, ctx)| is_own(ctx));
        cut.own = tasks
            .map(|(id, _)| *id)
            .chain(jobs.map(|(id, _)| *id))
            .collect();
        self.find_visitors(all, &mut cut);
        self.find_wakers(all, &mut cut);
        self.choose_polls(all, &mut cut);
        for set in [&cut.own, &cut.visitors, &cut.wakers] {
            cut.known.extend(set);
        }
        Some(cut)
    }

    /// By number: whoever is below is younger.
    fn inside(&self, id: u64) -> HashSet<u64> {
        let younger = self.parents.iter().filter(|(child, _)| **child > id);
        let mut younger: Vec<_> = younger.collect();
        younger.sort_unstable();
        let mut inside = HashSet::from([id]);
        for (child, parent) in younger {
            if parent.is_some_and(|parent| inside.contains(&parent)) {
                inside.insert(*child);
            }
        }
        inside
    }

    /// Tasks of others that went over to one of its contexts, as one that serves a connection.
    fn find_visitors(&self, all: &Remembered, cut: &mut Cut) {
        all.walk(|_, tick, event, _| {
            let Event::TaskCtx { slot, ctx } = *event else {
                return;
            };
            if let Some(id) = self.task_at(slot, tick)
                && cut.inside.contains(&ctx)
                && !cut.own.contains(&id)
            {
                cut.visitors.insert(id);
            }
        });
    }

    /// Who woke one of the request's tasks, and who ended one of its contexts; also contexts that did.
    ///
    /// A wake by the end of a context that is neither above nor below, as that of a shared piece of work, needs that
    /// context to be told of.
    fn find_wakers(&self, all: &Remembered, cut: &mut Cut) {
        all.walk(|_, tick, event, _| match *event {
            Event::Wake {
                slot, by, waker, ..
            } => {
                let woken = self.task_at(slot, tick);
                if !woken.is_some_and(|id| cut.works(id, tick)) {
                    return;
                }
                match (by, waker) {
                    (WakeBy::Task | WakeBy::Completion, Some(slot)) => {
                        cut.wakers.extend(self.task_at(slot, tick));
                    }
                    (WakeBy::Cancel, Some(ctx)) => {
                        cut.contexts.insert(ctx);
                    }
                    _ => {}
                }
            }
            Event::CtxCancel {
                id, by: Some(by), ..
            } if cut.contexts.contains(&id) => {
                cut.wakers.insert(by);
            }
            _ => {}
        });
    }

    /// All of the request's own, whenever they were; of the others those that lasted into the time of the request,
    /// the nearest and longest first.
    ///
    /// A poll that has no end counts as one that is still under way.
    fn choose_polls(&self, all: &Remembered, cut: &mut Cut) {
        let mut others: HashMap<(u32, u64), (u64, Option<u64>)> = HashMap::new();
        let (mut polls, mut known) = (HashSet::new(), HashSet::new());
        all.walk(|thread, tick, event, open| {
            if let (
                Event::Stall {
                    slot: Some(slot), ..
                },
                true,
            ) = (event, cut.lasts(tick))
            {
                known.extend(self.task_at(*slot, tick));
            }
            let Some(open) = open else { return };
            let at = (thread, open.number);
            if matches!(event, Event::PollStart { .. }) {
                let task = self.task_at(open.slot, tick);
                if task.is_some_and(|id| cut.own.contains(&id)) {
                    polls.insert(at);
                } else if tick < cut.to {
                    // As long as it takes, until its end is found.
                    others.insert(at, (u64::MAX - tick, task));
                }
            } else if let Some((length, _)) = others.get_mut(&at)
                && ends(event, open)
            {
                *length = tick.saturating_sub(open.from);
                if tick <= cut.from {
                    others.remove(&at);
                }
            }
        });
        let mut others: Vec<_> = others.into_iter().collect();
        let near = |task: Option<u64>| {
            task.is_some_and(|id| cut.visitors.contains(&id) || cut.wakers.contains(&id))
        };
        others.sort_unstable_by_key(|(at, (length, task))| {
            (!near(*task), std::cmp::Reverse(*length), *at)
        });
        for (at, (_, task)) in others.into_iter().take(OTHERS_MAX) {
            polls.insert(at);
            known.extend(task);
        }
        cut.polls = polls;
        cut.known = known;
    }

    /// The events that belong to the request, by thread and then in order.
    pub(super) fn kept<'a>(&self, all: &'a Remembered, cut: &Cut) -> Vec<Kept<'a>> {
        let mut kept = Vec::new();
        all.walk(|thread, tick, event, open| {
            if self.belongs(cut, thread, tick, event, open) {
                kept.push(Kept {
                    thread,
                    tick,
                    event: *event,
                });
            }
        });
        kept
    }

    /// The table of the module, event by event.
    fn belongs(
        &self,
        cut: &Cut,
        thread: u32,
        tick: u64,
        event: &Event<'_>,
        open: Option<Open>,
    ) -> bool {
        let is_kept = |open: Option<Open>| {
            open.is_some_and(|open| cut.polls.contains(&(thread, open.number)))
        };
        let works = |slot| {
            self.task_at(slot, tick).is_some_and(|id| {
                cut.works(id, tick) || cut.wakers.contains(&id) && cut.lasts(tick)
            })
        };
        match *event {
            Event::PollStart { .. } => is_kept(open),
            _ if is_poll_end(event) => is_kept(open),
            Event::TaskSpawn { id, .. } | Event::TaskEnd { id, .. } => cut.known.contains(&id),
            Event::TaskCtx { slot, .. }
            | Event::Wake { slot, .. }
            | Event::TaskLost { slot, .. } => works(slot),
            Event::CtxCreate { id, .. }
            | Event::CtxCancel { id, .. }
            | Event::CtxSeen { id, .. }
            | Event::CtxEnd { id, .. }
            | Event::CtxTag { id, .. }
            | Event::CtxVain { id, .. } => cut.contexts.contains(&id),
            Event::RegionBegin { .. } | Event::RegionEnd { .. } | Event::Log { .. } => {
                is_kept(open) && open.is_some_and(|open| works(open.slot))
            }
            Event::JobQueued { job, .. } | Event::JobStart { job } | Event::JobEnd { job, .. } => {
                cut.own.contains(&job)
            }
            Event::Stack { task, .. } => cut.known.contains(&task),
            Event::ThreadStart { .. } | Event::ThreadStop { .. } => true,
            Event::Park { .. }
            | Event::Unpark { .. }
            | Event::Stall { .. }
            | Event::Dropped { .. } => cut.lasts(tick),
            _ => false,
        }
    }
}

impl Cut {
    /// Whether the request lasted then.
    fn lasts(&self, tick: u64) -> bool {
        (self.from..=self.to).contains(&tick)
    }

    /// Whether that task is the request's, or works for it then.
    fn works(&self, id: u64, tick: u64) -> bool {
        self.own.contains(&id) || self.visitors.contains(&id) && self.lasts(tick)
    }

    /// Whether something that lives belongs to it.
    pub(super) fn has(&self, live: &Live) -> bool {
        match live {
            Live::Task(_, id, ..) => self.known.contains(id),
            Live::Context(id, _) => self.contexts.contains(id),
        }
    }
}

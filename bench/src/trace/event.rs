//! What one event costs where it is told: through the seam of the core into the ring.
//!
//! A batch of events and a batch of clock readings take turns in one process; what is left of an
//! event without its reading is the recorder's own.

use std::hint::black_box;
use std::panic::Location;
use std::time::Instant;

use ripcord_core::tasks::{PollEnd, Spawned, TaskRef, Tasks, WokenBy};
use ripcord_trace_format::{ClockKind, Reader};
use ripcord_tracer::{Mode, Recorder};

use super::{CLOCK, ours};
use crate::case::{Case, Goal, Kind, RIPCORD, Readings, Unit};
use crate::plan::{Plan, repeat};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("event/unpark", "an event without arguments")
            .rust(RIPCORD, |plan| {
                told(plan, 1, |tasks, _| tasks.unparked(Some(0)))
            })
            .rust(CLOCK, clock),
        case("event/poll", "start and end of a poll, each")
            .rust(RIPCORD, |plan| told(plan, 2, poll))
            .rust(CLOCK, clock),
        case("event/cycle", "wake, start and end of a poll, each").rust(RIPCORD, |plan| {
            told(plan, 3, |tasks, task| {
                tasks.woken(task, WokenBy::Runtime(0));
                poll(tasks, task);
            })
        }),
    ]
}

fn case(id: &'static str, title: &'static str) -> Case {
    let nanoseconds = Unit::Nanoseconds;
    Case::new(Kind::Micro, id, title)
        .metric(
            "beyond",
            "time beyond the reading of the clock",
            nanoseconds,
            Goal::at_most(12.0),
        )
        .metric("time", "time of an event", nanoseconds, None)
}

fn poll(tasks: &Tasks, task: TaskRef) {
    let turn = tasks.poll_started(task, None, Some(0));
    turn.end(PollEnd::Pending, None);
}

/// An operation that tells `events` events of one task; the figures are for each of them.
fn told(plan: &Plan, events: u32, tell: impl Fn(&Tasks, TaskRef)) -> Readings {
    let recorder = ours::recorder(Mode::Full);
    let tasks = Tasks::new(recorder.tasks());
    let task = tasks.spawned(&Spawned {
        task: 1,
        parent: None,
        context: None,
        name: "bench",
        site: Location::caller(),
        size: 64,
        is_blocking: false,
    });
    assert!(task.is_told(), "the recorder wants to hear of the task");
    let clock = clock_of(&recorder);
    let readings = plan.beside(
        |count| repeat(count, &mut || tell(&tasks, black_box(task))),
        |count| {
            repeat(count, &mut || {
                for _ in 0..events {
                    read(clock);
                }
            })
        },
    );
    readings.scaled(1.0 / f64::from(events))
}

fn clock(plan: &Plan) -> Readings {
    let clock = clock_of(&ours::recorder(Mode::Full));
    plan.timed(|count| repeat(count, &mut || read(clock)))
}

/// The clock that the recorder has chosen on this machine, as its traces say it.
fn clock_of(recorder: &Recorder) -> ClockKind {
    let mut trace = Vec::new();
    recorder.dump(&mut trace).expect("a vector takes all");
    let reader = Reader::new(&trace[..]).expect("it is a trace");
    reader.header().expect("it has a header").clock
}

#[inline]
fn read(clock: ClockKind) {
    match clock {
        #[cfg(target_arch = "x86_64")]
        ClockKind::Tsc => {
            #[expect(unsafe_code, reason = "the one instruction that reads the counter")]
            // SAFETY: every x86-64 processor has it, and it has no effect but its result.
            black_box(unsafe { core::arch::x86_64::_rdtsc() });
        }
        _ => {
            black_box(Instant::now());
        }
    }
}

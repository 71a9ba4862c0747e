//! The demo's own recording: what it says of each fault, and of the requests that were late.
//!
//! Nothing here knows what a fault does. A request with a fault has a tag in the recording, and what is
//! said of it is concluded from its events alone, as `ripcord explain` does for any program.

use super::faults::{Fault, TAG};
use ripcord::trace::{Losses, Recorder};
use ripcord_analysis::explain::{Blame, Part};
use ripcord_analysis::read::Trace;
use ripcord_analysis::waterfall::LateEnd;
use ripcord_analysis::{Analysis, Explanation, Options, Place, Select};
use std::cmp::Reverse;
use std::io::Cursor;
use std::time::Duration;

/// Bytes of events that are remembered: more than a minute of the demo's usual load.
pub(super) const MEMORY: usize = 64 << 20;

/// What the recording says.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Of each fault that left something to be explained, in the order of the faults.
    pub(crate) faults: Vec<(Fault, Story)>,
    /// Of the contexts that ended latest.
    pub(crate) latest: Vec<Story>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) losses: Losses,
    /// How much of all waiting listened to a context, from 0 to 1.
    pub(crate) coverage: Option<f64>,
}

/// A sentence, and what it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Story {
    pub(crate) sentence: String,
    /// What is to blame, in a word.
    pub(crate) blame: Option<&'static str>,
    /// Whose time it was.
    pub(crate) task: Option<String>,
    /// File and line.
    pub(crate) at: Option<String>,
}

/// Reads what `recorder` remembers.
///
/// # Errors
/// Why it cannot be read: that would be a fault of the recorder.
pub(super) fn read(recorder: &Recorder, faults: &[Fault]) -> Result<Recorded, String> {
    let mut bytes = Vec::new();
    let dumped = recorder
        .dump(&mut bytes)
        .map_err(|error| error.to_string())?;
    let mut trace = Trace::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let of = |fault: &Fault| Select::Tag {
        key: Some(TAG.to_owned()),
        text: fault.name().to_owned(),
    };
    let options = faults.iter().fold(Options::default(), |options, fault| {
        options.select(of(fault))
    });
    let found = Analysis::of(&mut trace, &options).map_err(|error| error.to_string())?;
    let stories = faults.iter();
    Ok(Recorded {
        faults: stories
            .filter_map(|fault| Some((*fault, story(&found, *fault)?)))
            .collect(),
        latest: latest(&found),
        events: dumped.events,
        bytes: dumped.event_bytes,
        losses: recorder.losses(),
        coverage: found.cancel_coverage,
    })
}

/// The most telling end of a context with this fault.
fn story(found: &Analysis, fault: Fault) -> Option<Story> {
    if fault == Fault::NestedTimeout {
        // It harms nobody at once, so no request shows it.
        return found.never_fires.iter().find_map(|row| {
            let at = row.location.as_ref()?;
            at.file.ends_with("order.rs").then(|| Story {
                sentence: format!("{row}."),
                blame: Some("never_fires"),
                task: None,
                at: Some(at.to_string()),
            })
        });
    }
    let ends = found.late_ends.iter().filter(|end| {
        let mut tags = end.ctx.tags.iter();
        tags.any(|(key, text)| **key == *TAG && **text == *fault.name())
    });
    let explained = ends.map(|end| (end, Explanation::of(end)));
    let best = explained.min_by_key(|(end, explanation)| telling(end, explanation));
    best.map(|(_, explanation)| Story::of(&explanation))
}

/// How telling an end is; the least is the most.
///
/// First what was late, then where time ran out, in the innermost service that it did; then what was ended
/// by somebody, where that began.
fn telling(end: &LateEnd, explanation: &Explanation) -> (u8, Reverse<Duration>, Duration) {
    let created = end.ctx.created;
    if end.late >= LATE {
        (0, Reverse(end.late), created)
    } else if explanation.ran_out.is_some() {
        (1, Reverse(created), end.late)
    } else if explanation.cause == "deadline_exceeded" {
        (2, Reverse(created), end.late)
    } else if explanation.cause != "dropped" {
        (3, Reverse(Duration::ZERO), created)
    } else {
        (4, Reverse(end.late), created)
    }
}

/// What is late by less than this is not what a fault is about.
const LATE: Duration = Duration::from_millis(100);

/// The latest contexts, of one kind each.
fn latest(found: &Analysis) -> Vec<Story> {
    let mut latest: Vec<Story> = Vec::new();
    for end in found.stories().filter(|end| end.late >= LATE) {
        let story = Story::of(&Explanation::of(end));
        let is_new = latest
            .iter()
            .all(|known| (&known.blame, &known.task) != (&story.blame, &story.task));
        if is_new {
            latest.push(story);
        }
    }
    latest.truncate(LATEST);
    latest
}

/// Kinds of lateness that are told.
const LATEST: usize = 5;

impl Story {
    fn of(explanation: &Explanation) -> Self {
        let sentence = explanation.to_string();
        if let Some(ran_out) = explanation.told_ran_out() {
            return Self {
                sentence,
                blame: Some("ran_out"),
                task: Some(ran_out.task.to_string()),
                at: at(&ran_out.at_end.place),
            };
        }
        let first = explanation
            .parts
            .first()
            .filter(|_| explanation.late >= LATE);
        Self {
            sentence,
            blame: Some(first.map_or(explanation.cause, |part| word(&part.blame))),
            task: first.map(|part| part.task.to_string()),
            at: first.and_then(place).and_then(at),
        }
    }
}

fn at(place: &Place) -> Option<String> {
    place.location.as_ref().map(ToString::to_string)
}

fn place(part: &Part) -> Option<&Place> {
    match &part.blame {
        Blame::DeafAwait { place } | Blame::LostWaker { place } | Blame::LongPoll { place } => {
            Some(place)
        }
        Blame::SlowCleanUp { place, .. } => place.as_ref(),
        _ => None,
    }
}

fn word(blame: &Blame) -> &'static str {
    match blame {
        Blame::DeafAwait { .. } => "deaf_await",
        Blame::LostWaker { .. } => "lost_waker",
        Blame::LongPoll { .. } => "long_poll",
        Blame::BlockingJob => "blocking_job",
        Blame::BusyPool => "busy_pool",
        Blame::BusyWorker { .. } => "busy_worker",
        Blame::LateTimer => "late_timer",
        Blame::Propagation => "propagation",
        Blame::SlowCleanUp { .. } => "slow_clean_up",
        _ => "unknown",
    }
}

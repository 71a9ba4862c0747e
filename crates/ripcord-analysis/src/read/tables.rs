//! What the numbers of a trace stand for: places in the source, labels, threads.

use crate::slots::Slots;
use ripcord_trace_format::{Event, ThreadKind};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A place in the source.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Location;
///
/// let place = Location { file: "src/orders/risk.rs".into(), line: 88, column: 9 };
/// assert_eq!(place.to_string(), "risk.rs:88");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Location {
    /// The file, as the compiler calls it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

/// As people say it: the file without its folders, and the line.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.rsplit(['/', '\\']).next().unwrap_or_default();
        write!(f, "{}:{}", clean(name), self.line)
    }
}

/// A thread of the recorded program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Thread {
    /// Its number in the trace.
    pub number: u32,
    /// What it is for: `worker`, `blocking`, or another word; `unknown` where the trace does not say.
    pub kind: &'static str,
    /// Its name, or nothing.
    pub name: String,
    /// Events of it that the recorder says it has lost.
    pub lost: u64,
}

/// The tables of a trace.
///
/// # Costs
/// As large as the tables in the trace, which are the recorded process's: they do not grow with time.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    locations: Slots<Location>,
    labels: Slots<Arc<str>>,
    /// Number of the place of a label, for those that have one.
    label_places: Slots<u64>,
    threads: HashMap<u32, Thread, foldhash::fast::RandomState>,
    /// Files have many locations each.
    files: HashSet<Arc<str>, foldhash::fast::RandomState>,
}

impl Tables {
    /// The place with this number.
    #[must_use]
    pub fn location(&self, index: u64) -> Option<&Location> {
        self.locations.get(index)
    }

    /// The label with this number. It is as the program wrote it: see [`clean`].
    #[must_use]
    pub fn label(&self, index: u64) -> Option<&Arc<str>> {
        self.labels.get(index)
    }

    /// Where the label with this number stands in the source, if the trace says so: the leaf that is waited
    /// for, or the region.
    #[must_use]
    pub fn label_location(&self, index: u64) -> Option<&Location> {
        self.location(*self.label_places.get(index)?)
    }

    /// The thread with this number.
    #[must_use]
    pub fn thread(&self, number: u32) -> Option<&Thread> {
        self.threads.get(&number)
    }

    /// All threads by number.
    #[must_use]
    pub fn threads(&self) -> Vec<&Thread> {
        let mut threads: Vec<_> = self.threads.values().collect();
        threads.sort_unstable_by_key(|thread| thread.number);
        threads
    }

    /// All places with their numbers, the smallest first.
    pub fn locations(&self) -> impl Iterator<Item = (u64, &Location)> {
        self.locations.iter()
    }

    /// All labels with their numbers, the smallest first.
    pub fn labels(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.labels.iter()
    }

    /// Takes in what one event says of the tables.
    pub(crate) fn note(&mut self, thread: u32, event: &Event<'_>) {
        match *event {
            Event::Location {
                index,
                file,
                line,
                column,
            } => {
                let file = self.file(file);
                let place = Location { file, line, column };
                self.locations.insert(index, place);
            }
            Event::Label { index, text, loc } => {
                self.labels.insert(index, text.into());
                if let Some(loc) = loc {
                    self.label_places.insert(index, loc);
                }
            }
            Event::ThreadStart { kind, name } => {
                let entry = self.thread_mut(thread);
                name.clone_into(&mut entry.name);
                entry.kind = match kind {
                    ThreadKind::Worker => "worker",
                    ThreadKind::Blocking => "blocking",
                    _ => "unlisted",
                };
            }
            _ => {}
        }
    }

    /// The thread, which is made known.
    pub(crate) fn thread_mut(&mut self, number: u32) -> &mut Thread {
        self.threads.entry(number).or_insert_with(|| Thread {
            number,
            kind: "unknown",
            name: String::new(),
            lost: 0,
        })
    }

    fn file(&mut self, file: &str) -> Arc<str> {
        if let Some(known) = self.files.get(file) {
            return Arc::clone(known);
        }
        let file: Arc<str> = file.into();
        self.files.insert(Arc::clone(&file));
        file
    }
}

/// A text of a trace as it may be shown: what a terminal might obey is escaped.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::clean;
///
/// assert_eq!(clean("a \u{1b}[2J b"), r"a \u{1b}[2J b");
/// assert_eq!(clean("it's \"plain\""), "it's \"plain\"");
/// ```
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let is_plain =
        |letter: &char| matches!(letter, '\'' | '"' | '\\') || letter.escape_debug().count() == 1;
    if text.chars().all(|letter| is_plain(&letter)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_plain(&letter) {
            out.push(letter);
        } else {
            out.extend(letter.escape_debug());
        }
    }
    Cow::Owned(out)
}

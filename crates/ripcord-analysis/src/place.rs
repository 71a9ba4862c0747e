//! Where something happens: what a task waits on, and the line in the program's own source.

use crate::read::{Location, clean};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// What a task waits on or does, and where.
///
/// # Examples
/// ```
/// use ripcord_analysis::Place;
///
/// let place = Place::from_stack("tokio::sync::Mutex::lock in tokio-1.54.1/src/sync/mutex.rs:430:9\n\
///     shop::risk::check at src/risk.rs:88:17").expect("a frame is the program's own");
/// assert_eq!(place.to_string(), "tokio::sync::Mutex::lock at risk.rs:88");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// What it waits on, or which region it is in.
    pub what: Option<Arc<str>>,
    /// The function that the location is in, where that is known.
    pub function: Option<Arc<str>>,
    /// The line.
    pub location: Option<Location>,
    /// Whether the line is only that of the spawn, because nothing better is known.
    pub is_spawn: bool,
}

impl Place {
    /// Whether nothing is known.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.what.is_none() && self.location.is_none()
    }

    /// The place of an await stack, the innermost frame first: the innermost frame that is in the
    /// program's own source, and what it called there. `None` if no frame is.
    ///
    /// Which frames are the program's own, whoever took the stack has said (docs/internals/recording.md, 15).
    #[must_use]
    pub fn from_stack(text: &str) -> Option<Self> {
        let mut called = None;
        for line in text.lines().take(FRAMES_MAX) {
            if let Some((function, place)) = line.split_once(" at ") {
                return Some(Self {
                    what: called,
                    function: Some(function.into()),
                    location: Some(parse_location(place)?),
                    is_spawn: false,
                });
            }
            // Of a library, or of nobody knows what.
            let function = line
                .split_once(" in ")
                .map_or(line, |(function, _)| function);
            called = Some(function.into());
        }
        None
    }
}

/// `file:line:column`, as a stack has it.
fn parse_location(text: &str) -> Option<Location> {
    let (rest, column) = text.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Location {
        file: file.into(),
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.as_ref().or(self.function.as_ref());
        match (what, &self.location) {
            (Some(what), Some(location)) if self.is_spawn => {
                write!(f, "{} (spawned at {location})", clean(what))
            }
            (Some(what), Some(location)) => write!(f, "{} at {location}", clean(what)),
            (Some(what), None) => f.write_str(&clean(what)),
            (None, Some(location)) if self.is_spawn => {
                write!(f, "an unnamed await (spawned at {location})")
            }
            (None, Some(location)) => write!(f, "{location}"),
            (None, None) => f.write_str("an unknown place"),
        }
    }
}

/// A stack is cut where a trace cuts texts, so it never has so many.
const FRAMES_MAX: usize = 256;

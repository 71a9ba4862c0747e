//! Contexts: the tree, whose deadline holds, who ended them, and how the budget shrank.

use crate::json::{ns, opt_ns};
use crate::read::{Location, clean};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A context. Times are from the beginning of the trace; in JSON they are nanoseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct CtxRow {
    /// Its id.
    pub id: u64,
    /// Id of its parent.
    pub parent: Option<u64>,
    /// How it came to be: `child`, `deadline`, `shield`, …
    pub kind: &'static str,
    /// Its name, or that of the nearest above it.
    pub name: Option<Arc<str>>,
    /// Where it was made.
    pub location: Option<Location>,
    /// What it is known as elsewhere: key and text, such as `request.id`.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// When it was made, or first seen.
    #[serde(serialize_with = "ns")]
    pub created: Duration,
    /// How long it had by its own deadline.
    #[serde(serialize_with = "opt_ns")]
    pub own_budget: Option<Duration>,
    /// How long it had by the deadline in effect.
    #[serde(serialize_with = "opt_ns")]
    pub budget: Option<Duration>,
    /// Whose deadline is in effect, if it is that of a context above.
    pub shortened_by: Option<Owner>,
    /// How its end began, if it began here.
    pub end: Option<EndRow>,
    /// When somebody first looked at it after the end.
    #[serde(serialize_with = "opt_ns")]
    pub seen: Option<Duration>,
    /// When its last handle was gone.
    #[serde(serialize_with = "opt_ns")]
    pub over: Option<Duration>,
}

/// A context whose deadline holds for others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Owner {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// Where it was made.
    pub location: Option<Location>,
}

/// How a context ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct EndRow {
    /// The kind of the cause: `deadline_exceeded`, `peer_gone`, …
    pub cause: &'static str,
    /// Its message.
    pub message: Option<Arc<str>>,
    /// Id of the task that did it.
    pub by: Option<u64>,
    /// Where it was done.
    pub location: Option<Location>,
    /// When it had to end.
    #[serde(serialize_with = "ns")]
    pub asked: Duration,
    /// When that was told; none if only the clock says so, as nobody waited for it.
    #[serde(serialize_with = "opt_ns")]
    pub told: Option<Duration>,
}

/// As people say it: name and tags, or the line where it was made.
impl fmt::Display for CtxRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.location) {
            (Some(name), _) => f.write_str(&clean(name))?,
            (None, Some(location)) => write!(f, "context of {location}")?,
            (None, None) => write!(f, "context {}", self.id)?,
        }
        let id = self.tags.iter().find(|(key, _)| **key == *"request.id");
        if let Some((_, text)) = id.or(self.tags.first()) {
            write!(f, " #{}", clean(text))?;
        }
        Ok(())
    }
}

/// An own deadline that can never fire, because one above it is earlier.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct NeverFires {
    /// Where the deadline is set.
    pub location: Option<Location>,
    /// Where the earlier one is set.
    pub shortened_by: Option<Location>,
    /// How often, and by how much it is too late.
    pub by: crate::Stat,
}

impl fmt::Display for NeverFires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline ")?;
        if let Some(location) = &self.location {
            write!(f, "at {location} ")?;
        }
        f.write_str("can never fire: that ")?;
        if let Some(location) = &self.shortened_by {
            write!(f, "at {location} ")?;
        }
        let by = crate::explain::Human(self.by.max);
        write!(f, "comes up to {by} earlier, {} times", self.by.count)
    }
}

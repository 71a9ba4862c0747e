//! What a scope can end with: its first failure, the others, and the stragglers.

use crate::task::{TaskInfo, panic_text};
use ripcord_core::{Cancelled, Cause};
use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// One task, or the body, that failed.
#[derive(Debug)]
pub struct Failure<E> {
    /// The name of the task; `body` for the scope's own closure.
    pub task: Cow<'static, str>,
    /// How it failed.
    pub kind: FailureKind<E>,
}

/// How a task failed.
#[non_exhaustive]
pub enum FailureKind<E> {
    /// It returned an error.
    Error(E),
    /// It panicked; the payload.
    Panic(Box<dyn Any + Send>),
}

impl<E: fmt::Debug> fmt::Debug for FailureKind<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.debug_tuple("Error").field(error).finish(),
            Self::Panic(payload) => f
                .debug_tuple("Panic")
                .field(&panic_text(&**payload))
                .finish(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.escape_debug();
        match &self.kind {
            FailureKind::Error(error) => write!(f, "task `{task}` failed: {error}"),
            FailureKind::Panic(payload) => {
                write!(f, "task `{task}` panicked: {}", panic_text(&**payload))
            }
        }
    }
}

/// Why a scope has no result.
///
/// There is a first failure, or tasks had to be aborted after the scope's context was
/// done, or both.
#[derive(Debug)]
pub struct ScopeError<E> {
    first: Option<Failure<E>>,
    others: Vec<Failure<E>>,
    stragglers: Vec<TaskInfo>,
    cause: Option<Cause>,
}

impl<E> ScopeError<E> {
    pub(super) fn new(
        first: Option<Failure<E>>,
        others: Vec<Failure<E>>,
        stragglers: Vec<TaskInfo>,
        cause: Option<Cause>,
    ) -> Self {
        Self {
            first,
            others,
            stragglers,
            cause,
        }
    }

    /// The failure that came first.
    #[must_use]
    pub fn first(&self) -> Option<&Failure<E>> {
        self.first.as_ref()
    }

    /// The failures that came later, without those that only report the cancel.
    #[must_use]
    pub fn others(&self) -> &[Failure<E>] {
        &self.others
    }

    /// The tasks that did not end within the grace: aborted, or, if they run on a
    /// blocking thread or never yield, left behind.
    #[must_use]
    pub fn stragglers(&self) -> &[TaskInfo] {
        &self.stragglers
    }

    /// Why the scope's context was done, if that came from outside.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// The error that came first, if a task or the body returned one.
    #[must_use]
    pub fn into_error(self) -> Option<E> {
        match self.first?.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }

    /// All parts: the first failure and the others.
    #[must_use]
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.first.into_iter().chain(self.others).collect()
    }
}

impl<E: fmt::Display> fmt::Display for ScopeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, &self.cause) {
            (Some(first), _) => write!(f, "{first}")?,
            (None, Some(cause)) => write!(f, "scope cancelled: {cause}")?,
            (None, None) => f.write_str("scope cancelled")?,
        }
        if !self.others.is_empty() {
            write!(f, "; {} more failed", self.others.len())?;
        }
        for straggler in &self.stragglers {
            write!(f, "; did not stop in time: {straggler}")?;
        }
        Ok(())
    }
}

impl<E: Error + 'static> Error for ScopeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.first.as_ref()?.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }
}

/// Why nothing was spawned.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The scope's context is done, or the scope has returned.
    Over(Cancelled),
    /// All places are taken (`try_spawn` only); the limit.
    Full(usize),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(cancelled) => write!(f, "scope is over: {cancelled}"),
            Self::Full(limit) => write!(f, "all {limit} places of the scope are taken"),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Over(cancelled) => Some(cancelled),
            Self::Full(_) => None,
        }
    }
}

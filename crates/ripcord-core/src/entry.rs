//! Where sampling decides: an [`Entry`] is where a piece of work comes in from outside.
//!
//! A service is one tree, and all of its requests are below one root. So an observer that wants one
//! request in a hundred cannot choose among roots: it is asked where a request begins, once, before its
//! context is made.
//!
//! # What an answer means
//! | Asked at | and declined | entries below |
//! |---|---|---|
//! | an entry | nothing is told of it and of what is below | go with it: they are not asked |
//! | a context below nothing | the same, up to entries below | are asked |
//!
//! What is declined has no record, and its tasks have no observer: it costs what it does in a tree that
//! nobody observes. The answer stands in the [`Env`], so it holds for views, merges and what was
//! detached as well.
//!
//! # Costs
//! A call of the observer for each entry, and for each context below nothing. A flag in the `Env`
//! elsewhere.

use crate::node::Make;
use crate::panics::{Foreign, contain};
use crate::site::Site;
use crate::state::{ENTRY, FORWARD, RECORDED};
use crate::sync::Arc;
use crate::values::Env;
use crate::{block::Special, observe};
use std::panic::Location;

/// A piece of work that comes in from outside: a request, a message, a job.
///
/// Given to [`Derive::entry`](crate::Derive::entry) by whoever makes the context, and to
/// [`Observer::wants`](crate::Observer::wants), which decides whether it is told of.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Entry, Observer};
/// use std::sync::Arc;
///
/// /// One request in four.
/// struct Some;
/// impl Observer for Some {
///     fn wants(&self, entry: &Entry<'_>) -> bool {
///         entry.number.is_some_and(|trace| trace % 4 == 0)
///     }
/// }
/// let (server, _guard) = Ctx::root().observer(Arc::new(Some)).build();
/// let [first, second] = [7, 8].map(|trace| server.derive().entry(Entry::new().numbered(trace)).ctx());
/// assert!(first.recorded().is_none() && second.recorded().is_some());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// A number that every service has that works for the same request, as the id of its trace.
    ///
    /// By it all of them choose the same requests. It may come from a stranger.
    pub number: Option<u128>,
    /// Whether the caller records the request, where it has said so.
    pub is_sampled: Option<bool>,
    /// The name that the context will have: its own, or that of the nearest above that has one.
    pub name: Option<&'a str>,
    /// Where the context is made.
    pub site: Option<&'static Location<'static>>,
    /// Nobody has called it an entry: it is a context below nothing, in a tree without a root of its
    /// own, or of what was detached.
    pub is_root: bool,
}

impl Entry<'static> {
    /// An entry of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            number: None,
            is_sampled: None,
            name: None,
            site: None,
            is_root: false,
        }
    }

    /// Gives it the number of the request: see [`number`](Self::number).
    #[must_use]
    pub const fn numbered(mut self, number: u128) -> Self {
        self.number = Some(number);
        self
    }

    /// Says whether the caller records the request.
    #[must_use]
    pub const fn sampled(mut self, is_sampled: bool) -> Self {
        self.is_sampled = Some(is_sampled);
        self
    }
}

/// Whom a new context asks whether it is told of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks<'a> {
    /// The observer, if it is below nothing.
    BelowNothing,
    /// Nobody: it goes with what it is made of.
    Nobody,
    /// The observer, unless an entry above has.
    As(&'a Entry<'static>),
}

/// What an observer has answered, as it stands in an [`Env`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Choice {
    /// It was not asked: it is told of all, and asked at entries.
    #[default]
    Open,
    /// It has declined a context below nothing, and is asked at entries.
    Quiet,
    /// It has chosen an entry.
    Chosen,
    /// It has declined an entry.
    Declined,
}

impl Choice {
    /// Whether the observer is told of nothing here.
    pub(crate) fn is_untold(self) -> bool {
        matches!(self, Self::Quiet | Self::Declined)
    }
}

impl Make<'_> {
    /// Asks the observer, if it is to be asked here, and notes the answer in the `Env`.
    ///
    /// Most contexts have a parent and are no entry: they end at one comparison.
    #[inline]
    pub(crate) fn decide(&mut self) {
        match self.asks {
            Asks::As(entry) => {
                self.bits |= ENTRY;
                self.ask(*entry);
            }
            Asks::BelowNothing if self.is_below_nothing() => self.ask(Entry {
                is_root: true,
                ..Entry::new()
            }),
            Asks::BelowNothing | Asks::Nobody => {}
        }
    }

    /// Kept out of the way of those that need not ask.
    #[inline(never)]
    fn ask(&mut self, asked: Entry<'static>) {
        let above = || self.up.and_then(|up| up.env());
        let Some(env) = self.env.as_deref().or_else(above) else {
            return;
        };
        let Some(choice) = choose(env, asked, self.site) else {
            return;
        };
        if self.env.is_none() {
            self.env = Some(Arc::new(env.clone()));
        }
        if let Some(env) = &mut self.env {
            // Made for this context alone, as a rule: then nothing is copied.
            Arc::make_mut(env).choice = choice;
        }
    }

    /// A view has no end of its own, and a merge or a source goes with its `Env`.
    fn is_below_nothing(&self) -> bool {
        self.up.is_none() && self.bits & FORWARD == 0 && matches!(self.special, Special::No)
    }

    /// The mark of a recorded node, which an answer may change: `inherited` without one.
    #[inline]
    pub(crate) fn recorded(&self, inherited: u32) -> u32 {
        let choice = self.env.as_deref().map_or(Choice::Open, |env| env.choice);
        if choice == Choice::Open {
            return inherited;
        }
        inherited & !RECORDED | observe::inherited(self.env.as_deref())
    }
}

/// What is to be noted; `None` where that changes nothing, or nobody observes.
///
/// An observer that panics is told.
fn choose(env: &Env, entry: Entry<'static>, site: Site) -> Option<Choice> {
    match env.choice {
        Choice::Open => {}
        Choice::Quiet if !entry.is_root => {}
        Choice::Quiet | Choice::Chosen | Choice::Declined => return None,
    }
    let observer = env.runtime.as_ref()?.observer.as_ref()?.get()?;
    let entry = Entry {
        name: env.name.as_deref(),
        site: site.location(),
        ..entry
    };
    let wants = contain(Foreign::Observer, || observer.wants(&entry)).unwrap_or(true);
    match (entry.is_root, wants) {
        // What is below is not asked anyway.
        (true, true) => None,
        (true, false) => Some(Choice::Quiet),
        (false, true) => Some(Choice::Chosen),
        (false, false) => Some(Choice::Declined),
    }
}

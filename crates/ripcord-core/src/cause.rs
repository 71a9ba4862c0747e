//! Why a context is done: [`Cause`], its [`Kind`], and the error [`Cancelled`].

use crate::deadline::Tick;
use crate::site::Site;
use crate::sync::Arc;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The class of a [`Cause`], for matching.
///
/// Non-exhaustive: match what is treated specially and let `_` stand for the rest.
///
/// # Examples
/// ```
/// use ripcord_core::{Cause, Kind};
///
/// fn http_status(cause: &Cause) -> u16 {
///     match cause.kind() {
///         Kind::DeadlineExceeded => 504,
///         Kind::Shutdown | Kind::Signal => 503,
///         Kind::PeerGone => 499,
///         _ => 500,
///     }
/// }
/// assert_eq!(http_status(&Kind::Shutdown.into()), 503);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Somebody called `cancel` with nothing more special to say.
    Cancelled,
    /// A deadline passed.
    DeadlineExceeded,
    /// The [`CancelGuard`](crate::CancelGuard) was dropped: the work is over.
    Dropped,
    /// The guard was dropped by a panic that unwound past it.
    Panicked,
    /// Another task of the same scope failed.
    SiblingFailed,
    /// The process or a part of it shuts down.
    Shutdown,
    /// The peer that asked for the work is gone.
    PeerGone,
    /// A signal asked the process to stop.
    Signal,
    /// None of the above: see the message or the error.
    Custom,
}

impl Kind {
    /// The kind as a fixed lower-case identifier, for logs and metrics.
    ///
    /// Stable: a label that is stored in a metric keeps its meaning. For people there is
    /// `Display`, which reads as part of a sentence.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Kind;
    ///
    /// assert_eq!(Kind::DeadlineExceeded.as_str(), "deadline_exceeded");
    /// assert_eq!(Kind::DeadlineExceeded.to_string(), "deadline exceeded");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Dropped => "dropped",
            Self::Panicked => "panicked",
            Self::SiblingFailed => "sibling_failed",
            Self::Shutdown => "shutdown",
            Self::PeerGone => "peer_gone",
            Self::Signal => "signal",
            Self::Custom => "custom",
        }
    }

    /// [`Kind::Custom`] reads as "cancelled": what is special about it is in the message.
    const fn phrase(self) -> &'static str {
        match self {
            Self::Cancelled | Self::Custom => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Dropped => "guard dropped",
            Self::Panicked => "panicked",
            Self::SiblingFailed => "sibling failed",
            Self::Shutdown => "shutting down",
            Self::PeerGone => "peer gone",
            Self::Signal => "stopped by a signal",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase())
    }
}

/// A place in the source: of a call, or of the making of a node.
///
/// A node knows its place as a [`Site`] of 32 bits; the look-up of the location, which takes
/// a lock, is put off to whoever asks the cause for it.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Call(&'static Location<'static>),
    Made(Site),
}

impl Place {
    fn location(self) -> Option<&'static Location<'static>> {
        match self {
            Self::Call(location) => Some(location),
            Self::Made(site) => site.location(),
        }
    }
}

/// What the act of ending adds to a cause: who, where, when.
///
/// It is there once or not at all, see [`Cause::has_origin`]. The instants are
/// [`Tick::NEVER`] where there is none.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) site: Option<Place>,
    pub(crate) at: Tick,
    pub(crate) due: Tick,
}

impl Origin {
    const NONE: Self = Self {
        name: None,
        site: None,
        at: Tick::NEVER,
        due: Tick::NEVER,
    };
}

/// What all handles of one cause share.
///
/// It never changes while it is shared: the builders go through [`Arc::make_mut`], which
/// copies where another handle exists.
#[derive(Clone)]
pub(crate) struct CauseInner {
    kind: Kind,
    message: Option<Cow<'static, str>>,
    origin: Origin,
    rare: Option<Box<Rare>>,
}

// Each deadline that passes makes one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<CauseInner>() <= 96,
    "with the two counts of its Arc: what an allocator keeps ready"
);

/// What few causes have. The error is foreign, so its drop is contained.
#[derive(Clone, Default)]
struct Rare {
    error: Option<Arc<dyn Error + Send + Sync>>,
    /// Taken over from elsewhere: when that was, and what it was there.
    relay: Option<(Instant, Arc<CauseInner>)>,
}

impl Drop for Rare {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            crate::panics::drop_foreign(error);
        }
    }
}

/// Why a context is done: a kind, where it came from, and perhaps an error.
///
/// A cause is given to `cancel` without an origin; the act of cancelling adds the
/// name of the context, the call site and the instant. A cause that already has an
/// origin (because it was read from another context) keeps it.
///
/// # Examples
/// ```
/// use ripcord_core::{Cause, Ctx, Kind};
///
/// let (ctx, guard) = Ctx::background().named("export").child();
/// guard.cancel("disk is nearly full");
/// let cause = ctx.cause().expect("cancelled above");
/// assert_eq!(cause.kind(), Kind::Cancelled);
/// assert_eq!(cause.message(), Some("disk is nearly full"));
/// assert_eq!(cause.name(), Some("export"));
/// assert!(cause.site().is_some());
/// ```
///
/// # Costs
/// One word; a clone is one reference count. One allocation of 112 bytes for each cancel,
/// shared by the whole subtree, and a second one if there is an error.
///
/// # Limitations
/// Equality is identity: two causes made from the same message are different. A cause tells
/// nothing about work that succeeded; a guard that is dropped after the last line of its
/// function leaves [`Kind::Dropped`].
#[derive(Clone)]
pub struct Cause(pub(crate) Arc<CauseInner>);

impl Cause {
    /// Makes a cause of a kind, without message or error.
    ///
    /// The same as `Cause::from(kind)`, for a place where the type is not inferred.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self::of(kind, Origin::NONE)
    }

    /// Makes a cause that has its origin already.
    pub(crate) fn of(kind: Kind, origin: Origin) -> Self {
        Self(Arc::new(CauseInner {
            kind,
            message: None,
            origin,
            rare: None,
        }))
    }

    /// Makes a cause of [`Kind::Custom`] from a message.
    ///
    /// Not quite `Cause::from(message)`, whose kind is [`Kind::Cancelled`]: this one says that
    /// readers should look at the message for what happened.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cause, Kind};
    ///
    /// assert_eq!(Cause::custom("quota used up").kind(), Kind::Custom);
    /// assert_eq!(Cause::from("quota used up").kind(), Kind::Cancelled);
    /// ```
    #[must_use]
    pub fn custom(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Custom).with_message(message)
    }

    /// Makes a cause of [`Kind::Custom`] from an error, to be found again with
    /// [`downcast_ref`](Self::downcast_ref) and as `source()` of [`Cancelled`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Cause, Ctx};
    /// use std::{error::Error, num::ParseIntError};
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// guard.cancel(Cause::error("x".parse::<u8>().unwrap_err()));
    /// let error: Cancelled = ctx.check().unwrap_err();
    /// assert!(error.cause().downcast_ref::<ParseIntError>().is_some());
    /// assert!(error.source().is_some(), "reports print it as the reason below");
    /// ```
    #[must_use]
    pub fn error(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Custom).with_error(error)
    }

    /// Sets the message.
    ///
    /// A cause that is shared already is copied: the other handles keep what they show.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cause, Kind};
    ///
    /// let bare = Cause::new(Kind::Shutdown);
    /// let told = bare.clone().with_message("new version");
    /// assert_eq!((bare.message(), told.message()), (None, Some("new version")));
    /// assert_ne!(bare, told);
    /// ```
    #[must_use]
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        self.change(|inner| inner.message = Some(message))
    }

    /// Sets the error; the kind stays.
    ///
    /// Unlike [`Cause::error`], which sets [`Kind::Custom`]: for a kind that says what to do
    /// together with an error that says what happened.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cause, Kind};
    /// use std::io;
    ///
    /// let cause = Cause::new(Kind::PeerGone).with_error(io::Error::other("reset"));
    /// assert_eq!(cause.kind(), Kind::PeerGone);
    /// assert!(cause.downcast_ref::<io::Error>().is_some());
    /// ```
    #[must_use]
    pub fn with_error(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error: Arc<dyn Error + Send + Sync> = Arc::from(error.into());
        self.change(|inner| inner.rare.get_or_insert_default().error = Some(error))
    }

    /// The class of the cause.
    ///
    /// It is what programs decide by; message, name and site are for people.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message given by whoever cancelled.
    ///
    /// As it was given, of any length and content: escape it where it goes to a terminal.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The error given by whoever cancelled.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cause, Kind};
    /// use std::io;
    ///
    /// let cause = Cause::error(io::Error::other("disk is full"));
    /// let text = cause.as_error().map(ToString::to_string);
    /// assert_eq!(text.as_deref(), Some("disk is full"));
    /// assert!(Cause::new(Kind::Dropped).as_error().is_none());
    /// ```
    #[must_use]
    pub fn as_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.rare.as_ref()?.error.as_deref()
    }

    /// The error given by whoever cancelled, if it is an `E`.
    ///
    /// The error is unchanged by the way it took through the tree (spec/context.md C17). It is
    /// the outermost one: what it wraps is reached through its own `source()`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error()?.downcast_ref()
    }

    /// The name of the context that was cancelled, or that owns the deadline.
    ///
    /// Which of several nested limits ended the work, in one word:
    ///
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::time::Duration;
    ///
    /// let request = Ctx::background().named("request").with_timeout(Duration::ZERO);
    /// let query = request.named("query").with_timeout(Duration::from_secs(1));
    /// assert_eq!(query.name(), Some("query"));
    /// assert_eq!(query.cause().expect("done").name(), Some("request"));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.origin.name.as_deref()
    }

    /// Where `cancel` was called, or where the deadline was set. For a dropped
    /// guard: where its context was made.
    ///
    /// # Costs
    /// A location that came from a node is looked up under a lock of the process; no foreign
    /// code runs there.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.origin.site?.location()
    }

    /// When the cancel was asked for, by the clock of the tree.
    ///
    /// `None` for a guard that was dropped while nobody was registered: reading the
    /// clock would cost more than everything else about it.
    ///
    /// For a deadline it is when the expiry was *noticed*, see [`due`](Self::due) and
    /// [`exceeded_by`](Self::exceeded_by).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// drop(guard);
    /// assert_eq!(ctx.cause().expect("done").at(), None);
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// guard.cancel("by hand");
    /// assert!(ctx.cause().expect("done").at().is_some());
    /// ```
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.0.origin.at.known()
    }

    /// The deadline that passed, if that is the cause.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::time::Duration;
    ///
    /// let ctx = Ctx::background();
    /// let due = ctx.clock_now();
    /// let cause = ctx.with_deadline(due).cause().expect("an instant that is past");
    /// assert_eq!(cause.due(), Some(due));
    /// assert_eq!(cause.exceeded_by(), cause.at().map(|seen| seen - due));
    /// ```
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.0.origin.due.known()
    }

    /// By how much the deadline was missed when that was noticed.
    ///
    /// Large values point at threads that were too busy to look, not at a wrong deadline. Never
    /// negative: a deadline does not pass early (spec/context.md C20).
    #[must_use]
    pub fn exceeded_by(&self) -> Option<Duration> {
        Some(self.at()?.saturating_duration_since(self.due()?))
    }

    /// A changed cause is a new one: the mark of what it was taken over from is removed, so that
    /// it is not equal to its original.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut CauseInner)) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        if let Some(rare) = &mut inner.rare {
            rare.relay = None;
        }
        change(inner);
        self
    }

    /// When the context that shows this cause ended, where that is known.
    ///
    /// Not the instant of the origin, if the cause came from another tree or through
    /// a shield: those ends are later.
    pub(crate) fn ended(&self) -> Option<Instant> {
        let relayed = self.relay().map(|relay| relay.0);
        relayed.or(self.due()).or(self.at())
    }

    /// The same cause, of a context that ended at `at`.
    ///
    /// Kind, message and origin stay, and so does equality: [`first`](Self::first) sees through
    /// any number of relays, because each one refers to the first and not to the one before.
    pub(crate) fn relayed(self, at: Instant) -> Self {
        if self.ended() == Some(at) {
            return self;
        }
        let mut inner = (*self.0).clone();
        inner.rare.get_or_insert_default().relay = Some((at, Arc::clone(self.first())));
        Self(Arc::new(inner))
    }

    fn relay(&self) -> Option<&(Instant, Arc<CauseInner>)> {
        self.0.rare.as_ref()?.relay.as_ref()
    }

    /// What this was before it was relayed.
    fn first(&self) -> &Arc<CauseInner> {
        self.relay().map_or(&self.0, |relay| &relay.1)
    }

    pub(crate) fn has_origin(&self) -> bool {
        self.0.origin.site.is_some()
    }

    pub(crate) fn with_origin(self, origin: Origin) -> Self {
        self.change(|inner| inner.origin = origin)
    }
}

impl PartialEq for Cause {
    /// Two causes are equal if they are the same one, clones of it, or taken over from it.
    ///
    /// Not by content: an error inside cannot be compared, and "was it this cancel?" is the
    /// question that is asked.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.first(), other.first())
    }
}

impl Eq for Cause {}

impl From<Kind> for Cause {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

impl From<&'static str> for Cause {
    /// What `guard.cancel("why")` uses: [`Kind::Cancelled`], with the text as message.
    fn from(message: &'static str) -> Self {
        Self::new(Kind::Cancelled).with_message(message)
    }
}

impl From<String> for Cause {
    fn from(message: String) -> Self {
        Self::new(Kind::Cancelled).with_message(message)
    }
}

impl From<Cancelled> for Cause {
    /// Passes the end of one context on to another: the origin stays the first one's
    /// (spec/context.md C18).
    ///
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    ///
    /// let (a, guard_a) = Ctx::background().named("a").child();
    /// let (b, guard_b) = Ctx::background().named("b").child();
    /// guard_a.cancel(Kind::PeerGone);
    /// guard_b.cancel(a.check().unwrap_err());
    /// assert_eq!(b.cause().expect("done").name(), Some("a"));
    /// assert_eq!(a.cause(), b.cause());
    /// ```
    fn from(error: Cancelled) -> Self {
        error.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Cause");
        out.field("kind", &self.kind());
        if let Some(message) = self.message() {
            out.field("message", &message);
        }
        if let Some(error) = self.as_error() {
            out.field("error", &error);
        }
        if let Some(name) = self.name() {
            out.field("name", &name);
        }
        if let Some(site) = self.site() {
            out.field("site", &format_args!("{site}"));
        }
        if let Some(late) = self.exceeded_by() {
            out.field("exceeded_by", &late);
        }
        out.finish()
    }
}

impl fmt::Display for Cause {
    /// One line: kind, name, message, site. The error is not part of it: it is the
    /// `source()` of [`Cancelled`]. For logs: message and name are escaped, and the site is a path of
    /// the source, which is nobody's business outside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        if let Some(message) = self.message() {
            write!(f, ": {}", message.escape_debug())?;
        }
        if let Some(name) = self.name() {
            write!(f, " (context `{}`", name.escape_debug())?;
            if let Some(site) = self.site() {
                write!(f, ", {site}")?;
            }
            f.write_str(")")
        } else if let Some(site) = self.site() {
            write!(f, " ({site})")
        } else {
            Ok(())
        }
    }
}

/// The error of an operation that ended because its context is done.
///
/// # Examples
/// ```
/// use ripcord_core::{Cancelled, Ctx, Kind};
///
/// fn step(ctx: &Ctx) -> Result<(), Cancelled> {
///     ctx.check()?;
///     Ok(())
/// }
///
/// let (ctx, guard) = Ctx::background().child();
/// assert!(step(&ctx).is_ok());
/// guard.cancel(Kind::PeerGone);
/// assert_eq!(step(&ctx).map_err(|e| e.kind()), Err(Kind::PeerGone));
/// ```
///
/// # Limitations
/// It says that work was given up, not what came of it: an operation that was under way at
/// the time may have taken effect or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Cancelled(pub(crate) Cause);

impl Cancelled {
    /// Makes the error from a cause.
    ///
    /// For code that has a cause from elsewhere and wants to fail the way a `check` does.
    #[must_use]
    pub fn new(cause: impl Into<Cause>) -> Self {
        Self(cause.into())
    }

    /// The cause of the context.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// The cause of the context.
    ///
    /// To be given to another `cancel`, or stored: it is all that the error consists of.
    #[must_use]
    pub fn into_cause(self) -> Cause {
        self.0
    }

    /// The class of the cause.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// Whether a deadline passed, as opposed to everything else.
    ///
    /// The line between "too slow", which a caller may retry elsewhere or count against a
    /// budget, and "no longer wanted", which it may not.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::time::Duration;
    ///
    /// let error = Ctx::background().with_timeout(Duration::ZERO).check().unwrap_err();
    /// assert!(error.is_deadline());
    /// ```
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        self.kind() == Kind::DeadlineExceeded
    }

    /// The end of a context that an error is, or that stands in the chain of its sources.
    ///
    /// For the one place of a service that turns errors into answers or log lines: whatever a
    /// library has wrapped around it, work that was given up is no failure of the work. An
    /// [`io::Error`] is looked into as well, whose own `source` leaves out what it is made of.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Kind};
    /// use std::io;
    ///
    /// let cancelled = Cancelled::new(Kind::PeerGone);
    /// let read = io::Error::from(cancelled);
    /// let shown: Box<dyn std::error::Error> = format!("load the page: {read}").into();
    /// assert_eq!(Cancelled::find(&read).map(Cancelled::kind), Some(Kind::PeerGone));
    /// assert!(Cancelled::find(&*shown).is_none(), "a text is no chain");
    /// ```
    ///
    /// # Costs
    /// A walk of at most 64 errors: a chain that leads back into itself comes to an end.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        for _ in 0..CHAIN_MAX {
            let error = next?;
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}

/// Errors that are looked at in one chain.
const CHAIN_MAX: usize = 64;

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancelled").field(&self.0).finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Cancelled {
    /// The error that the cause carries; `Display` leaves it out, so a report that prints the
    /// whole chain says nothing twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .as_error()
            .map(|error| error as &(dyn Error + 'static))
    }
}

impl From<Cancelled> for io::Error {
    /// `TimedOut` for a deadline, `Other` for the rest. Never `Interrupted`, which
    /// `read_exact` and `write_all` retry.
    ///
    /// The way back: `get_ref()` is the [`Cancelled`] (spec/context.md C25).
    ///
    /// ```
    /// use ripcord_core::{Cancelled, Kind};
    /// use std::io;
    ///
    /// let error = io::Error::from(Cancelled::new(Kind::DeadlineExceeded));
    /// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    /// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Cancelled>());
    /// assert_eq!(inner.map(Cancelled::kind), Some(Kind::DeadlineExceeded));
    /// ```
    fn from(error: Cancelled) -> Self {
        let kind = if error.is_deadline() {
            io::ErrorKind::TimedOut
        } else {
            io::ErrorKind::Other
        };
        Self::new(kind, error)
    }
}

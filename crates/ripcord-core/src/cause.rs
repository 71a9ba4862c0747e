//! Why a context is done: [`Cause`], its [`Kind`], and the error [`Cancelled`].

use crate::site::Site;
use crate::sync::Arc;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The class of a [`Cause`], for matching.
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

#[derive(Clone, Default)]
pub(crate) struct Origin {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) site: Option<Place>,
    pub(crate) at: Option<Instant>,
}

#[derive(Clone)]
pub(crate) struct CauseInner {
    kind: Kind,
    message: Option<Cow<'static, str>>,
    error: Option<Arc<dyn Error + Send + Sync>>,
    origin: Option<Origin>,
    due: Option<Instant>,
}

impl Drop for CauseInner {
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
/// One word; a clone is one reference count. One allocation for each cancel,
/// shared by the whole subtree.
#[derive(Clone)]
pub struct Cause(pub(crate) Arc<CauseInner>);

impl Cause {
    /// Makes a cause of a kind, without message or error.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self(Arc::new(CauseInner {
            kind,
            message: None,
            error: None,
            origin: None,
            due: None,
        }))
    }

    /// Makes a cause of [`Kind::Custom`] from a message.
    #[must_use]
    pub fn custom(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Custom).with_message(message)
    }

    /// Makes a cause of [`Kind::Custom`] from an error, to be found again with
    /// [`downcast_ref`](Self::downcast_ref) and as `source()` of [`Cancelled`].
    #[must_use]
    pub fn error(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Custom).with_error(error)
    }

    /// Sets the message.
    #[must_use]
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        self.change(|inner| inner.message = Some(message))
    }

    /// Sets the error; the kind stays.
    #[must_use]
    pub fn with_error(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error: Arc<dyn Error + Send + Sync> = Arc::from(error.into());
        self.change(|inner| inner.error = Some(error))
    }

    /// The class of the cause.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message given by whoever cancelled.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The error given by whoever cancelled.
    #[must_use]
    pub fn as_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.error.as_deref()
    }

    /// The error given by whoever cancelled, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error()?.downcast_ref()
    }

    /// The name of the context that was cancelled, or that owns the deadline.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.origin.as_ref()?.name.as_deref()
    }

    /// Where `cancel` was called, or where the deadline was set. For a dropped
    /// guard: where its context was made.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.origin.as_ref()?.site?.location()
    }

    /// When the cancel was asked for, by the clock of the tree.
    ///
    /// `None` for a guard that was dropped while nobody was registered: reading the
    /// clock would cost more than everything else about it.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.0.origin.as_ref()?.at
    }

    /// The deadline that passed, if that is the cause.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.0.due
    }

    /// By how much the deadline was missed when that was noticed.
    #[must_use]
    pub fn exceeded_by(&self) -> Option<Duration> {
        Some(self.at()?.saturating_duration_since(self.due()?))
    }

    pub(crate) fn change(mut self, change: impl FnOnce(&mut CauseInner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The cause without its instants, as if it had happened just now.
    pub(crate) fn stripped(&self) -> Self {
        let name = self
            .0
            .origin
            .as_ref()
            .and_then(|origin| origin.name.clone());
        let site = self.0.origin.as_ref().and_then(|origin| origin.site);
        self.clone()
            .with_origin(Origin {
                name,
                site,
                at: None,
            })
            .change(|inner| inner.due = None)
    }

    pub(crate) fn has_origin(&self) -> bool {
        self.0.origin.is_some()
    }

    pub(crate) fn with_origin(self, origin: Origin) -> Self {
        self.change(|inner| inner.origin = Some(origin))
    }

    pub(crate) fn with_due(self, due: Instant) -> Self {
        self.change(|inner| inner.due = Some(due))
    }
}

impl PartialEq for Cause {
    /// Two causes are equal if they are the same one, or clones of it.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Cause {}

impl From<Kind> for Cause {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

impl From<&'static str> for Cause {
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
    /// `source()` of [`Cancelled`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        if let Some(message) = self.message() {
            write!(f, ": {message}")?;
        }
        if let Some(name) = self.name() {
            write!(f, " (context `{name}`")?;
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
#[derive(Clone, PartialEq, Eq)]
pub struct Cancelled(pub(crate) Cause);

impl Cancelled {
    /// Makes the error from a cause.
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
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        self.kind() == Kind::DeadlineExceeded
    }
}

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
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .as_error()
            .map(|error| error as &(dyn Error + 'static))
    }
}

impl From<Cancelled> for io::Error {
    /// `TimedOut` for a deadline, `Other` for the rest. Never `Interrupted`, which
    /// `read_exact` and `write_all` retry.
    fn from(error: Cancelled) -> Self {
        let kind = if error.is_deadline() {
            io::ErrorKind::TimedOut
        } else {
            io::ErrorKind::Other
        };
        Self::new(kind, error)
    }
}

//! Why a call has no answer: [`CallError`].
//!
//! Two cases that ask for different reactions: after the end of one's own context there is nobody to
//! work for any more, after a failure of the peer there may be.

use ripcord_core::Cancelled;
use std::error::Error;
use std::fmt;

/// Why a call has no answer.
///
/// # Examples
/// ```
/// use ripcord_core::{Cancelled, Kind};
/// use ripcord_http::CallError;
///
/// let error: CallError<std::io::Error> = Cancelled::new(Kind::DeadlineExceeded).into();
/// assert!(error.cancelled().is_some_and(Cancelled::is_deadline));
/// ```
///
/// A policy for tower's `Retry`, which stands above the layer so that each try is told what is left by
/// then. A call that ended with its context is not tried again:
///
/// ```
/// use http::Request;
/// use ripcord_http::CallError;
/// use std::future::{Ready, ready};
/// use tower::retry::Policy;
///
/// #[derive(Clone)]
/// struct Tries(u32);
///
/// impl<B: Clone, A, E> Policy<Request<B>, A, CallError<E>> for Tries {
///     type Future = Ready<()>;
///
///     fn retry(&mut self, _: &mut Request<B>, result: &mut Result<A, CallError<E>>) -> Option<Ready<()>> {
///         let Err(CallError::Failed(_)) = result else { return None };
///         self.0 = self.0.checked_sub(1)?;
///         Some(ready(()))
///     }
///
///     fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
///         Some(request.clone()) // With its context, which is among the extensions.
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The context ended first, or would have before an answer could come.
    ///
    /// If it was done before the call, nothing was sent. Otherwise it is not known what the callee did.
    Cancelled(Cancelled),
    /// The client failed: the peer was not reached, or broke off. An answer of 500 is an answer.
    Failed(E),
}

impl<E> CallError<E> {
    /// The end of the context, if that is why: to tell one's own deadline from the peer's failure.
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Failed(_) => None,
        }
    }
}

impl<E> From<Cancelled> for CallError<E> {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(_) => f.write_str("call: the context ended first"),
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            // Shown as if it were this error, so its source comes next.
            Self::Failed(error) => error.source(),
        }
    }
}

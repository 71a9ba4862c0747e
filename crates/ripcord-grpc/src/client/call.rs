//! What belongs to one call from its making to its last byte: context, record, and the deadline
//! that the peer was told.
//!
//! # When is an answer late?
//! Ours is the deadline of the context. The peer was told one that is earlier by the reserve, and
//! counts it from a later moment. When it answers `CANCELLED` after what it was told, that was its
//! deadline, and it could not say so: tonic's server, for one, cannot.

use crate::client::layer::GrpcClientLayer;
use crate::peer_cause;
use crate::status::{code_in, into_late, local_status, propagation_code, set_code};
use http::{HeaderMap, Request};
use ripcord_core::{CancelGuard, Cancelled, Cause, Ctx};
use ripcord_propagation::{
    Call as About, CallSpan, Carried, CarrierMut as _, GrpcCode, Protocol, Side,
};
use std::error::Error;
use std::time::{Duration, Instant};
use tonic::{Code, Status, TimeoutExpired};

/// A call, from the moment at which it is asked for.
pub(crate) struct Call {
    ctx: Ctx,
    span: CallSpan,
    carried: Carried,
    /// When the deadline passes that the peer was told, which is earlier than ours by the reserve.
    told: Option<Instant>,
    /// The end of the call is the end of its context: what still sends the request's body learns it
    /// from there. Last, so that the record of a call that is dropped does not take this end for
    /// the reason.
    _guard: CancelGuard,
}

impl Call {
    /// A call below `above`, which `timeout` bounds as well.
    pub(crate) fn new<B>(
        layer: &GrpcClientLayer,
        above: &Ctx,
        timeout: Option<Duration>,
        request: &Request<B>,
    ) -> Self {
        let path = request.uri().path();
        let (ctx, guard) = above.child();
        let is_tighter = |timeout: &Duration| ctx.remaining().is_none_or(|left| *timeout < left);
        let ctx = match timeout.filter(is_tighter) {
            // The name tells in a cause that the limit was this call's own.
            Some(timeout) => ctx.named(path.to_owned()).with_timeout(timeout),
            None => ctx,
        };
        let mut carried = layer.propagation.for_call(&ctx);
        let about = About::of_request(Side::Client, Protocol::Grpc, request);
        let about = about.with_route(Some(path));
        let span = CallSpan::begin(&ctx, &mut carried, about, layer.observer.as_ref());
        Self {
            ctx,
            span,
            carried,
            told: None,
            _guard: guard,
        }
    }

    /// Writes the headers of the call; fails if nothing is left for it.
    pub(crate) fn write(
        &mut self,
        layer: &GrpcClientLayer,
        headers: &mut HeaderMap,
    ) -> Result<(), Cause> {
        headers.strip(&|name| name.starts_with(peer_cause::PREFIX));
        let sent = layer
            .propagation
            .inject_as(&self.ctx, &self.carried, &layer.peer, headers)
            .map_err(Cancelled::into_cause)?;
        let now = self.ctx.clock_now();
        self.told = sent.budget.and_then(|budget| now.checked_add(budget));
        Ok(())
    }

    pub(crate) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The head of the answer is there; `true` if the answer ends with it.
    pub(crate) fn answered(&mut self, status: u16, headers: &mut HeaderMap) -> bool {
        self.span.answered(status);
        self.trailers(headers)
    }

    /// Mends and notes the status in `headers`; `false` if there is none.
    pub(crate) fn trailers(&mut self, headers: &mut HeaderMap) -> bool {
        let Some(mut code) = code_in(headers) else {
            return false;
        };
        if code == GrpcCode::Cancelled && self.is_late() {
            code = GrpcCode::DeadlineExceeded;
            set_code(headers, code);
        }
        peer_cause::sanitise(headers);
        self.span.grpc_status(code);
        true
    }

    /// Whether the deadline has passed, ours or the one that the peer was told.
    fn is_late(&self) -> bool {
        let now = self.ctx.clock_now();
        let ours = self.ctx.deadline().map(|deadline| deadline.at());
        [self.told, ours].into_iter().flatten().any(|at| at <= now)
    }

    /// The answer came to its end.
    pub(crate) fn complete(self) {
        self.span.complete();
    }

    /// The context ended the call, or leaves nothing for it.
    pub(crate) fn cut(mut self, cause: &Cause) -> Status {
        let status = local_status(cause);
        self.span.cancelled(cause);
        self.span.grpc_status(propagation_code(status.code()));
        self.span.complete();
        status
    }

    /// The transport failed: perhaps because the context is done, by which tonic's own time-out and
    /// a peer that gives up at the same moment come out as the same end.
    pub(crate) fn failed(mut self, error: Box<dyn Error + Send + Sync>) -> Status {
        let is_timeout = is_timeout(&*error);
        let mut status = Status::from_error(error);
        if is_timeout || status.code() == Code::Cancelled {
            if let Some(cause) = self.ctx.cause() {
                return self.cut(&cause);
            }
            if is_timeout || self.is_late() {
                status = into_late(status);
            }
        }
        self.span.grpc_status(propagation_code(status.code()));
        self.span.failed(&status.message());
        self.span.complete();
        status
    }
}

/// Whether tonic's own time-out ended the call, that of `Endpoint::timeout` for example, which it
/// reports as `CANCELLED`.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        next = error.source();
    }
    false
}

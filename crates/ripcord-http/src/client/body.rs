//! The body of an answer, under the context of the call: [`ClientBody`].
//!
//! What has arrived is handed on before the context is asked: it was paid for, by the callee and on
//! the wire, and who has it may want it. So a body that always has a frame ready is read to its end;
//! its reader can look at the context by itself. On the server's side it is the other way round
//! (`server/body.rs`), because there a slow client is what keeps a body alive.
//!
//! *Invariant*: the span is there as long as the call is not over; it is completed once, by the frame
//! after which the body is at its end, the error, or the end of the context, and in the destructor as
//! given up.

use crate::BoxError;
use crate::sync::Mutex;
use http_body::{Body, Frame, SizeHint};
use ripcord_core::{Cancelled, Ctx, Done};
use ripcord_propagation::CallSpan;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// The body of an answer; it ends with [`Cancelled`] when the context of the call is done.
    ///
    /// The client's body is dropped by then, which tells the server: the stream is reset, or the
    /// connection closed. What had arrived was returned before. After its error the body has ended.
    ///
    /// The error is a [`BoxError`](crate::BoxError): the client's own, or a [`Cancelled`], which can be
    /// told apart by a downcast.
    ///
    /// # Examples
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt as _, channel::Channel};
    /// use ripcord_core::{Cancelled, Ctx};
    /// use ripcord_http::ClientLayer;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// // Stands for a client whose server has sent one row and thinks about the next.
    /// let client = service_fn(async |_: Request<()>| {
    ///     let (mut rows, body) = Channel::<Bytes>::new(1);
    ///     rows.send_data("first\n".into()).await.expect("there is room");
    ///     tokio::spawn(async move { (std::future::pending::<()>().await, rows) });
    ///     Ok::<_, std::io::Error>(Response::new(body))
    /// });
    /// let layer = ClientLayer::new(Propagation::default(), PeerPolicy::internal());
    /// let (ctx, guard) = Ctx::background().child();
    /// let answer = ctx.enter(layer.layer(client).oneshot(Request::new(()))).await.expect("a head");
    /// let mut body = answer.into_body();
    /// guard.cancel("seen enough");
    /// assert!(body.frame().await.expect("a row").is_ok(), "what is there comes first");
    /// let error = body.frame().await.expect("the end").unwrap_err();
    /// assert!(error.downcast_ref::<Cancelled>().is_some());
    /// # }
    /// ```
    ///
    /// # Costs
    /// Nothing as long as frames are there; a waiter in the context while there is none.
    ///
    /// # Limitations
    /// A reader that does not ask does not learn of the end, and the call is given up when the body is
    /// dropped. One dropped before its end counts as given up: read small answers to their end.
    pub struct ClientBody<R> {
        #[pin]
        inner: Option<R>,
        ctx: Ctx,
        // Never locked: it makes the body `Sync`, as some clients want, though a record is not.
        span: Option<Mutex<CallSpan>>,
        #[pin]
        done: Option<Done>,
    }
}

impl<R: Body> ClientBody<R> {
    pub(crate) fn new(inner: R, span: CallSpan) -> Self {
        let ctx = span.ctx().clone();
        let mut span = Some(Mutex::new(span));
        if inner.is_end_stream() {
            // Nobody reads what is not there, and the call is no less complete for it.
            complete(&mut span);
        }
        Self {
            inner: Some(inner),
            ctx,
            span,
            done: None,
        }
    }
}

impl<R> ClientBody<R> {
    /// The client's body, without the context: the call counts as complete.
    ///
    /// For a library that needs the client's own type. The deadline of the call does not bound the
    /// rest of the answer any more, and its account is closed.
    ///
    /// # Panics
    /// After the body has ended because of its context: there is none any more.
    #[track_caller]
    pub fn into_inner(mut self) -> R {
        complete(&mut self.span);
        self.inner.take().expect("the body has not ended yet")
    }
}

fn complete(span: &mut Option<Mutex<CallSpan>>) {
    if let Some(span) = span.take() {
        span.into_inner().complete();
    }
}

impl<R> Body for ClientBody<R>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    type Data = R::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if this.span.is_none() {
            return inner.poll_frame(cx).map_err(Into::into);
        }
        // What is there is taken first: it was paid for.
        match inner.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if inner.is_end_stream() {
                    this.done.set(None);
                    complete(this.span);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                if let Some(span) = this.span.as_mut() {
                    span.get_mut().failed(&error);
                }
                this.done.set(None);
                complete(this.span);
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(None) => {
                this.done.set(None);
                complete(this.span);
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if this.done.is_none() {
            this.done.set(Some(this.ctx.done()));
        }
        let Some(Poll::Ready(cause)) = this.done.as_mut().as_pin_mut().map(|done| done.poll(cx))
        else {
            return Poll::Pending;
        };
        this.inner.set(None);
        this.done.set(None);
        if let Some(span) = this.span.as_mut() {
            span.get_mut().cancelled(&cause);
        }
        complete(this.span);
        Poll::Ready(Some(Err(Cancelled::new(cause).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<R> fmt::Debug for ClientBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody")
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}

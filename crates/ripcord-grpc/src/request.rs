//! [`RequestCtx`]: the context of a [`tonic::Request`].

use ripcord_core::Ctx;
use tonic::Request;

/// Takes the context out of a request that is served, and puts one into a request that is made.
///
/// # Examples
/// A handler, and the call that it makes in turn:
/// ```
/// use ripcord_grpc::RequestCtx as _;
/// use tonic::{Request, Response, Status};
///
/// async fn get_order(request: Request<u64>) -> Result<Response<u64>, Status> {
///     let ctx = request.ctx();
///     let lookup = ctx.named("stock").with_timeout(std::time::Duration::from_millis(200));
///     let call = Request::new(*request.get_ref()).with_ctx(&lookup);
///     // let stock = stock_client.get(call).await?;
///     # drop(call);
///     Ok(Response::new(7))
/// }
/// # let _ = get_order;
/// ```
pub trait RequestCtx: Sized {
    /// The context of this request: the one that the layer made, or else the
    /// [current](Ctx::current) one.
    ///
    /// In a handler behind no [`GrpcServerLayer`](crate::GrpcServerLayer) that is the background:
    /// never done, without a deadline. A handler can so be called from a test without any server.
    ///
    /// Take it before [`Request::into_inner`], which drops it with the rest of the request. What is
    /// spawned wants a clone of it, or the spawn function of a runtime crate: a bare `tokio::spawn`
    /// has the background as its current context.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_grpc::RequestCtx as _;
    ///
    /// let request = tonic::Request::new("ping");
    /// assert_eq!(request.ctx(), Ctx::background());
    /// let ctx = Ctx::background().named("test");
    /// assert_eq!(ctx.enter_sync(|| request.ctx()), ctx);
    /// ```
    ///
    /// # Costs
    /// A look-up by type and one reference count.
    fn ctx(&self) -> Ctx;

    /// Makes the call under this context rather than the [current](Ctx::current) one.
    ///
    /// Needed outside of handlers, and for a context that was derived for this call: with a tighter
    /// deadline, another name, or detached from the request. The last one given counts.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_grpc::RequestCtx as _;
    ///
    /// let ctx = Ctx::background().named("export");
    /// let request = tonic::Request::new(()).with_ctx(&ctx);
    /// assert_eq!(request.ctx(), ctx);
    /// ```
    #[must_use]
    fn with_ctx(self, ctx: &Ctx) -> Self;
}

impl<T> RequestCtx for Request<T> {
    fn ctx(&self) -> Ctx {
        match self.extensions().get::<Ctx>() {
            Some(ctx) => ctx.clone(),
            None => Ctx::current(),
        }
    }

    fn with_ctx(mut self, ctx: &Ctx) -> Self {
        self.extensions_mut().insert(ctx.clone());
        self
    }
}

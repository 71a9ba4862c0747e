//! The servers: axum's own, hyper's with the settings of ripcord's, and ripcord's, each on demand
//! with a context per request or without.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use ripcord_core::{CancelGuard, Ctx};
use ripcord_http::{HttpLayer, Server};
use ripcord_propagation::Propagation;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::spawner::{Spawner, TokioSpawner};

/// A way to serve a router.
pub(super) trait Serves {
    /// Serves on a listener; with the right to end that, if there is one.
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    );
}

/// A server that runs until it is ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) address: SocketAddr,
    runtime: Handle,
    guard: Option<CancelGuard>,
    task: JoinHandle<()>,
}

impl Running {
    /// Serves `app` on a free port of the loopback interface.
    pub(super) fn start<S: Serves>(runtime: &Handle, app: Router) -> Running {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a port of the loopback interface is free");
        let address = listener.local_addr().expect("a listener has an address");
        let _entered = runtime.enter();
        let (guard, serving) = S::serve(listener, app);
        Running {
            address,
            runtime: runtime.clone(),
            guard,
            task: tokio::spawn(serving),
        }
    }

    /// Ends it, and waits for that.
    pub(super) fn end(self) {
        match self.guard {
            Some(guard) => drop(guard),
            None => self.task.abort(),
        }
        // One that was aborted says so, and nobody wants to know.
        let _ = self.runtime.block_on(self.task);
    }
}

/// `axum::serve`.
#[derive(Debug)]
pub(super) struct Axum;

impl Serves for Axum {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        (None, serve_by_axum(listener, app))
    }
}

async fn serve_by_axum(listener: TcpListener, app: Router) {
    axum::serve(listener, app)
        .await
        .expect("axum serves for ever");
}

/// hyper-util's server for both versions of HTTP, by hand, set as ripcord's is.
#[derive(Debug)]
pub(super) struct Hyper;

impl Serves for Hyper {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        (None, serve_by_hyper(listener, app, TokioSpawner))
    }
}

/// A connection is a task that `spawner` spawns.
pub(super) async fn serve_by_hyper(listener: TcpListener, app: Router, spawner: impl Spawner) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .half_close(false)
        .max_buf_size(65_536);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(200)
        .max_header_list_size(65_536)
        .keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(15));
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a fresh socket");
        let service = TowerToHyperService::new(app.clone());
        let builder = builder.clone();
        spawner.spawn("connection", async move {
            let io = TokioIo::new(stream);
            // How a connection ends is the clients' choice.
            let _ = builder.serve_connection_with_upgrades(io, service).await;
        });
    }
}

/// ripcord's layer under `axum::serve`.
#[derive(Debug)]
pub(super) struct RipcordLayer;

impl Serves for RipcordLayer {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ctx, guard) = root();
        let serving = serve_by_axum(listener, layered(&ctx, app));
        // axum does not look at the context, so that ends nothing but requests.
        let serving = async move {
            tokio::select! {
                () = serving => {}
                _ = ctx.done() => {}
            }
        };
        (Some(guard), serving)
    }
}

/// ripcord's server with its watcher, without a context per request.
#[derive(Debug)]
pub(super) struct RipcordServer;

impl Serves for RipcordServer {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ctx, guard) = root();
        (Some(guard), serve_by_ripcord(ctx, listener, app))
    }
}

/// ripcord's server and layer.
#[derive(Debug)]
pub(super) struct Ripcord;

impl Serves for Ripcord {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ctx, guard) = root();
        let app = layered(&ctx, app);
        (Some(guard), serve_by_ripcord(ctx, listener, app))
    }
}

async fn serve_by_ripcord(ctx: Ctx, listener: TcpListener, app: Router) {
    Server::new(&ctx)
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve(listener, app)
        .await
        .expect("the watcher is set up");
}

fn root() -> (Ctx, CancelGuard) {
    ripcord_tokio::root().name("bench").build()
}

fn layered(ctx: &Ctx, app: Router) -> Router {
    app.layer(HttpLayer::new(ctx, Propagation::default()))
}

/// The smallest service: five bytes for everybody.
pub(super) fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Also closes connections that nobody uses; longer than any scene.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::super::clients::Clients;
    use super::super::order::{Order, Span};
    use super::*;

    fn answers<S: Serves>() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Running::start::<S>(runtime.handle(), hello());
        let mut clients = Clients::of(server.address);
        clients.obey(Order::Connect(3)).unwrap();
        for has_context in [false, true] {
            let load = Order::Load {
                requests: 10,
                has_context,
            };
            assert_eq!(clients.obey(load).unwrap().len(), 4);
        }
        let left = clients.obey(Order::Leave(Span { first: 1, count: 1 }));
        assert_eq!(left.unwrap().len(), 1);
        clients.obey(Order::LeaveAll).unwrap();
        server.end();
    }

    #[test]
    fn every_server_answers_its_clients_and_ends() {
        answers::<Axum>();
        answers::<Hyper>();
        answers::<RipcordLayer>();
        answers::<RipcordServer>();
        answers::<Ripcord>();
    }
}

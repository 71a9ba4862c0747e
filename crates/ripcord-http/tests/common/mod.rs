//! A real server on a real socket, and clients that leave in every way.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(
    clippy::disallowed_types,
    reason = "a test's own lock is modelled by nobody"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use axum::Router;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ripcord_core::{CancelGuard, Cause, Ctx};
use ripcord_http::{HttpLayer, Report, Server};
use ripcord_propagation::Propagation;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// A hang is a failure, and not an endless run. Never part of what a test asserts.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test if `future` does not end.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}

/// A server that runs until it is ended.
pub struct Running {
    pub address: SocketAddr,
    pub ctx: Ctx,
    pub guard: CancelGuard,
    task: tokio::task::JoinHandle<io::Result<Report>>,
}

impl Running {
    /// Serves `app` with the settings that `set` makes.
    pub async fn start(
        app: impl FnOnce(&Ctx) -> Router,
        set: impl FnOnce(Server) -> Server,
    ) -> Self {
        let (ctx, guard) = ripcord_tokio::root().name("server").build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app(&ctx);
        let task = tokio::spawn(set(Server::new(&ctx)).serve(listener, app));
        Self {
            address,
            ctx,
            guard,
            task,
        }
    }

    /// Serves `app` below a plain layer.
    pub async fn plain(app: Router) -> Self {
        Self::start(
            |ctx| app.layer(HttpLayer::new(ctx, Propagation::default())),
            |server| server,
        )
        .await
    }

    /// Ends it and gives its report.
    pub async fn end(self) -> Report {
        self.guard.cancel("the test is over");
        self.joined().await
    }

    /// Waits for its end.
    pub async fn joined(self) -> Report {
        soon("the end of the server", self.task)
            .await
            .expect("no panic")
            .expect("no error")
    }

    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection whose drop is a RST.
    pub async fn connect_rst(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_zero_linger().unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// An HTTP/2 connection over `stream`.
    pub async fn http2(
        &self,
        stream: TcpStream,
    ) -> (hyper::client::conn::http2::SendRequest<Upload>, Switch) {
        let switch = Switch(Arc::new(Mutex::new(Some(stream))));
        let io = TokioIo::new(Switched(switch.clone()));
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        drop(tokio::spawn(connection));
        (sender, switch)
    }

    /// One request over HTTP/1, with its answer as text: head and body.
    pub async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("the answer", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        answer
    }
}

/// Closes the socket of a connection, which an HTTP/2 client spreads over tasks.
#[derive(Clone)]
pub struct Switch(Arc<Mutex<Option<TcpStream>>>);

impl Switch {
    pub fn close(&self) {
        drop(self.0.lock().unwrap().take());
    }
}

struct Switched(Switch);

impl Switched {
    fn with<T>(
        &self,
        with: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.0.0.lock().unwrap().as_mut() {
            Some(stream) => with(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// A body whose frames a test sends one by one.
pub type Upload = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// A body that sends `first` and then nothing more for as long as the sender lives.
pub fn unfinished(first: &'static [u8]) -> (Upload, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel::<()>(1);
    let body = Unfinished {
        first: (!first.is_empty()).then(|| Bytes::from_static(first)),
        receiver,
    };
    (body.boxed(), sender)
}

/// A whole body.
pub fn whole(text: &'static [u8]) -> Upload {
    Full::new(Bytes::from_static(text)).boxed()
}

struct Unfinished {
    first: Option<Bytes>,
    receiver: mpsc::Receiver<()>,
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(first))));
        }
        match self.receiver.poll_recv(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a handler tells its test.
#[derive(Debug)]
pub enum Told {
    /// It runs, with this context.
    Began(Ctx),
    /// The context ended, as seen by a task that outlives the handler.
    Ended(Cause),
    /// The handler came to its own end.
    Finished,
    /// The handler was dropped on the way.
    Dropped,
}

/// The telling end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Teller(mpsc::UnboundedSender<Told>);

/// The listening end.
pub struct Listener(mpsc::UnboundedReceiver<Told>);

pub fn channel() -> (Teller, Listener) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Teller(sender), Listener(receiver))
}

impl Teller {
    pub fn tell(&self, told: Told) {
        let _ = self.0.send(told);
    }

    /// Tells of the beginning, and, from a task of its own, of the end.
    pub fn watch(&self, ctx: &Ctx) {
        use ripcord_tokio::CtxExt as _;
        let teller = self.clone();
        drop(ctx.spawn("watch", |ctx| async move {
            let cause = ctx.done().await;
            teller.tell(Told::Ended(cause));
        }));
        self.tell(Told::Began(ctx.clone()));
    }
}

impl Listener {
    pub async fn next(&mut self) -> Told {
        soon("the next word of the handler", self.0.recv())
            .await
            .expect("the handler's end is open")
    }

    /// The next beginning, whatever else is told before it.
    pub async fn began(&mut self) -> Ctx {
        loop {
            if let Told::Began(ctx) = self.next().await {
                return ctx;
            }
        }
    }

    /// The next end, whatever else is told before it.
    pub async fn ended(&mut self) -> Cause {
        loop {
            if let Told::Ended(cause) = self.next().await {
                return cause;
            }
        }
    }

    /// What was told so far.
    pub fn rest(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Tells when it is dropped, unless it was finished.
pub struct Fate {
    teller: Teller,
    is_finished: bool,
}

impl Fate {
    pub fn new(teller: &Teller) -> Self {
        Self {
            teller: teller.clone(),
            is_finished: false,
        }
    }

    pub fn finish(mut self) {
        self.is_finished = true;
        self.teller.tell(Told::Finished);
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        if !self.is_finished {
            self.teller.tell(Told::Dropped);
        }
    }
}

//! A context for each HTTP request: time-out, cause, and the end of a client that hangs up.
//!
//! hyper drops the handler's future when the client goes, and nothing else: what the handler
//! has spawned goes on. Here each request has a context with a guard that lives in the
//! handler, so the drop ends everything that was started for the request, with a cause.
//! A time-out becomes a 504 that says who set it; the server's own end a 503.
//!
//! ```text
//! cargo run -p ripcord-examples --example http_timeout
//! cargo run -p ripcord-examples --example http_timeout -- 127.0.0.1:8080
//! ```
//!
//! The first form plays four clients over pipes in memory; the second one serves until it is
//! interrupted: try `curl -i 127.0.0.1:8080/fast`, `/slow`, and `/report` with `--max-time 1`.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ripcord::{Cancelled, Ctx, CtxExt as _, JoinHandle, Kind};
use ripcord_examples::Log;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;

/// How long a request may take.
const REQUEST: Duration = Duration::from_millis(100);
/// How long the database of `/slow` may take.
const QUERY: Duration = Duration::from_millis(50);

/// What the service does for each path; any await in it may be the last.
async fn handle(ctx: &Ctx, log: &Log, path: &str) -> Result<String, Cancelled> {
    match path {
        "/fast" => ctx.run(async { "quick".to_owned() }).await,
        "/slow" => query(ctx).await,
        "/report" => {
            let log = log.clone();
            // A task of its own: dropping the handler would not reach it.
            let worker = ctx.spawn("worker", |ctx| async move {
                let end = ctx.done().await;
                log.say(format!("worker: ends, {}", end.kind()));
            });
            // Cannot fail: the worker does not panic, and nobody aborts it.
            let _ = ctx.run(worker).await?;
            Ok("never".to_owned())
        }
        _ => Ok("try /fast, /slow or /report".to_owned()),
    }
}

/// Has a tighter deadline than its caller, and a name, so that its end can be told.
async fn query(ctx: &Ctx) -> Result<String, Cancelled> {
    let ctx = ctx.named("query").with_timeout(QUERY);
    ripcord::sleep(&ctx, Duration::from_secs(3600)).await?;
    Ok("never".to_owned())
}

/// Gives the request its context, and turns an end into an answer.
async fn answer(server: Ctx, log: Log, path: String) -> Response<Full<Bytes>> {
    let ctx = server.named(format!("GET {path}")).with_timeout(REQUEST);
    let (ctx, guard) = ctx.child();
    let seen = log.clone();
    let hook = ctx.on_done(move |cause| seen.say(format!("request over: {}", cause.kind())));
    // Bound after the hook, so dropped before it: a hook that goes first sees nothing.
    let _guard = guard;
    let (status, body) = match handle(&ctx, &log, &path).await {
        Ok(body) => (StatusCode::OK, body),
        Err(end) => (status_of(end.kind()), reason(&end)),
    };
    // The request has its answer: that its guard goes next is no event.
    hook.stop();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}

fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Which context ended the request: the innermost is not always the one.
fn reason(end: &Cancelled) -> String {
    let name = end.cause().name().unwrap_or("?");
    format!("{} in `{name}`", end.kind())
}

/// Serves one connection until it is closed, or the server's context is done.
async fn serve<IO>(server: Ctx, log: Log, io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let path = request.uri().path().to_owned();
        let response = answer(server.clone(), log.clone(), path);
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    if let Err(error) = connection.await {
        log.say(format!("connection: {error}"));
    }
}

/// A client's side of a new connection to the server.
fn connect(server: &Ctx, log: &Log) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(4096);
    let log = log.clone();
    let task = server.spawn("connection", |ctx| serve(ctx, log, far));
    (near, task)
}

async fn request(io: &mut DuplexStream, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    io.write_all(text.as_bytes())
        .await
        .expect("the pipe holds 4 KiB");
}

/// Sends a request and logs status and body of the answer.
async fn get(server: &Ctx, log: &Log, path: &str) {
    let (mut io, _task) = connect(server, log);
    request(&mut io, path).await;
    let mut text = String::new();
    io.read_to_string(&mut text)
        .await
        .expect("the answer is text");
    let status = text.split_whitespace().nth(1).unwrap_or("?");
    let body = text.rsplit("\r\n").next().unwrap_or("?");
    log.say(format!("{path}: {status}, {body}"));
}

/// Plays four clients against the server and returns what happened.
pub(crate) async fn run() -> Vec<String> {
    let log = Log::new();
    let (server, guard) = ripcord::root().name("server").build();

    get(&server, &log, "/fast").await;
    get(&server, &log, "/slow").await;

    let (mut io, task) = connect(&server, &log);
    request(&mut io, "/report").await;
    sleep(REQUEST / 4).await;
    log.say("the client hangs up");
    drop(io);
    task.await.expect("a connection does not panic");

    let (mut io, task) = connect(&server, &log);
    request(&mut io, "/report").await;
    sleep(REQUEST / 4).await;
    guard.cancel_and_sweep(Kind::Shutdown);
    let mut text = String::new();
    let read = io.read_to_string(&mut text).await;
    read.expect("the answer is text");
    let status = text.split_whitespace().nth(1).unwrap_or("?");
    log.say(format!("/report: {status}"));
    task.await.expect("a connection does not panic");
    log.events()
}

/// Serves real connections until the process is interrupted.
async fn listen(address: &str) -> std::io::Result<()> {
    let log = Log::new();
    let (server, _guard) = ripcord::root().name("server").build();
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let log = log.clone();
        drop(server.spawn("connection", |ctx| serve(ctx, log, socket)));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    if let Some(address) = std::env::args().nth(1) {
        return listen(&address).await;
    }
    run().await;
    Ok(())
}

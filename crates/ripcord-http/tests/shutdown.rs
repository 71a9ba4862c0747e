//! The stages of a server's end, and the limits on its connections.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use axum::Router;
use axum::routing::get;
use common::{Fate, Running, Told, channel, soon, whole};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use ripcord_core::{Ctx, Kind, Phase, ShutdownPlan};
use ripcord_http::{Connection, HttpLayer, OnDisconnect, Report, RequestCtx, Server};
use ripcord_propagation::Propagation;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// A handler that tells of itself and waits until it is let go.
fn waiting(teller: &common::Teller, release: &watch::Receiver<bool>) -> Router {
    let (teller, release) = (teller.clone(), release.clone());
    let handler = move |RequestCtx(ctx): RequestCtx| {
        let (teller, mut release) = (teller.clone(), release.clone());
        async move {
            let fate = Fate::new(&teller);
            teller.watch(&ctx);
            release.wait_for(|go| *go).await.expect("the test lives");
            fate.finish();
            format!("{:?}", ctx.phase())
        }
    };
    Router::new().route("/", get(handler))
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    answer
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

//= P31
#[tokio::test]
async fn while_it_drains_what_is_going_on_goes_on_and_nobody_new_comes() {
    let (teller, mut listener) = channel();
    let (release, released) = watch::channel(false);
    let server = Running::plain(waiting(&teller, &released)).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let ctx = listener.began().await;
    let address = server.address;

    assert!(server.guard.drain());
    soon("the drain", ctx.draining()).await;
    assert_eq!(ctx.phase(), Phase::Draining, "the handler is told");
    // The listener is closed soon after.
    soon("the refusal", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    release.send(true).unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("Draining"), "{answer}");
    let report = server.joined().await;
    assert!(matches!(listener.rest().first(), Some(Told::Finished)));
    assert_eq!((report.forced, report.stuck), (0, 0), "{report}");
}

/// Clients open connections ahead of their need.
#[tokio::test]
async fn a_connection_that_nobody_has_used_is_no_failure() {
    let server = Running::plain(Router::new()).await;
    let mut stream = server.connect().await;
    // Another one that is answered shows that the first was accepted.
    let answer = server
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(server.guard.drain());
    assert_eq!(read_all(&mut stream).await, "", "it is closed");
    let report = server.joined().await;
    assert_eq!((report.closed, report.failed), (2, 0), "{report}");
}

//= P31
#[tokio::test]
async fn a_cancel_is_answered_with_503_and_when_to_come_back() {
    let (teller, mut listener) = channel();
    let (_release, released) = watch::channel(false);
    let server = Running::plain(waiting(&teller, &released)).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let _ = listener.began().await;
    server.guard.cancel(Kind::Shutdown);
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("\"cause\":\"shutdown\""), "{answer}");
    assert_eq!(listener.ended().await.kind(), Kind::Shutdown);
    let report = server.joined().await;
    assert_eq!((report.closed, report.forced), (1, 0), "{report}");
}

//= P29, P31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_stop_is_cut_off_by_force() {
    let (teller, mut listener) = channel();
    let (_release, released) = watch::channel(false);
    let app = waiting(&teller, &released);
    let server = Running::start(
        // Handlers that go on after their client, and a body that is never sent.
        |ctx| {
            let layer = HttpLayer::new(ctx, Propagation::default());
            app.route("/stream", get(async || axum::body::Body::new(Never)))
                .layer(layer.on_disconnect(OnDisconnect::Ignore))
        },
        |server| server.grace(Duration::from_secs(3_600)),
    )
    .await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let ctx = listener.began().await;
    server.guard.cancel(Kind::Shutdown);
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(!ctx.is_done(), "it is to be ignored until the force");
    server.guard.force(Kind::Shutdown);
    assert_eq!(listener.ended().await.kind(), Kind::Shutdown);
    server.joined().await;
}

/// A server whose handlers go on without their client.
async fn ignoring(app: Router, set: impl FnOnce(Server) -> Server) -> Running {
    let layered = |ctx: &Ctx| {
        let layer = HttpLayer::new(ctx, Propagation::default());
        app.layer(layer.on_disconnect(OnDisconnect::Ignore))
    };
    Running::start(layered, set).await
}

/// Lets everything run that can, and sees that the server is not at its end.
async fn goes_on(end: &mut Pin<Box<impl Future<Output = Report>>>) {
    for _ in 0..500 {
        let polled = poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "it did not wait: {polled:?}");
        tokio::task::yield_now().await;
    }
}

//= P39
#[tokio::test]
async fn the_server_waits_for_a_handler_that_goes_on_without_its_client() {
    let (teller, mut listener) = channel();
    let (release, released) = watch::channel(false);
    let server = ignoring(waiting(&teller, &released), |server| server).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let _ = listener.began().await;
    drop(stream);
    let guard = server.guard.handle();
    assert!(guard.drain());
    let mut end = Box::pin(server.joined());
    goes_on(&mut end).await;
    assert!(listener.rest().is_empty(), "the handler is still there");
    release.send(true).unwrap();
    let report = end.await;
    assert!(matches!(listener.rest().first(), Some(Told::Finished)));
    assert_eq!((report.hung_up, report.left_behind), (1, 0), "{report}");
}

//= P39
#[tokio::test]
async fn a_handler_that_does_not_end_in_time_is_left_behind_and_counted() {
    let (teller, mut listener) = channel();
    let (_release, released) = watch::channel(false);
    let app = waiting(&teller, &released);
    let server = ignoring(app, |server| server.grace(Duration::ZERO)).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let ctx = listener.began().await;
    drop(stream);
    // From here on time passes when nothing else happens: the last second needs none.
    tokio::time::pause();
    let report = server.end().await;
    assert!(!ctx.is_done());
    assert_eq!((report.stuck, report.left_behind), (0, 1), "{report}");
    assert!(report.to_string().ends_with("1 left behind"), "{report}");
}

//= P39
#[tokio::test]
async fn the_server_waits_for_a_socket_that_speaks_another_protocol() {
    let (tunnels, mut opened) = mpsc::channel(1);
    let app = Router::new().route(
        "/",
        get(move |request: Request<axum::body::Body>| async move {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move { tunnels.send(upgrade.await.unwrap()).await });
            let switching = Response::builder().status(101);
            let headers = switching.header("connection", "upgrade");
            let headers = headers.header("upgrade", "other");
            headers.body(axum::body::Body::empty()).unwrap()
        }),
    );
    let server = Running::plain(app).await;
    let mut stream = server.connect().await;
    let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let tunnel = soon("the upgrade", opened.recv()).await.unwrap();
    let guard = server.guard.handle();
    assert!(guard.drain());
    let mut end = Box::pin(server.joined());
    goes_on(&mut end).await;
    drop(tunnel);
    let report = end.await;
    assert_eq!((report.closed, report.left_behind), (1, 0), "{report}");
}

/// A body without a frame.
struct Never;

impl http_body::Body for Never {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Pending
    }
}

//= P31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_left_after_the_grace_is_cut_off() {
    // A service without contexts: nothing in it can be told.
    let (sender, mut requests) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |_: Request<hyper::body::Incoming>| {
        sender.send(()).unwrap();
        async {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Response::new(axum::body::Body::empty()))
        }
    });
    let (ctx, guard) = ripcord_tokio::root().name("server").build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ripcord_http::Server::new(&ctx).grace(Duration::from_millis(5));
    let server = tokio::spawn(server.serve(listener, service));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    soon("the request", requests.recv()).await.unwrap();
    guard.shutdown(ShutdownPlan::new(
        Duration::from_millis(5),
        Duration::from_secs(60),
    ));
    // Closed, or reset, as the system finds it.
    let mut answer = Vec::new();
    let _ = soon("the cut", stream.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    let report = soon("the end", server).await.unwrap().unwrap();
    assert_eq!((report.accepted, report.forced), (1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_told_to_go_away_and_its_streams_end() {
    let (teller, mut listener) = channel();
    let (release, released) = watch::channel(false);
    let server = Running::plain(waiting(&teller, &released)).await;
    let stream = server.connect().await;
    let (mut sender, _switch) = server.http2(stream).await;
    let mut request = Request::new(whole(b""));
    *request.uri_mut() = "http://a/".parse().unwrap();
    let call = tokio::spawn(sender.send_request(request));
    let _ = listener.began().await;
    server.guard.drain();
    release.send(true).unwrap();
    let answer = soon("the answer", call).await.unwrap().unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Draining");
    // The client keeps the connection; the server's GOAWAY and its end close it.
    server.joined().await;
    drop(sender);
}

//= P32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_what_it_wants_is_cut_off() {
    let app = Router::new().route("/", get(async || "text"));
    let server = Running::start(
        |_| app,
        |server| server.header_read_timeout(Duration::from_millis(20)),
    )
    .await;
    // Nothing at all; the beginning of a preface; a head that never ends.
    for (sent, is_silent) in [
        (&b""[..], true),
        (b"P", true),
        (b"PRI * HTTP/2.0", true),
        (b"GET / HTTP/1.1\r\nhost: somebody-slow\r\nx: ", false),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        let answer = read_all(&mut stream).await;
        // hyper's own limit may answer 408 or close.
        assert!(
            answer.is_empty() || (!is_silent && answer.starts_with("HTTP/1.1 408")),
            "{sent:?}: {answer}"
        );
    }
    let report = server.end().await;
    assert_eq!((report.accepted, report.silent), (4, 3), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_allowed_are_served() {
    let (teller, mut listener) = channel();
    let (release, released) = watch::channel(false);
    let app = waiting(&teller, &released);
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, Propagation::default())),
        |server| server.connections_max(2),
    )
    .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        streams.push(stream);
    }
    let _ = listener.began().await;
    let _ = listener.began().await;
    assert!(listener.rest().is_empty(), "the third one waits");
    // One goes, the next one comes.
    streams.remove(0);
    loop {
        if let Told::Began(_) = listener.next().await {
            break;
        }
    }
    release.send(true).unwrap();
    server.end().await;
}

//= P24
#[tokio::test]
async fn a_connection_has_a_context_that_ends_with_it() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        get(
            move |axum::Extension(connection): axum::Extension<Arc<Connection>>| {
                sender.send(connection.ctx().clone()).unwrap();
                async move { connection.local().unwrap().to_string() }
            },
        ),
    );
    let server = Running::plain(app).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let mut head = [0; 12];
    soon("the head", stream.read_exact(&mut head))
        .await
        .unwrap();
    let ctx = receiver.recv().await.unwrap();
    assert!(!ctx.is_done(), "the request is over, the connection is not");
    drop(stream);
    let cause = soon("the end", ctx.done()).await;
    assert_eq!(cause.kind(), Kind::PeerGone);
    server.end().await;
}

#[tokio::test]
async fn a_half_closed_client_is_answered_where_that_is_asked_for() {
    let app = Router::new().route(
        "/",
        get(async || {
            tokio::task::yield_now().await;
            "text"
        }),
    );
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, Propagation::default())),
        |server| server.hang_up(ripcord_http::HangUp::Reset),
    )
    .await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    server.end().await;
}

/// What the system would refuse, or what would overflow, must not cost each connection its life.
#[tokio::test]
async fn settings_beyond_what_the_system_takes_are_brought_into_it() {
    use ripcord_http::KeepAlive;
    let zero = KeepAlive::new(Duration::ZERO, Duration::ZERO, 0);
    let huge = KeepAlive::new(Duration::MAX, Duration::MAX, u32::MAX);
    for keep_alive in [zero, huge] {
        let app = Router::new().route("/", get(async || "text"));
        let server = Running::start(
            |_| app,
            |server| {
                server
                    .keep_alive(keep_alive)
                    .header_read_timeout(Duration::MAX)
                    .streams_max(0)
            },
        )
        .await;
        let answer = server
            .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        assert!(answer.ends_with("text"), "{keep_alive:?}: {answer}");
        let stream = server.connect().await;
        let (mut sender, _switch) = server.http2(stream).await;
        let mut request = Request::new(whole(b""));
        *request.uri_mut() = "http://a/".parse().unwrap();
        let answer = soon("the answer", sender.send_request(request))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{keep_alive:?}");
        drop(sender);
        server.end().await;
    }
}

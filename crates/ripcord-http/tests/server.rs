//! What the layer does to a request, from its head to the last byte of the answer, on real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use common::{Fate, Running, Told, channel, soon};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use ripcord_core::{Ctx, Kind};
use ripcord_http::{Connection, Ended, HttpLayer, OnDisconnect, OnDisconnectLayer, RequestCtx};
use ripcord_propagation::{
    Call, CallObserver, CallRecord, Carried, CtxCarried as _, DeadlinePolicy, End, Ending,
    Propagation,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

const SHORT: Duration = Duration::from_millis(30);

fn short() -> Propagation {
    let policy = DeadlinePolicy::new(SHORT, Duration::from_secs(60)).unwrap();
    Propagation::builder().deadline(policy).build().unwrap()
}

async fn never() -> StatusCode {
    panic!("the handler ran")
}

/// What a client sees of an answer: status, head and body.
fn parts(answer: &str) -> (u16, &str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
    (status, head, body)
}

#[tokio::test]
async fn a_handler_gets_deadline_id_baggage_trace_and_peer() {
    let app = Router::new().route(
        "/",
        get(
            |RequestCtx(ctx): RequestCtx, request: Request<Body>| async move {
                assert_eq!(Ctx::current(), ctx, "it is the current one, too");
                let connection = request.extensions().get::<Arc<Connection>>().unwrap();
                let carried = ctx.carried().unwrap();
                assert_eq!(carried.peer().unwrap().address, Some(connection.peer()));
                format!(
                    "{} {} {} {:?} {}",
                    ctx.name().unwrap(),
                    ctx.request_id().unwrap(),
                    carried.trace.trace_id,
                    carried.baggage().get("tenant"),
                    ctx.remaining() <= Some(Duration::from_millis(1500))
                )
            },
        ),
    );
    let server = Running::plain(app).await;
    let answer = server
        .ask(
            "GET /?q HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: 7f3a\r\n\
             x-request-timeout-ms: 1500\r\nbaggage: tenant=acme\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        )
        .await;
    let (status, head, body) = parts(&answer);
    assert_eq!(status, 200);
    assert!(head.contains("x-request-id: 7f3a"), "{head}");
    assert_eq!(
        body,
        "GET / 7f3a 4bf92f3577b34da6a3ce929d0e0e4736 Some(\"acme\") true"
    );
    let report = server.end().await;
    assert_eq!(report.accepted, 1);
}

//= P17
#[tokio::test]
async fn a_request_id_is_made_where_there_is_none_and_echoed() {
    let app = Router::new().route(
        "/",
        get(|RequestCtx(ctx): RequestCtx| async move { ctx.request_id().unwrap().to_owned() }),
    );
    let server = Running::plain(app).await;
    let answer = server
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: \"a\"\r\n\r\n")
        .await;
    let (_, head, body) = parts(&answer);
    assert_eq!(body.len(), 36, "{body}");
    assert!(head.contains(&format!("x-request-id: {body}")), "{head}");
    server.end().await;
}

//= P27, P28
#[tokio::test]
async fn a_deadline_ends_the_handler_and_answers_504_with_a_problem() {
    let (teller, mut listener) = channel();
    let app = Router::new().route(
        "/",
        get(move |RequestCtx(ctx): RequestCtx| async move {
            let fate = Fate::new(&teller);
            teller.watch(&ctx);
            std::future::pending::<()>().await;
            fate.finish();
        }),
    );
    let server = Running::start(|ctx| app.layer(HttpLayer::new(ctx, short())), |s| s).await;
    let answer = server
        .ask(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: 7f3a\r\n\
             grpc-timeout: 30m\r\n\r\n",
        )
        .await;
    let (status, head, body) = parts(&answer);
    assert_eq!(status, 504);
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["cause"], "caller_deadline");
    assert_eq!(problem["request_id"], "7f3a");
    assert_eq!(problem["status"], 504);
    let _ = listener.began().await;
    let mut told = [listener.next().await, listener.next().await];
    told.sort_by_key(|told| matches!(told, Told::Dropped));
    assert!(
        matches!(&told[..], [Told::Ended(cause), Told::Dropped] if cause.kind() == Kind::DeadlineExceeded),
        "{told:?}"
    );
    server.end().await;
}

//= P6
#[tokio::test]
async fn a_request_that_is_late_already_does_not_reach_its_handler() {
    let app = Router::new().route("/", get(never));
    let server = Running::plain(app).await;
    for header in [
        "x-request-timeout-ms: 0",
        "grpc-timeout: 0S",
        "connect-timeout-ms: 0",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n\r\n");
        let answer = server.ask(&request).await;
        assert_eq!(parts(&answer).0, 504, "{header}");
    }
    server.end().await;
}

//= P5, P6
#[tokio::test]
async fn a_deadline_that_makes_no_sense_is_ignored_or_clamped() {
    let app = Router::new().route(
        "/",
        get(|RequestCtx(ctx): RequestCtx| async move { format!("{:?}", ctx.remaining()) }),
    );
    let server = Running::start(|ctx| app.layer(HttpLayer::new(ctx, short())), |s| s).await;
    for (header, expect) in [
        ("grpc-timeout: -1S", "None"),
        ("grpc-timeout: 1H2M", "None"),
        ("x-request-timeout-ms: 99999999999", "None"),
        ("x-request-timeout-ms: soon", "None"),
        ("x-request-timeout-ms: \u{663}", "None"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n\r\n");
        let answer = server.ask(&request).await;
        assert_eq!(parts(&answer).2, expect, "{header}");
    }
    let answer = server
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ngrpc-timeout: 99999999H\r\n\r\n")
        .await;
    assert!(parts(&answer).2.starts_with("Some(59."), "{answer}");
    server.end().await;
}

/// A body that sends frames for ever, or nothing after the first one.
struct Endless {
    ctx: Ctx,
    is_flowing: bool,
    is_first: bool,
    _fate: Fate,
}

impl http_body::Body for Endless {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let _ = &self.ctx;
        if is_first || self.is_flowing {
            Poll::Ready(Some(Ok(http_body::Frame::data("frame".into()))))
        } else {
            Poll::Pending
        }
    }
}

//= P10, P27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_deadline_is_for_the_handler_and_the_body_together() {
    for is_flowing in [false, true] {
        let (teller, mut listener) = channel();
        let app = Router::new().route(
            "/",
            get(move |RequestCtx(ctx): RequestCtx| async move {
                teller.watch(&ctx);
                Body::new(Endless {
                    ctx,
                    is_flowing,
                    is_first: true,
                    _fate: Fate::new(&teller),
                })
            }),
        );
        let server = Running::start(|ctx| app.layer(HttpLayer::new(ctx, short())), |s| s).await;
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: 30\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        soon("the cut", stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(
            !text.ends_with("0\r\n\r\n"),
            "a cut body is not a complete one"
        );
        let ctx = listener.began().await;
        assert_eq!(ctx.cause().unwrap().kind(), Kind::DeadlineExceeded);
        server.end().await;
        assert!(
            listener
                .rest()
                .iter()
                .any(|told| matches!(told, Told::Dropped)),
            "the producer is gone"
        );
    }
}

//= P26
#[tokio::test]
async fn the_context_ends_with_the_last_byte_and_not_before() {
    let (teller, mut listener) = channel();
    let app = Router::new()
        .route(
            "/text",
            get({
                let teller = teller.clone();
                move |RequestCtx(ctx): RequestCtx| async move {
                    teller.watch(&ctx);
                    "text"
                }
            }),
        )
        .route(
            "/stream",
            get({
                let teller = teller.clone();
                move |RequestCtx(ctx): RequestCtx| async move {
                    teller.watch(&ctx);
                    Body::new(
                        http_body_util::Full::new(axum::body::Bytes::from("stream"))
                            .map_frame(|f| f),
                    )
                }
            }),
        )
        .route(
            "/empty",
            get(move |RequestCtx(ctx): RequestCtx| async move {
                teller.watch(&ctx);
                StatusCode::NO_CONTENT
            }),
        );
    let server = Running::plain(app).await;
    for request in [
        "GET /text",
        "HEAD /text",
        "GET /stream",
        "HEAD /stream",
        "GET /empty",
    ] {
        let text = format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = server.ask(&text).await;
        assert!(parts(&answer).0 < 300, "{request}: {answer}");
        // The work is over: not the client's leaving, which would be the wrong cause.
        assert_eq!(listener.ended().await.kind(), Kind::Dropped, "{request}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_context_is_named_after_its_route() {
    let name = async |RequestCtx(ctx): RequestCtx| ctx.name().unwrap_or_default().to_owned();
    let app = Router::new()
        .route("/orders/{id}", get(name))
        .fallback(get(name));
    let server = Running::plain(app).await;
    for (path, expect) in [
        ("/orders/7?q=1", "GET /orders/{id}"),
        ("/else/7?q=1", "GET /else/7"),
    ] {
        let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = server.ask(&text).await;
        assert_eq!(parts(&answer).2, expect);
    }
    server.end().await;
}

/// Whoever reads why a request ended knows their own lines, and none of the library's.
#[tokio::test]
async fn the_deadline_of_a_request_was_set_where_the_layer_was_made() {
    let site = async |RequestCtx(ctx): RequestCtx| {
        let deadline = ctx.deadline().and_then(|deadline| deadline.site());
        deadline.map(ToString::to_string).unwrap_or_default()
    };
    let (server, _guard) = ripcord_tokio::root().build();
    let line = line!() + 1;
    let layer = HttpLayer::new(&server, Propagation::default());
    let app = Router::new().route("/", get(site)).layer(layer);
    let request = Request::get("/").header("grpc-timeout", "1H");
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let body = response.unwrap().into_body().collect().await.unwrap();
    let told = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let here = format!("{}:{line}:", file!());
    assert!(told.starts_with(&here), "{told} is not {here}");
}

#[tokio::test]
async fn a_missing_layer_is_said_and_not_a_panic() {
    let app = Router::new()
        .route("/", get(|_: RequestCtx| async { "with" }))
        .route(
            "/maybe",
            get(|ctx: Option<RequestCtx>| async move { ctx.is_some().to_string() }),
        );
    let ask = |path: &str| {
        app.clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
    };
    let response = ask("/").await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = ask("/maybe")
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(body.to_bytes(), "false");
}

#[tokio::test]
async fn an_upload_that_never_ends_does_not_hold_a_handler_that_was_told() {
    let (teller, mut listener) = channel();
    let app = Router::new().route(
        "/",
        post(move |RequestCtx(ctx): RequestCtx, body: Body| async move {
            let fate = Fate::new(&teller);
            teller.watch(&ctx);
            // A cooperative handler that only reads: the body tells it.
            let error = body.collect().await.unwrap_err();
            assert!(error.to_string().contains("deadline"), "{error}");
            fate.finish();
            StatusCode::GATEWAY_TIMEOUT
        }),
    );
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, short()).on_disconnect(OnDisconnect::Cooperative)),
        |s| s,
    )
    .await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\nx-request-timeout-ms: 30\r\n\r\nhalf",
        )
        .await
        .unwrap();
    let mut head = [0; 12];
    soon("the answer", stream.read_exact(&mut head))
        .await
        .unwrap();
    assert_eq!(&head, b"HTTP/1.1 504");
    let _ = listener.began().await;
    loop {
        match listener.next().await {
            Told::Finished => break,
            Told::Ended(cause) => assert_eq!(cause.kind(), Kind::DeadlineExceeded),
            other => panic!("{other:?}"),
        }
    }
    server.end().await;
}

/// What becomes of a handler whose client leaves, by mode; the same per layer and per route.
//= P29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_chooses_what_a_leaving_client_does() {
    let hour = Duration::from_secs(3_600);
    let soon_after = Duration::from_millis(10);
    for (mode, survives, is_told) in [
        (OnDisconnect::Drop, false, true),
        (OnDisconnect::Cooperative, true, true),
        (OnDisconnect::CancelAfter(soon_after), true, true),
        (OnDisconnect::CancelAfter(hour), true, false),
        (OnDisconnect::Ignore, true, false),
    ] {
        for by_route in [false, true] {
            leave(mode, by_route, survives, is_told).await;
        }
    }
}

/// A handler that waits for its release, and then says whether its context is done.
struct Held {
    teller: common::Teller,
    released: mpsc::Receiver<()>,
    done: mpsc::Sender<bool>,
}

impl Held {
    async fn run(mut self, ctx: Ctx) {
        let fate = Fate::new(&self.teller);
        self.teller.watch(&ctx);
        self.released.recv().await;
        self.done.send(ctx.is_done()).await.unwrap();
        fate.finish();
    }
}

async fn leave(mode: OnDisconnect, by_route: bool, survives: bool, is_told: bool) {
    let what = format!("{mode:?}, by route: {by_route}");
    let (teller, mut listener) = channel();
    let (release, released) = mpsc::channel(1);
    let (done, mut is_done) = mpsc::channel(1);
    let held = Held {
        teller,
        released,
        done,
    };
    let held = Arc::new(tokio::sync::Mutex::new(Some(held)));
    let handler = async move |RequestCtx(ctx): RequestCtx| {
        let held = held.lock().await.take().expect("one request");
        held.run(ctx).await;
    };
    let app = |ctx: &Ctx| {
        let layer = HttpLayer::new(ctx, Propagation::default());
        if by_route {
            let route = get(handler).layer(OnDisconnectLayer::new(mode));
            return Router::new().route("/", route).layer(layer);
        }
        Router::new()
            .route("/", get(handler))
            .layer(layer.on_disconnect(mode))
    };
    let server = Running::start(app, |server| server).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let _ = listener.began().await;
    drop(stream);
    if is_told {
        assert_eq!(listener.ended().await.kind(), Kind::PeerGone, "{what}");
    }
    if survives {
        release.send(()).await.unwrap();
        let was_done = soon("the handler's end", is_done.recv()).await.unwrap();
        assert_eq!(was_done, is_told, "{what}");
    } else {
        soon("the drop of the handler", release.closed()).await;
        assert!(is_done.recv().await.is_none(), "{what}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_spawned_handler_is_felt_as_one_of_its_own() {
    for mode in [OnDisconnect::Drop, OnDisconnect::Cooperative] {
        let app = Router::new().route("/", get(never));
        let server = Running::start(
            |ctx| app.layer(HttpLayer::new(ctx, Propagation::default()).on_disconnect(mode)),
            |s| s,
        )
        .await;
        let answer = server.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(answer, "", "the connection is closed: {mode:?}");
        let report = server.end().await;
        assert_eq!(report.failed, 1, "{mode:?}: {report}");
    }
}

/// Counts what is told of each call.
#[derive(Clone)]
struct Recorder(mpsc::UnboundedSender<(Ending, Option<u16>, Option<Kind>)>);

impl CallObserver for Recorder {
    fn start(&self, _: &Call<'_>, _: &mut Carried) -> Box<dyn CallRecord> {
        Box::new(self.clone())
    }
}

impl CallRecord for Recorder {
    fn end(&mut self, end: &End<'_>) {
        let kind = end.cause.map(ripcord_core::Cause::kind);
        let _ = self.0.send((end.ending, end.status, kind));
    }
}

//= P30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_accounted_for_however_it_ends() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let (teller, mut listener) = channel();
    let waits = {
        let teller = teller.clone();
        move |RequestCtx(ctx): RequestCtx| async move {
            teller.watch(&ctx);
            std::future::pending::<()>().await;
        }
    };
    let app = Router::new()
        .route("/ok", get(|| async { "text" }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/wait", get(waits));
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, short()).observer(Arc::new(Recorder(sender)))),
        |s| s,
    )
    .await;
    let ask = async |head: &str| {
        let text = format!("GET {head}\r\nhost: a\r\nconnection: close\r\n\r\n");
        server.ask(&text).await
    };
    let mut end = async || soon("the end of the account", ends.recv()).await.unwrap();

    ask("/ok HTTP/1.1").await;
    assert_eq!(end().await, (Ending::Complete, Some(200), None));
    ask("/teapot HTTP/1.1").await;
    assert_eq!(end().await, (Ending::Complete, Some(418), None));
    ask("/wait HTTP/1.1\r\nx-request-timeout-ms: 30").await;
    let late = Some(Kind::DeadlineExceeded);
    assert_eq!(end().await, (Ending::Cancelled, Some(504), late));
    let _ = listener.ended().await;

    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let _ = listener.began().await;
    drop(stream);
    let (ending, status, kind) = end().await;
    assert!(
        matches!(ending, Ending::Cancelled | Ending::Dropped),
        "{ending:?}"
    );
    assert_eq!((status, kind), (None, Some(Kind::PeerGone)));
    server.end().await;
}

/// A handler that waits for its context sees the end before the layer does, and answers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_says_of_its_own_end_is_sent() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let late = async |RequestCtx(ctx): RequestCtx| {
        let cause = ctx.done().await;
        (StatusCode::IM_A_TEAPOT, format!("too late: {cause}"))
    };
    let stream = async |RequestCtx(ctx): RequestCtx| {
        ctx.done().await;
        Body::new(Frames(u8::MAX))
    };
    let app = Router::new()
        .route("/text", get(late))
        .route("/stream", get(stream));
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, short()).observer(Arc::new(Recorder(sender)))),
        |s| s,
    )
    .await;
    let mut end = async || soon("the end of the account", ends.recv()).await.unwrap();
    let why = Some(Kind::DeadlineExceeded);
    let head = "HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-timeout-ms: 30\r\n\r\n";
    let answer = server.ask(&format!("GET /text {head}")).await;
    let (status, _, body) = parts(&answer);
    assert_eq!(status, 418);
    assert!(body.starts_with("too late: "), "{body}");
    assert_eq!(end().await, (Ending::Complete, Some(418), why));

    let (mut http2, _switch) = server.http2(server.connect().await).await;
    let request = Request::get("http://a/text")
        .header("x-request-timeout-ms", "30")
        .body(common::whole(b""))
        .unwrap();
    let answer = soon("the answer", http2.send_request(request)).await;
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert!(body.to_bytes().starts_with(b"too late: "));
    assert_eq!(end().await, (Ending::Complete, Some(418), why));

    // What is not at hand, or has no end, does not go on after the deadline.
    let mut stream = server.connect().await;
    stream
        .write_all(format!("GET /stream {head}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = soon("the cut", stream.read_to_end(&mut answer)).await;
    assert!(!answer.ends_with(b"0\r\n\r\n"), "it is cut off");
    assert_eq!(end().await, (Ending::Cancelled, Some(200), why));
    server.end().await;
}

#[tokio::test]
async fn a_handler_answers_the_end_of_a_context_as_the_layer_does() {
    let request = async |RequestCtx(ctx): RequestCtx| -> Result<String, Ended> {
        Ok(ctx.run(std::future::pending()).await?)
    };
    let part = async |RequestCtx(ctx): RequestCtx| -> Result<String, Ended> {
        let part = ctx.with_timeout(Duration::ZERO);
        Ok(part.run(std::future::pending()).await?)
    };
    let app = Router::new()
        .route("/request", get(request))
        .route("/part", get(part));
    let server = Running::start(|ctx| app.layer(HttpLayer::new(ctx, short())), |s| s).await;
    for (path, cause) in [
        ("/request", "caller_deadline"),
        // The caller's own deadline is far away: it is the service that gave too little.
        ("/part", Kind::DeadlineExceeded.as_str()),
    ] {
        let timeout = if path == "/part" { 20_000 } else { 30 };
        let answer = server
            .ask(&format!(
                "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: 7f3a\r\n\
                 x-request-timeout-ms: {timeout}\r\n\r\n"
            ))
            .await;
        let (status, _, body) = parts(&answer);
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((status, &problem["request_id"]), (504, &"7f3a".into()));
        assert_eq!(problem["cause"], cause, "{path}");
    }
    server.end().await;
}

/// So many frames, of a body that does not say how long it is.
struct Frames(u8);

impl http_body::Body for Frames {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.0 = left;
        Poll::Ready(Some(Ok(http_body::Frame::data("frame".into()))))
    }
}

/// As files are served: hyper stops to ask for frames when it has sent as many bytes as it said.
//= P26, P30
#[tokio::test]
async fn an_answer_whose_length_is_in_its_head_only_is_complete_after_so_many_bytes() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        get(async || ([(http::header::CONTENT_LENGTH, "10")], Body::new(Frames(2)))),
    );
    let server = Running::start(
        |ctx| app.layer(HttpLayer::new(ctx, short()).observer(Arc::new(Recorder(sender)))),
        |s| s,
    )
    .await;
    let answer = server
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(parts(&answer).2, "frameframe");
    let end = soon("the end of the account", ends.recv()).await.unwrap();
    assert_eq!(end, (Ending::Complete, Some(200), None));
    server.end().await;
}

//= P10
#[tokio::test]
async fn queueing_counts_against_the_deadline() {
    use tower::{Layer as _, Service as _};
    let (ctx, _guard) = ripcord_tokio::root().name("server").build();
    let service = tower::service_fn(|request: Request<_>| async move {
        let ctx: &Ctx = request.extensions().get().unwrap();
        let _: &ripcord_http::RequestBody<Body> = request.body();
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(format!("{}", ctx.is_done()))))
    });
    let limited = tower::limit::ConcurrencyLimit::new(service, 1);
    let mut layered = HttpLayer::new(&ctx, short()).layer(limited);
    let request = || {
        Request::get("/")
            .header("x-request-timeout-ms", "30")
            .body(Body::empty())
            .unwrap()
    };
    // One request holds the only place; the next one waits in `poll_ready`.
    let mut other = layered.clone();
    std::future::poll_fn(|cx| layered.poll_ready(cx))
        .await
        .unwrap();
    let first = layered.call(request());
    let waits = std::future::poll_fn(|cx| Poll::Ready(other.poll_ready(cx).is_pending())).await;
    assert!(waits);
    // Longer than its deadline, by the deadline of another context.
    ctx.with_timeout(SHORT + SHORT).done().await;
    drop(first);
    std::future::poll_fn(|cx| other.poll_ready(cx))
        .await
        .unwrap();
    let response = other.call(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn the_layer_works_under_a_plain_axum_server() {
    let (ctx, _guard) = ripcord_tokio::root().name("server").build();
    let app =
        Router::new()
            .route(
                "/",
                get(
                    |RequestCtx(ctx): RequestCtx,
                     ConnectInfo(_): ConnectInfo<std::net::SocketAddr>| async move {
                        ctx.request_id().unwrap_or_default().to_owned()
                    },
                ),
            )
            .layer(HttpLayer::new(&ctx, Propagation::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: 7\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert_eq!(parts(&answer).2, "7");
    server.abort();
}

//! Calls under a context: what goes along, and what ends them, on real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use common::{Fate, Running, Told, channel, soon};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ripcord_core::{Ctx, Kind};
use ripcord_http::{CallError, ClientBody, ClientLayer, Peers, RequestCtx};
use ripcord_propagation::{
    Call, CallObserver, CallRecord, Carried, CtxCarried as _, End, Ending, PeerPolicy, Propagation,
    Side,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tower::{Layer as _, ServiceExt as _};

type Plain = Client<HttpConnector, Empty<Bytes>>;
type Answer = Result<Response<ClientBody<Incoming>>, CallError<hyper_util::client::legacy::Error>>;

fn plain(is_http2: bool) -> Plain {
    Client::builder(TokioExecutor::new())
        .http2_only(is_http2)
        .build_http()
}

async fn call(client: &Plain, layer: &ClientLayer, ctx: &Ctx, uri: &str) -> Answer {
    let mut request = Request::get(uri).body(Empty::new()).unwrap();
    request.extensions_mut().insert(ctx.clone());
    layer.layer(client.clone()).oneshot(request).await
}

async fn text(answer: Answer) -> String {
    let bytes = answer
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn root() -> (Ctx, ripcord_core::CancelGuard) {
    ripcord_tokio::root().name("client").build()
}

/// Answers with the request's headers, one a line.
async fn mirror() -> Running {
    let app = Router::new().fallback(any(async |request: Request<Body>| {
        let mut lines: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        lines.concat()
    }));
    Running::start(|_| app, |server| server).await
}

fn internal() -> ClientLayer {
    ClientLayer::new(Propagation::default(), PeerPolicy::internal())
}

//= P21
#[tokio::test]
async fn a_call_carries_what_its_peer_may_know() {
    let server = mirror().await;
    let (root, _guard) = root();
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("x-request-id", "7f3a"),
        ("baggage", "tenant=acme,secret=x"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "vendor=1"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let ctx = Propagation::default()
        .extract(&headers)
        .context(&root)
        .with_timeout(Duration::from_secs(30));
    let uri = format!("http://{}/", server.address);
    let ask = async |peers: Peers| {
        let layer = ClientLayer::new(Propagation::default(), peers);
        text(call(&plain(false), &layer, &ctx, &uri).await).await
    };

    let seen = ask(PeerPolicy::internal().into()).await;
    assert!(seen.contains("baggage: tenant=acme,secret=x\n"), "{seen}");
    assert!(seen.contains("tracestate: vendor=1\n"), "{seen}");
    assert!(seen.contains("x-request-id: 7f3a\n"), "{seen}");
    assert!(
        seen.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{seen}"
    );
    assert!(
        !seen.contains("00f067aa0ba902b7"),
        "the call is a span of its own: {seen}"
    );
    let told: u64 = seen
        .lines()
        .find_map(|line| line.strip_prefix("x-request-timeout-ms: "))
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30_000).contains(&told), "{told}");

    let seen = ask(PeerPolicy::external().with_baggage(["tenant"]).into()).await;
    assert!(seen.contains("baggage: tenant=acme\n"), "{seen}");
    let seen = ask(PeerPolicy::external().into()).await;
    assert!(
        !seen.contains("baggage") && seen.contains("traceparent"),
        "{seen}"
    );
    let seen = ask(PeerPolicy::silent().into()).await;
    for name in ["baggage", "trace", "x-request"] {
        assert!(!seen.contains(name), "{name}: {seen}");
    }
    // By the host, which is an address here.
    let peers = Peers::new(PeerPolicy::silent()).host("127.0.0.1", PeerPolicy::internal());
    assert!(ask(peers).await.contains("tenant=acme,secret=x"));
    server.end().await;
}

//= P22
#[tokio::test]
async fn stale_copies_of_forwarded_headers_are_taken_out() {
    let server = mirror().await;
    let (root, _guard) = root();
    let ctx = root.with_timeout(Duration::from_secs(5));
    let mut request = Request::get(format!("http://{}/", server.address))
        .header("grpc-timeout", "99H")
        .header("x-request-timeout-ms", "999999")
        .header("x-request-timeout-ms", "888888")
        .header("baggage", "stale=1")
        .header(
            "traceparent",
            "00-11111111111111111111111111111111-2222222222222222-01",
        )
        .header("accept", "text/plain")
        .body(Empty::<Bytes>::new())
        .unwrap();
    request.extensions_mut().insert(ctx);
    let seen = text(internal().layer(plain(false)).oneshot(request).await).await;
    for stale in ["99H", "999999", "888888", "stale", "2222222222222222"] {
        assert!(!seen.contains(stale), "{stale}: {seen}");
    }
    assert!(seen.contains("accept: text/plain"), "{seen}");
    server.end().await;
}

//= P3
#[tokio::test]
async fn a_deadline_shrinks_from_hop_to_hop() {
    let (sender, mut left) = mpsc::unbounded_channel();
    let reserve = Duration::from_millis(200);
    let layer = ClientLayer::new(
        Propagation::default(),
        PeerPolicy::internal().with_reserve(reserve),
    );
    let last = {
        let sender = sender.clone();
        Running::plain(Router::new().route(
            "/",
            get(async move |RequestCtx(ctx): RequestCtx| {
                sender
                    .send(ctx.carried().unwrap().budget().unwrap())
                    .unwrap();
            }),
        ))
        .await
    };
    let uri = format!("http://{}/", last.address);
    let middle_layer = layer.clone();
    let middle = Running::plain(Router::new().route(
        "/",
        get(async move |RequestCtx(ctx): RequestCtx| {
            sender
                .send(ctx.carried().unwrap().budget().unwrap())
                .unwrap();
            // The context is the current one: nobody has to hand it over.
            let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
            let client = middle_layer.layer(plain(false));
            drop(ctx);
            client.oneshot(request).await.unwrap();
        }),
    ))
    .await;
    let (root, _guard) = root();
    let ctx = root.with_timeout(Duration::from_secs(20));
    let uri = format!("http://{}/", middle.address);
    drop(call(&plain(false), &layer, &ctx, &uri).await.unwrap());
    let first = left.recv().await.unwrap();
    let second = left.recv().await.unwrap();
    // The header rounds up to a millisecond.
    let ms = Duration::from_millis(1);
    assert!(first + reserve <= Duration::from_secs(20) + ms, "{first:?}");
    assert!(second + reserve <= first + ms, "{second:?} after {first:?}");
    middle.end().await;
    last.end().await;
}

//= P1
#[tokio::test]
async fn with_nothing_left_nothing_is_sent() {
    let server = mirror().await;
    let (root, _guard) = root();
    let uri = format!("http://{}/", server.address);
    let late = root.with_timeout(Duration::ZERO);
    let tight = root.with_timeout(Duration::from_secs(1));
    let layer = ClientLayer::new(
        Propagation::default(),
        PeerPolicy::internal().with_reserve(Duration::from_secs(2)),
    );
    for ctx in [&late, &tight] {
        let error = call(&plain(false), &layer, ctx, &uri).await.unwrap_err();
        assert_eq!(error.cancelled().unwrap().kind(), Kind::DeadlineExceeded);
    }
    let (child, guard) = root.child();
    guard.cancel("over");
    let error = call(&plain(false), &layer, &child, &uri).await.unwrap_err();
    assert_eq!(error.cancelled().unwrap().cause().message(), Some("over"));
    let report = server.end().await;
    assert_eq!(report.accepted, 0, "{report}");
}

/// A server that waits in the handler, or in the middle of a body.
async fn slow() -> (Running, common::Listener) {
    let (teller, listener) = channel();
    let waits = {
        let teller = teller.clone();
        async move |RequestCtx(ctx): RequestCtx| {
            let fate = Fate::new(&teller);
            teller.watch(&ctx);
            std::future::pending::<()>().await;
            fate.finish();
        }
    };
    let streams = async move |RequestCtx(ctx): RequestCtx| {
        teller.watch(&ctx);
        let (body, upload) = common::unfinished(b"first");
        // The producer: ends when its context does.
        drop(ripcord_tokio::spawn(async move {
            ctx.done().await;
            drop(upload);
        }));
        Body::new(body)
    };
    let app = Router::new()
        .route("/wait", get(waits))
        .route("/stream", get(streams));
    (Running::plain(app).await, listener)
}

//= P33, P34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_the_server_over_both_protocols() {
    for is_http2 in [false, true] {
        let (server, mut listener) = slow().await;
        let client = plain(is_http2);
        let (root, _root) = root();

        let (ctx, guard) = root.child();
        let uri = format!("http://{}/wait", server.address);
        let waiting = tokio::spawn({
            let (client, ctx) = (client.clone(), ctx.clone());
            async move { call(&client, &internal(), &ctx, &uri).await }
        });
        let there = listener.began().await;
        assert!(!there.is_done());
        guard.cancel("not needed any more");
        let error = soon("the error", waiting).await.unwrap().unwrap_err();
        assert_eq!(
            error.cancelled().unwrap().cause().message(),
            Some("not needed any more")
        );
        assert_eq!(
            listener.ended().await.kind(),
            Kind::PeerGone,
            "http2: {is_http2}"
        );

        let (ctx, guard) = root.child();
        let uri = format!("http://{}/stream", server.address);
        let mut body = call(&client, &internal(), &ctx, &uri)
            .await
            .unwrap()
            .into_body();
        let _ = listener.began().await;
        let first = soon("a frame", body.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first");
        guard.cancel("enough");
        let error = soon("the end", body.frame()).await.unwrap().unwrap_err();
        let cancelled: &ripcord_core::Cancelled = error.downcast_ref().unwrap();
        assert_eq!(cancelled.cause().message(), Some("enough"));
        assert!(body.frame().await.is_none(), "it has ended");
        assert_eq!(
            listener.ended().await.kind(),
            Kind::PeerGone,
            "http2: {is_http2}"
        );
        let told = listener.rest();
        assert!(
            !told.iter().any(|told| matches!(told, Told::Finished)),
            "{told:?}"
        );
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callee_that_ignores_the_deadline_does_not_hold_its_caller() {
    // No layer, no deadline: as a foreign service.
    let app = Router::new().fallback(any(async || std::future::pending::<()>().await));
    let server = Running::start(|_| app, |server| server).await;
    let (root, _guard) = root();
    let ctx = root.with_timeout(Duration::from_millis(30));
    let uri = format!("http://{}/", server.address);
    let error = soon("the deadline", call(&plain(false), &internal(), &ctx, &uri))
        .await
        .unwrap_err();
    assert!(error.cancelled().unwrap().is_deadline());
    server.end().await;
}

#[derive(Clone)]
struct Recorder(mpsc::UnboundedSender<(Ending, Option<u16>, Option<Kind>)>);

impl CallObserver for Recorder {
    fn start(&self, call: &Call<'_>, _: &mut Carried) -> Box<dyn CallRecord> {
        assert_eq!(call.side, Side::Client);
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
async fn every_call_is_accounted_for_however_it_ends() {
    let (server, mut listener) = slow().await;
    let (sender, mut ends) = mpsc::unbounded_channel();
    // The server is not told of the deadline, so that it does not answer it.
    let layer = ClientLayer::new(Propagation::default(), PeerPolicy::silent())
        .observer(Arc::new(Recorder(sender)));
    let (root, _guard) = root();
    let client = plain(false);
    let uri = |path: &str| format!("http://{}{path}", server.address);
    let mut end = async || soon("the end of the account", ends.recv()).await.unwrap();

    let answer = call(&client, &layer, &root, &uri("/none")).await;
    assert_eq!(text(answer).await, "");
    assert_eq!(end().await, (Ending::Complete, Some(404), None));

    let ctx = root.with_timeout(Duration::ZERO);
    let late = Some(Kind::DeadlineExceeded);
    assert!(call(&client, &layer, &ctx, &uri("/wait")).await.is_err());
    assert_eq!(end().await, (Ending::Cancelled, None, late));

    let ctx = root.with_timeout(Duration::from_millis(30));
    assert!(call(&client, &layer, &ctx, &uri("/wait")).await.is_err());
    assert_eq!(end().await, (Ending::Cancelled, None, late));
    let _ = listener.began().await;

    // A future that nobody awaits any more, and a body that nobody reads any more.
    let mut waiting = Box::pin(call(&client, &layer, &root, "http://127.0.0.1:1/"));
    let error = waiting.as_mut().await.unwrap_err();
    assert!(error.cancelled().is_none(), "{error}");
    assert_eq!(end().await, (Ending::Failed, None, None));
    drop(call(&client, &layer, &root, &uri("/stream")).await.unwrap());
    assert_eq!(end().await, (Ending::Dropped, Some(200), None));
    // An answer without a body is complete when its head is there: nobody reads what is not there.
    drop(call(&client, &layer, &root, &uri("/none")).await.unwrap());
    assert_eq!(end().await, (Ending::Complete, Some(404), None));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reqwest_calls_are_under_the_context_too() {
    use ripcord_http::ReqwestClient;
    let client = ReqwestClient::new(reqwest::Client::new(), &internal());
    let (root, _guard) = root();
    let ctx = root.with_timeout(Duration::from_secs(20));

    let server = mirror().await;
    let url = format!("http://{}/path?q=1", server.address);
    let answer = client.send(&ctx, client.get(&url)).await.unwrap();
    assert_eq!(answer.url().as_str(), url);
    let seen = answer.text().await.unwrap();
    assert!(seen.contains("x-request-timeout-ms: "), "{seen}");
    assert!(seen.contains("traceparent: 00-"), "{seen}");
    server.end().await;

    let (server, mut listener) = slow().await;
    let (ctx, guard) = root.child();
    let url = format!("http://{}/stream", server.address);
    let mut answer = client.send(&ctx, client.get(&url)).await.unwrap();
    let _ = listener.began().await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    guard.cancel("enough");
    let error = answer.chunk().await.unwrap_err();
    let mut source: &(dyn std::error::Error + 'static) = &error;
    let cancelled = loop {
        if let Some(cancelled) = source.downcast_ref::<ripcord_core::Cancelled>() {
            break cancelled;
        }
        source = source
            .source()
            .expect("the end of the context is among the causes");
    };
    assert_eq!(cancelled.cause().message(), Some("enough"));
    assert_eq!(listener.ended().await.kind(), Kind::PeerGone);
    server.end().await;
}

//! Deadlines: enforced over every kind of call, on both sides, and told on.

mod support;

use http::HeaderMap;
use ripcord_core::{Cancelled, Ctx, Kind};
use ripcord_grpc::{GrpcClientLayer, GrpcServerLayer, RequestCtx as _, StatusExt as _};
use ripcord_propagation::{PeerPolicy, Propagation};
use ripcord_test::TestClock;
use ripcord_wire::timeout::TimeoutHeader;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::service::{Answers, Service, Text};
use support::{
    BoxError, CallKind, Client, LONG, Running, SHORT, client_layer, endless, ends, flowing, layer,
    layered, limited, plain, serve, server_ctx, text, under,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::{Code, Request, Response, Status};
use tower_layer::Layer as _;

/// A deadline of the test's clock, which passes when the test says so.
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A running service without end whose handlers tell when they begin.
async fn telling(
    service: Service,
    layer: Option<GrpcServerLayer>,
) -> (Running, mpsc::UnboundedReceiver<()>) {
    let (sender, begun) = mpsc::unbounded_channel();
    let service = service.before(move |_| {
        let _ = sender.send(());
    });
    (serve(service, layer).await, begun)
}

/// Makes a call in a task of its own; gives the status that it ends with.
fn spawn_call<T>(mut client: Client<T>, call: CallKind, ctx: Option<Ctx>) -> JoinHandle<Status>
where
    T: GrpcService<Body> + Send + 'static,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
    T::Future: Send,
    T::Error: Send,
{
    tokio::spawn(async move { client.end_of(call, ctx.as_ref()).await })
}

//= P10, P35
#[tokio::test]
async fn a_server_ends_every_kind_of_call_at_its_deadline() {
    let clock = TestClock::new();
    let (server, _guard) = clock.root().name("server").build();
    let (seen, mut ends) = ends();
    let layer = limited(&server, TEN_SECONDS);
    let (running, mut begun) = telling(endless(&seen), Some(layer)).await;
    for call in CallKind::ALL {
        // The caller knows no deadline: what it gets came over the wire.
        let calling = spawn_call(Client::new(plain(&running)), call, None);
        begun.recv().await.expect("the handler runs");
        clock.advance(TEN_SECONDS);
        let status = calling.await.expect("no panic");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{call:?}: {status}");
        let cause = status.peer_cause().expect("it was told");
        assert_eq!(cause.kind(), Some(Kind::DeadlineExceeded), "{call:?}");
        assert_eq!(cause.name(), Some(call.path()));
        let expect = ("dropped", Kind::DeadlineExceeded);
        assert_eq!(ends.next().await, expect, "{call:?}");
    }
}

//= P35
#[tokio::test]
async fn a_stream_that_never_pauses_ends_at_its_deadline() {
    let clock = TestClock::new();
    let (server, _guard) = clock.root().name("server").build();
    let service = Service::default().server_stream(|_| async { Ok(Response::new(flowing())) });
    let layer = limited(&server, TEN_SECONDS);
    let (running, mut begun) = telling(service, Some(layer)).await;
    let calling = spawn_call(Client::new(plain(&running)), CallKind::ServerStream, None);
    begun.recv().await.expect("the handler runs");
    clock.advance(TEN_SECONDS);
    let status = calling.await.expect("no panic");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

//= P35
#[tokio::test]
async fn a_client_ends_every_kind_of_call_at_its_deadline() {
    let clock = TestClock::new();
    let (caller, _guard) = clock.root().name("caller").build();
    let (seen, mut ends) = ends();
    let (running, mut begun) = telling(endless(&seen), None).await;
    for call in CallKind::ALL {
        let ctx = caller.with_timeout(TEN_SECONDS);
        let calling = spawn_call(Client::new(layered(&running)), call, Some(ctx));
        begun.recv().await.expect("the handler runs");
        clock.advance(TEN_SECONDS);
        let status = calling.await.expect("no panic");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{call:?}: {status}");
        let cancelled = status.cancelled().expect("it was our own deadline");
        assert_eq!(cancelled.cause().name(), Some("caller"), "{call:?}");
        // The peer has no context of ours: what it held is dropped, by the reset.
        assert_eq!(ends.next().await, ("dropped", Kind::Custom), "{call:?}");
    }
}

#[tokio::test]
async fn a_stream_from_a_peer_that_never_pauses_ends_at_the_deadline() {
    let clock = TestClock::new();
    let (caller, _guard) = clock.ctx();
    let service = Service::default().server_stream(|_| async { Ok(Response::new(flowing())) });
    let (running, mut begun) = telling(service, None).await;
    let ctx = caller.with_timeout(TEN_SECONDS);
    let calling = spawn_call(
        Client::new(layered(&running)),
        CallKind::ServerStream,
        Some(ctx),
    );
    begun.recv().await.expect("the handler runs");
    clock.advance(TEN_SECONDS);
    let status = calling.await.expect("no panic");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let is_deadline = status.cancelled().is_some_and(Cancelled::is_deadline);
    assert!(is_deadline, "{status:?}");
}

/// tonic's own timer and ours, both on the wall clock: whichever comes first, it is the same end.
#[tokio::test]
async fn a_deadline_of_the_wall_clock_is_the_same_end() {
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), None).await;
    let (caller, _guard) = ripcord_tokio::root().name("caller").build();
    for call in CallKind::ALL {
        let ctx = caller.with_timeout(SHORT);
        let status = Client::new(layered(&running))
            .end_of(call, Some(&ctx))
            .await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{call:?}: {status}");
        let cancelled = status.cancelled().expect("it was our own deadline");
        assert_eq!(cancelled.cause().name(), Some("caller"), "{call:?}");
    }
}

/// The header lines that a hop received.
struct Received(watch::Receiver<HeaderMap>);

impl Received {
    fn lines(&self, name: &str) -> Vec<String> {
        let headers = self.0.borrow();
        let lines = headers.get_all(name).iter();
        lines
            .map(|value| value.to_str().expect("ASCII").to_owned())
            .collect()
    }

    fn timeout(&self) -> Duration {
        let lines = self.lines("grpc-timeout");
        let [value] = &lines[..] else {
            panic!("one time-out a hop: {lines:?}")
        };
        let timeout = TimeoutHeader::GRPC.parse(value.as_bytes());
        timeout.expect("a time-out")
    }
}

/// Keeps the headers of each request that is shown to it.
fn keep() -> (impl Fn(&Request<Text>) + Send + Sync + 'static, Received) {
    let (sender, receiver) = watch::channel(HeaderMap::new());
    let keep = move |request: &Request<Text>| {
        sender.send_replace(request.metadata().clone().into_headers());
    };
    (keep, Received(receiver))
}

//= P3, P22
#[tokio::test]
async fn what_is_left_goes_from_hop_to_hop_and_a_stale_copy_does_not() {
    let (server, _guard) = server_ctx();
    let (keep_second, at_second) = keep();
    let second = Service::default().unary(move |request| {
        keep_second(&request);
        async { Ok(Response::new(text("two"))) }
    });
    let second = serve(second, Some(layer(&server))).await;
    let onward = Client::new(layered(&second)).0;
    let (keep_first, at_first) = keep();
    let first = Service::default().unary(move |request| {
        keep_first(&request);
        let mut client = Client(onward.clone());
        async move {
            // A proxy that hands all of the metadata on; its context is the current one.
            let (metadata, _, message) = request.into_parts();
            let mut copy = Request::new(message);
            *copy.metadata_mut() = metadata;
            client.unary(copy).await
        }
    });
    let first = serve(first, Some(layer(&server))).await;

    // Short enough to be told in microseconds.
    let budget = Duration::from_secs(50);
    let ctx = Ctx::background().with_timeout(budget);
    let mut request = under(Some(&ctx), text("go"));
    for (name, value) in [("ripcord-cancel-name", "old"), ("x-tenant", "acme")] {
        request
            .metadata_mut()
            .insert(name, value.parse().expect("ASCII"));
    }
    let answer = Client::new(layered(&first)).unary(request).await;
    assert_eq!(answer.expect("both answer").into_inner().text, "two");

    assert!(at_first.timeout() <= budget);
    assert!(at_second.timeout() < at_first.timeout());
    for name in ["traceparent", "x-request-id", "x-tenant"] {
        assert_eq!(at_first.lines(name).len(), 1, "{name}");
        assert_eq!(at_second.lines(name).len(), 1, "{name}");
    }
    assert_eq!(
        at_first.lines("x-request-id"),
        at_second.lines("x-request-id")
    );
    let spans = [&at_first, &at_second].map(|hop| hop.lines("traceparent"));
    assert_ne!(spans[0], spans[1], "a span for each call");
    assert!(at_first.lines("ripcord-cancel-name").is_empty());
}

/// A channel that counts its attempts to connect, all of which fail.
fn counting() -> (tonic::transport::Channel, Arc<AtomicUsize>) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let connector = tower_service_fn(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://nowhere.invalid");
    (endpoint.connect_with_connector_lazy(connector), attempts)
}

#[derive(Clone)]
struct Refuse<F>(F);

fn tower_service_fn<F: Fn() + Clone>(tell: F) -> Refuse<F> {
    Refuse(tell)
}

impl<F: Fn()> tower_service::Service<http::Uri> for Refuse<F> {
    type Response = hyper_util::rt::TokioIo<tokio::net::TcpStream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, std::io::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), std::io::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        (self.0)();
        std::future::ready(Err(std::io::Error::other("refused")))
    }
}

//= P1
#[tokio::test]
async fn with_nothing_left_nothing_is_sent() {
    let over = Ctx::background().with_timeout(Duration::ZERO);
    let (given_up, guard) = Ctx::background().child();
    guard.cancel("changed my mind");
    let reserved = Ctx::background().with_timeout(Duration::from_secs(1));
    let peer = PeerPolicy::internal().with_reserve(Duration::from_secs(2));
    let greedy = GrpcClientLayer::new(Propagation::default(), peer);
    for (ctx, layer, expect) in [
        (over, client_layer(), Code::DeadlineExceeded),
        (given_up, client_layer(), Code::Cancelled),
        (reserved, greedy, Code::DeadlineExceeded),
    ] {
        let (channel, attempts) = counting();
        let status = Client::new(layer.layer(channel))
            .end_of(CallKind::Unary, Some(&ctx))
            .await;
        assert_eq!(status.code(), expect, "{status}");
        assert!(status.cancelled().is_some(), "{status}");
        assert_eq!(attempts.load(Ordering::Relaxed), 0, "{status}");
    }
    // The counter counts: a call that has time is attempted.
    let (channel, attempts) = counting();
    let ctx = Ctx::background().with_timeout(LONG);
    let status = Client::new(client_layer().layer(channel))
        .end_of(CallKind::Unary, Some(&ctx))
        .await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(attempts.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn the_smaller_of_context_and_request_counts() {
    let (server, _guard) = server_ctx();
    let (sender, mut told) = mpsc::unbounded_channel();
    let service = Service::default().unary(move |request| {
        let _ = sender.send(request.ctx().remaining());
        async { Ok(Response::new(text("done"))) }
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = Client::new(layered(&running));
    let minute = Duration::from_secs(60);
    for (of_ctx, of_request) in [
        (Some(LONG), Some(minute)),
        (Some(minute), Some(LONG)),
        (Some(minute), None),
        (None, Some(minute)),
    ] {
        let ctx = of_ctx.map_or(Ctx::background(), |left| {
            Ctx::background().with_timeout(left)
        });
        let mut request = under(Some(&ctx), text("go"));
        if let Some(timeout) = of_request {
            request.set_timeout(timeout);
        }
        client.unary(request).await.expect("it answers");
        let left = told.recv().await.expect("the handler ran");
        assert!(left.is_some_and(|left| left <= minute), "{left:?}");
    }
}

#[tokio::test]
async fn a_limit_of_the_call_itself_is_named_after_it() {
    let clock = TestClock::new();
    let (caller, _guard) = clock.root().name("caller").build();
    let (seen, _ends) = ends();
    let (running, mut begun) = telling(endless(&seen), None).await;
    let mut request = under(Some(&caller.with_timeout(LONG)), text("go"));
    request.set_timeout(TEN_SECONDS);
    let mut client = Client::new(layered(&running));
    let calling = tokio::spawn(async move { client.unary(request).await });
    begun.recv().await.expect("the handler runs");
    clock.advance(TEN_SECONDS);
    let status = calling.await.expect("no panic").expect_err("too slow");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let cancelled = status.cancelled().expect("it was our own deadline");
    assert_eq!(cancelled.cause().name(), Some("/test.Test/Unary"));
}

//= P36
#[tokio::test]
async fn a_peer_that_says_cancelled_at_its_deadline_is_mended() {
    // tonic's own server, which answers CANCELLED when the time is up that it was told.
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), None).await;
    let ctx = Ctx::background().with_timeout(LONG);
    let told = Duration::from_millis(200);
    let peer = PeerPolicy::internal().with_reserve(LONG.saturating_sub(told));
    let layer = GrpcClientLayer::new(Propagation::default(), peer);
    let mut client = Client::new(layer.layer(plain(&running)));
    let status = client.end_of(CallKind::Unary, Some(&ctx)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(
        status.cancelled().is_none(),
        "our own deadline has not passed"
    );
}

#[tokio::test]
async fn a_timeout_of_the_endpoint_is_a_deadline_too() {
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), None).await;
    let channel = support::endpoint(&running).timeout(SHORT).connect_lazy();
    let mut client = Client::new(client_layer().layer(channel));
    let status = client.end_of(CallKind::Unary, None).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_wait_for_a_permit_ends_at_the_deadline() {
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), None).await;
    let channel = Never(plain(&running));
    let ctx = Ctx::background().named("caller").with_timeout(SHORT);
    let status = Client::new(client_layer().layer(channel))
        .end_of(CallKind::Unary, Some(&ctx))
        .await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(
        status.cancelled().and_then(|error| error.cause().name()),
        Some("caller")
    );
}

/// A service that is never ready.
#[derive(Clone)]
struct Never<S>(S);

impl<S: tower_service::Service<R>, R> tower_service::Service<R> for Never<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Pending
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn a_call_that_finishes_in_time_is_left_alone() {
    let (server, _guard) = server_ctx();
    let service = Service::default()
        .unary(|_| async { Ok(Response::new(text("one"))) })
        .server_stream(|_| async {
            let answers = Answers::new(tokio_stream::iter(["a", "b"].map(|t| Ok(text(t)))));
            Ok(Response::new(answers))
        })
        .client_stream(|request| async move {
            let all = support::drain(request.into_inner()).await?;
            Ok(Response::new(text(&all.concat())))
        })
        .bidi(|request| async move {
            let answers = Answers::new(request.into_inner());
            Ok(Response::new(answers))
        });
    let running = serve(service, Some(layer(&server))).await;
    let ctx = Ctx::background().with_timeout(LONG);
    let closed = || tokio_stream::iter([text("x"), text("y")]);
    for mut client in [
        Client::new(layered(&running)),
        Client::new(layered(&running)),
    ] {
        let one = client
            .unary(under(Some(&ctx), text("go")))
            .await
            .expect("unary");
        assert_eq!(one.into_inner().text, "one");
        let all = client
            .server_stream(under(Some(&ctx), text("go")))
            .await
            .expect("stream");
        assert_eq!(
            support::drain(all.into_inner()).await.expect("to its end"),
            ["a", "b"]
        );
        let sum = client
            .client_stream(under(Some(&ctx), closed()))
            .await
            .expect("upload");
        assert_eq!(sum.into_inner().text, "xy");
        let echo = client
            .bidi(under(Some(&ctx), closed()))
            .await
            .expect("bidi");
        assert_eq!(
            support::drain(echo.into_inner()).await.expect("to its end"),
            ["x", "y"]
        );
    }
    assert!(!ctx.is_done());
}

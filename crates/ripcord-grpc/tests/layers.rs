//! The layers by themselves: no sockets, a clock that is moved by hand, and a fake service below.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use ripcord_core::{Ctx, Kind};
use ripcord_grpc::{
    ClientFuture, ClientResponseBody, GrpcClient, GrpcClientLayer, GrpcServerLayer, ServerFuture,
    ServerRequestBody, StatusExt as _,
};
use ripcord_propagation::{PeerPolicy, Propagation};
use ripcord_test::{ManualTask, TestClock};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Code, Status};
use tower_layer::Layer as _;
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);

/// A body that the test feeds, frame by frame.
struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, Status>>);

type Feeder = mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>;

fn fed() -> (Feeder, Fed) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Fed(receiver))
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(cx)
    }
}

/// The next frame of a body.
fn next<B: Body + Unpin>(
    body: &mut B,
) -> impl Future<Output = Option<Result<Frame<B::Data>, B::Error>>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is pending"),
    }
}

type Answer = Result<Response<Fed>, Status>;

/// The context that was the current one when the service was called.
#[derive(Clone)]
struct Current(Ctx);

/// A service that hands its calls to the test.
struct Fake<B> {
    calls: mpsc::UnboundedSender<(Request<B>, oneshot::Sender<Answer>)>,
    is_ready: watch::Receiver<bool>,
    change: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> Clone for Fake<B> {
    fn clone(&self) -> Self {
        Self {
            calls: self.calls.clone(),
            is_ready: self.is_ready.clone(),
            change: None,
        }
    }
}

/// The test's side of a [`Fake`].
struct Calls<B> {
    calls: mpsc::UnboundedReceiver<(Request<B>, oneshot::Sender<Answer>)>,
    is_ready: watch::Sender<bool>,
}

fn fake<B>() -> (Fake<B>, Calls<B>) {
    let (sender, calls) = mpsc::unbounded_channel();
    let (make_ready, is_ready) = watch::channel(true);
    let fake = Fake {
        calls: sender,
        is_ready,
        change: None,
    };
    let calls = Calls {
        calls,
        is_ready: make_ready,
    };
    (fake, calls)
}

impl<B> Calls<B> {
    fn next(&mut self) -> (Request<B>, oneshot::Sender<Answer>) {
        self.calls.try_recv().expect("a call was made")
    }
}

impl<B> Service<Request<B>> for Fake<B> {
    type Response = Response<Fed>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while !*self.is_ready.borrow_and_update() {
            let mut is_ready = self.is_ready.clone();
            let change = self.change.get_or_insert_with(|| {
                Box::pin(async move {
                    let _ = is_ready.changed().await;
                })
            });
            std::task::ready!(change.as_mut().poll(cx));
            self.change = None;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Current(Ctx::current()));
        let (sender, receiver) = oneshot::channel();
        let _ = self.calls.send((request, sender));
        Box::pin(async move {
            let answer = receiver.await;
            answer.unwrap_or_else(|_| Err(Status::internal("the test let the call go")))
        })
    }
}

type Below = Fake<tonic::body::Body>;

/// A call under `ctx`, with so much kept back, to a fake service.
fn call(
    ctx: &Ctx,
    reserve: Duration,
) -> (ManualTask<ClientFuture<Below>>, Calls<tonic::body::Body>) {
    let peer = PeerPolicy::internal().with_reserve(reserve);
    let layer = GrpcClientLayer::new(Propagation::default(), peer);
    let (fake, calls) = fake();
    let mut client: GrpcClient<Below> = layer.layer(fake);
    let mut request = Request::new(tonic::body::Body::empty());
    *request.uri_mut() = "http://peer/test.Test/Unary".parse().expect("a URI");
    request.extensions_mut().insert(ctx.clone());
    (ManualTask::new(client.call(request)), calls)
}

fn trailers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

fn head(headers: HeaderMap, body: Fed) -> Response<Fed> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

#[test]
fn the_peer_is_told_what_is_left_when_it_takes_the_call() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(10 * SECOND);
    let (mut task, mut calls) = call(&ctx, SECOND);
    calls.is_ready.send_replace(false);
    assert!(task.poll().is_pending());
    assert!(calls.calls.try_recv().is_err(), "the service is not ready");
    clock.advance(4 * SECOND);
    calls.is_ready.send_replace(true);
    assert!(task.is_woken());
    assert!(task.poll().is_pending());
    let (request, _answer) = calls.next();
    // 10 s, less 4 s in the queue, less 1 s that is kept back.
    assert_eq!(request.headers()["grpc-timeout"], "5000000u");
    assert!(request.extensions().get::<Ctx>().is_none(), "it is ours");
}

//= P36
#[test]
fn cancelled_is_mended_when_the_deadline_has_passed_that_was_told() {
    for (after, expect) in [(8, "1"), (9, "4")] {
        for is_in_head in [true, false] {
            let clock = TestClock::new();
            let (root, _guard) = clock.ctx();
            let ctx = root.with_timeout(10 * SECOND);
            let (mut task, mut calls) = call(&ctx, SECOND);
            assert!(task.poll().is_pending());
            let (_, answer) = calls.next();
            clock.advance(after * SECOND);
            let (feeder, body) = fed();
            let said = trailers(&[("grpc-status", "1"), ("grpc-message", "Timeout expired")]);
            let headers = if is_in_head {
                let _ = answer.send(Ok(head(said, body)));
                ready(task.poll()).expect("an answer").headers().clone()
            } else {
                let _ = answer.send(Ok(head(HeaderMap::new(), body)));
                let _ = feeder.send(Ok(Frame::trailers(said)));
                let mut body = ready(task.poll()).expect("an answer").into_body();
                let frame = ready(ManualTask::new(next(&mut body)).poll());
                let frame = frame.expect("a frame").expect("no error");
                frame.into_trailers().expect("trailers")
            };
            assert_eq!(
                headers["grpc-status"], expect,
                "{after} s, head: {is_in_head}"
            );
            assert_eq!(headers["grpc-message"], "Timeout expired");
        }
    }
}

#[test]
fn a_failure_that_says_cancelled_is_mended_and_others_are_not() {
    for (after, error, expect) in [
        (8, Status::cancelled("reset"), Code::Cancelled),
        (9, Status::cancelled("reset"), Code::DeadlineExceeded),
        (9, Status::unavailable("refused"), Code::Unavailable),
    ] {
        let clock = TestClock::new();
        let (root, _guard) = clock.ctx();
        let (mut task, mut calls) = call(&root.with_timeout(10 * SECOND), SECOND);
        assert!(task.poll().is_pending());
        let (_, answer) = calls.next();
        clock.advance(after * SECOND);
        let message = error.message().to_owned();
        let _ = answer.send(Err(error));
        let status = ready(task.poll()).expect_err("it failed");
        assert_eq!(
            (status.code(), status.message()),
            (expect, message.as_str()),
            "{after} s"
        );
    }
}

//= P33
#[test]
fn the_call_below_is_gone_when_the_caller_learns_of_the_end() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.named("lookup").with_timeout(10 * SECOND);
    let (mut task, mut calls) = call(&ctx, Duration::ZERO);
    assert!(task.poll().is_pending());
    let (_, answer) = calls.next();
    clock.advance(10 * SECOND);
    assert!(task.is_woken() && !answer.is_closed());
    let status = ready(task.poll()).expect_err("it is over");
    assert!(answer.is_closed());
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let cancelled = status.cancelled().expect("our own deadline");
    assert_eq!(cancelled.cause().name(), Some("lookup"));
    assert_eq!(
        (clock.armed(), task.counter().live()),
        (0, 0),
        "nothing is left behind"
    );
}

/// A call whose answer has begun; the body of the answer, and what feeds it.
fn begun(ctx: &Ctx) -> (ClientResponseBody<Fed>, Feeder, Request<tonic::body::Body>) {
    let (mut task, mut calls) = call(ctx, Duration::ZERO);
    assert!(task.poll().is_pending());
    let (request, answer) = calls.next();
    let (feeder, body) = fed();
    let _ = answer.send(Ok(head(HeaderMap::new(), body)));
    let body = ready(task.poll()).expect("an answer").into_body();
    (body, feeder, request)
}

#[test]
fn the_stream_of_an_answer_ends_with_the_context() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    let (mut body, feeder, _request) = begun(&ctx);
    assert!(body.size_hint().exact().is_none() && !body.is_end_stream());
    let _ = feeder.send(Ok(Frame::data(Bytes::from_static(b"one"))));
    assert!(matches!(
        ready(ManualTask::new(next(&mut body)).poll()),
        Some(Ok(_))
    ));
    {
        let mut idle = ManualTask::new(next(&mut body));
        assert!(idle.poll().is_pending());
        guard.cancel(Kind::Shutdown);
        assert_eq!(idle.wakes(), 1);
        let status = ready(idle.poll())
            .expect("an error")
            .expect_err("it is over");
        assert_eq!(status.code(), Code::Cancelled);
    }
    assert!(feeder.is_closed(), "the stream below is dropped");
    assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
    assert!(ready(ManualTask::new(next(&mut body)).poll()).is_none());
}

//= P38
#[test]
fn what_a_peer_says_of_its_causes_is_bounded() {
    let (mut body, feeder, _request) = begun(&Ctx::background());
    let said = trailers(&[
        ("grpc-status", "14"),
        ("ripcord-cancel-kind", &"k".repeat(5000)),
        ("ripcord-cancel-name", &format!("%0a{}", "x".repeat(5000))),
    ]);
    let _ = feeder.send(Ok(Frame::trailers(said)));
    let frame = ready(ManualTask::new(next(&mut body)).poll());
    let trailers = frame.expect("a frame").expect("no error").into_trailers();
    let trailers = trailers.expect("trailers");
    assert!(!trailers.contains_key("ripcord-cancel-kind"));
    assert!(trailers["ripcord-cancel-name"].len() <= 128);
    let status = Status::from_header_map(&trailers).expect("there is one");
    let cause = status.peer_cause().expect("a name is left");
    assert_eq!(cause.kind(), None);
    assert!(
        cause
            .name()
            .is_some_and(|name| name.starts_with("\u{fffd}xxx"))
    );
}

type Upload = ServerRequestBody<Fed>;

/// A call that is served, with its handler in the hands of the test.
struct Served {
    task: ManualTask<ServerFuture<<Fake<Upload> as Service<Request<Upload>>>::Future>>,
    calls: Calls<Upload>,
    upload: Feeder,
}

fn served(server: &Ctx, headers: &[(&'static str, &str)]) -> Served {
    let (fake, calls) = fake();
    let mut service = GrpcServerLayer::new(server, Propagation::default()).layer(fake);
    let (upload, body) = fed();
    let mut request = grpc_request(body);
    request.headers_mut().extend(trailers(headers));
    Served {
        task: ManualTask::new(service.call(request)),
        calls,
        upload,
    }
}

fn grpc_request(body: Fed) -> Request<Fed> {
    let mut request = Request::new(body);
    *request.uri_mut() = "/test.Test/Unary".parse().expect("a path");
    request
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    request
}

#[test]
fn a_handler_is_gone_when_its_deadline_is_answered() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let mut call = served(&server, &[("grpc-timeout", "10S")]);
    assert!(call.task.poll().is_pending());
    let (request, answer) = call.calls.next();
    let ctx = request
        .extensions()
        .get::<Ctx>()
        .expect("it has one")
        .clone();
    assert_eq!(ctx.remaining(), Some(10 * SECOND));
    clock.advance(10 * SECOND);
    assert!(call.task.is_woken() && ctx.is_done());
    let response = ready(call.task.poll()).expect("an answer");
    assert!(answer.is_closed(), "the handler is dropped");
    assert_eq!(response.headers()["grpc-status"], "4");
    assert!(response.body().is_end_stream(), "its head is all of it");
    drop((request, ctx));
    assert_eq!(
        (clock.armed(), call.task.counter().live()),
        (0, 0),
        "nothing is left behind"
    );
}

//= P6
#[test]
fn a_handler_whose_call_is_over_on_arrival_is_not_called() {
    let clock = TestClock::new();
    let (server, guard) = clock.ctx();
    let over = served(&server, &[("grpc-timeout", "0S")]);
    guard.cancel(Kind::Shutdown);
    let late = served(&server, &[]);
    for (mut call, expect) in [(over, "4"), (late, "14")] {
        let response = ready(call.task.poll()).expect("an answer");
        assert_eq!(response.headers()["grpc-status"], expect);
        assert!(call.calls.calls.try_recv().is_err());
    }
}

/// A body that tells what the current context is called.
struct Named;

impl Body for Named {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let name = Ctx::current().name().unwrap_or("none").to_owned();
        Poll::Ready(Some(Ok(Frame::data(name.into()))))
    }
}

#[test]
fn the_context_is_the_current_one_wherever_the_handler_runs() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let mut call = served(&server, &[]);
    assert!(call.task.poll().is_pending());
    let (request, _answer) = call.calls.next();
    let extensions = request.extensions();
    let current = extensions.get::<Current>().expect("the fake noted it");
    assert_eq!(Some(&current.0), extensions.get::<Ctx>());
    assert_eq!(current.0.name(), Some("/test.Test/Unary"));

    let named = tower::service_fn(|_| async { Ok::<_, Status>(Response::new(Named)) });
    let mut service = GrpcServerLayer::new(&server, Propagation::default()).layer(named);
    let response = ready(ManualTask::new(service.call(grpc_request(fed().1))).poll());
    let mut body = response.expect("an answer").into_body();
    let frame = ready(ManualTask::new(next(&mut body)).poll());
    let data = frame.expect("a frame").expect("no error").into_data();
    assert_eq!(data.expect("data"), "/test.Test/Unary");
    assert_eq!(Ctx::current(), Ctx::background());
}

#[test]
fn the_stream_of_a_handler_is_gone_when_the_client_is_told() {
    let clock = TestClock::new();
    let (server, guard) = clock.ctx();
    let mut call = served(&server, &[]);
    assert!(call.task.poll().is_pending());
    let (_request, answer) = call.calls.next();
    let (feeder, body) = fed();
    let _ = answer.send(Ok(head(HeaderMap::new(), body)));
    let mut body = ready(call.task.poll()).expect("an answer").into_body();
    assert!(body.size_hint().exact().is_none() && !body.is_end_stream());
    {
        let mut idle = ManualTask::new(next(&mut body));
        assert!(idle.poll().is_pending());
        guard.cancel(Kind::Shutdown);
        assert_eq!(idle.wakes(), 1);
        let frame = ready(idle.poll()).expect("a frame").expect("no error");
        let trailers = frame.into_trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "14");
        assert_eq!(trailers["ripcord-cancel-kind"], "shutdown");
    }
    assert!(feeder.is_closed());
    assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
    assert!(ready(ManualTask::new(next(&mut body)).poll()).is_none());
}

#[test]
fn an_answer_that_is_ready_at_the_deadline_is_given() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let mut call = served(&server, &[("grpc-timeout", "10S")]);
    assert!(call.task.poll().is_pending());
    let (_request, answer) = call.calls.next();
    clock.advance(10 * SECOND);
    let (_feeder, body) = fed();
    let said = trailers(&[("grpc-status", "0")]);
    let _ = answer.send(Ok(head(said, body)));
    let response = ready(call.task.poll()).expect("an answer");
    assert_eq!(response.headers()["grpc-status"], "0");
}

#[test]
fn an_error_of_the_service_is_its_own() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let mut call = served(&server, &[]);
    assert!(call.task.poll().is_pending());
    let (request, answer) = call.calls.next();
    let ctx = request
        .extensions()
        .get::<Ctx>()
        .expect("it has one")
        .clone();
    let _ = answer.send(Err(Status::internal("broken")));
    assert_eq!(
        ready(call.task.poll()).expect_err("it failed").message(),
        "broken"
    );
    assert_eq!(ctx.cause().map(|cause| cause.kind()), Some(Kind::Dropped));
}

#[test]
fn a_request_stream_fails_once_and_passes_other_errors_on() {
    let clock = TestClock::new();
    for (error, expect, cause) in [
        (
            Status::resource_exhausted("too large"),
            Code::ResourceExhausted,
            None,
        ),
        (
            Status::cancelled("reset"),
            Code::Aborted,
            Some(Kind::PeerGone),
        ),
    ] {
        let (server, _guard) = clock.ctx();
        let mut call = served(&server, &[]);
        assert!(call.task.poll().is_pending());
        let (request, _answer) = call.calls.next();
        let ctx = request
            .extensions()
            .get::<Ctx>()
            .expect("it has one")
            .clone();
        let mut body = request.into_body();
        let _ = call.upload.send(Err(error));
        let frame = ready(ManualTask::new(next(&mut body)).poll());
        let status = frame.expect("an error").expect_err("it failed");
        assert_eq!(status.code(), expect);
        assert_eq!(ctx.cause().map(|cause| cause.kind()), cause);
        if cause.is_some() {
            assert!(ready(ManualTask::new(next(&mut body)).poll()).is_none());
        }
    }
}

#[test]
fn a_request_stream_wakes_who_reads_it_elsewhere() {
    let clock = TestClock::new();
    let (server, guard) = clock.ctx();
    let mut call = served(&server, &[]);
    assert!(call.task.poll().is_pending());
    let (request, _answer) = call.calls.next();
    let mut body = request.into_body();
    let mut reader = ManualTask::new(next(&mut body));
    assert!(reader.poll().is_pending());
    guard.cancel(Kind::Shutdown);
    assert!(reader.is_woken());
    let status = ready(reader.poll())
        .expect("an error")
        .expect_err("it is over");
    assert_eq!(status.code(), Code::Unavailable);
}

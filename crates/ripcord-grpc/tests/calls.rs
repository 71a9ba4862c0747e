//! Ends that are no deadlines: a client that leaves, a shutdown, a cancel, a panic; and peers
//! without our layers.

mod support;

use ripcord_core::{Ctx, Kind, ShutdownPlan};
use ripcord_grpc::{RequestCtx as _, StatusExt as _, status_of};
use ripcord_propagation::CtxCarried as _;
use std::time::Duration;
use support::service::{Answers, Service};
use support::{
    CallKind, Client, Ends, LONG, OnDrop, Running, Seen, endless, ends, layer, layered,
    open_stream, plain, serve, server_ctx, text, under,
};
use tokio::sync::mpsc;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Response, Status};

/// A running service without end, what its handlers saw, and when one has begun.
struct Stage {
    running: Running,
    ends: Ends,
    begun: mpsc::UnboundedReceiver<Ctx>,
}

impl Stage {
    /// The context of the next handler that has begun.
    async fn begun(&mut self) -> Ctx {
        self.begun.recv().await.expect("the handler runs")
    }
}

async fn stage(server: &Ctx) -> Stage {
    let (seen, ends) = ends();
    let (sender, begun) = mpsc::unbounded_channel();
    let watch = seen.clone();
    let service = endless(&seen).before(move |extensions| {
        let ctx = extensions.get::<Ctx>().expect("the layer put it there");
        watch.watch("spawned", ctx);
        let _ = sender.send(ctx.clone());
    });
    let running = serve(service, Some(layer(server))).await;
    Stage {
        running,
        ends,
        begun,
    }
}

const GONE: [(&str, Kind); 2] = [("dropped", Kind::PeerGone), ("spawned", Kind::PeerGone)];

/// Without [`CallKind::Bidi`]: there a client without our layer resets nothing as long as its upload
/// is open, see `a_caller_that_drops_the_answer_resets_the_stream`.
#[tokio::test]
async fn a_tonic_client_that_drops_its_call_ends_the_context() {
    let (server, _guard) = server_ctx();
    for call in [
        CallKind::Unary,
        CallKind::ServerStream,
        CallKind::ClientStream,
    ] {
        let mut stage = stage(&server).await;
        let mut client = Client::new(plain(&stage.running));
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        let _ = stage.begun().await;
        calling.abort();
        assert_eq!(stage.ends.two().await, GONE, "{call:?}");
    }
}

#[tokio::test]
async fn a_tonic_client_that_leaves_after_the_first_answer_ends_the_context() {
    let (server, _guard) = server_ctx();
    let mut stage = stage(&server).await;
    let mut client = Client::new(plain(&stage.running));
    let answer = client.server_stream(under(None, text("go"))).await;
    let mut answer = answer.expect("a head").into_inner();
    assert_eq!(answer.message().await.expect("no error"), Some(text("one")));
    drop(answer);
    assert_eq!(stage.ends.two().await, GONE);
}

//= P37
#[tokio::test]
async fn a_caller_whose_context_ends_ends_the_context_of_the_callee() {
    let (server, _guard) = server_ctx();
    for call in CallKind::ALL {
        let mut stage = stage(&server).await;
        let mut client = Client::new(layered(&stage.running));
        let (ctx, guard) = Ctx::background().named("caller").child();
        let calling = tokio::spawn(async move { client.end_of(call, Some(&ctx)).await });
        let callee = stage.begun().await;
        assert!(!callee.is_done());
        guard.cancel(Kind::Shutdown);
        assert_eq!(stage.ends.two().await, GONE, "{call:?}");
        let status = calling.await.expect("no panic");
        // Our own shutdown does not make the peer unavailable.
        assert_eq!(status.code(), Code::Cancelled, "{call:?}: {status}");
        let cancelled = status.cancelled().expect("our own context ended it");
        assert_eq!(cancelled.kind(), Kind::Shutdown);
    }
}

/// The handler's own context is the current one, so that its calls are under it unasked.
#[tokio::test]
async fn a_call_within_a_handler_ends_with_the_handler() {
    let (server, _guard) = server_ctx();
    let mut below = stage(&server).await;
    let onward = Client::new(layered(&below.running)).0;
    let service = Service::default().unary(move |request| {
        let mut client = Client(onward.clone());
        async move { client.unary(under(None, request.into_inner())).await }
    });
    let above = serve(service, Some(layer(&server))).await;
    let mut client = Client::new(layered(&above));
    let ctx = Ctx::background().with_timeout(LONG);
    let calling = tokio::spawn(async move { client.end_of(CallKind::Unary, Some(&ctx)).await });
    let callee = below.begun().await;
    assert!(callee.remaining().is_some(), "its deadline came along");
    calling.abort();
    assert_eq!(below.ends.two().await, GONE);
}

//= P37, P38
#[tokio::test]
async fn a_shutdown_answers_unavailable() {
    for call in CallKind::ALL {
        let (server, guard) = server_ctx();
        let mut stage = stage(&server).await;
        let mut client = Client::new(plain(&stage.running));
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        let _ = stage.begun().await;
        guard.shutdown(ShutdownPlan::new(Duration::ZERO, Duration::ZERO));
        let status = calling.await.expect("no panic");
        assert_eq!(status.code(), Code::Unavailable, "{call:?}: {status}");
        let cause = status.peer_cause().expect("it was told");
        assert_eq!(
            (cause.kind(), cause.name()),
            (Some(Kind::Shutdown), Some("server"))
        );
        let expect = [("dropped", Kind::Shutdown), ("spawned", Kind::Shutdown)];
        assert_eq!(stage.ends.two().await, expect, "{call:?}");
    }
}

#[tokio::test]
async fn a_call_that_arrives_after_the_end_is_refused_unseen() {
    let (server, guard) = server_ctx();
    let mut stage = stage(&server).await;
    guard.cancel(Kind::Shutdown);
    let mut client = Client::new(plain(&stage.running));
    for call in CallKind::ALL {
        let status = client.end_of(call, None).await;
        assert_eq!(status.code(), Code::Unavailable, "{call:?}: {status}");
    }
    assert!(stage.begun.try_recv().is_err(), "no handler was called");
}

//= P37, P38
#[tokio::test]
async fn a_cancel_by_hand_is_cancelled_for_every_kind_of_call() {
    let (server, guard) = server_ctx();
    for (call, name) in
        CallKind::ALL
            .into_iter()
            .zip(["a", "naïve\n\"name\"", "%", &"x".repeat(300)])
    {
        let (one, cancel) = server.named(name.to_owned()).child();
        let mut stage = stage(&one).await;
        let mut client = Client::new(plain(&stage.running));
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        let _ = stage.begun().await;
        cancel.cancel("by hand");
        let status = calling.await.expect("no panic");
        // Also where the handler was reading: it is told ABORTED, which is not what goes out.
        assert_eq!(status.code(), Code::Cancelled, "{call:?}: {status}");
        let cause = status.peer_cause().expect("it was told");
        assert_eq!(cause.kind(), Some(Kind::Cancelled));
        let expect: String = name.chars().take(128).collect();
        assert_eq!(
            cause.name(),
            Some(expect.replace('\n', "\u{fffd}").as_str())
        );
        assert!(
            !status.message().contains("by hand"),
            "messages stay inside"
        );
    }
    drop(guard);
}

#[tokio::test]
async fn causes_stay_inside_where_they_should() {
    for call in CallKind::ALL {
        let (server, guard) = server_ctx();
        let (seen, _ends) = ends();
        let (sender, mut begun) = mpsc::unbounded_channel();
        let service = endless(&seen)
            .before(move |_| {
                let _ = sender.send(());
            })
            .unary(|request| async move {
                let cause = request.ctx().done().await;
                Err(status_of(&cause))
            });
        let running = serve(service, Some(layer(&server).tell_causes(false))).await;
        let mut client = Client::new(plain(&running));
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        begun.recv().await.expect("the handler runs");
        guard.cancel(Kind::Shutdown);
        let status = calling.await.expect("no panic");
        assert_eq!(status.code(), Code::Unavailable, "{call:?}");
        let headers = status.metadata().as_ref();
        let is_ours = |name: &http::HeaderName| name.as_str().starts_with("ripcord");
        assert!(!headers.keys().any(is_ours), "{call:?}: {headers:?}");
    }
}

/// A handler that sees the end by itself answers what it likes; the reason is added.
#[tokio::test]
async fn a_handler_may_answer_for_itself() {
    let (server, guard) = server_ctx();
    let (sender, mut begun) = mpsc::unbounded_channel();
    let service = Service::default().unary(move |request| {
        let (ctx, sender) = (request.ctx(), sender.clone());
        async move {
            let _ = sender.send(());
            ctx.done().await;
            Err(Status::resource_exhausted("half done"))
        }
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = Client::new(plain(&running));
    let calling = tokio::spawn(async move { client.end_of(CallKind::Unary, None).await });
    begun.recv().await.expect("the handler runs");
    guard.cancel(Kind::Shutdown);
    let status = calling.await.expect("no panic");
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "half done")
    );
    assert_eq!(
        status.peer_cause().and_then(|cause| cause.kind()),
        Some(Kind::Shutdown)
    );
}

#[tokio::test]
async fn the_status_of_a_live_handler_is_left_alone() {
    let (server, _guard) = server_ctx();
    let service = Service::default().unary(|_| async { Err(Status::aborted("conflict")) });
    let running = serve(service, Some(layer(&server))).await;
    let ctx = Ctx::background().with_timeout(LONG);
    let status = Client::new(layered(&running))
        .end_of(CallKind::Unary, Some(&ctx))
        .await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "conflict")
    );
    assert_eq!((status.peer_cause(), status.cancelled()), (None, None));
}

/// Its task is gone before anything is dropped, so the name has to be given while it unwinds.
#[tokio::test]
async fn a_panic_is_told_from_a_client_that_left() {
    let (server, _guard) = server_ctx();
    let (seen, mut ends) = ends();
    let held = move |seen: &Seen, ctx: Ctx| OnDrop(seen.clone(), ctx);
    let (a, b) = (seen.clone(), seen.clone());
    let service = Service::default()
        .unary(move |request| {
            let held = held(&a, request.ctx());
            a.watch("spawned", &request.ctx());
            async move {
                tokio::task::yield_now().await;
                let _held = held;
                panic!("a bug in a handler");
            }
        })
        .server_stream(move |request| {
            let held = held(&b, request.ctx());
            let mut polls = 0;
            let answers = Answers::new(tokio_stream::iter(std::iter::from_fn(move || {
                polls += 1;
                assert!(polls < 3, "a bug in a stream of {:?}", held.1);
                Some(Ok(text("fine")))
            })));
            async { Ok(Response::new(answers)) }
        });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = Client::new(plain(&running));
    for call in [CallKind::Unary, CallKind::ServerStream] {
        let ctx = Ctx::background();
        assert_ne!(
            client.end_of(call, Some(&ctx)).await.code(),
            Code::Ok,
            "{call:?}"
        );
        if call == CallKind::Unary {
            // What a handler's frame holds is dropped before the panic reaches the layer.
            let expect = [("dropped", Kind::Custom), ("spawned", Kind::Panicked)];
            assert_eq!(ends.two().await, expect);
        } else {
            assert_eq!(ends.next().await, ("dropped", Kind::Panicked));
        }
    }
}

//= P26
#[tokio::test]
async fn the_context_of_a_call_that_is_over_is_over() {
    let (server, _guard) = server_ctx();
    let (seen, mut ends) = ends();
    let service = Service::default().unary(move |request| {
        seen.watch("spawned", &request.ctx());
        assert_eq!(Ctx::current(), request.ctx(), "it is the current one");
        assert_eq!(Ctx::current().name(), Some("/test.Test/Unary"));
        async { Ok(Response::new(text("done"))) }
    });
    let running = serve(service, Some(layer(&server))).await;
    let answer = Client::new(plain(&running))
        .unary(under(None, text("go")))
        .await;
    assert_eq!(answer.expect("an answer").into_inner(), text("done"));
    assert_eq!(ends.next().await, ("spawned", Kind::Dropped));
    assert!(!server.is_done());
}

#[tokio::test]
async fn an_upload_that_nobody_reads_to_its_end_ends_with_the_answer() {
    let (server, _guard) = server_ctx();
    let service = Service::default().bidi(|_| async {
        let answers = Answers::new(tokio_stream::iter([Ok(text("enough"))]));
        Ok(Response::new(answers))
    });
    let running = serve(service, Some(layer(&server))).await;
    let (kept, mut drops) = mpsc::channel::<()>(1);
    let upload = {
        use tokio_stream::StreamExt as _;
        open_stream().map(move |message| {
            let _ = &kept;
            message
        })
    };
    let mut client = Client::new(layered(&running));
    let answer = client
        .bidi(under(None, upload))
        .await
        .expect("a head")
        .into_inner();
    assert_eq!(support::drain(answer).await.expect("its end"), ["enough"]);
    assert_eq!(drops.recv().await, None, "the upload is let go");
}

//= P17
#[tokio::test]
async fn every_answer_has_the_request_id() {
    let (server, guard) = server_ctx();
    let service = Service::default()
        .unary(|_| async { Ok(Response::new(text("done"))) })
        .server_stream(|request| async move {
            let ctx = request.ctx();
            let peer = ctx.carried().and_then(|carried| carried.peer()?.address);
            assert!(peer.is_some_and(|peer| peer.ip().is_loopback()));
            Err(Status::not_found("no such thing"))
        });
    let layer =
        layer(&server).peer_address(|extensions| extensions.get::<TcpConnectInfo>()?.remote_addr());
    let running = serve(service, Some(layer)).await;
    let mut client = Client::new(plain(&running));
    let mut request = under(None, text("go"));
    let id = request
        .metadata_mut()
        .insert("x-request-id", "7f3a".parse().expect("ASCII"));
    assert!(id.is_none());
    let answer = client.unary(request).await.expect("an answer");
    let id = answer.metadata().get("x-request-id");
    assert_eq!(id.expect("it is echoed"), "7f3a");
    let failed = client.end_of(CallKind::ServerStream, None).await;
    assert_eq!(failed.code(), Code::NotFound);
    guard.cancel(Kind::Shutdown);
    let refused = client.end_of(CallKind::Unary, None).await;
    for status in [failed, refused] {
        let id = status.metadata().get("x-request-id").expect("one is made");
        assert_eq!(id.as_bytes().len(), 36, "{id:?}");
    }
}

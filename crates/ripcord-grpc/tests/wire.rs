//! What goes over the wire, seen without tonic at the other end.

mod support;

use h2::Reason;
use ripcord_core::{Ctx, Kind};
use ripcord_grpc::{GrpcClient, GrpcServerLayer, RequestCtx as _, StatusExt as _};
use ripcord_propagation::{DeadlinePolicy, Propagation};
use ripcord_test::TestClock;
use std::time::Duration;
use support::observer::observer;
use support::raw::{RawClient, RawServer, end, message, reset};
use support::service::Service;
use support::{
    CallKind, Client, LONG, client_layer, endless, ends, layer, open_stream, serve, server_ctx,
    text, under,
};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response};
use tower_layer::Layer as _;

/// tonic's own server answers `CANCELLED` at the same instant; its timer is around our layer.
//= P6, P35
#[tokio::test]
async fn a_deadline_is_never_reported_as_cancelled() {
    let (server, _guard) = server_ctx();
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), Some(layer(&server))).await;
    let mut client = RawClient::connect(running.addr).await;
    for timeout in ["0S", "1n", "10u", "900u", "1m", "1500u", "2m", "7m", "20m"] {
        let end = client
            .call(CallKind::Unary.path(), &[("grpc-timeout", timeout)])
            .await;
        assert_eq!(end.get("grpc-status"), Some("4"), "{timeout}: {end:?}");
        assert_eq!(
            end.get("ripcord-cancel-kind"),
            Some("deadline_exceeded"),
            "{timeout}"
        );
        assert_eq!(
            end.get("content-type"),
            Some("application/grpc"),
            "{timeout}"
        );
        assert_eq!(end.bytes, 0, "{timeout}");
    }
}

/// A policy cannot give more than tonic does, whose timer would be the first then.
#[tokio::test]
async fn a_minimum_does_not_hide_the_deadline_from_the_caller() {
    let (server, _guard) = server_ctx();
    let (seen, _ends) = ends();
    let policy = DeadlinePolicy::new(LONG, 2 * LONG).expect("in order");
    let propagation = Propagation::builder().deadline(policy).build();
    let layer = GrpcServerLayer::new(&server, propagation.expect("nothing contradicts itself"));
    let running = serve(endless(&seen), Some(layer)).await;
    let mut client = RawClient::connect(running.addr).await;
    let end = client
        .call(CallKind::Unary.path(), &[("grpc-timeout", "20m")])
        .await;
    assert_eq!(end.get("grpc-status"), Some("4"), "{end:?}");
}

#[tokio::test]
async fn a_deadline_ends_a_stream_with_trailers() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let (seen, mut ends) = ends();
    let running = serve(endless(&seen), Some(layer(&server))).await;
    let mut client = RawClient::connect(running.addr).await;
    let headers = [("grpc-timeout", "10S")];
    let (response, mut body) = client.begin(CallKind::ServerStream.path(), &headers).await;
    body.send_data(message("go"), true).expect("it is open");
    let (_, mut answer) = response.await.expect("an answer").into_parts();
    let first = answer.data().await.expect("a message").expect("no reset");
    assert_eq!(first, message("one"), "what was sent before stays whole");
    clock.advance(Duration::from_secs(10));
    assert!(answer.data().await.is_none());
    let trailers = answer.trailers().await.expect("no reset");
    assert_eq!(trailers.expect("trailers")["grpc-status"], "4");
    assert_eq!(ends.next().await, ("dropped", Kind::DeadlineExceeded));
}

/// How long a handler has, in words.
fn how_long() -> Service {
    Service::default().unary(|request| async move {
        let left = request.ctx().remaining();
        let said = match left {
            None => "unbounded",
            Some(left) if left <= Duration::from_secs(30) => "30 s",
            Some(left) if left <= Duration::from_secs(3600) => "an hour",
            Some(_) => "longer",
        };
        Err(tonic::Status::unknown(said))
    })
}

//= P4, P5, P6
#[tokio::test]
async fn a_malformed_timeout_is_ignored_and_counted_and_a_long_one_clamped() {
    let (server, _guard) = server_ctx();
    let (observer, mut accounts) = observer();
    let policy = DeadlinePolicy::new(Duration::from_millis(1), Duration::from_secs(3600)).unwrap();
    let propagation = Propagation::builder().deadline(policy).build().unwrap();
    let layer = GrpcServerLayer::new(&server, propagation).observer(observer);
    let running = serve(how_long(), Some(layer)).await;
    let mut client = RawClient::connect(running.addr).await;
    for (values, said, refused) in [
        (&["soon"][..], "unbounded", 1),
        (&["100000000S"], "unbounded", 1),
        (&["-1S"], "unbounded", 1),
        (&["1H2M"], "unbounded", 1),
        (&["", "S"], "unbounded", 2),
        (&["99999999H"], "an hour", 0),
        (&["30S"], "30 s", 0),
        (&["soon", "30S", "99999999H"], "30 s", 1),
        (&[], "unbounded", 0),
    ] {
        let headers: Vec<_> = values
            .iter()
            .map(|value| ("grpc-timeout", *value))
            .collect();
        let end = client.call(CallKind::Unary.path(), &headers).await;
        assert_eq!(
            end.get("grpc-message"),
            Some(said.replace(' ', "%20").as_str()),
            "{values:?}"
        );
        assert_eq!(
            accounts.next().await.rejects.deadline,
            refused,
            "{values:?}"
        );
    }
}

/// Handlers that tell how their context ended: by a task that they leave behind, and by a destructor.
//= P37
#[tokio::test]
async fn a_reset_ends_the_context_and_what_was_spawned_with_it() {
    let (server, _guard) = server_ctx();
    for call in CallKind::ALL {
        for is_answered in [false, true] {
            let (seen, mut ends) = ends();
            let (begun, mut beginning) = mpsc::unbounded_channel();
            let watch = seen.clone();
            let layer = layer(&server);
            let service = watched(endless(&seen), move |ctx| {
                watch.watch("spawned", ctx);
                let _ = begun.send(());
            });
            let running = serve(service, Some(layer)).await;
            let mut client = RawClient::connect(running.addr).await;
            let (response, mut body) = client.begin(call.path(), &[]).await;
            body.send_data(
                message("hello"),
                call == CallKind::Unary || call == CallKind::ServerStream,
            )
            .expect("the stream is open");
            beginning.recv().await.expect("the handler runs");
            // Unary and client-streaming calls have no answer before their end.
            let streams = call == CallKind::ServerStream || call == CallKind::Bidi;
            let held = if is_answered && streams {
                let mut answer = response.await.expect("an answer").into_body();
                let first = answer.data().await.expect("a message").expect("no reset");
                assert!(!first.is_empty());
                Ok(answer)
            } else {
                Err(response)
            };
            body.send_reset(Reason::CANCEL);
            let expect = [("dropped", Kind::PeerGone), ("spawned", Kind::PeerGone)];
            assert_eq!(
                ends.two().await,
                expect,
                "{call:?}, answered: {is_answered}"
            );
            drop(held);
        }
    }
}

//= P37
#[tokio::test]
async fn a_closed_connection_ends_the_context() {
    let (server, _guard) = server_ctx();
    for call in CallKind::ALL {
        let (seen, mut ends) = ends();
        let (begun, mut beginning) = mpsc::unbounded_channel();
        let watch = seen.clone();
        let service = watched(endless(&seen), move |ctx| {
            watch.watch("spawned", ctx);
            let _ = begun.send(());
        });
        let running = serve(service, Some(layer(&server))).await;
        let stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let uri = format!("http://{}{}", running.addr, call.path());
        let request = http::Request::post(uri).header("content-type", "application/grpc");
        let (response, mut body) = requests
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        body.send_data(message("hello"), false).unwrap();
        if call == CallKind::Unary || call == CallKind::ServerStream {
            body.send_data(bytes::Bytes::new(), true).unwrap();
        }
        beginning.recv().await.expect("the handler runs");
        connection.abort();
        let expect = [("dropped", Kind::PeerGone), ("spawned", Kind::PeerGone)];
        assert_eq!(ends.two().await, expect, "{call:?}");
        drop((response, body));
    }
}

/// A service whose handlers first show their context to `tell`.
fn watched(service: Service, tell: impl Fn(&Ctx) + Send + Sync + 'static) -> Service {
    service.before(move |extensions| {
        tell(extensions.get::<Ctx>().expect("the layer put it there"));
    })
}

/// tonic takes a reset for the clean end of a request stream: a handler would add up a part of an
/// upload and keep it.
#[tokio::test]
async fn half_an_upload_does_not_look_like_a_whole_one() {
    let (server, _guard) = server_ctx();
    let (told, mut tells) = mpsc::unbounded_channel();
    let (read, mut reads) = mpsc::unbounded_channel();
    let service = Service::default().client_stream(move |request| {
        let (told, read, ctx) = (told.clone(), read.clone(), request.ctx());
        // A task, which the drop of the handler does not end.
        tokio::spawn(async move {
            let mut stream = request.into_inner();
            let end = loop {
                match stream.message().await {
                    Ok(Some(_)) => {
                        let _ = read.send(());
                    }
                    Ok(None) => break Ok(()),
                    Err(status) => break Err(status.code()),
                }
            };
            let _ = told.send((end, ctx.cause().map(|cause| cause.kind())));
        });
        std::future::pending()
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = RawClient::connect(running.addr).await;
    let (response, mut body) = client.begin(CallKind::ClientStream.path(), &[]).await;
    body.send_data(message("one of two"), false).unwrap();
    reads.recv().await.expect("it was read");
    body.send_reset(Reason::CANCEL);
    let end = tells.recv().await.expect("the task sees an end");
    assert_eq!(end, (Err(Code::Aborted), Some(Kind::PeerGone)));
    drop(response);
}

#[tokio::test]
async fn what_a_task_reads_ends_with_the_deadline() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let (told, mut tells) = mpsc::unbounded_channel();
    let (read, mut reads) = mpsc::unbounded_channel();
    let service = Service::default().client_stream(move |request| {
        let (told, read) = (told.clone(), read.clone());
        tokio::spawn(async move {
            let mut stream = request.into_inner();
            while let Ok(Some(_)) = stream.message().await {
                let _ = read.send(());
            }
            // tonic gives the error of a stream a second time.
            let _ = told.send(stream.message().await.map_err(|status| status.code()));
        });
        std::future::pending()
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = RawClient::connect(running.addr).await;
    let headers = [("grpc-timeout", "10S")];
    let (response, mut body) = client.begin(CallKind::ClientStream.path(), &headers).await;
    body.send_data(message("one of two"), false)
        .expect("it is open");
    reads.recv().await.expect("it was read");
    clock.advance(Duration::from_secs(10));
    assert_eq!(tells.recv().await, Some(Err(Code::DeadlineExceeded)));
    assert_eq!(end(response).await.get("grpc-status"), Some("4"));
}

#[tokio::test]
async fn a_call_that_is_not_grpc_passes_through() {
    let (server, _guard) = server_ctx();
    let service = Service::default().before(|extensions| {
        assert!(extensions.get::<Ctx>().is_none());
    });
    let running = serve(
        service.unary(|_| async { Ok(Response::new(text("ok"))) }),
        Some(layer(&server)),
    )
    .await;
    let mut client = RawClient::connect(running.addr).await;
    let headers = [("content-type", "application/json"), ("grpc-timeout", "0S")];
    let end = client.call(CallKind::Unary.path(), &headers).await;
    assert_eq!(end.get("grpc-status"), Some("0"), "{end:?}");
}

/// A connection of ours to a server that shows what arrives.
fn to_raw(server: &RawServer) -> Client<GrpcClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr)).expect("a URI");
    Client::new(client_layer().layer(endpoint.connect_lazy()))
}

//= P33, P37
#[tokio::test]
async fn a_cancel_resets_the_stream_before_the_answer() {
    for call in CallKind::ALL {
        let server = RawServer::bind().await;
        let mut client = to_raw(&server);
        let (ctx, guard) = Ctx::background().named("caller").child();
        let calling = tokio::spawn(async move { client.end_of(call, Some(&ctx)).await });
        let mut taken = server.accept().await;
        guard.cancel(Kind::Cancelled);
        assert_eq!(taken.reset().await, Reason::CANCEL, "{call:?}");
        let status = calling.await.expect("no panic");
        assert_eq!(status.code(), Code::Cancelled, "{call:?}: {status}");
        let cancelled = status.cancelled().expect("our own context ended it");
        assert_eq!(cancelled.cause().name(), Some("caller"));
    }
}

//= P33, P37
#[tokio::test]
async fn a_cancel_resets_the_stream_within_the_answer() {
    for call in [CallKind::ServerStream, CallKind::Bidi] {
        let server = RawServer::bind().await;
        let mut client = to_raw(&server);
        let (ctx, guard) = Ctx::background().child();
        let calling = tokio::spawn(async move { client.end_of(call, Some(&ctx)).await });
        let mut taken = server.accept().await;
        let mut body = taken.answer();
        guard.cancel(Kind::Cancelled);
        assert_eq!(reset(&mut body).await, Reason::CANCEL, "{call:?}");
        assert_eq!(
            calling.await.expect("no panic").code(),
            Code::Cancelled,
            "{call:?}"
        );
    }
}

/// hyper resets nothing as long as the request's body may still come.
#[tokio::test]
async fn a_caller_that_drops_the_answer_resets_the_stream() {
    for call in [CallKind::ServerStream, CallKind::Bidi] {
        let server = RawServer::bind().await;
        let mut client = to_raw(&server);
        let calling = tokio::spawn(async move {
            let answer = match call {
                CallKind::Bidi => client.bidi(under(None, open_stream())).await,
                _ => client.server_stream(under(None, text("go"))).await,
            };
            let first = answer.expect("a head").into_inner().message().await;
            assert_eq!(first.expect("no error").expect("a message").text, "one");
        });
        let mut taken = server.accept().await;
        let mut body = taken.answer();
        calling.await.expect("no panic");
        assert_eq!(reset(&mut body).await, Reason::CANCEL, "{call:?}");
    }
}

//= P22
#[tokio::test]
async fn what_goes_out_is_ours() {
    let server = RawServer::bind().await;
    let mut client = to_raw(&server);
    let calling = tokio::spawn(async move {
        let ctx = Ctx::background().with_timeout(Duration::from_secs(50));
        let mut request = under(Some(&ctx), text("go"));
        for (name, value) in [
            (
                "traceparent",
                "00-00000000000000000000000000000001-0000000000000002-01",
            ),
            ("grpc-timeout", "99999999H"),
            ("x-request-timeout-ms", "5"),
            ("connect-timeout-ms", "5"),
            ("ripcord-cancel-kind", "shutdown"),
            ("ripcord-other", "x"),
            ("x-mine", "stays"),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        client.unary(request).await
    });
    let taken = server.accept().await;
    let headers = taken.head.headers();
    let timeout = headers
        .get("grpc-timeout")
        .expect("what is left")
        .to_str()
        .unwrap();
    assert!(timeout.ends_with('u'), "{timeout}");
    for name in [
        "x-request-timeout-ms",
        "connect-timeout-ms",
        "ripcord-cancel-kind",
        "ripcord-other",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_ne!(
        &headers["traceparent"].as_bytes()[3..35],
        b"00000000000000000000000000000001"
    );
    assert_eq!(headers["x-mine"], "stays");
    calling.abort();
}

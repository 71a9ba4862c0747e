//! Interoperation with grpcio, the gRPC of C++ and Python: the cases of gRPC's own interoperability
//! tests that are about cancels and deadlines, in both directions, and deadlines over three hops.
//!
//! Needs a Python with grpcio, named by `RIPCORD_INTEROP_PYTHON`; see `Cargo.toml`.

mod support;

use ripcord_core::{Ctx, Kind};
use ripcord_grpc::RequestCtx as _;
use std::process::Stdio;
use std::time::Duration;
use support::service::Service;
use support::{
    CallKind, Client, SHORT, client_layer, endless, ends, layer, limited, open_stream, serve,
    server_ctx, text, under,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tonic::transport::Endpoint;
use tonic::{Code, Response};
use tower_layer::Layer as _;

/// A script of `tests/interop`, which is killed when the test is over.
struct Script {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Script {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let python = std::env::var("RIPCORD_INTEROP_PYTHON").expect(
            "RIPCORD_INTEROP_PYTHON to name a python that has grpcio \
             (python3 -m venv v && v/bin/pip install grpcio)",
        );
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(format!("{folder}{name}"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the python of RIPCORD_INTEROP_PYTHON to start");
        Self {
            input: child.stdin.take().expect("it is piped"),
            output: BufReader::new(child.stdout.take().expect("it is piped")).lines(),
            _child: child,
        }
    }

    /// The next line that it prints; it has a minute for it, as a script may be stuck for reasons
    /// of its own.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.output.next_line()).await;
        let line = line.expect("a line within a minute").expect("text");
        line.expect("a line; its standard error says why there is none")
    }

    /// Lets it go on.
    async fn go(&mut self) {
        self.input.write_all(b"\n").await.expect("it reads");
    }
}

fn client_script(server: &support::Running, case: &str) -> Script {
    Script::start("client.py", &[&server.addr.port().to_string(), case])
}

/// A grpcio server, and a client of ours that calls it.
async fn server_script() -> (
    Script,
    Client<ripcord_grpc::GrpcClient<tonic::transport::Channel>>,
) {
    let mut script = Script::start("server.py", &[]);
    let uri = format!("http://127.0.0.1:{}", script.line().await);
    let endpoint = Endpoint::from_shared(uri).expect("a URI");
    (
        script,
        Client::new(client_layer().layer(endpoint.connect_lazy())),
    )
}

/// A server of ours whose handlers do not end, and the contexts that they get.
async fn sleeping(server: &Ctx) -> (support::Running, support::Ends, mpsc::UnboundedReceiver<()>) {
    let (seen, ends) = ends();
    let (sender, begun) = mpsc::unbounded_channel();
    let watch = seen.clone();
    let service = endless(&seen).before(move |extensions| {
        watch.watch(
            "spawned",
            extensions.get::<Ctx>().expect("the layer put it there"),
        );
        let _ = sender.send(());
    });
    (serve(service, Some(layer(server))).await, ends, begun)
}

const GONE: [(&str, Kind); 2] = [("dropped", Kind::PeerGone), ("spawned", Kind::PeerGone)];

#[tokio::test]
async fn grpcio_cancels_after_begin() {
    let (server, _guard) = server_ctx();
    let (running, mut ends, mut begun) = sleeping(&server).await;
    let mut client = client_script(&running, "cancel_after_begin");
    begun.recv().await.expect("the handler runs");
    client.go().await;
    assert_eq!(client.line().await, "CANCELLED");
    assert_eq!(ends.two().await, GONE);
}

#[tokio::test]
async fn grpcio_cancels_after_the_first_response() {
    let (server, _guard) = server_ctx();
    let (running, mut ends, _begun) = sleeping(&server).await;
    let mut client = client_script(&running, "cancel_after_first_response");
    assert_eq!(client.line().await, "CANCELLED hello");
    assert_eq!(ends.two().await, GONE);
}

#[tokio::test]
async fn grpcio_times_out_on_a_sleeping_server() {
    let (server, _guard) = server_ctx();
    let (running, mut ends, _begun) = sleeping(&server).await;
    let mut client = client_script(&running, "timeout_on_sleeping_server");
    assert_eq!(client.line().await, "DEADLINE_EXCEEDED");
    // Its timer or ours: the context is done either way, and what was spawned with it.
    let [dropped, spawned] = ends.two().await;
    assert_eq!(dropped.1, spawned.1);
    assert!(
        [Kind::PeerGone, Kind::DeadlineExceeded].contains(&dropped.1),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn grpcio_understands_our_deadline() {
    let (server, _guard) = server_ctx();
    let (seen, _ends) = ends();
    let running = serve(endless(&seen), Some(limited(&server, SHORT))).await;
    let mut client = client_script(&running, "ended_by_the_server");
    let expect = "DEADLINE_EXCEEDED deadline_exceeded /test.Test/Unary";
    assert_eq!(client.line().await, expect);
    let mut client = client_script(&running, "stream_ended_by_the_server");
    assert_eq!(client.line().await, "DEADLINE_EXCEEDED one");
}

#[tokio::test]
async fn grpcio_understands_our_shutdown() {
    let (server, guard) = server_ctx();
    let (running, _ends, mut begun) = sleeping(&server).await;
    let mut client = client_script(&running, "ended_by_the_server");
    begun.recv().await.expect("the handler runs");
    guard.cancel(Kind::Shutdown);
    assert_eq!(client.line().await, "UNAVAILABLE shutdown server");
}

#[tokio::test]
async fn our_cancel_after_begin_reaches_grpcio() {
    let (mut script, mut client) = server_script().await;
    let (ctx, guard) = Ctx::background().child();
    let calling = tokio::spawn(async move {
        let status = client.end_of(CallKind::ClientStream, Some(&ctx)).await;
        status.code()
    });
    assert_eq!(script.line().await, "begun");
    guard.cancel("changed my mind");
    assert_eq!(calling.await.expect("no panic"), Code::Cancelled);
    assert_eq!(script.line().await, "ended");
}

#[tokio::test]
async fn our_cancel_after_the_first_response_reaches_grpcio() {
    for is_dropped in [false, true] {
        let (mut script, mut client) = server_script().await;
        let (ctx, guard) = Ctx::background().child();
        let answer = client.bidi(under(Some(&ctx), open_stream())).await;
        let mut answer = answer.expect("a head").into_inner();
        assert_eq!(answer.message().await.expect("no error"), Some(text("one")));
        assert_eq!(script.line().await, "begun");
        if is_dropped {
            drop(answer);
        } else {
            guard.cancel("changed my mind");
            let status = answer.message().await.expect_err("it is over");
            assert_eq!(status.code(), Code::Cancelled);
        }
        assert_eq!(script.line().await, "ended", "dropped: {is_dropped}");
    }
}

#[tokio::test]
async fn our_timeout_on_a_sleeping_grpcio() {
    let (mut script, mut client) = server_script().await;
    let warm_up = client.unary(under(None, text("connect"))).await;
    assert!(warm_up.is_ok(), "{warm_up:?}");
    for call in [
        CallKind::ServerStream,
        CallKind::ClientStream,
        CallKind::Bidi,
    ] {
        // Long enough for the call to arrive, so that both ends are seen.
        let ctx = Ctx::background().with_timeout(Duration::from_millis(300));
        let status = client.end_of(call, Some(&ctx)).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{call:?}: {status}");
        assert_eq!(script.line().await, "begun", "{call:?}");
        assert_eq!(script.line().await, "ended", "{call:?}");
    }
}

/// grpcio, which sets the deadline, a server of ours, and grpcio again.
#[tokio::test]
async fn a_deadline_decreases_over_three_hops() {
    let (server, _guard) = server_ctx();
    let (_script, onward) = server_script().await;
    let (told, mut here) = mpsc::unbounded_channel();
    let onward = onward.0;
    let service = Service::default().unary(move |request| {
        let _ = told.send(request.ctx().remaining());
        let mut client = Client(onward.clone());
        async move {
            let answer = client.unary(under(None, request.into_inner())).await?;
            Ok(Response::new(answer.into_inner()))
        }
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = client_script(&running, "hops");
    let said = client.line().await;
    let here = here
        .recv()
        .await
        .expect("the handler ran")
        .expect("a deadline");
    let there = said
        .strip_prefix("left_ms=")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .map(Duration::from_millis)
        .expect("time left");
    // grpcio asks for a little more than its caller: it rounds up to two digits or three.
    assert!(here <= Duration::from_secs(22), "{here:?}");
    assert!(there < here, "{there:?} of {here:?}");
    assert!(there > Duration::ZERO, "{said}");
    let (_, trace) = said.split_once("trace=").expect("a trace");
    assert_eq!(trace.len(), 32, "{said}");
}

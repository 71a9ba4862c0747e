//! What an observer is told of each call: once, and right, however it ends.

mod support;

use ripcord_core::{Ctx, Kind};
use ripcord_grpc::GrpcServerLayer;
use ripcord_propagation::{Ending, GrpcCode, Side};
use ripcord_test::TestClock;
use std::time::Duration;
use support::observer::{Account, Accounts, observer};
use support::service::{Answers, Service};
use support::{
    CallKind, Client, Running, client_layer, endless, ends, layer, limited, plain, serve,
    server_ctx, text, under,
};
use tokio::sync::mpsc;
use tonic::{Response, Status};
use tower_layer::Layer as _;

fn layers(server: &Ctx) -> (GrpcServerLayer, Accounts) {
    let (observer, accounts) = observer();
    (layer(server).observer(observer), accounts)
}

/// Ending, HTTP status, gRPC status, cause.
type Row = (Ending, Option<u16>, Option<GrpcCode>, Option<Kind>);

fn row(account: &Account) -> Row {
    (account.ending, account.status, account.grpc, account.cause)
}

//= P30
#[tokio::test]
async fn calls_that_come_to_their_end() {
    let (server, _guard) = server_ctx();
    let service = Service::default()
        .unary(|_| async { Ok(Response::new(text("one"))) })
        .server_stream(|_| async {
            let answers = [Ok(text("a")), Err(Status::data_loss("the disk is gone"))];
            Ok(Response::new(Answers::new(tokio_stream::iter(answers))))
        })
        .client_stream(|_| async { Err(Status::not_found("no such thing")) });
    let (layer, mut at_server) = layers(&server);
    let running = serve(service, Some(layer)).await;
    let (observer, mut at_client) = observer();
    let layered = client_layer().observer(observer).layer(plain(&running));
    let mut client = Client::new(layered);
    for (call, code) in [
        (CallKind::Unary, GrpcCode::Ok),
        (CallKind::ServerStream, GrpcCode::DataLoss),
        (CallKind::ClientStream, GrpcCode::NotFound),
        (CallKind::Bidi, GrpcCode::Unimplemented),
    ] {
        if code == GrpcCode::Ok {
            client
                .unary(under(None, text("go")))
                .await
                .expect("an answer");
        } else {
            assert_eq!(
                i32::from(client.end_of(call, None).await.code()),
                code as i32
            );
        }
        let expect = (Ending::Complete, Some(200), Some(code), None);
        for (accounts, side) in [
            (&mut at_server, Side::Server),
            (&mut at_client, Side::Client),
        ] {
            let account = accounts.next().await;
            assert_eq!(row(&account), expect, "{call:?} {side:?}");
            assert_eq!((account.path.as_str(), account.side), (call.path(), side));
            assert!(accounts.is_empty(), "told once: {call:?} {side:?}");
        }
    }
}

//= P30
#[tokio::test]
async fn calls_that_their_deadline_ends() {
    let (server, _guard) = server_ctx();
    // The caller's deadline passes, and the callee's does not: it learns of a reset.
    let clock = TestClock::new();
    let (caller, _caller_guard) = clock.ctx();
    for call in CallKind::ALL {
        let (layer, mut at_server) = layers(&server);
        let (running, mut begun) = telling(layer).await;
        let (observer, mut at_client) = observer();
        let layered = client_layer().observer(observer).layer(plain(&running));
        let mut client = Client::new(layered);
        let ctx = caller.with_timeout(Duration::from_secs(10));
        let calling = tokio::spawn(async move { client.end_of(call, Some(&ctx)).await });
        begun.recv().await.expect("the handler runs");
        clock.advance(Duration::from_secs(10));
        calling.await.expect("no panic");
        let account = at_client.next().await;
        let late = Some(GrpcCode::DeadlineExceeded);
        assert_eq!(
            (account.ending, account.grpc),
            (Ending::Cancelled, late),
            "{call:?}"
        );
        assert_eq!(account.cause, Some(Kind::DeadlineExceeded), "{call:?}");
        let account = at_server.next().await;
        assert_eq!(account.cause, Some(Kind::PeerGone), "{call:?}");
        // A handler that was reading has an answer to that, which nobody hears.
        let is_unheard = matches!(account.grpc, None | Some(GrpcCode::Cancelled));
        assert!(is_unheard, "{account:?}");
        assert!(
            at_server.is_empty() && at_client.is_empty(),
            "told once: {call:?}"
        );
    }
}

/// A running service without end whose handlers tell when they begin.
async fn telling(layer: GrpcServerLayer) -> (Running, mpsc::UnboundedReceiver<()>) {
    let (seen, _ends) = ends();
    let (sender, begun) = mpsc::unbounded_channel();
    let service = endless(&seen).before(move |_| {
        let _ = sender.send(());
    });
    (serve(service, Some(layer)).await, begun)
}

//= P30
#[tokio::test]
async fn calls_that_the_server_ends() {
    let clock = TestClock::new();
    let (server, _guard) = clock.ctx();
    let budget = Duration::from_secs(10);
    for call in CallKind::ALL {
        let (observer, mut at_server) = observer();
        let layer = limited(&server, budget).observer(observer);
        let (running, mut begun) = telling(layer).await;
        let mut client = Client::new(plain(&running));
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        begun.recv().await.expect("the handler runs");
        clock.advance(budget);
        calling.await.expect("no panic");
        let late = Some(GrpcCode::DeadlineExceeded);
        let cause = Some(Kind::DeadlineExceeded);
        let expect = (Ending::Cancelled, Some(200), late, cause);
        assert_eq!(row(&at_server.next().await), expect, "{call:?}");
        assert!(at_server.is_empty(), "told once: {call:?}");
    }
}

#[tokio::test]
async fn calls_whose_caller_leaves() {
    let (server, _guard) = server_ctx();
    for call in CallKind::ALL {
        let (layer, mut at_server) = layers(&server);
        let (running, mut begun) = telling(layer).await;
        let (observer, mut at_client) = observer();
        let layered = client_layer().observer(observer).layer(plain(&running));
        let mut client = Client::new(layered);
        let calling = tokio::spawn(async move { client.end_of(call, None).await });
        begun.recv().await.expect("the handler runs");
        calling.abort();
        let account = at_client.next().await;
        assert_eq!(
            (account.ending, account.cause),
            (Ending::Dropped, None),
            "{call:?}"
        );
        let account = at_server.next().await;
        assert_eq!(account.cause, Some(Kind::PeerGone), "{call:?}");
        assert!(
            account.ending != Ending::Complete || account.grpc.is_some(),
            "{account:?}"
        );
        assert!(
            at_server.is_empty() && at_client.is_empty(),
            "told once: {call:?}"
        );
    }
}

//= P30
#[tokio::test]
async fn calls_that_are_not_made() {
    let (server, _guard) = server_ctx();
    let (seen, _ends) = ends();
    let (layer, mut at_server) = layers(&server);
    let running = serve(endless(&seen), Some(layer)).await;
    let (observer, mut at_client) = observer();
    let layered = client_layer().observer(observer).layer(plain(&running));
    let (ctx, guard) = Ctx::background().child();
    guard.cancel("no longer wanted");
    Client::new(layered)
        .end_of(CallKind::Unary, Some(&ctx))
        .await;
    let account = at_client.next().await;
    let expect = (
        Ending::Cancelled,
        None,
        Some(GrpcCode::Cancelled),
        Some(Kind::Cancelled),
    );
    assert_eq!(row(&account), expect);
    assert!(at_server.is_empty());
}

#[tokio::test]
async fn calls_that_find_nobody() {
    let (observer, mut at_client) = observer();
    let nobody = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let layered = client_layer().observer(observer).layer(nobody);
    Client::new(layered).end_of(CallKind::Unary, None).await;
    let expect = (Ending::Failed, None, Some(GrpcCode::Unavailable), None);
    assert_eq!(row(&at_client.next().await), expect);
}

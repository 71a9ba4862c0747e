//! What a task observer is told of requests, by the ids that they have elsewhere, and of a server.
#![allow(
    clippy::disallowed_types,
    reason = "a plain lock: no model reaches this test"
)]

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use ripcord_core::tasks::{PollEnd, TaskObserver, TaskRef, Wait};
use ripcord_core::{Entry, Info, Observer};
use ripcord_http::{HttpLayer, RequestCtx, Server};
use ripcord_propagation::Propagation;
use ripcord_tokio::CtxExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt as _;

#[derive(Default)]
struct Known {
    names: Mutex<HashMap<u64, String>>,
    tags: Mutex<Vec<String>>,
    waits: Mutex<Vec<Wait>>,
}

impl Observer for Known {
    fn created(&self, context: &Info<'_>) {
        if let Some(name) = context.own_name {
            let mut names = self.names.lock().expect("no test poisons it");
            names.insert(context.id, name.to_owned());
        }
    }

    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        let name = &self.names.lock().expect("no test poisons it")[&context.id];
        let mut tags = self.tags.lock().expect("no test poisons it");
        tags.push(format!("{name}: {key} {value}"));
    }

    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

impl TaskObserver for Known {
    fn poll_ended(&self, _: TaskRef, _: PollEnd, wait: Wait) {
        let mut waits = self.waits.lock().expect("no test poisons it");
        waits.push(wait);
    }
}

//= C149
#[tokio::test]
async fn a_request_is_named_by_its_route_and_tagged_with_its_ids() {
    let known = Arc::new(Known::default());
    let observer: Arc<dyn Observer> = Arc::<Known>::clone(&known);
    let (server, _guard) = ripcord_tokio::root().observer(observer).build();
    let app = Router::new()
        .route("/orders/{id}", get(async |RequestCtx(_): RequestCtx| "one"))
        .layer(HttpLayer::new(&server, Propagation::default()));
    let request = Request::get("/orders/7")
        .header("x-request-id", "7f3c")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .body(Body::empty())
        .expect("a request");
    let answer = app.oneshot(request).await.expect("cannot fail");
    assert_eq!(answer.status(), 200);
    let tags = known.tags.lock().expect("no test poisons it");
    assert_eq!(
        *tags,
        [
            "GET /orders/{id}: request.id 7f3c",
            "GET /orders/{id}: trace.id 4bf92f3577b34da6a3ce929d0e0e4736",
        ]
    );
}

//= C141
//= C147
#[tokio::test]
async fn a_server_without_a_client_waits_for_one_and_listens() {
    let known = Arc::new(Known::default());
    let observer: Arc<dyn Observer> = Arc::<Known>::clone(&known);
    let (root, guard) = ripcord_tokio::root().observer(observer).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let server = Server::new(&root);
    let task = root.spawn("server", |_| server.serve(listener, Router::new()));
    tokio::task::yield_now().await;
    let first = known
        .waits
        .lock()
        .expect("no test poisons it")
        .first()
        .copied();
    let accepts = Wait {
        label: Some("accept"),
        site: None,
        listens: true,
    };
    assert_eq!(first, Some(accepts));
    guard.cancel("enough");
    assert!(task.await.expect("no panic").is_ok());
}

/// Wants no request, and writes down what it is asked.
#[derive(Default)]
struct Picky {
    asked: Mutex<Vec<String>>,
    told: Mutex<Vec<String>>,
}

impl Observer for Picky {
    fn wants(&self, entry: &Entry<'_>) -> bool {
        let name = entry.name.unwrap_or("-");
        let number = entry.number.expect("the id of a trace");
        let asked = format!("{name} {number:032x} {:?}", entry.is_sampled);
        self.asked.lock().expect("no test poisons it").push(asked);
        false
    }

    fn created(&self, context: &Info<'_>) {
        let name = context.name.unwrap_or("-").to_owned();
        self.told.lock().expect("no test poisons it").push(name);
    }

    fn tagged(&self, _: &Info<'_>, key: &'static str, _: &str) {
        self.told
            .lock()
            .expect("no test poisons it")
            .push(key.to_owned());
    }
}

//= P41
#[tokio::test]
async fn a_request_is_an_entry_known_by_its_trace() {
    let picky = Arc::new(Picky::default());
    let observer: Arc<dyn Observer> = Arc::<Picky>::clone(&picky);
    let root = ripcord_tokio::root().name("server").observer(observer);
    let (server, _guard) = root.build();
    let work = async |RequestCtx(ctx): RequestCtx| {
        let task = ctx.spawn("work", async |ctx| ctx.recorded().is_none());
        assert!(task.await.expect("no panic"));
        "one"
    };
    let app = Router::new()
        .route("/orders/{id}", get(work))
        .layer(HttpLayer::new(&server, Propagation::default()));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for flag in ["00", "01"] {
        let request = Request::get("/orders/7")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-{flag}"))
            .body(Body::empty())
            .expect("a request");
        let answer = app.clone().oneshot(request).await.expect("cannot fail");
        assert_eq!(answer.status(), 200);
    }
    let alone = Request::get("/orders/7").body(Body::empty());
    let alone = alone.expect("a request");
    drop(app.oneshot(alone).await.expect("cannot fail"));
    let asked = picky.asked.lock().expect("no test poisons it");
    let [first, second, alone] = &asked[..] else {
        panic!("three requests: {asked:?}");
    };
    assert_eq!(*first, format!("GET /orders/{{id}} {trace} Some(false)"));
    assert_eq!(*second, format!("GET /orders/{{id}} {trace} Some(true)"));
    assert!(alone.ends_with(" None"), "there is no caller: {alone}");
    assert_eq!(*picky.told.lock().expect("no test poisons it"), ["server"]);
}

//! What a task observer is told of the ids of a call.
#![allow(
    clippy::disallowed_types,
    reason = "a plain lock: no model reaches this test"
)]

use http::HeaderMap;
use ripcord_core::{Ctx, Info, Observer};
use ripcord_propagation::{Call, CtxCarried as _, Exchange, Propagation, Protocol, Side};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Tags(Mutex<Vec<(u64, &'static str, String)>>);

impl Observer for Tags {
    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        let mut tags = self.0.lock().expect("no test poisons it");
        tags.push((context.id, key, value.to_owned()));
    }
}

//= C149
#[test]
fn the_context_of_a_call_is_tagged_with_its_ids() {
    let tags = Arc::new(Tags::default());
    let observer: Arc<dyn Observer> = Arc::<Tags>::clone(&tags);
    let (root, _guard) = Ctx::root().observer(observer).build();
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", "7f3c".parse().expect("a value"));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().expect("a value"));
    for headers in [headers, HeaderMap::new()] {
        let incoming = Propagation::default().extract(&headers);
        let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders/7");
        let call = call.with_route(Some("/orders/{id}"));
        let exchange = Exchange::begin(&root, incoming, call, root.clock_now(), None);
        let ctx = exchange.ctx();
        assert_eq!(ctx.name(), Some("GET /orders/{id}"));
        let id = ctx.recorded_id().expect("the tree is recorded");
        let carried = ctx.carried().expect("it carries");
        let expect = [
            (id, "request.id", carried.request_id().to_string()),
            (id, "trace.id", carried.trace.trace_id.to_string()),
        ];
        if headers.is_empty() {
            assert_ne!(expect[0].2, "7f3c", "made here");
        } else {
            let sent = [&*expect[0].2, &*expect[1].2];
            assert_eq!(sent, ["7f3c", "4bf92f3577b34da6a3ce929d0e0e4736"]);
        }
        let told = std::mem::take(&mut *tags.0.lock().expect("no test poisons it"));
        assert_eq!(told, expect);
    }
}

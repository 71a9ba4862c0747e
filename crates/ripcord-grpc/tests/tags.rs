//! What a task observer is told of a call: its context, known by the call's ids, and its handler.
#![allow(
    clippy::disallowed_types,
    reason = "a plain lock: no model reaches this test"
)]

mod support;

use ripcord_core::tasks::{Ended, PollEnd, Spawned, TaskObserver, TaskRef, Wait};
use ripcord_core::{Ctx, Info, Observer};
use ripcord_propagation::CtxCarried as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use support::service::Service;
use support::{CallKind, Client, layer, plain, serve, text, under};
use tonic::Response;

#[derive(Default)]
struct Known {
    names: Mutex<HashMap<u64, String>>,
    tags: Mutex<Vec<String>>,
    handlers: Mutex<Vec<String>>,
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

impl Known {
    fn note(&self, line: String) {
        let mut handlers = self.handlers.lock().expect("no test poisons it");
        handlers.push(line);
    }
}

impl TaskObserver for Known {
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        let context = task.context.map_or(0, |context| context.id);
        let name = &self.names.lock().expect("no test poisons it")[&context];
        self.note(format!("{} under {name}", task.name));
        1
    }

    fn poll_ended(&self, _: TaskRef, end: PollEnd, wait: Wait) {
        self.note(format!("{end:?}, listening: {}", wait.listens));
    }

    fn ended(&self, _: TaskRef, ended: &Ended<'_>) {
        self.note(format!("{:?}", ended.end));
    }
}

//= C149
#[tokio::test]
async fn a_call_is_named_by_its_method_and_tagged_with_its_ids() {
    let known = Arc::new(Known::default());
    let observer: Arc<dyn Observer> = Arc::<Known>::clone(&known);
    let (server, _guard) = ripcord_tokio::root().observer(observer).build();
    let service = Service::default().unary(|_| async {
        let ctx = Ctx::current();
        let carried = ctx.carried().expect("it carries");
        let (request, trace) = (carried.request_id(), carried.trace.trace_id);
        tokio::task::yield_now().await;
        Ok(Response::new(text(&format!("{request} {trace}"))))
    });
    let running = serve(service, Some(layer(&server))).await;
    let mut client = Client::new(plain(&running));
    let answer = client
        .unary(under(None, text("go")))
        .await
        .expect("an answer");
    let answer = answer.into_inner();
    let (request, trace) = answer.text.split_once(' ').expect("two ids");
    let name = CallKind::Unary.path();
    let tags = known.tags.lock().expect("no test poisons it");
    let expect = [
        format!("{name}: request.id {request}"),
        format!("{name}: trace.id {trace}"),
    ];
    assert_eq!(*tags, expect);
    let handlers = known.handlers.lock().expect("no test poisons it");
    let expect = [
        &*format!("handler under {name}"),
        "Pending, listening: true",
        "Ready, listening: false",
        "Ready",
    ];
    assert_eq!(*handlers, expect);
}

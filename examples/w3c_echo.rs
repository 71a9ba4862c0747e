//! A service that takes part in W3C traces, as the official test harness checks it.
//!
//! A request `POST /test` with `[{"url": …, "arguments": …}, …]` makes it post each `arguments` to
//! its `url`, one after the other. The layer of the server makes a context of what came in, the
//! layer of the client writes the headers of each call from it; the handler knows nothing of
//! either.
//!
//! ```text
//! cargo run -p ripcord-examples --example w3c-echo
//! cargo run -p ripcord-examples --example w3c-echo -- 127.0.0.1:5000
//! ```
//!
//! The first form plays requests in memory and shows the calls that come of them; the second one
//! serves. Against the second one the harness of the W3C (repository `w3c/trace-context`, folder
//! `test`) can be run, with `aiohttp` installed:
//!
//! ```text
//! SPEC_LEVEL=2 STRICT_LEVEL=2 python3 test.py http://127.0.0.1:5000/test
//! ```
//!
//! # Limitations
//! It calls whatever URL it is told to: nothing to be left open to strangers.

use axum::body::HttpBody;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use ripcord::Ctx;
use ripcord_examples::Log;
use ripcord_http::{CallError, ClientLayer, ClientService, HttpLayer, Server};
use ripcord_propagation::{PeerPolicy, Propagation};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::error::Error;
use tower::{Layer as _, Service, ServiceExt as _};

/// What goes out.
type Outgoing = Request<Full<Bytes>>;

/// Why a request is answered with an error, as text.
type Refusal = (StatusCode, String);

/// One call of those that a request asks for.
fn outgoing(call: &Value) -> Result<Outgoing, Refusal> {
    let bad = |error: String| (StatusCode::BAD_REQUEST, error);
    let url = call["url"].as_str();
    let url = url.ok_or_else(|| bad(format!("no `url` in {call}")))?;
    Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(call["arguments"].to_string()))
        .map_err(|error| bad(format!("cannot post to {url:?}: {error}")))
}

/// Makes each call; answers with the status of each.
///
/// The client finds the context by itself: the layer of the server has made it the current one.
async fn relay<C, B>(
    State(client): State<ClientService<C>>,
    Json(calls): Json<Value>,
) -> Result<Json<Value>, Refusal>
where
    C: Service<Outgoing, Response = Response<B>, Error: Error> + Clone,
    B: HttpBody,
{
    let calls = calls.as_array().map_or(&[][..], |calls| calls);
    let mut statuses = Vec::new();
    for call in calls {
        let answer = client.clone().oneshot(outgoing(call)?).await;
        let answer = answer.map_err(|error| match error {
            CallError::Cancelled(end) => (StatusCode::GATEWAY_TIMEOUT, end.to_string()),
            failed => (StatusCode::BAD_GATEWAY, failed.to_string()),
        })?;
        statuses.push(answer.status().as_u16());
    }
    Ok(Json(json!(statuses)))
}

/// The service, with whatever makes its calls.
pub(crate) fn app<C, B>(server: &Ctx, client: C) -> Router
where
    C: Service<Outgoing, Response = Response<B>, Error: Error> + Clone + Send + Sync + 'static,
    C::Future: Send,
    B: HttpBody + Send + 'static,
{
    let propagation = Propagation::default();
    let client = ClientLayer::new(propagation.clone(), PeerPolicy::external()).layer(client);
    Router::new()
        .route("/test", post(relay::<C, B>))
        .with_state(client)
        .layer(HttpLayer::new(server, propagation))
}

/// Tells what of a call the next service sees, except for the ids that are new each time.
fn told(incoming: &str, headers: &HeaderMap) -> String {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let parent = value("traceparent").unwrap_or_default();
    let part = |text: &str, number| text.split('-').nth(number).unwrap_or("?").to_owned();
    let is_same = |number| part(parent, number) == part(incoming, number);
    let trace = if is_same(1) {
        "the same trace"
    } else {
        "a new trace"
    };
    let span = if is_same(2) {
        "the same span"
    } else {
        "a new span"
    };
    let state = value("tracestate").unwrap_or("none");
    let flags = part(parent, 3);
    format!("call: {trace}, {span}, flags {flags}, state {state}")
}

/// Sends a request with these headers to a service whose calls end in the log.
async fn play(log: &Log, incoming: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    let (server, _guard) = ripcord::root().name("server").build();
    let lines: Vec<_> = incoming
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    log.say(format!("request with {}", lines.join(", ")));
    let parent = incoming.iter().find(|(name, _)| *name == "traceparent");
    let parent = parent.map_or("", |(_, value)| value).to_owned();
    let seen = log.clone();
    let client = tower::service_fn(move |request: Outgoing| {
        seen.say(told(&parent, request.headers()));
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let calls = json!([{"url": "http://next.example/", "arguments": []}]);
    let mut request = Request::post("/test").header(header::CONTENT_TYPE, "application/json");
    for (name, value) in incoming {
        request = request.header(*name, *value);
    }
    let request = request.body(calls.to_string())?;
    let answer = app(&server, client).oneshot(request).await?;
    log.say(format!("answer: {}", answer.status()));
    Ok(())
}

/// Plays three requests and returns what came of them.
pub(crate) async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let log = Log::new();
    let parent = (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    let state = ("tracestate", "rojo=00f067aa0ba902b7");
    play(&log, &[parent, state]).await?;
    play(&log, &[state]).await?;
    play(&log, &[("traceparent", "00-not-one-01"), state]).await?;
    Ok(log.events())
}

/// Serves real connections until the process is interrupted.
async fn listen(address: &str) -> std::io::Result<()> {
    let (server, _guard) = ripcord::root().name("server").build();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let listener = tokio::net::TcpListener::bind(address).await?;
    let app = app(&server, client);
    let report = Server::new(&server).serve(listener, app).await?;
    Log::new().say(report.to_string());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(address) = std::env::args().nth(1) {
        return Ok(listen(&address).await?);
    }
    run().await?;
    Ok(())
}

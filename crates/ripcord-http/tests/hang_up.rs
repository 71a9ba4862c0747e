//! The matrix of ways in which a client leaves: each is noticed, soon and with the right cause.
//!
//! How soon is part of what is promised, so this is the one test that looks at a clock: at the
//! instant that the cause carries, against that of the leaving. A cell has a few tries, since a
//! busy machine may pause either side.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use common::{Listener, Running, Teller, Told, channel, soon, unfinished, whole};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use ripcord_core::{Ctx, Kind};
use ripcord_http::RequestCtx;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// As long as a client's leaving may go unnoticed.
const LATENCY_MAX: Duration = Duration::from_millis(50);
const TRIES: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Http {
    One,
    Two,
}

/// What is going on when the client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum During {
    /// The request has no body, and the handler waits.
    Wait,
    /// The body is on its way, and the handler holds it without reading.
    BodyUnread,
    /// The handler has read what came of the body and waits for something else.
    BodyPartlyRead,
    /// The handler has dropped the body.
    BodyDropped,
    /// A second request is in the buffer.
    Pipelined,
    /// The answer is a stream that has nothing to send right now.
    Streaming,
    /// The same, with a second request in the buffer.
    StreamingPipelined,
    /// The connection speaks another protocol.
    Upgrade,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    /// Closes the connection in order.
    Fin,
    /// Resets the connection.
    Rst,
    /// Resets the stream (HTTP/2).
    RstStream,
}

/// Every combination that exists: HTTP/2 has no pipelining, and only it has streams to reset.
fn cells() -> Vec<(Http, During, Leaving)> {
    let mut cells = Vec::new();
    for during in [
        During::Wait,
        During::BodyUnread,
        During::BodyPartlyRead,
        During::BodyDropped,
        During::Pipelined,
        During::Streaming,
        During::StreamingPipelined,
        During::Upgrade,
    ] {
        for leaving in [Leaving::Fin, Leaving::Rst] {
            cells.push((Http::One, during, leaving));
        }
        if !matches!(during, During::Pipelined | During::StreamingPipelined) {
            for leaving in [Leaving::Fin, Leaving::Rst, Leaving::RstStream] {
                cells.push((Http::Two, during, leaving));
            }
        }
    }
    // Once a stream is a tunnel, its end is the tunnel's business.
    cells.retain(|cell| *cell != (Http::Two, During::Upgrade, Leaving::RstStream));
    cells
}

/// A stream that sends one frame and then nothing, for as long as it lives.
struct Idle(bool);

impl http_body::Body for Idle {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(http_body::Frame::data("first".into()))))
    }
}

async fn handler(teller: Teller, during: During, ctx: Ctx, request: Request<Body>) -> Response {
    match during {
        During::Wait | During::Pipelined => {
            teller.watch(&ctx);
            std::future::pending().await
        }
        During::BodyUnread => {
            let _body = request.into_body();
            teller.watch(&ctx);
            std::future::pending().await
        }
        During::BodyPartlyRead => {
            let mut body: BodyDataStream = request.into_body().into_data_stream();
            let first =
                std::future::poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(&mut body), cx));
            first.await.expect("a frame").expect("no error");
            teller.watch(&ctx);
            std::future::pending().await
        }
        During::BodyDropped => {
            drop(request);
            teller.watch(&ctx);
            std::future::pending().await
        }
        During::Streaming | During::StreamingPipelined => {
            teller.watch(&ctx);
            Body::new(Idle(false)).into_response()
        }
        During::Upgrade => {
            let is_connect = request.method() == Method::CONNECT;
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let upgraded = upgrade.await.expect("the client upgrades");
                teller.watch(&ctx);
                // The other protocol: it reads nothing for the time being.
                ctx.done().await;
                drop(upgraded);
            });
            if is_connect {
                StatusCode::OK.into_response()
            } else {
                let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "other")];
                (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
            }
        }
    }
}

fn request_text(during: During) -> &'static str {
    match during {
        During::Wait | During::Streaming => "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        During::Pipelined | During::StreamingPipelined => {
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n"
        }
        During::BodyUnread | During::BodyPartlyRead | During::BodyDropped => {
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nthe first bytes"
        }
        During::Upgrade => {
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n"
        }
    }
}

/// How late the leaving was noticed.
async fn one(http: Http, during: During, leaving: Leaving) -> Duration {
    let (teller, mut listener) = channel();
    let app = Router::new().fallback(any(
        move |RequestCtx(ctx): RequestCtx, request: Request<Body>| {
            handler(teller.clone(), during, ctx, request)
        },
    ));
    let server = Running::plain(app).await;
    let stream = match leaving {
        Leaving::Fin | Leaving::RstStream => server.connect().await,
        Leaving::Rst => server.connect_rst().await,
    };
    let left = match http {
        Http::One => leave_one(stream, during, &mut listener).await,
        Http::Two => leave_two(&server, stream, during, leaving, &mut listener).await,
    };
    let cause = listener.ended().await;
    assert_eq!(
        cause.kind(),
        Kind::PeerGone,
        "{http:?} {during:?} {leaving:?}: {cause:?}"
    );
    let noticed = cause.at().expect("a cancel by hand has its instant");
    server.end().await;
    noticed.saturating_duration_since(left)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the instant of the leaving, see the head of the file"
)]
fn now() -> Instant {
    Instant::now()
}

async fn leave_one(mut stream: TcpStream, during: During, listener: &mut Listener) -> Instant {
    stream
        .write_all(request_text(during).as_bytes())
        .await
        .unwrap();
    if matches!(
        during,
        During::Streaming | During::StreamingPipelined | During::Upgrade
    ) {
        // The head of the answer is here: the handler is over.
        let mut head = [0; 64];
        assert!(soon("the head", stream.read(&mut head)).await.unwrap() > 0);
    }
    let _ = listener.began().await;
    let left = now();
    drop(stream);
    left
}

async fn leave_two(
    server: &Running,
    stream: TcpStream,
    during: During,
    leaving: Leaving,
    listener: &mut Listener,
) -> Instant {
    let (mut sender, switch) = server.http2(stream).await;
    let (body, upload) = match during {
        During::BodyUnread | During::BodyPartlyRead | During::BodyDropped => {
            unfinished(b"the first bytes")
        }
        _ => (whole(b""), tokio::sync::mpsc::channel(1).0),
    };
    let mut request = Request::new(body);
    *request.uri_mut() = "http://a/".parse().unwrap();
    if during == During::Upgrade {
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = "a:80".parse().unwrap();
    }
    let call = tokio::spawn(sender.send_request(request));
    let mut call = Some(call);
    let mut answer = None;
    if matches!(during, During::Streaming | During::Upgrade) {
        let response = soon("the head", call.take().unwrap())
            .await
            .unwrap()
            .unwrap();
        answer = Some(response);
    }
    if let (During::Streaming, Some(answer)) = (during, &mut answer) {
        soon("the first frame", answer.body_mut().frame()).await;
    }
    let tunnel = match (during, answer.take()) {
        (During::Upgrade, Some(response)) => Some(TokioIo::new(
            soon("the tunnel", hyper::upgrade::on(response))
                .await
                .unwrap(),
        )),
        (_, kept) => {
            answer = kept;
            None
        }
    };
    let _ = listener.began().await;
    let left = now();
    match leaving {
        Leaving::RstStream => {
            if let Some(call) = &call {
                call.abort();
            }
            drop(answer);
        }
        Leaving::Fin | Leaving::Rst => switch.close(),
    }
    // Kept until the end of the test, lest their drop be what is noticed.
    tokio::spawn(async move {
        let _kept = (upload, sender, tunnel);
        std::future::pending::<()>().await;
    });
    left
}

//= P24, P25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_leave_is_noticed() {
    let mut late = Vec::new();
    for (http, during, leaving) in cells() {
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            best = best.min(one(http, during, leaving).await);
            if best <= LATENCY_MAX {
                break;
            }
        }
        println!("{http:?} {during:?} {leaving:?}: {best:?}");
        if best > LATENCY_MAX {
            late.push((http, during, leaving, best));
        }
    }
    assert!(late.is_empty(), "noticed too late: {late:?}");
}

/// The same client against a server without the watcher: what hyper alone does not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_watcher_an_unread_upload_hides_the_leaving() {
    let (teller, mut listener) = channel();
    let app = Router::new().fallback(any(
        move |RequestCtx(ctx): RequestCtx, request: Request<Body>| {
            handler(teller.clone(), During::BodyUnread, ctx, request)
        },
    ));
    let server = Running::start(
        |ctx| {
            app.layer(ripcord_http::HttpLayer::new(
                ctx,
                ripcord_propagation::Propagation::default(),
            ))
        },
        |server| server.hang_up(None),
    )
    .await;
    let mut stream = server.connect().await;
    stream
        .write_all(request_text(During::BodyUnread).as_bytes())
        .await
        .unwrap();
    let ctx = listener.began().await;
    // The client leaves and comes back on another connection, whose answer shows that the server
    // had its chance to see it.
    drop(stream);
    let mut second = server.connect().await;
    second
        .write_all(request_text(During::BodyUnread).as_bytes())
        .await
        .unwrap();
    let other = listener.began().await;
    assert!(!ctx.is_done() && !other.is_done());
    assert!(matches!(listener.rest().as_slice(), []));
    server.end().await;
    assert!(matches!(listener.next().await, Told::Ended(_)));
}

/// Where it reads, hyper sees the client leave, too; the report does not tell who was first.
#[tokio::test]
async fn a_client_that_only_hyper_sees_leave_is_no_failure() {
    for leaving in [Leaving::Fin, Leaving::Rst] {
        let (teller, mut listener) = channel();
        let app = Router::new().route(
            "/",
            any(move |RequestCtx(ctx): RequestCtx, request: Request<Body>| {
                handler(teller.clone(), During::Wait, ctx, request)
            }),
        );
        let server = Running::start(
            |ctx| {
                app.layer(ripcord_http::HttpLayer::new(
                    ctx,
                    ripcord_propagation::Propagation::default(),
                ))
            },
            |server| server.hang_up(None),
        )
        .await;
        let mut stream = server.connect().await;
        stream
            .write_all(request_text(During::Wait).as_bytes())
            .await
            .unwrap();
        let ctx = listener.began().await;
        if leaving == Leaving::Rst {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        let cause = soon("the end of the request", ctx.done()).await;
        assert_eq!(cause.kind(), Kind::PeerGone, "{leaving:?}");
        let report = server.end().await;
        assert_eq!(
            (report.hung_up, report.failed),
            (1, 0),
            "{leaving:?}: {report}"
        );
    }
}

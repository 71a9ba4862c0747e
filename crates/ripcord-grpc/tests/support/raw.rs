//! Both ends without tonic: HTTP/2 frame by frame, to see what goes over the wire.

use crate::support::service::Text;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use std::future::poll_fn;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// A client that sends what it is told, and has no timer of its own.
pub struct RawClient {
    requests: SendRequest<Bytes>,
    addr: SocketAddr,
}

/// The end of a call, as it came over the wire.
#[derive(Debug)]
pub struct RawEnd {
    /// Bytes of the answer's body.
    pub bytes: usize,
    /// The trailers, or the head if there was nothing else.
    pub trailers: HeaderMap,
}

impl RawEnd {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.trailers
            .get(name)
            .map(|value| value.to_str().expect("visible ASCII"))
    }
}

impl RawClient {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let (requests, connection) = h2::client::handshake(stream)
            .await
            .expect("it speaks HTTP/2");
        tokio::spawn(connection);
        Self { requests, addr }
    }

    /// Begins a call; the request's body stays open.
    pub async fn begin(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let uri = format!("http://{}{path}", self.addr);
        let mut request = Request::post(uri).header("te", "trailers");
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        poll_fn(|cx| self.requests.poll_ready(cx))
            .await
            .expect("the connection stands");
        self.requests
            .send_request(request, false)
            .expect("it is ready")
    }

    /// Makes a call with one message, and reads its answer to the end.
    pub async fn call(&mut self, path: &str, headers: &[(&str, &str)]) -> RawEnd {
        let (response, mut body) = self.begin(path, headers).await;
        body.send_data(message("hello"), true)
            .expect("the stream is open");
        end(response).await
    }
}

/// Reads an answer to its end.
pub async fn end(response: ResponseFuture) -> RawEnd {
    let (head, mut body) = response.await.expect("an answer").into_parts();
    let mut bytes = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("no reset");
        bytes += chunk.len();
        body.flow_control()
            .release_capacity(chunk.len())
            .expect("it was received");
    }
    let trailers = body.trailers().await.expect("no reset");
    RawEnd {
        bytes,
        trailers: trailers.unwrap_or(head.headers),
    }
}

/// A message as gRPC frames it.
pub fn message(text: &str) -> Bytes {
    let text = Text {
        text: text.to_owned(),
    };
    let mut framed = vec![0];
    framed.extend(
        u32::try_from(text.encoded_len())
            .expect("short")
            .to_be_bytes(),
    );
    framed.extend(text.encode_to_vec());
    framed.into()
}

/// A server that takes one call and does with it what the test says.
pub struct RawServer {
    pub addr: SocketAddr,
    listener: TcpListener,
}

/// A call that a [`RawServer`] has taken.
pub struct RawCall {
    pub head: Request<()>,
    pub body: RecvStream,
    respond: h2::server::SendResponse<Bytes>,
}

impl RawServer {
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        Self { addr, listener }
    }

    /// Waits for a call; the connection is served for as long as the test runs.
    pub async fn accept(&self) -> RawCall {
        let (stream, _) = self.listener.accept().await.expect("somebody connects");
        let mut connection = h2::server::handshake(stream)
            .await
            .expect("it speaks HTTP/2");
        let first = connection
            .accept()
            .await
            .expect("a call")
            .expect("a good one");
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let (request, respond) = first;
        let (head, body) = request.into_parts();
        RawCall {
            head: Request::from_parts(head, ()),
            body,
            respond,
        }
    }
}

impl RawCall {
    /// The reason with which the client resets the stream, before there is an answer.
    pub async fn reset(&mut self) -> Reason {
        poll_fn(|cx| self.respond.poll_reset(cx))
            .await
            .expect("a reset")
    }

    /// Sends the head of an answer and one message.
    pub fn answer(&mut self) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", "application/grpc");
        let head = head.body(()).expect("a response");
        let mut body = self
            .respond
            .send_response(head, false)
            .expect("the stream is open");
        body.send_data(message("one"), false)
            .expect("the stream is open");
        body
    }
}

/// The reason with which the client resets the stream.
pub async fn reset(body: &mut SendStream<Bytes>) -> Reason {
    poll_fn(|cx| body.poll_reset(cx)).await.expect("a reset")
}

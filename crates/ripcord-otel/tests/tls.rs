//! A collector behind TLS: reached when the system trusts its certificate, and not otherwise.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod collector;

use collector::Collector;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ripcord_otel::otlp::{Otlp, Protocol};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

const LONG: Duration = Duration::from_secs(60);
/// Set in the child, to the address of the collector.
const CHILD: &str = "RIPCORD_OTEL_TLS_CHILD";

/// Does nothing but in a child: what the system trusts is read once in a process.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(CHILD) else {
        return;
    };
    let protocol = match std::env::var("RIPCORD_OTEL_TLS_PROTOCOL").as_deref() {
        Ok("grpc") => Protocol::Grpc,
        _ => Protocol::HttpBinary,
    };
    let guard = Otlp::builder()
        .endpoint(&endpoint)
        .protocol(protocol)
        .timeout(LONG)
        .without_globals()
        .build()
        .unwrap();
    guard.tracer_provider().tracer("test").start("work").end();
    println!("shut down: {:?}", guard.shutdown(LONG));
}

/// Sends a span to `endpoint` from a process that trusts these certificates alone.
fn send(endpoint: &str, protocol: Protocol, trusted: &Path) -> String {
    let name = match protocol {
        Protocol::Grpc => "grpc",
        _ => "http",
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, endpoint)
        .env("RIPCORD_OTEL_TLS_PROTOCOL", name)
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{stderr}");
    said
}

/// Ends TLS in front of a collector, for `localhost`.
struct Front {
    endpoint: String,
    trusted: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Front {
    fn of(collector: &Collector, name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let trusted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut file = std::fs::File::create(&trusted).unwrap();
        file.write_all(cert.pem().as_bytes()).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behind = collector.endpoint.replace("http://", "");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // A client that does not trust us hangs up in the handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
        Self {
            endpoint: format!("https://localhost:{port}"),
            trusted,
            runtime,
        }
    }
}

#[test]
fn a_span_arrives_over_tls_where_the_certificate_is_trusted() {
    for (protocol, name) in [
        (Protocol::Grpc, "grpc.pem"),
        (Protocol::HttpBinary, "http.pem"),
    ] {
        let collector = Collector::start(protocol);
        let front = Front::of(&collector, name);
        let said = send(&front.endpoint, protocol, &front.trusted);
        assert!(said.contains("shut down: Ok(())"), "{said}");
        assert_eq!(collector.arrived().spans().len(), 1, "{name}");
        front.runtime.shutdown_background();
    }
}

#[test]
fn nothing_is_sent_to_whom_the_system_does_not_trust() {
    for (protocol, name) in [
        (Protocol::Grpc, "grpc-other"),
        (Protocol::HttpBinary, "http-other"),
    ] {
        let collector = Collector::start(protocol);
        let front = Front::of(&collector, &format!("{name}.pem"));
        // A certificate for the same name, by somebody else.
        let other = Front::of(&collector, &format!("{name}-trusted.pem"));
        let said = send(&front.endpoint, protocol, &other.trusted);
        assert!(said.contains("shut down: "), "{said}");
        assert_eq!(collector.arrived().spans().len(), 0, "{name}");
        front.runtime.shutdown_background();
        other.runtime.shutdown_background();
    }
}

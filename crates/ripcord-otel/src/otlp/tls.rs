//! https to the collector: the certificates of the system, and `ring` for the cryptography.
//!
//! Both are named here, since what a process uses by default depends on the features of all its
//! crates. The gRPC exporter of OpenTelemetry, left to itself, trusts no certificate at all.

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::HttpClient;
use opentelemetry_http::hyper::HyperClient;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::ClientTlsConfig;

/// A client of HTTP over TLS.
pub(super) fn http_client(timeout: Duration) -> io::Result<Arc<dyn HttpClient>> {
    let provider = rustls::crypto::ring::default_provider();
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)?
        .https_only()
        .enable_http1()
        .build();
    Ok(Arc::new(HyperClient::new(connector, timeout, None)))
}

/// What the channel of gRPC trusts.
pub(super) fn grpc() -> ClientTlsConfig {
    ClientTlsConfig::new().with_native_roots()
}

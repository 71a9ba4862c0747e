//! The names of this crate are those of the semantic conventions.

use opentelemetry_semantic_conventions::{SCHEMA_URL, attribute as sa, metric as sm};
use ripcord_otel::names::{self, attribute as a, metric as m};

#[test]
fn names_are_those_of_the_conventions() {
    for (ours, theirs) in [
        (names::SCHEMA_URL, SCHEMA_URL),
        (a::ERROR_TYPE, sa::ERROR_TYPE),
        (a::HTTP_REQUEST_METHOD, sa::HTTP_REQUEST_METHOD),
        (
            a::HTTP_REQUEST_METHOD_ORIGINAL,
            sa::HTTP_REQUEST_METHOD_ORIGINAL,
        ),
        (a::HTTP_RESPONSE_STATUS_CODE, sa::HTTP_RESPONSE_STATUS_CODE),
        (a::HTTP_ROUTE, sa::HTTP_ROUTE),
        (a::NETWORK_PEER_ADDRESS, sa::NETWORK_PEER_ADDRESS),
        (a::NETWORK_PEER_PORT, sa::NETWORK_PEER_PORT),
        (a::NETWORK_PROTOCOL_VERSION, sa::NETWORK_PROTOCOL_VERSION),
        (a::RPC_METHOD, sa::RPC_METHOD),
        (a::RPC_METHOD_ORIGINAL, sa::RPC_METHOD_ORIGINAL),
        (a::RPC_RESPONSE_STATUS_CODE, sa::RPC_RESPONSE_STATUS_CODE),
        (a::RPC_SYSTEM_NAME, sa::RPC_SYSTEM_NAME),
        (a::SERVER_ADDRESS, sa::SERVER_ADDRESS),
        (a::SERVER_PORT, sa::SERVER_PORT),
        (a::URL_FULL, sa::URL_FULL),
        (a::URL_PATH, sa::URL_PATH),
        (a::URL_SCHEME, sa::URL_SCHEME),
        (m::HTTP_SERVER_DURATION, sm::HTTP_SERVER_REQUEST_DURATION),
        (m::HTTP_CLIENT_DURATION, sm::HTTP_CLIENT_REQUEST_DURATION),
        (m::RPC_SERVER_DURATION, sm::RPC_SERVER_CALL_DURATION),
        (m::RPC_CLIENT_DURATION, sm::RPC_CLIENT_CALL_DURATION),
        (m::HTTP_SERVER_ACTIVE, sm::HTTP_SERVER_ACTIVE_REQUESTS),
    ] {
        assert_eq!(ours, theirs);
    }
}

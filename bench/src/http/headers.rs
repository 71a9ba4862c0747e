//! The headers of the request that everybody reads, and of the call that everybody makes of it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What a request comes with that says nothing of its context: as of a browser behind a proxy.
pub(super) const UNRELATED: [(&str, &str); 10] = [
    ("host", "shop.example.com"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    ),
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    (
        "cookie",
        "session=6f1c2a9d0b7e4f35a8c1; theme=dark; consent=necessary",
    ),
    ("authorization", "Bearer mF_9.B5f-4.1JqM0rT7k2Wz8Q"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("cache-control", "no-cache"),
];

/// What a request says of its context: a trace with two vendors, eight members of baggage, an id,
/// and how long its caller waits, which is longer than any sample takes.
pub(super) const CONTEXT: [(&str, &str); 5] = [
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
    (
        "baggage",
        "tenant=acme,region=eu-west-1,user.tier=gold,experiment=checkout-b,device=mobile,\
         client.version=7.3.1,cart.items=3,campaign=spring%20sale",
    ),
    ("x-request-id", "018f6b2e-7d3c-7a41-9c55-2b9e0f4d1a6c"),
    ("x-request-timeout-ms", "60000"),
];

/// The members in [`CONTEXT`]'s baggage.
#[cfg(test)]
pub(super) const BAGGAGE_MEMBERS: usize = 8;

/// The headers of a request; with those of its context, or without.
pub(super) fn incoming(has_context: bool) -> HeaderMap {
    let context = CONTEXT.iter().filter(|_| has_context);
    UNRELATED
        .iter()
        .chain(context)
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// The headers of a call before anything is written to them.
pub(super) fn outgoing() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "stock.internal"),
        (header::ACCEPT, "application/json"),
        (header::USER_AGENT, "shop/7.3.1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

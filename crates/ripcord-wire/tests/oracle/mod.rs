//! The oracles of the fuzz targets: each takes any bytes, and panics where a codec is wrong.

pub(crate) mod b3;
pub(crate) mod request_id;
pub(crate) mod timeout;
pub(crate) mod traceparent;
pub(crate) mod tracestate;

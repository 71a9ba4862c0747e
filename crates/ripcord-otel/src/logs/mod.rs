//! Logs that know their request: ids for any format, a JSON layer, and the bridge to OpenTelemetry.
//!
//! The ids come from the current [`Ctx`](ripcord_core::Ctx), so a line inside a handler or a
//! spawned task has them without a span of `tracing` around it.
//!
//! | a log that | has the ids by |
//! |---|---|
//! | is formatted by the program | [`LogIds`], shown or taken apart |
//! | is written as JSON | `JsonLayer` (feature `tracing`) |
//! | is exported over OTLP from `tracing` | `otlp::Guard::layer` |
//! | is exported by an SDK of the program's own | `CtxLogProcessor` in front of its processors |
//!
//! The request is the thing to search for: a trace that is not sampled has no spans to be found,
//! its lines have the ids all the same.
//!
//! *Read next*: `ids.rs`, `json.rs`, `bridge.rs`.

#[cfg(feature = "tracing")]
mod bridge;
mod ids;
#[cfg(feature = "tracing")]
mod json;
#[cfg(feature = "otlp")]
mod processor;
#[cfg(feature = "tracing")]
mod time;

#[cfg(feature = "tracing")]
pub use bridge::{log_layer, quiet, span_layer};
pub use ids::LogIds;
#[cfg(feature = "tracing")]
pub use json::{JsonLayer, LostLines};
#[cfg(feature = "otlp")]
pub use processor::CtxLogProcessor;

//! Traces in the forms of other tools: Perfetto, Chrome, OpenTelemetry, Parquet.
//!
//! Each is written in one way over the events, in memory that is bounded by what is live at a time;
//! a way before it finds out whom the first events belong to. Times are nanoseconds of the
//! monotonic clock of the process, or since 1970 where the form wants that.
//!
//! *Read next*: `follow.rs` (who runs where), `story.rs` (tracks, slices, instants, flows) with its two
//! sinks `perfetto/` and `chrome.rs`; `lives.rs` (from beginnings to ends), `otlp/` (spans)
//! and `tables/` (Parquet).

mod chrome;
mod error;
mod follow;
mod json;
mod lives;
mod otlp;
mod perfetto;
mod story;
mod tables;

pub use chrome::chrome;
pub use error::ExportError;
pub use otlp::otlp;
pub use perfetto::perfetto;
pub use tables::{TABLES, parquet};

//! The report of a run: facts in, text or JSON out.
//!
//! *Read next*: `facts.rs` (what a run leaves behind), `model.rs` (the report, as JSON shows it;
//! its schema is docs/schema/demo-report.schema.json), `build.rs` and `overran.rs` (from one to
//! the other), `budget.rs` (of single requests), `text.rs`, `units.rs`.

mod budget;
mod build;
mod facts;
mod json;
mod model;
mod overran;
mod text;
mod units;

pub(super) use facts::{Asked, Facts, Stop};
pub(super) use json::json;
pub(super) use model::Report;
pub(super) use text::text;
pub(super) use units::percent;

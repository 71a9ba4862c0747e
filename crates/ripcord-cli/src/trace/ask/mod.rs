//! What the analysis says of a trace: tasks, contexts, budgets, ghosts, explanations, paths,
//! differences.
//!
//! *Invariant*: nothing here concludes anything. A command asks [`ripcord_analysis`], and shows the
//! answer: as it is in JSON, and its most important rows as text.

mod answer;
mod budgets;
mod contexts;
mod critical_path;
mod diff;
mod explain;
mod ghosts;
mod tasks;

pub(super) use budgets::run as budgets;
pub(super) use contexts::run as contexts;
pub(super) use critical_path::run as critical_path;
pub(super) use diff::run as diff;
pub(super) use explain::run as explain;
pub(super) use ghosts::run as ghosts;
pub(super) use tasks::run as tasks;

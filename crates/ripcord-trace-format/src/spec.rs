//! The event table as it stands in `spec/trace-format.md`.

use crate::arg::ArgKind;
use crate::event::EVENTS;
use std::fmt::Write as _;

/// Renders the event table as Markdown: one table of the events, one of the names of their enums.
///
/// A test compares it with the specification, so neither can change alone.
///
/// # Examples
/// ```
/// let table = ripcord_trace_format::render_events();
/// assert!(table.contains("| 0x07 | `poll_ready` | none | The poll ends: the task is ready. |"));
/// ```
#[must_use]
pub fn render_events() -> String {
    let mut table = String::from("| Type | Event | Arguments | Meaning |\n|---|---|---|---|\n");
    let mut enums = String::from("| Argument | Names, from 0 |\n|---|---|\n");
    for row in EVENTS {
        let mut args = String::new();
        for arg in row.args {
            let comma = if args.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(args, "{comma}{}: {}", arg.name, arg.kind);
            if arg.kind == ArgKind::Enum {
                let names = arg.names.join(", ");
                let _ = writeln!(enums, "| `{}`: {} | {names} |", row.name, arg.name);
            }
        }
        if args.is_empty() {
            args.push_str("none");
        }
        let about = row.about.trim();
        let _ = writeln!(
            table,
            "| {:#04x} | `{}` | {args} | {about} |",
            row.number, row.name
        );
    }
    format!("{table}\n{enums}")
}

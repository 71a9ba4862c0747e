//! Rows of a dump, found by name: other tests of the process have trees of their own.

#![allow(clippy::disallowed_types, reason = "outside every model")]

use ripcord_core::{Row, dump};
use std::sync::{Mutex, PoisonError};

/// A dump holds every node for a moment: one at a time, what is gone is never listed.
static ONE: Mutex<()> = Mutex::new(());

/// The rows of that name, oldest first.
pub(crate) fn rows_named(name: &str) -> Vec<Row> {
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = dump();
    drop(one);
    let named = rows
        .rows()
        .iter()
        .filter(|row| row.name.as_deref() == Some(name));
    named.cloned().collect()
}

/// The only row of that name.
#[track_caller]
pub(crate) fn row(name: &str) -> Row {
    let mut rows = rows_named(name);
    assert_eq!(rows.len(), 1, "rows named {name}: {rows:?}");
    rows.remove(0)
}

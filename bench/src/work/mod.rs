//! The workloads of `core`, in the order of the tables; one file per group.

mod cancel_idle;
mod cancel_waiting;
mod check;
mod deadlines;
mod make;
mod memory;
mod million;
mod run;
mod values;

use crate::case::Case;

/// Every case that `core` knows.
pub(crate) fn catalogue() -> Vec<Case> {
    let groups = [
        check::cases(),
        make::cases(),
        run::cases(),
        deadlines::cases(),
        values::cases(),
        cancel_idle::cases(),
        cancel_waiting::cases(),
        memory::cases(),
        million::cases(),
    ];
    groups.into_iter().flatten().collect()
}

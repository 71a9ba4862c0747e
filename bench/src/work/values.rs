//! Looking values up, far from where they were put.

use crate::case::{Case, GO, Goal, RIPCORD};
use crate::ours;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::micro(
            "value/below-32-values",
            "value look-up below 32 further values",
            Goal::of_go(0.2),
        )
        .rust(RIPCORD, ours::value_below_values)
        .go(GO),
        Case::micro(
            "value/below-32-children",
            "value look-up below 32 levels of children",
            Goal::of_go(0.2),
        )
        .rust(RIPCORD, ours::value_below_children)
        .go(GO),
        Case::micro(
            "value/miss",
            "look-up of a value that is not there, below 32 values",
            None,
        )
        .rust(RIPCORD, ours::value_missing)
        .go(GO),
    ]
}

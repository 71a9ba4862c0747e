//! The workloads, in the order of the tables; one file per group.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Goal, RIPCORD};

    #[test]
    fn ids_are_unique_and_goals_have_somebody_to_compare_with() {
        let cases = catalogue();
        for (index, case) in cases.iter().enumerate() {
            assert!(
                cases
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.id != case.id),
                "{}",
                case.id
            );
            for metric in &case.metrics {
                if let Some(Goal::Ratio { to, .. }) = metric.goal {
                    assert!(case.has(to), "{} has no {to}", case.id);
                }
                assert!(metric.goal.is_none() || case.has(RIPCORD), "{}", case.id);
            }
        }
    }
}

//! Where, when and with what a run was made: the part of a report without which figures mean little.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::process;
use crate::subject::Subject;

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) load_before: Option<f64>,
    pub(crate) load_after: Option<f64>,
    pub(crate) versions: Vec<(&'static str, String)>,
}

impl Machine {
    /// Describes the machine before a run of `subject`; `go` is Go's version, or why there is none.
    pub(crate) fn describe(subject: Subject, go: &str) -> Machine {
        let system = process::kernel().map_or_else(
            || std::env::consts::OS.to_owned(),
            |kernel| {
                format!(
                    "{} {kernel} {}",
                    std::env::consts::OS,
                    std::env::consts::ARCH
                )
            },
        );
        Machine {
            date: date_of(SystemTime::now()),
            cpu: process::cpu_model().unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system,
            load_before: process::load(),
            load_after: None,
            versions: versions(subject, go),
        }
    }

    /// A busy machine makes every figure doubtful.
    pub(crate) fn is_busy(&self) -> bool {
        self.load_before
            .is_some_and(|load| load > self.cores as f64 * 0.5)
    }
}

fn versions(subject: Subject, go: &str) -> Vec<(&'static str, String)> {
    let rustc = env!("RIPCORD_BENCH_RUSTC").trim_start_matches("rustc ");
    let mut versions = vec![("ripcord", env!("CARGO_PKG_VERSION"))];
    versions.extend(subject.peers());
    if subject == Subject::Core {
        versions.push(("go", go.trim_start_matches("go")));
    }
    versions.push(("rustc", rustc));
    let owned = versions.into_iter();
    owned
        .map(|(name, version)| (name, version.to_owned()))
        .collect()
}

fn date_of(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_from_days(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The Gregorian date `days` after 1970-01-01 (Howard Hinnant's `civil_from_days`, for days ≥ 0).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let table = [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_777, (2026, 11, 20)),
        ];
        for (days, expected) in table {
            assert_eq!(civil_from_days(days), expected, "day {days}");
        }
    }
}

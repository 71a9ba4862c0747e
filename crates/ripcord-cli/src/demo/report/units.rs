//! Times, shares and places as people read them.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A duration in milliseconds, exact to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

/// Milliseconds with the unit that fits: `84 µs`, `3.1 ms`, `148 ms`, `2.98 s`.
pub(super) fn short(millis: f64) -> String {
    if millis < 0.9995 {
        format!("{:.0} µs", millis * 1000.0)
    } else if millis < 9.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.2} s", millis / 1000.0)
    }
}

/// A number with thin groups of three digits: `2 412`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A share, as `98.3 %`; of nothing, `0 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let per_mille = part.saturating_mul(1000) / whole;
    // Rounded down: all but one is not all.
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// A source file relative to the current folder, or to this workspace, or as it is.
pub(super) fn place(file: &str, line: u32) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .unwrap_or_default();
    format!("{}:{line}", relative(file, &[here, workspace]))
}

fn relative(file: &str, folders: &[PathBuf]) -> String {
    let mut folders = folders.iter().filter(|folder| folder.parent().is_some());
    let relative = folders.find_map(|folder| Path::new(file).strip_prefix(folder).ok());
    relative.map_or_else(|| file.to_owned(), |path| path.display().to_string())
}

/// The module that a source file of a library is: `tokio::time::sleep`.
///
/// From the file, because line tables alone do not name the module of an inlined function.
pub(super) fn module(file: &str) -> Option<String> {
    let file = file.replace('\\', "/");
    let (folder, inside) = file.rsplit_once("/src/")?;
    let folder = folder.rsplit('/').next()?;
    // `tokio-1.54.1`, but `hyper-util`.
    let version = folder
        .rsplit_once('-')
        .filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()));
    let name = version.map_or(folder, |(name, _)| name).replace('-', "_");
    let inside = inside.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let parts = std::iter::once(name.as_str()).chain(inside.split('/'));
    let parts: Vec<&str> = parts
        .filter(|part| !["lib", "mod"].contains(part))
        .collect();
    Some(parts.join("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (millis, expect) in [
            (0.0, "0 µs"),
            (0.084, "84 µs"),
            (0.9996, "1.0 ms"),
            (3.12, "3.1 ms"),
            (9.96, "10 ms"),
            (148.2, "148 ms"),
            (2980.0, "2.98 s"),
        ] {
            assert_eq!(short(millis), expect);
        }
    }

    #[test]
    fn numbers_and_shares() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(percent(999, 1000), "99.9 %");
        assert_eq!(percent(9999, 10_000), "99.9 %");
        assert_eq!(percent(1, 0), "0 %");
    }

    #[test]
    fn a_file_of_a_library_is_a_module() {
        for (file, expect) in [
            (
                "/me/registry/src/index-19/tokio-1.54.1/src/time/sleep.rs",
                Some("tokio::time::sleep"),
            ),
            ("/x/hyper-util-0.1.21/src/lib.rs", Some("hyper_util")),
            ("/x/hyper-1.12.0/src/proto/mod.rs", Some("hyper::proto")),
            (
                "crates/ripcord-tokio/src/task.rs",
                Some("ripcord_tokio::task"),
            ),
            ("/x/main.rs", None),
        ] {
            assert_eq!(module(file).as_deref(), expect, "{file}");
        }
    }

    #[test]
    fn places_are_relative_to_the_first_folder_that_fits() {
        let folders = [PathBuf::from("/home/me"), PathBuf::from("/srv/build")];
        for (file, expect) in [
            ("/srv/build/src/a.rs", "src/a.rs"),
            ("/home/me/b.rs", "b.rs"),
            ("crates/c.rs", "crates/c.rs"),
            ("/opt/d.rs", "/opt/d.rs"),
        ] {
            assert_eq!(relative(file, &folders), expect);
        }
        assert_eq!(relative("/opt/d.rs", &[PathBuf::from("/")]), "/opt/d.rs");
    }
}

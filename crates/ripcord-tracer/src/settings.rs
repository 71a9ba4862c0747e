//! What the environment of a process says about recording it: [`Settings`].
//!
//! # Variables
//! | Variable | Example | Without it |
//! |---|---|---|
//! | `RIPCORD_TRACE` | `/var/tmp/shop-%p.ript` | no file is written |
//! | `RIPCORD_TRACE_RING` | `/dev/shm/shop.ring` | the recorder's memory ends with the process |
//! | `RIPCORD_TRACE_MODE` | `sampled:100` | `full` |
//! | `RIPCORD_TRACE_ZSTD` | `3` | `off` |
//! | `RIPCORD_SCHEDTRACE` | `1000,detail` | no lines are printed |
//! | `RIPCORD_TRACE_WORST` | `/var/tmp/worst` | no requests are kept |
//! | `RIPCORD_TRACE_WORST_PER_ROUTE` | `10` | 3 |
//!
//! A file, a ring or a folder for the worst is enough for events. Numbers need none:
//! `RIPCORD_TRACE_MODE=metrics` alone counts, whatever else is set, and so does `RIPCORD_SCHEDTRACE` where none of
//! the three is named. `off` turns all of it off.
//!
//! An empty variable counts as none, since that is how a shell takes one away for a command. What is wrong is
//! an error and not a default, also where it would change nothing: who asks for a recording and gets none
//! finds out when it is too late.
//!
//! # Costs
//! The environment is read once, at the start of a program.

use crate::recorder::Mode;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Names the file that the recording goes to.
pub(crate) const FILE: &str = "RIPCORD_TRACE";

/// Names the file that the recorder's memory is in.
pub(crate) const RING: &str = "RIPCORD_TRACE_RING";

/// Says how much is recorded.
pub(crate) const MODE: &str = "RIPCORD_TRACE_MODE";

/// Says how traces are compressed.
pub(crate) const ZSTD: &str = "RIPCORD_TRACE_ZSTD";

/// Levels from 20 on need memory by the hundred megabytes.
pub(crate) const ZSTD_MAX: u8 = 19;

/// Asks for a line of numbers every so often.
pub(crate) const SCHED: &str = "RIPCORD_SCHEDTRACE";

/// Names the folder that the worst requests go to.
pub(crate) const WORST: &str = "RIPCORD_TRACE_WORST";

/// Says how many of each route.
pub(crate) const PER_ROUTE: &str = "RIPCORD_TRACE_WORST_PER_ROUTE";

/// What `RIPCORD_TRACE`, the variables that begin with it, and `RIPCORD_SCHEDTRACE` ask for.
///
/// # Examples
/// ```
/// use ripcord_tracer::Settings;
///
/// // Without the variables nothing is asked for.
/// assert_eq!(Settings::from_env()?, None);
/// # Ok::<(), ripcord_tracer::SettingsError>(())
/// ```
///
/// A program that records itself reads them once, at its start: later changes of the
/// environment have no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where the recording goes; `None` if it stays in memory, or is of numbers only.
    pub file: Option<PathBuf>,
    /// The file that the recorder's memory is in, if it is to outlive the process.
    pub ring: Option<PathBuf>,
    /// The folder that the worst requests of each route go to.
    pub worst: Option<PathBuf>,
    /// How many of each route.
    pub worst_per_route: usize,
    /// How much is recorded.
    pub mode: Mode,
    /// The level of zstd at which traces are compressed; `None` if they are not.
    pub zstd: Option<u8>,
    /// The lines that are printed meanwhile, if any.
    pub sched: Option<SchedSettings>,
}

/// The lines of numbers that `RIPCORD_SCHEDTRACE` asks for.
///
/// # Examples
/// ```
/// use ripcord_tracer::{Recorder, SchedSettings};
///
/// fn print(recorder: &Recorder, asked: SchedSettings) -> std::io::Result<()> {
///     let builder = recorder.sched_trace(asked.every).detail(asked.has_detail);
///     drop(builder.start()?); // Keep it for as long as it is to print.
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SchedSettings {
    /// How often.
    pub every: Duration,
    /// With a line for each worker, and for the tasks that have done the same for longest.
    pub has_detail: bool,
}

impl Settings {
    /// Reads the environment of this process; `None` if it asks for nothing.
    ///
    /// * `RIPCORD_TRACE`: a file that does not exist yet. `%p` in it stands for the id of the process,
    ///   for programs that start themselves again.
    /// * `RIPCORD_TRACE_RING`: a file, with or without the other one, for the recorder's memory, so that
    ///   `ripcord trace recover` finds the last of it there when the process was killed. `%p` as above.
    /// * `RIPCORD_TRACE_MODE`: `full`, which is the default, `sampled:100` for one request in a hundred
    ///   ([`Mode::Sampled`]), `metrics` for numbers only, which makes no file, or `off`, whatever else is said.
    /// * `RIPCORD_TRACE_ZSTD`: a level from 1 to 19 at which traces are compressed, or `off`, which is the
    ///   default.
    /// * `RIPCORD_TRACE_WORST`: a folder, with or without a file, for the worst requests of each route
    ///   ([`Recorder::worst`](crate::Recorder::worst)). `%p` as above.
    /// * `RIPCORD_TRACE_WORST_PER_ROUTE`: how many of each, from 1 to 100; 3 is the default.
    /// * `RIPCORD_SCHEDTRACE`: milliseconds between two lines of numbers on standard error, from 10 to
    ///   86,400,000, as `1000`, or with more lines each time as `1000,detail`. Without a file the mode is
    ///   `metrics` then.
    ///
    /// An empty variable is as good as none. `full` and `sampled` without a file, and without lines, ask for
    /// nothing.
    ///
    /// # Examples
    /// What a program that has its own way to record does with them:
    ///
    /// ```
    /// use ripcord_tracer::{Recorder, Settings};
    ///
    /// if let Some(settings) = Settings::from_env()? {
    ///     let recorder = Recorder::builder().mode(settings.mode).build();
    ///     if let Some(file) = &settings.file {
    ///         let stream = recorder.stream(file)?;
    ///         // … until the program ends.
    ///         stream.finish()?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A mode or a level that is none of these, and lines or a number that are asked for in another way.
    pub fn from_env() -> Result<Option<Self>, SettingsError> {
        Self::read(|name| std::env::var_os(name), std::process::id())
    }

    /// The same for any environment: tests have theirs, and the process's is left alone.
    fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        process: u32,
    ) -> Result<Option<Self>, SettingsError> {
        let value = |name| variable(name).filter(|value| !value.is_empty());
        let mode = parsed(MODE, value(MODE), MODES, parse_mode)?;
        let sched = parsed(SCHED, value(SCHED), LINES, parse_sched)?;
        let zstd = parsed(ZSTD, value(ZSTD), LEVELS, parse_zstd)?;
        let named = |name| {
            let file = value(name)?;
            // A name that is not UTF-8 is taken as it is.
            Some(match file.to_str() {
                Some(name) => name.replace("%p", &process.to_string()).into(),
                None => file.into(),
            })
        };
        let per_route = parsed(PER_ROUTE, value(PER_ROUTE), COUNTS, parse_per_route)?;
        let (file, ring, worst) = (named(FILE), named(RING), named(WORST));
        let has_file = file.is_some() || ring.is_some() || worst.is_some();
        let mode = match mode {
            Some(Mode::Off) => return Ok(None),
            Some(Mode::Metrics) => Mode::Metrics,
            _ if !has_file && sched.is_some() => Mode::Metrics,
            _ if !has_file => return Ok(None),
            mode => mode.unwrap_or_default(),
        };
        // Of numbers there would be no event in either.
        let has_events = mode != Mode::Metrics;
        Ok(Some(Self {
            file: file.filter(|_| has_events),
            ring: ring.filter(|_| has_events),
            worst: worst.filter(|_| has_events),
            worst_per_route: per_route.unwrap_or(3),
            mode,
            zstd: zstd.filter(|level| *level > 0),
            sched,
        }))
    }
}

/// What is shown of a value that is wrong, in characters.
const VALUE_SHOWN: usize = 64;

/// What a mode may be, for who has written another one.
const MODES: &str = "none of `full`, `sampled:100` (one request in so many), `metrics` and `off`";

/// … and a level.
const LEVELS: &str = "neither a level from 1 to 19 nor `off`";

/// … and lines.
const LINES: &str = "no number of milliseconds from 10 to 86400000, perhaps with `,detail`";

/// … and requests of a route.
const COUNTS: &str = "no number from 1 to 100";

/// Milliseconds between two lines: more often would be all that a program does, and a day is as good as
/// never.
const EVERY_MS: RangeInclusive<u64> = 10..=86_400_000;

/// A variable that is set is understood, or is an error.
fn parsed<T>(
    variable: &'static str,
    value: Option<OsString>,
    wrong: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, SettingsError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    match parse(&value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(SettingsError {
            variable,
            value: value.chars().take(VALUE_SHOWN).collect(),
            wrong,
        }),
    }
}

/// `None` if it is no mode. No spaces and no upper case: what is nearly right is named
/// instead of guessed.
fn parse_mode(text: &str) -> Option<Mode> {
    match text.split_once(':') {
        None if text == "full" => Some(Mode::Full),
        None if text == "metrics" => Some(Mode::Metrics),
        None if text == "off" => Some(Mode::Off),
        Some(("sampled", one_in)) => match one_in.parse().ok()? {
            0 => None,
            1 => Some(Mode::Full),
            one_in => Some(Mode::Sampled { one_in }),
        },
        _ => None,
    }
}

/// `None` if it is no level; `off` is 0, which nobody can write.
fn parse_zstd(text: &str) -> Option<u8> {
    if text == "off" {
        return Some(0);
    }
    let level = text.parse().ok()?;
    (1..=ZSTD_MAX).contains(&level).then_some(level)
}

/// As many as a route can have.
fn parse_per_route(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=100).contains(count))
}

/// Digits, and `,detail` or nothing behind them. As strict as with modes.
fn parse_sched(text: &str) -> Option<SchedSettings> {
    let (every, has_detail) = match text.strip_suffix(",detail") {
        Some(every) => (every, true),
        None => (text, false),
    };
    let is_plain = every.bytes().all(|byte| byte.is_ascii_digit());
    let every = every.parse().ok().filter(|_| is_plain)?;
    EVERY_MS.contains(&every).then_some(SchedSettings {
        every: Duration::from_millis(every),
        has_detail,
    })
}

/// A variable of the environment that says nothing which could be done.
///
/// # Examples
/// ```
/// use ripcord_tracer::SettingsError;
///
/// fn explain(error: &SettingsError) -> String {
///     format!("cannot {error}")
/// }
/// ```
///
/// It shows at most 64 characters of the value, with control characters escaped: the
/// environment may come from anywhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    /// Its name.
    variable: &'static str,
    /// What stands there, cut.
    value: String,
    /// What it is not.
    wrong: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            value,
            wrong,
        } = self;
        write!(f, "read {variable}: `{}` is {wrong}", value.escape_debug())
    }
}

impl Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these values of the three variables.
    fn read(
        file: Option<&str>,
        mode: Option<&str>,
        sched: Option<&str>,
    ) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            let value = match name {
                FILE => file,
                MODE => mode,
                SCHED => sched,
                _ => None,
            };
            value.map(OsString::from)
        };
        Settings::read(variable, 4_242).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_enough() {
        let settings = |file: &str, mode| {
            Ok(Some(Settings {
                file: Some(file.into()),
                ring: None,
                worst: None,
                worst_per_route: 3,
                mode,
                zstd: None,
                sched: None,
            }))
        };
        let one_in = Mode::Sampled { one_in: 100 };
        for (file, mode, expect) in [
            (None, Some("full"), Ok(None)),
            (None, Some("sampled:7"), Ok(None)),
            (Some(""), None, Ok(None)),
            (Some("a"), Some("off"), Ok(None)),
            (Some("a"), None, settings("a", Mode::Full)),
            (
                Some("a%p.ript"),
                Some(""),
                settings("a4242.ript", Mode::Full),
            ),
            (Some("a"), Some("sampled:100"), settings("a", one_in)),
            (Some("a"), Some("sampled:1"), settings("a", Mode::Full)),
        ] {
            assert_eq!(read(file, mode, None), expect, "{file:?} {mode:?}");
        }
    }

    #[test]
    fn a_ring_is_enough_too() {
        for (mode, expect) in [
            ("sampled:7", Some(Mode::Sampled { one_in: 7 })),
            ("metrics", None),
        ] {
            let variable = |name: &str| match name {
                RING => Some(OsString::from("/dev/shm/shop-%p.ring")),
                MODE => Some(OsString::from(mode)),
                _ => None,
            };
            let settings = Settings {
                file: None,
                ring: expect.map(|_| "/dev/shm/shop-4242.ring".into()),
                worst: None,
                worst_per_route: 3,
                mode: expect.unwrap_or(Mode::Metrics),
                zstd: None,
                sched: None,
            };
            assert_eq!(Settings::read(variable, 4_242), Ok(Some(settings)));
        }
    }

    #[test]
    fn numbers_need_no_file() {
        let lines = |every, has_detail| {
            Some(SchedSettings {
                every: Duration::from_millis(every),
                has_detail,
            })
        };
        let (full, metrics) = (Mode::Full, Mode::Metrics);
        let settings = |file: Option<&str>, mode, sched| {
            Ok(Some(Settings {
                file: file.map(PathBuf::from),
                ring: None,
                worst: None,
                worst_per_route: 3,
                mode,
                zstd: None,
                sched,
            }))
        };
        for (file, mode, sched, expect) in [
            (None, Some("metrics"), None, settings(None, metrics, None)),
            (
                Some("a"),
                Some("metrics"),
                None,
                settings(None, metrics, None),
            ),
            (
                None,
                None,
                Some("1000"),
                settings(None, metrics, lines(1_000, false)),
            ),
            (
                None,
                Some("full"),
                Some("10"),
                settings(None, metrics, lines(10, false)),
            ),
            (
                Some("a"),
                None,
                Some("86400000,detail"),
                settings(Some("a"), full, lines(86_400_000, true)),
            ),
            (None, Some("off"), Some("1000"), Ok(None)),
            (None, None, Some(""), Ok(None)),
        ] {
            assert_eq!(
                read(file, mode, sched),
                expect,
                "{file:?} {mode:?} {sched:?}"
            );
        }
    }

    #[test]
    fn a_level_is_one_that_zstd_has_or_off() {
        let level = |level: &'static str| {
            let variable = |name: &str| match name {
                FILE => Some(OsString::from("a")),
                ZSTD => Some(OsString::from(level)),
                _ => None,
            };
            let settings = Settings::read(variable, 1).map_err(|error| error.to_string());
            settings.map(|settings| settings.expect("a file is named").zstd)
        };
        assert_eq!(level("1"), Ok(Some(1)));
        assert_eq!(level("19"), Ok(Some(19)));
        assert_eq!((level("off"), level("")), (Ok(None), Ok(None)));
        for wrong in ["0", "20", "-1", "256", "on", "3 "] {
            let error = level(wrong).expect_err("it is none");
            let expect = format!("`{wrong}` is neither a level from 1 to 19 nor `off`");
            assert_eq!(error, format!("read RIPCORD_TRACE_ZSTD: {expect}"));
        }
    }

    #[test]
    fn what_is_no_mode_is_named() {
        for mode in [
            "fast",
            "metric",
            "sampled",
            "sampled:",
            "sampled:0",
            "sampled:-1",
            "full:1",
            "\u{1b}[1m",
        ] {
            let error = read(None, Some(mode), None).expect_err("it is none");
            let shown = format!(
                "read RIPCORD_TRACE_MODE: `{}` is none of",
                mode.escape_debug()
            );
            assert!(error.starts_with(&shown), "{error}");
        }
        let long = read(Some("a"), Some(&"x".repeat(1_000)), None).expect_err("it is none");
        assert!(long.len() < 220);
    }

    #[test]
    fn lines_that_cannot_be_printed_are_named() {
        for sched in [
            "0",
            "9",
            "86400001",
            "99999999999999999999999",
            "-1",
            "+1000",
            "1e3",
            "1000ms",
            " 1000",
            ",detail",
            "1000,",
            "1000,details",
            "1000,detail,detail",
            "yes",
        ] {
            let error = read(None, None, Some(sched)).expect_err("it is wrong");
            let expect = format!("read RIPCORD_SCHEDTRACE: `{sched}` is {LINES}");
            assert_eq!(error, expect);
        }
    }

    #[test]
    fn a_folder_for_the_worst_is_enough() {
        let read = |folder: &'static str, count: Option<&'static str>| {
            let variable = move |name: &str| match name {
                WORST => Some(OsString::from(folder)),
                PER_ROUTE => count.map(OsString::from),
                _ => None,
            };
            Settings::read(variable, 7).map_err(|error| error.to_string())
        };
        let settings = read("worst-%p", None).expect("it is right");
        let settings = settings.expect("it asks for something");
        assert_eq!(settings.worst, Some("worst-7".into()));
        assert_eq!((settings.file, settings.worst_per_route), (None, 3));
        assert_eq!(settings.mode, Mode::Full);
        assert_eq!(read("", None), Ok(None));
        let five = read("a", Some("5")).expect("it is right");
        assert_eq!(five.map(|settings| settings.worst_per_route), Some(5));
        for wrong in ["0", "101", "-1", "many"] {
            let error = read("a", Some(wrong)).expect_err("it is none");
            let expect = "is no number from 1 to 100";
            assert!(error.ends_with(expect) && error.contains(wrong), "{error}");
        }
    }
}

//! What the environment of a process says about recording it: [`Settings`].
//!
//! # Variables
//! | Variable | Example | Without it |
//! |---|---|---|
//! | `RIPCORD_TRACE` | `/var/tmp/shop-%p.ript` | no file is written |
//! | `RIPCORD_TRACE_RING` | `/dev/shm/shop.ring` | the recorder's memory ends with the process |
//! | `RIPCORD_TRACE_MODE` | `sampled:100` | `full` |
//!
//! One of the first two is enough. An empty variable counts as none, since that is how a shell takes one
//! away for a command. What is wrong is an error and not a default: who asks for a recording and gets none
//! finds out when it is too late.
//!
//! # Costs
//! The environment is read once, at the start of a program.

use crate::recorder::Mode;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Names the file that the recording goes to.
pub(crate) const FILE: &str = "RIPCORD_TRACE";

/// Names the file that the recorder's memory is in.
pub(crate) const RING: &str = "RIPCORD_TRACE_RING";

/// Says how much is recorded.
pub(crate) const MODE: &str = "RIPCORD_TRACE_MODE";

/// What `RIPCORD_TRACE`, `RIPCORD_TRACE_RING` and `RIPCORD_TRACE_MODE` ask for.
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
    /// Where the recording goes; `None` if it stays in memory.
    pub file: Option<PathBuf>,
    /// The file that the recorder's memory is in, if it is to outlive the process.
    pub ring: Option<PathBuf>,
    /// How much is recorded.
    pub mode: Mode,
}

impl Settings {
    /// Reads the environment of this process; `None` if it asks for nothing.
    ///
    /// * `RIPCORD_TRACE`: a file that does not exist yet. `%p` in it stands for the id of the process,
    ///   for programs that start themselves again.
    /// * `RIPCORD_TRACE_RING`: a file, with or without the other one, for the recorder's memory, so that
    ///   `ripcord trace recover` finds the last of it there when the process was killed. `%p` as above.
    /// * `RIPCORD_TRACE_MODE`: `full`, which is the default, `sampled:100` for one request in a hundred
    ///   ([`Mode::Sampled`]), or
    ///   `off`.
    ///
    /// # Errors
    /// A mode that is none of these.
    pub fn from_env() -> Result<Option<Self>, SettingsError> {
        Self::read(|name| std::env::var_os(name), std::process::id())
    }

    /// The same for any environment: tests have theirs, and the process's is left alone.
    fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        process: u32,
    ) -> Result<Option<Self>, SettingsError> {
        let named = |name| {
            let file = variable(name).filter(|file| !file.is_empty())?;
            // A name that is not UTF-8 is taken as it is.
            Some(match file.to_str() {
                Some(name) => name.replace("%p", &process.to_string()).into(),
                None => file.into(),
            })
        };
        let (file, ring) = (named(FILE), named(RING));
        if file.is_none() && ring.is_none() {
            return Ok(None);
        }
        let mode = variable(MODE).filter(|mode| !mode.is_empty());
        let mode = mode.map_or(Ok(Mode::Full), |mode| {
            let mode = mode.to_string_lossy();
            parse_mode(&mode).ok_or_else(|| SettingsError {
                mode: mode.chars().take(VALUE_SHOWN).collect(),
            })
        })?;
        Ok((mode != Mode::Off).then_some(Self { file, ring, mode }))
    }
}

/// What is shown of a value that is wrong, in characters.
const VALUE_SHOWN: usize = 64;

/// `None` if it is no mode. No spaces and no upper case: what is nearly right is named
/// instead of guessed.
fn parse_mode(text: &str) -> Option<Mode> {
    match text.split_once(':') {
        None if text == "full" => Some(Mode::Full),
        None if text == "off" => Some(Mode::Off),
        Some(("sampled", one_in)) => match one_in.parse().ok()? {
            0 => None,
            1 => Some(Mode::Full),
            one_in => Some(Mode::Sampled { one_in }),
        },
        _ => None,
    }
}

/// A mode in the environment that is none.
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
    /// What stands there, cut.
    mode: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read {MODE}: `{}` is none of `full`, `sampled:100` (one request in so many) and `off`",
            self.mode.escape_debug()
        )
    }
}

impl Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: Option<&str>, mode: Option<&str>) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            let value = match name {
                FILE => file,
                MODE => mode,
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
                mode,
            }))
        };
        let one_in = Mode::Sampled { one_in: 100 };
        assert_eq!(read(None, Some("full")), Ok(None));
        assert_eq!(read(Some(""), None), Ok(None));
        assert_eq!(read(Some("a"), Some("off")), Ok(None));
        assert_eq!(read(Some("a"), None), settings("a", Mode::Full));
        assert_eq!(
            read(Some("a%p.ript"), Some("")),
            settings("a4242.ript", Mode::Full)
        );
        assert_eq!(read(Some("a"), Some("sampled:100")), settings("a", one_in));
        assert_eq!(
            read(Some("a"), Some("sampled:1")),
            settings("a", Mode::Full)
        );
    }

    #[test]
    fn a_ring_is_enough_too() {
        let variable = |name: &str| match name {
            RING => Some(OsString::from("/dev/shm/shop-%p.ring")),
            MODE => Some(OsString::from("sampled:7")),
            _ => None,
        };
        let settings = Settings {
            file: None,
            ring: Some("/dev/shm/shop-4242.ring".into()),
            mode: Mode::Sampled { one_in: 7 },
        };
        assert_eq!(Settings::read(variable, 4_242), Ok(Some(settings)));
    }

    #[test]
    fn what_is_no_mode_is_named() {
        for mode in [
            "fast",
            "sampled",
            "sampled:",
            "sampled:0",
            "sampled:-1",
            "full:1",
            "\u{1b}[1m",
        ] {
            let error = read(Some("a"), Some(mode)).expect_err("it is none");
            assert!(
                error.contains(&format!("`{}`", mode.escape_debug())),
                "{error}"
            );
        }
        let long = read(Some("a"), Some(&"x".repeat(1_000))).expect_err("it is none");
        assert!(long.len() < 200);
    }
}

//! Why telemetry could not be set up, or not be flushed.

use super::settings::Signal;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// A value in a message is cut to this many characters.
const SHOWN_MAX: usize = 120;

/// Escapes and cuts a value, and hides user and password of a URL.
pub(super) fn shown(value: &str) -> String {
    let hidden = match (value.find("://"), value.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (front, rest) = value.split_at(scheme + 3);
            format!("{front}***{}", rest.split_at(at - scheme - 3).1)
        }
        _ => value.to_owned(),
    };
    let mut shown = String::new();
    for (index, char) in hidden.chars().enumerate() {
        if index == SHOWN_MAX {
            shown.push('…');
            break;
        }
        if char.is_control() {
            shown.extend(char.escape_debug());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Why telemetry could not be set up.
///
/// A collector that is down is not among the reasons: nothing is sent at the start.
///
/// # Examples
/// ```
/// use ripcord_otel::otlp::{InitError, Otlp};
///
/// match Otlp::builder().endpoint("ftp://collector").build() {
///     Err(InitError::Endpoint { reason, .. }) => {
///         assert_eq!(reason, "its scheme is neither http nor https");
///     }
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// An address is none that telemetry could be sent to.
    Endpoint {
        /// The setting or the variable of the environment.
        from: String,
        /// The address, without user and password.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` names a protocol that is not spoken here.
    Protocol {
        /// The variable of the environment.
        from: String,
        /// Its value.
        value: String,
    },
    /// A variable should hold milliseconds and does not.
    Number {
        /// The variable of the environment.
        from: String,
        /// Its value.
        value: String,
    },
    /// A header's name or value has a character that no header may have.
    Header {
        /// The name; the value may be a secret.
        name: String,
    },
    /// A share of traces is not between 0 and 1.
    Ratio(f64),
    /// A queue needs room for one at least.
    QueueSize(usize),
    /// The thread for export could not be started.
    Runtime(io::Error),
    /// The exporter of a signal could not be made.
    Exporter {
        /// Which.
        signal: Signal,
        /// In the words of the OpenTelemetry crate.
        reason: String,
    },
}

impl InitError {
    pub(super) fn endpoint(from: &str, value: &str, reason: &'static str) -> Self {
        Self::Endpoint {
            from: from.to_owned(),
            value: shown(value),
            reason,
        }
    }

    pub(super) fn protocol(from: &str, value: &str) -> Self {
        Self::Protocol {
            from: from.to_owned(),
            value: shown(value),
        }
    }

    pub(super) fn number(from: &str, value: &str) -> Self {
        Self::Number {
            from: from.to_owned(),
            value: shown(value),
        }
    }

    pub(super) fn header(name: &str) -> Self {
        Self::Header { name: shown(name) }
    }

    pub(super) fn exporter(signal: Signal, error: &impl fmt::Display) -> Self {
        Self::Exporter {
            signal,
            reason: shown(&error.to_string()),
        }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint {
                from,
                value,
                reason,
            } => write!(
                f,
                "use `{value}` ({from}) as the collector's address: {reason}"
            ),
            Self::Protocol { from, value } => write!(
                f,
                "use the protocol `{value}` ({from}): it is neither `grpc` nor `http/protobuf`"
            ),
            Self::Number { from, value } => {
                write!(f, "read `{value}` ({from}) as a number of milliseconds")
            }
            Self::Header { name } => write!(
                f,
                "send the header `{name}`: its name or its value has a character that none may have"
            ),
            Self::Ratio(ratio) => write!(f, "sample a share of {ratio}: it is not from 0 to 1"),
            Self::QueueSize(size) => write!(f, "make a queue of {size}: it needs room for one"),
            Self::Runtime(_) => f.write_str("start the thread for the export of telemetry"),
            Self::Exporter { signal, reason } => {
                write!(f, "make the exporter of {}: {reason}", signal.as_str())
            }
        }
    }
}

impl Error for InitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Runtime(error) => Some(error),
            _ => None,
        }
    }
}

/// Why telemetry is not known to have been delivered.
///
/// Telemetry is no reason to fail a process that has done its work: log it and go.
///
/// # Examples
/// ```
/// use ripcord_otel::otlp::FlushError;
///
/// let error = FlushError::Lost { spans: 3, logs: 0 };
/// assert_eq!(
///     format!("failed to {error}"),
///     "failed to deliver all telemetry: 3 spans and 0 log records are lost",
/// );
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FlushError {
    /// Time ran out; export goes on in the background until its own limit.
    Timeout {
        /// The time that was given.
        after: Duration,
        /// Spans that wait still.
        spans: usize,
        /// Log records that wait still.
        logs: usize,
    },
    /// Exports failed meanwhile: this much is lost.
    Lost {
        /// Spans.
        spans: u64,
        /// Log records.
        logs: u64,
    },
    /// A signal could not be delivered.
    Failed {
        /// The first one.
        signal: Signal,
        /// In the words of the OpenTelemetry crate.
        reason: String,
    },
    /// The thread that flushes could not be started.
    Thread(io::Error),
}

impl FlushError {
    pub(super) fn failed(signal: Signal, error: &impl fmt::Display) -> Self {
        Self::Failed {
            signal,
            reason: shown(&error.to_string()),
        }
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { after, spans, logs } => write!(
                f,
                "deliver all telemetry within {after:?}: {spans} spans and {logs} log records wait"
            ),
            Self::Lost { spans, logs } => write!(
                f,
                "deliver all telemetry: {spans} spans and {logs} log records are lost"
            ),
            Self::Failed { signal, reason } => write!(f, "deliver {}: {reason}", signal.as_str()),
            Self::Thread(_) => f.write_str("start a thread that flushes telemetry"),
        }
    }
}

impl Error for FlushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_no_password_and_no_control_character() {
        for (value, expect) in [
            ("http://c:4317", "http://c:4317"),
            ("http://user:secret@c:4317", "http://***@c:4317"),
            ("a@b", "a@b"),
            ("a\nb\u{1b}[2J", "a\\nb\\u{1b}[2J"),
        ] {
            assert_eq!(shown(value), expect);
        }
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN_MAX + 1);
    }
}

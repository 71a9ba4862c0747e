//! Where to export to: what the program says, else what the environment says, else the defaults.
//!
//! The names and the order are those of the specification (OTLP exporter configuration): the
//! program beats the environment, a variable of one signal beats the general one, and an empty
//! variable is none. An address is checked when it is read: a collector that cannot be reached is a
//! matter for later, one that cannot even be asked for is a mistake now.

use super::error::InitError;
use http::Uri;
use std::env;
use std::time::Duration;

/// How telemetry is sent.
///
/// # Examples
/// ```
/// use ripcord_otel::otlp::Protocol;
///
/// assert_eq!(Protocol::HttpBinary.as_str(), "http/protobuf");
/// ```
///
/// # Limitations
/// JSON over HTTP is not spoken here; every collector that takes it takes protobuf, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Protocol {
    /// OTLP over gRPC, usually port 4317.
    Grpc,
    /// OTLP over HTTP with protobuf, usually port 4318.
    HttpBinary,
}

impl Protocol {
    /// The value in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpBinary => "http/protobuf",
        }
    }

    /// Where a collector beside the process listens.
    const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::HttpBinary => "http://localhost:4318",
        }
    }
}

/// What is exported.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Spans,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// `spans`, `metrics`, `logs`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The part of a variable's name.
    const fn variable(self) -> &'static str {
        match self {
            Self::Spans => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// The part of a URL.
    const fn path(self) -> &'static str {
        match self {
            Self::Spans => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// What a variable of the environment holds, if that is anything.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The variable of the signal, else the general one; with its name.
fn of_signal(signal: Signal, what: &str) -> Option<(String, String)> {
    let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variable());
    let value = variable(&own)?;
    Some((own, value))
}

/// The variable of all signals; with its name.
fn general(what: &str) -> Option<(String, String)> {
    let name = format!("OTEL_EXPORTER_OTLP_{what}");
    let value = variable(&name)?;
    Some((name, value))
}

/// The protocol of all signals.
pub(super) fn protocol(given: Option<Protocol>) -> Result<Protocol, InitError> {
    let Some((from, value)) = general("PROTOCOL").filter(|_| given.is_none()) else {
        return Ok(given.unwrap_or(Protocol::HttpBinary));
    };
    let known = [Protocol::Grpc, Protocol::HttpBinary];
    let mut known = known.into_iter();
    known
        .find(|protocol| value.trim().eq_ignore_ascii_case(protocol.as_str()))
        .ok_or_else(|| InitError::protocol(&from, &value))
}

/// Where one signal goes.
pub(super) fn endpoint(
    given: Option<&str>,
    protocol: Protocol,
    signal: Signal,
) -> Result<String, InitError> {
    let base = |from: &str, value: &str| {
        let checked = check(from, value)?;
        Ok(match protocol {
            Protocol::Grpc => checked,
            Protocol::HttpBinary => format!("{}{}", checked.trim_end_matches('/'), signal.path()),
        })
    };
    if let Some(given) = given {
        return base("endpoint", given);
    }
    if let Some((from, value)) = of_signal(signal, "ENDPOINT") {
        return check(&from, &value);
    }
    match general("ENDPOINT") {
        Some((from, value)) => base(&from, &value),
        None => base("the default", protocol.default_endpoint()),
    }
}

/// An absolute URL of a host that can be connected to.
fn check(from: &str, value: &str) -> Result<String, InitError> {
    let value = value.trim();
    let fail = |reason: &'static str| InitError::endpoint(from, value, reason);
    let uri: Uri = value.parse().map_err(|_| fail("it is not a URL"))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return Err(fail("https needs the feature `tls` of ripcord-otel")),
        Some(_) => return Err(fail("its scheme is neither http nor https")),
        None => return Err(fail("it has no scheme, as in http://collector:4317")),
    }
    if host.is_empty() {
        return Err(fail("it has no host"));
    }
    if uri.query().is_some() {
        return Err(fail("it has a query"));
    }
    Ok(value.to_owned())
}

/// The limit of one export with its retries.
pub(super) fn timeout(given: Option<Duration>, signal: Signal) -> Result<Duration, InitError> {
    /// As the specification has it.
    const DEFAULT: Duration = Duration::from_secs(10);
    if let Some(given) = given {
        return Ok(given);
    }
    let Some((from, value)) = of_signal(signal, "TIMEOUT").or_else(|| general("TIMEOUT")) else {
        return Ok(DEFAULT);
    };
    millis(&from, &value)
}

fn millis(from: &str, value: &str) -> Result<Duration, InitError> {
    let millis = value.trim().parse();
    millis
        .map(Duration::from_millis)
        .map_err(|_| InitError::number(from, value))
}

/// How long an item waits for others; never nothing, for which the SDK's threads would spin.
pub(super) fn schedule(
    given: Option<Duration>,
    name: &str,
    default: Duration,
) -> Result<Duration, InitError> {
    let delay = match (given, variable(name)) {
        (Some(given), _) => given,
        (None, Some(value)) => millis(name, &value)?,
        (None, None) => default,
    };
    Ok(delay.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_gets_the_path_of_its_signal() {
        for (given, protocol, signal, expect) in [
            (
                "http://c:4317",
                Protocol::Grpc,
                Signal::Spans,
                "http://c:4317",
            ),
            (
                "http://c:4318",
                Protocol::HttpBinary,
                Signal::Spans,
                "http://c:4318/v1/traces",
            ),
            (
                "http://c:4318/",
                Protocol::HttpBinary,
                Signal::Logs,
                "http://c:4318/v1/logs",
            ),
            (
                " http://c/otel ",
                Protocol::HttpBinary,
                Signal::Metrics,
                "http://c/otel/v1/metrics",
            ),
            (
                "http://[::1]:4317",
                Protocol::Grpc,
                Signal::Logs,
                "http://[::1]:4317",
            ),
        ] {
            assert_eq!(endpoint(Some(given), protocol, signal).unwrap(), expect);
        }
    }

    #[test]
    fn a_schedule_is_never_nothing() {
        let schedule = |given| schedule(Some(given), "RIPCORD_NONE", Duration::ZERO).unwrap();
        assert_eq!(schedule(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(schedule(Duration::from_secs(3)), Duration::from_secs(3));
    }

    #[test]
    fn an_address_that_cannot_be_is_refused_with_its_reason() {
        for (value, reason) in [
            ("localhost:4317", "no scheme"),
            ("collector", "no scheme"),
            ("ftp://c", "neither http nor https"),
            ("http://", "not a URL"),
            ("http://c:4317?x=1", "query"),
            ("http://c d", "not a URL"),
            ("", "not a URL"),
        ] {
            let error = endpoint(Some(value), Protocol::Grpc, Signal::Spans).unwrap_err();
            assert!(error.to_string().contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn https_is_taken_where_the_feature_is() {
        let given = endpoint(Some("https://c"), Protocol::Grpc, Signal::Spans);
        if cfg!(feature = "tls") {
            assert_eq!(given.unwrap(), "https://c");
        } else {
            let error = given.unwrap_err();
            assert!(error.to_string().contains("feature `tls`"), "{error}");
        }
    }
}

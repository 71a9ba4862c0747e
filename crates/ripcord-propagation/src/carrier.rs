//! What headers are read from and written to.
//!
//! Two small traits in place of one type, since every protocol has headers of its own. They are used as
//! trait objects, so that reading and writing are compiled once and not for each carrier.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that can be read.
///
/// Implemented for [`http::HeaderMap`], which HTTP and gRPC use. For another carrier, as the
/// headers of a message, implement it with names in lower case.
///
/// Values are bytes: whoever reads a text decides what is valid. An implementation that leaves out
/// lines that it cannot represent leaves them out of the count of refusals, too.
///
/// # Examples
/// ```
/// use ripcord_propagation::{Carrier, Propagation};
///
/// struct Fields(Vec<(String, Vec<u8>)>);
/// impl Carrier for Fields {
///     fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
///         for (name, value) in &self.0 {
///             each(name, value);
///         }
///     }
/// }
///
/// let message = Fields(vec![("x-request-timeout-ms".into(), b"250".to_vec())]);
/// let incoming = Propagation::default().extract(&message);
/// assert_eq!(incoming.budget, Some(std::time::Duration::from_millis(250)));
/// ```
pub trait Carrier {
    /// Calls `each` with the lower-case name and the value of each line, in order.
    fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8]));
}

/// Headers that can be written.
///
/// Implemented for [`http::HeaderMap`]. An implementation has to do both: what is not taken out goes
/// on as a stale copy.
///
/// # Examples
/// The headers of a message broker, which are a list of pairs:
///
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{CarrierMut, PeerPolicy, Propagation};
///
/// #[derive(Default)]
/// struct Fields(Vec<(String, String)>);
/// impl CarrierMut for Fields {
///     fn set(&mut self, name: &str, value: &str) {
///         self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
///         self.0.push((name.to_owned(), value.to_owned()));
///     }
///     fn strip(&mut self, is_stale: &dyn Fn(&str) -> bool) {
///         self.0.retain(|(name, _)| !is_stale(&name.to_ascii_lowercase()));
///     }
/// }
///
/// let propagation = Propagation::default();
/// let job = propagation.originate().context(&Ctx::background());
/// let mut message = Fields(vec![("Traceparent".into(), "stale".into())]);
/// propagation.inject(&job, &PeerPolicy::internal(), &mut message)?;
/// let names: Vec<&str> = message.0.iter().map(|(name, _)| &**name).collect();
/// assert_eq!(names, ["traceparent", "x-request-id"]);
/// # Ok::<_, ripcord_core::Cancelled>(())
/// ```
pub trait CarrierMut {
    /// Replaces all lines of a header by one.
    ///
    /// `name` is a lower-case token; `value` is printable ASCII without line breaks, so that no
    /// carrier can be made to see two headers where one was meant.
    fn set(&mut self, name: &str, value: &str);

    /// So many headers are about to be set.
    fn reserve(&mut self, _lines: usize) {}

    /// Takes out every header for which `is_stale` is true.
    ///
    /// `is_stale` is asked with lower-case names. It is called before anything is written.
    fn strip(&mut self, is_stale: &dyn Fn(&str) -> bool);
}

impl Carrier for HeaderMap {
    fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            each(name.as_str(), value.as_bytes());
        }
    }
}

impl CarrierMut for HeaderMap {
    fn set(&mut self, name: &str, value: &str) {
        // What does not parse is not written. Neither happens: names are checked when a
        // propagation is built, and values come from encoders.
        let Ok(mut value) = HeaderValue::from_str(value) else {
            return;
        };
        if let Some((name, is_unique)) = known(name) {
            value.set_sensitive(is_unique);
            self.insert(name, value);
        } else if let Ok(other) = HeaderName::try_from(name) {
            value.set_sensitive(name.ends_with("timeout") || name.ends_with("timeout-ms"));
            self.insert(other, value);
        }
    }

    fn reserve(&mut self, lines: usize) {
        // A map that is full says so when something is set.
        let _ = self.try_reserve(lines);
    }

    fn strip(&mut self, is_stale: &dyn Fn(&str) -> bool) {
        // Nearly always there is nothing to take out, and then nothing is allocated.
        while let Some(stale) = self.keys().find(|name| is_stale(name.as_str())).cloned() {
            if let Entry::Occupied(entry) = self.entry(stale) {
                entry.remove_entry_mult();
            }
        }
    }
}

/// Names that need not be parsed and copied for each call, and whether their values are unique.
///
/// A value that is different each time fills the compression table of HTTP/2 and is never found in
/// it again; a signed one should not stay there. Marked as sensitive, they are not kept.
fn known(name: &str) -> Option<(HeaderName, bool)> {
    static NAMES: [Known; 9] = [
        Known::repeated("traceparent"),
        Known::repeated("tracestate"),
        Known::repeated("baggage"),
        Known::repeated("x-request-id"),
        Known::unique("x-request-timeout-ms"),
        Known::unique("grpc-timeout"),
        Known::unique("connect-timeout-ms"),
        Known::unique("x-context-ext"),
        Known::repeated("b3"),
    ];
    let known = NAMES.iter().find(|known| known.text == name)?;
    Some((known.name.clone(), known.is_unique))
}

struct Known {
    /// Of the name, which would be asked for it again and again.
    text: &'static str,
    name: HeaderName,
    is_unique: bool,
}

impl Known {
    const fn repeated(text: &'static str) -> Self {
        Self::new(text, false)
    }

    const fn unique(text: &'static str) -> Self {
        Self::new(text, true)
    }

    const fn new(text: &'static str, is_unique: bool) -> Self {
        Self {
            text,
            name: HeaderName::from_static(text),
            is_unique,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_headers_go_with_all_their_lines_and_others_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("baggage", "a=1"),
            ("accept", "text/html"),
            ("baggage", "b=2"),
            ("accept", "text/plain"),
            ("traceparent", "x"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.strip(&|name| name == "baggage" || name == "traceparent");
        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(left, [("accept", "text/html"), ("accept", "text/plain")]);
    }

    #[test]
    fn a_value_with_a_line_break_is_not_written() {
        let mut headers = HeaderMap::new();
        headers.set("baggage", "a=1\r\nx-admin: 1");
        assert!(headers.is_empty());
    }

    #[test]
    fn only_values_that_never_repeat_are_kept_out_of_compression() {
        let mut headers = HeaderMap::new();
        for name in ["grpc-timeout", "x-request-timeout-ms", "x-context-ext"] {
            headers.set(name, "1");
            assert!(headers[name].is_sensitive(), "{name}");
        }
        headers.set("baggage", "tenant=acme");
        assert!(!headers["baggage"].is_sensitive());
    }
}

//! [`PeerCause`]: why the other side gave up, as told in two headers of its answer.
//!
//! ```text
//! ripcord-cancel-kind = "cancelled" / "deadline_exceeded" / "dropped" / "panicked" /
//!                       "sibling_failed" / "shutdown" / "peer_gone" / "signal" / "custom"
//! ripcord-cancel-name = 1*128( %x21-24 / %x26-7E / "%" 2HEXDIG )   ; UTF-8, percent-encoded
//! ```
//!
//! Headers of their own rather than `grpc-message` or `grpc-status-details-bin`: the first is for
//! people and belongs to the application, the second wants a protobuf that every peer would have to
//! know. As plain text they can be read in a proxy's log.
//!
//! # Invariants
//! 1. What is written is visible ASCII of at most [`BYTES_MAX`] bytes a value, whatever a context
//!    is called: a name cannot smuggle a line break, and cannot fill the answer's headers.
//! 2. What is read is bounded by the same figure and holds no control character, whoever wrote it.

use http::{HeaderMap, HeaderName, HeaderValue};
use ripcord_core::{Cause, Kind};
use std::fmt;

/// The kind of the cause, as [`Kind::as_str`] has it.
pub(crate) const KIND: HeaderName = HeaderName::from_static("ripcord-cancel-kind");

/// The name of the context that ended, percent-encoded.
pub(crate) const NAME: HeaderName = HeaderName::from_static("ripcord-cancel-name");

/// What all headers of ours begin with; none of them is forwarded as it came.
pub(crate) const PREFIX: &str = "ripcord-";

/// The longest value of either header, in bytes.
pub(crate) const BYTES_MAX: usize = 128;

/// Every kind that can be read.
const KINDS: [Kind; 9] = [
    Kind::Cancelled,
    Kind::DeadlineExceeded,
    Kind::Dropped,
    Kind::Panicked,
    Kind::SiblingFailed,
    Kind::Shutdown,
    Kind::PeerGone,
    Kind::Signal,
    Kind::Custom,
];

/// Why the context of a call was done on the server, as the server told it.
///
/// Found with [`StatusExt::peer_cause`](crate::StatusExt::peer_cause). It is for logs and for
/// people: the status code is what a program decides by. What it adds to the code is which of
/// several limits or acts it was: a deadline of the request, or one that the server's own database
/// layer has set; a shutdown of the server, or of the scope that the handler belongs to.
///
/// It goes from a server to its client only. The other way round there is no place for it: a client
/// gives up by a reset, which carries a number and no text.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_grpc::StatusExt as _;
/// use tonic::Status;
///
/// let mut status = Status::deadline_exceeded("too late");
/// status.metadata_mut().insert("ripcord-cancel-kind", "deadline_exceeded".parse()?);
/// status.metadata_mut().insert("ripcord-cancel-name", "query%201".parse()?);
/// let cause = status.peer_cause().expect("it was told");
/// assert_eq!((cause.kind(), cause.name()), (Some(Kind::DeadlineExceeded), Some("query 1")));
/// assert_eq!(cause.to_string(), "deadline exceeded (context `query 1`)");
/// # Ok::<_, tonic::metadata::errors::InvalidMetadataValue>(())
/// ```
///
/// # Limitations
/// The peer may say what it likes. At most 128 bytes of each header are looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCause {
    kind: Option<Kind>,
    name: Option<String>,
}

impl PeerCause {
    /// The class of the cause; `None` if it is one that this version does not know.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The name of the context that ended, or whose deadline passed.
    ///
    /// Control characters are replaced; other characters are as the peer wrote them. A name that is
    /// longer than the header may be was cut by whoever wrote it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads the two headers; `None` if neither is there.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(KIND);
        let name = headers.get(NAME);
        if kind.is_none() && name.is_none() {
            return None;
        }
        Some(Self {
            kind: kind.and_then(|value| parse_kind(value.as_bytes())),
            name: name
                .map(|value| decode(value.as_bytes()))
                .filter(|name| !name.is_empty()),
        })
    }

    /// Writes the two headers, in place of any that are there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.remove(KIND);
        headers.remove(NAME);
        if let Some(kind) = self.kind {
            headers.insert(KIND, HeaderValue::from_static(kind.as_str()));
        }
        if let Some(name) = &self.name
            && let Ok(value) = HeaderValue::try_from(encode(name))
        {
            headers.insert(NAME, value);
        }
    }
}

impl From<&Cause> for PeerCause {
    fn from(cause: &Cause) -> Self {
        Self {
            kind: Some(cause.kind()),
            name: cause.name().map(str::to_owned),
        }
    }
}

impl fmt::Display for PeerCause {
    /// One line for logs; the name is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind}")?,
            None => f.write_str("ended for a reason that is not known here")?,
        }
        match &self.name {
            Some(name) => write!(f, " (context `{}`)", name.escape_debug()),
            None => Ok(()),
        }
    }
}

/// Replaces the headers of a peer by what was understood of them (invariant 2).
pub(crate) fn sanitise(headers: &mut HeaderMap) {
    if let Some(cause) = PeerCause::read(headers) {
        cause.write(headers);
    }
}

fn parse_kind(value: &[u8]) -> Option<Kind> {
    KINDS
        .into_iter()
        .find(|kind| kind.as_str().as_bytes() == value)
}

/// Percent-encodes all but visible ASCII, and `%` itself, up to the limit; never half a character.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let mut utf8 = [0; 4];
        let bytes = char.encode_utf8(&mut utf8).as_bytes();
        let is_plain = char.is_ascii_graphic() && char != '%';
        let len = if is_plain { 1 } else { bytes.len() * 3 };
        if out.len() + len > BYTES_MAX {
            break;
        }
        if is_plain {
            out.push(char);
        } else {
            for byte in bytes {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    let hex = char::from_digit(digit.into(), 16);
                    out.extend(hex.map(|hex| hex.to_ascii_uppercase()));
                }
            }
        }
    }
    out
}

/// Undoes [`encode`]; what is no escape stays as it is.
fn decode(value: &[u8]) -> String {
    let mut rest = value.get(..BYTES_MAX).unwrap_or(value);
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| unescape(tail)).flatten();
        bytes.push(escape.unwrap_or(first));
        rest = match escape {
            Some(_) => tail.get(2..).unwrap_or_default(),
            None => tail,
        };
    }
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(printable)
        .collect()
}

fn printable(char: char) -> char {
    if char.is_control() { '\u{fffd}' } else { char }
}

/// The byte that the next two characters stand for.
fn unescape(rest: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &[u8], name: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(KIND, HeaderValue::from_bytes(kind).unwrap());
        headers.insert(NAME, HeaderValue::from_bytes(name).unwrap());
        headers
    }

    #[test]
    fn every_kind_and_name_comes_back() {
        for kind in KINDS {
            for name in [
                "/shop.Orders/Get",
                "with space",
                "100%",
                "ä\u{1f600}",
                "a%20b",
            ] {
                let told = PeerCause {
                    kind: Some(kind),
                    name: Some(name.to_owned()),
                };
                let mut headers = HeaderMap::new();
                told.write(&mut headers);
                assert_eq!(PeerCause::read(&headers), Some(told), "{headers:?}");
            }
        }
    }

    #[test]
    fn what_is_written_is_visible_ascii_and_bounded() {
        for name in [
            "a\r\nb: c",
            "\0\u{1b}[31m",
            &"x".repeat(500),
            &"ä".repeat(500),
        ] {
            let encoded = encode(name);
            assert!(encoded.len() <= BYTES_MAX, "{encoded}");
            assert!(
                encoded.bytes().all(|byte| byte.is_ascii_graphic()),
                "{encoded}"
            );
            let shown: String = name.chars().map(printable).collect();
            assert!(shown.starts_with(&decode(encoded.as_bytes())), "{encoded}");
        }
        assert_eq!(encode(&"x".repeat(500)).len(), BYTES_MAX);
        // Six bytes a character: the limit is not a multiple, and no character is torn.
        assert_eq!(encode(&"ä".repeat(500)).len(), BYTES_MAX - BYTES_MAX % 6);
    }

    #[test]
    fn what_a_peer_writes_is_bounded_and_harmless() {
        for (name, expect) in [
            (&b"%0d%0a"[..], "\u{fffd}\u{fffd}"),
            (b"%1b[31mred", "\u{fffd}[31mred"),
            (b"%zz%4", "%zz%4"),
            (b"%", "%"),
            (b"%ff", "\u{fffd}"),
            (b"\xff", "\u{fffd}"),
        ] {
            let cause = PeerCause::read(&headers(b"shutdown", name)).unwrap();
            assert_eq!(cause.name(), Some(expect), "{name:?}");
        }
        let long = PeerCause::read(&headers(b"shutdown", &[b'x'; 5000])).unwrap();
        assert_eq!(long.name().map(str::len), Some(BYTES_MAX));
        for kind in [&b"shut down"[..], b"SHUTDOWN", b"", &[b'x'; 5000]] {
            assert_eq!(PeerCause::read(&headers(kind, b"n")).unwrap().kind(), None);
        }
        assert_eq!(PeerCause::read(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_passed_on_was_made_small_first() {
        let mut hostile = headers(&[b'k'; 5000], &[b'\xfe'; 5000]);
        hostile.append(NAME, HeaderValue::from_static("second"));
        sanitise(&mut hostile);
        assert_eq!(hostile.get(KIND), None);
        assert_eq!(hostile.get_all(NAME).iter().count(), 1);
        assert!(hostile.get(NAME).unwrap().len() <= BYTES_MAX);
    }

    #[test]
    fn an_empty_name_is_none() {
        let cause = PeerCause::read(&headers(b"signal", b"")).unwrap();
        assert_eq!(cause.name(), None);
        assert_eq!(cause.to_string(), "stopped by a signal");
    }
}

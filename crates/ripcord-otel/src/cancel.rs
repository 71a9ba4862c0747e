//! What is told of a cause: the event `ripcord.cancel`, and a hash that groups equal causes.

use crate::names::{attribute, event};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use ripcord_core::{Cause, Kind};
use std::panic::Location;

/// Text of a peer or of a user that goes into telemetry is cut to this many bytes.
const TEXT_MAX: usize = 1024;

/// A number that is equal for causes of one kind, name and place.
///
/// It is the attribute `cancel.stack_hash`: a search for it finds every request that the same
/// line ended under the same name. It does not change between runs, builds and machines, as long
/// as the line stays where it is: FNV-1a, 64 bits, of kind, name, file, line and column, where
/// the file of a published crate counts from the crate's folder.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
///
/// let end = |name: &'static str| {
///     let (ctx, guard) = Ctx::background().named(name).child();
///     guard.cancel(Kind::Shutdown);
///     ripcord_otel::cancel_hash(&ctx.cause().expect("cancelled"))
/// };
/// assert_eq!(end("import"), end("import"));
/// assert_ne!(end("import"), end("export"));
/// ```
///
/// # Limitations
/// The message and the error of a cause do not count: they may differ from request to request.
#[must_use]
pub fn cancel_hash(cause: &Cause) -> u64 {
    let mut hash = Fnv::new();
    hash.part(cause.kind().as_str());
    hash.part(cause.name().unwrap_or_default());
    if let Some(site) = cause.site() {
        hash.part(file_of(site));
        hash.bytes(&site.line().to_le_bytes());
        hash.bytes(&site.column().to_le_bytes());
    }
    hash.0
}

/// FNV-1a with 64 bits.
///
/// Not for tables that a peer can fill: whoever knows it can make texts collide. Here the texts are
/// of the program's own source.
struct Fnv(u64);

impl Fnv {
    /// The offset basis.
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// One multiplication for each byte.
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A part ends with a byte that no text has, so that `ab` + `c` is not `a` + `bc`.
    fn part(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0xff]);
    }
}

/// The file of a place, without the folder of the machine that built it.
///
/// Sources of the workspace are relative to it already. Those of a published crate lie in a
/// registry below the home of whoever built, `…/registry/src/<index>/<crate>-<version>/src/…`.
fn file_of<'a>(site: &'a Location<'static>) -> &'a str {
    without_registry(site.file())
}

fn without_registry(file: &str) -> &str {
    let below = |separator: char| {
        let (_, rest) = file.split_once(&*format!("registry{separator}src{separator}"))?;
        Some(rest.split_once(separator)?.1)
    };
    below('/').or_else(|| below('\\')).unwrap_or(file)
}

/// `src/gateway.rs:17`.
///
/// Without the column: a person looks for the line.
pub(crate) fn place(site: &Location<'static>) -> String {
    format!("{}:{}", file_of(site), site.line())
}

/// Adds the event to a span.
///
/// `label`: the cause in the words of the table of answers. `depth`: how many levels above the span's
/// own context the end came from, where that is known: zero for a request that was cancelled itself,
/// more for one that ended with its connection or its server. Together with the site it tells apart
/// what happened to one request from what happened to all.
///
/// Nothing is put together for a span that is not recorded.
pub(crate) fn add_event(
    span: &SpanRef<'_>,
    cause: &Cause,
    label: &'static str,
    depth: Option<usize>,
) {
    if span.is_recording() {
        let mut attributes = attributes(cause, label);
        let depth = depth.and_then(|depth| i64::try_from(depth).ok());
        attributes.extend(depth.map(|depth| KeyValue::new(attribute::EVENT_DEPTH, depth)));
        span.add_event(event::CANCEL, attributes);
    }
}

/// Who, where and why, as far as the cause knows.
fn attributes(cause: &Cause, label: &'static str) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(7);
    attributes.push(KeyValue::new(attribute::EVENT_SOURCE, label));
    attributes.push(KeyValue::new(attribute::EVENT_KIND, cause.kind().as_str()));
    let hash = format!("{:016x}", cancel_hash(cause));
    attributes.push(KeyValue::new(attribute::EVENT_STACK_HASH, hash));
    if let Some(site) = cause.site() {
        attributes.push(KeyValue::new(attribute::EVENT_SITE, place(site)));
    }
    if let Some(name) = cause.name() {
        let name = bounded(name).to_owned();
        attributes.push(KeyValue::new(attribute::EVENT_ORIGIN, name));
    }
    if let Some(message) = cause.message() {
        let message = bounded(message).to_owned();
        attributes.push(KeyValue::new(attribute::EVENT_MESSAGE, message));
    }
    attributes
}

/// Why a span is an error, in a few words: for its status.
pub(crate) fn description(cause: &Cause) -> String {
    match cause.message() {
        Some(message) => format!("{}: {}", cause.kind(), bounded(message)),
        None if cause.kind() == Kind::DeadlineExceeded => match cause.exceeded_by() {
            Some(late) => format!("{}, noticed {late:?} late", cause.kind()),
            None => cause.kind().to_string(),
        },
        None => cause.kind().to_string(),
    }
}

/// The front of a text, cut between two characters.
pub(crate) fn bounded(text: &str) -> &str {
    if text.len() <= TEXT_MAX {
        return text;
    }
    let mut end = TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // The index is a boundary below the length, by the lines above.
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of the algorithm's authors (draft-eastlake-fnv, appendix C).
        for (text, expect) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut hash = Fnv::new();
            hash.bytes(text.as_bytes());
            assert_eq!(hash.0, expect, "{text:?}");
        }
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let of = |parts: [&str; 2]| {
            let mut hash = Fnv::new();
            for part in parts {
                hash.part(part);
            }
            hash.0
        };
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }

    #[test]
    fn the_home_of_the_builder_is_not_part_of_a_place() {
        for (file, expect) in [
            ("src/main.rs", "src/main.rs"),
            ("crates/a/src/b.rs", "crates/a/src/b.rs"),
            (
                "/home/x/.cargo/registry/src/index-1/shop-1.2.3/src/lib.rs",
                "shop-1.2.3/src/lib.rs",
            ),
            (
                r"C:\x\registry\src\index-1\shop-1.2.3\src\lib.rs",
                r"shop-1.2.3\src\lib.rs",
            ),
            ("/registry/src/", "/registry/src/"),
        ] {
            assert_eq!(without_registry(file), expect);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let long = "\u{e9}".repeat(TEXT_MAX);
        assert_eq!(bounded(&long).len(), TEXT_MAX);
        let odd = format!("a{long}");
        assert_eq!(bounded(&odd).len(), TEXT_MAX - 1);
    }
}

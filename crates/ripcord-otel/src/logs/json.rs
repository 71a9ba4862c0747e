//! [`JsonLayer`]: one line of JSON for each event of `tracing`, with the ids of the request.
//!
//! # Invariants
//! 1. A line holds no line break and no control character: all text is escaped.
//! 2. What is foreign (the `Debug` of a field) runs before the lock of the writer is taken.

#![allow(
    clippy::disallowed_types,
    reason = "loom does not reach this crate; the lock guards one write"
)]

use super::LogIds;
use super::time::Rfc3339;
use ripcord_core::Ctx;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Writes each event as one line of JSON.
///
/// The keys are `timestamp`, `level`, `target`, `message`, `ctx` (the name of the current context),
/// `trace_id`, `span_id`, `trace_flags`, `request_id`, and `fields` with everything else. Those
/// that an event does not have are left out.
///
/// # Examples
/// ```
/// use ripcord_otel::logs::JsonLayer;
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let subscriber = tracing_subscriber::registry().with(JsonLayer::stdout());
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info!(rows = 17, "loaded");
/// });
/// // {"timestamp":"2026-11-20T09:30:00.000250Z","level":"INFO","target":"orders",
/// //  "message":"loaded","fields":{"rows":17}}
/// ```
///
/// # Costs
/// One allocation or two and one write under a lock. A writer that blocks blocks who logs: put a
/// non-blocking one in front of a slow device.
///
/// # Limitations
/// Spans of `tracing` are not part of a line; the ids tie it to its request.
#[must_use = "a layer does nothing until it is added to a subscriber"]
pub struct JsonLayer {
    writer: Mutex<Box<dyn io::Write + Send>>,
    lost: LostLines,
}

/// How many lines could not be written.
///
/// A log has no place to tell of its own failure; a clone of this does.
#[derive(Clone, Default, Debug)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    /// The number so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Relaxed: a snapshot of a counter.
        self.0.load(Ordering::Relaxed)
    }
}

impl JsonLayer {
    /// Writes to `writer`, one call of `write_all` a line.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::logs::JsonLayer;
    /// use std::fs::File;
    /// use tracing_subscriber::layer::SubscriberExt as _;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join("ripcord-otel-doc.jsonl");
    /// let layer = JsonLayer::new(File::create(&path)?);
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || tracing::info!("started"));
    /// assert!(std::fs::read_to_string(&path)?.ends_with("\"message\":\"started\"}\n"));
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    pub fn new(writer: impl io::Write + Send + 'static) -> Self {
        Self {
            writer: Mutex::new(Box::new(writer)),
            lost: LostLines::default(),
        }
    }

    /// Writes to the standard output.
    ///
    /// Where the programs that collect logs of containers look for them.
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }

    /// Tells how many lines could not be written; to be asked for before the layer is given away.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::logs::JsonLayer;
    ///
    /// let layer = JsonLayer::stdout();
    /// let lost = layer.lost();
    /// // … the layer goes into a subscriber, and `lost` into a metric …
    /// assert_eq!(lost.count(), 0);
    /// # drop(layer);
    /// ```
    pub fn lost(&self) -> LostLines {
        self.lost.clone()
    }

    fn write(&self, line: &str) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.write_all(line.as_bytes()).is_err() {
            // Relaxed: only the number counts (counter).
            self.lost.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for JsonLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLayer")
            .field("lost", &self.lost.count())
            .finish_non_exhaustive()
    }
}

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = Object::new();
        line.text("timestamp", &Rfc3339(opentelemetry::time::now()));
        line.text("level", metadata.level());
        line.text("target", &metadata.target());
        if let Some(message) = fields.message {
            line.text("message", &message);
        }
        Ctx::with_current(|ctx| {
            if let Some(name) = ctx.name() {
                line.text("ctx", &name);
            }
            if let Some(ids) = LogIds::of(ctx) {
                line.text("trace_id", &ids.trace_id);
                line.text("span_id", &ids.span_id);
                line.text("trace_flags", &format_args!("{:02x}", ids.flags.to_byte()));
                line.text("request_id", &ids.request_id.as_str());
            }
        });
        if !fields.others.is_empty() {
            line.raw("fields", &fields.others.end());
        }
        self.write(&(line.end() + "\n"));
    }
}

/// The fields of an event, sorted into the message and the rest.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: Object,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(format!("{value:?}"));
        } else {
            self.others.text(field.name(), &format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.others.text(field.name(), &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.others.text(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.raw(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.raw(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.raw(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for infinity.
        if value.is_finite() {
            self.others.raw(field.name(), &value);
        } else {
            self.others.text(field.name(), &value);
        }
    }
}

/// An object of JSON that is being written.
///
/// Written as it comes: no map is built first, and the keys keep their order.
struct Object(String);

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    fn new() -> Self {
        Self(String::from("{"))
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty() {
            self.0.push(',');
        }
        self.quoted(&key);
        self.0.push(':');
    }

    /// A value as a string.
    fn text(&mut self, key: &str, value: &dyn fmt::Display) {
        self.key(key);
        self.quoted(value);
    }

    /// A value that is JSON already.
    fn raw(&mut self, key: &str, value: &dyn fmt::Display) {
        self.key(key);
        // A `String` takes everything.
        let _ = write!(self.0, "{value}");
    }

    fn quoted(&mut self, value: &dyn fmt::Display) {
        self.0.push('"');
        let _ = write!(Escaped(&mut self.0), "{value}");
        self.0.push('"');
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Escapes what is written through it (RFC 8259, section 7).
///
/// Other characters go through as UTF-8.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                // C0, DEL and C1: the last two are legal in JSON, and terminals obey them.
                control if control.is_control() => {
                    write!(self.0, "\\u{:04x}", u32::from(control))?;
                }
                plain => self.0.push(plain),
            }
        }
        Ok(())
    }
}

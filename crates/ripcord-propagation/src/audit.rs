//! What a request did, for those who have to know later: [`Audit`].
//!
//! Entries are written on a pad that the contexts of the request share with the record of its call. The
//! record hands them over when the request ends. A handler may outlive its request: what it enters
//! then is handed over when the last context that leads to the pad is gone.
//!
//! *Invariant*: no more than [`AUDIT_ENTRIES_MAX`] entries are on the pad; the count goes up before an
//! entry is made, so that a loop that audits costs no memory beyond that.
//!
//! *Lock order*: the pad's lock is a leaf, and neither the sink nor the making of an entry runs under it.

use crate::carried::Carried;
use crate::json::Object;
use crate::observe::{Call, CallObserver, CallRecord, End, Ending};
use crate::policy::shown;
use crate::sync::Mutex;
use ripcord_core::{Ctx, Foreign, Value, contain};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// So many entries are kept of one request; what comes after them is counted.
///
/// The first ones are kept, as they say how it came to the rest.
pub const AUDIT_ENTRIES_MAX: usize = 256;

/// Collects what handlers say that they did, and hands it over when the request ends.
///
/// It is handed over in every case: also of a request whose client left and whose handler was
/// dropped after the third of five steps, which is when somebody asks.
///
/// A log tells what a service saw; an audit is what a request *did*: money that was moved, mail that
/// was sent, rows that were deleted. A request that did nothing has a report without entries.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{
///     Audit, Call, CallObserver, CtxAudit, Exchange, Propagation, Protocol, Side,
/// };
/// use std::sync::{Arc, mpsc};
///
/// let (sender, reports) = mpsc::channel();
/// let audit: Arc<dyn CallObserver> = Arc::new(Audit::new(move |report| {
///     drop(sender.send(report.to_string()));
/// }));
///
/// let server = Ctx::background();
/// let incoming = Propagation::default().extract(&HeaderMap::new());
/// let call = Call::new(Side::Server, Protocol::Http, "POST", "/pay");
/// let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), Some(&audit));
/// exchange.ctx().audit("card charged", [("amount", "12.50"), ("currency", "EUR")]);
/// drop(exchange);
/// let report = reports.recv().expect("one report");
/// assert!(report.contains(r#""what":"card charged","amount":"12.50""#), "{report}");
/// assert!(report.contains(r#""ending":"dropped""#), "{report}");
/// ```
///
/// # Costs
/// A few allocations for each request, and one or more for each entry. Cheap against what is worth an
/// entry.
///
/// # Limitations
/// A request that goes on after its end, in a handler that outlives its client or a task that nobody
/// waits for, has a second report of what it did then ([`is_late`](AuditReport::is_late)), when its last
/// context is gone. Of one request [`AUDIT_ENTRIES_MAX`] entries are kept. The sink runs where the request
/// ends, also in destructors: it should hand the report on, and not wait. A process that is killed
/// reports nothing: what must not be lost belongs into the transaction that it describes.
pub struct Audit {
    sink: Arc<dyn Fn(&AuditReport) + Send + Sync>,
}

impl Audit {
    /// Hands reports to `sink`: to a channel whose other end writes them where they are kept.
    pub fn new(sink: impl Fn(&AuditReport) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}

/// What a request did. Its `Display` is one line of JSON.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditReport {
    /// Id of the request.
    pub request_id: String,
    /// Trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// Method and path, of each at most 64 characters.
    pub call: String,
    /// How the request ended: with anything but `Complete` the entries may be half of what was meant.
    pub ending: Ending,
    /// What was done, in the order in which it was said; of several tasks, as they came.
    pub entries: Vec<AuditEntry>,
    /// Entries beyond [`AUDIT_ENTRIES_MAX`].
    pub dropped: usize,
    /// What was done after the request had ended: there was a report before this one.
    pub is_late: bool,
}

/// One thing that was done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When, since the request began.
    pub after: Duration,
    /// What: best a fixed text, with what differs in the fields.
    pub what: Cow<'static, str>,
    /// More about it.
    pub fields: Vec<(Cow<'static, str>, String)>,
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Object::begin(f)?;
        line.text("request_id", &self.request_id)?;
        line.text("trace_id", &self.trace_id)?;
        line.text("call", &self.call)?;
        let ending = match self.ending {
            Ending::Complete => "complete",
            Ending::Failed => "failed",
            Ending::Cancelled => "cancelled",
            Ending::Dropped => "dropped",
        };
        line.text("ending", ending)?;
        line.plain("entries", List(&self.entries))?;
        if self.dropped > 0 {
            line.plain("dropped", self.dropped)?;
        }
        if self.is_late {
            line.plain("late", true)?;
        }
        line.end()
    }
}

struct List<'a>(&'a [AuditEntry]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{entry}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entry = Object::begin(f)?;
        entry.plain(
            "after_ms",
            format_args!("{:.3}", self.after.as_secs_f64() * 1e3),
        )?;
        entry.text("what", &self.what)?;
        for (name, value) in &self.fields {
            entry.text(name, value)?;
        }
        entry.end()
    }
}

/// What the record of a request and its contexts share.
struct Pad {
    sink: Arc<dyn Fn(&AuditReport) + Send + Sync>,
    began: Instant,
    /// Entries that were announced, kept or not.
    said: AtomicUsize,
    /// What is to be handed over next.
    report: Mutex<AuditReport>,
}

impl Pad {
    /// Hands over what was entered so far; what comes from now on is late.
    fn hand_over(&self, ending: Ending) {
        // Relaxed: see `audit` (counter).
        let said = self.said.load(Ordering::Relaxed);
        let report = {
            let mut kept = self.report.lock();
            kept.ending = ending;
            kept.dropped = said.saturating_sub(AUDIT_ENTRIES_MAX);
            let next = AuditReport {
                entries: Vec::new(),
                is_late: true,
                ..kept.clone_head()
            };
            std::mem::replace(&mut *kept, next)
        };
        (self.sink)(&report);
    }
}

impl Drop for Pad {
    fn drop(&mut self) {
        let said = *self.said.get_mut();
        let report = self.report.get_mut();
        let dropped = said.saturating_sub(AUDIT_ENTRIES_MAX);
        let is_new = !report.entries.is_empty() || dropped > report.dropped;
        // Before the request has ended there is a record that holds the pad.
        if report.is_late && is_new {
            report.dropped = dropped;
            let _ = contain(Foreign::Observer, || (self.sink)(report));
        }
    }
}

impl AuditReport {
    /// The same without its entries.
    fn clone_head(&self) -> Self {
        Self {
            request_id: self.request_id.clone(),
            trace_id: self.trace_id.clone(),
            call: self.call.clone(),
            entries: Vec::new(),
            ..*self
        }
    }
}

/// The way of a context to the pad.
struct Ledger(Arc<Pad>);

/// Tasks that a request spawns speak for it, too.
impl Value for Ledger {}

/// Says what a request did: a method of its context, so that code deep below a handler can use it.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_propagation::CtxAudit as _;
///
/// fn delete_rows(ctx: &Ctx, table: &'static str, rows: u64) -> u64 {
///     // After it was done: what was only tried is for the log.
///     ctx.audit("rows deleted", [("table", table.to_owned()), ("rows", rows.to_string())]);
///     rows
/// }
/// // Works the same where nobody audits, as in a test.
/// assert_eq!(delete_rows(&Ctx::background(), "carts", 3), 3);
/// ```
pub trait CtxAudit {
    /// Enters something into the audit of the request; false if there is none.
    ///
    /// Names of fields should be fixed, values may come from anywhere: they are escaped when shown.
    /// `false` also where [`AUDIT_ENTRIES_MAX`] entries are there already. Whoever must not go on
    /// without an entry asks for the answer; most do not.
    fn audit<N: Into<Cow<'static, str>>, V: Into<String>>(
        &self,
        what: impl Into<Cow<'static, str>>,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> bool;
}

impl CtxAudit for Ctx {
    fn audit<N: Into<Cow<'static, str>>, V: Into<String>>(
        &self,
        what: impl Into<Cow<'static, str>>,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> bool {
        let Some(Ledger(pad)) = self.get() else {
            return false;
        };
        // Relaxed: bounds memory, and nothing is published by it (counter).
        if pad.said.fetch_add(1, Ordering::Relaxed) >= AUDIT_ENTRIES_MAX {
            return false;
        }
        let fields = fields.into_iter();
        let entry = AuditEntry {
            after: self.clock_now().saturating_duration_since(pad.began),
            what: what.into(),
            fields: fields
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        };
        pad.report.lock().entries.push(entry);
        true
    }
}

impl CallObserver for Audit {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        Box::new(Open {
            sink: Arc::clone(&self.sink),
            head: AuditReport {
                request_id: carried.request_id().as_str().to_owned(),
                trace_id: carried.trace.trace_id.to_string(),
                call: format!("{} {}", shown(call.method), shown(call.path)),
                ending: Ending::Dropped,
                entries: Vec::new(),
                dropped: 0,
                is_late: false,
            },
            pad: OnceLock::new(),
        })
    }
}

/// The audit of a request that has not ended.
struct Open {
    sink: Arc<dyn Fn(&AuditReport) + Send + Sync>,
    head: AuditReport,
    /// Made with the first context: its clock is the one that counts.
    pad: OnceLock<Arc<Pad>>,
}

impl Open {
    fn pad(&self, began: impl FnOnce() -> Instant) -> &Arc<Pad> {
        self.pad.get_or_init(|| {
            Arc::new(Pad {
                sink: Arc::clone(&self.sink),
                began: began(),
                said: AtomicUsize::new(0),
                report: Mutex::new(self.head.clone_head()),
            })
        })
    }
}

impl CallRecord for Open {
    fn attach(&self, ctx: Ctx) -> Ctx {
        let pad = self.pad(|| ctx.clock_now());
        ctx.with(Ledger(Arc::clone(pad)))
    }

    fn end(&mut self, end: &End<'_>) {
        if let Some(pad) = self.pad.get() {
            pad.hand_over(end.ending);
        } else {
            // It was never attached, so that nothing could be entered.
            self.head.ending = end.ending;
            (self.sink)(&self.head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, Propagation, Protocol, Side};
    use std::sync::mpsc;

    fn audited() -> (Exchange, mpsc::Receiver<AuditReport>) {
        let (sender, reports) = mpsc::channel();
        let audit: Arc<dyn CallObserver> = Arc::new(Audit::new(move |report| {
            sender.send(report.clone()).unwrap();
        }));
        let incoming = Propagation::default().originate();
        let server = Ctx::background();
        let call = Call::new(Side::Server, Protocol::Http, "POST", "/pay");
        let now = server.clock_now();
        (
            Exchange::begin(&server, incoming, call, now, Some(&audit)),
            reports,
        )
    }

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn entries_of_spawned_tasks_count_and_late_ones_have_a_report_of_their_own() {
        let (exchange, reports) = audited();
        let ctx = exchange.ctx().clone();
        let task = ctx.for_task();
        assert!(task.audit("in a task", [("key", "a\"b")]));
        exchange.complete();
        let report = reports.recv().unwrap();
        assert_eq!((report.ending, report.entries.len()), (Ending::Complete, 1));
        let text = report.to_string();
        assert!(
            text.contains(r#""what":"in a task","key":"a\"b""#),
            "{text}"
        );
        assert!(!report.is_late);

        // As by a handler that outlives its client.
        assert!(task.audit("late", NONE) && ctx.audit("later", NONE));
        drop(task);
        assert!(reports.try_recv().is_err(), "it is not over yet");
        drop(ctx);
        let late = reports.recv().unwrap();
        let what: Vec<_> = late.entries.iter().map(|entry| &*entry.what).collect();
        assert_eq!(what, ["late", "later"]);
        assert_eq!(late.request_id, report.request_id);
        assert_eq!(late.ending, Ending::Complete);
        assert!(late.to_string().ends_with(r#"],"late":true}"#), "{late}");
        assert!(!Ctx::background().audit("nobody listens", NONE));
    }

    #[test]
    fn a_request_that_is_over_when_it_ends_has_one_report() {
        let (exchange, reports) = audited();
        let ctx = exchange.ctx().clone();
        drop(exchange);
        drop(ctx);
        assert_eq!(reports.iter().count(), 1, "and the sink is gone");
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let (exchange, reports) = audited();
        for _ in 0..AUDIT_ENTRIES_MAX {
            assert!(exchange.ctx().audit("step", NONE));
        }
        for _ in 0..3 {
            assert!(!exchange.ctx().audit("step", NONE));
        }
        drop(exchange);
        let report = reports.recv().unwrap();
        assert_eq!(
            (report.entries.len(), report.dropped),
            (AUDIT_ENTRIES_MAX, 3)
        );
        assert!(report.to_string().ends_with(r#"],"dropped":3}"#));
        assert!(reports.recv().is_err(), "nothing of it is told again");
    }
}

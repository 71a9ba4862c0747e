//! The journal: which services a request reached, what it had left there, and what came of it.
//!
//! Requests are found by their id, which travels with them. Of those that are over only a few are
//! kept: one for each range of durations, the slowest, and the slowest of those that ran out of
//! time. So the memory is bounded, whatever the load.
//!
//! # Invariants
//! 1. A trip is under way from the arrival at the gateway until the gateway has answered and every
//!    hop that was noted has ended.

use super::tally::lock;
use super::topology::Service;
use ripcord::Ctx;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one service made of a request.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) service: Service,
    pub(super) route: &'static str,
    /// Since the arrival at the gateway.
    pub(super) arrived: Duration,
    /// The budget that it was told, after its policy.
    pub(super) left: Option<Duration>,
    /// Who had set the deadline, if the caller had one of its own for this call.
    pub(super) limit: Option<String>,
    /// `None` if it has not ended.
    pub(super) end: Option<End>,
}

/// How a hop ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) took: Duration,
    /// An HTTP status, or the name of a gRPC status; `None` if nobody was there to be answered.
    pub(super) answer: Option<String>,
    /// Kind of the cause, if the context was done first.
    pub(super) cause: Option<&'static str>,
}

/// The way of one request.
#[derive(Clone, Debug)]
pub(super) struct Trip {
    pub(super) id: String,
    /// In the order of their arrival; the first one is the gateway.
    pub(super) hops: Vec<Hop>,
    begun: Instant,
    /// Hops that have not ended.
    open: usize,
    /// Deadlines that callers set for one of their calls.
    limits: Vec<(Service, String)>,
}

impl Trip {
    /// What the gateway answered, and after how long.
    pub(super) fn answer(&self) -> Option<&End> {
        self.hops.first()?.end.as_ref()
    }
}

/// What is kept of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Picked {
    /// As long as half of all that were answered 200.
    pub(super) typical: Option<Trip>,
    /// The slowest that was answered 200.
    pub(super) slowest: Option<Trip>,
    /// The slowest that was answered 504.
    pub(super) late: Option<Trip>,
    /// Requests that were not followed, because too many were under way.
    pub(super) missed: u64,
}

#[derive(Debug)]
pub(super) struct Journal {
    /// For its clock.
    root: Ctx,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    under_way: HashMap<String, Trip>,
    /// By range of durations: how many, and the last one.
    good: BTreeMap<u32, (u64, Trip)>,
    slowest: Option<Trip>,
    late: Option<Trip>,
    missed: u64,
}

impl Journal {
    pub(super) fn new(root: &Ctx) -> Arc<Self> {
        Arc::new(Self {
            root: root.clone(),
            book: Mutex::default(),
        })
    }

    /// A request arrives at a service.
    pub(super) fn begin(
        self: &Arc<Self>,
        service: Service,
        route: &'static str,
        id: &str,
        left: Option<Duration>,
    ) -> Entry {
        let now = self.root.clock_now();
        let at = lock(&self.book).begin(service, route, id, left, now);
        Entry(at.map(|at| (Arc::clone(self), id.to_owned(), at)))
    }

    /// A caller has set a deadline of its own, of this name, for its call of a service.
    pub(super) fn limited(&self, id: &str, to: Service, limit: &str) {
        if let Some(trip) = lock(&self.book).under_way.get_mut(id)
            && trip.limits.len() < HOPS_MAX
        {
            trip.limits.push((to, limit.to_owned()));
        }
    }

    /// Ends the journal; what is worth telling.
    pub(super) fn pick(&self) -> Picked {
        let mut book = std::mem::take(&mut *lock(&self.book));
        for (_, trip) in std::mem::take(&mut book.under_way) {
            book.keep(trip);
        }
        Picked {
            typical: book.median(),
            slowest: book.slowest,
            late: book.late,
            missed: book.missed,
        }
    }
}

/// A hop that has begun. Dropped without an end, the hop has none.
#[must_use = "the hop ends by `end`"]
#[derive(Debug)]
pub(super) struct Entry(Option<(Arc<Journal>, String, usize)>);

impl Entry {
    pub(super) fn end(self, end: End) {
        if let Some((journal, id, at)) = self.0 {
            lock(&journal.book).end(&id, at, end);
        }
    }
}

impl Book {
    /// Notes a hop; its place in the trip, if it is followed.
    fn begin(
        &mut self,
        service: Service,
        route: &'static str,
        id: &str,
        left: Option<Duration>,
        now: Instant,
    ) -> Option<usize> {
        if service == Service::Gateway {
            if self.under_way.len() >= UNDER_WAY_MAX {
                self.missed += 1;
                return None;
            }
            let trip = Trip {
                id: id.to_owned(),
                hops: Vec::new(),
                begun: now,
                open: 0,
                limits: Vec::new(),
            };
            self.under_way.insert(id.to_owned(), trip);
        }
        let trip = self.under_way.get_mut(id)?;
        if trip.hops.len() >= HOPS_MAX {
            return None;
        }
        let mut limits = trip.limits.iter();
        let limit = limits.find(|(to, _)| *to == service);
        trip.hops.push(Hop {
            service,
            route,
            arrived: now.saturating_duration_since(trip.begun),
            left,
            limit: limit.map(|(_, name)| name.clone()),
            end: None,
        });
        trip.open += 1;
        Some(trip.hops.len() - 1)
    }

    fn end(&mut self, id: &str, at: usize, end: End) {
        let Some(trip) = self.under_way.get_mut(id) else {
            return;
        };
        if let Some(hop) = trip.hops.get_mut(at) {
            hop.end = Some(end);
            trip.open -= 1;
        }
        if trip.open == 0
            && trip.answer().is_some()
            && let Some(trip) = self.under_way.remove(id)
        {
            self.keep(trip);
        }
    }

    /// Keeps a trip in place of one that is worth less.
    fn keep(&mut self, trip: Trip) {
        let Some(end) = trip.answer() else { return };
        let took = end.took;
        let is_slower = |than: &Option<Trip>| {
            let than = than.as_ref().and_then(Trip::answer);
            than.is_none_or(|than| than.took < took)
        };
        match end.answer.as_deref() {
            Some("200") => {
                if is_slower(&self.slowest) {
                    self.slowest = Some(trip.clone());
                }
                let count = self.good.get(&range(took)).map_or(0, |(count, _)| *count);
                self.good.insert(range(took), (count + 1, trip));
            }
            Some("504") if is_slower(&self.late) => self.late = Some(trip),
            _ => {}
        }
    }

    fn median(&mut self) -> Option<Trip> {
        let all: u64 = self.good.values().map(|(count, _)| *count).sum();
        let mut left = all.div_ceil(2);
        let mut ranges = std::mem::take(&mut self.good).into_values();
        let found = ranges.find(|(count, _)| {
            left = left.saturating_sub(*count);
            left == 0
        });
        found.map(|(_, trip)| trip)
    }
}

/// Eight ranges from each power of two to the next: 500 of them span every duration there is.
fn range(took: Duration) -> u32 {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(8);
    let power = micros.ilog2();
    let eighth = (micros >> (power - 3)) & 7;
    power * 8 + u32::try_from(eighth).unwrap_or_default()
}

/// So many requests are followed at a time.
const UNDER_WAY_MAX: usize = 4096;

/// So many hops of a request are noted.
const HOPS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Arc<Journal> {
        Journal::new(&Ctx::background())
    }

    fn end(millis: u64, answer: &str) -> End {
        End {
            took: Duration::from_millis(millis),
            answer: Some(answer.to_owned()),
            cause: None,
        }
    }

    /// A request that only the gateway has seen.
    fn request(journal: &Arc<Journal>, id: &str, millis: u64, answer: &str) {
        let entry = journal.begin(Service::Gateway, "POST /checkout", id, None);
        entry.end(end(millis, answer));
    }

    fn ids(picked: &Picked) -> [Option<&str>; 3] {
        [&picked.typical, &picked.slowest, &picked.late]
            .map(|trip| trip.as_ref().map(|trip| trip.id.as_str()))
    }

    #[test]
    fn the_typical_the_slowest_and_the_late_one_are_kept() {
        let journal = journal();
        assert_eq!(ids(&journal.pick()), [None; 3]);
        for (id, millis, answer) in [
            ("quick", 2, "200"),
            ("usual", 14, "200"),
            ("slow", 900, "200"),
            ("refused", 5000, "503"),
            ("late", 300, "504"),
            ("very late", 3000, "504"),
        ] {
            request(&journal, id, millis, answer);
        }
        let found = journal.pick();
        assert_eq!(
            ids(&found),
            [Some("usual"), Some("slow"), Some("very late")]
        );
    }

    #[test]
    fn a_hop_that_goes_on_after_the_answer_belongs_to_its_request() {
        let journal = journal();
        let gateway = journal.begin(Service::Gateway, "POST /checkout", "7", None);
        journal.limited("7", Service::Tax, "tax tier");
        let left = Duration::from_millis(230);
        let tax = journal.begin(Service::Tax, "POST /tax", "7", Some(left));
        let late = journal.begin(Service::Risk, "/shop.Risk/Score", "7", None);
        gateway.end(end(300, "200"));
        tax.end(end(1500, "200"));
        drop(late);
        let trip = journal.pick().typical.unwrap();
        let [gateway, tax, risk] = &trip.hops[..] else {
            panic!("{trip:?}")
        };
        assert_eq!(
            (gateway.service, gateway.limit.as_deref()),
            (Service::Gateway, None)
        );
        assert_eq!(
            (tax.left, tax.limit.as_deref()),
            (Some(left), Some("tax tier"))
        );
        assert_eq!(tax.end.as_ref().unwrap().took, Duration::from_millis(1500));
        assert!(risk.end.is_none() && risk.limit.is_none());
    }

    #[test]
    fn what_nobody_has_announced_is_not_followed() {
        let journal = journal();
        journal.limited("7", Service::Tax, "tax tier");
        journal
            .begin(Service::Order, "POST /orders", "7", None)
            .end(end(1, "200"));
        assert_eq!(ids(&journal.pick()), [None; 3]);
    }

    #[test]
    fn memory_is_bounded() {
        let journal = journal();
        let begin =
            |id: usize| journal.begin(Service::Gateway, "POST /checkout", &id.to_string(), None);
        let entries: Vec<Entry> = (0..=UNDER_WAY_MAX).map(begin).collect();
        let hops: Vec<Entry> = (0..2 * HOPS_MAX)
            .map(|_| journal.begin(Service::Order, "POST /orders", "0", None))
            .collect();
        assert_eq!(lock(&journal.book).under_way["0"].hops.len(), HOPS_MAX);
        drop((entries, hops));
        assert_eq!(journal.pick().missed, 1);
        assert_eq!(range(Duration::MAX), 64 * 8 - 1);
        assert_eq!(range(Duration::ZERO), range(Duration::from_micros(8)));
    }
}

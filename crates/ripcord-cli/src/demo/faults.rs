//! The faults: what each one is, and which request gets which.
//!
//! A client sends a fault in the header [`HEADER`]; from the gateway on it travels in the baggage of
//! its request, and the service that it is about acts on it. Each one comes early in the run once,
//! whatever its rate, and from then on by seed.

use axum::http::HeaderMap;
use ripcord::Ctx;
use ripcord_propagation::CtxCarried;
use ripcord_wire::baggage::Baggage;
use std::time::Duration;

/// The header in which a client sends a fault: at the edge no baggage is taken.
pub(super) const HEADER: &str = "x-demo-fault";

/// The tag under which a recording knows the contexts of a request with a fault.
pub(super) const TAG: &str = "demo.fault";

/// The member of baggage in which it travels on.
const KEY: &str = "demo.fault";

/// A classic way in which a service does not stop, or stops what it should not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    SlowRisk,
    HangUp,
    BlockedThread,
    DeafLoop,
    NestedTimeout,
    Outlive,
    SlowQuery,
    UnreadUpload,
    IgnoresDeadline,
    WrongClock,
    StaleTimeout,
    Signal,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::SlowRisk,
        Self::HangUp,
        Self::BlockedThread,
        Self::DeafLoop,
        Self::NestedTimeout,
        Self::Outlive,
        Self::SlowQuery,
        Self::UnreadUpload,
        Self::IgnoresDeadline,
        Self::WrongClock,
        Self::StaleTimeout,
        Self::Signal,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SlowRisk => "slow-risk",
            Self::HangUp => "hang-up",
            Self::BlockedThread => "blocked-thread",
            Self::DeafLoop => "deaf-loop",
            Self::NestedTimeout => "nested-timeout",
            Self::Outlive => "outlive",
            Self::SlowQuery => "slow-query",
            Self::UnreadUpload => "unread-upload",
            Self::IgnoresDeadline => "ignores-deadline",
            Self::WrongClock => "wrong-clock",
            Self::StaleTimeout => "stale-timeout",
            Self::Signal => "signal",
        }
    }

    /// What it does, in one line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::SlowRisk => "the risk service takes 5 s, more than anybody gives it",
            Self::HangUp => "the client hangs up while the order is being placed",
            Self::BlockedThread => "the risk service blocks its thread in async code for 800 ms",
            Self::DeafLoop => "a loop in the inventory never looks at its context",
            Self::NestedTimeout => "the order service gives risk 5 s inside of a budget of 3 s",
            Self::Outlive => "notify leaves a task behind that goes on after its request",
            Self::SlowQuery => "the inventory runs a join without a condition in SQLite",
            Self::UnreadUpload => "the client leaves behind an upload that nobody reads",
            Self::IgnoresDeadline => "the tax service, which knows no deadlines, takes 1.5 s",
            Self::WrongClock => {
                "a client whose clock is a minute behind sends the time of its deadline"
            }
            Self::StaleTimeout => {
                "the order service forwards all it was sent, its time-out included"
            }
            Self::Signal => "the process gets a SIGTERM while the load runs",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// The fault that a client sends along.
    pub(super) fn sent_in(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers.get(HEADER)?.to_str().ok()?)
    }

    /// The fault that travels with a request.
    pub(super) fn of(ctx: &Ctx) -> Option<Self> {
        Self::in_baggage(ctx.baggage()?)
    }

    pub(super) fn in_baggage(baggage: &Baggage) -> Option<Self> {
        Self::named(&baggage.get(KEY)?)
    }

    /// The same request with this fault in its baggage.
    pub(super) fn put_into(self, ctx: &Ctx) -> Ctx {
        let baggage = ctx.baggage().cloned().unwrap_or_default();
        // A name is one short word, so there is room for it.
        match baggage.with(KEY, self.name()) {
            Ok(baggage) => ctx.with_baggage(baggage),
            Err(_) => ctx.clone(),
        }
    }

    /// Says in a recording that this context has the fault that travels with it.
    pub(super) fn tag(ctx: &Ctx) {
        if let Some(fault) = Self::of(ctx) {
            ctx.tag(TAG, fault.name());
        }
    }

    /// How much time the client gives a request with this fault, if less than others.
    pub(super) fn budget(self) -> Option<Duration> {
        match self {
            Self::BlockedThread | Self::DeafLoop | Self::SlowQuery => {
                Some(Duration::from_millis(300))
            }
            _ => None,
        }
    }

    /// How many of 10 000 requests get it; the signal is no request's.
    fn rate(self) -> u64 {
        match self {
            Self::Signal => 0,
            // Each of them is a dozen requests.
            Self::WrongClock => 5,
            Self::BlockedThread => 10,
            Self::DeafLoop | Self::SlowRisk => 20,
            Self::SlowQuery
            | Self::Outlive
            | Self::UnreadUpload
            | Self::IgnoresDeadline
            | Self::StaleTimeout => 30,
            Self::HangUp | Self::NestedTimeout => 50,
        }
    }
}

/// Which request gets which fault; the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    seed: u64,
    faults: Vec<Fault>,
}

impl Schedule {
    pub(super) fn new(seed: u64, faults: &[Fault]) -> Self {
        let faults = faults.iter().copied();
        Self {
            seed,
            faults: faults.filter(|fault| fault.rate() > 0).collect(),
        }
    }

    /// The fault of the `index`th request.
    pub(super) fn fault(&self, index: u64) -> Option<Fault> {
        let first = index.checked_sub(FIRST_AT);
        if let Some(since) = first.filter(|since| since % FIRST_GAP == 0)
            && let Ok(at) = usize::try_from(since / FIRST_GAP)
            && let Some(fault) = self.faults.get(at)
        {
            return Some(*fault);
        }
        let mut draw = noise(self.seed, index) % 10_000;
        for fault in &self.faults {
            if draw < fault.rate() {
                return Some(*fault);
            }
            draw -= fault.rate();
        }
        None
    }
}

/// The first request with a fault, and how many requests lie between the first of each.
const FIRST_AT: u64 = 4;
const FIRST_GAP: u64 = 4;

/// A number that looks random and is the same for the same arguments (splitmix64, Steele et
/// al., OOPSLA 2014).
pub(super) fn noise(seed: u64, index: u64) -> u64 {
    let step = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = seed.wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A duration between `from` and `to` milliseconds, the same for the same arguments.
pub(super) fn jitter(seed: u64, index: u64, from: u64, to: u64) -> Duration {
    Duration::from_micros(from * 1000 + noise(seed, index) % ((to - from) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("earthquake"), None);
    }

    #[test]
    fn a_fault_travels_in_baggage() {
        let request = ripcord_propagation::Propagation::default().originate();
        let ctx = request.context(&Ctx::background());
        assert_eq!(Fault::of(&ctx), None);
        assert_eq!(
            Fault::of(&Fault::Outlive.put_into(&ctx)),
            Some(Fault::Outlive)
        );
    }

    #[test]
    fn each_fault_comes_early_and_then_rarely() {
        let schedule = Schedule::new(1, &Fault::ALL);
        let early: Vec<Fault> = (0..100).filter_map(|i| schedule.fault(i)).collect();
        for fault in Fault::ALL.into_iter().filter(|fault| fault.rate() > 0) {
            assert!(early.contains(&fault), "{fault:?}");
        }
        let all = (0..10_000).filter_map(|i| schedule.fault(i)).count();
        assert!((100..400).contains(&all), "{all} of 10 000 requests");
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed| -> Vec<_> {
            let schedule = Schedule::new(seed, &Fault::ALL);
            (0..2000).map(|i| schedule.fault(i)).collect()
        };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!((0..500).all(|i| Schedule::new(7, &[]).fault(i).is_none()));
    }
}

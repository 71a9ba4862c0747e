//! The recorder's door to time: ticks of one clock for all threads, and what turns them into time.
//!
//! An event costs one reading of the clock, and that is most of its cost. So the time stamp counter of
//! the processor is read where the operating system itself trusts it, and the operating system's
//! monotonic clock elsewhere. A recorder that is given a clock uses that one: for tests, whose
//! trace is then the same in every run.
//!
//! # Invariants
//! 1. Raw values begin at [`ORIGIN_NS`] and not at zero, so that what a context says of a time before
//!    the recorder has a tick too.
//!
//! # Limitations
//! How fast the counter runs is measured, over a millisecond at first and over the life of the recorder
//! later. Durations that are told in ticks, as how far away a deadline is, are off by some parts in
//! 100,000 at the beginning. Times of events are not: a trace has two readings of all clocks.
//!
//! # Raw values, ticks, nanoseconds
//! A *raw* value is what the clock gives, in its own unit. A *tick* is a raw value without
//! its lowest six bits: what traces count in, because differences of ticks are short.
//! *Nanoseconds* are of the monotonic clock and of the day. Within the recorder times are
//! compared as raw values, and turned into ticks when they are written.
//!
//! # Costs
//! A reading of the counter takes about a dozen nanoseconds, one of the operating system's
//! clock twice as much; a full [`TraceClock::read`] reads the latter three times.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]

use ripcord_core::{Clock, SystemClock};
use ripcord_trace_format::ClockKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What raw values begin with: an hour, in nanoseconds.
const ORIGIN_NS: u64 = 3_600 * 1_000_000_000;

/// How long the counter is measured at first.
const FIRST_MEASURE: Duration = Duration::from_millis(1);

/// Readings of two clocks, of which the nearest two count: a thread may be preempted between them.
const PAIRS: usize = 8;

/// Raw values are shifted right by so many bits, which makes ticks of some 64 ns.
const SHIFT: u32 = 6;

/// All clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Of the trace's own clock.
    pub(crate) tick: u64,
    /// Nanoseconds of the monotonic clock, from [`ORIGIN_NS`] at the start of the recorder.
    pub(crate) monotonic_ns: u64,
    /// Nanoseconds since 1970; with a clock of a test those since the start of the
    /// recorder.
    pub(crate) wall_ns: u64,
}

/// Which clock is read.
#[derive(Clone)]
enum Source {
    /// The value of the counter that stands for `started`.
    Counter(u64),
    /// The monotonic clock of the operating system.
    System,
    /// A clock that the recorder was given.
    Given(Arc<dyn Clock>),
}

/// The clock of a recorder.
pub(crate) struct TraceClock {
    /// Chosen once: a trace has one clock.
    source: Source,
    /// What raw values of clocks other than the counter are counted from.
    started: Instant,
    /// The time of day then, as the file's header says it.
    started_wall_ns: u64,
    /// Raw values in a second.
    per_second: AtomicU64,
    /// Nanoseconds in a raw value, times 2³²: a division takes longer than all else that is counted of a poll.
    per_raw: AtomicU64,
}

impl TraceClock {
    /// The fastest clock that can be trusted on this machine.
    pub(crate) fn system() -> Self {
        if !is_counter_trusted() {
            return Self::new(Source::System, SystemClock.now());
        }
        // The two are read as one: what lies between them is an error of every measure.
        let pairs = (0..PAIRS).map(|_| {
            let before = SystemClock.now();
            let counter = counter();
            (
                SystemClock.now().saturating_duration_since(before),
                before,
                counter,
            )
        });
        let nearest = pairs.min_by_key(|(apart, ..)| *apart);
        let Some((apart, before, counter)) = nearest else {
            return Self::new(Source::System, SystemClock.now());
        };
        let started = before.checked_add(apart / 2).unwrap_or(before);
        let clock = Self::new(Source::Counter(counter), started);
        while SystemClock.now().saturating_duration_since(started) < FIRST_MEASURE {
            std::hint::spin_loop();
        }
        clock.measure();
        clock
    }

    /// The clock of a test.
    pub(crate) fn given(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self::new(Source::Given(clock), started)
    }

    /// A clock whose units are nanoseconds, until it is measured.
    fn new(source: Source, started: Instant) -> Self {
        let started_wall_ns = match &source {
            // A test's trace does not depend on the day.
            Source::Given(_) => 0,
            _ => wall_ns(),
        };
        Self {
            source,
            started,
            started_wall_ns,
            per_second: AtomicU64::new(1_000_000_000),
            per_raw: AtomicU64::new(1 << 32),
        }
    }

    /// The same clock with a measure of its own: for who reads it beside the recorder.
    #[cfg_attr(
        not(all(feature = "ring-file", unix)),
        allow(dead_code, reason = "nobody reads it beside the recorder")
    )]
    pub(crate) fn twin(&self) -> Self {
        Self {
            source: self.source.clone(),
            started: self.started,
            started_wall_ns: self.started_wall_ns,
            // Relaxed both: see `raw_in`.
            per_second: AtomicU64::new(self.per_second.load(Ordering::Relaxed)),
            per_raw: AtomicU64::new(self.per_raw.load(Ordering::Relaxed)),
        }
    }

    /// The clock, as full as it comes.
    #[inline]
    pub(crate) fn raw(&self) -> u64 {
        match &self.source {
            Source::Counter(first) => counter().wrapping_sub(*first).wrapping_add(ORIGIN_NS),
            Source::System => self.since_start(SystemClock.now()),
            Source::Given(clock) => self.since_start(clock.now()),
        }
    }

    /// An instant as a raw value. Instants before the start are below [`ORIGIN_NS`], and
    /// never below zero.
    fn since_start(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.started) {
            Some(after) => ORIGIN_NS.saturating_add(nanoseconds(after)),
            None => ORIGIN_NS.saturating_sub(nanoseconds(self.started.duration_since(now))),
        }
    }

    /// The tick of a raw value.
    pub(crate) fn tick_of(raw: u64) -> u64 {
        raw >> SHIFT
    }

    /// How many ticks it is from one instant to another.
    ///
    /// Negative where `to` comes before `from`, as with a deadline that had passed when it
    /// was set.
    pub(crate) fn ticks_between(&self, from: Instant, to: Instant) -> i64 {
        let signed = |raw| i64::try_from(Self::tick_of(raw)).unwrap_or(i64::MAX);
        match to.checked_duration_since(from) {
            Some(after) => signed(self.raw_in(after)),
            None => -signed(self.raw_in(from.duration_since(to))),
        }
    }

    /// How many ticks it is from now to an instant.
    ///
    /// Another reading of the monotonic clock: for what is told of rarely, and of an instant that is not
    /// the recorder's own.
    pub(crate) fn ticks_until(&self, to: Instant) -> i64 {
        let now = match &self.source {
            Source::Given(clock) => clock.now(),
            _ => SystemClock.now(),
        };
        self.ticks_between(now, to)
    }

    /// How many raw units a duration is.
    ///
    /// What is longer than the clock can count is cut to half of its range, so that sums
    /// with it do not overflow.
    pub(crate) fn raw_in(&self, duration: Duration) -> u64 {
        // Relaxed: a measure of its own; an older one is as good.
        let per_second = u128::from(self.per_second.load(Ordering::Relaxed));
        let raw = duration.as_nanos().saturating_mul(per_second) / 1_000_000_000;
        u64::try_from(raw).unwrap_or(u64::MAX >> 1)
    }

    /// How many nanoseconds so many raw units are.
    #[inline]
    pub(crate) fn nanoseconds_of(&self, raw: u64) -> u64 {
        // Relaxed: see `raw_in`.
        let per_raw = u128::from(self.per_raw.load(Ordering::Relaxed));
        u64::try_from((u128::from(raw) * per_raw) >> 32).unwrap_or(u64::MAX)
    }

    /// How many nanoseconds the recorder has been there at `raw`.
    pub(crate) fn nanoseconds_up(&self, raw: u64) -> u64 {
        self.nanoseconds_of(raw.saturating_sub(ORIGIN_NS))
    }

    /// How many nanoseconds ago an instant of the monotonic clock was; none for one to come.
    pub(crate) fn nanoseconds_since(&self, at: Instant) -> u64 {
        let now = match &self.source {
            Source::Given(clock) => clock.now(),
            _ => SystemClock.now(),
        };
        nanoseconds(now.saturating_duration_since(at))
    }

    /// Measures the counter against the monotonic clock, from the start until now.
    pub(crate) fn measure(&self) {
        if !matches!(self.source, Source::Counter(_)) {
            return;
        }
        let (reading, raw) = self.read_raw();
        let elapsed = u128::from(reading.monotonic_ns.saturating_sub(ORIGIN_NS));
        let counted = u128::from(raw.saturating_sub(ORIGIN_NS));
        let per_second = counted.saturating_mul(1_000_000_000).checked_div(elapsed);
        if let Some(per_second) = per_second.and_then(|hz| u64::try_from(hz).ok())
            && per_second > 0
        {
            // Relaxed both: see `raw_in`.
            self.per_second.store(per_second, Ordering::Relaxed);
            let per_raw = (1_000_000_000 << 32) / u128::from(per_second);
            let per_raw = u64::try_from(per_raw).unwrap_or(u64::MAX);
            self.per_raw.store(per_raw, Ordering::Relaxed);
        }
    }

    /// All clocks now; the counter's measure becomes better with it.
    pub(crate) fn read(&self) -> Reading {
        self.measure();
        self.read_raw().0
    }

    /// What was read when the recorder began.
    pub(crate) fn at_start(&self) -> Reading {
        Reading {
            tick: Self::tick_of(ORIGIN_NS),
            monotonic_ns: ORIGIN_NS,
            wall_ns: self.started_wall_ns,
        }
    }

    /// A reading of all clocks, and the raw value that belongs to it.
    ///
    /// The counter is read between two readings of the monotonic clock, whose middle it stands for; of
    /// several times the one where nothing came between counts.
    fn read_raw(&self) -> (Reading, u64) {
        let now = || match &self.source {
            Source::Given(clock) => self.since_start(clock.now()),
            _ => self.since_start(SystemClock.now()),
        };
        let pairs = (0..PAIRS).map(|_| {
            let before = now();
            let raw = self.raw();
            (now().saturating_sub(before), before, raw)
        });
        let nearest = pairs.min_by_key(|(apart, ..)| *apart);
        let (apart, before, raw) = nearest.unwrap_or_default();
        let monotonic_ns = before + apart / 2;
        let wall_ns = match &self.source {
            Source::Given(_) => monotonic_ns.saturating_sub(ORIGIN_NS),
            _ => wall_ns(),
        };
        let reading = Reading {
            tick: Self::tick_of(raw),
            monotonic_ns,
            wall_ns,
        };
        (reading, raw)
    }

    /// What a file's header says of the clock.
    ///
    /// That is the kind of the clock, how far raw values are shifted to become ticks, and
    /// how many raw values there are in a second.
    pub(crate) fn header(&self) -> (ClockKind, u8, u64) {
        let kind = match self.source {
            Source::Counter(_) if cfg!(target_arch = "aarch64") => ClockKind::Cntvct,
            Source::Counter(_) => ClockKind::Tsc,
            Source::System | Source::Given(_) => ClockKind::Monotonic,
        };
        // Relaxed: see `raw_in`.
        (kind, 6, self.per_second.load(Ordering::Relaxed))
    }

    /// When the recorder was made, in nanoseconds since 1970.
    pub(crate) fn started_wall_ns(&self) -> u64 {
        self.started_wall_ns
    }
}

/// A duration in nanoseconds; 292 years and more count as that.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 1)
}

/// The time of day; a clock that stands before 1970 gives zero.
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, nanoseconds)
}

/// Whether the operating system keeps its own time by the counter: then it runs at one speed, on all
/// processors alike, and goes on in sleep.
fn is_counter_trusted() -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64")
        && std::fs::read_to_string(path).is_ok_and(|source| source.trim() == "tsc")
}

/// The time stamp counter of the processor.
///
/// # Costs
/// It is not ordered with the instructions around it: what is measured may be off by a few
/// nanoseconds, which a tick of 64 does not show.
#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    #![allow(unsafe_code, reason = "the one instruction that reads the counter")]
    // SAFETY: every x86-64 processor has the instruction, and it has no effect but its result.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    // `is_counter_trusted` never says yes here.
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    struct Hand(Mutex<Instant>);

    impl Clock for Hand {
        fn now(&self) -> Instant {
            *self.0.lock()
        }
    }

    #[test]
    fn ticks_between_instants_have_a_sign() {
        let start = SystemClock.now() + Duration::from_secs(10);
        let clock = TraceClock::given(Arc::new(Hand(Mutex::new(start))));
        let later = start + Duration::from_nanos(640);
        assert_eq!(clock.ticks_between(start, later), 10);
        assert_eq!(clock.ticks_between(later, start), -10);
    }

    /// Whatever the machine's clock is: what it says of a duration is what the system says.
    #[test]
    fn the_clock_of_the_machine_agrees_with_the_system() {
        let clock = TraceClock::system();
        let first = clock.at_start();
        let second = loop {
            let reading = clock.read();
            if reading.monotonic_ns - first.monotonic_ns > 2_000_000 {
                break reading;
            }
        };
        assert!(second.tick > first.tick);
        let ticks = u128::from(second.tick - first.tick);
        let ns = u128::from(second.monotonic_ns - first.monotonic_ns);
        let (_, shift, frequency) = clock.header();
        let by_ticks = (ticks << shift) * 1_000_000_000 / u128::from(frequency);
        assert!(by_ticks.abs_diff(ns) < ns / 100, "{by_ticks} for {ns} ns");
        // What is told in ticks before anybody has read all clocks again.
        let fresh = TraceClock::system();
        let (_, _, at_first) = fresh.header();
        let apart = at_first.abs_diff(frequency);
        assert!(
            apart < frequency / 500,
            "{at_first} and {frequency} a second"
        );
    }
}

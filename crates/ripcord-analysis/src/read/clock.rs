//! Ticks as time: piecewise linear between the clock snapshots of a trace.

use ripcord_trace_format::FileHeader;
use std::time::Duration;

/// Turns ticks into time.
///
/// Between two snapshots time is linear; before the first and behind the last, the nearest stretch is
/// continued. With one snapshot the nominal frequency of the header is all there is, and without any
/// the wall time of the header stands for tick 0.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
/// use std::time::Duration;
///
/// // A tick is said to be 64 ns, and was 65 ns.
/// let bytes = text::parse("\
/// ript 1.0 clock=monotonic shift=6 frequency=1000000000 process=1 wall=0 program=\"p\"
/// block window_start window=1 thread=0 first=1000 last=1000 events=1
///   +0 clock monotonic=500 wall=7000000
/// block window_end window=1 thread=0 first=2000 last=2000 events=1
///   +0 clock monotonic=65500 wall=7065000
/// ")?;
/// let trace = Trace::new(Cursor::new(bytes))?;
/// let time = trace.timeline();
/// assert_eq!(time.nanos(1_010), 1_150);
/// assert_eq!(time.wall_nanos(3_000), 7_130_000);
/// assert_eq!(time.duration(1_000, 1_100), Duration::from_nanos(6_500));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Timeline {
    points: Vec<Point>,
    /// Nanoseconds of a tick by the header, as a fraction.
    nominal: (u128, u128),
    /// Snapshots that went back in ticks or in time, and are not used.
    refused: u64,
}

/// What two other clocks showed at a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Point {
    tick: u64,
    monotonic: u64,
    wall: u64,
}

impl Timeline {
    pub(crate) fn new(header: Option<&FileHeader>) -> Self {
        let (shift, frequency) = header.map_or((0, NANOS), |header| {
            (header.shift.min(63), header.frequency.max(1))
        });
        Self {
            points: Vec::new(),
            nominal: (u128::from(NANOS) << shift, u128::from(frequency)),
            refused: 0,
        }
    }

    /// Takes a snapshot in; they come in any order, and [`settle`](Self::settle) is called at the end.
    pub(crate) fn push(&mut self, tick: u64, monotonic: u64, wall: u64) {
        self.points.push(Point {
            tick,
            monotonic,
            wall,
        });
    }

    /// Puts the snapshots in order, and drops those that contradict the ones before them.
    pub(crate) fn settle(&mut self, header: Option<&FileHeader>) {
        self.points
            .sort_by_key(|point| (point.tick, point.monotonic));
        let before = self.points.len();
        let mut last: Option<Point> = None;
        self.points.retain(|point| {
            let is_later =
                last.is_none_or(|last| last.tick < point.tick && last.monotonic < point.monotonic);
            if is_later {
                last = Some(*point);
            }
            is_later
        });
        self.refused = (before - self.points.len()) as u64;
        if self.points.is_empty() {
            self.points.push(Point {
                tick: 0,
                monotonic: 0,
                wall: header.map_or(0, |header| header.wall_ns),
            });
        }
    }

    /// Snapshots that could not be used, because they contradict others.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Nanoseconds of the recorded machine's monotonic clock at this tick.
    ///
    /// # Costs
    /// A binary search over the snapshots, of which there are two per window, and a wide division:
    /// reckon in ticks, and turn the results into time.
    #[must_use]
    pub fn nanos(&self, tick: u64) -> u64 {
        self.at(tick, |point| point.monotonic)
    }

    /// Nanoseconds since 1970 by the recorded machine's wall clock at this tick.
    #[must_use]
    pub fn wall_nanos(&self, tick: u64) -> u64 {
        self.at(tick, |point| point.wall)
    }

    /// The time from one tick to another; zero if that is earlier.
    #[must_use]
    pub fn duration(&self, from: u64, to: u64) -> Duration {
        Duration::from_nanos(self.nanos(to).saturating_sub(self.nanos(from)))
    }

    /// How long so many ticks are, by the whole trace's clocks: for sums that are of no one stretch.
    #[must_use]
    pub fn span(&self, ticks: u64) -> Duration {
        let (first, last) = (self.points.first(), self.points.last());
        let (nanos, per) = match (first, last) {
            (Some(first), Some(last)) if last.tick > first.tick => (
                u128::from(last.monotonic - first.monotonic),
                u128::from(last.tick - first.tick),
            ),
            _ => self.nominal,
        };
        let nanos = u128::from(ticks).saturating_mul(nanos) / per;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many ticks so much time is, by the header.
    ///
    /// For thresholds; never fewer than one.
    #[must_use]
    pub fn ticks(&self, time: Duration) -> u64 {
        let (nanos, per) = self.nominal;
        let ticks = time.as_nanos().saturating_mul(per) / nanos;
        u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
    }

    fn at(&self, tick: u64, of: impl Fn(&Point) -> u64) -> u64 {
        let next = self.points.partition_point(|point| point.tick <= tick);
        // The stretch that the tick is in, or the nearest one.
        let to = next.clamp(1, self.points.len().saturating_sub(1).max(1));
        let (from, slope) = match (self.points.get(to - 1), self.points.get(to)) {
            (Some(a), Some(b)) => {
                let rise = i128::from(of(b)) - i128::from(of(a));
                (a, (rise, i128::from(b.tick - a.tick)))
            }
            (Some(only), None) => {
                let (nanos, per) = self.nominal;
                let fits = |number: u128| i128::try_from(number).unwrap_or(i128::MAX);
                (only, (fits(nanos), fits(per)))
            }
            (None, _) => return 0,
        };
        let ticks = i128::from(tick) - i128::from(from.tick);
        // A product beyond 127 bits is of a hostile header: it becomes the end of time.
        let moved = ticks.saturating_mul(slope.0) / slope.1.max(1);
        let nanos = i128::from(of(from)).saturating_add(moved);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_trace_format::ClockKind;

    fn timeline(points: &[(u64, u64, u64)]) -> Timeline {
        let header = FileHeader::new(ClockKind::Tsc, 7, 2_000_000_000).started(1, 5_000);
        let mut time = Timeline::new(Some(&header));
        for (tick, monotonic, wall) in points {
            time.push(*tick, *monotonic, *wall);
        }
        time.settle(Some(&header));
        time
    }

    #[test]
    fn one_snapshot_or_none_goes_by_the_header() {
        assert_eq!(timeline(&[]).wall_nanos(100), 5_000 + 6_400);
        let one = timeline(&[(100, 1_000_000, 9_000)]);
        assert_eq!(one.nanos(101), 1_000_064);
        assert_eq!(one.nanos(99), 999_936);
        assert_eq!(one.wall_nanos(0), 2_600);
        assert_eq!(one.ticks(Duration::from_micros(64)), 1_000);
    }

    #[test]
    fn each_stretch_has_its_own_slope_and_the_outer_ones_go_on() {
        let time = timeline(&[(200, 3_000, 0), (0, 1_000, 0), (100, 2_000, 50)]);
        for (tick, expect) in [(0, 1_000), (50, 1_500), (150, 2_500), (300, 4_000)] {
            assert_eq!(time.nanos(tick), expect, "{tick}");
        }
        // The wall clock was set back between the last two.
        assert_eq!(
            [50, 100, 150, 200].map(|tick| time.wall_nanos(tick)),
            [25, 50, 25, 0]
        );
        assert_eq!(time.wall_nanos(900), 0);
    }

    #[test]
    fn a_snapshot_that_contradicts_is_refused_and_nothing_overflows() {
        let time = timeline(&[(0, 10, 0), (5, 5, 0), (9, u64::MAX, u64::MAX)]);
        assert_eq!(time.refused(), 1);
        assert_eq!(time.nanos(u64::MAX), u64::MAX);
        let mut wild = FileHeader::new(ClockKind::Tsc, 255, 0);
        wild.frequency = 0;
        let mut time = Timeline::new(Some(&wild));
        time.settle(Some(&wild));
        assert_eq!(time.nanos(u64::MAX), u64::MAX);
        assert_eq!(time.ticks(Duration::from_secs(1)), 1);
    }
}

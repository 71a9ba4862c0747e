//! Ticks of a trace as nanoseconds of its wall clock, and back.

use ripcord_trace_format::FileHeader;

/// What both clocks showed at a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    pub(super) tick: u64,
    pub(super) monotonic: u64,
    pub(super) wall: u64,
}

/// A piecewise linear clock: between two snapshots, time goes as they say.
///
/// The monotonic clock gives the pace and the last snapshot gives the time of day, so that a wall
/// clock that was set in between does not stretch anything.
#[derive(Debug)]
pub(super) struct TraceClock {
    /// In order of ticks and of time; one at least.
    points: Vec<(i128, i128)>,
    /// Nanoseconds per tick where the snapshots do not say: nanoseconds over ticks.
    nominal: (i128, i128),
    /// Whether there was a snapshot.
    pub(super) is_measured: bool,
}

impl TraceClock {
    /// `first_tick` is taken for the instant of the header where there is no snapshot.
    pub(super) fn new(
        header: Option<&FileHeader>,
        snapshots: &[Snapshot],
        first_tick: u64,
    ) -> Self {
        let nominal = header.filter(|header| header.frequency > 0 && header.shift < 64);
        let nominal = nominal.map_or((1, 1), |header| {
            (
                (1_i128 << header.shift) * 1_000_000_000,
                i128::from(header.frequency),
            )
        });
        let offset = snapshots
            .last()
            .map_or(0, |last| i128::from(last.wall) - i128::from(last.monotonic));
        let mut points: Vec<(i128, i128)> = Vec::new();
        for snapshot in snapshots {
            let point = (
                i128::from(snapshot.tick),
                i128::from(snapshot.monotonic) + offset,
            );
            // Two snapshots of one tick, or a clock that goes back, say nothing about the pace.
            if points
                .last()
                .is_none_or(|last| last.0 < point.0 && last.1 < point.1)
            {
                points.push(point);
            }
        }
        if points.is_empty() {
            let wall = header.map_or(0, |header| header.wall_ns);
            points.push((i128::from(first_tick), i128::from(wall)));
        }
        Self {
            points,
            nominal,
            is_measured: !snapshots.is_empty(),
        }
    }

    /// Nanoseconds since 1970, by this process.
    pub(super) fn wall(&self, tick: u64) -> i128 {
        let tick = i128::from(tick);
        let at = self.points.partition_point(|point| point.0 <= tick);
        let (from, (time, ticks)) = self.piece(at);
        within(from.1 + scaled(tick - from.0, time, ticks))
    }

    /// The tick of an instant; negative for one before the clock's zero.
    pub(super) fn tick(&self, wall: i128) -> i128 {
        let at = self.points.partition_point(|point| point.1 <= wall);
        let (from, (time, ticks)) = self.piece(at);
        within(from.0 + scaled(within(wall) - from.1, ticks, time))
    }

    /// The point and the pace, nanoseconds over ticks, in front of point number `at`.
    fn piece(&self, at: usize) -> ((i128, i128), (i128, i128)) {
        let before = at
            .saturating_sub(1)
            .min(self.points.len().saturating_sub(2));
        match self.points.get(before..) {
            Some([from, to, ..]) => (*from, (to.1 - from.1, to.0 - from.0)),
            Some([only]) => (*only, self.nominal),
            _ => ((0, 0), self.nominal),
        }
    }
}

/// Keeps an instant where products of it fit: 65 bits are enough for any time in nanoseconds or ticks.
fn within(instant: i128) -> i128 {
    instant.clamp(-(1 << 65), 1 << 65)
}

/// `amount * times / over`, rounded down. Amounts have 67 bits at most; factors are brought down to 60 first,
/// which a clock of a hundred years at a gigahertz does not need.
fn scaled(amount: i128, times: i128, over: i128) -> i128 {
    let (mut times, mut over) = (times, over);
    while times >= 1 << 60 || over >= 1 << 60 {
        (times, over) = (times >> 1, over >> 1);
    }
    (amount * times).div_euclid(over.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_trace_format::ClockKind;

    fn snapshot(tick: u64, monotonic: u64, wall: u64) -> Snapshot {
        Snapshot {
            tick,
            monotonic,
            wall,
        }
    }

    #[test]
    fn ticks_become_time_and_come_back() {
        // A tick is 10 ns, then 20 ns; the wall clock is 1 000 000 ns ahead at the end.
        let points = [
            snapshot(100, 5_000, 7_000),
            snapshot(200, 6_000, 8_000),
            snapshot(300, 8_000, 1_008_000),
        ];
        let clock = TraceClock::new(None, &points, 0);
        for (tick, wall) in [
            (100, 1_005_000),
            (150, 1_005_500),
            (200, 1_006_000),
            (250, 1_007_000),
            (400, 1_010_000),
            (0, 1_004_000),
        ] {
            assert_eq!(clock.wall(tick), wall, "{tick}");
            assert_eq!(clock.tick(wall), i128::from(tick), "{tick}");
        }
    }

    #[test]
    fn without_snapshots_the_header_says_it() {
        let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).started(1, 9_000);
        let clock = TraceClock::new(Some(&header), &[], 50);
        assert!(!clock.is_measured);
        assert_eq!(clock.wall(50), 9_000);
        assert_eq!(clock.wall(51), 9_064);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let points = [snapshot(0, 0, u64::MAX), snapshot(u64::MAX, u64::MAX, 0)];
        let clock = TraceClock::new(None, &points, 0);
        assert!(clock.wall(u64::MAX) > clock.wall(0));
        assert!(clock.tick(-2 * i128::from(u64::MAX)) < 0);
        assert!(clock.tick(i128::MAX) > clock.tick(i128::MIN));
        // A pace of 2^64 nanoseconds per tick, there and back.
        let steep = TraceClock::new(None, &[snapshot(0, 0, 0), snapshot(1, u64::MAX, 0)], 0);
        assert!(clock.tick(steep.wall(u64::MAX)) > 0);
    }
}

//! How far two clocks are apart, by what both processes have seen.
//!
//! Each request that both know bounds the offset: what happened within something else neither began
//! before it nor ended after it. The offset that agrees with most requests is found by Marzullo's
//! algorithm, as in NTP, so that a request whose context lived on for long spoils nothing.

use serde::Serialize;

/// A stretch of time of one request in both processes, in nanoseconds of their own wall clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) a: (i128, i128),
    pub(super) b: (i128, i128),
}

/// How the second clock was put beside the first.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Alignment {
    /// `requests` if some of them agree, else `wall_clocks`.
    pub(super) by: &'static str,
    /// Added to the second wall clock, in nanoseconds.
    pub(super) offset_ns: i64,
    /// The offset may be wrong by so much in either direction; not known by wall clocks alone.
    pub(super) uncertainty_ns: Option<u64>,
    /// Requests that both have seen.
    pub(super) requests: usize,
    /// How many of these the offset agrees with.
    pub(super) agreeing: usize,
}

/// The offset that agrees with most pairs. Wall clocks that agree with them, too, are left alone.
pub(super) fn align(pairs: &[Pair]) -> Alignment {
    let mut edges: Vec<(i128, i32)> = Vec::with_capacity(pairs.len() * 2);
    for pair in pairs {
        // One lies within the other, whichever it is: the offset is between these two.
        let begins = pair.a.0 - pair.b.0;
        let ends = pair.a.1 - pair.b.1;
        edges.push((begins.min(ends), -1));
        edges.push((begins.max(ends), 1));
    }
    // Where a bound ends and another begins at the same place, the place belongs to both.
    edges.sort_unstable();
    let (mut depth, mut best) = (0, (0, 0, 0));
    for (at, edge) in edges.iter().enumerate() {
        depth -= edge.1;
        if depth > best.0 {
            let next = edges.get(at + 1).map_or(edge.0, |next| next.0);
            best = (depth, edge.0, next);
        }
    }
    let (agreeing, low, high) = best;
    if agreeing == 0 {
        return Alignment {
            by: "wall_clocks",
            offset_ns: 0,
            uncertainty_ns: None,
            requests: pairs.len(),
            agreeing: 0,
        };
    }
    let offset = if (low..=high).contains(&0) {
        0
    } else {
        low + (high - low) / 2
    };
    let uncertainty = (high - offset).max(offset - low);
    Alignment {
        by: "requests",
        offset_ns: saturating(offset),
        uncertainty_ns: Some(u64::try_from(uncertainty).unwrap_or(u64::MAX)),
        requests: pairs.len(),
        agreeing: usize::try_from(agreeing).unwrap_or(0),
    }
}

fn saturating(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: (i128, i128), b: (i128, i128)) -> Pair {
        Pair { a, b }
    }

    #[test]
    fn the_offset_agrees_with_most_requests() {
        let call = |at: i128, ahead: i128| pair((at, at + 100), (at + 40 + ahead, at + 60 + ahead));
        let check = |pairs: &[Pair], offset, uncertainty, agreeing| {
            let found = align(pairs);
            assert_eq!(found.offset_ns, offset, "{pairs:?}");
            assert_eq!(found.uncertainty_ns, uncertainty, "{pairs:?}");
            assert_eq!(found.agreeing, agreeing, "{pairs:?}");
        };
        check(&[], 0, None, 0);
        // The wall clocks agree already.
        check(&[call(0, 0), call(900, 0)], 0, Some(40), 2);
        // The second clock is 1 000 ahead.
        check(&[call(0, 1_000)], -1_000, Some(40), 1);
        // The second process called the first.
        check(&[pair((1_040, 1_060), (0, 100))], 1_000, Some(40), 1);
        // Two bounds are tighter than one.
        let tight = pair((0, 100), (1_000, 1_090));
        check(&[call(0, 1_000), tight], -995, Some(5), 2);
        // One that contradicts the others is outvoted.
        let odd = pair((0, 100), (9_000, 99_000));
        check(&[call(0, 1_000), tight, odd], -995, Some(5), 2);
    }
}

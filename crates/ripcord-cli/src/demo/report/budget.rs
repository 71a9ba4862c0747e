//! The budget of a request from hop to hop: what was left, what it took, how it ended.

use super::model::{Budget, HopRow, Pick};
use super::units::{millis, short};
use crate::demo::journal::{Hop, Picked, Trip};
use std::fmt::Write as _;

/// The requests that are worth telling.
pub(super) fn budgets(picked: &Picked) -> Vec<Budget> {
    let picks = [
        (Pick::Typical, &picked.typical),
        (Pick::Slowest, &picked.slowest),
        (Pick::OutOfTime, &picked.late),
    ];
    let mut budgets: Vec<Budget> = Vec::new();
    for (pick, trip) in picks {
        // Where there are few requests, one may be the typical and the slowest one.
        if let Some(trip) = trip
            && !budgets.iter().any(|known| known.request_id == trip.id)
        {
            budgets.push(budget(pick, trip));
        }
    }
    budgets
}

fn budget(pick: Pick, trip: &Trip) -> Budget {
    let answer = trip.answer();
    Budget {
        pick,
        request_id: trip.id.clone(),
        answer: answer.and_then(|end| end.answer.clone()),
        took_ms: answer.map(|end| millis(end.took)),
        hops: trip.hops.iter().map(hop).collect(),
    }
}

fn hop(hop: &Hop) -> HopRow {
    let end = hop.end.as_ref();
    let over = end.and_then(|end| end.took.checked_sub(hop.left?));
    HopRow {
        service: hop.service.name(),
        route: hop.route,
        arrived_ms: millis(hop.arrived),
        left_ms: hop.left.map(millis),
        limited_by: hop.limit.clone(),
        took_ms: end.map(|end| millis(end.took)),
        answer: end.and_then(|end| end.answer.clone()),
        cause: end.and_then(|end| end.cause),
        over_ms: over.map_or(0.0, millis),
    }
}

impl Budget {
    /// `01920f3e-7c1a-7…: 200 after 14 ms, as long as half of them`.
    pub(super) fn title(&self) -> String {
        let answer = self.answer.as_deref().unwrap_or("no answer");
        let took = self.took_ms.map_or_else(|| "-".to_owned(), short);
        let pick = match self.pick {
            Pick::Typical => "half of those answered 200 took longer",
            Pick::Slowest => "the slowest that was answered 200",
            Pick::OutOfTime => "the slowest that ran out of time",
        };
        format!("request {}: {answer} after {took}, {pick}", self.request_id)
    }

    /// A line for each hop, with a bar as long as what was left of the gateway's budget.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let whole = self.hops.first().and_then(|hop| hop.left_ms);
        self.hops.iter().map(move |hop| hop.line(whole))
    }
}

impl HopRow {
    fn line(&self, whole: Option<f64>) -> String {
        let left = self.left_ms.map_or_else(|| "no limit".to_owned(), exact);
        let bar = self
            .left_ms
            .zip(whole)
            .map(|(left, whole)| bar(left / whole));
        let took = self.took_ms.map_or_else(|| "-".to_owned(), short);
        let mut line = format!(
            "{:<10} {:<24} {left:>8} {:<BAR$} {took:>8}  {}",
            self.service,
            self.route,
            bar.unwrap_or_default(),
            self.answer.as_deref().unwrap_or("no answer"),
        );
        if let Some(cause) = self.cause {
            // Writing to a string does not fail.
            let _ = write!(line, ", {}", super::text::phrase(cause));
        }
        if let Some(limit) = &self.limited_by {
            let _ = write!(line, " (limited by `{limit}`)");
        }
        if self.over_ms > OVER_MIN_MS {
            let _ = write!(line, ", went on {} too long", short(self.over_ms));
        }
        line
    }
}

/// Milliseconds to the millisecond: `2.978 s`, `18 ms`.
fn exact(millis: f64) -> String {
    if millis < 999.5 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.3} s", millis / 1000.0)
    }
}

/// A share of [`BAR`] cells, to an eighth of a cell.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * EIGHTHS).round();
    let mut text = String::new();
    for cell in 0..u32::try_from(BAR).unwrap_or_default() {
        let filled = eighths - f64::from(cell) * 8.0;
        match CELLS.iter().rev().find(|(least, _)| filled >= *least) {
            Some((_, cell)) => text.push(*cell),
            None => break,
        }
    }
    text
}

const BAR: usize = 20;
const EIGHTHS: f64 = 160.0;
const CELLS: [(f64, char); 8] = [
    (1.0, '▏'),
    (2.0, '▎'),
    (3.0, '▍'),
    (4.0, '▌'),
    (5.0, '▋'),
    (6.0, '▊'),
    (7.0, '▉'),
    (8.0, '█'),
];

/// Whoever goes on for less is taken to have stopped in time.
const OVER_MIN_MS: f64 = 50.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        for (share, expect) in [
            (0.0, ""),
            (0.002, ""),
            (0.01, "▎"),
            (0.5, "██████████"),
            (0.66, "█████████████▎"),
            (0.9927, "███████████████████▉"),
            (1.0, "████████████████████"),
            (7.0, "████████████████████"),
        ] {
            assert_eq!(bar(share), expect, "{share}");
        }
    }

    #[test]
    fn what_is_left_is_shown_to_the_millisecond() {
        for (millis, expect) in [(3000.0, "3.000 s"), (1997.6, "1.998 s"), (18.2, "18 ms")] {
            assert_eq!(exact(millis), expect);
        }
    }

    #[test]
    fn a_hop_is_one_line() {
        let mut hop = HopRow {
            service: "tax",
            route: "POST /tax",
            arrived_ms: 4.0,
            left_ms: Some(230.0),
            limited_by: Some("tax tier".to_owned()),
            took_ms: Some(1500.0),
            answer: Some("200".to_owned()),
            cause: None,
            over_ms: 1270.0,
        };
        assert_eq!(
            hop.line(Some(3000.0)),
            "tax        POST /tax                  230 ms █▌                     1.50 s  200 \
             (limited by `tax tier`), went on 1.27 s too long"
        );
        hop.took_ms = None;
        hop.answer = None;
        hop.over_ms = 0.0;
        hop.cause = Some("peer_gone");
        assert!(
            hop.line(None)
                .ends_with("-  no answer, peer gone (limited by `tax tier`)")
        );
    }
}

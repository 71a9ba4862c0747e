//! A turn of two tasks that wake each other: one wake, one poll, on one thread.
//!
//! The same turn is played with and without the recorder, batch by batch in one process, so that
//! what recording adds is a median of differences and not a difference of medians.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::RIPCORD_UNTRACED;
use super::ours::{Full, Off, Untraced};
use super::peers::TokioMetrics;
use crate::case::{Case, Goal, Kind, RIPCORD, Readings, TOKIO, TOKIO_METRICS, Unit};
use crate::plan::Plan;
use crate::spawner::{Plain, Spawner as _, Stage, one_thread};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "cycle/recorded",
            "a task is woken and polled: wake, poll start, poll end",
            40.0,
        )
        .rust(RIPCORD, beyond::<Full, Untraced>)
        .rust(RIPCORD_UNTRACED, beyond::<Untraced, Plain>)
        .rust(TOKIO_METRICS, beyond::<TokioMetrics, Plain>)
        .rust(TOKIO, alone::<Plain>),
        case("cycle/off", "the same with a recorder that is off", 1.0)
            .rust(RIPCORD, beyond::<Off, Untraced>),
    ]
}

fn case(id: &'static str, title: &'static str, limit: f64) -> Case {
    let nanoseconds = Unit::Nanoseconds;
    Case::new(Kind::Micro, id, title)
        .metric(
            "beyond",
            "time beyond the same without it",
            nanoseconds,
            Goal::at_most(limit),
        )
        .metric("time", "time of a turn", nanoseconds, None)
}

/// A turn on one stage beside the same on another.
pub(super) fn beyond<S: Stage, B: Stage>(plan: &Plan) -> Readings {
    let own = Game::on(S::build(one_thread()));
    let basis = Game::on(B::build(one_thread()));
    plan.beside(|turns| own.play(turns), |turns| basis.play(turns))
}

fn alone<S: Stage>(plan: &Plan) -> Readings {
    let game = Game::on(S::build(one_thread()));
    plan.timed(|turns| game.play(turns))
}

/// Two players on a stage of their own.
struct Game<S> {
    stage: S,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Turns until the end.
    left: AtomicU64,
    /// Of the players; each keeps its waker for life.
    wakers: [OnceLock<Waker>; 2],
    /// Of who waits for the end.
    over: Mutex<Option<Waker>>,
}

impl<S: Stage> Game<S> {
    fn on(stage: S) -> Game<S> {
        let table = Arc::new(Table::default());
        let spawner = stage.spawner();
        stage.runtime().block_on(async {
            for side in 0..2 {
                let table = Arc::clone(&table);
                let player = std::future::poll_fn(move |cx| table.turn(side, cx));
                spawner.spawn("player", player);
            }
            while table.wakers.iter().any(|waker| waker.get().is_none()) {
                tokio::task::yield_now().await;
            }
        });
        Game { stage, table }
    }

    /// Plays so many turns: each is a wake and a poll.
    fn play(&self, turns: u64) -> Duration {
        let table = &self.table;
        // Relaxed: one thread.
        table.left.store(turns, Relaxed);
        self.stage.runtime().block_on(async {
            let start = Instant::now();
            table.wake(0);
            std::future::poll_fn(|cx| table.is_over(cx)).await;
            start.elapsed()
        })
    }
}

impl Table {
    /// One poll of a player: it wakes the other one, unless the game is over.
    fn turn(&self, side: usize, cx: &Context<'_>) -> Poll<()> {
        let own = self.wakers.get(side).expect("there are two sides");
        own.get_or_init(|| cx.waker().clone());
        // Relaxed: one thread.
        let left = self.left.load(Relaxed);
        if left > 0 {
            // Relaxed: one thread.
            self.left.store(left - 1, Relaxed);
            self.wake(1 - side);
        }
        if left == 1 {
            let over = self.over.lock().expect("nobody panics with it").take();
            over.inspect(Waker::wake_by_ref);
        }
        Poll::Pending
    }

    fn wake(&self, side: usize) {
        let waker = self.wakers.get(side).and_then(OnceLock::get);
        waker.expect("both have been polled").wake_by_ref();
    }

    fn is_over(&self, cx: &Context<'_>) -> Poll<()> {
        // Relaxed: one thread.
        if self.left.load(Relaxed) == 0 {
            return Poll::Ready(());
        }
        *self.over.lock().expect("nobody panics with it") = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use ripcord_trace_format::Event;

    use super::super::size::events_of;
    use super::*;

    pub(crate) fn plays<S: Stage>() {
        let game = Game::on(S::build(one_thread()));
        game.play(10);
        game.play(7);
        assert_eq!(game.table.left.load(Relaxed), 0);
    }

    #[test]
    fn everybody_plays_to_the_end() {
        plays::<Plain>();
        plays::<Untraced>();
        plays::<Off>();
        plays::<Full>();
        plays::<TokioMetrics>();
    }

    /// What is measured is what is said to be measured.
    #[test]
    fn a_turn_is_a_wake_a_poll_start_and_a_poll_end() {
        let count = |turns| {
            let game = Game::on(Full::build(one_thread()));
            game.play(turns);
            let mut counts = [0_u64; 3];
            let trace = game.stage.into_trace();
            events_of(&trace, |_, event| match event {
                Event::Wake { .. } => counts[0] += 1,
                Event::PollStart { .. } => counts[1] += 1,
                Event::PollPending { .. } => counts[2] += 1,
                _ => (),
            });
            counts
        };
        let (few, many) = (count(1), count(101));
        assert_eq!(many.map(|count| count - 100), few);
    }
}

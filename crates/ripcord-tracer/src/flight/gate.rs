//! How often dumps are written: [`Gate`], a debounce for each reason and a bucket of tokens over all.
//!
//! A fault seldom comes alone: of a thousand requests that were late for one reason the first is
//! worth a dump. So a reason that has been heard is not heard again for a while. And where many
//! reasons come one after the other, tokens bound what all of them together may cost.
//!
//! It knows no clock and no unit: who asks says what time it is.

use crate::trigger::Reason;

/// How often, in the units that times are given in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    /// So long after a reason was heard it is not heard again.
    pub(super) debounce: u64,
    /// A token comes back after so long.
    pub(super) every: u64,
    /// There are never more tokens than this.
    pub(super) burst: u32,
}

/// What becomes of a trigger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is heard. A token has been taken where a dump has to be begun for it.
    Heard,
    /// Its kind was heard a short while ago.
    Debounced,
    /// There is no token left.
    NoToken,
}

/// What was heard when, and what is left.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// When each reason was heard last.
    heard: [Option<u64>; Reason::ALL.len()],
    /// Tokens that were taken and have not come back; so a bucket is full at first, whatever its size.
    taken: u32,
    /// Until when it was reckoned how many have come back.
    reckoned: u64,
}

impl Gate {
    /// Whether a trigger is heard at `now`.
    ///
    /// Where a dump is going to be written anyway, `joins` says so, and it costs no token.
    pub(super) fn ask(&mut self, pace: Pace, reason: Reason, now: u64, joins: bool) -> Verdict {
        let heard = self.heard.get(reason.index()).copied().flatten();
        if heard.is_some_and(|at| now.saturating_sub(at) < pace.debounce) {
            return Verdict::Debounced;
        }
        if !joins && !self.take_token(pace, now) {
            return Verdict::NoToken;
        }
        if let Some(heard) = self.heard.get_mut(reason.index()) {
            *heard = Some(now);
        }
        Verdict::Heard
    }

    /// A reason that was heard has come to nothing: its next trigger is heard.
    pub(super) fn forget(&mut self, reason: Reason) {
        if let Some(heard) = self.heard.get_mut(reason.index()) {
            *heard = None;
        }
    }

    /// Whether there is one; it is reckoned when it is asked for, so nothing has to happen
    /// in between.
    fn take_token(&mut self, pace: Pace, now: u64) -> bool {
        if self.taken == 0 {
            self.reckoned = now;
        }
        // With no time between two tokens they are all back at once.
        let passed = now.saturating_sub(self.reckoned);
        let back = passed.checked_div(pace.every).unwrap_or(u64::MAX);
        match u32::try_from(back) {
            Ok(back) if back < self.taken => {
                self.taken -= back;
                self.reckoned += u64::from(back) * pace.every;
            }
            _ => {
                self.taken = 0;
                self.reckoned = now;
            }
        }
        let has_one = self.taken < pace.burst;
        self.taken += u32::from(has_one);
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        debounce: 10,
        every: 100,
        burst: 2,
    };

    #[test]
    fn a_reason_that_was_heard_is_quiet_for_a_while_and_others_are_not() {
        let mut gate = Gate::default();
        let cases = [
            (0, Reason::Panic, Verdict::Heard),
            (9, Reason::Panic, Verdict::Debounced),
            (9, Reason::Stall, Verdict::Heard),
            (10, Reason::Panic, Verdict::Heard),
            (19, Reason::Panic, Verdict::Debounced),
        ];
        for (now, reason, expect) in cases {
            assert_eq!(
                gate.ask(PACE, reason, now, true),
                expect,
                "{reason} at {now}"
            );
        }
    }

    #[test]
    fn tokens_are_taken_at_once_and_come_back_one_by_one() {
        let pace = Pace {
            debounce: 0,
            ..PACE
        };
        let mut gate = Gate::default();
        let heard = [0, 1, 2, 99, 100, 101, 199, 200, 1_000, 1_000, 1_000];
        let heard = heard.map(|now| gate.ask(pace, Reason::Panic, now, false) == Verdict::Heard);
        let expect = [
            true, true, false, false, true, false, false, true, true, true, false,
        ];
        assert_eq!(heard, expect);
    }

    #[test]
    fn who_joins_takes_no_token_and_who_gets_none_is_not_debounced() {
        let mut gate = Gate::default();
        let pace = Pace { burst: 1, ..PACE };
        assert_eq!(gate.ask(pace, Reason::Panic, 0, false), Verdict::Heard);
        assert_eq!(gate.ask(pace, Reason::Ghost, 0, true), Verdict::Heard);
        assert_eq!(gate.ask(pace, Reason::Stall, 0, false), Verdict::NoToken);
        assert_eq!(gate.ask(pace, Reason::Stall, 100, false), Verdict::Heard);
    }

    #[test]
    fn what_has_come_to_nothing_is_heard_again() {
        let mut gate = Gate::default();
        assert_eq!(gate.ask(PACE, Reason::Panic, 0, false), Verdict::Heard);
        gate.forget(Reason::Panic);
        assert_eq!(gate.ask(PACE, Reason::Panic, 1, false), Verdict::Heard);
    }

    #[test]
    fn extreme_paces_do_not_overflow() {
        let widest = Pace {
            debounce: u64::MAX,
            every: u64::MAX,
            burst: u32::MAX,
        };
        let none = Pace {
            debounce: 0,
            every: 0,
            burst: 0,
        };
        let mut gate = Gate::default();
        for now in [0, 1, u64::MAX, 0] {
            gate.ask(widest, Reason::Panic, now, false);
            assert_eq!(gate.ask(none, Reason::Panic, now, false), Verdict::NoToken);
        }
    }
}

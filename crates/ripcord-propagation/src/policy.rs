//! Bounds on the deadlines that callers ask for.
//!
//! *Invariants*, checked when a policy is made: (1) `min <= default <= max`, and `max` is not zero.
//! (2) The reserve is smaller than `min`, or zero: whoever asks for anything gets something.

use crate::carried::DeadlineSource;
use std::fmt;
use std::time::Duration;

/// What becomes of a deadline that a caller asks for.
///
/// What arrives is hostile: a caller may ask for ten years or for a nanosecond. It is clamped to
/// `min..=max`; who asks for nothing gets the default, if there is one. From the result the reserve
/// is taken: the time that the answer, also one that says "too late", needs on its way back.
///
/// | the caller asks for | it gets, less the reserve | set by |
/// |---|---|---|
/// | nothing | the default, or no deadline | the policy |
/// | zero | zero: it is over on arrival, and not begun | the caller |
/// | less than `min` | `min` | the caller |
/// | `min` to `max` | that | the caller |
/// | more than `max` | `max` | the policy |
///
/// A good `max` is the longest that anybody has waited with success; a good default is what the slowest
/// request that is in order needs, twice. `min` keeps requests from being begun that cannot end.
///
/// # Examples
/// ```
/// use ripcord_propagation::DeadlinePolicy;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let policy = DeadlinePolicy::new(ms(10), ms(30_000))?
///     .with_default(ms(5_000))?
///     .with_reserve(ms(5))?;
/// assert_eq!(policy.budget(Some(ms(1_000))), Some(ms(995)));
/// assert_eq!(policy.budget(None), Some(ms(4_995)));
/// assert_eq!(policy.budget(Some(Duration::MAX)), Some(ms(29_995)));
/// assert_eq!(policy.budget(Some(Duration::ZERO)), Some(Duration::ZERO), "it has passed");
/// # Ok::<_, ripcord_propagation::PolicyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadlinePolicy {
    min: Duration,
    max: Duration,
    default: Option<Duration>,
    reserve: Duration,
}

/// One millisecond to one hour, no default, no reserve.
impl Default for DeadlinePolicy {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(1),
            max: Duration::from_secs(3_600),
            default: None,
            reserve: Duration::ZERO,
        }
    }
}

impl DeadlinePolicy {
    /// Clamps what callers ask for to `min..=max`; without default and reserve.
    ///
    /// # Errors
    /// [`PolicyError::MinOverMax`], and [`PolicyError::ZeroMax`] where no time would ever be left.
    pub fn new(min: Duration, max: Duration) -> Result<Self, PolicyError> {
        if max.is_zero() {
            return Err(PolicyError::ZeroMax);
        }
        if min > max {
            return Err(PolicyError::MinOverMax { min, max });
        }
        Ok(Self {
            min,
            max,
            ..Self::default()
        })
    }

    /// Gives this much to callers that ask for nothing.
    ///
    /// Browsers and most libraries ask for nothing: this is the time-out of a server for them.
    ///
    /// # Errors
    /// [`PolicyError::DefaultOutside`] if it is not within `min..=max`.
    pub fn with_default(self, default: Duration) -> Result<Self, PolicyError> {
        let Self { min, max, .. } = self;
        if default < min || default > max {
            return Err(PolicyError::DefaultOutside { default, min, max });
        }
        Self {
            default: Some(default),
            ..self
        }
        .checked()
    }

    /// Keeps this much back for the answer.
    ///
    /// The caller's own timer runs meanwhile: a service that answers "too late" at the very end of the
    /// deadline is not heard. Some milliseconds inside a data centre; it has to be smaller than `min`.
    ///
    /// # Errors
    /// [`PolicyError::ReserveNotBelowMin`]: a caller that asks for `min` would get nothing.
    pub fn with_reserve(self, reserve: Duration) -> Result<Self, PolicyError> {
        Self { reserve, ..self }.checked()
    }

    fn checked(self) -> Result<Self, PolicyError> {
        let Self { min, reserve, .. } = self;
        if reserve.is_zero() || reserve < min {
            Ok(self)
        } else {
            Err(PolicyError::ReserveNotBelowMin { reserve, min })
        }
    }

    /// How long the work may take that was asked for with `asked`.
    ///
    /// Zero: the deadline has passed, and the work should not begin. `None`: it may take for ever.
    #[must_use]
    pub fn budget(&self, asked: Option<Duration>) -> Option<Duration> {
        self.apply(asked).map(|(budget, _)| budget)
    }

    /// The budget, and who set it.
    pub(crate) fn apply(&self, asked: Option<Duration>) -> Option<(Duration, DeadlineSource)> {
        let (total, source) = match asked {
            Some(Duration::ZERO) => return Some((Duration::ZERO, DeadlineSource::Caller)),
            Some(asked) if asked > self.max => (self.max, DeadlineSource::Policy),
            Some(asked) => (asked.max(self.min), DeadlineSource::Caller),
            None => (self.default?, DeadlineSource::Policy),
        };
        Some((total.saturating_sub(self.reserve), source))
    }
}

/// Why a policy or a configuration contradicts itself.
///
/// All of these are mistakes in a program or its settings, found when it starts: print it and stop.
///
/// # Examples
/// ```
/// use ripcord_propagation::DeadlinePolicy;
/// use std::time::Duration;
///
/// let error = DeadlinePolicy::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "use a deadline policy whose min of 2s is over its max of 1s: swap them or raise max"
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError {
    /// `min` is larger than `max`.
    MinOverMax {
        /// The lower bound.
        min: Duration,
        /// The upper bound.
        max: Duration,
    },
    /// `max` is zero: every request would be over before it begins.
    ZeroMax,
    /// The default is not within `min..=max`.
    DefaultOutside {
        /// The default.
        default: Duration,
        /// The lower bound.
        min: Duration,
        /// The upper bound.
        max: Duration,
    },
    /// The reserve is not smaller than `min`.
    ReserveNotBelowMin {
        /// The reserve.
        reserve: Duration,
        /// The lower bound.
        min: Duration,
    },
    /// A configured header name is none.
    HeaderName(String),
    /// Two wire values have the same key.
    DuplicateValue(&'static str),
    /// The key of a wire value is not allowed.
    ValueKey(&'static str),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinOverMax { min, max } => write!(
                f,
                "use a deadline policy whose min of {min:?} is over its max of {max:?}: swap them \
                 or raise max"
            ),
            Self::ZeroMax => f.write_str(
                "use a deadline policy whose max is zero: every request would be over at once",
            ),
            Self::DefaultOutside { default, min, max } => write!(
                f,
                "use a default deadline of {default:?}: the policy allows {min:?} to {max:?}"
            ),
            Self::ReserveNotBelowMin { reserve, min } => write!(
                f,
                "use a reserve of {reserve:?}: it has to be smaller than min, which is {min:?}, or \
                 nothing is left for the work"
            ),
            Self::HeaderName(name) => {
                write!(f, "use {name:?} as the name of a header: it is no token")
            }
            Self::DuplicateValue(key) => {
                write!(f, "register two wire values under the same key {key:?}")
            }
            Self::ValueKey(key) => write!(
                f,
                "register a wire value under the key {key:?}: keys are [a-z][a-z0-9_.-]{{0,63}}"
            ),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A text from outside as a message may show it: escaped by whoever prints it, and short.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    //= P6
    #[test]
    fn what_is_asked_for_is_clamped_and_its_source_told() {
        let policy = DeadlinePolicy::new(ms(10), ms(1_000))
            .and_then(|policy| policy.with_default(ms(100)))
            .unwrap();
        let caller = |budget| Some((budget, DeadlineSource::Caller));
        let own = |budget| Some((budget, DeadlineSource::Policy));
        for (asked, expect) in [
            (Some(ms(0)), caller(ms(0))),
            (Some(Duration::from_nanos(1)), caller(ms(10))),
            (Some(ms(10)), caller(ms(10))),
            (Some(ms(1_000)), caller(ms(1_000))),
            (Some(ms(1_001)), own(ms(1_000))),
            (Some(Duration::MAX), own(ms(1_000))),
            (None, own(ms(100))),
        ] {
            assert_eq!(policy.apply(asked), expect, "{asked:?}");
        }
        assert_eq!(DeadlinePolicy::default().apply(None), None);
    }

    //= P7
    #[test]
    fn a_reserve_leaves_something_to_everybody() {
        let policy = DeadlinePolicy::new(ms(10), ms(1_000)).unwrap();
        assert_eq!(
            policy.with_reserve(ms(10)),
            Err(PolicyError::ReserveNotBelowMin {
                reserve: ms(10),
                min: ms(10)
            })
        );
        let policy = policy.with_reserve(ms(9)).unwrap();
        assert_eq!(policy.budget(Some(ms(1))), Some(ms(1)));
    }

    //= P7
    #[test]
    fn a_contradiction_is_refused_when_the_policy_is_made() {
        assert_eq!(
            DeadlinePolicy::new(ms(2), ms(1)),
            Err(PolicyError::MinOverMax {
                min: ms(2),
                max: ms(1)
            })
        );
        assert_eq!(DeadlinePolicy::new(ms(0), ms(0)), Err(PolicyError::ZeroMax));
        let policy = DeadlinePolicy::new(ms(10), ms(20)).unwrap();
        for default in [ms(9), ms(21)] {
            assert!(matches!(
                policy.with_default(default),
                Err(PolicyError::DefaultOutside { .. })
            ));
        }
    }
}

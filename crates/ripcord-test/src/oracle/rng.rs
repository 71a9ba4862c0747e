//! [`Rng`]: random numbers that a seed gives again.

/// A `SplitMix64` generator: small, fast, and the same on every platform.
///
/// Not for secrets.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::Rng;
///
/// let (mut one, mut two) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.next_u64(), two.next_u64());
/// assert!(one.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Makes a generator from a seed. Neighbouring seeds give unrelated numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    ///
    /// ```
    /// # use ripcord_test::oracle::Rng;
    /// let mut rng = Rng::new(0);
    /// assert_ne!(rng.next_u64(), rng.next_u64());
    /// ```
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no number below zero");
        let bits = u128::from(self.next_u64());
        let scaled = (bits * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    /// Whether something happens that does so in `some` of `all` cases.
    ///
    /// # Panics
    /// If `all` is zero.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::oracle::Rng;
    /// let mut rng = Rng::new(0);
    /// let heads = (0..1_000).filter(|_| rng.chance(1, 2)).count();
    /// assert!((400..600).contains(&heads));
    /// ```
    pub fn chance(&mut self, some: usize, all: usize) -> bool {
        self.below(all) < some
    }

    /// One of `items`, or `None` if there are none.
    ///
    /// ```
    /// # use ripcord_test::oracle::Rng;
    /// let names = ["a", "b", "c"];
    /// assert!(Rng::new(3).pick(&names).is_some_and(|name| names.contains(name)));
    /// ```
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        items.get(self.below(items.len()))
    }
}

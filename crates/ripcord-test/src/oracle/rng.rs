//! [`Rng`]: random numbers that a seed gives again, or that a fuzzer chooses.

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
pub struct Rng(Numbers);

#[derive(Clone, Debug)]
enum Numbers {
    Seeded(u64),
    /// What is left, the next one last.
    Chosen(Vec<u8>),
}

impl Rng {
    /// Makes a generator from a seed. Neighbouring seeds give unrelated numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Numbers::Seeded(seed))
    }

    /// Makes a generator whose choices are bytes: one a number, then zeros for ever.
    ///
    /// So a fuzzer that changes a byte changes one choice of a program.
    ///
    /// ```
    /// # use ripcord_test::oracle::Rng;
    /// let mut rng = Rng::chosen(&[0, 255]);
    /// assert_eq!([rng.below(100), rng.below(100), rng.below(100)], [0, 99, 0]);
    /// ```
    #[must_use]
    pub fn chosen(bytes: &[u8]) -> Self {
        Self(Numbers::Chosen(bytes.iter().rev().copied().collect()))
    }

    /// The next 64 bits.
    ///
    /// ```
    /// # use ripcord_test::oracle::Rng;
    /// let mut rng = Rng::new(0);
    /// assert_ne!(rng.next_u64(), rng.next_u64());
    /// ```
    pub fn next_u64(&mut self) -> u64 {
        let state = match &mut self.0 {
            Numbers::Seeded(state) => state,
            // The same byte eight times is that fraction of the range.
            Numbers::Chosen(bytes) => return u64::from_ne_bytes([bytes.pop().unwrap_or(0); 8]),
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
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

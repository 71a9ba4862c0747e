//! [`Census`]: who is still there? Probes that tests put into tasks and futures.

use crate::lock::Lock;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Counts what lives: a probe in each task tells which of them outlived the scope.
///
/// Clones share one register.
///
/// # Examples
/// ```
/// use ripcord_test::Census;
///
/// let census = Census::new();
/// let probe = census.enter("reader");
/// let task = async move {
///     let _probe = probe;
///     // The work of the task.
/// };
/// assert_eq!(census.alive(), ["reader"]);
/// drop(task);
/// census.assert_empty();
/// ```
///
/// # Costs
/// Entering and leaving: one lock and O(log n).
#[derive(Clone, Default, Debug)]
pub struct Census {
    register: Arc<Lock<Register>>,
}

#[derive(Default, Debug)]
struct Register {
    next: u64,
    present: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    name: Cow<'static, str>,
    site: &'static Location<'static>,
}

impl Census {
    /// Makes an empty register.
    ///
    /// ```
    /// # use ripcord_test::Census;
    /// assert!(Census::new().alive().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters one; it is present until the probe is dropped.
    ///
    /// ```
    /// # use ripcord_test::Census;
    /// let census = Census::new();
    /// let probes: Vec<_> = (0..3).map(|task| census.enter(format!("task {task}"))).collect();
    /// assert_eq!(census.alive().len(), probes.len());
    /// ```
    #[track_caller]
    pub fn enter(&self, name: impl Into<Cow<'static, str>>) -> Probe {
        let entry = Entry {
            name: name.into(),
            site: Location::caller(),
        };
        let mut register = self.register.lock();
        let number = register.next;
        register.next += 1;
        register.present.insert(number, entry);
        Probe {
            register: Arc::clone(&self.register),
            number,
        }
    }

    /// The names of those present, in the order in which they entered.
    ///
    /// ```
    /// # use ripcord_test::Census;
    /// let census = Census::new();
    /// let (_one, two, _three) = (census.enter("1"), census.enter("2"), census.enter("3"));
    /// drop(two);
    /// assert_eq!(census.alive(), ["1", "3"]);
    /// ```
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        let register = self.register.lock();
        let names = register
            .present
            .values()
            .map(|entry| entry.name.to_string());
        names.collect()
    }

    /// How many have entered since the census was made, gone or not.
    ///
    /// ```
    /// # use ripcord_test::Census;
    /// let census = Census::new();
    /// drop(census.enter("short"));
    /// assert_eq!((census.entered(), census.alive().len()), (1, 0));
    /// ```
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.register.lock().next
    }

    /// Asserts that nobody is left.
    ///
    /// # Panics
    /// If somebody is: with the name and the place of entry of each.
    ///
    /// # Examples
    /// ```should_panic
    /// # use ripcord_test::Census;
    /// let census = Census::new();
    /// let _probe = census.enter("reader");
    /// census.assert_empty(); // outlived the scope: `reader` (entered at src/main.rs:5:21)
    /// ```
    #[track_caller]
    pub fn assert_empty(&self) {
        let left = self.to_string();
        assert!(left.is_empty(), "outlived the scope: {left}");
    }
}

impl fmt::Display for Census {
    /// Those present, with the places where they entered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let register = self.register.lock();
        for (at, entry) in register.present.values().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{}` (entered at {})", entry.name, entry.site)?;
        }
        Ok(())
    }
}

/// The presence of one who was entered in a [`Census`]; dropping it leaves.
///
/// ```
/// # use ripcord_test::Census;
/// let census = Census::new();
/// let probe = census.enter("writer");
/// assert_eq!(probe.name(), "writer");
/// drop(probe);
/// census.assert_empty();
/// ```
#[must_use = "a probe that is dropped at once watches nothing"]
pub struct Probe {
    register: Arc<Lock<Register>>,
    number: u64,
}

impl Probe {
    /// The name that was entered.
    #[must_use]
    pub fn name(&self) -> String {
        let register = self.register.lock();
        let entry = register.present.get(&self.number);
        entry.map_or_else(String::new, |entry| entry.name.to_string())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let entry = self.register.lock().present.remove(&self.number);
        drop(entry);
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name()).finish()
    }
}

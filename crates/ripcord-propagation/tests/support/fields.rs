//! Headers as a message has them: an ordered list, which believes whatever it is given.

use ripcord_propagation::{Carrier, CarrierMut};

/// A carrier that has no rules of its own, as maps of strings in message queues.
///
/// # Invariants
/// 1. What is set through [`CarrierMut`] is a lower-case token and printable ASCII: checked here,
///    since no other carrier would notice.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Fields(pub(crate) Vec<(String, Vec<u8>)>);

impl Fields {
    pub(crate) fn of<N: AsRef<str>, V: AsRef<[u8]>>(lines: &[(N, V)]) -> Self {
        let owned = |(name, value): &(N, V)| (name.as_ref().to_owned(), value.as_ref().to_vec());
        Self(lines.iter().map(owned).collect())
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }

    /// The value of a header that stands there once at most.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let (_, value) = found.next()?;
        assert!(
            found.next().is_none(),
            "{name} stands there twice: {self:?}"
        );
        Some(std::str::from_utf8(value).expect("invariant 1"))
    }

    pub(crate) fn bytes(&self) -> usize {
        let lines = self.0.iter();
        lines.map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Carrier for Fields {
    fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in &self.0 {
            each(name, value);
        }
    }
}

impl CarrierMut for Fields {
    #[track_caller]
    fn set(&mut self, name: &str, value: &str) {
        let is_token = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?}");
        let is_text = |byte: u8| matches!(byte, b' '..=b'~');
        assert!(value.bytes().all(is_text), "{name}: {value:?}");
        assert!(
            !value.is_empty() && value.trim() == value,
            "{name}: {value:?}"
        );
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn strip(&mut self, is_stale: &dyn Fn(&str) -> bool) {
        self.0.retain(|(name, _)| !is_stale(name));
    }
}

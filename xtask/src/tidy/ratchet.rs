//! The accepted counts in `xtask/tidy.toml`: they may fall and never rise.
//!
//! The file is the subset of TOML that a ratchet needs: `key = number`, comments, blank lines.

use std::collections::BTreeMap;

use crate::out::Failure;

/// Path of the file from the workspace root.
pub(crate) const PATH: &str = "xtask/tidy.toml";

/// Reads the accepted count of every rule.
///
/// # Errors
/// A line that is not `key = number`, an unknown or repeated key, a key that is missing.
pub(crate) fn parse(text: &str, keys: &[&str]) -> Result<BTreeMap<String, usize>, Failure> {
    let mut accepted = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let broken = |what: String| Failure::Broken(format!("{PATH}:{}: {what}", index + 1));
        let pair = line.split_once('=').and_then(|(key, number)| {
            let number = number.trim().parse::<usize>().ok()?;
            Some((key.trim(), number))
        });
        let Some((key, number)) = pair else {
            return Err(broken(format!("`{line}` is not `key = number`")));
        };
        if !keys.contains(&key) {
            return Err(broken(format!(
                "no rule is called `{key}`; remove the line"
            )));
        }
        if accepted.insert(key.to_owned(), number).is_some() {
            return Err(broken(format!(
                "`{key}` stands here twice; remove one line"
            )));
        }
    }
    match keys.iter().find(|key| !accepted.contains_key(**key)) {
        None => Ok(accepted),
        Some(key) => Err(Failure::Broken(format!("{PATH} lacks `{key} = 0`; add it"))),
    }
}

/// What a count means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// As accepted.
    Held,
    /// More than accepted: findings to mend.
    Rose,
    /// Fewer than accepted: the number in the file is out of date.
    Fell,
}

impl Step {
    pub(crate) fn of(count: usize, accepted: usize) -> Self {
        match count.cmp(&accepted) {
            std::cmp::Ordering::Equal => Self::Held,
            std::cmp::Ordering::Greater => Self::Rose,
            std::cmp::Ordering::Less => Self::Fell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["a", "b"];

    #[test]
    fn the_file_is_read() {
        let accepted = parse("# head\n\na = 0 # none\nb=12\n", KEYS).unwrap();
        assert_eq!(accepted["a"], 0);
        assert_eq!(accepted["b"], 12);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, expect) in [
            ("a = 0\nb = -1\n", "tidy.toml:2: `b = -1` is not"),
            ("a\n", "tidy.toml:1: `a` is not"),
            ("c = 0\n", "tidy.toml:1: no rule is called `c`"),
            ("a = 0\na = 1\n", "tidy.toml:2: `a` stands here twice"),
            ("a = 0\n", "lacks `b = 0`"),
        ] {
            let error = parse(text, KEYS).unwrap_err().to_string();
            assert!(error.contains(expect), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        assert_eq!(Step::of(0, 0), Step::Held);
        assert_eq!(Step::of(1, 0), Step::Rose);
        assert_eq!(Step::of(1, 2), Step::Fell);
    }
}

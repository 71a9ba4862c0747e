//! Names as numbers, so that what is live holds no text of its own.

use std::collections::HashMap;
use std::sync::Arc;

/// The name of nothing that has one.
pub(crate) const UNNAMED: u32 = 0;

/// Texts by number.
#[derive(Debug)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            texts: vec!["".into(), "(more names)".into()],
            numbers: HashMap::default(),
        }
    }
}

impl Names {
    /// The number of a name. Beyond the limit all new ones are the same.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return UNNAMED;
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.texts.len() >= NAMES_MAX {
            return 1;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(1);
        let text: Arc<str> = name.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The name with this number; `None` for nothing.
    pub(crate) fn text(&self, number: u32) -> Option<&Arc<str>> {
        self.texts
            .get(number as usize)
            .filter(|text| !text.is_empty())
    }
}

/// Names are of a program's source. One that makes a name for each request gets so many of them.
const NAMES_MAX: usize = 1 << 17;

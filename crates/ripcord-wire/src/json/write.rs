//! Writes JSON: no white space, keys in their order, only the escapes that have to be.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Bounds, Flaw, Json, What};
use std::fmt::{self, Write};

/// Writes one value.
pub(crate) fn value(json: &Json, out: &mut dyn Write) -> fmt::Result {
    match json {
        Json::Null => out.write_str("null"),
        Json::Bool(bool) => write!(out, "{bool}"),
        Json::Int(int) => write!(out, "{int}"),
        Json::Text(text) => string(text, out),
        Json::List(items) => {
            out.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                out.write_str(comma(index))?;
                value(item, out)?;
            }
            out.write_char(']')
        }
        Json::Map(entries) => object(entries, out),
    }
}

/// Writes an object, whatever is in it; see [`measure`].
pub(crate) fn object(entries: &[(String, Json)], out: &mut dyn Write) -> fmt::Result {
    out.write_char('{')?;
    for (index, (key, json)) in entries.iter().enumerate() {
        out.write_str(comma(index))?;
        string(key, out)?;
        out.write_char(':')?;
        value(json, out)?;
    }
    out.write_char('}')
}

/// Checks what [`object`] would write, and counts its bytes; nothing is allocated.
///
/// The checks are the reader's, in its order and with its offsets, so that what passes here passes
/// there. The depth is checked on the way down: a value nested without end is left early.
pub(crate) fn measure<'a>(
    entries: impl Iterator<Item = (&'a str, &'a Json)> + Clone,
    bounds: &Bounds,
) -> Result<usize, Flaw> {
    let mut measure = Measure {
        written: Count(0),
        bounds,
    };
    measure.map(entries, 1)?;
    Ok(measure.written.0)
}

struct Measure<'a> {
    written: Count,
    bounds: &'a Bounds,
}

impl Measure<'_> {
    /// `depth`: of the lists and maps around the value.
    fn value(&mut self, json: &Json, depth: usize) -> Result<(), Flaw> {
        let inner = depth.saturating_add(1);
        match json {
            Json::Map(entries) => self.map(entries.iter().map(|(k, v)| (&**k, v)), inner)?,
            Json::List(items) => {
                self.open(inner)?;
                for (index, item) in items.iter().enumerate() {
                    self.written.add(comma(index).len());
                    self.value(item, inner)?;
                }
                self.written.add(1);
            }
            leaf => value(leaf, &mut self.written).unwrap_or_default(),
        }
        Ok(())
    }

    fn map<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a str, &'a Json)> + Clone,
        depth: usize,
    ) -> Result<(), Flaw> {
        self.open(depth)?;
        let all = entries.clone();
        for (index, (key, json)) in entries.enumerate() {
            self.written.add(comma(index).len());
            if index >= self.bounds.keys_max {
                return Err(self.flaw(What::TooManyKeys));
            }
            if all.clone().take(index).any(|(known, _)| known == key) {
                return Err(self.flaw(What::DuplicateKey));
            }
            string(key, &mut self.written).unwrap_or_default();
            self.written.add(1);
            self.value(json, depth)?;
        }
        self.written.add(1);
        Ok(())
    }

    fn open(&mut self, depth: usize) -> Result<(), Flaw> {
        if depth > self.bounds.depth_max {
            return Err(self.flaw(What::TooDeep));
        }
        self.written.add(1);
        Ok(())
    }

    fn flaw(&self, what: What) -> Flaw {
        Flaw {
            offset: self.written.0,
            what,
        }
    }
}

/// Counts what is written; it never fails.
struct Count(usize);

impl Count {
    fn add(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.len());
        Ok(())
    }
}

/// Quotes, backslashes and control characters are escaped (RFC 8259 §7), nothing else is.
fn string(text: &str, out: &mut dyn Write) -> fmt::Result {
    out.write_char('"')?;
    let is_special = |char: char| char < ' ' || char == '"' || char == '\\';
    let mut rest = text;
    while let Some((plain, special)) = rest
        .find(is_special)
        .and_then(|at| rest.split_at_checked(at))
    {
        out.write_str(plain)?;
        let mut chars = special.chars();
        match chars.next().unwrap_or_default() {
            char @ ('"' | '\\') => {
                out.write_char('\\')?;
                out.write_char(char)?;
            }
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            char => write!(out, "\\u{:04x}", u32::from(char))?,
        }
        rest = chars.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// Before each item but the first.
fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

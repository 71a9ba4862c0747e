//! Reads JSON: strictly, within bounds, with the place of the first flaw.
//!
//! # Costs
//! Linear in the text, times `keys_max` for the search for duplicate keys. Memory: at most some 40
//! bytes for each byte of the text, 80 KiB at the default limits; a list of maps with one key each
//! takes that much (`tests/bounded_memory.rs`, 64-bit Linux, 2026-11).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Bounds, Flaw, Json, What};

/// Reads a text that is one object, with white space around it; `is_key` judges its keys.
pub(crate) fn object(
    text: &[u8],
    bounds: &Bounds,
    is_key: fn(&str) -> bool,
) -> Result<Vec<(String, Json)>, Flaw> {
    let text = std::str::from_utf8(text).map_err(|error| Flaw {
        offset: error.valid_up_to(),
        what: What::Expected("UTF-8"),
    })?;
    let mut reader = Reader {
        text,
        rest: text,
        bounds,
    };
    reader.skip_space();
    if !reader.rest.starts_with('{') {
        return Err(reader.expected("an object"));
    }
    let entries = reader.map(1, is_key)?;
    reader.skip_space();
    if reader.rest.is_empty() {
        Ok(entries)
    } else {
        Err(reader.expected("the end of the text"))
    }
}

struct Reader<'a> {
    text: &'a str,
    /// What is not read yet, the end of `text`.
    rest: &'a str,
    bounds: &'a Bounds,
}

impl<'a> Reader<'a> {
    /// `depth`: of the lists and maps around the value.
    fn value(&mut self, depth: usize) -> Result<Json, Flaw> {
        let inner = depth.saturating_add(1);
        match self.rest.bytes().next() {
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Json::Int(self.integer()?)),
            Some(b'{') => Ok(Json::Map(self.map(inner, |_| true)?)),
            Some(b'[') => Ok(Json::List(self.list(inner)?)),
            _ if self.skip("null") => Ok(Json::Null),
            _ if self.skip("true") => Ok(Json::Bool(true)),
            _ if self.skip("false") => Ok(Json::Bool(false)),
            _ => Err(self.expected("a value")),
        }
    }

    /// From the opening brace to the closing one; `depth` counts this map.
    fn map(&mut self, depth: usize, is_key: fn(&str) -> bool) -> Result<Vec<(String, Json)>, Flaw> {
        self.open(depth)?;
        let mut entries: Vec<(String, Json)> = Vec::new();
        if self.skip("}") {
            return Ok(entries);
        }
        loop {
            let offset = self.offset();
            let key = self.string()?;
            let what = if !is_key(&key) {
                Some(What::Key)
            } else if entries.len() >= self.bounds.keys_max {
                Some(What::TooManyKeys)
            } else if entries.iter().any(|(known, _)| *known == key) {
                Some(What::DuplicateKey)
            } else {
                None
            };
            if let Some(what) = what {
                return Err(Flaw { offset, what });
            }
            self.skip_space();
            if !self.skip(":") {
                return Err(self.expected("a colon"));
            }
            self.skip_space();
            let value = self.value(depth)?;
            entries.push((key, value));
            if self.closes("}", "a comma or a closing brace")? {
                return Ok(entries);
            }
        }
    }

    /// From the opening bracket to the closing one; `depth` counts this list.
    fn list(&mut self, depth: usize) -> Result<Vec<Json>, Flaw> {
        self.open(depth)?;
        let mut items = Vec::new();
        if self.skip("]") {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.closes("]", "a comma or a closing bracket")? {
                return Ok(items);
            }
        }
    }

    /// Checks the depth before anything inside is looked at.
    fn open(&mut self, depth: usize) -> Result<(), Flaw> {
        if depth > self.bounds.depth_max {
            let offset = self.offset();
            let what = What::TooDeep;
            return Err(Flaw { offset, what });
        }
        self.take(1);
        self.skip_space();
        Ok(())
    }

    /// After an item: whether the list or map ends, or another item follows.
    fn closes(&mut self, bracket: &str, expected: &'static str) -> Result<bool, Flaw> {
        self.skip_space();
        if self.skip(bracket) {
            return Ok(true);
        }
        if !self.skip(",") {
            return Err(self.expected(expected));
        }
        self.skip_space();
        Ok(false)
    }

    /// From the sign to the last digit.
    ///
    /// A fraction is refused even where it is zero: what writes `1.0` means a float.
    fn integer(&mut self) -> Result<i64, Flaw> {
        let flaw = self.expected("an integer of 64 bits");
        let start = self.rest;
        self.skip("-");
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        match self.take(digits).as_bytes() {
            [] => return Err(self.expected("a digit")),
            [b'0', _, ..] => return Err(flaw.of("a number without leading zeros")),
            _ => {}
        }
        if self.rest.starts_with(['.', 'e', 'E']) {
            return Err(self.expected("an integer, without fraction or exponent"));
        }
        let len = start.len().saturating_sub(self.rest.len());
        let number = start.get(..len).unwrap_or_default();
        number.parse().map_err(|_| flaw)
    }

    /// From the opening quote to the closing one; runs without escapes are copied as they are.
    fn string(&mut self) -> Result<String, Flaw> {
        if !self.skip("\"") {
            return Err(self.expected("a string"));
        }
        let mut string = String::new();
        loop {
            let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
            let plain = self.rest.bytes().take_while(is_plain).count();
            string.push_str(self.take(plain));
            match self.rest.bytes().next() {
                Some(b'"') => {
                    self.take(1);
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(_) => return Err(self.expected("no raw control character")),
                None => return Err(self.expected("a closing quote")),
            }
        }
    }

    /// From the backslash on.
    fn escape(&mut self) -> Result<char, Flaw> {
        let flaw = self.expected("an escape");
        let mut chars = self.rest.chars();
        let _backslash = chars.next();
        let char = match chars.next() {
            Some(char @ ('"' | '\\' | '/')) => char,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(flaw),
            _ => return Err(flaw),
        };
        self.rest = chars.as_str();
        Ok(char)
    }

    /// `\uXXXX`, or two of them that are a surrogate pair; a half of a pair is no character.
    fn unicode(&mut self, flaw: Flaw) -> Result<char, Flaw> {
        let first = self.unit().ok_or(flaw)?;
        if let Some(char) = char::from_u32(first) {
            return Ok(char);
        }
        let lone = flaw.of("no lone surrogate");
        let second = self.unit().ok_or(lone)?;
        let units = [first, second].map(|unit| u16::try_from(unit).unwrap_or_default());
        let mut decoded = char::decode_utf16(units);
        decoded.next().and_then(Result::ok).ok_or(lone)
    }

    /// The number of `\uXXXX`.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.strip_prefix("\\u")?.get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        self.take(6);
        Some(unit)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether `token` stood there; then it is behind.
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// So many bytes, which end between two characters.
    fn take(&mut self, len: usize) -> &'a str {
        let parts = self.rest.split_at_checked(len);
        let (taken, rest) = parts.unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn offset(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }

    fn expected(&self, what: &'static str) -> Flaw {
        Flaw {
            offset: self.offset(),
            what: What::Expected(what),
        }
    }
}

impl Flaw {
    /// The same place, something else to say.
    fn of(self, expected: &'static str) -> Self {
        Self {
            what: What::Expected(expected),
            ..self
        }
    }
}

//! Splits Rust text into code and comments by blanking, so that the checks can search plain text.
//!
//! Not a parser: it knows strings (plain, byte, C, raw), characters, lifetimes and nested comments,
//! which is all that can hide or fake a word. Both results have the length of the input, byte for
//! byte, and the same line breaks; what does not belong is a space. The delimiters of a string stay
//! in the code, its contents go.
//!
//! *Read next*: `items.rs`, which finds functions and tests in the result.

/// One text, seen twice.
#[derive(Debug)]
pub(crate) struct Blanked {
    /// The text without comments and without the contents of strings and characters.
    pub(crate) code: String,
    /// The comments alone, with their markers.
    pub(crate) comments: String,
}

/// Splits `text`. An unterminated string or comment reaches to the end of the text.
pub(crate) fn blank(text: &str) -> Blanked {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
        code: Vec::with_capacity(text.len()),
        comments: Vec::with_capacity(text.len()),
    };
    lexer.run();
    Blanked {
        code: into_text(lexer.code),
        comments: into_text(lexer.comments),
    }
}

/// Whole characters are kept or blanked, so nothing is ever replaced here.
fn into_text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// What becomes of a run of bytes.
#[derive(Clone, Copy)]
enum Fate {
    Code,
    Comment,
    Gone,
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    code: Vec<u8>,
    comments: Vec<u8>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'/' if self.peek(1) == Some(b'/') => self.line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.block_comment(),
                b'"' => self.string(),
                b'\'' => self.quote(),
                b'r' | b'b' | b'c' if !self.after_ident() => match self.raw_start() {
                    Some((prefix, hashes)) => self.raw_string(prefix, hashes),
                    None => self.take(1, Fate::Code),
                },
                _ => self.take(1, Fate::Code),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn after_ident(&self) -> bool {
        self.at
            .checked_sub(1)
            .and_then(|before| self.bytes.get(before))
            .is_some_and(|&b| is_ident_byte(b))
    }

    /// Moves `count` bytes on; line breaks survive in both results.
    fn take(&mut self, count: usize, fate: Fate) {
        let end = (self.at + count).min(self.bytes.len());
        for &byte in &self.bytes[self.at..end] {
            let blank = if byte == b'\n' { b'\n' } else { b' ' };
            let (code, comment) = match fate {
                Fate::Code => (byte, blank),
                Fate::Comment => (blank, byte),
                Fate::Gone => (blank, blank),
            };
            self.code.push(code);
            self.comments.push(comment);
        }
        self.at = end;
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        self.take(length, Fate::Comment);
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        let mut length = 0;
        while self.peek(length).is_some() {
            match (self.peek(length), self.peek(length + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    length += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    length += 2;
                    if depth == 0 {
                        break;
                    }
                }
                _ => length += 1,
            }
        }
        self.take(length, Fate::Comment);
    }

    fn string(&mut self) {
        self.take(1, Fate::Code);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' => return self.take(1, Fate::Code),
                b'\\' => self.take(2, Fate::Gone),
                _ => self.take(1, Fate::Gone),
            }
        }
    }

    /// If a raw string starts here: the length up to its quote, and the number of hashes.
    fn raw_start(&self) -> Option<(usize, usize)> {
        let mut ahead = usize::from(matches!(self.peek(0), Some(b'b' | b'c')));
        if self.peek(ahead) != Some(b'r') {
            return None;
        }
        ahead += 1;
        let mut hashes = 0;
        while self.peek(ahead) == Some(b'#') {
            ahead += 1;
            hashes += 1;
        }
        (self.peek(ahead) == Some(b'"')).then_some((ahead, hashes))
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) {
        self.take(prefix + 1, Fate::Code);
        while let Some(byte) = self.peek(0) {
            let closes = byte == b'"' && (1..=hashes).all(|n| self.peek(n) == Some(b'#'));
            if closes {
                return self.take(1 + hashes, Fate::Code);
            }
            self.take(1, Fate::Gone);
        }
    }

    /// A character literal, or the tick of a lifetime or label.
    fn quote(&mut self) {
        let Some(next) = self.peek(1) else {
            return self.take(1, Fate::Code);
        };
        let body = if next == b'\\' {
            // The escaped byte may itself be a quote.
            let mut length = 2;
            while self
                .peek(1 + length)
                .is_some_and(|b| b != b'\'' && b != b'\n')
            {
                length += 1;
            }
            length
        } else {
            utf8_width(next)
        };
        if self.peek(1 + body) == Some(b'\'') && next != b'\'' {
            self.take(1, Fate::Code);
            self.take(body, Fate::Gone);
        }
        self.take(1, Fate::Code);
    }
}

/// Whether `byte` can stand inside an identifier. Bytes outside ASCII can.
pub(crate) fn is_ident_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn utf8_width(first: u8) -> usize {
    match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the code with `expect`, in which `·` stands for a blanked byte that is easy to miscount.
    fn check(input: &str, expect: &str) {
        let got = blank(input);
        assert_eq!(got.code, expect.replace('·', " "), "code of {input:?}");
        assert_eq!(got.code.len(), input.len());
        assert_eq!(got.comments.len(), input.len());
        let lines = |text: &str| text.matches('\n').count();
        assert_eq!(lines(&got.code), lines(input));
        assert_eq!(lines(&got.comments), lines(input));
    }

    #[test]
    fn line_comments_go_and_line_breaks_stay() {
        check("a // b\nc", "a ····\nc");
        check("// only", "·······");
        assert_eq!(blank("a // b\nc").comments, "  // b\n ");
    }

    #[test]
    fn block_comments_nest() {
        check("a /* b /* c */ d */ e", "a ················· e");
        check("x/*\n*/y", "x··\n··y");
        check("/* open", "·······");
    }

    #[test]
    fn strings_lose_their_contents() {
        check(r#"f("a // b")"#, r#"f("······")"#);
        check(r#"f("a \" b", c)"#, r#"f("······", c)"#);
        check(r#"f("\\", c)"#, r#"f("··", c)"#);
        check("f(\"a\nb\")", "f(\"·\n·\")");
        check(r#"b"x" c"y""#, r#"b"·" c"·""#);
        check("\"open", "\"····");
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        check(r#"r"a\" b"#, r#"r"··" b"#);
        check(r##"r#"a " b"# c"##, r##"r#"·····"# c"##);
        check(r###"br##"a "# b"## c"###, r###"br##"······"## c"###);
        check(r#"cr"x" d"#, r#"cr"·" d"#);
    }

    #[test]
    fn raw_identifiers_and_names_that_end_in_r_are_code() {
        check("r#fn + b", "r#fn + b");
        check(r#"for x in r"{" {}"#, r#"for x in r"·" {}"#);
        check(r#"var"x""#, r#"var"·""#);
    }

    #[test]
    fn characters_are_blanked_and_lifetimes_are_not() {
        check("'{'", "'·'");
        check("b'\"' x", "b'·' x");
        check(r"'\'' x", r"'··' x");
        check(r"'\u{1F600}' x", r"'·········' x");
        check("fn f<'a, 'b>(x: &'a str)", "fn f<'a, 'b>(x: &'a str)");
        check("'outer: loop {}", "'outer: loop {}");
        check("f::<'a>('b')", "f::<'a>('·')");
    }

    #[test]
    fn characters_outside_ascii_keep_the_length() {
        check("'é' x", "'··' x");
        check("\"é\" // ü", "\"··\" ·····");
        check("größe", "größe");
    }

    #[test]
    fn a_comment_marker_in_a_string_is_no_comment() {
        assert!(blank(r#"f("// unsafe")"#).comments.trim().is_empty());
        assert_eq!(blank("//= C12").comments, "//= C12");
    }
}

//! From text back to the bytes of a trace.
//!
//! # How a line becomes bytes
//! A block begins with an encoder that knows nothing, and each line is an event that is handed to it.
//! So the form is the one that the encoder chooses for it, as it does for a recorder: the text does not say
//! it, and who edits a line need not know of forms. A type that this version does not have is encoded
//! by the schema that stands in the text, argument by argument.
//!
//! # Limits
//! The text may be of a stranger: a payload has at most 1 MiB, a text of an event 1,024 bytes, and a
//! schema the limits of [`Schema::parse`]. A line that is not of the grammar ends it, with its number.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::TEXT_BYTES_MAX;
use crate::arg::{ArgKind, Seq};
use crate::event::WITH_LENGTH;
use crate::schema::{SchemaArg, SchemaRow};
use crate::value::Value;
use crate::{
    BlockInfo, BlockKind, BlockMemory, ClockKind, Encoder, FileHeader, Full, MAJOR, MINOR,
    PAYLOAD_BYTES_MAX, Progress, Schema,
};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Makes the bytes of a trace from its text.
///
/// # Errors
/// [`TextError`]: a line is not of the grammar that [`write()`](super::write) writes, names an event
/// or an argument that the schema above does not have, or makes a payload of more than 1 MiB.
///
/// # Examples
/// ```
/// use ripcord_trace_format::text;
///
/// let error = text::parse("block events window=1 thread=1 first=0 last=0 events=1\n  +0 tea\n");
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "parse the text of a trace: line 2: no event `tea` in the schema",
/// );
/// ```
///
/// # Costs
/// The whole trace is made in memory; this is for small ones.
pub fn parse(text: &str) -> Result<Vec<u8>, TextError> {
    let mut state = State {
        trace: Vec::new(),
        schema: Schema::current(),
        open: None,
        scratch: vec![0; PAYLOAD_BYTES_MAX],
        progress: Progress::default(),
        memory: BlockMemory::new(),
        lines: String::new(),
    };
    let mut number = 0_usize;
    for line in text.lines() {
        number = number.saturating_add(1);
        let error = |what| TextError { line: number, what };
        state.line(line).map_err(error)?;
    }
    let error = |what| TextError { line: number, what };
    state.close().map_err(error)?;
    Ok(state.trace)
}

/// Why a text is no trace.
///
/// # Examples
/// ```
/// use ripcord_trace_format::text;
///
/// let error = text::parse("# fine\ngarbage\n").unwrap_err();
/// assert_eq!(error.line, 2);
/// assert_eq!(error.what, "neither `ript`, `block`, `#` nor two spaces");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, what } = self;
        write!(f, "parse the text of a trace: line {line}: {what}")
    }
}

impl Error for TextError {}

/// A trace in the making.
struct State {
    /// All blocks that are complete.
    trace: Vec<u8>,
    /// By which the events are read, as a reader would.
    schema: Schema,
    /// The block that the lines belong to.
    open: Option<BlockInfo>,
    /// Its payload, and how far it has come.
    scratch: Vec<u8>,
    progress: Progress,
    memory: BlockMemory,
    /// The text of a schema block.
    lines: String,
}

impl State {
    /// Takes a line over, whichever it is.
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(inner) = line.strip_prefix("  ") {
            let kind = self.open.map(|info| info.kind);
            return match (kind, inner.strip_prefix("..")) {
                (None, _) => Err("no block above it".to_owned()),
                (Some(_), Some(digits)) => {
                    let bytes = unhex(digits)?;
                    self.put(|payload| payload.push_bytes(&bytes))
                }
                (Some(BlockKind::Schema), None) => {
                    self.lines.push_str(inner);
                    self.lines.push('\n');
                    self.put(|payload| {
                        payload.push_bytes(inner.as_bytes())?;
                        payload.push_bytes(b"\n")
                    })
                }
                (Some(_), None) => self.event(inner),
            };
        }
        self.close()?;
        if let Some(fields) = line.strip_prefix("block ") {
            let info = block(fields)?;
            self.progress = Progress::at(info.first_tick);
            self.memory.clear();
            self.open = Some(info);
            return Ok(());
        }
        match line.strip_prefix("ript ") {
            Some(fields) if self.trace.is_empty() => {
                let header = header(fields)?;
                if header.minor > MINOR {
                    self.schema = Schema::empty();
                }
                self.trace = header.encode();
                Ok(())
            }
            Some(_) => Err("a header that is not the first line".to_owned()),
            None => Err("neither `ript`, `block`, `#` nor two spaces".to_owned()),
        }
    }

    /// Ends the block whose lines were read.
    fn close(&mut self) -> Result<(), String> {
        let Some(info) = self.open.take() else {
            return Ok(());
        };
        if info.kind == BlockKind::Schema {
            let schema = Schema::parse(&self.lines).map_err(|error| error.to_string())?;
            self.schema = schema;
            self.lines.clear();
        }
        let payload = self.scratch.get(..self.progress.len).unwrap_or_default();
        let header = info.header(payload).map_err(|error| error.to_string())?;
        self.trace.extend(header);
        self.trace.extend(payload);
        Ok(())
    }

    /// Writes behind the payload so far.
    fn put(
        &mut self,
        put: impl FnOnce(&mut Encoder<'_>) -> Result<(), Full>,
    ) -> Result<(), String> {
        let memory = std::mem::take(&mut self.memory);
        let mut payload = Encoder::resume(&mut self.scratch, self.progress, memory);
        let is_put = put(&mut payload);
        self.progress = payload.progress();
        self.memory = payload.into_memory();
        is_put.map_err(|_| "a payload of more than 1048576 bytes; use several blocks".to_owned())
    }

    /// An event by the schema, with what is left of its bytes: `+25 poll_start slot=7 seq=3 ..00`
    fn event(&mut self, line: &str) -> Result<(), String> {
        let mut words = Words(line);
        let delta = words.next().and_then(|word| word.strip_prefix('+'));
        let delta: u64 = number("ticks", delta.ok_or("no ticks like `+25`")?)?;
        let name = words.next().unwrap_or_default();
        let known = match name.strip_prefix("0x") {
            None => Err(self.schema.row_named(name)),
            Some(digits) => Ok(u8::from_str_radix(digits, 16)),
        };
        let (kind, row) = match known {
            Err(Some(row)) => (row.number(), Some(row)),
            Err(None) => return Err(format!("no event `{name}` in the schema")),
            Ok(Ok(kind)) => (kind, None),
            Ok(Err(_)) => return Err(format!("no type of event `{name}`")),
        };
        let args = row.map(SchemaRow::args).unwrap_or_default();
        let (mut texts, mut rest) = (Vec::new(), Vec::new());
        let mut has_rest = false;
        for word in words {
            if let Some(digits) = word.strip_prefix("..") {
                rest = unhex(digits)?;
                has_rest = true;
                continue;
            }
            let arg = args.get(texts.len()).filter(|_| !has_rest);
            let arg = arg.ok_or_else(|| format!("`{word}` is too much"))?;
            texts.push(text(arg, word)?);
        }
        let is_whole = texts.len() == args.len() || has_rest || kind >= WITH_LENGTH;
        if !is_whole {
            return Err(format!("`{name}` with too few arguments"));
        }
        let values = args.iter().zip(&texts).map(|(arg, text)| value(arg, text));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let tick = self.progress.tick.checked_add(delta);
        let tick = tick.ok_or("ticks of more than 64 bits")?;
        let row = row.cloned();
        self.put(|payload| payload.push_values(tick, kind, row.as_ref(), &values, &rest))
    }
}

/// The word of an argument without its name, and a text without its quotes.
///
/// # Errors
/// Another name than the schema has there, no quotes, or more than 1,024 bytes.
fn text(arg: &SchemaArg, word: &str) -> Result<String, String> {
    let name = arg.name();
    let (found, word) = word.split_once('=').unwrap_or((word, ""));
    if found != name {
        return Err(format!("`{found}` where `{name}` is wanted"));
    }
    if !matches!(arg.kind(), ArgKind::Text | ArgKind::Name | ArgKind::Id) {
        return Ok(word.to_owned());
    }
    let text = unquote(word).ok_or_else(|| format!("`{name}={word}` is no text in quotes"))?;
    if text.len() > TEXT_BYTES_MAX {
        let len = text.len();
        return Err(format!(
            "`{name}` of {len} bytes, of at most {TEXT_BYTES_MAX}"
        ));
    }
    Ok(text)
}

/// An argument as the schema wants it, from what [`text`] gives.
///
/// # Errors
/// No number, one that is too large for its kind, or a name that the enum does not have.
fn value<'a>(arg: &SchemaArg, word: &'a str) -> Result<Value<'a>, String> {
    let name = arg.name();
    Ok(match arg.kind() {
        ArgKind::Uint | ArgKind::Ctx | ArgKind::Task => Value::Uint(number(name, word)?),
        ArgKind::OptUint | ArgKind::OptCtx | ArgKind::OptTask if word == "-" => {
            Value::OptUint(None)
        }
        ArgKind::OptUint | ArgKind::OptCtx | ArgKind::OptTask => {
            Value::OptUint(Some(number(name, word)?))
        }
        ArgKind::Int => Value::Int(number(name, word)?),
        ArgKind::OptInt if word == "-" => Value::OptInt(None),
        ArgKind::OptInt => Value::OptInt(Some(number(name, word)?)),
        ArgKind::Seq => match number(name, word)? {
            seq @ 0..=127 => Value::Seq(Seq::new(seq)),
            _ => return Err(format!("`{name}={word}`, of at most 127")),
        },
        ArgKind::Enum => {
            let digits = word.strip_prefix('#');
            let known = match digits {
                Some(digits) => Some(number(name, digits)?),
                None => arg.number_of(word),
            };
            Value::Enum(known.ok_or_else(|| format!("`{name}` has no name `{word}`"))?)
        }
        ArgKind::Text | ArgKind::Name => Value::Text(word),
        ArgKind::Id => Value::Id(word.into()),
    })
}

/// The words behind `ript`.
fn header(fields: &str) -> Result<FileHeader, String> {
    let mut words = Words(fields);
    let version = words.next().unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    if number::<u16>("version", major)? != MAJOR {
        return Err(format!("version {version}, of at most {MAJOR}.x"));
    }
    let clock = named(&mut words, "clock")?;
    let header = FileHeader {
        minor: number("version", minor)?,
        clock: ClockKind::parse(clock).ok_or_else(|| format!("no clock `{clock}`"))?,
        shift: field(&mut words, "shift")?,
        frequency: field(&mut words, "frequency")?,
        process: field(&mut words, "process")?,
        wall_ns: field(&mut words, "wall")?,
        program: unquote(named(&mut words, "program")?).ok_or("no `program` in quotes")?,
    };
    nothing_after(words)?;
    Ok(header)
}

/// The words behind `block`.
fn block(fields: &str) -> Result<BlockInfo, String> {
    let mut words = Words(fields);
    let kind = words.next().unwrap_or_default();
    let kind = BlockKind::parse(kind).ok_or_else(|| format!("no kind of block `{kind}`"))?;
    let info = BlockInfo {
        kind,
        window: field(&mut words, "window")?,
        thread: field(&mut words, "thread")?,
        first_tick: field(&mut words, "first")?,
        last_tick: field(&mut words, "last")?,
        events: field(&mut words, "events")?,
    };
    nothing_after(words)?;
    Ok(info)
}

/// The end of a line.
fn nothing_after(mut words: Words<'_>) -> Result<(), String> {
    words
        .next()
        .map_or(Ok(()), |word| Err(format!("`{word}` is too much")))
}

/// The value of the next word, which has to be `name=value`.
fn named<'a>(words: &mut Words<'a>, name: &str) -> Result<&'a str, String> {
    let word = words.next().unwrap_or_default();
    let found = word.split_once('=').filter(|(found, _)| *found == name);
    let (_, value) = found.ok_or_else(|| format!("`{word}` where `{name}=` is wanted"))?;
    Ok(value)
}

/// The same, as a number.
fn field<T: FromStr>(words: &mut Words<'_>, name: &str) -> Result<T, String> {
    number(name, named(words, name)?)
}

/// Decimal digits.
fn number<T: FromStr>(name: &str, digits: &str) -> Result<T, String> {
    let wrong = |_| format!("`{name}={digits}` is no number, or too large");
    digits.parse().map_err(wrong)
}

/// Pairs of hex digits, of either case.
fn unhex(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || "an odd number of hex digits, or something else".to_owned();
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let is_hex = pair.iter().all(u8::is_ascii_hexdigit);
        let pair = str::from_utf8(pair).ok().filter(|_| is_hex)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| odd.is_empty()).ok_or_else(wrong)
}

/// Undoes what [`quote`](super::quote) does.
fn unquote(word: &str) -> Option<String> {
    let inner = word.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.push(match letters.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'u' => {
                let (digits, rest) = letters.as_str().strip_prefix('{')?.split_once('}')?;
                letters = rest.chars();
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            other => other,
        });
    }
    Some(text)
}

/// The words of a line: what spaces part, but not those in quotes.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let ends = |letter: char| {
            if is_escaped {
                is_escaped = false;
            } else if letter == '"' {
                is_quoted = !is_quoted;
            } else {
                is_escaped = is_quoted && letter == '\\';
            }
            letter == ' ' && !is_quoted
        };
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.find(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.strip_prefix(' ').unwrap_or(rest);
        Some(word)
    }
}

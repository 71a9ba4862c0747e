//! The schema of a trace: which types of events it has, as text that travels in the file.
//!
//! A line is a type: its number, its name, and its arguments with their kinds.
//!
//! ```text
//! 0x03 poll_start slot:uint seq:seq
//! 0x2a job_end job:uint outcome:enum(ready|panicked|aborted|dropped) parent:opt ctx:opt loc:opt name:text
//! ```
//!
//! # What a reader does with it
//! | Of a type, the schema and the table say | Then |
//! |---|---|
//! | the same | it is read by the table, in its short forms as well |
//! | the same, and more arguments | it is read by the table, and the rest is passed over |
//! | the same, and fewer arguments | it is read by the table; what is missing is zero, none or empty |
//! | something else, or nothing | it is read by the schema, and comes out as unknown |
//!
//! # Kinds
//! The word behind a name of an argument is a kind, and kinds are the same in all versions of a major
//! number. So a reader can pass over what it does not know, and stays in step with what ids and texts
//! refer to: those kinds say that they do.
//!
//! # Numbers
//! Types have the numbers below 0x60 and from 0x80. Between are short forms, which no schema names: what
//! they stand for is named there.
//!
//! # Invariants
//! 1. A name is of the letters `a` to `z`, digits and `_`, so it can stand in text without quotes.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::ArgKind;
use crate::coding::{Seen, Take};
use crate::error::Fault;
use crate::event::{EVENTS, RawEvent};
use crate::packed;
use crate::table::ArgRow;
use crate::value::Value;
use crate::varint::Cursor;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

/// Which types of events a trace has, and what they carry.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{RawEvent, Schema};
///
/// let schema = Schema::parse("0x90 tea cups:uint sort:enum(green|black)\n")?;
/// let event = RawEvent { number: 0x90, args: &[2, 1] };
/// assert_eq!(schema.describe(&event).to_string(), "tea cups=2 sort=black");
/// # Ok::<(), ripcord_trace_format::SchemaError>(())
/// ```
///
/// # Costs
/// About 10 KiB for the types of this version; at most what 64 KiB of text hold.
#[derive(Clone, Debug)]
pub struct Schema {
    rows: Vec<SchemaRow>,
    /// By number of the type.
    plans: Box<[Plan]>,
}

/// One type of event of a [`Schema`].
///
/// # Examples
/// ```
/// use ripcord_trace_format::{RawEvent, Schema, Value};
///
/// let schema = Schema::parse("0x90 tea cups:uint name:text\n")?;
/// let row = schema.row_named("tea").expect("it is there");
/// let event = RawEvent { number: 0x90, args: &[2, 2, b'o', b'k'] };
/// let values: Result<Vec<_>, _> = row.values(&event).collect();
/// let values = values?;
/// assert_eq!(values[0].0.name(), "cups");
/// assert_eq!(values[1].1, Value::Text("ok"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaRow {
    number: u8,
    name: Box<str>,
    args: Vec<SchemaArg>,
}

/// One argument of a [`SchemaRow`].
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ArgKind, Schema};
///
/// let schema = Schema::parse("0x90 tea sort:enum(green|black)\n")?;
/// let arg = &schema.rows()[0].args()[0];
/// assert_eq!((arg.name(), arg.kind()), ("sort", ArgKind::Enum));
/// assert_eq!(&*arg.names()[1], "black");
/// # Ok::<(), ripcord_trace_format::SchemaError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaArg {
    name: Box<str>,
    kind: ArgKind,
    names: Vec<Box<str>>,
}

/// How a type of the trace is decoded by this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// It is what this version writes.
    Same,
    /// It has more arguments.
    Longer,
    /// It has so many arguments, which are fewer.
    Shorter(usize),
    /// This version does not know it, or knows something else by its number.
    Foreign,
    /// The trace does not know it.
    Missing,
    /// It is a short form of a type that this version knows, and that the trace has as well.
    ///
    /// No schema names such a type: what it stands for is said there.
    Packed,
}

impl Schema {
    /// What this version writes.
    ///
    /// # Costs
    /// It is parsed from its text: make it once, and not per block.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::current();
    /// assert_eq!(schema.row(0x20).map(|row| row.name()), Some("park"));
    /// ```
    #[must_use]
    pub fn current() -> Self {
        Self::parse(&Self::current_text()).unwrap_or_else(|_| Self::empty())
    }

    /// [`current`](Self::current) as text: the payload of the schema block that a writer begins
    /// with.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let text = Schema::current_text();
    /// assert!(text.contains("0x03 poll_start slot:uint seq:seq\n"));
    /// ```
    #[must_use]
    pub fn current_text() -> String {
        let mut text = String::new();
        for row in EVENTS {
            // Writing to a string cannot fail.
            let _ = write!(text, "{:#04x} {}", row.number, row.name);
            for arg in row.args {
                let _ = write!(text, " {}:{}", arg.name, arg.kind);
                if arg.kind == ArgKind::Enum {
                    let _ = write!(text, "({})", arg.names.join("|"));
                }
            }
            text.push('\n');
        }
        text
    }

    /// A schema without types.
    ///
    /// Knows no type: what a reader has of a newer trace until it finds the schema.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// assert!(Schema::empty().rows().is_empty());
    /// assert_eq!(Schema::empty().to_string(), "");
    /// ```
    #[must_use]
    pub fn empty() -> Self {
        Self {
            rows: Vec::new(),
            plans: vec![Plan::Missing; 256].into(),
        }
    }

    /// Reads a schema from its text.
    ///
    /// # Errors
    /// [`SchemaError`]: a line that is not of the grammar or beyond a limit, or a number or a name
    /// that stands twice. The limits: 64 KiB, 32 arguments, 64 names of an enum, 64 bytes for a
    /// name.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let error = Schema::parse("0x03 poll\n0x04 poll\n").unwrap_err();
    /// assert_eq!(error.to_string(), "parse a schema: line 2: a type that stands above already");
    /// ```
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let whole = |what| SchemaError { line: 0, what };
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(whole("more than 65536 bytes"));
        }
        let mut schema = Self::empty();
        for (line, text) in (1..).zip(text.lines()) {
            let error = |what| SchemaError { line, what };
            let row = SchemaRow::parse(text).map_err(error)?;
            if schema.row(row.number).is_some() || schema.row_named(&row.name).is_some() {
                return Err(error("a type that stands above already"));
            }
            if let Some(plan) = schema.plans.get_mut(usize::from(row.number)) {
                *plan = row.plan();
            }
            schema.rows.push(row);
        }
        schema.rows.sort_by_key(|row| row.number);
        for number in packed::NUMBERS {
            let base = packed::base(number).map(|base| schema.plan(base));
            let is_known = matches!(base, Some(Plan::Same | Plan::Longer));
            if let Some(plan) = schema
                .plans
                .get_mut(usize::from(number))
                .filter(|_| is_known)
            {
                *plan = Plan::Packed;
            }
        }
        Ok(schema)
    }

    /// The types by number.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::parse("0x21 unpark\n0x20 park\n")?;
    /// let numbers: Vec<_> = schema.rows().iter().map(|row| row.number()).collect();
    /// assert_eq!(numbers, [0x20, 0x21]);
    /// # Ok::<(), ripcord_trace_format::SchemaError>(())
    /// ```
    #[must_use]
    pub fn rows(&self) -> &[SchemaRow] {
        &self.rows
    }

    /// The type with this number.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::current();
    /// assert_eq!(schema.row(0x10).map(|row| row.name()), Some("ctx_create"));
    /// assert!(schema.row(0x60).is_none(), "a short form has no row");
    /// ```
    ///
    /// # Costs
    /// A look at each type; a decoder has a table of its own.
    #[must_use]
    pub fn row(&self, number: u8) -> Option<&SchemaRow> {
        self.rows.iter().find(|row| row.number == number)
    }

    /// The type with this name.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::current();
    /// assert_eq!(schema.row_named("wake").map(|row| row.number()), Some(0x0a));
    /// assert!(schema.row_named("tea").is_none());
    /// ```
    #[must_use]
    pub fn row_named(&self, name: &str) -> Option<&SchemaRow> {
        self.rows.iter().find(|row| &*row.name == name)
    }

    /// Shows an event as text, by what the schema says of it: name and arguments, and what is left
    /// of its bytes as hex digits behind `..`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{RawEvent, Schema};
    ///
    /// let schema = Schema::parse("0x90 tea cups:uint name:text\n")?;
    /// let event = RawEvent { number: 0x90, args: &[2, 2, b'o', b'k', 0xff] };
    /// assert_eq!(schema.describe(&event).to_string(), "tea cups=2 name=\"ok\" ..ff");
    /// # Ok::<(), ripcord_trace_format::SchemaError>(())
    /// ```
    ///
    /// # Limitations
    /// Ids of a type below 0x80 are shown as what they differ from the id before, and nothing behind
    /// a text that came before in the block: that is known to who reads the block alone.
    #[must_use]
    pub fn describe<'a>(&'a self, event: &RawEvent<'a>) -> Described<'a> {
        Described {
            schema: self,
            event: *event,
        }
    }

    /// How events of this type are decoded.
    #[inline]
    pub(crate) fn plan(&self, number: u8) -> Plan {
        let plan = self.plans.get(usize::from(number));
        plan.copied().unwrap_or(Plan::Missing)
    }
}

/// The text is read back as the same schema.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

impl SchemaRow {
    /// A line of the text.
    fn parse(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split(' ');
        let number = words.next().and_then(|word| word.strip_prefix("0x"));
        let number = number.filter(|digits| digits.len() == 2 && !digits.starts_with('+'));
        let number = number.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let row = Self {
            number: number.ok_or("no number like 0x1f")?,
            name: name_of(words.next().unwrap_or_default())?,
            args: words.map(SchemaArg::parse).collect::<Result<_, _>>()?,
        };
        if row.args.len() > ARGS_MAX {
            return Err("more than 32 arguments");
        }
        if packed::NUMBERS.contains(&row.number) {
            return Err("a number of 0x60 to 0x7f, which are those of short forms");
        }
        Ok(row)
    }

    /// Compares with the table: names of events, kinds of arguments, and how many there are.
    /// Arguments may have other names.
    pub(crate) fn plan(&self) -> Plan {
        let known = EVENTS.iter().find(|known| known.number == self.number);
        let Some(known) = known.filter(|known| *known.name == *self.name) else {
            return Plan::Foreign;
        };
        let same = |(ours, theirs): (&ArgRow, &SchemaArg)| ours.kind == theirs.kind;
        if !known.args.iter().zip(&self.args).all(same) {
            return Plan::Foreign;
        }
        match self.args.len().cmp(&known.args.len()) {
            std::cmp::Ordering::Less => Plan::Shorter(self.args.len()),
            std::cmp::Ordering::Equal => Plan::Same,
            std::cmp::Ordering::Greater => Plan::Longer,
        }
    }

    /// The byte that stands for the type.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::parse("0x90 tea cups:uint\n")?;
    /// assert_eq!(schema.rows()[0].number(), 0x90);
    /// # Ok::<(), ripcord_trace_format::SchemaError>(())
    /// ```
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments in order.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ArgKind, Schema};
    ///
    /// let schema = Schema::current();
    /// let kinds = schema.row_named("ctx_tag").map(|row| row.args());
    /// let kinds: Vec<_> = kinds.unwrap_or_default().iter().map(|arg| arg.kind()).collect();
    /// assert_eq!(kinds, [ArgKind::Ctx, ArgKind::Uint, ArgKind::Id]);
    /// ```
    #[must_use]
    pub fn args(&self) -> &[SchemaArg] {
        &self.args
    }

    /// Reads the arguments of an event of this type, each with what the schema says of it. What is
    /// behind the last one is left alone.
    ///
    /// # Errors
    /// Each item may be a [`Fault`]; the ones after it mean nothing.
    pub fn values<'a>(
        &'a self,
        event: &RawEvent<'a>,
    ) -> impl Iterator<Item = Result<(&'a SchemaArg, Value<'a>), Fault>> {
        let mut cursor = Cursor::new(event.args);
        let take = move |arg: &'a SchemaArg| {
            let mut take = Take::new(nothing(), event.args, cursor);
            let value = arg.kind.take(&mut take)?;
            cursor = take.cursor;
            Ok((arg, value))
        };
        self.args.iter().map(take)
    }

    /// The first id of a context and the first of a task among arguments.
    ///
    /// From these the ids of the next event count, whichever type it has: an old reader of a new type keeps
    /// in step by the kinds alone.
    pub(crate) fn first_ids(&self, values: &[Value<'_>]) -> (Option<u64>, Option<u64>) {
        let (mut ctx, mut task) = (None, None);
        for (arg, value) in self.args.iter().zip(values) {
            let id = match value {
                Value::Uint(id) => Some(*id),
                Value::OptUint(id) => *id,
                _ => None,
            };
            match arg.kind {
                ArgKind::Ctx | ArgKind::OptCtx => ctx = ctx.or(id),
                ArgKind::Task | ArgKind::OptTask => task = task.or(id),
                _ => {}
            }
        }
        (ctx, task)
    }
}

/// What is known of a block in which nothing stands.
///
/// For who looks at one event without its block. Made once.
fn nothing() -> &'static Seen {
    static NOTHING: LazyLock<Seen> = LazyLock::new(Seen::new);
    &NOTHING
}

impl fmt::Display for SchemaRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x} {}", self.number, self.name)?;
        for arg in &self.args {
            write!(f, " {}:{}", arg.name, arg.kind)?;
            if arg.kind == ArgKind::Enum {
                write!(f, "({})", arg.names.join("|"))?;
            }
        }
        Ok(())
    }
}

impl SchemaArg {
    /// A word such as `slot:uint` or `why:enum(asked|lost)`.
    fn parse(word: &str) -> Result<Self, &'static str> {
        let (name, kind) = word.split_once(':').ok_or("an argument without a kind")?;
        let (kind, names) = match kind.split_once('(') {
            None => (kind, None),
            Some((kind, names)) => (kind, names.strip_suffix(')')),
        };
        let kind = ArgKind::parse(kind).ok_or("a kind that this version does not know")?;
        let names = match (kind, names) {
            (ArgKind::Enum, Some(names)) => names
                .split('|')
                .map(name_of)
                .collect::<Result<Vec<_>, _>>()?,
            (ArgKind::Enum, None) => return Err("an enum without names"),
            (_, None) if !word.contains('(') => Vec::new(),
            _ => return Err("names of a kind that has none"),
        };
        if names.len() > NAMES_MAX {
            return Err("more than 64 names of an enum");
        }
        let name = name_of(name)?;
        Ok(Self { name, kind, names })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &str {
        &self.name
    }

    /// How it is stored.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ArgKind, Schema};
    ///
    /// let schema = Schema::current();
    /// let row = schema.row_named("task_ctx").expect("it is there");
    /// assert_eq!(row.args()[1].kind(), ArgKind::Ctx);
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ArgKind {
        self.kind
    }

    /// The names of an enum, by number; empty for the other kinds.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Schema;
    ///
    /// let schema = Schema::current();
    /// let row = schema.row_named("ctx_seen").expect("it is there");
    /// let how: Vec<_> = row.args()[2].names().iter().map(|name| &**name).collect();
    /// assert_eq!(how, ["check", "poll", "hook", "drop", "unlisted"]);
    /// ```
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The name of a number of this enum.
    pub(crate) fn name_of(&self, number: u64) -> Option<&str> {
        let name = self.names.get(usize::try_from(number).ok()?)?;
        Some(name)
    }

    /// The number of a name of this enum.
    pub(crate) fn number_of(&self, name: &str) -> Option<u64> {
        let at = self.names.iter().position(|known| **known == *name)?;
        u64::try_from(at).ok()
    }
}

/// A word that is a name (invariant 1).
fn name_of(word: &str) -> Result<Box<str>, &'static str> {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if word.is_empty() || word.len() > NAME_BYTES_MAX || !word.bytes().all(is_letter) {
        return Err("no name of 1 to 64 letters a-z, digits and `_`");
    }
    Ok(word.into())
}

/// An event beside its schema, for [`Display`](fmt::Display). Made by [`Schema::describe`].
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    schema: &'a Schema,
    event: RawEvent<'a>,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.schema.row(self.event.number);
        let mut values = Vec::new();
        let mut take = Take::new(nothing(), self.event.args, Cursor::new(self.event.args));
        for arg in row.map(SchemaRow::args).unwrap_or_default() {
            let before = take.cursor;
            let Ok(value) = arg.kind.take(&mut take) else {
                take.cursor = before;
                break;
            };
            values.push(value);
        }
        show(self.event.number, row, &values, take.cursor.rest(), f)
    }
}

/// Shows an event: its name, or its number where there is none, its arguments, and what is left of its
/// bytes as hex digits.
///
/// The numbers of an enum are shown by the names that the schema has for them.
pub(crate) fn show(
    number: u8,
    row: Option<&SchemaRow>,
    values: &[Value<'_>],
    rest: &[u8],
    f: &mut impl fmt::Write,
) -> fmt::Result {
    match row {
        None => write!(f, "{number:#04x}")?,
        Some(row) => f.write_str(&row.name)?,
    }
    let args = row.map(SchemaRow::args).unwrap_or_default();
    for (arg, value) in args.iter().zip(values) {
        write!(f, " {}=", arg.name)?;
        let name = match value {
            Value::Enum(number) => arg.name_of(*number),
            _ => None,
        };
        match name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{value}")?,
        }
    }
    if !rest.is_empty() {
        f.write_str(" ..")?;
        for byte in rest {
            write!(f, "{byte:02x}")?;
        }
    }
    Ok(())
}

/// Why the text of a schema is refused.
///
/// It holds no part of the text, which may be of a stranger.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Schema;
///
/// let error = Schema::parse("0x20 park\ngarbage").unwrap_err();
/// assert_eq!((error.line, error.what), (2, "no number like 0x1f"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SchemaError {
    /// The line, from 1; 0 for the whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "parse a schema: {}", self.what),
            line => write!(f, "parse a schema: line {line}: {}", self.what),
        }
    }
}

impl Error for SchemaError {}

/// Bytes of the text.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 * 1024;
const ARGS_MAX: usize = 32;
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;

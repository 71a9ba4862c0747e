//! How arguments become bytes beside a memory: ids as differences, texts as references.
//!
//! [`Put`] and [`Take`] are the two ends of one event; a [`Coding`] is how an argument of a Rust type
//! stands between them. Most are [`Plain`]: as their kind says, without a look at the memory.
//!
//! | Coding | Argument | Stands as |
//! |---|---|---|
//! | [`Plain`] | a number, a sign, an enum, a text | itself |
//! | [`CtxId`] | the id of a context | its distance from the last one in the block |
//! | [`TaskId`] | the id of a task or job | the same |
//! | [`Name`] | a text of the program | the place of the same text before, or itself |
//! | [`Id`] | a text that mostly is an id | the same; 16 bytes where that says it |
//!
//! # Why not one dictionary
//! Names are of the program's source, and few. Ids are of requests, and each comes a few times within
//! a millisecond and never again. In one dictionary the ids would push out the names.
//!
//! # Types that stand for themselves
//! A type from 0x80 has its length, so that a reader can pass over it that knows nothing of it. It may be
//! copied by such a reader, too: so its ids count from zero, its texts are written out, and it leaves
//! nothing behind that others refer to.
//!
//! # Costs
//! An id: a subtraction. A text: a hash of its ends and a comparison, or a copy where it is new.
//!
//! # Invariants
//! 1. The memory is not changed while an event is written or read: what it will have brought is noted,
//!    and taken over when the event is whole.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::{Arg, ArgKind, Source};
use crate::error::Fault;
use crate::id_text::{IdText, Shape, id_of};
use crate::memory::{CancelShape, CtxShape, EndShape, Memory, ShapeUse, Shapes, TaskShape, Whose};
use crate::varint::{Cursor, Out, unzigzag, zigzag};
use crate::words::{EMPTY, Hints, KnownWords, UNNUMBERED, WORD_BYTES_MAX, Words, place, spread};

/// What an encoder remembers of a block.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// What a decoder will remember as well.
    pub(crate) memory: Memory,
    /// Texts of the program.
    pub(crate) names: KnownWords,
    /// Texts that mostly are ids.
    pub(crate) ids: KnownWords,
    /// Where shapes of contexts are.
    pub(crate) ctx_hints: Hints,
    /// Where shapes of tasks are.
    pub(crate) task_hints: Hints,
    /// Where shapes of ends that began are.
    pub(crate) cancel_hints: Hints,
    /// Where shapes of contexts that are gone are.
    pub(crate) ctx_end_hints: Hints,
    /// The same of tasks.
    pub(crate) task_end_hints: Hints,
}

impl Written {
    /// Of a block in which nothing stands.
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::new(),
            names: KnownWords::new(),
            ids: KnownWords::new(),
            ctx_hints: Hints::new(),
            task_hints: Hints::new(),
            cancel_hints: Hints::new(),
            ctx_end_hints: Hints::new(),
            task_end_hints: Hints::new(),
        }
    }

    /// The same again, in the same memory. A text that is not counted is not looked at, so texts stay.
    pub(crate) fn clear(&mut self) {
        self.memory = Memory::new();
        self.names.clear();
        self.ids.clear();
        self.ctx_hints.clear();
        self.task_hints.clear();
        self.cancel_hints.clear();
        self.ctx_end_hints.clear();
        self.task_end_hints.clear();
    }
}

/// What a decoder remembers of a block.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What the encoder has remembered as well.
    pub(crate) memory: Memory,
    /// Where texts of the program stand.
    pub(crate) names: Words<Stored>,
    /// The same for texts that mostly are ids.
    pub(crate) ids: Words<Stored>,
}

impl Seen {
    /// Of a block in which nothing stands.
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::new(),
            names: Words::new(),
            ids: Words::new(),
        }
    }

    /// The same again, in the same memory.
    pub(crate) fn clear(&mut self) {
        self.memory = Memory::new();
        self.names.clear();
        self.ids.clear();
    }
}

/// Where a text stands in its payload, or what it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    /// From this byte on, so many: what is remembered is short.
    At(u32, u8),
    /// It stands nowhere as a text.
    Id(Shape, [u8; 16]),
}

impl Default for Stored {
    fn default() -> Self {
        Self::At(0, 0)
    }
}

/// An event that is being written.
///
/// What it brings is noted here until it is written as a whole (invariant 1): where there is no room
/// nothing has happened.
#[derive(Debug)]
pub(crate) struct Put<'m, 'b, 'e> {
    /// Where the bytes go.
    pub(crate) out: Out<'b>,
    /// What stands in the block.
    written: &'m Written,
    /// The part of it that a decoder has as well.
    pub(crate) memory: &'m Memory,
    /// A type that has its length stands for itself: ids count from zero, and texts are written out.
    is_alone: bool,
    /// The number of the event's name.
    pub(crate) name: u32,
    /// The first name that was written out.
    pub(crate) new_name: Option<&'e str>,
    /// The first id that was.
    pub(crate) new_id: Option<IdText<'e>>,
    /// What its form has done with a shape.
    pub(crate) shape: ShapeUse,
}

impl<'m, 'b, 'e> Put<'m, 'b, 'e> {
    /// Writes to `out`, beside what was written before.
    #[inline]
    pub(crate) const fn new(written: &'m Written, out: Out<'b>) -> Self {
        Self {
            out,
            written,
            memory: &written.memory,
            is_alone: false,
            name: UNNUMBERED,
            new_name: None,
            new_id: None,
            shape: ShapeUse::Nothing,
        }
    }

    /// Whether the event stands for itself.
    pub(crate) const fn alone(mut self, is_alone: bool) -> Self {
        self.is_alone = is_alone;
        self
    }

    /// Type and ticks.
    #[inline]
    pub(crate) fn head(&mut self, number: u8, delta: u64) -> Option<()> {
        self.out.byte(number)?;
        self.out.number(delta)
    }

    /// A number as it is; `None` if there is no room.
    #[inline]
    pub(crate) fn number(&mut self, number: u64) -> Option<()> {
        self.out.number(number)
    }

    /// The number of a name that has come before and is still remembered.
    #[inline]
    pub(crate) fn find_name(&self, name: &str) -> Option<u32> {
        self.written.names.find(name)
    }

    /// Where the shape of a context stands.
    pub(crate) fn find_ctx_shape(&self, shape: &CtxShape) -> Option<u8> {
        find(&self.written.ctx_hints, &self.memory.ctx_shapes, shape)
    }

    /// Where the shape of a task stands.
    pub(crate) fn find_task_shape(&self, shape: &TaskShape) -> Option<u8> {
        find(&self.written.task_hints, &self.memory.task_shapes, shape)
    }

    /// Where the shape of an end stands that begins.
    pub(crate) fn find_cancel_shape(&self, shape: &CancelShape) -> Option<u8> {
        find(
            &self.written.cancel_hints,
            &self.memory.cancel_shapes,
            shape,
        )
    }

    /// Where the shape of a context stands that is gone.
    pub(crate) fn find_ctx_end(&self, shape: EndShape) -> Option<u8> {
        find(&self.written.ctx_end_hints, &self.memory.ctx_ends, &shape)
    }

    /// The same of a task.
    pub(crate) fn find_task_end(&self, shape: EndShape) -> Option<u8> {
        find(&self.written.task_end_hints, &self.memory.task_ends, &shape)
    }

    /// Writes the place of a shape, or zero if it is not known, and whether it is: otherwise it has to
    /// follow. The name is that of the event, which the shape says.
    pub(crate) fn known(&mut self, known: Option<u8>, name: &str) -> Option<bool> {
        let Some(at) = known else {
            self.shape = ShapeUse::New;
            self.number(0)?;
            return Some(false);
        };
        self.shape = ShapeUse::Known(at);
        self.name = self.find_name(name).unwrap_or(UNNUMBERED);
        self.number(u64::from(at).wrapping_add(1))?;
        Some(true)
    }

    /// A text as its number, or written out.
    ///
    /// Of several that are new in one event the first is remembered: both sides have room for one.
    #[inline]
    pub(crate) fn name(&mut self, name: &'e str) -> Option<()> {
        match self.find_name(name) {
            Some(EMPTY) => {
                self.name = EMPTY;
                self.number(0)
            }
            Some(number) if !self.is_alone => {
                self.name = number;
                self.number(REFERENCES.saturating_add(place(number) as u64))
            }
            _ => {
                if self.new_name.is_none() && !self.is_alone {
                    self.new_name = Some(name);
                }
                self.number(WRITTEN_OUT)?;
                self.out.text(name)
            }
        }
    }

    /// The same for what is mostly an id, which takes 16 bytes where it is written out.
    pub(crate) fn id_text(&mut self, text: IdText<'e>) -> Option<()> {
        match self.written.ids.find(&text) {
            Some(EMPTY) => return self.number(0),
            Some(number) if !self.is_alone => {
                return self.number(ID_REFERENCES.saturating_add(place(number) as u64));
            }
            _ => {}
        }
        if self.new_id.is_none() && !self.is_alone {
            self.new_id = Some(text);
        }
        if let Some((shape, id)) = id_of(&text) {
            self.number(shape_number(shape))?;
            return self.out.bytes(&id);
        }
        self.number(WRITTEN_OUT)?;
        self.out.text(&text)
    }

    /// What ids of contexts and of tasks count from.
    #[inline]
    fn bases(&self) -> (u64, u64) {
        if self.is_alone {
            return (0, 0);
        }
        (self.memory.ctx, self.memory.task)
    }
}

/// Where a shape stands, as far as the hints know.
fn find<S: Hashed + Copy + PartialEq>(hints: &Hints, shapes: &Shapes<S>, shape: &S) -> Option<u8> {
    let is_it = |at| {
        let (known, _) = shapes.get(at)?;
        (known == shape).then_some(at)
    };
    hints.find(shape.hash(), is_it)
}

/// Keeps a hint to a shape that has come into a place.
pub(crate) fn keep<S: Hashed + Copy + PartialEq>(hints: &mut Hints, shapes: &Shapes<S>, at: u8) {
    if let Some((shape, _)) = shapes.get(at) {
        hints.keep(shape.hash(), at);
    }
}

/// A shape, as its hints are found.
///
/// Place and name say nearly all of it, so they are what the hash is made of.
pub(crate) trait Hashed {
    /// Where a hint is looked for first.
    fn hash(&self) -> u32;
}

impl Hashed for CtxShape {
    fn hash(&self) -> u32 {
        let [kind, ..] = self.kind.to_le_bytes();
        spread(self.loc.rotate_left(12) ^ self.name ^ u32::from(kind).rotate_left(24))
    }
}

impl Hashed for TaskShape {
    fn hash(&self) -> u32 {
        spread(self.loc.rotate_left(12) ^ self.name)
    }
}

impl Hashed for CancelShape {
    fn hash(&self) -> u32 {
        let [kind, ..] = self.kind.to_le_bytes();
        let by = u32::from(self.by == Whose::Current).rotate_left(30);
        spread(self.loc.rotate_left(12) ^ self.message ^ u32::from(kind).rotate_left(24) ^ by)
    }
}

impl Hashed for EndShape {
    fn hash(&self) -> u32 {
        spread(self.loc.rotate_left(12) ^ self.name)
    }
}

/// How an id of 16 bytes is announced.
const fn shape_number(shape: Shape) -> u64 {
    match shape {
        Shape::Hex => 2,
        Shape::Uuid => 3,
    }
}

/// A text follows. Zero is the empty one.
const WRITTEN_OUT: u64 = 1;
/// From here on, places of texts that came before.
const REFERENCES: u64 = 2;
/// The same where two numbers are for ids of 16 bytes.
const ID_REFERENCES: u64 = 4;

/// An event that is being read: the other end of [`Put`].
#[derive(Debug)]
pub(crate) struct Take<'d, 'a> {
    /// What has not been read.
    pub(crate) cursor: Cursor<'a>,
    /// All of the block, in which texts before are looked up.
    payload: &'a [u8],
    /// What stands in the block.
    seen: &'d Seen,
    /// The part of it that the encoder had as well.
    pub(crate) memory: &'d Memory,
    /// It has its length and refers to nothing.
    is_alone: bool,
    /// The number of the event's name.
    pub(crate) name: u32,
    /// Where the first name stands that was written out.
    pub(crate) new_name: Option<Stored>,
    /// The same for the first id.
    pub(crate) new_id: Option<Stored>,
    /// What its form has done with a shape.
    pub(crate) shape: ShapeUse,
    /// Ids that an event of a foreign type has named first.
    pub(crate) ctx: Option<u64>,
    /// The same of tasks.
    pub(crate) task: Option<u64>,
}

impl<'d, 'a> Take<'d, 'a> {
    /// Reads from `cursor`, which is somewhere in `payload`.
    #[inline]
    pub(crate) const fn new(seen: &'d Seen, payload: &'a [u8], cursor: Cursor<'a>) -> Self {
        Self {
            cursor,
            payload,
            seen,
            memory: &seen.memory,
            is_alone: false,
            name: UNNUMBERED,
            new_name: None,
            new_id: None,
            shape: ShapeUse::Nothing,
            ctx: None,
            task: None,
        }
    }

    /// Whether the event stands for itself.
    pub(crate) const fn alone(mut self, is_alone: bool) -> Self {
        self.is_alone = is_alone;
        self
    }

    /// A number as it is.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Fault> {
        self.cursor.number()
    }

    /// A number that is larger than one before, by at least one.
    pub(crate) fn above(&mut self, before: u64) -> Result<u64, Fault> {
        let above = self.number()?;
        let number = before.checked_add(above).and_then(|sum| sum.checked_add(1));
        number.ok_or(Fault::NumberTooLarge)
    }

    /// The place of a shape; `None` if it follows.
    pub(crate) fn known(&mut self) -> Result<Option<u8>, Fault> {
        let Some(at) = self.number()?.checked_sub(1) else {
            self.shape = ShapeUse::New;
            return Ok(None);
        };
        let at = u8::try_from(at).map_err(|_| Fault::NothingBefore)?;
        self.shape = ShapeUse::Known(at);
        Ok(Some(at))
    }

    /// The text of a number, which becomes the number of the event's name.
    pub(crate) fn known_name(&mut self, number: u32) -> Result<&'a str, Fault> {
        self.name = number;
        if number == EMPTY {
            return Ok("");
        }
        match self.seen.names.get(number) {
            Some(Stored::At(at, len)) => self.stored(*at, *len),
            _ => Err(Fault::NothingBefore),
        }
    }

    /// A text that stands in the payload.
    ///
    /// It is looked at as UTF-8 again: a position may be of another payload.
    fn stored(&self, at: u32, len: u8) -> Result<&'a str, Fault> {
        let from = usize::try_from(at).map_err(|_| Fault::Cut)?;
        let text = self
            .payload
            .get(from..)
            .and_then(|rest| rest.get(..usize::from(len)));
        str::from_utf8(text.ok_or(Fault::Cut)?).map_err(|_| Fault::TextNotUtf8)
    }

    /// A text that is written out, and where it stands if it is to be remembered.
    fn written_out(&mut self) -> Result<(&'a str, Option<Stored>), Fault> {
        let text = self.cursor.text()?;
        let end = self.payload.len().saturating_sub(self.cursor.rest().len());
        let at = u32::try_from(end.saturating_sub(text.len()));
        let len = u8::try_from(text.len());
        let is_kept = !self.is_alone && text.len() <= WORD_BYTES_MAX;
        let stored = at.ok().zip(len.ok()).filter(|_| is_kept);
        Ok((text, stored.map(|(at, len)| Stored::At(at, len))))
    }

    /// What ids of contexts and of tasks count from.
    #[inline]
    fn bases(&self) -> (u64, u64) {
        if self.is_alone {
            return (0, 0);
        }
        (self.memory.ctx, self.memory.task)
    }
}

impl<'a> Source<'a> for Take<'_, 'a> {
    #[inline]
    fn number(&mut self) -> Result<u64, Fault> {
        self.cursor.number()
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, Fault> {
        self.cursor.text()
    }

    fn name(&mut self) -> Result<&'a str, Fault> {
        match self.cursor.number()? {
            0 => {
                self.name = EMPTY;
                Ok("")
            }
            WRITTEN_OUT => {
                let (text, stored) = self.written_out()?;
                self.new_name = self.new_name.or(stored);
                Ok(text)
            }
            number => {
                let at = number.saturating_sub(REFERENCES);
                let number = self.seen.names.at(at).filter(|_| !self.is_alone);
                self.known_name(number.ok_or(Fault::NothingBefore)?)
            }
        }
    }

    fn id_text(&mut self) -> Result<IdText<'a>, Fault> {
        let number = self.cursor.number()?;
        let shape = match number {
            0 => return Ok("".into()),
            WRITTEN_OUT => {
                let (text, stored) = self.written_out()?;
                self.new_id = self.new_id.or(stored);
                return Ok(text.into());
            }
            2 => Shape::Hex,
            3 => Shape::Uuid,
            _ => {
                let at = number.saturating_sub(ID_REFERENCES);
                let number = self.seen.ids.at(at).filter(|_| !self.is_alone);
                let number = number.ok_or(Fault::NothingBefore)?;
                return match self.seen.ids.get(number).ok_or(Fault::NothingBefore)? {
                    Stored::At(at, len) => self.stored(*at, *len).map(IdText::from),
                    Stored::Id(shape, id) => Ok(IdText::from_id(*shape, *id)),
                };
            }
        };
        let bytes = self.cursor.bytes(16)?;
        let id = <[u8; 16]>::try_from(bytes).map_err(|_| Fault::Cut)?;
        if !self.is_alone {
            self.new_id = self.new_id.or(Some(Stored::Id(shape, id)));
        }
        Ok(IdText::from_id(shape, id))
    }

    #[inline]
    fn bases(&self) -> (u64, u64) {
        Take::bases(self)
    }
}

/// How an argument of type `T` stands in an event.
///
/// The event table names one behind `as`; without a name it is [`Plain`].
pub(crate) trait Coding<'a, T> {
    /// What the schema calls it.
    const KIND: ArgKind;
    /// Names of an enum, by number.
    const NAMES: &'static [&'static str] = &[];
    /// Writes it; `None` if there is no room.
    fn put(value: T, to: &mut Put<'_, '_, 'a>) -> Option<()>;
    /// Reads it.
    fn take(from: &mut impl Source<'a>) -> Result<T, Fault>;
}

/// As its type is.
#[derive(Debug)]
pub(crate) struct Plain;

impl<'a, T: Arg<'a>> Coding<'a, T> for Plain {
    const KIND: ArgKind = T::KIND;
    const NAMES: &'static [&'static str] = T::NAMES;

    #[inline]
    fn put(value: T, to: &mut Put<'_, '_, 'a>) -> Option<()> {
        value.put(&mut to.out)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<T, Fault> {
        T::take(from)
    }
}

/// The id of a context.
#[derive(Debug)]
pub(crate) struct CtxId;

/// The id of a task or job.
#[derive(Debug)]
pub(crate) struct TaskId;

/// A text that comes again.
#[derive(Debug)]
pub(crate) struct Name;

/// A text that mostly is an id.
#[derive(Debug)]
pub(crate) struct Id;

/// The difference of two ids.
#[inline]
fn apart(id: u64, base: u64) -> u64 {
    zigzag(id.wrapping_sub(base).cast_signed())
}

/// Whether two ids have the one difference that has no successor: it is written as nothing.
#[inline]
pub(crate) const fn is_opposite(id: u64, base: u64) -> bool {
    id.wrapping_sub(base) == 1 << 63
}

/// The id that is so far from another: undoes [`apart`].
#[inline]
fn beside(apart: u64, base: u64) -> u64 {
    base.wrapping_add(unzigzag(apart).cast_unsigned())
}

/// Makes the codings of both kinds of ids, which differ in what they count from.
macro_rules! ids {
    ($Coding:ident, $base:tt, $Some:ident, $None:ident) => {
        impl<'a> Coding<'a, u64> for $Coding {
            const KIND: ArgKind = ArgKind::$Some;

            #[inline]
            fn put(id: u64, to: &mut Put<'_, '_, 'a>) -> Option<()> {
                to.number(apart(id, to.bases().$base))
            }

            #[inline]
            fn take(from: &mut impl Source<'a>) -> Result<u64, Fault> {
                if !from.is_left() {
                    return from.number();
                }
                let base = from.bases().$base;
                Ok(beside(from.number()?, base))
            }
        }

        impl<'a> Coding<'a, Option<u64>> for $Coding {
            const KIND: ArgKind = ArgKind::$None;

            #[inline]
            fn put(id: Option<u64>, to: &mut Put<'_, '_, 'a>) -> Option<()> {
                let base = to.bases().$base;
                to.out.is_bent |= id.is_some_and(|id| is_opposite(id, base));
                to.number(id.map_or(0, |id| apart(id, base).wrapping_add(1)))
            }

            #[inline]
            fn take(from: &mut impl Source<'a>) -> Result<Option<u64>, Fault> {
                let base = from.bases().$base;
                let apart = from.number()?.checked_sub(1);
                Ok(apart.map(|apart| beside(apart, base)))
            }
        }
    };
}

ids!(CtxId, 0, Ctx, OptCtx);
ids!(TaskId, 1, Task, OptTask);

impl<'a> Coding<'a, &'a str> for Name {
    const KIND: ArgKind = ArgKind::Name;

    #[inline]
    fn put(name: &'a str, to: &mut Put<'_, '_, 'a>) -> Option<()> {
        to.name(name)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<&'a str, Fault> {
        from.name()
    }
}

impl<'a> Coding<'a, IdText<'a>> for Id {
    const KIND: ArgKind = ArgKind::Id;

    #[inline]
    fn put(text: IdText<'a>, to: &mut Put<'_, '_, 'a>) -> Option<()> {
        to.id_text(text)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<IdText<'a>, Fault> {
        from.id_text()
    }
}

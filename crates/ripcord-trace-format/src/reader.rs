//! Reading a trace: block by block, past damage, to an end that has a name.
//!
//! # Invariants
//! 1. Only a block with a good checksum is believed; before that, its lengths are bounded.
//! 2. Whatever the bytes are, all of them are accounted for: as header, block, damage or tail.
//! 3. `start..end` of the buffer are the bytes from `offset` on that are read and not given out.
//!
//! # Costs
//! Memory: the largest block that really came, and 64 KiB. Time: linear in the bytes. A block that
//! pretends to be one is summed and then searched for others, which is quadratic where many of them
//! overlap; beyond a debt of 16 MiB and 4 bytes for each byte of progress, a pretender is skipped as
//! a whole.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::block::{BLOCK_HEADER_BYTES, Header, SYNC};
use crate::crc::Crc;
use crate::file::{FIELDS_BYTES_MAX, MAGIC, PRELUDE_BYTES};
use crate::{BlockInfo, BlockKind, Compression, Decoder, FileHeader, Schema, SchemaError};
use std::error::Error;
use std::fmt;
use std::io::{self, Read};

/// Reads a trace from its beginning to its end, whatever happened to it.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ClockKind, End, FileHeader, Item, Reader, Writer};
///
/// let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000);
/// let mut trace = Writer::new(Vec::new(), &header)?.finish()?;
/// trace.pop();
///
/// let mut reader = Reader::new(&trace[..])?;
/// let mut end = None;
/// while let Some(item) = reader.next_item()? {
///     if let Item::End(how) = item {
///         end = Some(how);
///     }
/// }
/// // All but the last byte of the last block.
/// assert!(matches!(end, Some(End::Truncated { bytes: 71, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// A copy of each byte and a checksum over it. No allocation per block, unless it is compressed.
/// The memory is bounded by the largest block, 1 MiB.
///
/// # Limitations
/// It reads forwards. Who wants to begin at a window seeks to its block, by the [`Index`](crate::Index), and makes a
/// reader with [`headless`](Self::headless) and [`with_schema`](Self::with_schema) there.
pub struct Reader<R> {
    input: R,
    decompress: Option<Box<Decompress>>,
    header: Option<FileHeader>,
    schema: Schema,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of `start`, from the beginning of the trace.
    offset: u64,
    /// The input has said that nothing follows.
    is_drained: bool,
    /// The payload of a block that was compressed.
    plain: Vec<u8>,
    /// Where bytes begin that are no block.
    bad_since: Option<u64>,
    /// Bytes that were summed in vain, less what progress has paid for.
    debt: usize,
    /// The last good block was an end.
    is_closed: bool,
    /// The end was given out.
    is_over: bool,
}

/// Makes the plain payload of a compressed one. The number is its length, which it must not exceed.
type Decompress =
    dyn FnMut(Compression, &[u8], usize) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> + Send;

/// What a [`Reader`] finds next.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{BlockInfo, BlockKind, Item, Reader};
///
/// let block = BlockInfo::new(BlockKind::Table).header(b"")?;
/// let bytes = [b"garbage", &block[..]].concat();
/// let mut reader = Reader::headless(&bytes[..]);
/// let first = reader.next_item()?;
/// assert!(matches!(first, Some(Item::Damage { offset: 0, bytes: 7 })));
/// assert!(matches!(reader.next_item()?, Some(Item::Block(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A block whose checksum is good.
    Block(Block<'a>),
    /// Bytes that are no block, before one that is.
    Damage {
        /// Where they begin, in bytes from the beginning of the trace.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// A block whose checksum is good, and which cannot be used.
    Skipped {
        /// Where it begins, in bytes from the beginning of the trace.
        offset: u64,
        /// What it says of itself.
        info: BlockInfo,
        /// Why it cannot be used.
        why: SkipReason,
    },
    /// Nothing follows. The last item of every trace.
    End(End),
}

/// How a trace ends.
///
/// None of the three is an error of the reader: what was before is good.
///
/// # Examples
/// ```
/// use ripcord_trace_format::End;
///
/// assert_eq!(End::NotClosed.to_string(), "not closed");
/// let end = End::Truncated { offset: 100, bytes: 7 };
/// assert_eq!(end.to_string(), "truncated at byte 100, 7 bytes of a block are left");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum End {
    /// With its end block: nothing is missing.
    Closed {
        /// Bytes behind the end block, which belong to nothing.
        trailing: u64,
    },
    /// After a complete block, without an end block: the writer was stopped between two blocks, or
    /// writes still.
    NotClosed,
    /// Within a block: the last bytes are none.
    Truncated {
        /// Where they begin, in bytes from the beginning of the trace.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { trailing: 0 } => f.write_str("closed"),
            Self::Closed { trailing } => write!(f, "closed, {trailing} bytes follow"),
            Self::NotClosed => f.write_str("not closed"),
            Self::Truncated { offset, bytes } => {
                write!(
                    f,
                    "truncated at byte {offset}, {bytes} bytes of a block are left"
                )
            }
        }
    }
}

/// Why a block with a good checksum cannot be used.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Compression, SkipReason};
///
/// let why = SkipReason::Compression(Compression::Other(9));
/// assert_eq!(why.to_string(), "compressed by #9, which this reader cannot undo");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is compressed, and nobody has said how to undo that.
    Compression(Compression),
    /// Undoing the compression failed.
    Decompress(Box<dyn Error + Send + Sync>),
    /// The plain payload is not as long as the header says.
    Length {
        /// Bytes by the header.
        declared: usize,
        /// Bytes that came out.
        found: usize,
    },
    /// The schema is not UTF-8.
    SchemaText,
    /// The schema is not of the grammar.
    Schema(SchemaError),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(how) => {
                write!(f, "compressed by {how}, which this reader cannot undo")
            }
            Self::Decompress(error) => write!(f, "decompress: {error}"),
            Self::Length { declared, found } => {
                write!(f, "{found} bytes plain, where the header says {declared}")
            }
            Self::SchemaText => f.write_str("a schema that is not UTF-8"),
            Self::Schema(error) => error.fmt(f),
        }
    }
}

/// A block of a trace, borrowed from its [`Reader`].
///
/// # Costs
/// It is a few words; the payload stands in the reader's buffer until the next item is asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Block<'a> {
    /// What it says of itself.
    pub info: BlockInfo,
    /// Where it begins, in bytes from the beginning of the trace.
    pub offset: u64,
    /// Its payload, not compressed.
    pub payload: &'a [u8],
    /// How the payload is compressed in the trace.
    pub compression: Compression,
    /// Bytes that the payload takes in the trace, behind the header of the block.
    ///
    /// With it, who has read a trace once comes back to a block without reading the others.
    pub stored_len: usize,
    /// The schema of the trace as far as it is known here.
    pub schema: &'a Schema,
}

impl<'a> Block<'a> {
    /// Its events; none if it is of a kind that has none.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockInfo, BlockKind, Event, Item, Reader};
    ///
    /// let payload = [0x20, 3];
    /// let header = BlockInfo { first_tick: 7, last_tick: 10, ..BlockInfo::new(BlockKind::Events) };
    /// let bytes = [&header.header(&payload)?[..], &payload].concat();
    /// let mut reader = Reader::headless(&bytes[..]);
    /// let Some(Item::Block(block)) = reader.next_item()? else { panic!("no block") };
    /// assert_eq!(block.events().next(), Some(Ok((10, Event::Park {}))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn events(&self) -> Decoder<'a> {
        let payload = if self.info.kind.has_events() {
            self.payload
        } else {
            &[]
        };
        Decoder::new(payload, self.info.first_tick, self.schema)
    }
}

/// Why a trace cannot be read at all. Everything else is an [`Item`].
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ReadError, Reader};
///
/// let error = Reader::new(&b"\x1f\x8b\x08"[..]).unwrap_err();
/// assert!(matches!(error, ReadError::NotATrace));
/// assert!(error.to_string().contains("not compressed as a whole"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It does not begin as a trace does.
    NotATrace,
    /// Its major version is newer than this reader's.
    Version {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// The input failed; what it gave before is accounted for.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATrace => f.write_str(
                "read a trace: it does not begin with `RIPT`; is it a trace, and not compressed as a whole?",
            ),
            Self::Version { major, minor } => write!(
                f,
                "read a trace: version {major}.{minor}, of at most {}.x; read it with a newer ripcord",
                crate::MAJOR
            ),
            Self::Io(_) => f.write_str("read a trace: the input failed"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What stands at the beginning of the buffer.
enum Probe {
    /// A block.
    Good(Header),
    /// No block; the next one begins so many bytes later at the earliest.
    Bad(usize),
    /// No byte is left.
    Nothing,
}

impl<R: Read> Reader<R> {
    /// Reads the header of a trace.
    ///
    /// A socket gives it as soon as it is there; a reader never waits for more than it needs.
    ///
    /// A trace that ends within its header is an empty one that is truncated; one whose header is
    /// damaged is read without it.
    ///
    /// # Errors
    /// [`ReadError`]: it begins with something else, its major version is newer, or the input
    /// fails.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut reader = Self::headless(input);
        reader.fill(PRELUDE_BYTES)?;
        let seen = reader.seen();
        let magic = seen.get(..MAGIC.len().min(seen.len())).unwrap_or_default();
        if !MAGIC.starts_with(magic) {
            return Err(ReadError::NotATrace);
        }
        reader.take_header()?;
        Ok(reader)
    }

    /// Reads blocks that no header precedes: a ring, or a trace from one of its blocks on.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{End, Item, Reader};
    ///
    /// let mut reader = Reader::headless(&b""[..]);
    /// assert!(matches!(reader.next_item()?, Some(Item::End(End::NotClosed))));
    /// assert!(reader.next_item()?.is_none());
    /// # Ok::<(), ripcord_trace_format::ReadError>(())
    /// ```
    ///
    /// # Limitations
    /// Which clock the ticks are of has to be known from elsewhere.
    #[must_use]
    pub fn headless(input: R) -> Self {
        Self {
            input,
            decompress: None,
            header: None,
            schema: Schema::current(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            is_drained: false,
            plain: Vec::new(),
            bad_since: None,
            debt: 0,
            is_closed: false,
            is_over: false,
        }
    }

    /// The same, with a schema that was read elsewhere.
    ///
    /// A schema block that is found later takes its place.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// The same, with a function that undoes compression.
    ///
    /// It is given the stored payload and the declared length of the plain one, at most 1 MiB,
    /// beyond which it should not go on; what it returns is refused if it is not exactly as long.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Reader;
    ///
    /// let reader = Reader::headless(&b""[..]).with_decompress(|how, _stored, _len| {
    ///     Err(format!("{how} is not built in").into())
    /// });
    /// assert!(reader.header().is_none());
    /// ```
    ///
    /// # Limitations
    /// What the function allocates is its own business: it has to stop at the length itself.
    #[must_use]
    pub fn with_decompress(
        mut self,
        decompress: impl FnMut(
            Compression,
            &[u8],
            usize,
        ) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>
        + Send
        + 'static,
    ) -> Self {
        self.decompress = Some(Box::new(decompress));
        self
    }

    /// What the trace says of itself; `None` if that is damaged or was not there.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader, Reader, Writer};
    ///
    /// let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000).program("shop");
    /// let trace = Writer::new(Vec::new(), &header)?.finish()?;
    /// let reader = Reader::new(&trace[..])?;
    /// assert_eq!(reader.header().map(|header| &*header.program), Some("shop"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn header(&self) -> Option<&FileHeader> {
        self.header.as_ref()
    }

    /// The schema as far as the trace was read. Until a trace has told its own, that of this
    /// version, or none at all if the trace is of a newer version.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Reader;
    ///
    /// let reader = Reader::headless(&b""[..]);
    /// assert!(reader.schema().row_named("wake").is_some(), "what this version writes");
    /// ```
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The next block, damage, or end; `None` after the end.
    ///
    /// Damage is told when the block behind it has been found, with one item for all of it.
    ///
    /// # Errors
    /// [`ReadError::Io`]: the input failed. It may be asked again.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            match self.probe()? {
                Probe::Good(header) => {
                    if let Some(offset) = self.bad_since.take() {
                        let bytes = self.offset.saturating_sub(offset);
                        return Ok(Some(Item::Damage { offset, bytes }));
                    }
                    return Ok(Some(self.take_block(&header)));
                }
                Probe::Bad(skip) => {
                    self.bad_since.get_or_insert(self.offset);
                    self.advance(skip);
                }
                Probe::Nothing => {
                    self.is_over = true;
                    return Ok(Some(Item::End(self.how_it_ends())));
                }
            }
        }
    }

    /// Damage without a good block behind it is a tail.
    fn how_it_ends(&self) -> End {
        match (self.bad_since, self.is_closed) {
            (None, true) => End::Closed { trailing: 0 },
            (None, false) => End::NotClosed,
            (Some(offset), is_closed) => {
                let bytes = self.offset.saturating_sub(offset);
                if is_closed {
                    End::Closed { trailing: bytes }
                } else {
                    End::Truncated { offset, bytes }
                }
            }
        }
    }

    /// Takes the header, if it is whole and its sum is good; else it is damage, or a tail.
    fn take_header(&mut self) -> Result<(), ReadError> {
        let Some(prelude) = self.seen().first_chunk::<PRELUDE_BYTES>() else {
            return Ok(());
        };
        let [.., a, b, c, d, l0, l1, l2, l3] = *prelude;
        let (major, minor) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if len > FIELDS_BYTES_MAX {
            return Ok(());
        }
        let summed = PRELUDE_BYTES.saturating_add(len);
        self.fill(summed.saturating_add(4))?;
        let Some((bytes, rest)) = self.seen().split_at_checked(summed) else {
            return Ok(());
        };
        let sum = Crc::new().over(bytes).value();
        if rest.first_chunk() != Some(&sum.to_le_bytes()) {
            return Ok(());
        }
        // The frame of the header is the same in all versions, so this is no damage.
        if major > crate::MAJOR {
            return Err(ReadError::Version { major, minor });
        }
        let fields = bytes.get(PRELUDE_BYTES..).unwrap_or_default();
        let Some(header) = FileHeader::from_fields(minor, fields) else {
            return Ok(());
        };
        if minor > crate::MINOR {
            self.schema = Schema::empty();
        }
        self.header = Some(header);
        self.advance(summed.saturating_add(4));
        Ok(())
    }

    /// Looks at the beginning of the buffer, and takes nothing.
    fn probe(&mut self) -> Result<Probe, ReadError> {
        self.fill(BLOCK_HEADER_BYTES)?;
        if self.seen().is_empty() {
            return Ok(Probe::Nothing);
        }
        let header = self.seen().first_chunk().and_then(Header::parse);
        let Some(header) = header else {
            return Ok(Probe::Bad(self.next_candidate()));
        };
        let len = BLOCK_HEADER_BYTES.saturating_add(header.stored_len);
        self.fill(len)?;
        let Some((head, stored)) = self
            .seen()
            .get(..len)
            .and_then(|block| block.split_at_checked(BLOCK_HEADER_BYTES))
        else {
            return Ok(Probe::Bad(self.next_candidate()));
        };
        if header.has_good_sum(head, stored) {
            return Ok(Probe::Good(header));
        }
        self.debt = self.debt.saturating_add(len);
        let skip = if self.debt > DEBT_MAX {
            len
        } else {
            self.next_candidate()
        };
        Ok(Probe::Bad(skip))
    }

    /// Bytes from the beginning of the buffer to the next that may begin a block.
    fn next_candidate(&self) -> usize {
        let [first, ..] = SYNC;
        let seen = self.seen();
        let after = seen.iter().skip(1).position(|byte| *byte == first);
        after.map_or(seen.len(), |at| at.saturating_add(1))
    }

    /// Takes the block that `probe` has found, as what it can be used for.
    fn take_block(&mut self, header: &Header) -> Item<'_> {
        let (info, offset) = (header.info, self.offset);
        let from = self.start.saturating_add(BLOCK_HEADER_BYTES);
        let to = from.saturating_add(header.stored_len);
        self.advance(BLOCK_HEADER_BYTES.saturating_add(header.stored_len));
        self.is_closed = info.kind == BlockKind::FileEnd;
        if let Err(why) = self.unpack(header, from, to) {
            return Item::Skipped { offset, info, why };
        }
        let payload = if header.compression == Compression::None {
            self.buffer.get(from..to).unwrap_or_default()
        } else {
            &self.plain
        };
        if info.kind == BlockKind::Schema {
            let schema = str::from_utf8(payload).map_err(|_| SkipReason::SchemaText);
            match schema.and_then(|text| Schema::parse(text).map_err(SkipReason::Schema)) {
                Ok(schema) => self.schema = schema,
                Err(why) => return Item::Skipped { offset, info, why },
            }
        }
        Item::Block(Block {
            info,
            offset,
            payload,
            compression: header.compression,
            stored_len: header.stored_len,
            schema: &self.schema,
        })
    }

    /// Puts the plain payload into `plain`, if it is compressed.
    fn unpack(&mut self, header: &Header, from: usize, to: usize) -> Result<(), SkipReason> {
        if header.compression == Compression::None {
            return Ok(());
        }
        let unknown = SkipReason::Compression(header.compression);
        let decompress = self.decompress.as_mut().ok_or(unknown)?;
        let stored = self.buffer.get(from..to).unwrap_or_default();
        let declared = header.plain_len;
        let plain = decompress(header.compression, stored, declared);
        self.plain = plain.map_err(SkipReason::Decompress)?;
        let found = self.plain.len();
        if found == declared {
            Ok(())
        } else {
            Err(SkipReason::Length { declared, found })
        }
    }

    /// What was read and not given out (invariant 3).
    fn seen(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Gives bytes out, which pays for sums that were in vain.
    fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end.saturating_sub(self.start));
        self.start = self.start.saturating_add(bytes);
        self.offset = self.offset.saturating_add(bytes as u64);
        self.debt = self.debt.saturating_sub(bytes.saturating_mul(4));
    }

    /// Reads until `want` bytes are seen, or there are no more. It never waits for more than those.
    fn fill(&mut self, want: usize) -> Result<(), ReadError> {
        while self.seen().len() < want && !self.is_drained {
            let room = self.buffer.len().saturating_sub(self.end);
            if room < READ_BYTES_MIN {
                if self.start > 0 {
                    self.buffer.copy_within(self.start..self.end, 0);
                    self.end = self.end.saturating_sub(self.start);
                    self.start = 0;
                }
                // The buffer grows with what has come, not with what is promised.
                let len = self.end.saturating_add(READ_BYTES);
                if self.buffer.len() < len {
                    self.buffer.resize(len, 0);
                }
            }
            let place = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(place) {
                Ok(0) => self.is_drained = true,
                // A reader may lie about how much it has read.
                Ok(read) => {
                    self.end = self.end.saturating_add(read).min(self.buffer.len());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("header", &self.header)
            .field("offset", &self.offset)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// By so much the buffer grows, and so much is asked for at least.
const READ_BYTES: usize = 64 * 1024;

/// Below so much room the buffer is tidied up first.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Bytes that may be summed in vain before a pretender is skipped as a whole.
const DEBT_MAX: usize = 16 << 20;

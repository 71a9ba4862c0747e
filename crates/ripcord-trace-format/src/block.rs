//! Blocks: a header of 48 bytes with a checksum, and a payload.
//!
//! | Offset | Bytes | What |
//! |---|---|---|
//! | 0 | 4 | sync word `f1 52 42 9c` |
//! | 4 | 1 | kind |
//! | 5 | 1 | compression: 0 none, 1 zstd |
//! | 6 | 2 | zero |
//! | 8 | 4 | window |
//! | 12 | 4 | thread |
//! | 16 | 8 | first tick |
//! | 24 | 8 | last tick |
//! | 32 | 4 | stored length: bytes of the payload in the file |
//! | 36 | 4 | plain length: bytes of the payload without compression |
//! | 40 | 4 | events |
//! | 44 | 4 | CRC-32C of bytes 0 to 43 and the stored payload |
//!
//! Numbers are little endian.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::crc::Crc;
use std::error::Error;
use std::fmt;

/// Makes an enum of kinds that are one byte each and may become more.
macro_rules! bytes_of {
    ($(
        $(#[$about:meta])*
        $Name:ident { $( $(#[$what:meta])* $number:literal $Variant:ident $text:literal, )+ }
    )+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum $Name {
            $( $(#[$what])* $Variant, )+
            /// One that this version does not know.
            Other(u8),
        }

        impl $Name {
            /// The byte that stands for it.
            ///
            /// It never changes its meaning within a major version.
            ///
            /// # Examples
            /// ```
            /// use ripcord_trace_format::BlockKind;
            ///
            /// assert_eq!(BlockKind::Registry.number(), 6);
            /// assert_eq!(BlockKind::from_number(200).number(), 200);
            /// ```
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $( Self::$Variant => $number, )+
                    Self::Other(number) => number,
                }
            }

            /// What a byte stands for.
            ///
            /// A byte without a name is kept as `Other`.
            ///
            /// # Examples
            /// ```
            /// use ripcord_trace_format::BlockKind;
            ///
            /// assert_eq!(BlockKind::from_number(1), BlockKind::Events);
            /// assert_eq!(BlockKind::from_number(77), BlockKind::Other(77));
            /// ```
            #[must_use]
            pub const fn from_number(number: u8) -> Self {
                match number {
                    $( $number => Self::$Variant, )+
                    _ => Self::Other(number),
                }
            }

            /// The name in text, or `other`.
            ///
            /// # Examples
            /// ```
            /// use ripcord_trace_format::BlockKind;
            ///
            /// assert_eq!(BlockKind::WindowStart.as_str(), "window_start");
            /// ```
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Variant => $text, )+
                    Self::Other(_) => "other",
                }
            }

            #[allow(dead_code, reason = "not every one of them stands in text")]
            /// The one with this name; the others are `#` and their number.
            pub(crate) fn parse(word: &str) -> Option<Self> {
                match word {
                    $( $text => Some(Self::$Variant), )+
                    _ => word.strip_prefix('#')?.parse().ok().map(Self::from_number),
                }
            }
        }

        /// As in text: the name, or `#` and the number.
        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Other(number) => write!(f, "#{number}"),
                    known => f.pad(known.as_str()),
                }
            }
        }
    )+};
}

pub(crate) use bytes_of;

bytes_of! {
    /// What the payload of a block is.
    ///
    /// A reader gives blocks of kinds that it does not know as well, and their users pass over them.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::BlockKind;
    ///
    /// assert_eq!(BlockKind::from_number(6), BlockKind::Registry);
    /// assert_eq!(BlockKind::Other(77).to_string(), "#77");
    /// ```
    BlockKind {
        /// Events of one thread, in order.
        1 Events "events",
        /// Locations and labels, as events.
        2 Table "table",
        /// The [`Schema`](crate::Schema) of what follows, as text.
        3 Schema "schema",
        /// A window begins: clocks and metrics, as events.
        4 WindowStart "window_start",
        /// A window ends: totals of each thread, as events.
        5 WindowEnd "window_end",
        /// Tasks and contexts that were live when the trace was dumped, as the events that would
        /// have told of them, with the ticks at which they began.
        6 Registry "registry",
        /// Where the windows are: [`Index`](crate::Index).
        7 Index "index",
        /// The trace is complete: [`FileEnd`](crate::FileEnd).
        8 FileEnd "file_end",
    }

    /// How a payload is compressed.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Compression;
    ///
    /// assert_eq!(Compression::Zstd.number(), 1);
    /// ```
    ///
    /// # Limitations
    /// This crate does not do it: see
    /// [`Reader::with_decompress`](crate::Reader::with_decompress).
    Compression {
        /// Not at all.
        0 None "none",
        /// One frame of zstd.
        1 Zstd "zstd",
    }
}

impl BlockKind {
    /// Whether the payload is events.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::BlockKind;
    ///
    /// assert!(BlockKind::Registry.has_events());
    /// assert!(!BlockKind::Schema.has_events());
    /// ```
    #[must_use]
    pub const fn has_events(self) -> bool {
        matches!(
            self,
            Self::Events | Self::Table | Self::WindowStart | Self::WindowEnd | Self::Registry
        )
    }
}

/// What a block says of its payload, without lengths and checksum.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{BlockInfo, BlockKind};
///
/// let info = BlockInfo { thread: 3, ..BlockInfo::new(BlockKind::Events) };
/// assert_eq!(info.first_tick, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockInfo {
    /// What the payload is.
    pub kind: BlockKind,
    /// Number of the window that it belongs to.
    pub window: u32,
    /// Number of the thread that wrote it, 0 for none.
    pub thread: u32,
    /// The tick from which the first event counts.
    pub first_tick: u64,
    /// The tick of the last event.
    pub last_tick: u64,
    /// How many events it says it has; a hint.
    pub events: u32,
}

impl BlockInfo {
    /// A block of this kind, everything else zero.
    ///
    /// The other fields are public: set those that the block needs.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockInfo, BlockKind};
    ///
    /// let info = BlockInfo { thread: 3, ..BlockInfo::new(BlockKind::Events) };
    /// assert_eq!((info.thread, info.window, info.events), (3, 0, 0));
    /// ```
    #[must_use]
    pub const fn new(kind: BlockKind) -> Self {
        Self {
            kind,
            window: 0,
            thread: 0,
            first_tick: 0,
            last_tick: 0,
            events: 0,
        }
    }

    /// The header of a block whose payload is stored as it is.
    ///
    /// A last tick before the first one is written as the first one.
    ///
    /// # Errors
    /// [`PayloadTooLong`]: more than [`PAYLOAD_BYTES_MAX`] bytes.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BLOCK_HEADER_BYTES, BlockInfo, BlockKind};
    ///
    /// let header = BlockInfo::new(BlockKind::Table).header(b"")?;
    /// assert_eq!(header.len(), BLOCK_HEADER_BYTES);
    /// # Ok::<(), ripcord_trace_format::PayloadTooLong>(())
    /// ```
    pub fn header(&self, payload: &[u8]) -> Result<[u8; BLOCK_HEADER_BYTES], PayloadTooLong> {
        self.header_of(Compression::None, payload, payload.len())
    }

    /// The header of a block whose payload was compressed from `plain_len` bytes.
    ///
    /// # Errors
    /// [`PayloadTooLong`]: one of the two lengths is more than [`PAYLOAD_BYTES_MAX`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockInfo, BlockKind, Compression};
    ///
    /// let info = BlockInfo::new(BlockKind::Events);
    /// let error = info.header_of(Compression::Zstd, b"bomb", 1 << 30).unwrap_err();
    /// assert!(error.to_string().contains("1073741824 bytes, of at most 1048576"));
    /// ```
    ///
    /// # Limitations
    /// Whether `stored` really becomes `plain_len` bytes is the caller's promise; a reader skips the
    /// block where it does not.
    pub fn header_of(
        &self,
        compression: Compression,
        stored: &[u8],
        plain_len: usize,
    ) -> Result<[u8; BLOCK_HEADER_BYTES], PayloadTooLong> {
        let len = |len: usize| match u32::try_from(len) {
            Ok(short) if len <= PAYLOAD_BYTES_MAX => Ok(short.to_le_bytes()),
            _ => Err(PayloadTooLong(len)),
        };
        let mut header = [0; BLOCK_HEADER_BYTES];
        let parts: [&[u8]; 10] = [
            &SYNC,
            &[self.kind.number(), compression.number(), 0, 0],
            &self.window.to_le_bytes(),
            &self.thread.to_le_bytes(),
            &self.first_tick.to_le_bytes(),
            &self.last_tick.max(self.first_tick).to_le_bytes(),
            &len(stored.len())?,
            &len(plain_len)?,
            &self.events.to_le_bytes(),
            &[],
        ];
        fill(&mut header, &parts);
        let (head, sum) = header.split_at_mut(SUMMED);
        sum.copy_from_slice(&Crc::new().over(head).over(stored).value().to_le_bytes());
        Ok(header)
    }
}

/// Writes the parts one behind the other, as far as there is room.
fn fill(mut place: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let Some((head, rest)) = place.split_at_mut_checked(part.len()) else {
            return;
        };
        head.copy_from_slice(part);
        place = rest;
    }
}

/// A header as it was read: plausible, but its checksum has not been looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// All that users are told.
    pub(crate) info: BlockInfo,
    pub(crate) compression: Compression,
    pub(crate) stored_len: usize,
    pub(crate) plain_len: usize,
    sum: u32,
}

impl Header {
    /// `None` if no writer writes such a header: everything that can be told without the payload.
    pub(crate) fn parse(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Option<Self> {
        let mut from = Fields(bytes);
        let [sync, [kind, compression, zero @ ..]] = [from.take::<4>()?, from.take::<4>()?];
        let info = BlockInfo {
            kind: BlockKind::from_number(kind),
            window: u32::from_le_bytes(from.take()?),
            thread: u32::from_le_bytes(from.take()?),
            first_tick: u64::from_le_bytes(from.take()?),
            last_tick: u64::from_le_bytes(from.take()?),
            events: 0,
        };
        let stored_len = usize::try_from(u32::from_le_bytes(from.take()?)).ok()?;
        let plain_len = usize::try_from(u32::from_le_bytes(from.take()?)).ok()?;
        let events = u32::from_le_bytes(from.take()?);
        let sum = u32::from_le_bytes(from.take()?);
        let compression = Compression::from_number(compression);
        let is_plain = compression != Compression::None || stored_len == plain_len;
        let in_limits = stored_len <= PAYLOAD_BYTES_MAX && plain_len <= PAYLOAD_BYTES_MAX;
        let holds = sync == SYNC && zero == [0, 0] && is_plain && in_limits;
        (holds && info.first_tick <= info.last_tick).then_some(Self {
            info: BlockInfo { events, ..info },
            compression,
            stored_len,
            plain_len,
            sum,
        })
    }

    /// Whether the checksum is that of these bytes: of the header, and of the payload as stored.
    pub(crate) fn has_good_sum(&self, header: &[u8], stored: &[u8]) -> bool {
        let head = header.get(..SUMMED).unwrap_or_default();
        Crc::new().over(head).over(stored).value() == self.sum
    }
}

/// Takes fields of fixed size from the front.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; `None` if there are fewer, and then nothing is taken.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Why a block cannot be made.
///
/// A payload, compressed or not, is too long for a block: so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadTooLong(pub usize);

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(len) = self;
        write!(
            f,
            "make a block: a payload of {len} bytes, of at most {PAYLOAD_BYTES_MAX}; use several blocks"
        )
    }
}

impl Error for PayloadTooLong {}

/// Bytes of a block's header, whatever its kind is.
///
/// The layout stands in the specification, and is the same in all minor versions.
pub const BLOCK_HEADER_BYTES: usize = 48;

/// Bytes of a payload, stored and plain, at most: 1 MiB.
///
/// A recorder writes blocks of 16 KiB; the limit is what a reader must be able to hold.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// What a block begins with. No UTF-8 text holds it: `f1` would need three followers.
pub(crate) const SYNC: [u8; 4] = [0xf1, 0x52, 0x42, 0x9c];

/// Bytes of the header that the checksum covers.
const SUMMED: usize = 44;

//! Perfetto's own format: protocol buffers, for <https://ui.perfetto.dev> and its trace processor.
//!
//! `proto.rs` has the messages; this file writes packets. Each packet belongs to one sequence, whose
//! interned names are told with their first use, and begun anew before there are too many.

mod proto;

use super::ExportError;
use super::story::{Arg, Flow, Sink, Track, What, tell};
use crate::read::Trace;
use foldhash::fast::RandomState;
use prost::Message as _;
use proto::{
    Clock, ClockSnapshot, CounterDescriptor, DebugAnnotation, InternedData, Named,
    ProcessDescriptor, SliceKind, ThreadDescriptor, TracePacket, TrackDescriptor, TrackEvent,
};
use std::collections::HashMap;
use std::io::{self, Read, Seek, Write};

/// Writes a trace as a Perfetto trace.
///
/// A track for each thread and for each task; polls, waits, regions and blocking work are slices,
/// wakes are flows, and cancels, logs, tags and stalls are instants. Times are of the monotonic
/// clock, and a snapshot says when that was.
///
/// # Errors
/// [`ExportError`]: the trace or the output failed.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::perfetto;
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// let bytes = text::parse(
///     "ript 1.0 clock=monotonic shift=0 frequency=1000000000 process=7 wall=0 program=\"shop\"\n",
/// )?;
/// let mut out = Vec::new();
/// perfetto(&mut Trace::new(Cursor::new(bytes))?, &mut out)?;
/// assert_eq!(out[0], 0x0a); // The first packet: field 1, with its length.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// About 30 bytes per event. Memory: what is live at a time, and 65,536 names.
///
/// # Limitations
/// The thread ids are those of the trace, not of the system. Contexts have no tracks: see
/// [`otlp`](super::otlp).
pub fn perfetto<R: Read + Seek>(
    trace: &mut Trace<R>,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let (pid, program) = trace.header().map_or((1, String::new()), |header| {
        (header.process, header.program.clone())
    });
    let first = trace.span().map_or(0, |span| span.0);
    let (monotonic, wall) = (
        trace.timeline().nanos(first),
        trace.timeline().wall_nanos(first),
    );
    let mut sink = Perfetto {
        out,
        pid: i32::try_from(pid).unwrap_or(i32::MAX).max(1),
        names: Names::default(),
        counters: HashMap::default(),
        bytes: Vec::new(),
    };
    sink.head(monotonic, wall, &program)?;
    tell(trace, &mut sink)
}

struct Perfetto<'o, W> {
    out: &'o mut W,
    pid: i32,
    names: Names,
    counters: HashMap<String, u64, RandomState>,
    bytes: Vec<u8>,
}

impl<W: Write> Perfetto<'_, W> {
    /// Clocks, and the process to which all tracks belong.
    fn head(&mut self, monotonic: u64, wall: u64, program: &str) -> io::Result<()> {
        // Perfetto reckons in the clock of booting; a process does not notice the difference, which
        // is the time that the machine has slept.
        let clock = |clock_id, timestamp| Clock {
            clock_id: Some(clock_id),
            timestamp: Some(timestamp),
        };
        self.packet(TracePacket {
            clock_snapshot: Some(ClockSnapshot {
                clocks: vec![
                    clock(REALTIME, wall),
                    clock(MONOTONIC, monotonic),
                    clock(BOOTTIME, monotonic),
                ],
            }),
            ..TracePacket::default()
        })?;
        self.descriptor(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(ProcessDescriptor {
                pid: Some(self.pid),
                process_name: Some(program.to_owned()),
            }),
            ..TrackDescriptor::default()
        })?;
        for (uuid, name) in [(TASKS, "tasks"), (WORK, "work")] {
            self.descriptor(TrackDescriptor {
                uuid: Some(uuid),
                parent_uuid: Some(PROCESS),
                name: Some(name.to_owned()),
                ..TrackDescriptor::default()
            })?;
        }
        Ok(())
    }

    fn descriptor(&mut self, track: TrackDescriptor) -> io::Result<()> {
        self.packet(TracePacket {
            track_descriptor: Some(track),
            ..TracePacket::default()
        })
    }

    /// Writes a packet as field 1 of the trace.
    fn packet(&mut self, mut packet: TracePacket) -> io::Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        self.bytes.clear();
        self.bytes.push(PACKET_TAG);
        packet
            .encode_length_delimited(&mut self.bytes)
            .map_err(io::Error::other)?;
        self.out.write_all(&self.bytes)
    }

    fn event(
        &mut self,
        at: u64,
        kind: SliceKind,
        uuid: u64,
        what: Option<&What<'_>>,
    ) -> io::Result<()> {
        let is_begin = self.names.begin_anew();
        let mut interned = InternedData::default();
        let mut event = TrackEvent {
            kind: Some(kind as i32),
            track_uuid: Some(uuid),
            ..TrackEvent::default()
        };
        if let Some(what) = what {
            self.names.fill(&mut event, what, &mut interned);
        }
        self.packet(TracePacket {
            timestamp: Some(at),
            timestamp_clock_id: Some(MONOTONIC),
            sequence_flags: Some(if is_begin { CLEARED | NEEDS } else { NEEDS }),
            interned_data: (interned != InternedData::default()).then_some(interned),
            track_event: Some(event),
            ..TracePacket::default()
        })
    }
}

/// The names of a sequence: each kind has numbers of its own.
#[derive(Debug, Default)]
struct Names {
    categories: Interner,
    events: Interner,
    args: Interner,
    is_begun: bool,
}

impl Names {
    /// Forgets all names at the beginning, and when there are too many; whether it has.
    fn begin_anew(&mut self) -> bool {
        if self.is_begun && self.events.0.len() < NAMES_MAX {
            return false;
        }
        *self = Self {
            is_begun: true,
            ..Self::default()
        };
        true
    }

    /// Says what an event is; names that are new are told beside it.
    fn fill(&mut self, event: &mut TrackEvent, what: &What<'_>, fresh: &mut InternedData) {
        let category = self
            .categories
            .number(what.category, &mut fresh.event_categories);
        event.category_iids.push(category);
        event.name_iid = Some(self.events.number(what.name, &mut fresh.event_names));
        for (name, value) in what.args {
            let name = self.args.number(name, &mut fresh.debug_annotation_names);
            let mut annotation = DebugAnnotation {
                name_iid: Some(name),
                ..DebugAnnotation::default()
            };
            match value {
                Arg::Number(number) => annotation.uint_value = Some(*number),
                Arg::Signed(number) => annotation.int_value = Some(*number),
                Arg::Text(text) => annotation.string_value = Some((*text).to_owned()),
            }
            event.debug_annotations.push(annotation);
        }
        match what.flow {
            Flow::None => {}
            Flow::Begins(flow) => event.flow_ids.push(flow),
            Flow::Ends(flow) => event.terminating_flow_ids.push(flow),
        }
    }
}

#[derive(Debug, Default)]
struct Interner(HashMap<String, u64, RandomState>);

impl Interner {
    /// The number of a name, from 1; one that is new is put into `fresh` as well.
    fn number(&mut self, name: &str, fresh: &mut Vec<Named>) -> u64 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len() as u64 + 1;
        self.0.insert(name.to_owned(), number);
        fresh.push(Named {
            iid: Some(number),
            name: Some(name.to_owned()),
        });
        number
    }
}

impl<W: Write> Sink for Perfetto<'_, W> {
    fn track(&mut self, _at: u64, track: Track, name: &str) -> io::Result<()> {
        let (parent, thread) = match track {
            Track::Thread(number) => {
                let thread = ThreadDescriptor {
                    pid: Some(self.pid),
                    tid: Some(i32::try_from(number).unwrap_or(i32::MAX)),
                    thread_name: Some(name.to_owned()),
                };
                (PROCESS, Some(thread))
            }
            Track::Task(_) => (TASKS, None),
            Track::Regions(task) => (uuid(Track::Task(task)), None),
            Track::Work(_) => (WORK, None),
        };
        self.descriptor(TrackDescriptor {
            uuid: Some(uuid(track)),
            parent_uuid: Some(parent),
            name: thread.is_none().then(|| name.to_owned()),
            thread,
            ..TrackDescriptor::default()
        })
    }

    fn track_ends(&mut self, _at: u64, _track: Track, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn begin(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()> {
        self.event(at, SliceKind::Begin, uuid(track), Some(what))
    }

    fn end(&mut self, at: u64, track: Track, _what: &What<'_>) -> io::Result<()> {
        self.event(at, SliceKind::End, uuid(track), None)
    }

    fn instant(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()> {
        self.event(at, SliceKind::Instant, uuid(track), Some(what))
    }

    fn counter(&mut self, at: u64, name: &str, value: i64) -> io::Result<()> {
        if self.counters.len() >= COUNTERS_MAX && !self.counters.contains_key(name) {
            return Ok(());
        }
        let next = COUNTERS + self.counters.len() as u64;
        let known = self.counters.get(name).copied();
        let uuid = known.unwrap_or(next);
        if known.is_none() {
            self.counters.insert(name.to_owned(), uuid);
            self.descriptor(TrackDescriptor {
                uuid: Some(uuid),
                parent_uuid: Some(PROCESS),
                name: Some(name.to_owned()),
                counter: Some(CounterDescriptor {}),
                ..TrackDescriptor::default()
            })?;
        }
        self.packet(TracePacket {
            timestamp: Some(at),
            timestamp_clock_id: Some(MONOTONIC),
            track_event: Some(TrackEvent {
                kind: Some(SliceKind::Counter as i32),
                track_uuid: Some(uuid),
                counter_value: Some(value),
                ..TrackEvent::default()
            }),
            ..TracePacket::default()
        })
    }
}

/// The number of a track. Kinds differ in the highest bits, which no recorder's ids reach.
const fn uuid(track: Track) -> u64 {
    match track {
        Track::Thread(number) => 1 << 60 | number as u64,
        Track::Task(id) => 2 << 60 ^ id,
        Track::Regions(id) => 3 << 60 ^ id,
        Track::Work(id) => 4 << 60 ^ id,
    }
}

const PROCESS: u64 = 5 << 60;
const TASKS: u64 = PROCESS + 1;
const WORK: u64 = PROCESS + 2;
const COUNTERS: u64 = 6 << 60;

/// `perfetto.protos.BuiltinClock`.
const REALTIME: u32 = 1;
const MONOTONIC: u32 = 3;
const BOOTTIME: u32 = 6;

/// `TracePacket.SequenceFlags`: the names begin here; names are needed.
const CLEARED: u32 = 1;
const NEEDS: u32 = 2;

/// Every packet is of one sequence.
const SEQUENCE: u32 = 1;

/// Field 1 of `Trace`, which has a length.
const PACKET_TAG: u8 = 0x0a;

/// Names of events that are remembered.
const NAMES_MAX: usize = 65_536;

const COUNTERS_MAX: usize = 4_096;

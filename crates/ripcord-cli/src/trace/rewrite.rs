//! Writes a trace event by event: what `scrub` and `merge` have in common.
//!
//! The events are of this version's table, so the schema is this version's as well. An event that
//! it does not know cannot be rewritten: nobody can say which of its arguments is a name or an id.

use ripcord_trace_format::{
    BlockInfo, BlockMemory, Encoder, Event, FileHeader, MINOR, Progress, Writer,
};
use std::io::{self, Write};

/// A writer of events. A block that grows beyond the buffer becomes several.
#[derive(Debug)]
pub(super) struct Rewriter<W> {
    writer: Writer<W>,
    buffer: Vec<u8>,
    info: Option<BlockInfo>,
    progress: Progress,
    memory: BlockMemory,
    /// Events that were written.
    pub(super) events: u64,
}

impl<W: Write> Rewriter<W> {
    /// Begins a trace with this header, in the version of this program.
    pub(super) fn new(out: W, header: &FileHeader) -> io::Result<Self> {
        let mut header = header.clone();
        header.minor = MINOR;
        Ok(Self {
            writer: Writer::new(out, &header)?,
            buffer: vec![0; BUFFER_BYTES],
            info: None,
            progress: Progress::at(0),
            memory: BlockMemory::new(),
            events: 0,
        })
    }

    /// Begins a block; ticks of its events count from `info.first_tick`.
    pub(super) fn begin(&mut self, info: BlockInfo) -> io::Result<()> {
        self.end()?;
        self.info = Some(info);
        self.restart(info.first_tick);
        Ok(())
    }

    /// Writes an event into the block that was begun last.
    pub(super) fn push(&mut self, tick: u64, event: &Event<'_>) -> io::Result<()> {
        if !self.fits(tick, event) {
            self.flush()?;
            if !self.fits(tick, event) {
                let error = "an event that is larger than any of the table";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        self.events += 1;
        Ok(())
    }

    /// Ends the block; one without events is left out.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        self.info = None;
        Ok(())
    }

    /// Closes the trace.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.writer.finish()
    }

    fn fits(&mut self, tick: u64, event: &Event<'_>) -> bool {
        let memory = std::mem::take(&mut self.memory);
        let mut encoder = Encoder::resume(&mut self.buffer, self.progress, memory);
        let is_written = encoder.push(tick, event).is_ok();
        self.progress = encoder.progress();
        self.memory = encoder.into_memory();
        is_written
    }

    /// Nothing stands in the block yet, and so nothing is known of it.
    fn restart(&mut self, first_tick: u64) {
        self.progress = Progress::at(first_tick);
        self.memory.clear();
    }

    /// Writes the block so far; it goes on in another one that begins at its last tick.
    fn flush(&mut self) -> io::Result<()> {
        let Some(info) = self.info.filter(|_| self.progress.events > 0) else {
            return Ok(());
        };
        let encoder = Encoder::resume(&mut self.buffer, self.progress, BlockMemory::new());
        self.writer.events(info, &encoder)?;
        let tick = self.progress.tick;
        self.restart(tick);
        self.info = Some(BlockInfo {
            first_tick: tick,
            ..info
        });
        Ok(())
    }
}

/// Room of a block. A recorder's blocks have 16 KiB, and most stay whole.
const BUFFER_BYTES: usize = 64 * 1024;

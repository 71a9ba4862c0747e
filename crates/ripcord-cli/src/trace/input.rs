//! Reading a trace file: errors with names, progress, and everything that is left of it.

use super::error::TraceError;
use super::health::Health;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_analysis::read::decompress;
use ripcord_trace_format::{Block, Event, FileHeader, Item, Reader};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A trace that is open: its header was read.
pub(crate) struct Input<'p> {
    path: PathBuf,
    reader: Reader<Counted<'p>>,
    read: Rc<Cell<u64>>,
}

impl<'p> Input<'p> {
    /// Opens a trace and reads its header. Progress is shown unless `is_quiet`.
    ///
    /// # Errors
    /// The file cannot be read, is empty, is no trace, or is of a newer version.
    pub(crate) fn open(
        path: &Path,
        printer: &'p Printer,
        is_quiet: bool,
    ) -> Result<Self, ExpectedError> {
        let unreadable = |error| TraceError::Unreadable {
            path: path.to_owned(),
            at: None,
            error,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let begins = beginning(&mut file).map_err(unreadable)?;
        if begins.is_empty() {
            return Err(TraceError::Empty {
                path: path.to_owned(),
            }
            .into());
        }
        let progress = Progress::new(printer, &file, is_quiet);
        let read = Rc::new(Cell::new(0));
        let counted = Counted {
            head: io::Cursor::new(begins.clone()),
            file,
            read: Rc::clone(&read),
            progress,
        };
        let reader = Reader::new(counted)
            .map_err(|error| TraceError::read(path, error, &begins, read.get()))?
            .with_decompress(decompress);
        Ok(Self {
            path: path.to_owned(),
            reader,
            read,
        })
    }

    /// What the trace says of itself; `None` if that is damaged.
    pub(crate) fn header(&self) -> Option<&FileHeader> {
        self.reader.header()
    }

    /// Gives every block to `visit`, and says what was met beside them.
    ///
    /// # Errors
    /// The input fails, or `visit` does.
    pub(crate) fn walk<E: From<ExpectedError>>(
        self,
        mut visit: impl FnMut(&Block<'_>, &mut Health) -> Result<(), E>,
    ) -> Result<Health, E> {
        self.walk_items(|item, health| match item {
            Item::Block(block) => visit(block, health),
            _ => Ok(()),
        })
    }

    /// The same with everything that is no block, too.
    ///
    /// # Errors
    /// The input fails, or `visit` does.
    pub(crate) fn walk_items<E: From<ExpectedError>>(
        mut self,
        mut visit: impl FnMut(&Item<'_>, &mut Health) -> Result<(), E>,
    ) -> Result<Health, E> {
        let mut health = Health::new(self.header().is_none());
        loop {
            let item = self.reader.next_item().map_err(|error| {
                let error = TraceError::read(&self.path, error, &[], self.read.get());
                ExpectedError::from(error)
            })?;
            let Some(item) = item else {
                return Ok(health);
            };
            visit(&item, &mut health)?;
            match item {
                Item::Damage { offset, bytes } => health.hole(offset, bytes),
                Item::Skipped { offset, info, why } => health.skip(offset, &info, &why),
                Item::End(end) => health.end(end, self.read.get()),
                // A block was visited; an item of a newer format crate is nothing that this
                // program knows how to count.
                _ => {}
            }
        }
    }
}

/// Gives the events of a block to `visit`, up to the first that is wrong, which is noted.
///
/// # Errors
/// What `visit` says.
pub(crate) fn events<E>(
    block: &Block<'_>,
    health: &mut Health,
    mut visit: impl FnMut(u64, &Event<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for event in block.events() {
        match event {
            Ok((tick, event)) => visit(tick, &event)?,
            Err(error) => health.wrong_event(block.offset, &block.info, &error),
        }
    }
    Ok(())
}

/// The first bytes, as many as an error message shows.
pub(super) fn beginning(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BEGINNING_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that counts what is read from it.
#[derive(Debug)]
struct Counted<'p> {
    head: io::Cursor<Vec<u8>>,
    file: File,
    read: Rc<Cell<u64>>,
    progress: Option<Progress<'p>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        let bytes = match self.head.read(place)? {
            0 => self.file.read(place)?,
            bytes => bytes,
        };
        let read = self.read.get().saturating_add(bytes as u64);
        self.read.set(read);
        if let Some(progress) = &mut self.progress {
            progress.show(read);
        }
        Ok(bytes)
    }
}

/// Shows each whole percent once, which bounds how often it writes without asking a clock.
#[derive(Debug)]
pub(super) struct Progress<'p> {
    printer: &'p Printer,
    len: u64,
    /// What is counted, and how much of it there is.
    what: String,
    shown: u64,
}

impl<'p> Progress<'p> {
    /// Of a file that is read; `None` where nobody would see it.
    pub(super) fn new(printer: &'p Printer, file: &File, is_quiet: bool) -> Option<Self> {
        let len = file.metadata().map_or(0, |about| about.len());
        let is_shown = !is_quiet && printer.is_updating() && len >= PROGRESS_BYTES_MIN;
        is_shown.then(|| Self {
            printer,
            len,
            what: format!("{} MiB read", len / (1024 * 1024)),
            shown: 0,
        })
    }

    /// The same, of what comes after the file was read once: its events are analysed.
    pub(super) fn of_events(self, events: u64) -> Self {
        Self {
            len: events,
            what: format!("{events} events analysed"),
            shown: 0,
            ..self
        }
    }

    pub(super) fn show(&mut self, done: u64) {
        let percent = done.saturating_mul(100) / self.len.max(1);
        if percent > self.shown {
            self.shown = percent;
            self.printer
                .progress(format_args!("{percent} % of {}", self.what));
        }
    }
}

/// Shorter files are read before anybody has seen a line.
const PROGRESS_BYTES_MIN: u64 = 32 * 1024 * 1024;

const BEGINNING_BYTES: u64 = 16;

//! A recording that goes to a file while the program runs: [`Stream`].
//!
//! A thread looks into the ring several times a second and writes the blocks that are full, and once a
//! second what is in the others. The ring is the buffer between it and the program: nobody ever waits
//! for the disk, and where the disk is too slow the ring forgets, which is counted.
//!
//! # Why not every block at every step
//! What a block has said is not said again in it, so a block that is written in pieces takes more than one
//! that is written as a whole: each piece begins with nothing. A busy thread fills a block within a
//! second; the others have few events. So what is new is in the file within a second, and sooner where
//! the ring goes on fast: a block is never left until the ring could forget it.
//!
//! A process that is killed loses what was not written yet. Who wants the last second as well keeps the
//! ring in a file.
//!
//! # Windows
//! Every few seconds, or megabytes, a new window begins, with all clocks and with what lives: from each of
//! them the file can be read without what is before.
//!
//! # When the disk is full
//! A write that fails is taken back: the file is cut where the last whole step ended, so it stays readable.
//! The thread tries again at each step. What the ring forgets meanwhile is missing, and counted.

use crate::output::{Output, Totals, live, name_stacks};
use crate::ring::{News, Seen};
use crate::shared::Shared;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often new events are written.
const STEP: Duration = Duration::from_millis(100);

/// What is in blocks that are not full is written in each of so many steps: once a second.
const STEPS: u32 = 10;

/// A window ends after so long.
const WINDOW_NS: u64 = 5_000_000_000;

/// Or after so many bytes.
const WINDOW_BYTES: u64 = 16 << 20;

/// What a stream has written so far.
///
/// # Examples
/// ```
/// let streamed = ripcord_tracer::Streamed::default();
/// assert_eq!((streamed.events, streamed.missed), (0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Streamed {
    /// Events in the file.
    pub events: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Events that the ring had forgotten before they could be written.
    pub missed: u64,
    /// Windows that were begun.
    pub windows: u32,
    /// Steps at which the file could not be written to.
    pub failures: u64,
}

/// A recording that goes to a file; made by [`Recorder::stream`](crate::Recorder::stream).
///
/// Dropping it writes the rest and closes the file, as [`finish`](Self::finish) does, and keeps errors
/// to itself.
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
///
/// let path = std::env::temp_dir().join(format!("doc-stream-{}.ript", std::process::id()));
/// let recorder = Recorder::builder().build();
/// let stream = recorder.stream(&path)?;
/// assert!(format!("{stream:?}").contains("doc-stream-"));
/// drop(stream);
/// std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Limitations
/// What happens after it has ended is not in the file. A process that is killed leaves a
/// file without an end, which every reader accepts.
pub struct Stream {
    /// As it was given.
    path: PathBuf,
    /// The thread stops when this is dropped.
    stop: Option<SyncSender<()>>,
    /// Gone once it was joined.
    thread: Option<JoinHandle<io::Result<Streamed>>>,
}

impl Stream {
    /// Makes the file and writes its beginning here, so that whoever asked hears of what is
    /// wrong; the rest is the thread's.
    pub(crate) fn start(shared: &Arc<Shared>, path: &Path) -> io::Result<Self> {
        let file = create(path)?;
        let (stop, stopped) = mpsc::sync_channel(1);
        let mut run = Run::new(shared, file)?;
        let thread = std::thread::Builder::new()
            .name("ripcord-trace".to_owned())
            .spawn(move || run.until(&stopped))?;
        Ok(Self {
            path: path.to_owned(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The file.
    ///
    /// # Examples
    /// ```
    /// let path = std::env::temp_dir().join(format!("doc-path-{}.ript", std::process::id()));
    /// let stream = ripcord_tracer::Recorder::builder().build().stream(&path)?;
    /// assert_eq!(stream.path(), path);
    /// # drop(stream);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is left, and closes the file.
    ///
    /// # Errors
    /// The last one of the file, if the rest could not be written: then the file is a trace that is not
    /// closed, with everything that was written before.
    ///
    /// # Examples
    /// ```
    /// let path = std::env::temp_dir().join(format!("doc-finish-{}.ript", std::process::id()));
    /// let stream = ripcord_tracer::Recorder::builder().build().stream(&path)?;
    /// let streamed = stream.finish()?;
    /// assert_eq!(streamed.bytes, std::fs::metadata(&path)?.len());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish(mut self) -> io::Result<Streamed> {
        self.end().unwrap_or_else(|| Ok(Streamed::default()))
    }

    /// Stops the thread and waits for it; `None` if that was done before.
    fn end(&mut self) -> Option<io::Result<Streamed>> {
        drop(self.stop.take());
        let ended = self.thread.take()?.join();
        Some(
            ended.unwrap_or_else(|_| Err(io::Error::other("write the trace: its thread panicked"))),
        )
    }
}

impl Drop for Stream {
    /// As [`finish`](Stream::finish), where nobody wants to know.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A new file that only its owner can read: it has names and times of the program's users.
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) also where there is a link: nothing that
/// is there is ever written to.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The thread's part.
struct Run<S> {
    /// The recorder.
    shared: Arc<Shared>,
    /// What is written, by way of a buffer.
    output: Output<Sink<S>>,
    /// How far the ring was read.
    seen: Seen,
    /// Events of the window so far.
    totals: Totals,
    /// What is said of it in the end.
    streamed: Streamed,
    /// When, in nanoseconds, and at which length of the file.
    window_began: (u64, u64),
    /// Steps so far.
    steps: u32,
}

impl<S: Store> Run<S> {
    /// Writes the beginning and the first window's.
    ///
    /// # Errors
    /// What the file says to that.
    fn new(shared: &Arc<Shared>, file: S) -> io::Result<Self> {
        let sink = Sink {
            file,
            waiting: Vec::new(),
            committed: 0,
        };
        let mut run = Self {
            shared: Arc::clone(shared),
            output: Output::new(shared, sink)?,
            seen: Seen::default(),
            totals: Totals::new(),
            streamed: Streamed::default(),
            window_began: (0, 0),
            steps: 0,
        };
        run.begin_window(true)?;
        // Whoever cannot write at all should hear of it at once.
        run.output.writer.sink().commit()?;
        Ok(run)
    }

    /// Until somebody asks it to stop; then the rest.
    fn until(&mut self, stopped: &Receiver<()>) -> io::Result<Streamed> {
        while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
            // It is tried again at the next step.
            let _ = self.step();
        }
        self.finish()
    }

    /// Writes what is new. While the file takes nothing, nothing is taken out of the ring.
    fn step(&mut self) -> io::Result<()> {
        self.commit()?;
        let now = self.shared.clock.read();
        let (began_ns, began_bytes) = self.window_began;
        let is_old = now.monotonic_ns.saturating_sub(began_ns) >= WINDOW_NS;
        let is_long = self.output.writer.sink().len().saturating_sub(began_bytes) >= WINDOW_BYTES;
        self.steps = self.steps.wrapping_add(1);
        let is_end = is_old || is_long;
        self.copy_news(is_end || self.steps.is_multiple_of(STEPS))?;
        if is_end {
            self.end_window()?;
            self.output.window += 1;
            self.begin_window(false)?;
        }
        self.commit()
    }

    /// Counts the times that the file would not.
    fn commit(&mut self) -> io::Result<()> {
        let committed = self.output.writer.sink().commit();
        if committed.is_err() {
            self.streamed.failures += 1;
        }
        committed
    }

    /// A window has readings of all clocks, the tables, the threads and what lives: the
    /// first one after the header, a later one after the schema again.
    fn begin_window(&mut self, is_first: bool) -> io::Result<()> {
        let now = self.shared.clock.read();
        self.window_began = (now.monotonic_ns, self.output.writer.sink().len());
        self.streamed.windows += 1;
        let live = live(&self.shared);
        if is_first {
            self.output
                .window_start(&[self.shared.clock.at_start(), now])?;
        } else {
            self.output.schema()?;
            self.output.window_start(&[now])?;
        }
        self.output.tables(&self.shared)?;
        self.output.threads(&self.shared)?;
        self.output.registry(&live)
    }

    /// With the totals of the window, which begin again at nothing.
    fn end_window(&mut self) -> io::Result<()> {
        let now = self.shared.clock.read();
        let totals = std::mem::take(&mut self.totals);
        self.output.window_end(&self.shared, now, &totals)
    }

    /// What was recorded since the last time, block by block. The tables come before it in
    /// the file, and are read after it. Not all: those of the blocks that are full.
    fn copy_news(&mut self, is_all: bool) -> io::Result<()> {
        name_stacks(&self.shared);
        let news = self.shared.ring.news(&mut self.seen, is_all);
        // After the events, so that none of them names a place that is not there yet.
        self.output.tables(&self.shared)?;
        for News {
            copy,
            before,
            position,
        } in news
        {
            let position = match before {
                0 => self.output.copy(&copy)?,
                _ => self.output.rest(&copy, position)?,
            };
            self.seen.note(&copy, position);
            let events = u64::from(copy.events - before);
            *self.totals.entry(copy.thread).or_default() += events;
            self.streamed.events += events;
        }
        Ok(())
    }

    /// What the ring had forgotten is what it has evicted less what was written before
    /// that.
    fn finish(&mut self) -> io::Result<Streamed> {
        self.copy_news(true)?;
        self.end_window()?;
        self.output.writer.close()?;
        self.commit()?;
        let evicted = self.shared.ring.gone().evicted;
        let written = self.streamed.events.saturating_sub(self.seen.events());
        self.streamed.missed = evicted.saturating_sub(written);
        self.streamed.bytes = self.output.writer.sink().committed;
        Ok(self.streamed)
    }
}

/// Where a stream goes: a file, or one that fails in a test.
trait Store: Write {
    /// Makes it end after so many bytes, and be written there next.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Store for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(|_| ())
    }
}

/// What is written, until the file has taken it.
struct Sink<S> {
    /// What takes the bytes.
    file: S,
    /// Bytes that the file has not taken yet; at most what one step has found.
    waiting: Vec<u8>,
    /// The length of the file up to here is whole.
    committed: u64,
}

impl<S: Store> Sink<S> {
    /// The length that the file will have.
    fn len(&self) -> u64 {
        self.committed + self.waiting.len() as u64
    }

    /// Hands everything to the file, or leaves the file as it was.
    fn commit(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.waiting);
        if let Err(error) = written {
            // Half of a block would be damage to whoever reads on behind it.
            self.file.cut(self.committed)?;
            return Err(error);
        }
        self.committed += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

impl<S> Write for Sink<S> {
    /// It never fails: the file is asked by `commit`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Nothing: only whole steps go out.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use ripcord_core::tasks::{PollEnd, Spawned, TaskRef, Tasks};
    use ripcord_trace_format::{BlockKind, End, Event, Item, Reader};
    use std::panic::Location;

    /// A disk with so many bytes left, that takes what it can before it refuses.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Store for Disk {
        fn cut(&mut self, len: u64) -> io::Result<()> {
            let len = usize::try_from(len).expect("it is short");
            self.room += self.bytes.len() - len;
            self.bytes.truncate(len);
            Ok(())
        }
    }

    struct Polls {
        recorder: Recorder,
        tasks: Tasks,
        task: TaskRef,
    }

    impl Polls {
        fn new() -> Self {
            let recorder = Recorder::builder().memory(1 << 18).build();
            let tasks = Tasks::new(recorder.tasks());
            let task = tasks.spawned(&Spawned {
                task: 1_000_001,
                parent: None,
                context: None,
                name: "task",
                site: Location::caller(),
                size: 0,
                is_blocking: false,
            });
            Self {
                recorder,
                tasks,
                task,
            }
        }

        fn run(&self, polls: usize) {
            for _ in 0..polls {
                let turn = self.tasks.poll_started(self.task, None, None);
                turn.end(PollEnd::Pending, None);
            }
        }

        fn stream(&self, room: usize) -> Run<Disk> {
            let disk = Disk {
                bytes: Vec::new(),
                room,
            };
            Run::new(self.recorder.shared(), disk).expect("there is room for the beginning")
        }
    }

    /// Events of tasks in a trace that is undamaged, in order of their polls.
    fn polls_of(trace: &[u8]) -> u64 {
        let mut reader = Reader::new(trace).expect("a trace");
        let (mut polls, mut tick, mut is_closed) = (0, 0, false);
        while let Some(item) = reader.next_item().expect("readable") {
            match item {
                Item::Block(block) if block.info.kind == BlockKind::Events => {
                    for event in block.events() {
                        let (at, event) = event.expect("whole");
                        assert!(at >= tick, "rests of blocks count from where they begin");
                        let is_start = matches!(event, Event::PollStart { .. });
                        polls += u64::from(is_start);
                        tick = tick.max(if is_start { at } else { 0 });
                    }
                }
                Item::Block(_) => {}

                Item::End(end) => is_closed = matches!(end, End::Closed { .. }),
                damaged => panic!("{damaged:?}"),
            }
        }
        assert!(is_closed);
        polls
    }

    #[test]
    fn steps_go_on_where_the_one_before_has_stopped() {
        let polls = Polls::new();
        let mut run = polls.stream(usize::MAX);
        for step in 0..50 {
            polls.run(step * 7);
            run.step().expect("there is room");
        }
        polls.run(3);
        let streamed = run.finish().expect("there is room");
        let total = (0..50).sum::<u64>() * 7 + 3;
        assert_eq!(polls_of(&run.output.writer.sink().file.bytes), total);
        // The thread and the task.
        assert_eq!((streamed.events, streamed.missed), (2 * total + 2, 0));
    }

    #[test]
    fn what_a_full_disk_has_not_taken_is_written_later_or_counted() {
        let polls = Polls::new();
        let mut run = polls.stream(10_000);
        let mut failures = 0;
        for step in 0..40 {
            polls.run(5_000);
            if step == 30 {
                run.output.writer.sink().file.room = usize::MAX;
            }
            failures += u64::from(run.step().is_err());
        }
        let streamed = run.finish().expect("there is room");
        assert!(failures > 25, "{failures}");
        assert_eq!(streamed.failures, failures);
        assert!(streamed.missed > 0);
        assert_eq!(streamed.events + streamed.missed, 2 * 40 * 5_000 + 2);
        let written = polls_of(&run.output.writer.sink().file.bytes);
        assert!(written.abs_diff(streamed.events / 2) <= 1);
    }

    #[test]
    fn a_long_recording_has_windows() {
        let polls = Polls::new();
        let mut run = polls.stream(usize::MAX);
        for _ in 0..3 {
            run.window_began.0 = 0;
            polls.run(10);
            run.step().expect("there is room");
        }
        let streamed = run.finish().expect("there is room");
        assert_eq!((streamed.windows, streamed.events), (4, 62));
        assert_eq!(polls_of(&run.output.writer.sink().file.bytes), 30);
    }
}

//! [`Recording`]: where a runtime and a recorder meet, which know nothing of each other.

use ripcord_core::set_default_observer;
use ripcord_tokio::{ThreadHooks, ask_stacks, each_overdue};
use ripcord_tracer::{
    Builder, Mode, Recorder, SchedTrace, Settings, SettingsError, Stream, Streamed, Watch, Worst,
};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// A recording of this process, from its beginning to its end.
///
/// What is asked for and cannot be had is an error at the beginning, before anything runs: a recording that
/// is missed is missed after a crash, when nothing can be done about it.
///
/// A program makes it before the first context, and gives its [`hooks`](Self::hooks) to the runtime.
///
/// # Examples
/// ```
/// use ripcord::{BuilderExt as _, Ctx, CtxExt as _};
/// use ripcord::trace::Recording;
///
/// // Nothing is recorded, and nothing costs anything, unless RIPCORD_TRACE names a file.
/// let recording = Recording::from_env()?;
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .enable_all()
///     .thread_hooks(&recording.hooks())
///     .build()?;
/// runtime.block_on(async { ripcord::spawn(async { 7 }).await })?;
/// recording.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limitations
/// A process has one: the second one fails. What was begun before it is not recorded.
#[derive(Debug, Default)]
#[must_use = "it ends when dropped"]
pub struct Recording {
    // In this order they go: who prints, who asks for stacks, then who write them.
    /// Prints lines of numbers.
    sched: Option<SchedTrace>,
    /// Asks those that are late where they wait.
    watch: Option<Watch>,
    /// Keeps the worst requests.
    worst: Option<Worst>,
    /// Writes everything to a file.
    stream: Option<Stream>,
    /// `None`: nothing is asked for.
    recorder: Option<Recorder>,
}

impl Recording {
    /// Records as the environment says, and not at all where it says nothing.
    ///
    /// See [`Settings::from_env`] for the variables.
    ///
    /// # Errors
    /// A setting that is wrong, a file that cannot be made (a trace that exists is not overwritten), a
    /// process that is recorded already, a ring file without the feature `trace-ring`.
    pub fn from_env() -> Result<Self, RecordingError> {
        let Some(settings) = Settings::from_env().map_err(RecordingError::Settings)? else {
            return Ok(Self::default());
        };
        let mut recorder = Recorder::builder().program(program()).mode(settings.mode);
        if settings.sched.is_some() {
            recorder = recorder.count_polls();
        }
        if let Some(level) = settings.zstd {
            recorder = compressed(recorder, level)?;
        }
        let recorder = match &settings.ring {
            None => recorder.build(),
            Some(path) => built_in(recorder, path)?,
        };
        let mut recording = Self::of(recorder.clone())?;
        if let Some(file) = &settings.file {
            let stream = recorder.stream(file);
            let failed = |error| RecordingError::File(file.display().to_string(), error);
            recording.stream = Some(stream.map_err(failed)?);
        }
        if let Some(folder) = &settings.worst {
            let worst = recorder.worst(folder).per_route(settings.worst_per_route);
            let failed = |error| RecordingError::File(folder.display().to_string(), error);
            recording.worst = Some(worst.start().map_err(failed)?);
        }
        if let Some(asked) = settings.sched {
            let lines = recorder.sched_trace(asked.every).detail(asked.has_detail);
            recording.sched = Some(lines.start().map_err(RecordingError::Thread)?);
        }
        Ok(recording)
    }

    /// Makes this recorder the one of the process.
    ///
    /// It is told of all trees that begin from now on without an observer of their own, and watches for
    /// tasks that are late. A recorder in [`Mode::Metrics`] is not watched, since there is nothing to write
    /// down then; its numbers know all tasks that are late.
    ///
    /// # Errors
    /// A process that is recorded already, or that cannot have another thread.
    pub fn of(recorder: Recorder) -> Result<Self, RecordingError> {
        set_default_observer(recorder.observer()).map_err(|_| RecordingError::Recorded)?;
        recorder.overdue_from(|tell| each_overdue(tell));
        let is_watched = recorder.mode() != Mode::Metrics;
        let watch = is_watched.then(|| recorder.watch().ask(ask_stacks).start());
        Ok(Self {
            sched: None,
            worst: None,
            watch: watch.transpose().map_err(RecordingError::Thread)?,
            stream: None,
            recorder: Some(recorder),
        })
    }

    /// The recorder, for a dump; `None` where nothing is recorded.
    #[must_use]
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// For a builder of a runtime: [`thread_hooks`](ripcord_tokio::BuilderExt::thread_hooks).
    ///
    /// With them it is known which thread is a worker, when it is parked, and whether a task was woken
    /// by the driver. Where nothing is recorded they do next to nothing.
    #[must_use]
    pub fn hooks(&self) -> ThreadHooks {
        let recorder = self.recorder.as_ref();
        recorder.map_or_else(ThreadHooks::default, |recorder| {
            ThreadHooks::new(recorder.tasks())
        })
    }

    /// Writes what is left and closes the file; what it has written, if there is a file.
    ///
    /// Call it when the runtime is gone: what happens later is not in the file.
    ///
    /// # Errors
    /// Those of [`Stream::finish`].
    pub fn finish(mut self) -> io::Result<Option<Streamed>> {
        drop(self.sched.take());
        drop(self.watch.take());
        drop(self.worst.take());
        self.stream.take().map(Stream::finish).transpose()
    }
}

/// The recorder with traces that are compressed.
#[cfg(feature = "trace-zstd")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without the feature it is an error"
)]
fn compressed(builder: Builder, level: u8) -> Result<Builder, RecordingError> {
    Ok(builder.zstd(level))
}

/// A disk that is reckoned for half of the bytes would be full.
#[cfg(not(feature = "trace-zstd"))]
fn compressed(_: Builder, _: u8) -> Result<Builder, RecordingError> {
    Err(RecordingError::NoZstd)
}

/// The recorder with its memory in a file.
///
/// The error is boxed, so that the one that is told is the same type with and without the feature.
#[cfg(all(feature = "trace-ring", unix))]
fn built_in(builder: Builder, path: &Path) -> Result<Recorder, RecordingError> {
    let built = builder.build_in(path);
    built.map_err(|error| RecordingError::Ring(Box::new(error)))
}

/// It is asked for, and cannot be had: to record without it would be found out when it is too late.
#[cfg(not(all(feature = "trace-ring", unix)))]
fn built_in(_: Builder, path: &Path) -> Result<Recorder, RecordingError> {
    Err(RecordingError::NoRing(path.display().to_string()))
}

/// The file name of the program.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Why a process is not recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordingError {
    /// The environment says something that is not understood.
    Settings(SettingsError),
    /// That file or folder cannot be made.
    File(String, io::Error),
    /// The recorder's memory cannot be in the file that was asked for: another process has it, something
    /// else is there, or there is no room. The source says which.
    Ring(Box<dyn Error + Send + Sync>),
    /// It was asked for in that file, and the program is built without the feature `trace-ring`, or for a
    /// system that is no unix.
    NoRing(String),
    /// Traces are to be compressed, and the program is built without the feature `trace-zstd`.
    ///
    /// It is no default feature, as it builds zstd's C source.
    NoZstd,
    /// It is recorded already.
    Recorded,
    /// The operating system gives it no thread.
    Thread(io::Error),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(_) => f.write_str("read what is to be recorded"),
            Self::File(path, error) if error.kind() == io::ErrorKind::AlreadyExists => write!(
                f,
                "write the recording to `{}`: there is something; choose another name, with %p for \
                 the id of the process",
                path.escape_debug()
            ),
            Self::File(path, _) => {
                write!(f, "write the recording to `{}`", path.escape_debug())
            }
            Self::Ring(_) => f.write_str("keep the recording in a ring file"),
            Self::NoRing(path) => write!(
                f,
                "keep the recording in the ring file `{}`: build the program with the feature \
                 `trace-ring` of ripcord, on unix",
                path.escape_debug()
            ),
            Self::NoZstd => f.write_str(
                "compress the recording: build the program with the feature `trace-zstd` of ripcord",
            ),
            Self::Recorded => f.write_str("record the process: it is recorded already"),
            Self::Thread(_) => f.write_str("start the thread that watches, or that prints"),
        }
    }
}

impl Error for RecordingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Settings(error) => Some(error),
            Self::File(_, error) | Self::Thread(error) => Some(error),
            Self::Ring(error) => Some(&**error),
            Self::Recorded | Self::NoRing(_) | Self::NoZstd => None,
        }
    }
}

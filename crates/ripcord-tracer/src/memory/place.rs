//! Whose file it is: making a ring file, and what becomes of one that is there.
//!
//! # What is there already
//! | There is | and it |
//! |---|---|
//! | a file of a recorder that is alive | stays: the new recorder is not made |
//! | one of a process that was killed | gets `.1` behind its name, in place of an older one of that name |
//! | one that was closed in order | makes room |
//! | anything else, a link too | stays: the new recorder is not made |
//!
//! A service that is started again after a crash thus records at once, and what the crash has left is
//! there to be looked at. One file is kept, so that a service that crashes again and again does not fill
//! the disk.
//!
//! # Why a lock, and not the id of the process
//! Ids are used again, and are not the same in every container: a file in a folder that two containers
//! share names a process that the other one does not see. The lock is known to whoever shares the file.
//!
//! # Protocol
//! A recorder holds the lock of its file for as long as it has it, and the kernel gives that back however
//! the process ends. A file is made under a name of its own and gets its name when all of it is there, by
//! a link, which fails where something is. Only who has the lock of a file takes its name away, and only
//! after another look whether the name is that file's.

use super::error::RingFileError;
use ripcord_trace_format::{RingError, RingFile, RingState};
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file without its name yet; it goes away with this unless it is given one.
///
/// A process that is killed in between leaves a file with `.new-` and two numbers behind the name, which
/// nobody takes for a ring file.
#[derive(Debug)]
pub(super) struct Fresh {
    /// The name that it is to have.
    path: PathBuf,
    /// The name that it has.
    now: PathBuf,
    pub(super) file: File,
}

impl Fresh {
    /// A new file of `len` bytes, all of them there and zero, that only its owner can read.
    ///
    /// # Errors
    /// What the operating system says: no such folder, no right to, no room.
    pub(super) fn new(path: &Path, len: u64) -> Result<Self, RingFileError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only uniqueness counts (counter).
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = beside(path, &format!(".new-{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&now)
            .map_err(RingFileError::io(path, "make a file"))?;
        let fresh = Self {
            path: path.to_owned(),
            now,
            file,
        };
        let locked = fresh.file.try_lock().map_err(io::Error::from);
        locked.map_err(RingFileError::io(path, "lock it"))?;
        take_room(&fresh.file, len).map_err(RingFileError::io(path, "take room for it"))?;
        Ok(fresh)
    }

    /// Gives it its name, and puts aside what a process that is gone has left there.
    ///
    /// # Errors
    /// See the head of this file.
    pub(super) fn publish(self) -> Result<(), RingFileError> {
        let path = &self.path;
        for _ in 0..TRIES {
            match fs::hard_link(&self.now, path) {
                // The other name goes with `self`.
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => put_aside(path)?,
                Err(error) => return Err(RingFileError::io(path, "give it its name")(error)),
            }
        }
        // Somebody else makes files of that name as fast as they are put aside.
        Err(RingFileError::InUse {
            path: path.clone(),
            process: None,
        })
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // It was made above. If it cannot be removed there is nothing left to do.
        let _ = fs::remove_file(&self.now);
    }
}

/// Takes all the room that a file will need, so that no write to it fails later.
///
/// A page that has no room on the disk when it is written back, or in memory when it is touched, ends the
/// process with `SIGBUS`: that is worse than no recording, so it is asked for here.
///
/// # Errors
/// Above all [`StorageFull`](io::ErrorKind::StorageFull) and
/// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded).
fn take_room(file: &File, len: u64) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            taken => return Ok(taken?),
        }
    }
    // Where the file system cannot be asked, zeros take the room as well.
    let zeros = vec![0; 1 << 16];
    let (mut file, mut left) = (file, len);
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    Ok(())
}

/// What is at a path.
enum There {
    /// Nothing: the name is free.
    Nothing,
    /// Of a process that is gone, and locked here.
    Left(File, RingState),
}

/// Looks at a path.
///
/// What is there is opened for reading only, is not followed if it is a link, and is not waited for if it
/// is a pipe. Its lock is held by the file that comes back.
///
/// # Errors
/// [`RingFileError::InUse`], [`RingFileError::NotARing`], or what the operating system says.
fn look(path: &Path) -> Result<There, RingFileError> {
    let not_a_ring = || RingFileError::NotARing {
        path: path.to_owned(),
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
        Err(error) => return Err(RingFileError::io(path, "look at what is there")(error)),
        // A pipe would let it wait for ever, and a link leads to what somebody else has chosen.
        Ok(about) if !about.is_file() => return Err(not_a_ring()),
        Ok(_) => {}
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(RingFileError::io(path, "open what is there"));
    let file = opened?;
    let locked = file.try_lock();
    let ring = RingFile::open(&file);
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(RingFileError::InUse {
                path: path.to_owned(),
                process: ring.ok().map(|ring| ring.header().process),
            });
        }
        Err(TryLockError::Error(error)) => {
            return Err(RingFileError::io(path, "lock what is there")(error));
        }
    }
    let state = match ring {
        Ok(ring) => ring.state(),
        // One of another version, or a damaged one, is kept as one of a process that was killed.
        Err(RingError::Version { .. } | RingError::Header { .. }) => RingState::Unknown,
        Err(RingError::Read { error, .. }) => {
            return Err(RingFileError::io(path, "read what is there")(error));
        }
        Err(_) => return Err(not_a_ring()),
    };
    Ok(There::Left(file, state))
}

/// Takes its name from what a process that is gone has left.
///
/// Nothing where it is gone already; the caller tries again with the name.
///
/// # Errors
/// Those of [`look`], also for the name with `.1`; what the operating system says.
fn put_aside(path: &Path) -> Result<(), RingFileError> {
    let There::Left(file, state) = look(path)? else {
        return Ok(());
    };
    let failed = RingFileError::io(path, "put aside what is there");
    match is_at(&file, path) {
        Ok(true) => {}
        // It was put aside by somebody else meanwhile.
        Ok(false) => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    if state == RingState::Closed {
        return fs::remove_file(path).map_err(failed);
    }
    let older = beside(path, ".1");
    // What is replaced has to be a ring file that nobody uses, too; it stays locked until then.
    let _older = look(&older)?;
    fs::rename(path, &older).map_err(failed)
}

/// Whether a path is that of this file.
///
/// It stays so while the file is locked here: see the protocol above.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let of = |about: fs::Metadata| (about.dev(), about.ino());
    match fs::symlink_metadata(path) {
        Ok(about) => Ok(of(about) == of(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A path with something behind its name; in the same folder, so that links and renames are one step.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// So often a name is asked for.
const TRIES: usize = 4;

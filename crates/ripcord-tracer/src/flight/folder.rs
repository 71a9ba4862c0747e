//! Where dumps go: names, the quota, and the disk behind [`Folder`].
//!
//! # Half a file
//! A dump is written under a name of its own that begins with a dot and ends in `.part`, and gets its
//! final name when it is whole. So who collects dumps by their names never sees half of one. What a
//! process that was killed has left behind is an own file like any other, and goes when it is the oldest.
//!
//! # What is an own file
//! `<program>-<process>-<number>-<reason>.ript`, with the program's name, two numbers and a reason that
//! there is, and the same as a temporary name. A regular file, and no link. Of other processes of the same
//! program too: a program that is started again and again must not fill the disk. Dumps and the worst
//! requests may share a folder: they end differently, and each counts its own.
//!
//! # Limitations
//! What was written is not forced to the disk: a machine that loses power may lose the last dump. While
//! one is written it counts in addition to the quota.

use crate::stream;
use crate::trigger::Reason;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A program's name in names of files has at most so many characters.
const PROGRAM_MAX: usize = 64;

/// A folder with more own files than this is not looked at any further.
const ENTRIES_MAX: usize = 1 << 16;

/// Names of files, as one process gives them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// What a file name can have of the program's name.
    program: String,
    /// The id of the process.
    process: u32,
    /// Who gives them.
    writer: WriterOf,
}

/// Who writes files of its own into a folder, and takes old ones away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WriterOf {
    /// A flight recorder: a name ends in a [`Reason`].
    Dumps,
    /// Who keeps the worst requests: a name ends in [`WORST`] and a route.
    Worst,
}

/// What the end of a name begins with, for the worst request of a route.
pub(crate) const WORST: &str = "worst";

impl Names {
    /// Of a program's name what a file's may have: letters, digits, `_`, `.` and `-`.
    pub(crate) fn new(program: &str, process: u32) -> Self {
        let mut program = plain(program, PROGRAM_MAX);
        // Neither hidden nor an option of whoever is given the name.
        if program.is_empty() || program.starts_with(['.', '-']) {
            program.insert(0, '_');
        }
        Self {
            program,
            process,
            writer: WriterOf::Dumps,
        }
    }

    /// The same for somebody else.
    pub(crate) fn of(self, writer: WriterOf) -> Self {
        Self { writer, ..self }
    }

    /// The name of a dump.
    pub(crate) fn file(&self, number: u64, ending: impl fmt::Display) -> String {
        let Self {
            program, process, ..
        } = self;
        format!("{program}-{process}-{number}-{ending}.ript")
    }

    /// What it is called until it is whole.
    pub(crate) fn temporary(file: &str) -> String {
        format!(".{file}.part")
    }

    /// Process and number, if that is a name which a flight recorder of this program gives.
    pub(crate) fn parse(&self, name: &str) -> Option<(u32, u64)> {
        let hidden = name.strip_prefix('.');
        let whole = hidden.and_then(|name| name.strip_suffix(".part"));
        let rest = whole.unwrap_or(name).strip_suffix(".ript")?;
        let rest = rest.strip_prefix(&*self.program)?.strip_prefix('-')?;
        let (process, rest) = rest.split_once('-')?;
        let (number, ending) = rest.split_once('-')?;
        let is_own = match self.writer {
            WriterOf::Dumps => Reason::ALL.iter().any(|one| one.name() == ending),
            WriterOf::Worst => ending.strip_prefix(WORST)?.starts_with('-'),
        };
        if !is_own {
            return None;
        }
        Some((digits(process)?.try_into().ok()?, digits(number)?))
    }

    /// The number that follows those of this process.
    pub(crate) fn next(&self, entries: &[Entry]) -> u64 {
        let numbers = entries.iter().filter_map(|entry| self.parse(&entry.name));
        let own = numbers.filter(|(process, _)| *process == self.process);
        own.map(|(_, number)| number)
            .max()
            .map_or(1, |last| last.saturating_add(1))
    }
}

/// What a file's name can have of a text: letters, digits, `_`, `.` and `-`, so many of them.
pub(crate) fn plain(text: &str, chars_max: usize) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => c,
        _ => '_',
    };
    text.chars().take(chars_max).map(plain).collect()
}

/// A number as it is written by us: no sign, no zero before it.
fn digits(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// An own file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    /// When it was written last, in nanoseconds since 1970. First, so that the oldest is the least.
    pub(crate) modified: u64,
    /// In the folder, without its path.
    pub(crate) name: String,
    /// How long it is.
    pub(crate) bytes: u64,
}

/// How much of the disk own files may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quota {
    /// Of all own files together.
    pub(crate) bytes: u64,
    /// How many own files.
    pub(crate) files: usize,
}

impl Quota {
    /// What has to go before a dump of so many bytes has room: the oldest first; `None` if it never has.
    ///
    /// Nothing is removed for a dump that would not fit even then.
    pub(crate) fn to_remove(self, mut entries: Vec<Entry>, bytes: u64) -> Option<Vec<Entry>> {
        if bytes > self.bytes || self.files == 0 {
            return None;
        }
        entries.sort_unstable();
        let sizes = entries.iter().map(|entry| u128::from(entry.bytes));
        let mut total = u128::from(bytes) + sizes.sum::<u128>();
        let mut files = entries.len() + 1;
        let too_much = entries.into_iter().take_while(|entry| {
            let is_over = total > u128::from(self.bytes) || files > self.files;
            total -= u128::from(entry.bytes);
            files -= 1;
            is_over
        });
        Some(too_much.collect())
    }
}

/// A disk: a folder, or one that fails in a test.
pub(crate) trait Folder {
    /// A file that is being written.
    type File: Write;

    /// Own files.
    fn list(&mut self, names: &Names) -> io::Result<Vec<Entry>>;

    /// A new file, that only its owner can read.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Gives a file its final name, where there is none of that name.
    fn publish(&mut self, temporary: &str, name: &str) -> io::Result<()>;

    /// Takes an own file away.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the operating system.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    /// Makes it where it is not there; who makes it is the only one to look into it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Folder for Directory {
    type File = File;

    /// What is not a regular file is no own file, whatever it is called. A file that goes
    /// away meanwhile is none either.
    fn list(&mut self, names: &Names) -> io::Result<Vec<Entry>> {
        let mut own = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| names.parse(name).is_some()) else {
                continue;
            };
            // It may be gone by now, and that is as good.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if !about.is_file() || own.len() >= ENTRIES_MAX {
                continue;
            }
            let modified = about.modified().ok();
            let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let ns = modified.and_then(|since| u64::try_from(since.as_nanos()).ok());
            own.push(Entry {
                modified: ns.unwrap_or(0),
                name: name.to_owned(),
                bytes: about.len(),
            });
        }
        Ok(own)
    }

    /// By [`stream::create`]: nothing that is there is written to, and nobody else may read
    /// it.
    fn create(&mut self, name: &str) -> io::Result<File> {
        stream::create(&self.0.join(name))
    }

    /// A second name for the file, and then the first one goes: unlike a renaming it overwrites nothing.
    fn publish(&mut self, temporary: &str, name: &str) -> io::Result<()> {
        let (from, to) = (self.0.join(temporary), self.0.join(name));
        match fs::hard_link(&from, &to) {
            Ok(()) => fs::remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Some file systems know no second names. Then somebody might come in between.
            Err(_) if fs::symlink_metadata(&to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

/// Takes so many bytes and no more.
///
/// So a dump that is larger than the quota ends early, and does not fill the disk before
/// that is known.
pub(crate) struct Limited<W> {
    pub(crate) out: W,
    /// Bytes that it still takes.
    pub(crate) room: u64,
    /// Whether there were more.
    pub(crate) is_exceeded: bool,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.room {
            self.is_exceeded = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.out.write(bytes)?;
        self.room -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(modified: u64, bytes: u64) -> Entry {
        Entry {
            modified,
            name: format!("shop-1-{modified}-call.ript"),
            bytes,
        }
    }

    #[test]
    fn only_names_that_we_give_are_ours() {
        let names = Names::new("my-shop", 12);
        let own = names.file(3, Reason::LongPoll);
        assert_eq!(own, "my-shop-12-3-long-poll.ript");
        let cases = [
            (&*own, Some((12, 3))),
            (&*Names::temporary(&own), Some((12, 3))),
            ("my-shop-99-1-call.ript", Some((99, 1))),
            ("my-shop-012-3-call.ript", None),
            ("my-shop-12-+3-call.ript", None),
            ("my-shop-12-3-cell.ript", None),
            ("my-shop-12-3-call.ript.bak", None),
            (".my-shop-12-3-call.ript", None),
            ("my-shop-12-3.ript", None),
            ("shop-12-3-call.ript", None),
            ("my-shop-5000000000-3-call.ript", None),
            ("", None),
        ];
        for (name, expect) in cases {
            assert_eq!(names.parse(name), expect, "{name}");
        }
    }

    #[test]
    fn who_writes_dumps_and_who_keeps_the_worst_leave_each_other_alone() {
        let dumps = Names::new("shop", 1);
        let worst = dumps.clone().of(WriterOf::Worst);
        let (dump, own) = (dumps.file(3, Reason::Call), worst.file(3, "worst-GET__-a"));
        let parsed = |names: &Names| [&dump, &own].map(|name| names.parse(name).is_some());
        assert_eq!(
            (parsed(&dumps), parsed(&worst)),
            ([true, false], [false, true])
        );
        assert_eq!(worst.parse("shop-1-3-worstGET.ript"), None);
        assert_eq!(worst.parse(&Names::temporary(&own)), Some((1, 3)));
    }

    #[test]
    fn a_program_has_a_name_that_a_file_can_have() {
        for (program, expect) in [
            ("", "_-1-1-call.ript"),
            ("../../etc/x", "_.._.._etc_x-1-1-call.ript"),
            ("-rf", "_-rf-1-1-call.ript"),
            ("a\u{1b}[1m b/c", "a__1m_b_c-1-1-call.ript"),
        ] {
            assert_eq!(Names::new(program, 1).file(1, Reason::Call), expect);
        }
        let long = Names::new(&"x".repeat(1_000), 1).file(1, Reason::Call);
        assert!(long.len() < 128, "{long}");
    }

    #[test]
    fn the_oldest_go_until_there_is_room() {
        let quota = Quota {
            bytes: 100,
            files: 3,
        };
        let cases = [
            (vec![], 100, Some(vec![])),
            (vec![], 101, None),
            (vec![(2, 50), (1, 40)], 10, Some(vec![])),
            (vec![(2, 50), (1, 40)], 11, Some(vec![1])),
            (vec![(3, 1), (2, 1), (1, 1)], 1, Some(vec![1])),
            (vec![(3, 50), (2, 50), (1, 0)], 60, Some(vec![1, 2, 3])),
            (vec![(1, u64::MAX), (2, u64::MAX)], 1, Some(vec![1, 2])),
        ];
        for (there, bytes, expect) in cases {
            let entries = there.iter().map(|(at, bytes)| entry(*at, *bytes)).collect();
            let gone = quota.to_remove(entries, bytes);
            let gone: Option<Vec<u64>> =
                gone.map(|gone| gone.iter().map(|entry| entry.modified).collect());
            assert_eq!(gone, expect, "{there:?} and {bytes}");
        }
    }

    #[test]
    fn numbers_go_on_where_the_process_has_been_before() {
        let names = Names::new("shop", 1);
        assert_eq!(names.next(&[]), 1);
        assert_eq!(names.next(&[entry(4, 0), entry(7, 0)]), 8);
        assert_eq!(Names::new("shop", 2).next(&[entry(4, 0)]), 1);
    }
}

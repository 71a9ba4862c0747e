//! What holds of all bytes that are analysed and exported.
//!
//! The same code is behind the fuzz target `analysis`, the replay of its corpus, and the tests that
//! change a trace by chance. Whoever shares it makes `CountingAllocator` the allocator of its program:
//! without that nothing is known of memory.

use ripcord_analysis::critical_path::{CriticalPath, Target};
use ripcord_analysis::diff::Diff;
use ripcord_analysis::export::{self, ExportError};
use ripcord_analysis::read::{OpenError, Trace};
use ripcord_analysis::{Analysis, Explanation, Options, Select};
use ripcord_test::CountingAllocator;
use ripcord_trace_format::{BLOCK_HEADER_BYTES, BlockInfo, BlockKind, Compression};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Cursor};
use std::time::Duration;

/// Any bytes are a trace. They are taken as they are, and with their checksums made right again, so
/// that what has been changed is looked into as well.
pub(crate) fn check(data: &[u8]) {
    let mended = mended(data);
    look(data);
    if mended != data {
        look(&mended);
    }
}

/// Says all that can be said of the bytes, twice, and watches the memory for it.
fn look(data: &[u8]) {
    let (first, usage) = CountingAllocator::watch(|| everything(data));
    let limit = BYTES_MAX + data.len() * GROWTH_MAX;
    assert!(
        usage.peak <= limit,
        "{} bytes of a trace took {} of memory, of at most {limit}",
        data.len(),
        usage.peak
    );
    assert_eq!(first, everything(data), "two runs over the same bytes");
}

/// Much of it is rooms of fixed sizes: lists by slot, the columns of four tables, blocks of 1 MiB that
/// come out of a few compressed bytes, one for each thread of the trace.
const BYTES_MAX: usize = 64 << 20;
/// Bytes for each byte of the trace.
const GROWTH_MAX: usize = 64 << 10;

/// Every answer and every export, as text; exports as their length and a sum.
fn everything(data: &[u8]) -> String {
    let mut text = String::new();
    let opened = Trace::new(Cursor::new(data));
    let Ok(mut trace) = opened else {
        // Writing to a string cannot fail; here and below.
        let _ = opened.map_err(|error| write!(text, "{error}"));
        return text;
    };
    let answers = answers(&mut trace, &mut text);
    answers.expect("memory can be read");
    exported(&mut trace, &mut text, "chrome", export::chrome);
    exported(&mut trace, &mut text, "perfetto", export::perfetto);
    exported(&mut trace, &mut text, "otlp", export::otlp);
    exported(&mut trace, &mut text, "parquet", |trace, _| {
        export::parquet(trace, |_| Ok(Sum::default()))
    });
    text
}

type Input<'d> = Trace<Cursor<&'d [u8]>>;

/// One export: whether it came, and what it is.
fn exported<'d>(
    trace: &mut Input<'d>,
    text: &mut String,
    name: &str,
    export: fn(&mut Input<'d>, &mut Sum) -> Result<(), ExportError>,
) {
    let mut sum = Sum::default();
    let done = export(trace, &mut sum);
    let _ = writeln!(text, "{name}: {done:?} {} {:x}", sum.0, sum.1.finish());
}

/// Everything that is answered.
fn answers(trace: &mut Input<'_>, text: &mut String) -> Result<(), OpenError> {
    let mut options = Options::default().late(Duration::from_micros(1));
    (options.long_poll, options.leak_age) = (Duration::from_micros(1), Duration::from_micros(1));
    options.selected = [1, 90, 91].map(Select::Ctx).to_vec();
    options.selected.push(Select::tag("8f3"));
    let analysis = Analysis::of(trace, &options)?;
    let json = serde_json::to_string_pretty(&analysis).expect("it is plain values");
    text.push_str(&json);
    for end in &analysis.late_ends {
        let explanation = Explanation::of(end);
        let shown = explanation.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let _ = writeln!(
            text,
            "{shown}\n{explanation:?} {:?}",
            explanation.told_ran_out()
        );
    }
    let stories = analysis.stories().map(|end| end.ctx.id);
    let _ = writeln!(text, "{:?}", stories.collect::<Vec<_>>());
    for sites in [analysis.ghosts(), analysis.leaks(), analysis.wake_storms()] {
        let _ = writeln!(text, "{sites:?}");
    }
    let _ = writeln!(text, "{:?}", Diff::of(&analysis, &analysis));
    let tasks = analysis.tasks.iter().filter_map(|row| row.task.id);
    let tasks = tasks.map(Target::Task).take(PATHS_MAX);
    let ctxs = analysis.contexts.iter().map(|row| Target::Ctx(row.id));
    for target in tasks.chain(ctxs.take(PATHS_MAX)) {
        let _ = writeln!(text, "{:?}", CriticalPath::of(trace, target)?);
    }
    Ok(())
}

/// Each is two more ways over the trace.
const PATHS_MAX: usize = 4;

/// Takes what is written, and keeps its length and a sum.
#[derive(Default)]
struct Sum(u64, DefaultHasher);

impl io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        self.1.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same bytes with good checksums, of the header and of every block whose lengths are plausible.
pub(crate) fn mended(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    mend_header(&mut data);
    let mut at = 0;
    while let Some(found) = data[at..].windows(SYNC.len()).position(|word| word == SYNC) {
        at += found;
        at += mend_block(&mut data[at..]).unwrap_or(1);
    }
    data
}

/// The header's fields are behind 16 bytes, the last four of which are how many they are.
fn mend_header(data: &mut [u8]) -> Option<()> {
    let len = data.get(12..16)?.try_into().ok()?;
    let len = usize::try_from(u32::from_le_bytes(len)).ok()?;
    let (head, rest) = data.split_at_mut_checked(len.checked_add(16)?)?;
    let sum = rest.get_mut(..4)?;
    sum.copy_from_slice(&crc32c(head).to_le_bytes());
    Some(())
}

/// How long the block is that was mended, if this is one.
fn mend_block(data: &mut [u8]) -> Option<usize> {
    let (header, rest) = data.split_at_mut_checked(BLOCK_HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes(header[at..][..4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(header[at..][..8].try_into().expect("eight bytes"));
    let info = BlockInfo {
        kind: BlockKind::from_number(header[4]),
        window: word(8),
        thread: word(12),
        first_tick: long(16),
        last_tick: long(24),
        events: word(40),
    };
    let [stored, plain] = [32, 36].map(|at| usize::try_from(word(at)).unwrap_or(usize::MAX));
    let payload = rest.get(..stored)?;
    let compression = Compression::from_number(header[5]);
    let mended = info.header_of(compression, payload, plain).ok()?;
    header.copy_from_slice(&mended);
    Some(BLOCK_HEADER_BYTES + stored)
}

const SYNC: [u8; 4] = [0xf1, 0x52, 0x42, 0x9c];

fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    });
    !sum
}

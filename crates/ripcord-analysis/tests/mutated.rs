//! Traces that were changed by chance, with good checksums, and the corpus of the fuzz target `analysis`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and prints what it was at"
)]

mod oracle;
mod shop;
mod support;

use ripcord_test::CountingAllocator;
use ripcord_test::oracle::Rng;
use ripcord_trace_format::{BlockInfo, BlockKind, FileHeader, Item, Reader, text};
use std::path::Path;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn corpus(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/analysis");
    std::fs::read(folder.join(name)).unwrap()
}

/// A failure shows the file in the captured output.
#[test]
fn the_corpus_is_survived() {
    let mut replayed = 0;
    for target in ["analysis", "trace_file"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for entry in std::fs::read_dir(folder.join(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            oracle::check(&std::fs::read(&path).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed >= 30, "only {replayed} files");
}

#[test]
fn whole_seeds_need_no_mending() {
    for name in ["sample", "shop", "demo"] {
        let seed = corpus(name);
        assert!(oracle::mended(&seed) == seed, "{name}");
        let mut flipped = seed.clone();
        // In the checksum of the header, and in that of the first block.
        let header = Reader::new(&seed[..]).unwrap().header().unwrap().encode();
        flipped[header.len() - 1] ^= 1;
        flipped[header.len() + 47] ^= 1;
        assert!(oracle::mended(&flipped) == seed, "{name}");
    }
    assert!(corpus("shop") == support::bytes(&shop::shop()));
}

#[test]
fn flipped_bits_are_survived() {
    each_seed(30, |rng| {
        let mut bytes = any_seed(rng);
        for _ in 0..=rng.below(8) {
            let at = rng.below(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
        }
        bytes
    });
}

#[test]
fn blocks_that_are_twice_elsewhere_missing_or_of_another_thread_are_survived() {
    each_seed(30, |rng| {
        let seed = any_seed(rng);
        let mut blocks = Blocks::of(&seed);
        for _ in 0..=rng.below(6) {
            blocks.change(rng);
        }
        blocks.bytes()
    });
}

#[test]
fn wrong_slots_numbers_and_ids_are_survived() {
    each_seed(30, |rng| {
        let mut twin = Vec::new();
        let seed = any_seed(rng);
        text::write(&mut Reader::new(&seed[..]).unwrap(), &mut twin).unwrap();
        let twin = String::from_utf8(twin).unwrap();
        let lines = twin.lines().map(|line| {
            let line = if line.starts_with("  +") && rng.chance(1, 20) {
                with_other_number(line, rng)
            } else {
                line.to_owned()
            };
            line + "\n"
        });
        let twin = lines.collect::<String>();
        text::parse(&twin).unwrap_or_else(|error| panic!("{error}\n{twin}"))
    });
}

/// Looks at what `make` makes of each of so many seeds; the last one printed has failed.
fn each_seed(count: u64, make: impl Fn(&mut Rng) -> Vec<u8>) {
    for seed in 0..count {
        println!("seed {seed}");
        oracle::check(&make(&mut Rng::new(seed)));
    }
}

/// Mostly a small trace: the demo's recording takes as long as all the others.
fn any_seed(rng: &mut Rng) -> Vec<u8> {
    let names = ["sample", "shop", "sample", "shop", "shop", "demo"];
    corpus(rng.pick(&names).unwrap())
}

/// One of the numbers of an event becomes another one: of somebody else, the next, or an extreme.
fn with_other_number(line: &str, rng: &mut Rng) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let is_number = |word: &&mut String| {
        let value = word.split_once('=').map(|(_, value)| value);
        value.is_some_and(|value| value.parse::<u64>().is_ok())
    };
    let mut numbers: Vec<_> = words.iter_mut().filter(is_number).collect();
    if numbers.is_empty() {
        return line.to_owned();
    }
    let at = rng.below(numbers.len());
    let (name, value) = numbers[at].split_once('=').unwrap();
    let value: u64 = value.parse().unwrap();
    let max = match name {
        "seq" => 127,
        "line" | "column" => u64::from(u32::MAX),
        "deadline" | "due" | "value" => i64::MAX.unsigned_abs(),
        _ => u64::MAX,
    };
    let small = rng.below(4) as u64;
    let others = [
        small,
        value.wrapping_add(1),
        value ^ 1,
        1 << 24,
        max,
        max - small,
    ];
    let other = (*rng.pick(&others).unwrap()).min(max);
    *numbers[at] = format!("{name}={other}");
    words.join(" ")
}

/// A trace in its parts.
struct Blocks {
    header: FileHeader,
    blocks: Vec<(BlockInfo, Vec<u8>)>,
}

impl Blocks {
    fn of(trace: &[u8]) -> Self {
        let mut reader = Reader::new(trace).unwrap();
        let header = reader.header().unwrap().clone();
        let mut blocks = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            if let Item::Block(block) = item {
                blocks.push((block.info, block.payload.to_vec()));
            }
        }
        Self { header, blocks }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        for (info, payload) in &self.blocks {
            bytes.extend(info.header(payload).unwrap());
            bytes.extend(payload);
        }
        bytes
    }

    /// Changes one thing; what is then said is wrong, and every checksum is good.
    fn change(&mut self, rng: &mut Rng) {
        if self.blocks.is_empty() {
            return;
        }
        let (from, to) = (rng.below(self.blocks.len()), rng.below(self.blocks.len()));
        match rng.below(10) {
            0 => self.blocks.insert(to, self.blocks[from].clone()),
            1 => self.blocks.swap(from, to),
            2 => drop(self.blocks.remove(from)),
            3 => {
                let others = Self::of(&corpus("shop")).blocks;
                let other = rng.pick(&others).unwrap().clone();
                self.blocks.insert(to, other);
            }
            4 => {
                let payload = &mut self.blocks[from].1;
                payload.truncate(rng.below(payload.len() + 1));
            }
            5 => self.blocks[from].0.thread = self.blocks[to].0.thread,
            6 => self.blocks[from].0.window ^= 1,
            7 => {
                let info = &mut self.blocks[from].0;
                let ticks = [0, 1, info.last_tick, u64::MAX - 1, u64::MAX];
                info.first_tick = *rng.pick(&ticks).unwrap();
            }
            8 => {
                self.blocks[from].0.kind =
                    BlockKind::from_number(1 + rng.below(9).to_le_bytes()[0]);
            }
            _ => {
                let shifts = [0, 6, 63, 64, 255];
                self.header.shift = *rng.pick(&shifts).unwrap();
                self.header.frequency = *rng.pick(&[0, 1, 1_000_000, u64::MAX]).unwrap();
            }
        }
    }
}

//! Any bytes are a trace that is analysed and exported, with its checksums made right as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ripcord_test::CountingAllocator;

#[path = "../../crates/ripcord-analysis/tests/oracle/mod.rs"]
mod oracle;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fuzz_target!(|data: &[u8]| oracle::check(data));

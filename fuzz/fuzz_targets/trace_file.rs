//! Any bytes are a trace, with its header or without.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-trace-format/tests/oracle/mod.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

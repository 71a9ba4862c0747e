//! Any bytes are header lines of baggage: the codec has to agree with a naive reading of the grammar.

#![no_main]

#[path = "../../crates/ripcord-wire/tests/oracle/baggage.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| oracle::check(data));

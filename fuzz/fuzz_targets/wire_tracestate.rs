//! Any bytes are the lines of a `tracestate`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-wire/tests/oracle/tracestate.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

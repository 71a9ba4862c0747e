//! Any bytes are a time-out in each grammar, and a duration to send.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-wire/tests/oracle/timeout.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

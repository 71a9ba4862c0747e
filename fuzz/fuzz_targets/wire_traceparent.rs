//! Any bytes are a `traceparent`, and a parent to send.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-wire/tests/oracle/traceparent.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

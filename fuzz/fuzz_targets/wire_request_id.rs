//! Any bytes are a client's request id, and what a UUID is made of.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-wire/tests/oracle/request_id.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

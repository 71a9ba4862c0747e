//! Any bytes are B3 headers, in both forms.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ripcord-wire/tests/oracle/b3.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::check(data));

//! Any bytes are context values, as header and as JSON: the codec has to agree with `serde_json`.

#![no_main]

#[path = "../../crates/ripcord-wire/tests/oracle/ext.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| oracle::check(data));

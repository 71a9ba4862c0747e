//! Any bytes are a program of operations on a tree: the core has to agree with the model.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ripcord_test::oracle::{compare, decode};

fuzz_target!(|data: &[u8]| {
    let program = decode(data);
    if let Err(mismatch) = compare(&program) {
        panic!("the core and the model part {mismatch}\n\n{program}");
    }
});

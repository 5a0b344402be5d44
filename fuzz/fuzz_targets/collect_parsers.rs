//! Arbitrary bytes as every procfs file that collectors parse: none may panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| farol_collect::fuzz::parse_everything(bytes));

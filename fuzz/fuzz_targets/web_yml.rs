//! Arbitrary bytes as a `web.yml`, and as the certificates and keys that it names: it is accepted
//! or its problems are printed; nothing panics.

#![no_main]

use std::path::Path;

use farol::config::web_yml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = web_yml::read(Path::new("web.yml"), &|_, _| Ok(bytes.to_vec()));
    match read.door {
        Ok(door) => drop(format!("{door:?} {:?}", read.warnings)),
        Err(problems) => drop(problems.to_string()),
    }
});

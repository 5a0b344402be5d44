//! Arbitrary bytes as a configuration file: it loads or its problems are printed; nothing panics.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use farol::config::{Facts, Inputs, load};
use farol_collect::view::{self, Found, Given};
use libfuzzer_sys::fuzz_target;

/// Looked for once: the machine is not what is fuzzed.
static MACHINE: LazyLock<Found> = LazyLock::new(|| view::find(&Given::default()));

fuzz_target!(|bytes: &[u8]| {
    let facts = Facts {
        root: true,
        read: &|_, _| Ok(bytes.to_vec()),
        writable: &|_| false,
        find_machine: &|_| MACHINE.clone(),
        host_name: &|_| None,
    };
    let flags = vec![("config".to_owned(), "farol.yml".to_owned())];
    let inputs = Inputs { flags, environment: BTreeMap::new(), facts };
    match load(&inputs) {
        Ok(loaded) => drop(format!("{:?}", loaded.effective)),
        Err(problems) => drop(problems.to_string()),
    }
});

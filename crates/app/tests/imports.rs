//! The direction of imports, as `docs/architecture.md` draws it: a new arrow is a visible line here.

#![expect(clippy::disallowed_methods, reason = "a test reads the manifests of the repository")]

use std::{collections::BTreeSet, path::Path};

/// Each crate and what it may import of ours. Tests may import more.
const ALLOWED: &[(&str, &[&str])] = &[
    ("act", &["model", "alert"]),
    ("alert", &["model", "wire", "store", "query"]),
    (
        "app",
        &["model", "disk", "wire", "collect", "journal", "store", "query", "alert", "act", "web"],
    ),
    ("collect", &["model"]),
    ("disk", &[]),
    ("journal", &["model", "disk"]),
    ("model", &[]),
    ("query", &["model", "store"]),
    ("store", &["model", "disk"]),
    ("web", &["model", "wire", "collect", "store", "query", "alert"]),
    ("wire", &["model"]),
];

#[test]
fn the_manifests_import_what_the_architecture_draws_and_nothing_else() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&crates).unwrap() {
        found.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    let drawn: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, drawn);
    for (name, allowed) in ALLOWED {
        let manifest = std::fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let imports = imports(&manifest);
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert_eq!(imports, allowed, "crates/{name}/Cargo.toml");
    }
}

/// Our own crates under `[dependencies]`.
fn imports(manifest: &str) -> BTreeSet<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("farol-")?.split('.').next())
        .collect()
}

/// Waiting for a network belongs to `web`, `act` and `app`.
#[test]
fn the_crates_below_are_synchronous() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["alert", "collect", "disk", "journal", "model", "query", "store", "wire"] {
        let manifest = std::fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("tokio"), "crates/{name}/Cargo.toml");
    }
}

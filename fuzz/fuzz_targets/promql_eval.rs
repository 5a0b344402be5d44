//! Expressions that a fuzzer's bytes choose, over random series: nothing panics, no limit is passed, what
//! is printed reads back as the same, and a step of a range is what is answered at that time.

#![no_main]

#[path = "../../crates/query/tests/common/bounded.rs"]
mod bounded;
#[path = "../../crates/query/tests/common/generate.rs"]
mod generate;
#[path = "../../crates/query/tests/common/world.rs"]
mod world;

use std::sync::OnceLock;

use generate::{Dialect, Source, expression, series};
use libfuzzer_sys::fuzz_target;
use world::World;

fuzz_target!(|bytes: &[u8]| {
    let [which, bytes @ ..] = bytes else { return };
    let worlds = worlds();
    let mut source = Source::of(bytes);
    let tree = expression(&mut source, Dialect::Whole);
    bounded::ask(&worlds[usize::from(*which) % worlds.len()].reader(), &tree, &mut source);
});

fn worlds() -> &'static [World] {
    static WORLDS: OnceLock<Vec<World>> = OnceLock::new();
    WORLDS
        .get_or_init(|| (0..6).map(|seed| World::new(&series(&mut Source::seeded(seed)))).collect())
}

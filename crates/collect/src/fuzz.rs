//! The parsers of foreign text, reachable for the fuzzer: whatever the bytes, none may panic.

use crate::{Options, Scrape, linux};

/// Feeds the text to every parser, twice: the second time they remember the first.
pub fn parse_everything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let options = Options::default();
    linux::parse_everything(&text, &options, &mut Scrape::new());
}

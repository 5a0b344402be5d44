//! From text to tokens, each with its place.

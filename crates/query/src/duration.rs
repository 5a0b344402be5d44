//! Durations as PromQL writes them: `1h30m`, `250ms`.

use std::fmt;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(pub(crate) String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

/// Milliseconds of `1y2w3d4h5m6s7ms`: units from large to small, each at most once.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let _ = text;
    todo!()
}

/// The shortest such text, `0s` for nothing.
pub fn print_duration(millis: i64) -> String {
    let _ = millis;
    todo!()
}

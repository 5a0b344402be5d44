//! The text that Prometheus scrapes: text format 0.0.4 and OpenMetrics 1.0.0.

mod backfill;
mod encode;
mod exposed;
mod history;
mod parse;

pub use backfill::{Backfill, BackfillLimits, Series, TimedSample};
pub use encode::{Encoder, encode, end, write_label_set, write_value};
pub use exposed::exposed;
pub use history::HistoryEncoder;
pub use parse::{Family, FamilyKind, Limits, ParseError, Parsed, Scraped, parse};

/// Which of the two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    pub const ALL: [Format; 2] = [Format::Text, Format::OpenMetrics];

    const fn index(self) -> usize {
        match self {
            Format::Text => 0,
            Format::OpenMetrics => 1,
        }
    }

    /// The `Content-Type` as Prometheus expects it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

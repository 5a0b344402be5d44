//! What Farol says of its remedies.

use std::collections::BTreeMap;

use farol_model::{Text, Timestamp};

use crate::Scrape;

pub(super) const RUNS: &str = "farol_remedy_runs_total";
pub(super) const REFUSALS: &str = "farol_remedy_refusals_total";
pub(super) const LAST_RUN: &str = "farol_remedy_last_run_timestamp_seconds";

/// By the remedy's name.
pub type TreatingFigures = BTreeMap<Text, RemedyFigures>;

#[derive(Clone, Copy, Debug, Default)]
pub struct RemedyFigures {
    pub ok: u64,
    pub failed: u64,
    /// Farol ended before they did.
    pub unknown: u64,
    pub refused: u64,
    /// Also of a run before the start.
    pub last_run: Option<Timestamp>,
}

pub(super) fn push(out: &mut Scrape, figures: &TreatingFigures) {
    for (remedy, figures) in figures {
        for (outcome, value) in
            [("failed", figures.failed), ("ok", figures.ok), ("unknown", figures.unknown)]
        {
            out.push(RUNS, &[("outcome", outcome), ("remedy", remedy)], value as f64);
        }
    }
    for (remedy, figures) in figures {
        out.push(REFUSALS, &[("remedy", remedy)], figures.refused as f64);
    }
    for (remedy, figures) in figures {
        if let Some(last) = figures.last_run {
            let seconds = last.as_millis() as f64 / 1000.0;
            out.push(LAST_RUN, &[("remedy", remedy)], seconds);
        }
    }
}

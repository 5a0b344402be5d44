//! How many alerts there are, and how many of them are not told: for figures, pages and health.

use farol_model::{Memory, Phase, Timestamp};

use crate::{Muter, Mutes, Routing, silences};

/// A muted alert is counted where it is told first: a silence before an inhibition before quiet hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub pending: u64,
    /// Muted ones too.
    pub firing: u64,
    pub silenced: u64,
    pub inhibited: u64,
    pub quiet: u64,
    /// Silences in force.
    pub silences: u64,
}

pub fn tally(memory: &Memory, routing: &Routing, now: Timestamp) -> Tally {
    let mutes = Mutes::new(memory, routing, now);
    let is_active = |silence: &&farol_model::Silence| {
        silences::standing(silence, now) == silences::Standing::Active
    };
    let mut tally = Tally {
        silences: memory.silences.values().filter(is_active).count() as u64,
        ..Tally::default()
    };
    for alert in memory.alerts.values() {
        match alert.phase {
            Phase::Pending => tally.pending += 1,
            Phase::Ended => {}
            Phase::Firing => {
                tally.firing += 1;
                match mutes.of(alert).map(|muted| muted.by) {
                    None => {}
                    Some(Muter::Silence(_)) => tally.silenced += 1,
                    Some(Muter::Inhibited(_)) => tally.inhibited += 1,
                    Some(Muter::Quiet(_)) => tally.quiet += 1,
                }
            }
        }
    }
    tally
}

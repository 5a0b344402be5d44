//! The rules of a simulation: as the thread `rules` has them, with a time that is given.

use std::{
    sync::{Arc, mpsc::sync_channel},
    time::Duration,
};

use farol_alert::{EvalOptions, GroupState, RuleSet, evaluate};
use farol_model::{Alert, Batch, Labels, Memory, Phase, Series, Timestamp};
use farol_query::Limits;
use tokio::sync::watch;

use super::History;
use crate::{
    clock,
    config::Config,
    core::{Core, Event},
    rules::SUBQUERY_STEP,
};

pub(super) struct Judge {
    rules: Arc<RuleSet>,
    /// In the order of the groups: when each is due, and what it knows.
    groups: Vec<(Timestamp, GroupState)>,
    memory: watch::Receiver<Arc<Memory>>,
    lookback: Duration,
    limits: Limits,
}

impl Judge {
    pub(super) fn new(
        config: &Config,
        rules: Arc<RuleSet>,
        memory: watch::Receiver<Arc<Memory>>,
        start: Timestamp,
    ) -> Judge {
        let due = |interval| clock::next_on_grid(start, interval);
        let groups = rules.groups.iter().map(|group| (due(group.interval), GroupState::default()));
        Judge {
            groups: groups.collect(),
            rules,
            memory,
            lookback: config.query.lookback_delta,
            limits: config.query.limits(),
        }
    }

    /// How many alerts fire.
    pub(super) fn firing(&self) -> usize {
        let memory = self.memory.borrow();
        let is_firing = |alert: &Alert| alert.phase == Phase::Firing;
        memory.alerts.values().filter(|alert| is_firing(alert)).count()
    }

    /// When the next group is due after a time, what is due then having been evaluated.
    pub(super) fn due_after(&self, at: Timestamp) -> Option<Timestamp> {
        let groups = self.rules.groups.iter();
        groups.map(|group| clock::next_on_grid(at, group.interval)).min()
    }

    /// Evaluates what is due, through the core and the journal.
    pub(super) fn evaluate(
        &mut self,
        at: Timestamp,
        core: &mut Core,
        history: &mut History,
    ) -> anyhow::Result<()> {
        let rules = Arc::clone(&self.rules);
        for (place, group) in rules.groups.iter().enumerate() {
            let (due, state) = &mut self.groups[place];
            if *due > at {
                continue;
            }
            *due = clock::next_on_grid(at, group.interval);
            history.follow()?;
            let memory = self.memory.borrow().clone();
            let reader = history.store.reader();
            let options = EvalOptions {
                external_labels: &Labels::empty(),
                external_url: "",
                lookback: self.lookback,
                subquery_step: SUBQUERY_STEP,
                now: Some(at),
                round: Duration::ZERO,
                limits: self.limits,
                watch: &|| None,
                lap: &|| Duration::ZERO,
            };
            let mut record = |series| {
                record_series(core, at, series);
                history.follow().map_err(|error| error.to_string())
            };
            let result = evaluate(group, &reader, &memory.alerts, at, state, &mut record, &options);
            let (applied, _) = sync_channel(1);
            core.apply(Event::Evaluated { result, applied }, at);
            let memory = self.memory.borrow().clone();
            let series = state.alert_series(group, &memory.alerts, at);
            if !series.is_empty() {
                record_series(core, at, series);
            }
        }
        Ok(())
    }
}

/// The store reads it from the journal, like all else here.
fn record_series(core: &mut Core, at: Timestamp, series: Vec<Series>) {
    let (applied, _) = sync_channel(1);
    core.apply(Event::Recorded { batch: Batch { at, series }, applied }, at);
}

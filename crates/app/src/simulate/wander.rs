//! Recorded files stand still. Wandering moves what was read from them as a living machine would:
//! what counts or measures something changes from tick to tick, counters only upwards, whole numbers
//! stay whole, and what is 0 or 1 stays as it is: a flag, or something that never happens. On the
//! recorded machines about a quarter of the series change, as on real ones. It is made up, and good
//! for sizes and costs alone: the vital signs are taken before it.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use farol_collect::describe;
use farol_model::{Kind, Labels, Sample, Text};

use super::next_random;

/// Tables of `farol_collect` that do not tell what was read from the machine.
const NOT_OF_THE_MACHINE: [&str; 3] = ["farol", "scrape", "summary"];

#[derive(Debug)]
pub(super) struct Wander {
    seed: u64,
    walks: HashMap<(Text, Labels), Option<Walk>>,
}

/// One series that moves.
#[derive(Debug)]
struct Walk {
    random: u64,
    kind: Kind,
    /// The greatest step of a counter.
    stride: u64,
    /// What is added to the recorded value by now.
    added: f64,
}

impl Wander {
    pub(super) fn new(seed: u64) -> Wander {
        Wander { seed, walks: HashMap::new() }
    }

    pub(super) fn move_on(&mut self, samples: &mut [Sample]) {
        for sample in samples {
            let key = (sample.name.clone(), sample.labels.clone());
            let seed = self.seed;
            let walk = self.walks.entry(key).or_insert_with_key(|key| Walk::of(seed, key));
            if let Some(walk) = walk {
                sample.value = walk.step(sample.value);
            }
        }
    }
}

impl Walk {
    /// None for a series that stays.
    fn of(seed: u64, series: &(Text, Labels)) -> Option<Walk> {
        let description = describe(&series.0)?;
        if NOT_OF_THE_MACHINE.contains(&description.collector) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (seed, series).hash(&mut hasher);
        let mut random = hasher.finish();
        let stride = 1 << (next_random(&mut random) % 14);
        Some(Walk { random, kind: description.kind, stride, added: 0.0 })
    }

    fn step(&mut self, recorded: f64) -> f64 {
        // From 0 to 1, in steps that a double holds.
        let draw = (next_random(&mut self.random) >> 11) as f64 / (1_u64 << 53) as f64;
        let is_whole = recorded.fract() == 0.0;
        if !recorded.is_finite() || is_whole && recorded.abs() <= 1.0 {
            return recorded;
        }
        let step = match self.kind {
            Kind::Counter => draw * self.stride as f64 / if is_whole { 1.0 } else { 1000.0 },
            // It is drawn back, the further it went.
            _ => (draw - 0.5) * recorded.abs().max(1000.0) / 500.0 - self.added / 64.0,
        };
        let grain = if is_whole { 1.0 } else { 100.0 };
        self.added += (step * grain).round() / grain;
        let value = ((recorded + self.added) * grain).round() / grain;
        if recorded >= 0.0 { value.max(0.0) } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand series of the name, and what each was after each of so many steps.
    fn walked(name: &str, recorded: f64, steps: usize) -> Vec<Vec<f64>> {
        let mut wander = Wander::new(7);
        let series = |number: usize| Sample {
            name: name.into(),
            labels: Labels::from([("device", number.to_string().as_str())]),
            value: recorded,
        };
        let mut values = vec![Vec::new(); 1000];
        for _ in 0..steps {
            let mut samples: Vec<Sample> = (0..1000).map(series).collect();
            wander.move_on(&mut samples);
            values.iter_mut().zip(samples).for_each(|(held, sample)| held.push(sample.value));
        }
        values
    }

    #[test]
    fn counters_rise_in_whole_steps() {
        let walked = walked("node_network_receive_bytes_total", 1e6, 50);
        for values in &walked {
            assert!(values.is_sorted() && values.iter().all(|value| value.fract() == 0.0));
        }
        assert!(walked.iter().filter(|values| values.last() > Some(&1e6)).count() > 900);
    }

    #[test]
    fn gauges_stay_near_and_flags_stay_as_they_are() {
        let near = walked("node_memory_MemFree_bytes", 1e9, 200);
        assert!(near.iter().flatten().all(|value| (value - 1e9).abs() < 1e8));
        assert!(near.iter().any(|values| values[0] != values[1]));
        assert!(walked("node_network_up", 1.0, 20).iter().flatten().all(|value| *value == 1.0));
    }

    #[test]
    fn farols_own_figures_and_the_vital_signs_are_left_alone() {
        for name in ["farol_ticks_total", "monitoring_load_1", "node_scrape_collector_success"] {
            assert!(walked(name, 12.5, 3).iter().flatten().all(|value| *value == 12.5), "{name}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_walk() {
        let walk = || walked("node_load1", 0.5, 20);
        assert_eq!(walk(), walk());
    }
}

//! Did it help? From what was known of the alert's value before and after.

use farol_model::Judgement;

/// What is known of an alert at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Whether its expression holds; none when nothing is known.
    pub holds: Option<bool>,
    pub value: Option<f64>,
    /// Where the bad values are, where its expression says it.
    pub worse: Option<Worse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// `value > 90`.
    Higher,
    /// `value < 10`.
    Lower,
}

/// A change within this part of the value is none: a busy machine's figures are never quite still.
const NOISE: f64 = 0.01;

pub fn judge(before: &Reading, after: &Reading) -> Judgement {
    if after.holds == Some(false) {
        return Judgement::Recovered;
    }
    let (Some(old), Some(new)) = (before.value, after.value) else { return Judgement::Unknown };
    if old.is_nan() || new.is_nan() {
        return Judgement::Unknown;
    }
    if old == new || (new - old).abs() <= old.abs() * NOISE {
        return Judgement::Unchanged;
    }
    match after.worse.or(before.worse) {
        Some(Worse::Higher) if new > old => Judgement::Worse,
        Some(Worse::Lower) if new < old => Judgement::Worse,
        Some(Worse::Higher | Worse::Lower) => Judgement::Better,
        None => Judgement::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_follows_from_both_values_and_from_where_the_bad_ones_are() {
        let at = |value, worse| Reading { holds: Some(true), value, worse };
        let (higher, lower) = (Some(Worse::Higher), Some(Worse::Lower));
        for (before, after, worse, expected) in [
            (Some(95.0), Some(97.0), higher, Judgement::Worse),
            (Some(95.0), Some(92.0), higher, Judgement::Better),
            (Some(5.0), Some(3.0), lower, Judgement::Worse),
            (Some(5.0), Some(8.0), lower, Judgement::Better),
            (Some(95.0), Some(95.5), higher, Judgement::Unchanged),
            (Some(0.0), Some(0.0), None, Judgement::Unchanged),
            (Some(f64::INFINITY), Some(f64::INFINITY), higher, Judgement::Unchanged),
            (Some(95.0), Some(50.0), None, Judgement::Unknown),
            (None, Some(50.0), higher, Judgement::Unknown),
            (Some(95.0), None, higher, Judgement::Unknown),
            (Some(95.0), Some(f64::NAN), higher, Judgement::Unknown),
        ] {
            assert_eq!(judge(&at(before, worse), &at(after, worse)), expected, "{before:?}");
        }
    }

    #[test]
    fn what_holds_no_more_has_recovered_whatever_its_value() {
        let before = Reading { holds: Some(true), value: Some(95.0), worse: Some(Worse::Higher) };
        for value in [None, Some(99.0), Some(10.0)] {
            let after = Reading { holds: Some(false), value, worse: None };
            assert_eq!(judge(&before, &after), Judgement::Recovered);
        }
    }
}

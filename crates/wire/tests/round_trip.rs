//! Whatever samples there are, both formats give them back bit for bit.

use farol_model::{Description, Kind, Labels, Sample, Text};
use farol_wire::exposition::{Format, Limits, encode, end, parse};
use proptest::prelude::*;

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let value = prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), Just(-0.0)];
    let labels = prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,6}", any::<String>()), 0..4);
    let sample = ("[a-zA-Z_:][a-zA-Z0-9_:]{0,8}(_total)?", labels, value);
    prop::collection::vec(sample, 0..20).prop_map(|raw| {
        let mut samples: Vec<Sample> = raw.into_iter().map(sample_of).collect();
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        samples
    })
}

fn sample_of((name, labels, value): (String, Vec<(String, String)>, f64)) -> Sample {
    let pairs = labels.into_iter().map(|(n, v)| (Text::from(n), Text::from(v))).collect();
    Sample { name: name.into(), labels: Labels::new(pairs), value }
}

fn describe(name: &str) -> Option<Description> {
    let kind = match name.len() % 4 {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Untyped,
        _ => return None,
    };
    Some(Description { collector: "x", kind, unit: "seconds", help: format!("\\n \"{name}\"\n") })
}

/// NaN equals NaN here, and -0 is not 0.
fn bits(sample: &Sample) -> (Text, Labels, u64) {
    let value = if sample.value.is_nan() { f64::NAN } else { sample.value };
    (sample.name.clone(), sample.labels.clone(), value.to_bits())
}

proptest! {
    #[test]
    fn what_is_written_reads_back(samples in samples()) {
        for format in Format::ALL {
            let mut text = Vec::new();
            encode(&samples, format, &describe, &mut text);
            end(format, &mut text);
            let parsed = parse(&text, format, &Limits::default()).unwrap();
            let back: Vec<_> = parsed.samples.iter().map(|s| bits(&s.sample)).collect();
            let given: Vec<_> = samples.iter().map(bits).collect();
            prop_assert_eq!(back, given);
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            parse(&bytes, format, &Limits::default()).ok();
        }
    }

    #[test]
    fn nearly_right_text_never_panics(text in "([a-c_]{1,3}|\\{|\\}|\"|=|,|#| |\n|\\\\|1|HELP|TYPE|é){0,40}") {
        for format in Format::ALL {
            parse(text.as_bytes(), format, &Limits::default()).ok();
        }
    }
}

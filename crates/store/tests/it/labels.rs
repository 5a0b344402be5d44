//! Questions that read no sample answer what the samples would.

use std::{collections::BTreeSet, sync::Arc};

use farol_disk::MemoryDisk;
use farol_store::{Importer, Matcher, Op, Range, Reader, SeriesKey};

use crate::scene::{DAY, DAYS, HOUR, MINUTE, Pair, ask, config, key, ordinary, range, whole};

/// Series of long ago and of one day, a part of them in memory, the rest in blocks of all kinds.
fn scene(disk: &MemoryDisk) -> Pair {
    let mut pair = Pair::new(disk, &config());
    for n in 0..24 * 12 {
        pair.apply(ordinary(DAY + n * 5 * MINUTE, 5 * MINUTE), true);
        if n % 50 == 0 {
            pair.round();
        }
    }
    let mut importer = Importer::new(Arc::new(disk.clone()), &config()).unwrap();
    for old in [key("old_total", [("from", "elsewhere")]), key("old_total", [("device", "sda")])] {
        let series = importer.series(old.name.clone(), old.labels.clone());
        for n in 0..10 {
            let at = farol_model::Timestamp::from_millis(DAY - 300 * DAYS + n * HOUR);
            importer.push(series, at, n as f64).unwrap();
            pair.model.import(old.clone(), at.as_millis(), n as f64);
        }
    }
    importer.finish().unwrap();
    pair.round();
    pair.assert_equal("the scene");
    pair
}

fn sets() -> Vec<Vec<Vec<Matcher>>> {
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let device = vec![matcher("device", Op::Matches, "sd.*")];
    let up = vec![Matcher::equal("__name__", "up")];
    let old = vec![matcher("__name__", Op::Matches, "old.*"), matcher("from", Op::NotEqual, "")];
    let none = vec![Matcher::equal("__name__", "nothing")];
    let named = vec![matcher("__name__", Op::NotEqual, "")];
    vec![
        vec![],
        vec![device.clone()],
        vec![up.clone()],
        vec![none],
        vec![named.clone()],
        vec![old.clone(), up, device.clone()],
        vec![device, named, old],
    ]
}

/// The series that have samples, by reading them.
fn read(reader: &Reader, any_of: &[Vec<Matcher>], range: Range) -> BTreeSet<SeriesKey> {
    let all = [Vec::new()];
    let any_of = if any_of.is_empty() { &all } else { any_of };
    any_of.iter().flat_map(|matchers| ask(reader, matchers, range, None).into_keys()).collect()
}

fn names_of(series: &BTreeSet<SeriesKey>) -> Vec<String> {
    let of = |key: &SeriesKey| -> Vec<String> {
        key.labels.iter().map(|(name, _)| name.to_string()).chain(["__name__".into()]).collect()
    };
    let names: BTreeSet<String> = series.iter().flat_map(of).collect();
    names.into_iter().collect()
}

fn values_of(series: &BTreeSet<SeriesKey>, label: &str) -> Vec<String> {
    let values: BTreeSet<String> = series.iter().map(|key| key.get(label).to_string()).collect();
    values.into_iter().filter(|value| !value.is_empty()).collect()
}

fn texts(texts: Vec<farol_model::Text>) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn series_and_labels_are_those_of_the_samples_in_the_range() {
    let pair = scene(&MemoryDisk::new());
    let reader = pair.store.reader();
    let ranges = [
        whole(),
        range(DAY, DAY + DAYS),
        range(DAY - 400 * DAYS, DAY - 200 * DAYS),
        range(DAY - 100 * DAYS, DAY - 50 * DAYS),
        range(DAY + 24 * HOUR - 10 * MINUTE, i64::MAX),
        range(i64::MIN, 0),
        range(DAY + HOUR, DAY),
    ];
    let mut found = 0;
    for range in ranges {
        for any_of in sets() {
            let expected = read(&reader, &any_of, range);
            found += expected.len();
            let story = format!("{any_of:?} in {range:?}");
            assert_eq!(
                reader.series(&any_of, range),
                expected.iter().cloned().collect::<Vec<_>>(),
                "{story}"
            );
            assert_eq!(texts(reader.label_names(&any_of, range)), names_of(&expected), "{story}");
            for label in ["__name__", "device", "from", "job", "instance", "nowhere"] {
                let values = texts(reader.label_values(label, &any_of, range));
                assert_eq!(values, values_of(&expected, label), "{label} {story}");
            }
        }
    }
    assert!(found > 50, "only {found}");
}

#[test]
fn the_overview_counts_what_there_is_and_names_the_largest() {
    let disk = MemoryDisk::new();
    let pair = scene(&disk);
    let reader = pair.store.reader();
    let all = read(&reader, &[], whole());
    let overview = reader.overview(2);
    assert_eq!(overview.series, all.len() as u64);
    let labels = names_of(&all);
    let pairs: usize = labels.iter().map(|label| values_of(&all, label).len()).sum();
    assert_eq!(overview.label_pairs, pairs as u64);
    assert!(overview.chunks >= overview.series);
    assert_eq!(overview.oldest.unwrap().as_millis(), DAY - 300 * DAYS);
    assert_eq!(overview.newest.unwrap().as_millis(), DAY + 24 * HOUR - 5 * MINUTE);
    let shown = |rows: &[(farol_model::Text, u64)]| -> Vec<(String, u64)> {
        rows.iter().map(|(name, count)| (name.to_string(), *count)).collect()
    };
    let two = |name: &str, count: u64| (name.to_owned(), count);
    assert_eq!(shown(&overview.series_by_name), [two("old_total", 2), two("reads_total", 2)]);
    let names = values_of(&all, "__name__").len() as u64;
    assert_eq!(shown(&overview.values_by_label), [two("__name__", names), two("device", 2)]);
    let of_the_host = all.iter().filter(|key| key.get("job") == "node").count() as u64;
    assert_eq!(
        overview.series_by_pair,
        [two("instance=host", of_the_host), two("job=node", of_the_host)]
    );
    let bytes: usize = all.iter().map(|key| key.name.len()).sum();
    assert_eq!(shown(&overview.bytes_by_label)[0], two("__name__", bytes as u64));
    let empty = Pair::new(&MemoryDisk::new(), &config()).store.reader().overview(10);
    assert_eq!(empty, farol_store::Overview::default());
    assert!(reader.overview(0).series_by_name.is_empty());
    assert_eq!(reader.overview(1000).series_by_name.len() as u64, names);
}

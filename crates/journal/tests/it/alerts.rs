//! The lines about what is wrong: each comes back as it was written, and each is as documented.

use std::{sync::Arc, time::Duration};

use farol_journal::{Decoder, full_line};
use farol_model::{
    Action, ActionStep, Alert, Batch, Channel, Delivered, Delivery, Episode, Judgement, Labels,
    Memory, Phase, Record, Remedy, Series, SignSummary, Silence, SilenceMatcher, State, Summary,
    Text, Timestamp, Told, Transition, Turn,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![3 => "[a-z_]{0,8}", 1 => any::<String>()].prop_map(Text::from)
}

/// What the journal can write as a time.
fn time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000..=253_402_300_799_999_i64).prop_map(Timestamp::from_millis)
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((text(), text()), 0..4).prop_map(Labels::new)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => (-1000..1000_i32).prop_map(f64::from),
        1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY),
    ]
}

prop_compose! {
    fn alert()(
        group in text(), rule in text(), labels in labels(), annotations in labels(),
        series in labels(), value in number(),
        phase in select(vec![Phase::Pending, Phase::Firing, Phase::Ended]),
        active_at in time(),
        (fired_at, keeping_since, missing_since, ended_at) in
            (option::of(time()), option::of(time()), option::of(time()), option::of(time())),
        (unseen, seen_at) in (any::<i64>(), time()),
        (firings, is_flapping, remedy) in (vec(time(), 0..4), any::<bool>(), option::of(text())),
    ) -> Alert {
        Alert {
            group, rule, labels, annotations, series, value, phase, active_at, fired_at,
            keeping_since, missing_since, unseen, seen_at, ended_at, firings, is_flapping, remedy,
        }
    }
}

prop_compose! {
    fn transition()(
        at in time(), host in text(), turn in select(Turn::ALL.to_vec()),
        reason in option::of(text()), alert in alert(),
    ) -> Transition {
        Transition { at, host, turn, reason, alert: Arc::new(alert) }
    }
}

prop_compose! {
    fn matcher()(
        name in text(), value in text(), is_regex in any::<bool>(), is_equal in any::<bool>(),
    ) -> SilenceMatcher {
        SilenceMatcher { name, value, is_regex, is_equal }
    }
}

prop_compose! {
    fn silence()(
        at in time(), host in text(), id in text(), matchers in vec(matcher(), 0..3),
        starts_at in time(), ends_at in time(), created_by in text(), comment in text(),
    ) -> Silence {
        Silence { at, host, id, matchers, starts_at, ends_at, created_by, comment }
    }
}

fn episode() -> impl Strategy<Value = Episode> {
    (any::<u64>(), time()).prop_map(|(fingerprint, fired_at)| Episode { fingerprint, fired_at })
}

fn outcome() -> impl Strategy<Value = Delivered> {
    prop_oneof![
        option::of(text()).prop_map(|message| Delivered::Sent { message }),
        (time(), text()).prop_map(|(until, reason)| Delivered::Later { until, reason }),
        text().prop_map(|reason| Delivered::Dead { reason }),
        text().prop_map(|reason| Delivered::Disabled { reason }),
    ]
}

prop_compose! {
    fn delivery()(
        at in time(), host in text(), channel in text(), group in text(),
        episodes in vec((episode(), any::<bool>()), 0..3), attempts in any::<u32>(),
        outcome in outcome(),
    ) -> Delivery {
        Delivery { at, host, channel, group, episodes, attempts, outcome }
    }
}

fn step() -> impl Strategy<Value = ActionStep> {
    let micros = 0..1_000_000_000_000_u64;
    let judged = (select(Judgement::ALL.to_vec()), option::of(number()), option::of(number()));
    prop_oneof![
        text().prop_map(|reason| ActionStep::Refused { reason }),
        (text(), text()).prop_map(|(summary, output)| ActionStep::Rehearsed { summary, output }),
        text().prop_map(|what| ActionStep::Intended { what }),
        (any::<bool>(), text(), text(), micros).prop_map(|(ok, summary, output, micros)| {
            ActionStep::Finished { ok, summary, output, took: Duration::from_micros(micros) }
        }),
        judged.prop_map(|(judgement, before, after)| {
            ActionStep::Judged { judgement, before, after }
        }),
        Just(ActionStep::Unknown),
    ]
}

prop_compose! {
    fn action()(
        at in time(), host in text(), id in text(), remedy in text(),
        alert in option::of((text(), episode())), step in step(),
    ) -> Action {
        Action { at, host, id, remedy, alert, step }
    }
}

prop_compose! {
    fn sign()(
        mean in number(), min in number(), max in number(), p95 in number(), samples in any::<u32>(),
    ) -> SignSummary {
        SignSummary { mean, min, max, p95, samples }
    }
}

prop_compose! {
    fn summary()(
        at in time(), host in text(), hour in time(), signs in vec((text(), sign()), 0..3),
        states in vec((select(State::ALL.to_vec()), any::<u32>()), 0..4),
    ) -> Summary {
        Summary { at, host, hour, signs, states }
    }
}

prop_compose! {
    fn told()(
        at in time(), message in option::of(text()),
        episodes in vec((episode(), any::<bool>()), 0..3),
    ) -> Told {
        Told { at, message, episodes: episodes.into_iter().collect() }
    }
}

prop_compose! {
    fn channel()(
        not_before in option::of(time()), disabled in option::of(text()),
        groups in vec((text(), told()), 0..3),
    ) -> Channel {
        Channel { not_before, disabled, groups: groups.into_iter().collect() }
    }
}

prop_compose! {
    fn remedy()(
        runs in vec(time(), 0..3), open in option::of(action()), last in option::of(action()),
        answered in vec((episode(), time()), 0..3),
    ) -> Remedy {
        Remedy { runs, open, last, answered: answered.into_iter().collect() }
    }
}

prop_compose! {
    fn state()(
        at in time(), host in text(), alerts in vec(alert(), 0..3),
        silences in vec(silence(), 0..3), channels in vec((text(), channel()), 0..3),
        remedies in vec((text(), remedy()), 0..3), last_summary in option::of(time()),
    ) -> Memory {
        let alerts = alerts.into_iter().map(|alert| (alert.key(), Arc::new(alert)));
        let silences = silences.into_iter().map(|silence| (silence.id.clone(), silence));
        Memory {
            at, host,
            alerts: alerts.collect(),
            silences: silences.collect(),
            channels: channels.into_iter().collect(),
            remedies: remedies.into_iter().collect(),
            last_summary,
        }
    }
}

prop_compose! {
    fn recorded()(
        at in time(), rows in vec((text(), labels(), vec((any::<i64>(), number()), 0..3)), 0..3),
    ) -> Batch {
        let mut series: Vec<Series> = rows
            .into_iter()
            .map(|(name, labels, points)| {
                let points = points.into_iter();
                let points = points.map(|(at, value)| (Timestamp::from_millis(at), value));
                Series { name, labels, points: points.collect() }
            })
            .collect();
        series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        Batch { at, series }
    }
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        transition().prop_map(Record::Alert),
        silence().prop_map(Record::Silence),
        delivery().prop_map(Record::Delivery),
        action().prop_map(Record::Action),
        summary().prop_map(Record::Summary),
        state().prop_map(|memory| Record::State(Arc::new(memory))),
        recorded().prop_map(|batch| Record::Recorded(Arc::new(batch))),
    ]
}

proptest! {
    /// Compared as `Debug` writes them, so that a NaN equals itself.
    #[test]
    fn every_record_comes_back_from_its_line(record in record()) {
        let line = full_line(&record, 3);
        let decoded = Decoder::new().decode(&line[..line.len() - 1]).unwrap().unwrap();
        prop_assert_eq!(format!("{:?}", decoded.record), format!("{record:?}"));
        prop_assert!(decoded.complete);
        prop_assert_eq!(full_line(&decoded.record, decoded.seq), line);
    }
}

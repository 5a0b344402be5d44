//! Who is told what and when, written down in `dispatch/*.txt`; `dispatch/README.md` has the notation.
//! Below, what must hold whatever happens.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its own files and panics where it fails"
)]

#[path = "dispatch/follow.rs"]
mod follow;
#[path = "dispatch/script.rs"]
mod script;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use farol_alert::{
    Matcher, Notice, Quiet, Reason, Route, Routing, Window,
    dispatch::default_inhibitions,
    due, muted,
    windows::{Recurring, Spans},
};
use farol_model::{Phase, Timestamp};
use follow::{Receiver, World};
use proptest::prelude::*;

#[test]
fn every_case_is_told_as_it_is_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dispatch");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() > 10);
    let mut failures = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once("---\n").expect("the case has a line ---");
        let told = script::run(script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{script}---\n{told}")).unwrap();
        } else if told != expected {
            failures.push(format!("{}: expected\n{expected}but was\n{told}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One thing that happens, so many seconds after the one before.
#[derive(Clone, Debug)]
enum Happening {
    Fire(usize),
    End(usize),
    Silence(usize, u32),
    Receiver(Receiver),
}

const NAMES: [&str; 6] = [
    r#"Cpu{severity="warning",instance="a"}"#,
    r#"Cpu{severity="critical",instance="a"}"#,
    r#"Cpu{severity="warning",instance="b"}"#,
    r#"Disk{severity="critical"}"#,
    r#"Disk{severity="info",mountpoint="/"}"#,
    "Other",
];

fn happening() -> impl Strategy<Value = (u32, Happening)> {
    let what = prop_oneof![
        4 => (0..NAMES.len()).prop_map(Happening::Fire),
        4 => (0..NAMES.len()).prop_map(Happening::End),
        1 => (0..NAMES.len(), 1_u32..20_000).prop_map(|(of, long)| Happening::Silence(of, long)),
        1 => prop_oneof![
            Just(Receiver::Takes),
            (1_u32..2000).prop_map(|long| Receiver::Later(Duration::from_secs(long.into()))),
        ]
        .prop_map(Happening::Receiver),
    ];
    (prop_oneof![0_u32..60, 0_u32..30_000], what)
}

fn routing() -> impl Strategy<Value = Routing> {
    let group_by = prop_oneof![
        Just(vec!["alertname".into()]),
        Just(vec![]),
        Just(vec!["...".into()]),
        Just(vec!["instance".into()]),
    ];
    let seconds = |most: u64| (0..most).prop_map(Duration::from_secs);
    let times = (seconds(60), seconds(600), seconds(20_000));
    (group_by, times, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(group_by, (wait, interval, repeat), send_resolved, inhibits, is_quiet)| Routing {
            routes: vec![Route {
                group_by,
                group_wait: wait,
                group_interval: interval,
                repeat_interval: repeat,
                send_resolved,
                ..Route::new("team")
            }],
            inhibitions: if inhibits { default_inhibitions() } else { Vec::new() },
            quiet: if is_quiet { vec![night()] } else { Vec::new() },
        },
    )
}

fn night() -> Quiet {
    let night = Recurring::read(&[("22:00", "07:00")], &[], &[], &[], "UTC").unwrap();
    Quiet {
        window: Window { name: "night".into(), spans: Spans::Recurring(night) },
        matchers: vec![Matcher::read("severity!=critical").unwrap()],
    }
}

proptest! {
    #[test]
    fn whatever_happens_nobody_is_told_too_often_and_nothing_is_forgotten(
        routing in routing(),
        happenings in prop::collection::vec(happening(), 1..30),
        edits in any::<bool>(),
    ) {
        let mut world = World::new(routing.clone(), edits);
        for (after, happening) in happenings {
            world.follow_until(world.now.plus(Duration::from_secs(after.into())));
            match happening {
                Happening::Fire(of) => world.fire(NAMES[of]),
                Happening::End(of) => world.end(NAMES[of]),
                Happening::Silence(of, long) => {
                    let (name, _) = NAMES[of].split_once('{').unwrap_or((NAMES[of], ""));
                    let until = world.now.plus(Duration::from_secs(long.into()));
                    world.silence("s", &format!("alertname={name}"), until);
                }
                Happening::Receiver(receiver) => world.receiver = receiver,
            }
            // The follower wakes at once when something happens.
            world.follow_until(world.now);
        }
        world.receiver = Receiver::Takes;
        world.follow_until(world.now.plus(Duration::from_secs(40_000)));
        no_group_is_told_too_often(&world.told, &routing.routes[0]);
        everything_unmuted_is_told(&world);
    }
}

fn no_group_is_told_too_often(told: &[Notice], route: &Route) {
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for notice in told {
        let before = last.insert(&notice.group, notice.at);
        // A group that was over begins anew, and waits its `group_wait`.
        let Some(before) = before.filter(|_| notice.reason != Reason::First) else { continue };
        let least = match notice.reason {
            Reason::Repeat => route.repeat_interval.max(route.group_interval),
            Reason::First | Reason::New | Reason::Resolved | Reason::AllResolved => {
                route.group_interval
            }
        };
        assert!(
            notice.at.since(before) >= least,
            "{:?} {} {}",
            notice.reason,
            notice.group,
            least.as_secs()
        );
    }
}

fn everything_unmuted_is_told(world: &World) {
    let channel = world.memory.channels.get("team");
    // Of the episodes of one alert the newest that was told.
    let knows = |alert: &farol_model::Alert| {
        let groups = channel.into_iter().flat_map(|channel| channel.groups.values());
        let episode = alert.episode().unwrap();
        let told = groups.flat_map(|told| &told.episodes);
        let told = told.filter(|(told, _)| told.fingerprint == episode.fingerprint);
        let (last, has_ended) = told.max()?;
        (*last == episode || !has_ended).then_some(*has_ended)
    };
    for alert in world.memory.alerts.values() {
        let is_muted = muted(&world.memory, &world.routing, alert, world.now).is_some();
        match alert.phase {
            Phase::Firing if !is_muted => assert!(knows(alert).is_some(), "{alert:?}"),
            Phase::Ended if world.routing.routes[0].send_resolved && !is_muted => {
                assert!(knows(alert) != Some(false), "{alert:?}");
            }
            Phase::Firing | Phase::Ended | Phase::Pending => {}
        }
    }
    assert!(due(&world.memory, &world.routing, "team", world.now).notices.is_empty());
}

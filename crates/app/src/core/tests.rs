//! The core against a disk in memory: what gets into the journal, and what waits.

use farol_disk::{CrashDisk, Disk};
use farol_journal::{Item, Reader, Settings, StartAt, recall};
use farol_model::{Action, Labels, Silence, Stream};

use super::*;

#[test]
fn a_gap_stays_open_until_it_is_recorded() {
    let disk = CrashDisk::new();
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    let journal = Journal::open(Arc::new(disk.clone()), "/logs", settings).unwrap();
    let (current, watched) = watch::channel(Arc::default());
    let mut core = Core::new("pi".into(), journal, current, Arc::default());
    let mut tick = |second: i64| {
        core.apply(tick(second), Timestamp::from_millis(second * 1000));
        watched.borrow().writer.clone()
    };
    // Room for nothing; for a snapshot but no event about the one before; for all.
    for (second, room, is_degraded) in [(1, Some(0), true), (2, Some(200), true), (3, None, false)]
    {
        disk.set_room(room);
        let writer = tick(second);
        assert_eq!((writer.unjournaled, writer.degraded.is_some()), (1, is_degraded));
    }
    let [event] = &happened(&disk)[..] else { panic!("the gap alone is recorded") };
    assert!(event.message.starts_with("1 snapshots from 1970-01-01T00:00:01.000Z"));
}

#[test]
fn a_gap_that_is_open_at_the_stop_is_recorded_before_it() {
    let disk = CrashDisk::new();
    let settings = Settings { reserve_bytes: 8192, ..Settings::default() };
    let journal = Journal::open(Arc::new(disk.clone()), "/logs", settings).unwrap();
    let mut core =
        Core::new("pi".into(), journal, watch::channel(Arc::default()).0, Arc::default());
    disk.set_room(Some(0));
    core.apply(tick(1), Timestamp::from_millis(1000));
    core.apply(Event::Stop, Timestamp::from_millis(2000));
    let happened: Vec<Text> = happened(&disk).into_iter().map(|event| event.event).collect();
    assert_eq!(happened, ["gap", "stopped"]);
}

fn tick(second: i64) -> Event {
    let snapshot = Snapshot {
        at: Timestamp::from_millis(second * 1000),
        interval: Duration::from_secs(1),
        lane: Lane::Fast,
        host: "pi".into(),
        state: State::Unknown,
        summary: Vec::new(),
        samples: Vec::new(),
        top: Vec::new(),
        outcomes: Vec::new(),
    };
    Event::Sampled { snapshot, in_flight: Arc::default() }
}

#[test]
fn each_segment_of_the_events_begins_with_what_was_remembered_before_it() {
    let disk = CrashDisk::new();
    let settings = Settings { segment_bytes: 400, reserve_bytes: 0, ..Settings::default() };
    let mut core = core_on(&disk, settings);
    for number in 0..5 {
        core.apply(remember(silence(number)).0, Timestamp::from_millis(number));
    }
    let records = events(&disk);
    let segments: std::collections::BTreeSet<u64> =
        records.iter().map(|(position, _)| position.segment).collect();
    assert!(segments.len() > 2, "{segments:?}");
    for (position, record) in &records {
        assert_eq!(position.offset == 0, matches!(record, Record::State(_)), "{position:?}");
    }
    let disk: Arc<dyn Disk> = Arc::new(disk);
    assert_eq!(recall(&disk, "/logs".as_ref()).unwrap().memory.silences.len(), 5);
}

#[test]
fn what_finds_no_room_is_known_at_once_and_written_in_order_once_there_is_some() {
    let disk = CrashDisk::new();
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    let mut core = core_on(&disk, settings);
    let (publish, known) = watch::channel(Arc::default());
    core = core.remembering(Memory::default(), publish);
    disk.set_room(Some(0));
    for number in 0..3 {
        let (event, mut answer) = remember(silence(number));
        core.apply(event, Timestamp::from_millis(number));
        assert_eq!(answer.try_recv(), Ok(Ok(())), "it is held");
    }
    assert_eq!(known.borrow().silences.len(), 3);
    let (event, mut answer) = remember(intent());
    core.apply(event, Timestamp::from_millis(9));
    assert!(answer.try_recv().unwrap().is_err(), "nothing may be done that is not written down");
    assert!(known.borrow().remedies.is_empty(), "and it is not remembered as done");

    disk.set_room(None);
    core.apply(tick(10), Timestamp::from_millis(10_000));
    let names: Vec<Text> = events(&disk)
        .into_iter()
        .filter_map(|(_, record)| match record {
            Record::Silence(silence) => Some(silence.id),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["0", "1", "2"]);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let recalled = recall(&disk, "/logs".as_ref()).unwrap().memory;
    assert_eq!(recalled.silences, known.borrow().silences);
}

#[test]
fn what_may_only_be_done_once_it_is_written_is_refused_when_its_line_would_be_too_long() {
    let disk = CrashDisk::new();
    let mut core = core_on(&disk, Settings { reserve_bytes: 0, ..Settings::default() });
    let (publish, known) = watch::channel(Arc::default());
    core = core.remembering(Memory::default(), publish);
    let Record::Action(mut action) = intent() else { panic!("an action") };
    let what = "x".repeat(farol_journal::LONGEST_LINE).into();
    action.step = ActionStep::Intended { what };
    let (event, mut answer) = remember(Record::Action(action));
    core.apply(event, Timestamp::from_millis(9));
    assert!(answer.try_recv().unwrap().is_err());
    assert!(known.borrow().remedies.is_empty());
    assert!(!events(&disk).iter().any(|(_, record)| matches!(record, Record::Action(_))));
}

#[test]
fn a_machine_is_unknown_until_its_rules_were_evaluated_and_when_they_no_longer_are() {
    let disk = CrashDisk::new();
    let mut core = core_on(&disk, Settings::default());
    let second = |second: i64| Timestamp::from_millis(second * 1000);
    let state = |core: &Core| core.current.borrow().verdict.state;
    core.apply(tick(1), second(1));
    assert_eq!(state(&core), State::Unknown, "no rules");

    let rules = "groups: [{name: g, interval: 15s, rules: [{alert: A, expr: vector(1)}]}]";
    let rules = RuleSet::parse(&[("r.yml", rules)], &Default::default()).unwrap();
    let group = Arc::clone(&rules.groups[0]);
    core.apply(Event::Loaded { rules: Arc::new(rules), channels: Vec::new() }, second(1));
    core.apply(tick(2), second(2));
    assert_eq!(state(&core), State::Unknown, "not evaluated yet");

    let found = farol_alert::Found {
        series: Labels::empty(),
        value: 1.0,
        labels: Labels::from([("alertname", "A")]),
        annotations: Labels::empty(),
    };
    let evaluated = |at: i64, found: Vec<farol_alert::Found>| Event::Evaluated {
        result: GroupResult {
            group: Arc::clone(&group),
            at: second(at),
            took: Duration::ZERO,
            every: group.interval,
            rules: vec![farol_alert::RuleResult {
                took: Duration::ZERO,
                found: Ok(found),
                gone: Vec::new(),
            }],
        },
        applied: std::sync::mpsc::sync_channel(1).0,
    };
    core.apply(evaluated(3, Vec::new()), second(3));
    assert_eq!(state(&core), State::Stable);
    core.apply(evaluated(18, vec![found]), second(18));
    assert_eq!(state(&core), State::Warning);
    for (now, expected) in [(70, State::Warning), (90, State::Unknown)] {
        core.apply(tick(now), second(now));
        assert_eq!(state(&core), expected, "{now}");
        let lines = core.lanes[0].as_ref().unwrap();
        assert_eq!(lines.state, expected, "and so says its line");
        let signs = lines.samples.iter().filter(|sample| sample.name == *"monitoring_state");
        let signs: Vec<f64> = signs.map(|sample| sample.value).collect();
        assert_eq!(signs, if expected == State::Unknown { vec![] } else { vec![1.0] });
    }
}

fn core_on(disk: &CrashDisk, settings: Settings) -> Core {
    let journal = Journal::open(Arc::new(disk.clone()), "/logs", settings).unwrap();
    Core::new("pi".into(), journal, watch::channel(Arc::default()).0, Arc::default())
}

fn remember(record: Record) -> (Event, oneshot::Receiver<Result<(), String>>) {
    let (ack, answer) = oneshot::channel();
    (Event::Remember { record, ack }, answer)
}

fn silence(number: i64) -> Record {
    Record::Silence(Silence {
        at: Timestamp::from_millis(number),
        host: "pi".into(),
        id: number.to_string().into(),
        matchers: Vec::new(),
        starts_at: Timestamp::from_millis(0),
        ends_at: Timestamp::from_millis(1 << 40),
        created_by: "somebody".into(),
        comment: "while the disk is being changed".into(),
    })
}

fn intent() -> Record {
    Record::Action(Action {
        at: Timestamp::from_millis(9),
        host: "pi".into(),
        id: "1".into(),
        remedy: "free_tmp".into(),
        alert: None,
        step: ActionStep::Intended { what: "remove files".into() },
    })
}

/// The events of Farol itself.
fn happened(disk: &CrashDisk) -> Vec<farol_model::Event> {
    let events = events(disk).into_iter();
    events
        .filter_map(|(_, record)| match record {
            Record::Event(event) => Some(event),
            _ => None,
        })
        .collect()
}

fn events(disk: &CrashDisk) -> Vec<(farol_model::Position, Record)> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut reader = Reader::open(disk, "/logs", Stream::Events, StartAt::Oldest).unwrap();
    let mut records = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Line(line) = item else { panic!("{item:?}") };
        records.push((line.position, line.record));
    }
    records
}

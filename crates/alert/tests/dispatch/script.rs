//! Reads a case and writes down what was told.

use std::{fmt::Write, time::Duration};

use farol_alert::{
    Matcher, Muted, Muter, Quiet, Route, Routing, Window,
    dispatch::default_inhibitions,
    due, muted,
    windows::{Recurring, Spans},
};
use farol_model::{Alert, Phase, Text, Timestamp};

use crate::follow::{BEGIN, Receiver, World};

pub(crate) fn run(script: &str) -> String {
    let mut routing = Routing { routes: vec![Route::new("team")], ..Routing::default() };
    let mut edits = false;
    let mut out = String::new();
    let mut world: Option<World> = None;
    for line in script.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match first {
            "route" => set_route(&mut routing.routes[0], rest),
            "edits" => edits = true,
            "inhibit" => routing.inhibitions = default_inhibitions(),
            "quiet" => routing.quiet.push(quiet(rest)),
            time => {
                let world = world.get_or_insert_with(|| World::new(routing.clone(), edits));
                let told = world.told.len();
                world.follow_until(moment(time));
                write_told(&mut out, world, told);
                let told = world.told.len();
                happen(world, rest, &mut out);
                world.follow_until(world.now);
                write_told(&mut out, world, told);
            }
        }
    }
    let world = world.expect("something happens");
    match due(&world.memory, &world.routing, "team", world.now).next {
        Some(next) => writeln!(out, "then waits until {}", written(next)).unwrap(),
        None => writeln!(out, "then waits for news").unwrap(),
    }
    out
}

fn set_route(route: &mut Route, settings: &str) {
    for setting in settings.split(' ') {
        let (name, value) = setting.split_once('=').unwrap();
        match name {
            "group_by" => route.group_by = value.split(',').map(Text::from).collect(),
            "group_wait" => route.group_wait = seconds(value),
            "group_interval" => route.group_interval = seconds(value),
            "repeat_interval" => route.repeat_interval = seconds(value),
            "send_resolved" => route.send_resolved = value == "yes",
            "match" => route.matchers = Matcher::read_all(value).unwrap(),
            _ => panic!("{setting}"),
        }
    }
}

/// `night 22:00-07:00 Europe/Lisbon severity!="critical"`
fn quiet(text: &str) -> Quiet {
    let mut words = text.split(' ');
    let (name, times, zone) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let recurring =
        Recurring::read(&[times.split_once('-').unwrap()], &[], &[], &[], zone).unwrap();
    Quiet {
        window: Window { name: name.into(), spans: Spans::Recurring(recurring) },
        matchers: words.map(|word| Matcher::read(word).unwrap()).collect(),
    }
}

fn happen(world: &mut World, what: &str, out: &mut String) {
    let words: Vec<&str> = what.split(' ').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [] => {}
        ["fire", alert] => world.fire(alert),
        ["fire", count, alert] => {
            for number in 0..count.parse::<usize>().unwrap() {
                world.fire(&alert.replace('#', &number.to_string()));
            }
        }
        ["end", alert] => world.end(alert),
        ["end", count, alert] => {
            for number in 0..count.parse::<usize>().unwrap() {
                world.end(&alert.replace('#', &number.to_string()));
            }
        }
        ["silence", id, matchers, "until", end] => world.silence(id, matchers, moment(end)),
        ["receiver", "takes"] => world.receiver = Receiver::Takes,
        ["receiver", "later", long] => world.receiver = Receiver::Later(seconds(long)),
        ["receiver", "dead"] => world.receiver = Receiver::Dead,
        ["receiver", "gone"] => world.receiver = Receiver::Gone,
        ["muted", name] => {
            let alert = world.alert(name).unwrap();
            let muted = muted(&world.memory, &world.routing, &alert, world.now);
            let by = muted.map_or("told".to_owned(), |muted| written_mute(world, &muted));
            writeln!(out, "{} {name} is {by}", written(world.now)).unwrap();
        }
        ["clock", time] => world.now = moment(time),
        _ => panic!("{what}"),
    }
}

fn written_mute(world: &World, muted: &Muted) -> String {
    let by = match &muted.by {
        Muter::Silence(id) => format!("silenced by {id}"),
        Muter::Quiet(name) => format!("quiet by {name}"),
        Muter::Inhibited(by) => {
            let fingerprint = |alert: &&std::sync::Arc<Alert>| {
                by.contains(&farol_model::fingerprint(&alert.labels))
            };
            let names = world.memory.alerts.values().filter(fingerprint).map(|alert| name(alert));
            format!("inhibited by {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    match muted.until {
        Some(until) => format!("{by} until {}", written(until)),
        None => by,
    }
}

fn write_told(out: &mut String, world: &World, from: usize) {
    for notice in &world.told[from..] {
        let alerts = notice.alerts.iter().map(|alert| {
            let phase = if alert.phase == Phase::Ended { "resolved " } else { "" };
            format!("{phase}{}", name(alert))
        });
        let alerts: Vec<String> = alerts.collect();
        write!(out, "{} {}: ", written(notice.at), notice.reason.name()).unwrap();
        if alerts.len() > 10 {
            let firing = notice.alerts.iter().filter(|alert| alert.phase == Phase::Firing).count();
            write!(out, "{firing} firing, {} resolved", alerts.len() - firing).unwrap();
        } else {
            write!(out, "{}", alerts.join(", ")).unwrap();
        }
        if notice.truncated > 0 {
            write!(out, " and {} more", notice.truncated).unwrap();
        }
        if let Some(message) = &notice.message {
            write!(out, " (edits {message})").unwrap();
        }
        writeln!(out, "\n    {}", notice.group).unwrap();
    }
}

fn name(alert: &Alert) -> String {
    let labels = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() {
        return alert.name().to_owned();
    }
    format!("{}{{{}}}", alert.name(), labels.join(","))
}

/// `07:00:30`, or `2d07:00:30` for two days later.
fn moment(text: &str) -> Timestamp {
    let (days, time) = text.split_once('d').unwrap_or(("0", text));
    let numbers: Vec<u64> = time.split(':').map(|number| number.parse().unwrap()).collect();
    let [hours, minutes, seconds] = numbers[..] else { panic!("{text}") };
    let days: u64 = days.parse().unwrap();
    BEGIN.plus(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
}

fn written(at: Timestamp) -> String {
    let seconds = at.since(BEGIN).as_secs();
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if days == 0 { time } else { format!("{days}d{time}") }
}

fn seconds(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("{text}"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * unit)
}

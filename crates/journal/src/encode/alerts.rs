//! The lines about what is wrong: an alert's turns, silences, what was told and tried, the hours, and
//! the sum of it all. What is not known is left out.

use std::collections::BTreeMap;

use farol_model::{
    Action, ActionStep, Alert, Channel, Delivered, Delivery, Episode, Memory, Phase, Remedy,
    Silence, Summary, Text, Timestamp, Told, Transition, fingerprint,
};

use super::{head, object::Object, object::write_time};

pub(super) fn transition(line: &mut Vec<u8>, seq: u64, transition: &Transition) {
    head(line, seq, transition.at, "alert");
    let mut object = Object::going_on(line);
    object.text("host", &transition.host);
    object.text("turn", transition.turn.name());
    optional_text(&mut object, "reason", transition.reason.as_ref());
    alert(&mut object, &transition.alert);
}

pub(super) fn silence(line: &mut Vec<u8>, seq: u64, silence: &Silence) {
    head(line, seq, silence.at, "silence");
    about_silence(&mut Object::going_on(line), silence);
}

pub(super) fn delivery(line: &mut Vec<u8>, seq: u64, delivery: &Delivery) {
    head(line, seq, delivery.at, "delivery");
    let mut object = Object::going_on(line);
    object.text("host", &delivery.host);
    object.text("channel", &delivery.channel);
    object.text("group", &delivery.group);
    object.list("episodes", &delivery.episodes, |line, (episode, ended)| {
        told_episode(line, *episode, *ended);
    });
    object.whole("attempts", delivery.attempts.into());
    match &delivery.outcome {
        Delivered::Sent { message } => {
            object.text("outcome", "sent");
            optional_text(&mut object, "message", message.as_ref());
        }
        Delivered::Later { until, reason } => {
            object.text("outcome", "later");
            object.time("until", *until);
            object.text("reason", reason);
        }
        Delivered::Dead { reason } => {
            object.text("outcome", "dead");
            object.text("reason", reason);
        }
        Delivered::Disabled { reason } => {
            object.text("outcome", "disabled");
            object.text("reason", reason);
        }
    }
}

pub(super) fn action(line: &mut Vec<u8>, seq: u64, action: &Action) {
    head(line, seq, action.at, "action");
    about_action(&mut Object::going_on(line), action);
}

pub(super) fn summary(line: &mut Vec<u8>, seq: u64, summary: &Summary) {
    head(line, seq, summary.at, "summary");
    let mut object = Object::going_on(line);
    object.text("host", &summary.host);
    object.time("hour", summary.hour);
    Object::write(object.member("signs"), |object| {
        for (name, sign) in &summary.signs {
            Object::write(object.member(name), |object| {
                object.number("mean", sign.mean);
                object.number("min", sign.min);
                object.number("max", sign.max);
                object.number("p95", sign.p95);
                object.whole("samples", sign.samples.into());
            });
        }
    });
    Object::write(object.member("state_seconds"), |object| {
        for (state, seconds) in &summary.states {
            object.whole(state.name(), (*seconds).into());
        }
    });
}

pub(super) fn state(line: &mut Vec<u8>, seq: u64, memory: &Memory) {
    head(line, seq, memory.at, "state");
    let mut object = Object::going_on(line);
    object.text("host", &memory.host);
    object.list("alerts", memory.alerts.values(), |line, held| {
        Object::write(line, |object| alert(object, held));
    });
    object.list("silences", memory.silences.values(), |line, silence| {
        Object::write(line, |object| {
            object.time("at", silence.at);
            about_silence(object, silence);
        });
    });
    map(&mut object, "channels", &memory.channels, channel);
    map(&mut object, "remedies", &memory.remedies, remedy);
    optional_time(&mut object, "last_summary", memory.last_summary);
}

fn alert(object: &mut Object<'_>, alert: &Alert) {
    let phase = match alert.phase {
        Phase::Pending => "pending",
        Phase::Firing => "firing",
        Phase::Ended => "ended",
    };
    object.text("group", &alert.group);
    object.text("rule", &alert.rule);
    object.fingerprint(fingerprint(&alert.labels));
    object.labels("labels", &alert.labels);
    object.labels("annotations", &alert.annotations);
    object.labels("series", &alert.series);
    object.number("value", alert.value);
    object.text("phase", phase);
    object.time("active_at", alert.active_at);
    optional_time(object, "fired_at", alert.fired_at);
    optional_time(object, "keeping_since", alert.keeping_since);
    optional_time(object, "missing_since", alert.missing_since);
    object.whole("unseen_ms", alert.unseen);
    object.time("seen_at", alert.seen_at);
    optional_time(object, "ended_at", alert.ended_at);
    times(object, "firings", &alert.firings);
    object.flag("is_flapping", alert.is_flapping);
    optional_text(object, "remedy", alert.remedy.as_ref());
}

fn about_silence(object: &mut Object<'_>, silence: &Silence) {
    object.text("host", &silence.host);
    object.text("id", &silence.id);
    object.list("matchers", &silence.matchers, |line, matcher| {
        Object::write(line, |object| {
            object.text("name", &matcher.name);
            object.text("value", &matcher.value);
            object.flag("is_regex", matcher.is_regex);
            object.flag("is_equal", matcher.is_equal);
        });
    });
    object.time("starts_at", silence.starts_at);
    object.time("ends_at", silence.ends_at);
    object.text("created_by", &silence.created_by);
    object.text("comment", &silence.comment);
}

fn about_action(object: &mut Object<'_>, action: &Action) {
    object.text("host", &action.host);
    object.text("id", &action.id);
    object.text("remedy", &action.remedy);
    if let Some((alertname, episode)) = &action.alert {
        object.text("alertname", alertname);
        about_episode(object, *episode);
    }
    match &action.step {
        ActionStep::Refused { reason } => {
            object.text("step", "refused");
            object.text("reason", reason);
        }
        ActionStep::Rehearsed { summary, output } => {
            object.text("step", "rehearsed");
            object.text("summary", summary);
            object.text("output", output);
        }
        ActionStep::Intended { what } => {
            object.text("step", "intended");
            object.text("what", what);
        }
        ActionStep::Finished { ok, summary, output, took } => {
            object.text("step", "finished");
            object.flag("ok", *ok);
            object.text("summary", summary);
            object.text("output", output);
            object.number("took_seconds", took.as_secs_f64());
        }
        ActionStep::Judged { judgement, before, after } => {
            object.text("step", "judged");
            object.text("judgement", judgement.name());
            for (name, value) in [("before", before), ("after", after)] {
                if let Some(value) = value {
                    object.number(name, *value);
                }
            }
        }
        ActionStep::Unknown => object.text("step", "unknown"),
    }
}

fn channel(object: &mut Object<'_>, channel: &Channel) {
    optional_time(object, "not_before", channel.not_before);
    optional_text(object, "disabled", channel.disabled.as_ref());
    map(object, "groups", &channel.groups, |object, told: &Told| {
        object.time("at", told.at);
        optional_text(object, "message", told.message.as_ref());
        object.list("episodes", &told.episodes, |line, (episode, ended)| {
            told_episode(line, *episode, *ended);
        });
    });
}

fn remedy(object: &mut Object<'_>, remedy: &Remedy) {
    times(object, "runs", &remedy.runs);
    for (name, action) in [("open", &remedy.open), ("last", &remedy.last)] {
        if let Some(action) = action {
            Object::write(object.member(name), |object| {
                object.time("at", action.at);
                about_action(object, action);
            });
        }
    }
    object.list("answered", &remedy.answered, |line, (episode, at)| {
        Object::write(line, |object| {
            about_episode(object, *episode);
            object.time("at", *at);
        });
    });
    if !remedy.judged.is_empty() {
        object.list("judged", &remedy.judged, |line, (at, judgement)| {
            Object::write(line, |object| {
                object.time("at", *at);
                object.text("judgement", judgement.name());
            });
        });
    }
}

fn told_episode(line: &mut Vec<u8>, episode: Episode, ended: bool) {
    Object::write(line, |object| {
        about_episode(object, episode);
        object.flag("ended", ended);
    });
}

fn about_episode(object: &mut Object<'_>, episode: Episode) {
    object.fingerprint(episode.fingerprint);
    object.time("fired_at", episode.fired_at);
}

fn map<T>(
    object: &mut Object<'_>,
    name: &str,
    held: &BTreeMap<Text, T>,
    mut write: impl FnMut(&mut Object<'_>, &T),
) {
    Object::write(object.member(name), |object| {
        for (name, value) in held {
            Object::write(object.member(name), |object| write(object, value));
        }
    });
}

fn times(object: &mut Object<'_>, name: &str, times: &[Timestamp]) {
    object.list(name, times, |line, at| write_time(line, *at));
}

fn optional_text(object: &mut Object<'_>, name: &str, text: Option<&Text>) {
    if let Some(text) = text {
        object.text(name, text);
    }
}

fn optional_time(object: &mut Object<'_>, name: &str, at: Option<Timestamp>) {
    if let Some(at) = at {
        object.time(name, at);
    }
}

//! The lines about what is wrong, as `encode/alerts.rs` writes them. Each has a shape of its own here,
//! so that the model needs to know no format; unknown keys belong to a later version.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc, time::Duration};

use farol_model::{
    Action, ActionStep, Alert, Channel, Delivered, Delivery, Episode, Judgement, Labels, Memory,
    Phase, Record, Remedy, SignSummary, Silence, SilenceMatcher, State, Summary, Text, Timestamp,
    Told, Transition, Turn,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{NUMBER, Name};
use crate::time;

/// Entries of one list or object. More than anything here can have; a line that says more is refused.
const MOST: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Alert,
    Silence,
    Delivery,
    Action,
    Summary,
    State,
}

/// What stands in such a line after its kind.
#[derive(Debug)]
pub(super) enum Body {
    Alert(Box<AlertBody>),
    Silence(SilenceBody),
    Delivery(DeliveryBody),
    Action(ActionBody),
    Summary(SummaryBody),
    State(StateBody),
}

impl Kind {
    pub(super) fn from_name(name: &str) -> Option<Kind> {
        match name {
            "alert" => Some(Kind::Alert),
            "silence" => Some(Kind::Silence),
            "delivery" => Some(Kind::Delivery),
            "action" => Some(Kind::Action),
            "summary" => Some(Kind::Summary),
            "state" => Some(Kind::State),
            _ => None,
        }
    }

    /// Reads the rest of the line.
    pub(super) fn body<'de, A: MapAccess<'de>>(self, rest: A) -> Result<Body, A::Error> {
        let rest = MapAccessDeserializer::new(rest);
        Ok(match self {
            Kind::Alert => Body::Alert(Box::new(AlertBody::deserialize(rest)?)),
            Kind::Silence => Body::Silence(SilenceBody::deserialize(rest)?),
            Kind::Delivery => Body::Delivery(DeliveryBody::deserialize(rest)?),
            Kind::Action => Body::Action(ActionBody::deserialize(rest)?),
            Kind::Summary => Body::Summary(SummaryBody::deserialize(rest)?),
            Kind::State => Body::State(StateBody::deserialize(rest)?),
        })
    }
}

impl Body {
    pub(super) fn record(self, at: Timestamp) -> Result<Record, String> {
        Ok(match self {
            Body::Alert(body) => Record::Alert(body.transition(at)?),
            Body::Silence(body) => Record::Silence(body.silence(at)),
            Body::Delivery(body) => Record::Delivery(body.delivery(at)?),
            Body::Action(body) => Record::Action(body.action(at)?),
            Body::Summary(body) => Record::Summary(body.summary(at)),
            Body::State(body) => Record::State(Arc::new(body.memory(at)?)),
        })
    }
}

/// Of a turn, and of an alert in a state.
#[derive(Debug, Deserialize)]
pub(super) struct AlertBody {
    #[serde(default)]
    host: Word,
    turn: Option<TurnWord>,
    reason: Option<Word>,
    #[serde(default)]
    group: Word,
    rule: Word,
    labels: LabelSet,
    #[serde(default)]
    annotations: LabelSet,
    #[serde(default)]
    series: LabelSet,
    value: Number,
    phase: PhaseWord,
    active_at: Time,
    fired_at: Option<Time>,
    keeping_since: Option<Time>,
    missing_since: Option<Time>,
    #[serde(default)]
    unseen_ms: i64,
    seen_at: Time,
    ended_at: Option<Time>,
    #[serde(default)]
    firings: List<Time>,
    #[serde(default)]
    is_flapping: bool,
    remedy: Option<Word>,
}

impl AlertBody {
    fn transition(self, at: Timestamp) -> Result<Transition, String> {
        let turn = self.turn.as_ref().ok_or("has no turn")?.0;
        let (host, reason) = (self.host.0.clone(), self.reason.as_ref().map(Word::text));
        Ok(Transition { at, host, turn, reason, alert: Arc::new(self.alert()) })
    }

    fn alert(self) -> Alert {
        let time = |time: Option<Time>| time.map(|time| time.0);
        Alert {
            group: self.group.0,
            rule: self.rule.0,
            labels: self.labels.0,
            annotations: self.annotations.0,
            series: self.series.0,
            value: self.value.0,
            phase: self.phase.0,
            active_at: self.active_at.0,
            fired_at: time(self.fired_at),
            keeping_since: time(self.keeping_since),
            missing_since: time(self.missing_since),
            unseen: self.unseen_ms,
            seen_at: self.seen_at.0,
            ended_at: time(self.ended_at),
            firings: self.firings.times(),
            is_flapping: self.is_flapping,
            remedy: self.remedy.map(|remedy| remedy.0),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct SilenceBody {
    /// In a state; a line of its own has it as `ts`.
    at: Option<Time>,
    #[serde(default)]
    host: Word,
    id: Word,
    matchers: List<MatcherBody>,
    starts_at: Time,
    ends_at: Time,
    #[serde(default)]
    created_by: Word,
    #[serde(default)]
    comment: Word,
}

#[derive(Debug, Deserialize)]
struct MatcherBody {
    name: Word,
    value: Word,
    is_regex: bool,
    is_equal: bool,
}

impl SilenceBody {
    fn silence(self, at: Timestamp) -> Silence {
        let matchers = self.matchers.0.into_iter().map(|matcher| SilenceMatcher {
            name: matcher.name.0,
            value: matcher.value.0,
            is_regex: matcher.is_regex,
            is_equal: matcher.is_equal,
        });
        Silence {
            at,
            host: self.host.0,
            id: self.id.0,
            matchers: matchers.collect(),
            starts_at: self.starts_at.0,
            ends_at: self.ends_at.0,
            created_by: self.created_by.0,
            comment: self.comment.0,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeliveryBody {
    #[serde(default)]
    host: Word,
    channel: Word,
    #[serde(default)]
    group: Word,
    #[serde(default)]
    episodes: List<EpisodeBody>,
    #[serde(default)]
    attempts: u32,
    outcome: Word,
    message: Option<Word>,
    until: Option<Time>,
    #[serde(default)]
    reason: Word,
}

impl DeliveryBody {
    fn delivery(self, at: Timestamp) -> Result<Delivery, String> {
        let reason = self.reason.0;
        let outcome = match &*self.outcome.0 {
            "sent" => Delivered::Sent { message: self.message.map(|message| message.0) },
            "later" => Delivered::Later { until: self.until.ok_or("has no until")?.0, reason },
            "dead" => Delivered::Dead { reason },
            "disabled" => Delivered::Disabled { reason },
            other => return Err(format!("{other:?} is not an outcome")),
        };
        Ok(Delivery {
            at,
            host: self.host.0,
            channel: self.channel.0,
            group: self.group.0,
            episodes: self.episodes.0.iter().map(EpisodeBody::told).collect(),
            attempts: self.attempts,
            outcome,
        })
    }
}

/// An episode, and what else is said of it.
#[derive(Debug, Deserialize)]
struct EpisodeBody {
    fingerprint: Fingerprint,
    fired_at: Time,
    #[serde(default)]
    ended: bool,
    at: Option<Time>,
}

impl EpisodeBody {
    fn episode(&self) -> Episode {
        Episode { fingerprint: self.fingerprint.0, fired_at: self.fired_at.0 }
    }

    fn told(&self) -> (Episode, bool) {
        (self.episode(), self.ended)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ActionBody {
    /// In a state; a line of its own has it as `ts`.
    at: Option<Time>,
    #[serde(default)]
    host: Word,
    id: Word,
    remedy: Word,
    alertname: Option<Word>,
    fingerprint: Option<Fingerprint>,
    fired_at: Option<Time>,
    step: Word,
    #[serde(default)]
    reason: Word,
    #[serde(default)]
    summary: Word,
    #[serde(default)]
    output: Word,
    #[serde(default)]
    what: Word,
    ok: Option<bool>,
    took_seconds: Option<Number>,
    judgement: Option<Word>,
    before: Option<Number>,
    after: Option<Number>,
}

impl ActionBody {
    fn action(self, at: Timestamp) -> Result<Action, String> {
        let alert = match (self.alertname, self.fingerprint, self.fired_at) {
            (Some(name), Some(fingerprint), Some(fired_at)) => {
                let (fingerprint, fired_at) = (fingerprint.0, fired_at.0);
                Some((name.0, Episode { fingerprint, fired_at }))
            }
            (None, None, None) => None,
            _ => return Err("names half an alert".into()),
        };
        let (summary, output) = (self.summary.0, self.output.0);
        let step = match &*self.step.0 {
            "refused" => ActionStep::Refused { reason: self.reason.0 },
            "rehearsed" => ActionStep::Rehearsed { summary, output },
            "intended" => ActionStep::Intended { what: self.what.0 },
            "finished" => {
                let seconds = self.took_seconds.ok_or("has no took_seconds")?.0;
                let took = Duration::try_from_secs_f64(seconds)
                    .map_err(|error| format!("took_seconds: {error}"))?;
                ActionStep::Finished { ok: self.ok.ok_or("has no ok")?, summary, output, took }
            }
            "judged" => {
                let word = self.judgement.ok_or("has no judgement")?.0;
                let judgement = Judgement::from_name(&word)
                    .ok_or_else(|| format!("{word:?} is not a judgement"))?;
                let number = |number: Option<Number>| number.map(|number| number.0);
                ActionStep::Judged {
                    judgement,
                    before: number(self.before),
                    after: number(self.after),
                }
            }
            "unknown" => ActionStep::Unknown,
            other => return Err(format!("{other:?} is not a step")),
        };
        Ok(Action { at, host: self.host.0, id: self.id.0, remedy: self.remedy.0, alert, step })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct SummaryBody {
    #[serde(default)]
    host: Word,
    hour: Time,
    signs: Pairs<SignBody>,
    state_seconds: Pairs<u32>,
}

#[derive(Debug, Deserialize)]
struct SignBody {
    mean: Number,
    min: Number,
    max: Number,
    p95: Number,
    samples: u32,
}

impl SummaryBody {
    fn summary(self, at: Timestamp) -> Summary {
        let sign = |(name, sign): (Text, SignBody)| {
            let SignBody { mean, min, max, p95, samples } = sign;
            let sign = SignSummary { mean: mean.0, min: min.0, max: max.0, p95: p95.0, samples };
            (name, sign)
        };
        // A state that a later version knows is not one of ours.
        let state = |(name, seconds): (Text, u32)| Some((State::from_name(&name)?, seconds));
        Summary {
            at,
            host: self.host.0,
            hour: self.hour.0,
            signs: self.signs.0.into_iter().map(sign).collect(),
            states: self.state_seconds.0.into_iter().filter_map(state).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct StateBody {
    #[serde(default)]
    host: Word,
    alerts: List<AlertBody>,
    silences: List<SilenceBody>,
    channels: Pairs<ChannelBody>,
    remedies: Pairs<RemedyBody>,
    last_summary: Option<Time>,
}

#[derive(Debug, Deserialize)]
struct ChannelBody {
    not_before: Option<Time>,
    disabled: Option<Word>,
    #[serde(default)]
    groups: Pairs<ToldBody>,
}

#[derive(Debug, Deserialize)]
struct ToldBody {
    at: Time,
    message: Option<Word>,
    #[serde(default)]
    episodes: List<EpisodeBody>,
}

#[derive(Debug, Deserialize)]
struct RemedyBody {
    #[serde(default)]
    runs: List<Time>,
    open: Option<ActionBody>,
    last: Option<ActionBody>,
    #[serde(default)]
    answered: List<EpisodeBody>,
    #[serde(default)]
    judged: List<JudgedBody>,
}

#[derive(Debug, Deserialize)]
struct JudgedBody {
    at: Time,
    judgement: Word,
}

impl StateBody {
    fn memory(self, at: Timestamp) -> Result<Memory, String> {
        let alerts = self.alerts.0.into_iter().map(|body| {
            let alert = body.alert();
            (alert.key(), Arc::new(alert))
        });
        let silences = self.silences.0.into_iter().map(|mut body| {
            let at = body.at.take().ok_or("a silence has no at")?.0;
            let silence = body.silence(at);
            Ok((silence.id.clone(), silence))
        });
        let remedies = self.remedies.0.into_iter().map(|(name, body)| Ok((name, body.remedy()?)));
        Ok(Memory {
            at,
            host: self.host.0,
            alerts: alerts.collect(),
            silences: silences.collect::<Result<_, String>>()?,
            channels: self.channels.0.into_iter().map(|(name, b)| (name, b.channel())).collect(),
            remedies: remedies.collect::<Result<_, String>>()?,
            last_summary: self.last_summary.map(|time| time.0),
        })
    }
}

impl ChannelBody {
    fn channel(self) -> Channel {
        let told = |body: ToldBody| Told {
            at: body.at.0,
            message: body.message.map(|message| message.0),
            episodes: body.episodes.0.iter().map(EpisodeBody::told).collect(),
        };
        Channel {
            not_before: self.not_before.map(|time| time.0),
            disabled: self.disabled.map(|reason| reason.0),
            groups: self.groups.0.into_iter().map(|(key, body)| (key, told(body))).collect(),
        }
    }
}

impl RemedyBody {
    fn remedy(self) -> Result<Remedy, String> {
        let action = |body: Option<ActionBody>| -> Result<Option<Action>, String> {
            let Some(mut body) = body else { return Ok(None) };
            let at = body.at.take().ok_or("an action has no at")?.0;
            body.action(at).map(Some)
        };
        let mut answered = BTreeMap::new();
        for body in &self.answered.0 {
            let at = body.at.as_ref().ok_or("an answered episode has no at")?.0;
            answered.insert(body.episode(), at);
        }
        let judged = self.judged.0.iter().map(|body| {
            let word = body.judgement.text();
            let judgement = Judgement::from_name(&word)
                .ok_or_else(|| format!("{word:?} is not a judgement"))?;
            Ok((body.at.0, judgement))
        });
        Ok(Remedy {
            runs: self.runs.times(),
            open: action(self.open)?,
            last: action(self.last)?,
            answered,
            judged: judged.collect::<Result<_, String>>()?,
        })
    }
}

#[derive(Debug, Default)]
struct Word(Text);

impl Word {
    fn text(&self) -> Text {
        self.0.clone()
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Word, D::Error> {
        Name.deserialize(json).map(|text| Word(Text::from(&*text)))
    }
}

#[derive(Debug)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Number, D::Error> {
        NUMBER.deserialize(json).map(Number)
    }
}

/// Texts of which only some mean something.
macro_rules! parsed {
    ($name:ident, $value:ty, $what:literal, $parse:expr) => {
        #[derive(Debug)]
        struct $name($value);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(json: D) -> Result<$name, D::Error> {
                let text = Name.deserialize(json)?;
                let parse: fn(&str) -> Option<$value> = $parse;
                let wrong = || de::Error::custom(format_args!("{text:?} is not {}", $what));
                parse(&text).map($name).ok_or_else(wrong)
            }
        }
    };
}

parsed!(Time, Timestamp, "a time stamp", time::parse);
parsed!(TurnWord, Turn, "a turn", Turn::from_name);
parsed!(PhaseWord, Phase, "a phase", |word| match word {
    "pending" => Some(Phase::Pending),
    "firing" => Some(Phase::Firing),
    "ended" => Some(Phase::Ended),
    _ => None,
});
parsed!(Fingerprint, u64, "a fingerprint of 16 hex digits", |word| {
    let is_hex = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(word, 16).ok().filter(|_| is_hex)
});

/// `{"alertname":"HostCpuHigh","severity":"warning"}`
#[derive(Debug, Default)]
struct LabelSet(Labels);

impl<'de> Deserialize<'de> for LabelSet {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<LabelSet, D::Error> {
        let Pairs(pairs) = Pairs::<Word>::deserialize(json)?;
        let pairs = pairs.into_iter().map(|(name, value)| (name, value.0)).collect();
        Ok(LabelSet(Labels::new(pairs)))
    }
}

/// A bounded list.
#[derive(Debug)]
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(Vec::new())
    }
}

impl List<Time> {
    fn times(self) -> Vec<Timestamp> {
        self.0.into_iter().map(|time| time.0).collect()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<List<T>, D::Error> {
        json.deserialize_seq(Bounded(PhantomData)).map(List)
    }
}

/// A bounded object, in its order.
#[derive(Debug)]
struct Pairs<T>(Vec<(Text, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Pairs<T> {
        Pairs(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Pairs<T>, D::Error> {
        json.deserialize_map(BoundedMap(PhantomData)).map(Pairs)
    }
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = list.next_element()? {
            if found.len() == MOST {
                return Err(too_many());
            }
            found.push(item);
        }
        Ok(found)
    }
}

struct BoundedMap<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundedMap<T> {
    type Value = Vec<(Text, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((name, value)) = map.next_entry::<Word, T>()? {
            if found.len() == MOST {
                return Err(too_many());
            }
            found.push((name.0, value));
        }
        Ok(found)
    }
}

fn too_many<E: de::Error>() -> E {
    E::custom(format_args!("has a list of more than {MOST} entries"))
}

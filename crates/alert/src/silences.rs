//! How silences come, change and end: pure, with Alertmanager's rules.

use std::fmt;

use farol_model::{Memory, Silence, SilenceMatcher, Text, Timestamp};

use crate::Matcher;

/// So many that are not over.
pub const MOST_SILENCES: usize = 1000;
const MOST_MATCHERS: usize = 100;
/// Bytes of one text, and of all texts of one silence: all silences are one line of the journal.
const MOST_TEXT: usize = 4 * 1024;
const MOST_TEXTS: usize = 16 * 1024;

/// What somebody asks for. With the id of a silence it is changed, else it is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<Text>,
    pub matchers: Vec<SilenceMatcher>,
    /// None, or a time that is over, is now.
    pub starts_at: Option<Timestamp>,
    pub ends_at: Timestamp,
    pub created_by: Text,
    pub comment: Text,
}

/// What is to be remembered, in this order, and the id under which the asked-for silence is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: Text,
    pub silences: Vec<Silence>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SilenceError {
    NotFound(Text),
    Bad(String),
    /// Nothing is wrong with what was asked for; it may be asked for again.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not begun.
    Pending,
    Active,
    Expired,
}

impl Standing {
    pub const fn name(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Active => "active",
            Standing::Expired => "expired",
        }
    }
}

pub fn standing(silence: &Silence, now: Timestamp) -> Standing {
    if now >= silence.ends_at {
        Standing::Expired
    } else if now < silence.starts_at {
        Standing::Pending
    } else {
        Standing::Active
    }
}

/// What makes `draft` true. A change that would alter what was silenced so far ends the silence and
/// makes a new one, under `new_id`.
pub fn set(
    memory: &Memory,
    draft: Draft,
    host: &Text,
    new_id: Text,
    now: Timestamp,
) -> Result<Change, SilenceError> {
    check(&draft, now).map_err(SilenceError::Bad)?;
    let before = match &draft.id {
        None => None,
        Some(id) => Some(memory.silences.get(id).ok_or(SilenceError::NotFound(id.clone()))?),
    };
    let starts_at = draft.starts_at.unwrap_or(now);
    if let Some(before) = before.filter(|before| can_become(before, &draft, starts_at, now)) {
        let silence = silence(draft, host, before.id.clone(), starts_at, now);
        return Ok(Change { id: before.id.clone(), silences: vec![silence] });
    }
    let ended = before.filter(|before| standing(before, now) != Standing::Expired);
    let is_over = |silence: &&Silence| standing(silence, now) == Standing::Expired;
    let held = memory.silences.values().filter(|silence| !is_over(silence)).count();
    if held - usize::from(ended.is_some()) >= MOST_SILENCES {
        let why = format!("there are {MOST_SILENCES} silences already; expire some of them");
        return Err(SilenceError::Bad(why));
    }
    let mut silences: Vec<Silence> =
        ended.map(|before| expired(before, host, now)).into_iter().collect();
    silences.push(silence(draft, host, new_id.clone(), starts_at.max(now), now));
    Ok(Change { id: new_id, silences })
}

/// Nothing where it is over already.
pub fn expire(
    memory: &Memory,
    id: &str,
    host: &Text,
    now: Timestamp,
) -> Result<Option<Silence>, SilenceError> {
    let silence = memory.silences.get(id).ok_or_else(|| SilenceError::NotFound(id.into()))?;
    let is_over = standing(silence, now) == Standing::Expired;
    Ok((!is_over).then(|| expired(silence, host, now)))
}

fn expired(silence: &Silence, host: &Text, now: Timestamp) -> Silence {
    let starts_at = silence.starts_at.min(now);
    Silence { at: now, host: host.clone(), starts_at, ends_at: now, ..silence.clone() }
}

fn silence(draft: Draft, host: &Text, id: Text, starts_at: Timestamp, now: Timestamp) -> Silence {
    Silence {
        at: now,
        host: host.clone(),
        id,
        matchers: draft.matchers,
        starts_at,
        ends_at: draft.ends_at,
        created_by: draft.created_by,
        comment: draft.comment,
    }
}

/// Whether the change leaves what was silenced until now as it was.
fn can_become(before: &Silence, draft: &Draft, starts_at: Timestamp, now: Timestamp) -> bool {
    before.matchers == draft.matchers
        && match standing(before, now) {
            Standing::Pending => starts_at >= now,
            // To the second: some clients write no more.
            Standing::Active => before.starts_at.as_millis() / 1000 == starts_at.as_millis() / 1000,
            Standing::Expired => false,
        }
}

fn check(draft: &Draft, now: Timestamp) -> Result<(), String> {
    if draft.matchers.len() > MOST_MATCHERS {
        return Err(format!("a silence may have {MOST_MATCHERS} matchers"));
    }
    check_sizes(draft)?;
    let mut says_something = false;
    for written in &draft.matchers {
        says_something |= !Matcher::new(written.clone())?.matches_nothing();
    }
    if !says_something {
        return Err("a silence needs a matcher that does not match the empty text, as \
                    alertname=\"HostDiskFull\"; or it would silence everything"
            .to_owned());
    }
    if draft.ends_at <= now {
        return Err("the end is in the past".to_owned());
    }
    if draft.starts_at.is_some_and(|start| draft.ends_at <= start) {
        return Err("the end is not after the start".to_owned());
    }
    Ok(())
}

fn check_sizes(draft: &Draft) -> Result<(), String> {
    let of_matchers = draft.matchers.iter().flat_map(|matcher| {
        [("a matcher's name", &matcher.name), ("a matcher's value", &matcher.value)]
    });
    let others = [("the author", &draft.created_by), ("the comment", &draft.comment)];
    let mut all = 0;
    for (what, text) in of_matchers.chain(others) {
        if text.len() > MOST_TEXT {
            return Err(format!("{what} may have {MOST_TEXT} bytes"));
        }
        all += text.len();
    }
    if all > MOST_TEXTS {
        return Err(format!("all texts of a silence may have {MOST_TEXTS} bytes together"));
    }
    Ok(())
}

impl fmt::Display for SilenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SilenceError::NotFound(id) => {
                let shown: String = id.chars().take(100).collect();
                write!(f, "there is no silence {shown:?}; `farol silence list` names them")
            }
            SilenceError::Bad(why) | SilenceError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SilenceError {}

#[cfg(test)]
mod tests {
    use farol_model::Record;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn draft(matchers: &str, starts: Option<i64>, ends: i64) -> Draft {
        let matchers = Matcher::read_all(matchers).unwrap();
        Draft {
            id: None,
            matchers: matchers.iter().map(|matcher| matcher.written().clone()).collect(),
            starts_at: starts.map(at),
            ends_at: at(ends),
            created_by: "ana".into(),
            comment: "works".into(),
        }
    }

    fn remember(memory: &mut Memory, change: &Change) {
        for silence in &change.silences {
            memory.apply(&Record::Silence(silence.clone()));
        }
    }

    fn changed(memory: &Memory, id: &str, draft: Draft, now: i64) -> Change {
        let draft = Draft { id: Some(id.into()), ..draft };
        set(memory, draft, &"pi".into(), "new".into(), at(now)).unwrap()
    }

    fn memory(starts: Option<i64>) -> Memory {
        let mut memory = Memory::default();
        let draft = draft("a=b", starts, 100);
        let change = set(&memory, draft, &"pi".into(), "one".into(), at(10)).unwrap();
        remember(&mut memory, &change);
        memory
    }

    #[test]
    fn a_new_silence_begins_now_unless_it_says_later() {
        let starts = |given| memory(given).silences["one"].starts_at;
        assert_eq!(starts(None), at(10));
        assert_eq!(starts(Some(5)), at(10));
        assert_eq!(starts(Some(50)), at(50));
        let standing = |now| standing(&memory(Some(50)).silences["one"], at(now)).name();
        assert_eq!([49, 50, 99, 100].map(standing), ["pending", "active", "active", "expired"]);
    }

    #[test]
    fn a_change_keeps_the_id_where_what_was_silenced_stays_as_it_was() {
        let ids = |change: Change| -> Vec<(String, Timestamp)> {
            change.silences.iter().map(|held| (held.id.to_string(), held.ends_at)).collect()
        };
        let active = memory(None);
        let longer = changed(&active, "one", draft("a=b", Some(10), 200), 20);
        assert_eq!(ids(longer), [("one".to_owned(), at(200))]);
        let other = changed(&active, "one", draft("a=c", Some(10), 200), 20);
        assert_eq!(ids(other), [("one".to_owned(), at(20)), ("new".to_owned(), at(200))]);
        let pending = memory(Some(50));
        let later = changed(&pending, "one", draft("a=b", Some(60), 200), 20);
        assert_eq!(ids(later), [("one".to_owned(), at(200))]);
        let over = changed(&active, "one", draft("a=b", None, 300), 150);
        assert_eq!(ids(over), [("new".to_owned(), at(300))]);
    }

    #[test]
    fn an_expired_silence_is_over_and_one_that_had_not_begun_silences_nothing() {
        let end = |memory: &Memory, now| expire(memory, "one", &"pi".into(), at(now)).unwrap();
        let ended = end(&memory(None), 20).unwrap();
        assert_eq!((ended.starts_at, ended.ends_at, ended.at), (at(10), at(20), at(20)));
        let ended = end(&memory(Some(50)), 20).unwrap();
        assert_eq!((ended.starts_at, ended.ends_at), (at(20), at(20)));
        assert_eq!(standing(&ended, at(20)), Standing::Expired);
        assert_eq!(end(&memory(None), 100), None);
        let unknown = expire(&memory(None), "two", &"pi".into(), at(0)).unwrap_err();
        assert_eq!(unknown, SilenceError::NotFound("two".into()));
    }

    #[test]
    fn what_would_silence_everything_or_nothing_is_refused_in_words() {
        let long = "x".repeat(5000);
        let many = format!("{}a=b", "a=b,".repeat(100));
        let sizeable: Vec<String> = (0..5).map(|n| format!("a{n}={}", "x".repeat(4000))).collect();
        for (draft, expected) in [
            (draft("", None, 100), "needs a matcher"),
            (draft("a=~.*,b=", None, 100), "needs a matcher"),
            (draft("a!=b", None, 100), "needs a matcher"),
            (draft("a=b", None, 10), "in the past"),
            (draft("a=b", Some(60), 60), "not after the start"),
            (draft(&many, None, 100), "100 matchers"),
            (draft(&format!("a={long}"), None, 100), "4096 bytes"),
            (draft(&sizeable.join(","), None, 100), "16384 bytes together"),
            (Draft { comment: long.as_str().into(), ..draft("a=b", None, 100) }, "the comment"),
        ] {
            let refused = set(&Memory::default(), draft, &"pi".into(), "new".into(), at(10));
            let why = refused.unwrap_err().to_string();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn there_are_so_many_silences_and_no_more() {
        let mut memory = memory(None);
        let one = memory.silences["one"].clone();
        for number in 1..MOST_SILENCES {
            let id = Text::from(number.to_string());
            memory.silences.insert(id.clone(), Silence { id, ..one.clone() });
        }
        let set = |memory: &Memory, draft| set(memory, draft, &"pi".into(), "new".into(), at(20));
        let refused = set(&memory, draft("a=b", None, 100)).unwrap_err();
        assert!(refused.to_string().contains("expire some"), "{refused}");
        // One that ends in its stead makes room.
        let other = Draft { id: Some("one".into()), ..draft("a=c", None, 100) };
        assert!(set(&memory, other).is_ok());
    }
}

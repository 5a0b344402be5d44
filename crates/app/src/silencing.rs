//! Silences, from whoever asks (HTTP or the control socket) to the core.

use farol_alert::{
    Matcher,
    silences::{self, Draft, SilenceError},
};
use farol_model::{Memory, Record, Silence, Text, Timestamp};
use farol_web::{Command, alertmanager};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

type Ack = oneshot::Sender<Result<(), String>>;

/// What is answered, and the silences that make it true.
type Change<T> = Result<(T, Vec<Silence>), SilenceError>;

pub(crate) fn set(memory: &Memory, draft: Draft, host: &Text, now: Timestamp) -> Change<Text> {
    let new_id = new_id().ok_or_else(|| {
        SilenceError::Failed("the system gives no random numbers for an id".to_owned())
    })?;
    let change = silences::set(memory, draft, host, new_id, now)?;
    Ok((change.id, change.silences))
}

/// Answers once all of it is remembered. `hand_over` gives it to the core.
pub(crate) fn remember<T: Send + 'static>(
    change: Change<T>,
    reply: oneshot::Sender<Result<T, SilenceError>>,
    hand_over: impl Fn(Record, Ack),
) {
    // Whoever asked may have gone.
    let (answer, silences) = match change {
        Ok(change) => change,
        Err(error) => return drop(reply.send(Err(error))),
    };
    let wait = |silence| {
        let (ack, answered) = oneshot::channel();
        hand_over(Record::Silence(silence), ack);
        answered
    };
    let waits: Vec<_> = silences.into_iter().map(wait).collect();
    tokio::spawn(async move {
        for wait in waits {
            let remembered = wait.await.unwrap_or_else(|_| Err("the program is stopping".into()));
            if let Err(why) = remembered {
                let error = SilenceError::Failed(format!("it could not be remembered: {why}"));
                return drop(reply.send(Err(error)));
            }
        }
        drop(reply.send(Ok(answer)));
    });
}

/// A random UUID, as Alertmanager's are.
fn new_id() -> Option<Text> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let version = (u128::from_be_bytes(bytes) & !(0xf << 76) | 4 << 76) & !(3 << 62) | 2 << 62;
    let digits = format!("{version:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    let parts: Vec<&str> = parts.into_iter().filter_map(|part| digits.get(part)).collect();
    Some(parts.join("-").into())
}

/// `silence_add` at the control socket.
pub(crate) async fn add(
    site: &farol_web::Site,
    commands: &mpsc::Sender<Command>,
    mut arguments: Value,
) -> Result<Value, String> {
    refuse_to_change(site)?;
    let posted = serde_json::from_value(arguments["silence"].take());
    let draft = alertmanager::draft(posted.map_err(|error| format!("bad silence: {error}"))?)?;
    let (reply, answered) = oneshot::channel();
    commands.send(Command::Silence { draft, reply }).await.map_err(|_| stopping())?;
    let id = answered.await.map_err(|_| stopping())?.map_err(|error| error.to_string())?;
    Ok(Value::from(id.as_str()))
}

/// `silence_list` at the control socket.
pub(crate) fn list(site: &farol_web::Site, arguments: &Value) -> Result<Value, String> {
    let filters = arguments["filter"].as_array().map(Vec::as_slice).unwrap_or_default();
    let filters = filters.iter().filter_map(Value::as_str).map(Matcher::read);
    let filters = filters.collect::<Result<Vec<Matcher>, String>>()?;
    let memory = site.memory.borrow().clone();
    Ok(alertmanager::listed(memory.silences.values(), &filters, (site.now)()))
}

/// `silence_expire` at the control socket.
pub(crate) async fn expire(
    site: &farol_web::Site,
    commands: &mpsc::Sender<Command>,
    arguments: &Value,
) -> Result<Value, String> {
    refuse_to_change(site)?;
    let id = Text::from(arguments["id"].as_str().unwrap_or_default());
    let (reply, answered) = oneshot::channel();
    commands.send(Command::Expire { id, reply }).await.map_err(|_| stopping())?;
    answered.await.map_err(|_| stopping())?.map_err(|error| error.to_string())?;
    Ok(Value::from("expired"))
}

fn refuse_to_change(site: &farol_web::Site) -> Result<(), String> {
    match &site.settings.read_only {
        Some(_) => Err(alertmanager::READ_ONLY.to_owned()),
        None => Ok(()),
    }
}

fn stopping() -> String {
    "the program is stopping".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_random_uuid() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        let nth = |at: usize| one.chars().nth(at).unwrap();
        assert_eq!(nth(14), '4');
        assert!("89ab".contains(nth(19)), "{one}");
    }
}

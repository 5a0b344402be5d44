//! Notifiers of the running program: added, changed and removed by a reload, tried and previewed by
//! hand, by mail, and the heartbeat.

use std::fs;

use serde_json::{Value, json};

use crate::{
    discord::{Discord, TOKEN},
    hook::Hook,
    machine::Machine,
    smtp::Smtp,
    world::{Farol, eventually, value_of, write},
};

/// A notifier that tells the hook at a path, at once.
fn webhook(name: &str, url: &str) -> String {
    format!(
        "  - name: {name}
    webhook: {{url: '{url}'}}
    group_wait: 0s
    group_interval: 1s
"
    )
}

/// The one whose URL stands in a file.
fn chat(machine: &Machine) -> String {
    format!(
        "  - name: chat
    discord: {{webhook_url: '${{file:{}}}'}}
    group_wait: 0s
    group_interval: 1s
",
        machine.path("chat.url").display()
    )
}

fn figure(farol: &Farol, series: &str) -> Option<f64> {
    value_of(&farol.get("/metrics").text(), series)
}

/// Each message as its status and how many alerts it names.
fn told(hook: &Hook, path: &str) -> Vec<(String, usize)> {
    let tell = |body: &Value| {
        let status = body["status"].as_str().unwrap().to_owned();
        (status, body["alerts"].as_array().unwrap().len())
    };
    hook.told(path).iter().map(tell).collect()
}

#[test]
fn a_reload_adds_changes_and_removes_notifiers_and_leaves_the_others_alone() {
    let machine = Machine::new();
    let (hook, discord) = (Hook::start(), Discord::start());
    let one = webhook("team", &hook.url("/one"));
    write(&machine.path("chat.url"), &discord.url().replace(TOKEN, "an-old-one"));
    machine.configure(&(one.clone() + &chat(&machine)));
    let farol = machine.start(&[]);
    machine.broken(&["a"]);
    eventually("the team is told", || told(&hook, "/one").len() == 1);
    eventually("the chat is known not to be there", || {
        figure(&farol, "farol_notifications_disabled{channel=\"chat\"}") == Some(1.0)
    });
    assert_eq!(discord.requests(), [("POST".to_owned(), 404)]);

    // A signal: one more is told what fires, and the chat is asked where it is now.
    write(&machine.path("chat.url"), &discord.url());
    let two = webhook("more", &hook.url("/two"));
    machine.configure(&(one.clone() + &chat(&machine) + &two));
    farol.signal("-HUP");
    eventually("the new one is told", || told(&hook, "/two").len() == 1);
    eventually("the chat is told", || discord.messages().len() == 1);
    eventually("the chat counts as there", || {
        figure(&farol, "farol_notifications_disabled{channel=\"chat\"}") == Some(0.0)
    });

    // One that cannot be made: nothing changes.
    let bad = webhook("team", &hook.url("/three")) + "    ca_file: /nonexistent/ca.pem\n";
    machine.configure(&(bad + &chat(&machine)));
    let (said, error, code) = machine.farol(&["reload"], &[]);
    assert_eq!((said.as_str(), code), ("", Some(1)), "{error}");
    let expected = "the notifier \"team\" cannot be made: ca_file: cannot read /nonexistent/ca.pem";
    assert!(error.contains(expected), "{error}");
    machine.broken(&["a", "b"]);
    eventually("both that there were are told", || {
        told(&hook, "/one").len() == 2 && told(&hook, "/two").len() == 2
    });
    assert_eq!(told(&hook, "/one"), [("firing".to_owned(), 1), ("firing".to_owned(), 2)]);
    assert_eq!(hook.told("/three").len(), 0);

    // One goes, and one is told elsewhere.
    machine.configure(&(webhook("team", &hook.url("/three")) + &chat(&machine)));
    let (said, error, code) = machine.farol(&["reload"], &[]);
    assert_eq!((said.as_str(), code), ("reloaded\n", Some(0)), "{error}");
    machine.broken(&[]);
    let resolved = [("resolved".to_owned(), 2)];
    eventually("the end is told elsewhere", || {
        told(&hook, "/three").last().is_some_and(|last| last.0 == "resolved")
    });
    eventually("the chat's last message says so", || {
        discord.messages().last().unwrap()["embeds"][0]["color"] == 0x002E_CC71
    });
    assert_eq!(told(&hook, "/three"), resolved, "what fires was told before");
    assert_eq!((told(&hook, "/one").len(), told(&hook, "/two").len()), (2, 2));
    eventually("the one that is gone has no figures", || {
        figure(&farol, "farol_notifications_queued{channel=\"more\"}").is_none()
    });
    assert_eq!(discord.faults(), Vec::<String>::new());
    assert_eq!(farol.stop(), Some(0));
}

#[test]
fn a_test_message_is_sent_or_it_is_said_why_not_and_no_secret_with_it() {
    let machine = Machine::new();
    let discord = Discord::start();
    machine.configure(
        "  - name: team
    discord: {webhook_url: '${env:HOOK}'}
",
    );
    let test = |name: &str, url: &str| {
        let (said, error, code) = machine.farol(&["notify", "test", name], &[("HOOK", url.into())]);
        assert!(!said.contains(TOKEN) && !error.contains(TOKEN), "{said}{error}");
        (said, error, code)
    };
    let (said, error, code) = test("team", &discord.url());
    let expected = "team: the receiver has taken the test message (message 1000000)\n";
    assert_eq!((said.as_str(), error.as_str(), code), (expected, "", Some(0)));
    assert!(discord.messages()[0].to_string().contains("A test message of Farol"));
    assert_eq!(discord.faults(), Vec::<String>::new());

    let gone = format!("http://127.0.0.1:1/api/webhooks/123/{TOKEN}");
    let other = discord.url().replace("/123/", "/124/");
    for (name, url, expected) in [
        ("team", other.as_str(), "team: the webhook does not exist (any more)"),
        ("team", &gone, "team: cannot connect: Connection refused"),
        ("ops", &gone, "there is no notifier \"ops\", only team"),
        ("team", TOKEN, "is not a URL of a receiver"),
    ] {
        let (said, error, code) = test(name, url);
        assert_eq!((said.as_str(), code == Some(0)), ("", false), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(discord.messages().len(), 1);
}

#[test]
fn a_preview_shows_what_fires_and_else_what_is_made_up_and_says_which() {
    let machine = Machine::new();
    let (hook, discord) = (Hook::start(), Discord::start());
    let others = "  - name: others
    webhook: {url: 'http://127.0.0.1:1/'}
    match: severity=info
  - {name: alive, heartbeat: {url: 'http://127.0.0.1:1/'}}
  - {name: chat, discord: {webhook_url: '${env:CHAT}'}}
";
    machine.configure(&(webhook("team", &hook.url("/")) + others));
    let environment = [("CHAT", discord.url())];
    let preview = |arguments: &[&str]| {
        let arguments = [&["notify", "preview"], arguments].concat();
        let (said, error, code) = machine.farol(&arguments, &environment);
        assert!(!said.contains(TOKEN) && !error.contains(TOKEN), "{said}{error}");
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        (said, error, code)
    };
    // Nothing has run yet: there is not even a journal.
    let (said, error, code) = preview(&["PartBroken"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("PartBroken does not fire by the journal in "), "{error}");
    assert!(error.contains("this is made up"), "{error}");
    assert!(error.contains("others: is not told of it, by its `match`"), "{error}");
    assert!(error.contains("alive: a heartbeat tells of no alert"), "{error}");
    let made_up = &said["team"][0]["alerts"][0];
    assert_eq!(made_up["annotations"]["summary"], "Part  is broken");
    assert_eq!((&said["others"], &said["alive"]), (&json!([]), &json!([])));

    let farol = machine.start(&environment);
    machine.broken(&["a", "b"]);
    eventually("the team is told of both", || {
        told(&hook, "/").last().is_some_and(|last| last.1 == 2)
    });
    let (said, error, code) = preview(&["PartBroken", "--channel", "team"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains(": 2 of its alerts"), "{error}");
    assert_eq!(said.as_object().unwrap().len(), 1);
    let shown = &said["team"];
    let sent = hook.told("/").pop().unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 1, "one message of one group");
    for key in ["alerts", "groupKey", "groupLabels", "commonLabels", "commonAnnotations"] {
        assert_eq!(shown[0][key], sent[key], "{key}: what is shown is what was sent");
    }
    for (arguments, expected) in [
        (&["Other"][..], "there is no alerting rule \"Other\""),
        (
            &["PartBroken", "--channel", "ops"],
            "there is no notifier \"ops\", only team, others, alive, chat",
        ),
    ] {
        let (_, error, code) = preview(arguments);
        assert!(code != Some(0) && error.contains(expected), "{error}");
    }
    assert_eq!(farol.stop(), Some(0));
}

#[test]
fn mail_goes_by_starttls_and_by_tls_and_no_password_is_seen() {
    const PASSWORD: &str = "hunter2-of-the-mail";
    let machine = Machine::new();
    let servers =
        [("plain", "starttls", false), ("secure", "tls", true)].map(|(name, tls, at_once)| {
            let certificate = machine.path(&format!("{name}.pem"));
            let smtp = Smtp::start(at_once, &certificate);
            let notifier = format!(
                "  - name: {name}
    email:
      smarthost: localhost:{}
      tls: {tls}
      username: ana
      password: ${{env:MAIL}}
      from: Farol <farol@example.org>
      to: [ben@example.org]
    ca_file: {}
    group_wait: 0s
    group_interval: 1s
",
                smtp.port,
                certificate.display()
            );
            (smtp, notifier)
        });
    machine.configure(&servers.iter().map(|(_, notifier)| notifier.as_str()).collect::<String>());
    let farol = machine.start(&[("MAIL", PASSWORD.to_owned())]);
    machine.broken(&["a"]);
    for (smtp, _) in &servers {
        eventually("the mail about it is there", || smtp.heard_in_secret(".").len() == 1);
    }
    machine.broken(&[]);
    for (smtp, notifier) in &servers {
        eventually("the mail about its end is there", || smtp.heard_in_secret(".").len() == 2);
        let subjects = smtp.heard_in_secret("Subject:");
        assert!(subjects[0].contains("[FIRING:1] PartBroken: Part a is broken"), "{subjects:?}");
        assert!(subjects[1].contains("[RESOLVED] PartBroken: Part a is broken"), "{subjects:?}");
        let references = smtp.heard_in_secret("References:");
        assert_eq!(references.len(), 2);
        assert_eq!(references[0], references[1], "one conversation");
        assert!(!smtp.heard_in_secret("AUTH PLAIN").is_empty(), "{notifier}");
        let in_the_open: Vec<String> =
            smtp.heard().into_iter().filter(|line| !line.starts_with("tls ")).collect();
        assert!(
            in_the_open.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"),
            "{in_the_open:?}"
        );
    }
    assert!(!farol.get("/metrics").text().contains(PASSWORD));
    assert_eq!(farol.stop(), Some(0));
    assert_eq!(machine.files_with(PASSWORD), "", "the password is written down");
}

#[test]
fn a_heart_beats_while_rules_are_evaluated_and_not_while_one_cannot_be() {
    let machine = Machine::new();
    let hook = Hook::start();
    let url = hook.url("/alive");
    machine.configure(&format!("  - {{name: alive, heartbeat: {{url: '{url}', interval: 1s}}}}\n"));
    let farol = machine.start(&[]);
    let beats = || hook.told("/alive").len();
    eventually("it beats", || beats() >= 2);

    // The first group is as well as before; another one has a rule above its limit.
    let rules = fs::read_to_string(machine.path("rules.yml")).unwrap();
    let bad = "  - name: bad
    interval: 1s
    limit: 1
    rules: [{record: parts, expr: part_broken}]
";
    write(&machine.path("rules.yml"), &(rules.clone() + bad));
    farol.signal("-HUP");
    let failures = || {
        let series = "farol_rule_evaluation_failures_total{rule_group=\"bad\"}";
        figure(&farol, series).unwrap_or_default()
    };
    eventually("a rule fails", || failures() >= 1.0);
    let (before, failed) = (beats(), failures());
    eventually("it has failed for some intervals", || failures() >= failed + 4.0);
    // One may have been on its way.
    assert!(beats() <= before + 1, "{} beats after {before}", beats());

    write(&machine.path("rules.yml"), &rules);
    farol.signal("-HUP");
    let silent = beats();
    eventually("it beats again", || beats() >= silent + 2);
    eventually("its beats are counted", || {
        figure(&farol, "farol_notifications_total{channel=\"alive\",outcome=\"sent\"}")
            .is_some_and(|sent| sent >= 4.0)
    });
    assert_eq!(farol.stop(), Some(0));
}

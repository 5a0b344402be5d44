//! Mail to a server that speaks SMTP, with STARTTLS, TLS and neither.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use farol_act::notify::{Email, Protection, SendError, Sender, Server, Trust, mailbox};
use farol_model::Labels;
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{
    fake::acceptor,
    world::{START, ended, firing, notice, origin},
};

/// What it answers to the command that begins with a word, in place of the usual.
type Refusal = Option<(&'static str, &'static str)>;

struct FakeSmtp {
    port: u16,
    /// Each line that a client said, with `tls ` before it where nobody could listen.
    heard: Arc<Mutex<Vec<String>>>,
    certificate: CertificateDer<'static>,
    task: JoinHandle<()>,
}

impl Drop for FakeSmtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeSmtp {
    async fn start(protection: Protection, refusal: Refusal) -> FakeSmtp {
        let (acceptor, certificate) = acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let ears = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let talk = Talk { heard: Arc::clone(&ears), refusal };
                if protection == Protection::Tls {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        talk.talk(&mut stream, "tls ", true).await;
                    }
                } else if talk.talk(&mut stream, "", true).await == Some(End::StartTls)
                    && let Ok(mut stream) = acceptor.accept(stream).await
                {
                    talk.talk(&mut stream, "tls ", false).await;
                }
            }
        });
        FakeSmtp { port, heard, certificate, task }
    }

    fn email(&self, protection: Protection, trusted: bool) -> Email {
        let roots = if trusted { vec![self.certificate.clone()] } else { Vec::new() };
        let server = Server {
            host: "localhost".into(),
            port: self.port,
            protection,
            login: (protection != Protection::None).then(|| ("ana".into(), "hunter2".into())),
            timeout: Duration::from_secs(5),
        };
        let to = ["ana@example.org", "Ben <ben@example.org>"].map(|to| mailbox(to).unwrap());
        let from = mailbox("Farol <farol@example.org>").unwrap();
        Email::new(&Trust::new(roots), server, from, to.into(), origin()).unwrap()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[derive(PartialEq)]
enum End {
    StartTls,
    Quit,
}

struct Talk {
    heard: Arc<Mutex<Vec<String>>>,
    refusal: Refusal,
}

impl Talk {
    async fn talk(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        mark: &str,
        greets: bool,
    ) -> Option<End> {
        let mut stream = BufReader::new(stream);
        if greets {
            stream.write_all(b"220 fake\r\n").await.ok()?;
        }
        let mut is_data = false;
        loop {
            let mut line = String::new();
            (stream.read_line(&mut line).await.ok()? > 0).then_some(())?;
            let line = line.trim_end().to_owned();
            self.heard.lock().unwrap().push(format!("{mark}{line}"));
            if is_data && line != "." {
                continue;
            }
            let word = line.split(' ').next().unwrap_or_default();
            let usual = match word {
                "EHLO" if mark.is_empty() => "250-fake\r\n250 STARTTLS",
                "EHLO" => "250-fake\r\n250 AUTH PLAIN",
                "AUTH" => "235 welcome",
                "DATA" => "354 go on",
                "STARTTLS" => "220 go on",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            let answer = match self.refusal {
                Some((refused, answer)) if refused == word => answer,
                _ => usual,
            };
            is_data = word == "DATA" && answer == usual;
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
            match word {
                "STARTTLS" => return Some(End::StartTls),
                "QUIT" => return Some(End::Quit),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn mail_is_delivered_with_starttls_with_tls_and_without() {
    for protection in [Protection::StartTls, Protection::Tls, Protection::None] {
        let smtp = FakeSmtp::start(protection, None).await;
        let mut alert = firing("HostCpuHigh", &[("severity", "critical")]);
        alert.annotations = Labels::from([("summary", "busy\r\nBcc: x@example.org")]);
        smtp.email(protection, true).send(&notice(vec![alert])).await.unwrap();
        let heard = smtp.heard();
        let mark = if protection == Protection::None { "" } else { "tls " };
        let has = |line: &str| heard.contains(&format!("{mark}{line}"));
        assert!(has("MAIL FROM:<farol@example.org>"), "{heard:?}");
        assert!(has("RCPT TO:<ana@example.org>") && has("RCPT TO:<ben@example.org>"));
        assert!(has("Subject: [FIRING:1] HostCpuHigh: busy  Bcc: x@example.org"), "{heard:#?}");
        assert!(has("Date: Mon, 21 Sep 2026 14:13:20 +0000"));
        let head = heard.iter().take_while(|line| line.as_str() != mark);
        let bcc = head.filter(|line| line.contains("Bcc"));
        assert_eq!(bcc.count(), 1, "a text cannot add a header");
        let login = heard.iter().find(|line| line.contains("AUTH"));
        assert_eq!(login.is_some(), protection != Protection::None);
        assert!(login.is_none_or(|line| line.starts_with("tls ")), "a password goes by TLS only");
    }
}

#[tokio::test]
async fn messages_about_one_group_refer_to_each_other() {
    let smtp = FakeSmtp::start(Protection::None, None).await;
    let mut email = smtp.email(Protection::None, true);
    let alert = firing("HostCpuHigh", &[]);
    email.send(&notice(vec![alert.clone()])).await.unwrap();
    let mut over = notice(vec![ended(&alert, START)]);
    over.at = START.plus(Duration::from_secs(1));
    email.send(&over).await.unwrap();
    let headers = |name: &str| -> Vec<String> {
        smtp.heard().into_iter().filter(|line| line.starts_with(name)).collect()
    };
    let references = headers("References:");
    assert_eq!(references.len(), 2);
    assert_eq!(references[0], references[1]);
    let ids = headers("Message-ID:");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_server_without_the_tls_it_should_have_gets_no_mail() {
    // It offers none: what it says to EHLO lacks the word.
    let smtp = FakeSmtp::start(Protection::None, Some(("EHLO", "250 fake"))).await;
    let error = smtp.email(Protection::StartTls, true).send(&notice(vec![firing("A", &[])])).await;
    assert!(matches!(error, Err(SendError::Retry { .. })), "{error:?}");
    // Its certificate is nobody's that is trusted.
    let smtp = FakeSmtp::start(Protection::StartTls, None).await;
    let error = smtp.email(Protection::StartTls, false).send(&notice(vec![firing("A", &[])])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(!smtp.heard().iter().any(|line| line.contains("MAIL")));
}

#[tokio::test]
async fn what_is_permanent_is_refused_and_a_login_is_tried_again() {
    for (refusal, expected) in [
        (("MAIL", "451 greylisted"), "retry"),
        (("RCPT", "550 no such user"), "refused"),
        (("DATA", "554 spam"), "refused"),
        ((".", "452 mailbox full"), "retry"),
        (("AUTH", "535 wrong password"), "retry"),
    ] {
        let smtp = FakeSmtp::start(Protection::Tls, Some(refusal)).await;
        let error = smtp.email(Protection::Tls, true).send(&notice(vec![firing("A", &[])])).await;
        let error = error.unwrap_err();
        let found = match &error {
            SendError::Retry { .. } => "retry",
            SendError::Refused { .. } => "refused",
            SendError::Disabled { .. } => "disabled",
        };
        assert_eq!(found, expected, "{refusal:?}: {error}");
        let words = refusal.1.split_once(' ').unwrap().1;
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        protection: Protection::None,
        login: None,
        timeout: Duration::from_millis(200),
    };
    let (from, to) = (mailbox("a@example.org").unwrap(), vec![mailbox("b@example.org").unwrap()]);
    let mut email = Email::new(&Trust::new(Vec::new()), server, from, to, origin()).unwrap();
    let error = email.send(&notice(vec![firing("A", &[])])).await;
    assert!(matches!(error, Err(SendError::Retry { .. })), "{error:?}");
}

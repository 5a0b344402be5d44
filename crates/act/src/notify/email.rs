//! E-mail by SMTP: STARTTLS or TLS from the first byte, and only where asked for neither.
//!
//! A message is plain text. Messages about one group refer to each other, so that mail programs show
//! them together. What the server calls permanent is not tried again, except a refused login: a
//! password may be put right, and what was due is told then.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use farol_alert::Notice;
use farol_model::{Alert, Timestamp};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use serde_json::{Value, json};

use super::{BoxFuture, Origin, SendError, Sender, Sent, http::Trust, is_ended, words};

const MOST_SUBJECT: usize = 200;
const MOST_BODY: usize = 64 * 1024;
/// A whole delivery may take so many times what one step may.
const STEPS: u32 = 6;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Plain at first, then TLS or nothing is sent. Usual on port 587.
    #[default]
    StartTls,
    /// From the first byte. Usual on port 465.
    Tls,
    /// Not at all, for a server on this machine.
    None,
}

/// Where mail is handed over. No `Debug` shows the password.
#[derive(Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub protection: Protection,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Of each step of the conversation.
    pub timeout: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smtp://{}:{}", self.host, self.port)
    }
}

pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
    origin: Origin,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("server", &self.server).finish_non_exhaustive()
    }
}

/// `farol@example.org` or `Farol <farol@example.org>`.
pub fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| "is not a mail address: name@example.org".to_owned())
}

impl Email {
    pub fn new(
        trust: &Trust,
        server: Server,
        from: Mailbox,
        to: Vec<Mailbox>,
        origin: Origin,
    ) -> Result<Email, String> {
        let tls = match server.protection {
            Protection::None => Tls::None,
            Protection::StartTls => Tls::Required(parameters(trust, &server)?),
            Protection::Tls => Tls::Wrapper(parameters(trust, &server)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .timeout(Some(server.timeout))
            .hello_name(hello(&origin.host))
            .tls(tls);
        if let Some((user, password)) = &server.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Email { transport: builder.build(), server, from, to, origin })
    }

    async fn tell(&self, notice: &Notice) -> Result<Sent, SendError> {
        let message = self.message(notice).map_err(SendError::refused)?;
        let sending =
            tokio::time::timeout(self.server.timeout * STEPS, self.transport.send(message)).await;
        match sending {
            Ok(Ok(_)) => Ok(Sent::default()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(SendError::retry("the mail server took too long")),
        }
    }

    fn message(&self, notice: &Notice) -> Result<Message, String> {
        let thread = farol_model::fingerprint(&notice.group_labels);
        let domain = hello(&self.origin.host);
        let domain = domain.to_string();
        let domain = domain.trim_matches(['[', ']']);
        let at = notice.at.as_millis();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject(notice))
            .date(system_time(notice.at))
            .message_id(Some(format!("<{thread:016x}.{at}.farol@{domain}>")))
            .references(format!("<{thread:016x}.farol@{domain}>"))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let body = text(notice, &self.origin);
        builder.body(body).map_err(|error| format!("the message cannot be written: {error}"))
    }
}

impl Sender for Email {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.tell(notice))
    }

    fn preview(&self, notice: &Notice) -> Value {
        json!({
            "from": self.from.to_string(),
            "to": self.to.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "subject": subject(notice),
            "text": text(notice, &self.origin),
        })
    }
}

fn parameters(trust: &Trust, server: &Server) -> Result<TlsParameters, String> {
    let wrong = |error: lettre::transport::smtp::Error| format!("TLS cannot be set up: {error}");
    let mut builder = TlsParameters::builder(server.host.clone());
    builder = match trust.roots() {
        Some(_) => builder.certificate_store(CertificateStore::None),
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
    };
    for root in trust.roots().unwrap_or_default() {
        let root = Certificate::from_der(root.to_vec()).map_err(wrong)?;
        builder = builder.add_root_certificate(root);
    }
    builder.build_rustls().map_err(wrong)
}

/// A server may refuse a name that is none.
fn hello(host: &str) -> ClientId {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    match !host.is_empty() && host.chars().all(is_inner) {
        true => ClientId::Domain(host.to_owned()),
        false => ClientId::default(),
    }
}

fn failure(error: &lettre::transport::smtp::Error) -> SendError {
    let status = error.status().map(|code| code.to_string());
    let said = words::cut(&plain(error), 300);
    match status.as_deref() {
        Some("530" | "534" | "535" | "538") => {
            SendError::retry(format!("the login failed: {said}"))
        }
        Some(_) if error.is_permanent() => SendError::refused(said),
        _ => SendError::retry(said),
    }
}

/// With its causes, in one line.
fn plain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            words::add(&mut said, format_args!(": {text}"));
        }
        cause = error.source();
    }
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn subject(notice: &Notice) -> String {
    let title = words::title(notice);
    let subject = match notice.alerts.as_slice() {
        [alert] => format!("{title}: {}", words::headline(alert)),
        _ => title,
    };
    let line: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    words::cut(&line, MOST_SUBJECT)
}

fn text(notice: &Notice, origin: &Origin) -> String {
    let mut text = String::new();
    for alert in &notice.alerts {
        let one = paragraph(alert);
        if text.len() + one.len() > MOST_BODY {
            break;
        }
        text.push_str(&one);
        text.push('\n');
    }
    let told = text.matches("\nLabels:").count();
    let more = notice.alerts.len().saturating_sub(told) + notice.truncated;
    if more > 0 {
        words::add(&mut text, format_args!("… and {more} more\n\n"));
    }
    words::add(&mut text, format_args!("-- \nFarol on {}\n", origin.host));
    if let Some(url) = &origin.external_url {
        words::add(&mut text, format_args!("{url}/alerts\n"));
    }
    text
}

fn paragraph(alert: &Alert) -> String {
    let state = if is_ended(alert) { "RESOLVED" } else { "FIRING" };
    let mut text = format!("{state} {}\n", words::headline(alert));
    let description = words::description(alert);
    if !description.is_empty() {
        words::add(&mut text, format_args!("{}\n", words::cut(description, 4096)));
    }
    words::add(&mut text, format_args!("\nAlert:    {}\n", alert.name()));
    if let Some(severity) = alert.severity() {
        words::add(&mut text, format_args!("Severity: {severity}\n"));
    }
    words::add(&mut text, format_args!("Value:    {}\n", words::value(alert)));
    words::add(&mut text, format_args!("Since:    {}\n", words::moment(words::began(alert))));
    if let Some(ended) = alert.ended_at.filter(|_| is_ended(alert)) {
        let lasted = words::span(ended.since(words::began(alert)));
        words::add(&mut text, format_args!("Until:    {} ({lasted})\n", words::moment(ended)));
    }
    if let Some(runbook) = alert.annotations.get("runbook_url") {
        words::add(&mut text, format_args!("Runbook:  {runbook}\n"));
    }
    words::add(&mut text, format_args!("Labels:   {}\n", words::cut(&words::labels(alert), 2048)));
    text
}

fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}

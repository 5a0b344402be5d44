//! The door as those see it who stand before it: curl and Debian's Prometheus, with and without
//! passwords, tokens and certificates.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};

use crate::{
    export::Peer,
    world::{FAROL, Farol, eventually, farol, needs, run, try_get, value_of, write},
};

/// "U*U" at a cost of 5, which is quick; "U*U" again at 10, which is what people use.
const QUICK_HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const PASSWORD: &str = "U*U";

/// An authority of the test's own, and the folder for what it signs.
struct Authority {
    folder: PathBuf,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        write(&folder.join(format!("{name}.crt")), &certificate.pem());
        Authority { folder: folder.to_owned(), certificate, key }
    }

    /// Writes NAME.crt and NAME.key.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new([]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        write(&self.folder.join(format!("{name}.crt")), &certificate.pem());
        write(&self.folder.join(format!("{name}.key")), &key.serialize_pem());
    }

    fn sign_server(&self, serial: u64) {
        self.sign("server", |params| {
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            params.serial_number = Some(SerialNumber::from(serial));
        });
    }

    fn sign_client(&self, name: &str, san: &str) {
        self.sign(name, |params| {
            params.subject_alt_names = vec![SanType::DnsName(san.try_into().unwrap())];
        });
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Starts it with this `web.yml` and further flags, everything in one folder.
fn start(folder: &Path, web_yml: &str, flags: &[&str]) -> Farol {
    write(&folder.join("web.yml"), web_yml);
    let file = path(folder, "web.yml");
    let own = ["--rules.stock=false", "--web.config.file", &file];
    let flags: Vec<&str> = own.into_iter().chain(flags.to_vec()).collect();
    Farol::start_in(folder, "run", &flags)
}

/// The status that curl gets, or 0 when there is no connection.
fn status(url: &str, arguments: &[&str]) -> u16 {
    let mut command = Command::new(needs("curl"));
    command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"]);
    let (said, _, _) = run(command.args(arguments).arg(url));
    said.parse().unwrap()
}

/// What curl prints.
fn body(url: &str, arguments: &[&str]) -> String {
    run(Command::new(needs("curl")).args(["-s", "--max-time", "20"]).args(arguments).arg(url)).0
}

/// Whether Debian's Prometheus scrapes it, with these lines in its `scrape_configs` entry.
fn prometheus_scrapes(folder: &Path, address: &str, lines: &str) {
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: node\n{lines}\
         \x20 static_configs: [{{targets: [\"{address}\"]}}]\n"
    );
    write(&config, &text);
    let storage = tempfile::tempdir().unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", storage.path().display()),
    ];
    let prometheus = Peer::start(needs("prometheus"), &arguments);
    eventually("up is 1", || {
        let path = "/api/v1/query?query=up";
        let Ok(answer) = try_get(&prometheus.address, path, &[]) else { return false };
        let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        body["data"]["result"][0]["value"][1] == "1"
    });
}

#[test]
fn a_password_or_a_token_is_wanted_for_everything_but_whether_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("token"), "s3cret-token\n");
    let token = path(folder, "token");
    let yml = format!("basic_auth_users:\n  ana: {QUICK_HASH}\n");
    let farol = start(folder, &yml, &["--web.bearer-token-files", &token]);
    let url = |path: &str| format!("http://{}{path}", farol.address);
    let right = format!("ana:{PASSWORD}");
    let bearer = ["-H", "Authorization: Bearer s3cret-token"];
    eventually("ready without a password", || status(&url("/-/ready"), &[]) == 200);

    for path in ["/-/healthy", "/-/ready", "/ready"] {
        assert_eq!(status(&url(path), &[]), 200, "{path}");
        assert_eq!(status(&url(path), &["-I"]), 200, "{path}");
    }
    for path in ["/", "/metrics", "/health", "/-/reload", "/nothing", "/-/healthy/", "/-/HEALTHY"] {
        assert_eq!(status(&url(path), &[]), 401, "{path}");
        assert_eq!(status(&url(path), &["-u", "ana:wrong"]), 401, "{path}");
        assert_ne!(status(&url(path), &["-u", &right]), 401, "{path}");
        assert_ne!(status(&url(path), &bearer), 401, "{path}");
    }
    assert_eq!(status(&url("/metrics"), &["-u", &right]), 200);
    assert_eq!(status(&url("/metrics"), &bearer), 200);
    for wrong in [
        &["-u", "eva:U*U"][..],
        &["-u", "ana:"],
        &["-H", "Authorization: Bearer s3cret-toke"],
        &["-H", "Authorization: Bearer s3cret-token2"],
        &["-H", "Authorization: Digest s3cret-token"],
        &["-H", "Authorization: Bearer s3cret-token", "-H", "Authorization: Bearer s3cret-token"],
    ] {
        assert_eq!(status(&url("/metrics"), wrong), 401, "{wrong:?}");
    }
    // One answer for all that can be wrong, and the two ways in.
    let answers = [&[][..], &["-u", "ana:wrong"], &["-u", "eva:wrong"]]
        .map(|arguments| try_answer(&farol.address, arguments));
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert!(answers[0].contains("www-authenticate: Basic realm=\"farol\""), "{}", answers[0]);
    assert!(answers[0].contains("www-authenticate: Bearer realm=\"farol\""));
    assert!(answers[0].ends_with("unauthorized\n"));

    let metrics = body(&url("/metrics"), &["-u", &right]);
    let counted = |reason: &str| {
        let series = format!("farol_http_requests_refused_total{{reason=\"{reason}\"}}");
        value_of(&metrics, &series).unwrap()
    };
    assert!(counted("no_credentials") >= 7.0);
    assert!(counted("wrong_credentials") >= 7.0);
    assert_eq!(value_of(&metrics, "farol_web_config_reload_success"), Some(1.0));

    prometheus_scrapes(
        folder,
        &farol.address,
        &format!("  basic_auth: {{username: ana, password: \"{PASSWORD}\"}}\n"),
    );
    let lines = format!("  authorization: {{credentials_file: {token}}}\n");
    prometheus_scrapes(folder, &farol.address, &lines);

    // The commands ask at the control socket, which wants no password.
    let data = path(folder, "data");
    assert_eq!(self::farol(&["reload", "--data", &data]).2, Some(0));
    let (said, _, code) = self::farol(&["health", "--data", &data]);
    assert_eq!((said.as_str(), code), ("ok UNKNOWN\n", Some(0)));
    // Where it is out of reach, the reason is told.
    let elsewhere = path(folder, "elsewhere");
    let (_, error, code) =
        self::farol(&["health", "--data", &elsewhere, "--listen", &farol.address]);
    assert_eq!(code, Some(1));
    assert!(error.contains("answers, but wants a password or a token"), "{error}");
    assert!(error.contains("give the --data that farol runs with"), "{error}");
}

/// Head and body without what differs by time.
fn try_answer(address: &str, arguments: &[&str]) -> String {
    let url = format!("http://{address}/metrics");
    let text = body(&url, &[&["-i"], arguments].concat());
    text.lines().filter(|line| !line.starts_with("date:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_changed_token_or_user_counts_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("token"), "first\n");
    let token = path(folder, "token");
    let yml = format!("basic_auth_users:\n  ana: {QUICK_HASH}\n");
    let farol = start(folder, &yml, &["--web.bearer-token-files", &token]);
    let url = format!("http://{}/metrics", farol.address);
    let with = |token: &str| status(&url, &["-H", &format!("Authorization: Bearer {token}")]);
    assert_eq!((with("first"), with("second")), (200, 401));

    write(&folder.join("token"), "second\n");
    eventually("the new token", || with("second") == 200);
    assert_eq!(with("first"), 401);

    write(&folder.join("web.yml"), "basic_auth_user:\n  ana: x\n");
    let user = format!("ana:{PASSWORD}");
    let health = || -> serde_json::Value {
        let url = format!("http://{}/health", farol.address);
        serde_json::from_str(&body(&url, &["-u", &user])).unwrap()
    };
    eventually("the fault is told", || health()["warnings"][0].is_string());
    let told = health()["warnings"][0].as_str().unwrap().to_owned();
    assert!(told.contains("web.yml:1: unknown key \"basic_auth_user\""), "{told}");
    assert_eq!(health()["status"], "ok");
    let metrics = body(&url, &["-u", &user]);
    assert_eq!(value_of(&metrics, "farol_web_config_reload_success"), Some(0.0));
    let (_, error, code) = self::farol(&["reload", "--data", &path(folder, "data")]);
    assert_eq!(code, Some(1));
    assert!(error.contains("unknown key \"basic_auth_user\""), "{error}");

    write(&folder.join("web.yml"), &yml.replace("ana", "eva"));
    let eva = format!("eva:{PASSWORD}");
    eventually("the new user", || status(&url, &["-u", &eva]) == 200);
    assert_eq!(status(&url, &["-u", &user]), 401);
    let log = fs::read_to_string(folder.join("logs/farol-run.log")).unwrap();
    assert_eq!(log.matches("the last good one goes on").count(), 1, "told once");
    for secret in [PASSWORD, QUICK_HASH, "second"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}

#[test]
fn under_tls_only_the_right_client_certificate_comes_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new(folder, "ca");
    authority.sign_server(1);
    authority.sign_client("right", "scraper.example");
    authority.sign_client("wrong", "scraper.example.evil");
    authority.sign("expired", |params| {
        params.subject_alt_names = vec![SanType::DnsName("scraper.example".try_into().unwrap())];
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
    });
    Authority::new(folder, "stranger").sign_client("strange", "scraper.example");
    let yml = format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
         client_allowed_sans: [scraper.example, other.example]\n"
    );
    let farol = start(folder, &yml, &[]);
    let url = format!("https://{}/metrics", farol.address);
    let ca = path(folder, "ca.crt");
    let with = |name: &str| {
        let (certificate, key) =
            (path(folder, &format!("{name}.crt")), path(folder, &format!("{name}.key")));
        let arguments = ["--cacert", &ca, "--cert", &certificate, "--key", &key];
        // Both protocols tell a refusal at another moment.
        let [old, new] = [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]]
            .map(|version| status(&url, &[&arguments[..], &version].concat()));
        assert_eq!(old, new, "{name}");
        old
    };
    assert_eq!(with("right"), 200);
    for name in ["wrong", "expired", "strange"] {
        assert_eq!(with(name), 0, "{name}");
    }
    assert_eq!(status(&url, &["--cacert", &ca]), 0);
    // Not even whether it lives is told to who has no certificate.
    assert_eq!(status(&format!("https://{}/-/healthy", farol.address), &["--cacert", &ca]), 0);
    prometheus_scrapes(
        folder,
        &farol.address,
        &format!(
            "  scheme: https\n  tls_config: {{ca_file: {ca}, cert_file: {}, key_file: {}}}\n",
            path(folder, "right.crt"),
            path(folder, "right.key")
        ),
    );
    let (certificate, key) = (path(folder, "right.crt"), path(folder, "right.key"));
    let metrics = body(&url, &["--cacert", &ca, "--cert", &certificate, "--key", &key]);
    let failed = value_of(&metrics, "farol_http_handshakes_failed_total{reason=\"failed\"}");
    assert!(failed.unwrap() >= 8.0, "{failed:?}");
    let (said, _, code) = self::farol(&["health", "--data", &path(folder, "data")]);
    assert_eq!((said.as_str(), code), ("ok UNKNOWN\n", Some(0)));
}

#[test]
fn a_new_certificate_is_shown_while_serving() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new(folder, "ca");
    authority.sign_server(0x1001);
    let farol = start(folder, &format!("{TLS}basic_auth_users:\n  ana: {QUICK_HASH}\n"), &[]);
    let url = format!("https://{}/metrics", farol.address);
    let ca = path(folder, "ca.crt");
    let user = format!("ana:{PASSWORD}");
    assert_eq!(status(&url, &["--cacert", &ca, "-u", &user]), 200);
    assert_eq!(status(&url, &["--cacert", &ca]), 401);
    assert_eq!(status(&url, &["-u", &user]), 0, "curl does not trust an unknown authority");
    assert_eq!(serial(&farol.address), "1001");

    // Half of it: certificate and key differ for as long as this stands.
    let key = fs::read_to_string(folder.join("server.key")).unwrap();
    authority.sign_server(0x1002);
    let new_key = fs::read_to_string(folder.join("server.key")).unwrap();
    write(&folder.join("server.key"), &key);
    eventually("the half change is told", || {
        let metrics = body(&url, &["--cacert", &ca, "-u", &user]);
        value_of(&metrics, "farol_web_config_reload_success") == Some(0.0)
    });
    assert_eq!(serial(&farol.address), "1001");
    write(&folder.join("server.key"), &new_key);
    eventually("the new certificate", || serial(&farol.address) == "1002");
    assert_eq!(status(&url, &["--cacert", &ca, "-u", &user]), 200);

    // Plain HTTP is told what to do, not hung up on.
    let answer = try_get(&farol.address, "/metrics", &[]).unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), "this port speaks TLS: ask with https:// and not http\n");
    let (_, error, _) =
        self::farol(&["health", "--data", &path(folder, "elsewhere"), "--listen", &farol.address]);
    assert!(error.contains("answers, but under TLS only"), "{error}");
    prometheus_scrapes(
        folder,
        &farol.address,
        &format!(
            "  scheme: https\n  tls_config: {{ca_file: {ca}}}\n  \
             basic_auth: {{username: ana, password: \"{PASSWORD}\"}}\n"
        ),
    );
}

/// Of the certificate that a new connection is shown.
fn serial(address: &str) -> String {
    let command = format!(
        "{} s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        needs("openssl")
    );
    let (said, _, _) = run(Command::new("sh").args(["-c", &command]));
    said.trim().trim_start_matches("serial=").to_owned()
}

#[test]
fn a_client_that_says_nothing_in_a_handshake_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "ca").sign_server(1);
    let flags = ["--web.header-timeout", "500ms", "--web.max-connections", "4"];
    let farol = start(folder, TLS, &flags);
    let url = format!("https://{}/metrics", farol.address);
    let ca = path(folder, "ca.crt");
    let silent: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(&farol.address).unwrap()).collect();
    eventually("their places are given back", || status(&url, &["--cacert", &ca]) == 200);
    let metrics = body(&url, &["--cacert", &ca]);
    let slow = value_of(&metrics, "farol_http_handshakes_failed_total{reason=\"slow\"}");
    assert_eq!(slow, Some(4.0));
    drop(silent);
}

#[test]
fn a_flood_of_wrong_passwords_does_not_keep_the_right_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // At a cost of 10 the flood below is far more than can be checked at once.
    let hash = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
    let farol = start(folder, &format!("basic_auth_users:\n  ana: {hash}\n"), &[]);
    let url = format!("http://{}/metrics", farol.address);
    let right = ["-u", "ana:fakepassword"];
    assert_eq!(status(&url, &right), 200);
    let codes = folder.join("codes");
    let flood = format!(
        "for guess in $(seq 40); do \
         curl -s -o /dev/null -w '%{{http_code}}\\n' -u ana:guess$guess {url} >> {} & done; wait",
        codes.display()
    );
    let mut guesser =
        Command::new("sh").args(["-c", &flood]).stdout(Stdio::null()).spawn().unwrap();
    let mut during = Vec::new();
    while guesser.try_wait().unwrap().is_none() {
        during.push(status(&url, &right));
    }
    during.push(status(&url, &right));
    assert!(during.iter().all(|status| *status == 200), "{during:?}");
    let codes = fs::read_to_string(&codes).unwrap();
    assert_eq!(codes.lines().count(), 40);
    assert!(codes.lines().all(|code| matches!(code, "401" | "429")), "{codes}");
    assert!(codes.contains("401"), "{codes}");
}

#[test]
fn listening_beyond_loopback_wants_a_closed_door_or_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "ca").sign_server(1);
    write(&folder.join("tls.yml"), TLS);
    write(&folder.join("token"), "s3cret\n");
    let (data, tls, token) = (path(folder, "data"), path(folder, "tls.yml"), path(folder, "token"));
    let told = |command: &str, flags: &[&str]| {
        let own = [command, "--data", &data, "--listen", "0.0.0.0:0"];
        farol(&[&own, flags].concat())
    };
    for command in ["run", "serve", "check"] {
        let (_, error, code) = told(command, &[]);
        assert_eq!(code, Some(1), "{command}: {error}");
        for part in [
            "listen: 0.0.0.0:0 can be reached from other machines, and nobody is asked",
            "listen on 127.0.0.1:0",
            "--web.config.file",
            "--web.bearer-token-files",
            "--web.allow-unauthenticated",
        ] {
            assert!(error.contains(part), "{command}: {error}");
        }
    }
    assert!(!folder.join("data").exists(), "nothing was created");
    let (_, error, code) = told("check", &["--web.config.file", &tls]);
    assert_eq!(code, Some(1));
    assert!(error.contains("TLS alone tells who we are, not who they are"), "{error}");
    let (_, error, _) = told("check", &["--web.bearer-token-files", &token]);
    assert!(error.starts_with("warning: listen: on the way to 0.0.0.0:0 passwords"), "{error}");
    for flags in [
        &["--web.allow-unauthenticated"][..],
        &["--web.bearer-token-files", &token],
        &["--listen", "127.0.0.1:0", "--listen", "[::1]:0"],
    ] {
        let own = ["check", "--data", &data];
        let listen: &[&str] = if flags[0] == "--listen" { &[] } else { &["--listen", "0.0.0.0:0"] };
        let (_, error, code) = farol(&[&own, listen, flags].concat());
        assert_eq!(code, Some(0), "{flags:?}: {error}");
    }
}

#[test]
fn check_names_file_line_and_key_of_a_bad_web_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("web.yml"), "rate_limit:\n  burts: 3\n");
    write(&folder.join("token"), "\n");
    let (yml, token) = (path(folder, "web.yml"), path(folder, "token"));
    let mut command = Command::new(FAROL);
    command.args(["check", "--web.config.file", &yml, "--web.bearer-token-files", &token]);
    let (_, error, code) = run(command.env_remove("FAROL_CONFIG"));
    assert_eq!(code, Some(1));
    let expected = format!(
        "{yml}:2: unknown key \"rate_limit.burts\"; did you mean \"burst\"?\n\
         {token}: is empty; a token file holds one token\n"
    );
    assert_eq!(error, expected);
}

#[test]
fn more_requests_than_the_rate_get_429_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let farol = start(folder.path(), "rate_limit:\n  interval: 1h\n  burst: 3\n", &[]);
    for _ in 0..3 {
        assert_eq!(farol.get("/metrics").status, 200);
    }
    let answer = farol.get("/metrics");
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.text().starts_with("more requests than rate_limit allows"));
    assert_eq!(farol.get("/-/healthy").status, 200);
}

#[test]
fn headers_of_the_file_stand_on_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let yml = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    \
               Content-Security-Policy: default-src 'self'\n";
    let farol = start(folder.path(), yml, &[]);
    for path in ["/", "/metrics", "/nothing", "/-/healthy"] {
        let answer = farol.get(path);
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{path}");
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'self'"), "{path}");
    }
}

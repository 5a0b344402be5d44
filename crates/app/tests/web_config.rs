//! `web.yml` from outside: files and what is said of them as data, in `web_config/`. `UPDATE=1`
//! rewrites what is expected. Certificates and keys are made anew for each run; a line `@NAME@`
//! stands for the text of one.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![expect(clippy::disallowed_methods, reason = "a test reads and rewrites its own examples")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use farol::config::web_yml::{self, WebYml};
use farol_web::door::Door;
use rcgen::{CertificateParams, IsCa, KeyPair};

/// The files that the examples name.
struct Folder(BTreeMap<PathBuf, String>);

impl Folder {
    fn new() -> Folder {
        let pair = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = pair("localhost");
        let (_, other_key) = pair("other.example");
        let authority = {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let (cut, _) = certificate.split_at(certificate.len() / 2);
        let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let files = [
            ("/etc/farol/server.crt", certificate.clone()),
            ("/etc/farol/server.key", key.clone()),
            ("/certs/server.crt", certificate.clone()),
            ("/certs/server.key", key),
            ("/etc/farol/other.key", other_key),
            ("/etc/farol/ca.crt", authority),
            ("/etc/farol/cut.crt", cut.to_owned()),
            ("/etc/farol/noise.crt", noise),
            ("/etc/farol/encrypted.key", encrypted),
        ];
        Folder(files.map(|(path, text)| (path.into(), text)).into())
    }

    /// With each `@NAME@` replaced, as far indented as it stands.
    fn fill(&self, template: &str) -> String {
        let line = |line: &str| {
            let word = line.trim_start();
            let name = word.strip_prefix('@').and_then(|word| word.strip_suffix('@'));
            let Some(name) = name else { return format!("{line}\n") };
            let (indent, _) = line.split_at(line.len() - word.len());
            let text = &self.0[&Path::new("/etc/farol").join(name)];
            text.lines().map(|line| format!("{indent}{line}\n")).collect()
        };
        template.lines().map(line).collect()
    }

    fn read(&self, text: &str) -> WebYml {
        let own = Path::new("/etc/farol/web.yml");
        web_yml::read(own, &|path, most| {
            let found = if path == own { Some(text) } else { self.0.get(path).map(String::as_str) };
            let bytes = found.ok_or(io::ErrorKind::NotFound)?.bytes();
            Ok(bytes.take(usize::try_from(most).unwrap()).collect())
        })
    }
}

/// Accepted or not, and what it came to.
fn verdict(read: &WebYml) -> String {
    let warnings = read.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    match &read.door {
        Ok(door) => format!("accepted\n{}{}", described(door), warnings.collect::<String>()),
        Err(problems) => format!("{problems}\n"),
    }
}

fn described(door: &Door) -> String {
    let mut text = String::new();
    if let Some(tls) = &door.tls {
        let clients = if tls.verifies_clients() { ", clients verified" } else { "" };
        text.push_str(&format!("tls{clients}\n"));
    }
    if !door.users.is_empty() {
        text.push_str(&format!("{:?}\n", door.users));
    }
    for (name, value) in &door.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    if let Some(rate) = door.rate {
        text.push_str(&format!("{} at once, then one each {:?}\n", rate.burst, rate.interval));
    }
    text
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web_config");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut examples: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == "yml")).collect();
    examples.sort();
    assert!(examples.len() >= 40, "only {} examples were found", examples.len());
    examples
}

#[test]
fn each_file_is_judged_as_its_name_says_in_the_expected_words() {
    let folder = Folder::new();
    for path in examples() {
        let text = folder.fill(&std::fs::read_to_string(&path).unwrap());
        let read = folder.read(&text);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(read.door.is_ok(), name.starts_with("good_"), "{name}: {}", verdict(&read));
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, verdict(&read)).unwrap();
        }
        let held = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(held, verdict(&read), "{} differs; UPDATE=1 rewrites it", expected.display());
    }
}

#[test]
fn no_two_bad_files_say_the_same() {
    let mut seen = BTreeMap::new();
    for path in examples() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path.with_extension("expected")).unwrap();
        if name.starts_with("bad_")
            && let Some(other) = seen.insert(text, name.clone())
        {
            panic!("{name} and {other} expect the same");
        }
    }
}

#[test]
fn what_was_read_is_what_is_watched_even_when_it_is_not_there() {
    let text = "tls_server_config:\n  cert_file: none.crt\n  key_file: /certs/server.key\n  \
                client_ca_file: ca.crt\n";
    let files = Folder::new().read(text).files;
    let expected =
        ["/etc/farol/web.yml", "/etc/farol/none.crt", "/certs/server.key", "/etc/farol/ca.crt"];
    assert_eq!(files, expected.map(PathBuf::from));
}

#[test]
fn no_message_holds_a_hash_or_a_key() {
    let folder = Folder::new();
    for path in examples() {
        let text = folder.fill(&std::fs::read_to_string(&path).unwrap());
        let read = folder.read(&text);
        let said = format!("{} {read:?}", verdict(&read));
        let secrets = folder.0.values().filter(|text| text.contains("PRIVATE KEY"));
        for line in secrets.flat_map(|text| text.lines()).filter(|line| line.len() > 40) {
            assert!(!said.contains(line), "{}", path.display());
        }
        for secret in ["hunter2", "CCCCCC", "QOauhQNbBCuQ"] {
            assert!(!said.contains(secret), "{}: {said}", path.display());
        }
    }
}

#[test]
fn a_file_that_cannot_be_taken_at_all_is_told_as_a_whole() {
    let problem = |bytes: Option<Vec<u8>>| {
        let read = web_yml::read(Path::new("web.yml"), &|_, _| {
            bytes.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
        });
        read.door.unwrap_err().to_string()
    };
    assert_eq!(problem(None), "web.yml: cannot be read: there is no such file");
    assert_eq!(problem(Some(vec![0xff])), "web.yml: is not UTF-8");
    assert_eq!(
        problem(Some(vec![b'#'; (1 << 20) + 1])),
        "web.yml: is larger than 1 MiB; that is no configuration"
    );
}

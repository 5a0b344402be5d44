//! The configuration from outside: files and their messages as data, the order of the sources,
//! secrets, and the generated pages. `UPDATE=1` rewrites what is expected.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use farol::config::{self, Facts, Inputs, Loaded, Problems};
use farol_collect::{
    Host,
    view::{Found, Given},
};
use proptest::prelude::*;

/// A machine with these files, where nothing is writable.
#[derive(Clone, Default)]
struct Machine {
    files: BTreeMap<PathBuf, Vec<u8>>,
    environment: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Machine {
        Machine::default().variable("HOME", "/home/ana")
    }

    /// With this text as the file named on the command line.
    fn with_file(text: impl Into<Vec<u8>>) -> Machine {
        Machine::new().file("farol.yml", text).flag("config", "farol.yml")
    }

    fn file(mut self, path: &str, text: impl Into<Vec<u8>>) -> Machine {
        self.files.insert(path.into(), text.into());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Machine {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Machine {
        self.flags.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, Problems> {
        let read = |path: &Path, most: u64| {
            let bytes = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(bytes.iter().copied().take(usize::try_from(most).unwrap()).collect())
        };
        let facts = Facts {
            root: false,
            read: &read,
            writable: &|_| false,
            find_machine: &in_no_container,
            host_name: &|_| Some("test-host".into()),
        };
        let (flags, environment) = (self.flags.clone(), self.environment.clone());
        config::load(&Inputs { flags, environment, facts })
    }

    fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn bad(&self) -> String {
        self.load().expect_err("must not load").to_string()
    }
}

/// A machine of which nothing has to be looked for, but what is given is taken.
fn in_no_container(given: &Given) -> Found {
    let local = Host::local();
    let root = given.root.clone().unwrap_or(local.root);
    let proc = given.proc.clone().unwrap_or(local.proc);
    let host = Host {
        net: proc.join("net"),
        name: proc.join("sys/kernel/hostname"),
        sys: given.sys.clone().unwrap_or(local.sys),
        run: given.run.clone().unwrap_or_else(|| root.join("run")),
        proc,
        root,
    };
    let (proc, sys, root) = ("the usual place", "the usual place", "the usual place");
    Found { host, proc, sys, root, run: "below path.rootfs", name: "the machine's own name" }
}

/// The rows that are not as they would be without any configuration.
fn changed(loaded: &Loaded) -> String {
    let plain = Machine::new().good().effective.rows;
    let rows = loaded.effective.rows.iter().zip(plain);
    let rows = rows.filter(|(row, plain)| **row != *plain);
    rows.map(|(row, _)| format!("{} = {} [{}]\n", row.key, row.shown, row.origin)).collect()
}

fn row(loaded: &Loaded, key: &str) -> (String, String) {
    let row = loaded.effective.rows.iter().find(|row| row.key == key).unwrap();
    (row.shown.clone(), row.origin.clone())
}

#[test]
fn each_bad_file_says_what_is_wrong_and_where() {
    let tried = each_example("bad_config", |text| Machine::with_file(text).bad() + "\n");
    assert!(tried >= 25, "only {tried} bad files were found");
}

#[test]
fn each_good_file_means_what_it_says() {
    let tried = each_example("good_config", |text| {
        let loaded = Machine::with_file(text).good();
        let warnings = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        changed(&loaded) + &warnings.collect::<String>()
    });
    assert!(tried >= 5, "only {tried} good files were found");
}

#[test]
fn no_two_bad_files_say_the_same() {
    let folder = tests().join("bad_config");
    let mut seen = BTreeMap::new();
    for path in list(&folder).into_iter().filter(|path| has_extension(path, "expected")) {
        let text = String::from_utf8(read(&path)).unwrap();
        if let Some(other) = seen.insert(text, path.clone()) {
            panic!("{} and {} expect the same", path.display(), other.display());
        }
    }
}

#[test]
fn the_reference_page_is_that_of_the_table() {
    compare(&root().join("docs/reference/configuration.md"), &config::docs::reference());
}

#[test]
fn the_example_file_is_that_of_the_table() {
    compare(&root().join("infra/farol.example.yml"), &config::docs::example());
}

#[test]
fn the_example_file_is_exactly_the_defaults() {
    let loaded = Machine::with_file(config::docs::example()).good();
    assert_eq!(loaded.config, Machine::new().good().config);
}

#[test]
fn what_the_example_file_comments_out_is_valid_too() {
    let uncommented: String = config::docs::example()
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => line.replacen('#', "", 1) + "\n",
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = Machine::with_file(uncommented).good();
    let given = |row: &&config::Row| row.origin.starts_with("farol.yml:");
    assert_eq!(loaded.effective.rows.iter().filter(given).count(), config::SETTINGS.len() - 2);
}

#[test]
fn every_default_reaches_the_typed_configuration() {
    let config = Machine::new().good().config;
    assert_eq!(config.interval, Duration::from_secs(1));
    assert_eq!(config.listen, ["127.0.0.1:8000".parse().unwrap()]);
    assert_eq!(config.data, Path::new("/home/ana/.local/state/farol"));
    assert_eq!(config.logs, Path::new("/home/ana/.local/state/farol/logs"));
    assert_eq!(config.host, Host::local());
    assert_eq!(&*config.host_name, "test-host");
    let week = config::Retention { age: Duration::from_secs(7 * 86_400), size: 512 << 20 };
    for stream in farol_model::Stream::ALL {
        assert_eq!(config.journal.retention(stream), week);
    }
    assert_eq!(config.probes.icmp.len(), 1);
    assert_eq!(config.probes.icmp[0].target, config::Target::Gateway);
    let on: Vec<_> = config.collectors.entries().iter().map(|entry| entry.name).collect();
    assert_eq!(on, config.collectors.on);
    assert!(config.collectors.is_on("cpu"));
    // A zero or an empty text here is a key that `build` and the table spell differently.
    let dump = format!("{config:?}");
    for empty in [": 0ns", ": \"\"", "\"\")", "_size: 0", "max_connections: 0", "keep: 0"] {
        assert!(!dump.contains(empty), "{empty} in {dump}");
    }
}

#[test]
fn collectors_are_told_the_default_patterns_by_default() {
    let config = Machine::new().good().config;
    let options = config::collect_options(
        &config,
        Default::default(),
        Default::default(),
        Default::default(),
    );
    let defaults = farol_collect::Options::default();
    // Boards aside, both print the same.
    assert_eq!(format!("{options:?}"), format!("{defaults:?}"));
}

#[test]
fn flags_count_more_than_the_environment_and_that_more_than_the_file() {
    let file = Machine::with_file("interval: 2s\nslow_interval: 20s\nlisten: ':1'\n");
    let variable = file.variable("FAROL_INTERVAL", "3s").variable("FAROL_SLOW_INTERVAL", "30s");
    let loaded = variable.flag("interval", "4s").good();
    let expected = |shown: &str, origin: &str| (shown.to_owned(), origin.to_owned());
    assert_eq!(row(&loaded, "interval"), expected("4s", "flag --interval"));
    assert_eq!(row(&loaded, "slow_interval"), expected("30s", "environment FAROL_SLOW_INTERVAL"));
    assert_eq!(row(&loaded, "listen"), expected("[::]:1", "farol.yml:3"));
    assert_eq!(row(&loaded, "log.level"), expected("info", "default"));
    assert_eq!(loaded.config.interval, Duration::from_secs(4));
}

#[test]
fn every_setting_can_be_given_by_variable_and_by_each_of_its_flags() {
    for setting in config::SETTINGS {
        let value = if setting.default.is_empty() { setting.example } else { setting.default };
        let loaded = Machine::new().variable(&setting.variable(), value).good();
        if !setting.key.ends_with("able") {
            let origin = format!("environment {}", setting.variable());
            assert_eq!(row(&loaded, setting.key).1, origin);
        }
        let aliases = setting.aliases.iter().map(|alias| alias.flag.to_owned());
        for flag in setting.flag().into_iter().chain(aliases) {
            let loaded = Machine::new().flag(&flag, value).good();
            assert_eq!(row(&loaded, setting.key).1, format!("flag --{flag}"));
        }
    }
}

#[test]
fn other_programs_names_mean_ours() {
    let loaded = Machine::new()
        .flag("web.listen-address", ":9100")
        .flag("listen", "127.0.0.1:1")
        .flag("storage.tsdb.retention.time", "15d")
        .flag("storage.tsdb.retention.size", "1GB")
        .flag("path.rootfs", "/host")
        .flag("path.procfs", "/host/proc")
        .flag("log.format", "logfmt")
        .flag("collector.netdev.device-blacklist", "^veth")
        .good();
    let config = loaded.config;
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.store.retention, Duration::from_secs(15 * 86_400));
    assert_eq!(config.store.max_size, 1_000_000_000);
    assert_eq!(config.host.run, Path::new("/host/run"));
    assert_eq!(config.log.format, config::Format::Human);
    assert_eq!(config.collectors.netdev_device_exclude.0.as_str(), "^veth");
    assert_eq!(
        loaded.warnings,
        [
            "flag --collector.netdev.device-blacklist is deprecated; use --collector.netdev.device-exclude"
        ]
    );
}

#[test]
fn collectors_are_switched_source_by_source() {
    let file = "collectors:\n  disable_defaults: true\n  enable: [cpu, loadavg]\n";
    let machine = Machine::with_file(file).variable("FAROL_COLLECTORS_DISABLE", "cpu");
    assert_eq!(machine.good().config.collectors.on, ["loadavg"]);
    let machine = machine.flag("no-collector.loadavg", "true").flag("collector.cpu", "true");
    let loaded = machine.good();
    assert_eq!(loaded.config.collectors.on, ["cpu"]);
    let expected = |shown: &str, origin: &str| (shown.to_owned(), origin.to_owned());
    assert_eq!(row(&loaded, "collectors.enable"), expected("cpu", "flag --collector.cpu"));
    assert_eq!(
        row(&loaded, "collectors.disable"),
        expected("loadavg", "flag --no-collector.loadavg")
    );
    // Of two flags, the last word counts.
    let loaded = machine.flag("no-collector.cpu", "true").good();
    assert!(loaded.config.collectors.on.is_empty());
    // `--collector.x=false` is `--no-collector.x`.
    let loaded = Machine::new().flag("collector.cpu", "false").good();
    assert!(!loaded.config.collectors.is_on("cpu"));
}

#[test]
fn the_file_is_named_by_flag_else_variable_else_it_is_the_usual_one() {
    let usual = Machine::new().file("/etc/farol/farol.yml", "interval: 2s\n");
    let variable = usual.clone().file("b.yml", "interval: 3s\n").variable("FAROL_CONFIG", "b.yml");
    let flag = variable.clone().file("c.yml", "interval: 4s\n").flag("config.file", "c.yml");
    for (machine, origin) in
        [(usual, "/etc/farol/farol.yml:1"), (variable, "b.yml:1"), (flag, "c.yml:1")]
    {
        assert_eq!(row(&machine.good(), "interval").1, origin);
    }
    assert_eq!(Machine::new().good().file, None);
    assert_eq!(
        Machine::new().variable("FAROL_CONFIG", "none.yml").bad(),
        "none.yml: cannot be read: there is no such file (named by environment FAROL_CONFIG)"
    );
}

#[test]
fn problems_of_all_sources_are_told_at_once() {
    let machine = Machine::with_file("intervall: 1s\n")
        .variable("FAROL_SLOW_INTERVAL", "soon")
        .flag("listen", "nowhere")
        .flag("lissten", ":1");
    assert_eq!(
        machine.bad(),
        "farol.yml:1: unknown key \"intervall\"; did you mean \"interval\"?\n\
         environment FAROL_SLOW_INTERVAL: slow_interval: \"soon\" is not a duration; write it like 500ms, 10s, 1m30s or 7d\n\
         flag --lissten: unknown flag; did you mean \"listen\"?\n\
         flag --listen: listen: \"nowhere\" is not an address; write it like 127.0.0.1:8000, [::1]:8000 or :8000"
    );
}

#[test]
fn the_machine_s_own_name_is_a_name_to_ask_under_unless_it_is_no_name() {
    let hosts = |machine: Machine| machine.good().config.web.allowed_hosts;
    let named = |name: &str| Machine::new().flag("host-name", name);
    assert_eq!(hosts(Machine::new()), ["test-host"]);
    let given = named("web-1").flag("web.allowed-hosts", "mon.example.org");
    assert_eq!(hosts(given), ["mon.example.org", "web-1"]);
    assert!(hosts(named("*")).is_empty(), "any text may be a host_name");
    assert!(hosts(named("Ana's laptop")).is_empty());
}

#[test]
fn an_empty_variable_is_not_set_and_none_is_the_empty_list() {
    let machine =
        Machine::new().variable("FAROL_INTERVAL", "").variable("FAROL_PROBES_ICMP", "none");
    let config = machine.good().config;
    assert_eq!(config.interval, Duration::from_secs(1));
    assert!(config.probes.icmp.is_empty());
    assert!(Machine::new().flag("listen", "none").good().config.listen.is_empty());
}

#[test]
fn a_variable_with_bytes_that_are_no_text_is_refused() {
    assert_eq!(
        Machine::new().variable("FAROL_DATA", "/srv/\u{fffd}").bad(),
        "environment FAROL_DATA: data is not UTF-8"
    );
}

#[test]
fn only_a_variable_that_looks_misspelt_is_warned_about() {
    let machine = Machine::with_file("host_name: ${env:FAROL_HOST_NAM}\n")
        .variable("FAROL_HOST_NAM", "x")
        .variable("FAROL_PORT_8000_TCP_ADDR", "10.0.0.1")
        .variable("FAROL_LISTENN", ":1");
    assert_eq!(
        machine.good().warnings,
        ["environment variable \"FAROL_LISTENN\" is not a setting; did you mean FAROL_LISTEN?"]
    );
}

#[test]
fn a_secret_is_used_and_never_shown() {
    let file = "host_name: 'a-${env:TOKEN}'\ngroup: ${cred:group}\n\
                listen: ['${file:/run/secret}']\nprobes: {tcp: [{target: '${env:TOKEN}:1'}]}\n";
    let machine = Machine::with_file(file)
        .variable("TOKEN", "hunter2")
        .variable("CREDENTIALS_DIRECTORY", "/creds")
        .file("/creds/group", "hunter3\n")
        .file("/run/secret", "127.7.7.7:7\n");
    let loaded = machine.good();
    assert_eq!(&*loaded.config.host_name, "a-hunter2");
    assert_eq!(loaded.config.group, Some(config::Group::Name("hunter3".into())));
    assert_eq!(loaded.config.listen, ["127.7.7.7:7".parse().unwrap()]);
    let shown = changed(&loaded);
    assert_eq!(
        shown,
        "listen = <redacted> [farol.yml:3]\n\
         group = <redacted> [farol.yml:2]\n\
         host_name = a-<redacted> [farol.yml:1]\n\
         probes.tcp = <redacted>:1 [farol.yml:4]\n"
    );
}

#[test]
fn what_follows_from_a_secret_is_not_shown_either() {
    let machine = Machine::with_file(
        "host_name: ${env:TOKEN}\njournal:\n  retention:\n    size: ${env:SIZE}\n",
    )
    .variable("TOKEN", "hunter2")
    .variable("SIZE", "77777777");
    let shown = changed(&machine.good());
    assert!(!shown.contains("hunter2") && !shown.contains("7777"), "{shown}");
}

#[test]
fn no_message_about_a_secret_holds_it() {
    for key in config::SETTINGS.iter().map(|setting| setting.key) {
        for value in ["hunter2 \u{7} [", "5", "~hunter2", "/hunter2[", "hunter2:99999"] {
            let mut text = String::new();
            for (level, part) in key.split('.').enumerate() {
                text.push_str(&format!("\n{}{part}:", "  ".repeat(level)));
            }
            text.push_str(" \"${env:TOKEN}\"\n");
            if let Err(problems) = Machine::with_file(text).variable("TOKEN", value).load() {
                // The key may look like a part of the secret.
                let all = format!("{problems} {problems:?}").replace(key, "");
                assert!(!all.contains("hunter2"), "{key}: {all}");
                assert!(!all.contains("5s"), "{key}: {all}");
            }
        }
    }
}

#[test]
fn a_file_of_the_wrong_size_or_bytes_is_refused_with_its_place() {
    assert_eq!(
        Machine::with_file(vec![b'#'; 2 << 20]).bad(),
        "farol.yml: is larger than 1 MiB; that is no configuration (named by flag --config)"
    );
    assert_eq!(
        Machine::with_file(b"interval: 1s\nhost_name: \xff\n").bad(),
        "farol.yml:2: is not UTF-8 (named by flag --config)"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    let loaded = Machine::with_file("\u{feff}interval: 2s\r\nlog:\r\n  level: debug\r\n").good();
    assert_eq!(loaded.config.interval, Duration::from_secs(2));
    assert_eq!(row(&loaded, "log.level").1, "farol.yml:3");
}

#[test]
fn a_file_made_to_exhaust_is_refused_quickly() {
    let laughs: String =
        (1..60).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)).collect();
    for text in [
        "- ".repeat(500_000),
        "[".repeat(1_000_000),
        "{a: ".repeat(250_000),
        "? ".repeat(500_000),
        format!("a0: &a0 x\n{laughs}"),
        (0..20_000).map(|number| format!("key{number}:\n")).collect(),
        format!("interval: {}\n", "x".repeat(1_000_000)),
        format!("{}: 1s\n", "x".repeat(1_000_000)),
        format!("listen: [{}]\n", ":1, ".repeat(20_000)),
        "&a ".repeat(300_000),
        "'".repeat(1_000_000),
        "\"\\\n".repeat(300_000),
        "a: |\n".to_owned() + &" x\n".repeat(50_000),
        "a:\n ".repeat(1000),
        "!".repeat(1_000_000),
        "%".repeat(1_000_000),
        "a: b: ".repeat(100_000),
        "a".to_owned() + &"\n".repeat(200_000),
        "a\n".repeat(50_000),
        "a, ".repeat(50_000),
        "[a, ".repeat(250) + &"a, ".repeat(20_000),
        "- a\n".repeat(50_000),
        "interval: ".to_owned() + &"${env:X}".repeat(20_000),
        "\n---\n".repeat(200_000),
    ] {
        let message = Machine::with_file(text).bad();
        assert!(message.len() < 10_000 && message.starts_with("farol.yml"), "{message:.200}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Machine::with_file(bytes).load());
    }

    #[test]
    fn no_yaml_is_too_odd(pieces in proptest::collection::vec(piece(), 0..40)) {
        let _message = Machine::with_file(pieces.concat()).load().map_err(|error| error.to_string());
    }

    #[test]
    fn no_value_is_too_odd(which in 0..config::SETTINGS.len(), value in "\\PC{0,20}") {
        let setting = &config::SETTINGS[which];
        let machine = Machine::new().variable(&setting.variable(), &value);
        // A value that is taken is shown in a form that is taken and shown again.
        if let Ok(loaded) = machine.load() && !value.contains("${") && !value.is_empty() {
            let (shown, _) = row(&loaded, setting.key);
            let again = Machine::new().variable(&setting.variable(), &shown).good();
            prop_assert_eq!(loaded.config, again.config);
        }
    }
}

/// What YAML files are made of, and what breaks their parsers.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "interval",
        "web",
        "journal",
        "listen",
        "probes",
        "icmp",
        "target",
        "collectors",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "-",
        "[",
        "]",
        "{",
        "}",
        ",",
        ", ",
        "&a ",
        "*a",
        "<<",
        "!!str ",
        "!x ",
        "? ",
        "|",
        "|2-",
        ">",
        ">+\n",
        "'",
        "\"",
        "\\",
        "#",
        " #",
        "%YAML 1.2\n",
        "%TAG ! x\n",
        "---",
        "--- ",
        "\n---\n",
        "...",
        "\t",
        "\r",
        "\r\n",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "~",
        "null",
        "1s",
        "é",
        "${env:X}",
        "@",
        "`",
        " ",
    ];
    prop_oneof![
        4 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
}

/// Loads each `NAME.yml` of a folder and compares the answer with `NAME.expected`.
fn each_example(folder: &str, answer: impl Fn(Vec<u8>) -> String) -> usize {
    let files: Vec<_> = list(&tests().join(folder));
    let files: Vec<_> = files.into_iter().filter(|path| has_extension(path, "yml")).collect();
    for path in &files {
        compare(&path.with_extension("expected"), &answer(read(path)));
    }
    files.len()
}

fn compare(path: &Path, found: &str) {
    if std::env::vars_os().any(|(name, _)| name == "UPDATE") {
        return write(path, found);
    }
    let expected = String::from_utf8(read(path)).unwrap();
    assert_eq!(expected, found, "{} differs; UPDATE=1 rewrites it", path.display());
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "a test writes what it expects")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

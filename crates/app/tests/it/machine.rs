//! A machine with parts that break: Farol reads of them in a text file, and a rule fires for each that
//! is broken.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use crate::world::{FAROL, Farol, write};

const RULES: &str = "groups:
  - name: parts
    interval: 1s
    rules:
      - alert: PartBroken
        expr: part_broken == 1
        labels: {severity: critical}
        annotations:
          summary: 'Part {{ $labels.part }} is broken'
          description: 'Put another in its place.'
";

pub(crate) struct Machine {
    world: tempfile::TempDir,
}

impl Machine {
    /// All of it is well.
    pub(crate) fn new() -> Machine {
        let machine = Machine { world: tempfile::tempdir().unwrap() };
        write(&machine.path("rules.yml"), RULES);
        fs::create_dir(machine.path("texts")).unwrap();
        machine.broken(&[]);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    /// These parts are broken from now on, among `a` and `b`.
    pub(crate) fn broken(&self, parts: &[&str]) {
        let line =
            |part| format!("part_broken{{part=\"{part}\"}} {}\n", u8::from(parts.contains(&part)));
        let next = self.path("parts.prom.next");
        write(&next, &["a", "b"].map(line).concat());
        fs::rename(&next, self.path("texts/parts.prom")).unwrap();
    }

    /// What stands below `notify:`, and more.
    pub(crate) fn configure(&self, notify: &str) {
        let rules = self.path("rules.yml").display().to_string();
        let text = format!(
            "web: {{external_url: 'http://farol.example'}}\n\
             rules: {{stock: false, files: ['{rules}']}}\nnotify:\n{notify}"
        );
        let config = self.path("farol.yml");
        write(&config, &text);
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Until it is ready.
    pub(crate) fn start(&self, environment: &[(&str, String)]) -> Farol {
        let mut command = Command::new(FAROL);
        command.arg("run").envs(environment.iter().map(|(name, value)| (name, value)));
        let texts = format!("--collector.textfile.directory={}", self.path("texts").display());
        let config = self.path("farol.yml");
        let flags = [
            "--config.file",
            config.to_str().unwrap(),
            "--interval=200ms",
            "--slow-interval=1s",
            &texts,
        ];
        let farol = Farol::spawn(command, self.world.path(), &flags);
        farol.wait_until_ready();
        farol
    }

    /// `farol ARGUMENTS` with this configuration; its output, its complaints and its exit code.
    pub(crate) fn farol(
        &self,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> (String, String, Option<i32>) {
        let mut command = Command::new(FAROL);
        command.args(arguments).env_remove("FAROL_CONFIG");
        command.arg("--config.file").arg(self.path("farol.yml"));
        command.arg("--data").arg(self.path("data")).arg("--logs").arg(self.path("logs"));
        crate::world::run(command.envs(environment.iter().map(|(name, value)| (name, value))))
    }

    /// The files below it that hold a text.
    pub(crate) fn files_with(&self, text: &str) -> String {
        crate::world::run(Command::new("grep").args(["-rl", text]).arg(self.world.path())).0
    }
}

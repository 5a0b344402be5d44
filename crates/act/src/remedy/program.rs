//! Any program, by absolute path and with arguments; no shell reads them.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use rustix::thread::CapabilitySet;

use super::{
    BuiltIn, Fault, Field, FieldKind, Fields, HOUR, Job, NotGranted, Outcome, Surroundings,
    Treatment,
    child::{self, Program, User},
    fields::Default,
    grant,
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "program",
    about: "Runs the program `path` with `args`, without a shell, with an environment of PATH, LC_ALL and \
            what is known of the alert (FAROL_REMEDY, FAROL_ALERT, FAROL_SEVERITY, FAROL_VALUE, \
            FAROL_LABEL_…), in its own process group, which ends with it. The path must be one that \
            only root and Farol's user can change.",
    cooldown: HOUR,
    is_default: false,
    fields: &[
        Field {
            name: "path",
            kind: FieldKind::Text,
            default: None,
            help: "The program's absolute path.",
        },
        Field {
            name: "args",
            kind: FieldKind::Texts,
            default: Some(Default::Texts(&[])),
            help: "Its arguments, as they are.",
        },
        Field {
            name: "user",
            kind: FieldKind::Text,
            default: Some(Default::Text("")),
            help: "The user it runs as, by name or number; the user's main group and no other. \
                   Without it, who Farol runs as.",
        },
        Field {
            name: "rehearse_args",
            kind: FieldKind::Texts,
            default: Some(Default::Texts(&[])),
            help: "Arguments with which it only says what it would do; without them a dry run starts \
                   nothing.",
        },
    ],
    build,
};

#[derive(Clone, PartialEq, Eq)]
struct AnyProgram {
    path: PathBuf,
    args: Vec<String>,
    user: String,
    rehearse_args: Vec<String>,
}

/// Its arguments may hold secrets.
impl fmt::Debug for AnyProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyProgram").field("path", &self.path).finish_non_exhaustive()
    }
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let path = PathBuf::from(fields.text("path"));
    let is_plain = path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..");
    if !is_plain {
        let why = format!("{} is not an absolute path: no PATH is searched", path.display());
        return Err(Fault::new("path", why));
    }
    let args = fields.texts("args");
    let rehearse_args = fields.texts("rehearse_args");
    if args.iter().chain(&rehearse_args).any(|argument| argument.contains('\0')) {
        return Err(Fault::new("args", "hold a NUL character"));
    }
    let user = fields.text("user").to_owned();
    Ok(Arc::new(AnyProgram { path, args, user, rehearse_args }))
}

impl Treatment for AnyProgram {
    /// Its arguments may hold secrets.
    fn what(&self) -> String {
        let user = if self.user.is_empty() { String::new() } else { format!(" as {}", self.user) };
        let arguments = match self.args.len() {
            0 => String::new(),
            1 => " with 1 argument".to_owned(),
            count => format!(" with {count} arguments"),
        };
        format!("run {}{arguments}{user}", self.path.display())
    }

    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        let path = self.path.display();
        child::is_safe(&self.path).map_err(|why| {
            NotGranted::new(why, format!("{path} must be a program that only root can change"))
        })?;
        let Some(user) = self.user().map_err(|why| NotGranted::new(why, "name one that exists"))?
        else {
            return Ok(());
        };
        if user.id == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        grant::needs(CapabilitySet::SETUID, "CAP_SETUID", "running as another user")?;
        grant::needs(CapabilitySet::SETGID, "CAP_SETGID", "running as another user")
    }

    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        if self.rehearse_args.is_empty() {
            return Outcome::good(format!("would {}", self.what()));
        }
        self.start(job, &self.rehearse_args)
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        self.start(job, &self.args)
    }
}

impl AnyProgram {
    fn start(&self, job: &Job<'_>, arguments: &[String]) -> Outcome {
        // Looked at again, now: what was safe at the start may not be.
        if let Err(why) = child::is_safe(&self.path) {
            return Outcome::bad(format!("not run: {why}"));
        }
        let user = match self.user() {
            Ok(user) => user.filter(|user| user.id != rustix::process::geteuid().as_raw()),
            Err(why) => return Outcome::bad(format!("not run: {why}")),
        };
        let path = self.path.clone();
        let environment = environment(job);
        child::run(&Program { path, arguments: arguments.to_vec(), environment, user }, job.leash)
    }

    fn user(&self) -> Result<Option<User>, String> {
        if self.user.is_empty() {
            return Ok(None);
        }
        let users =
            std::fs::read("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        let users = String::from_utf8_lossy(&users);
        find_user(&users, &self.user).map(Some)
    }
}

fn find_user(users: &str, wanted: &str) -> Result<User, String> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<String>>();
    let mut found = users.lines().map(fields).filter(|fields| {
        let field = |at: usize| fields.get(at).map(String::as_str);
        field(0) == Some(wanted) || field(2) == Some(wanted)
    });
    let fields = found.next().ok_or_else(|| format!("/etc/passwd has no user {wanted}"))?;
    let number = |at: usize| fields.get(at).and_then(|text| text.parse().ok());
    match (number(2), number(3)) {
        (Some(id), Some(group)) => Ok(User { id, group }),
        _ => Err(format!("the line of {wanted} in /etc/passwd is damaged")),
    }
}

/// The alert, for a script; a label's name is one of capitals, digits and `_`.
fn environment(job: &Job<'_>) -> BTreeMap<String, String> {
    const MOST_LABELS: usize = 64;
    let mut environment = child::environment();
    let mut set = |name: &str, value: &str| {
        environment.insert(name.to_owned(), value.replace('\0', ""));
    };
    set("FAROL_REMEDY", job.name);
    let Some(alert) = job.alert else { return environment };
    set("FAROL_ALERT", alert.name());
    set("FAROL_SEVERITY", alert.severity().unwrap_or_default());
    set("FAROL_VALUE", &alert.value.to_string());
    for (name, value) in alert.labels.iter().take(MOST_LABELS) {
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        set(&format!("FAROL_LABEL_{plain}"), value);
    }
    environment
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the programs that they start")]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        path::Path,
        sync::{Mutex, PoisonError},
    };

    use farol_model::{Alert, Labels, Phase, Timestamp};

    use super::*;
    use crate::remedy::Leash;

    /// While one thread has a new program open to write, another's child has it too, and the kernel
    /// starts none that is being written: one at a time.
    static STARTS: Mutex<()> = Mutex::new(());

    fn alert() -> Alert {
        let labels = Labels::new(vec![
            ("alertname".into(), "Disk Full".into()),
            ("mount-point".into(), "/; rm -rf $HOME `id`\n".into()),
            ("severity".into(), "critical".into()),
        ]);
        Alert {
            group: "g".into(),
            rule: "r".into(),
            labels,
            annotations: Labels::empty(),
            series: Labels::empty(),
            value: 95.5,
            phase: Phase::Firing,
            active_at: Timestamp::default(),
            fired_at: None,
            keeping_since: None,
            missing_since: None,
            unseen: 0,
            seen_at: Timestamp::default(),
            ended_at: None,
            firings: Vec::new(),
            is_flapping: false,
            remedy: None,
        }
    }

    /// Below our own build folder: others may write to `/tmp`.
    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("script");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn safe_folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn program(path: PathBuf, args: &[&str]) -> AnyProgram {
        let args = args.iter().map(|argument| (*argument).to_owned()).collect();
        AnyProgram { path, args, user: String::new(), rehearse_args: Vec::new() }
    }

    fn run(program: &AnyProgram, leash: &Leash) -> Outcome {
        let alert = alert();
        let surroundings = Surroundings::default();
        let job = Job {
            name: "mine",
            now: Timestamp::default(),
            alert: Some(&alert),
            leash,
            surroundings: &surroundings,
        };
        // On a thread that ends, as what it is denied stays denied.
        std::thread::scope(|scope| scope.spawn(|| program.run(&job)).join().unwrap())
    }

    fn run_script(text: &str, args: &[&str]) -> Outcome {
        let _alone = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = safe_folder();
        run(&program(script(folder.path(), text), args), &Leash::default())
    }

    #[test]
    fn it_is_given_its_arguments_as_they_are_and_the_alert_and_nothing_else() {
        let outcome = run_script("printf '%s|' \"$@\"; echo; env", &["a b", "$HOME", "; id"]);
        assert!(outcome.ok, "{outcome:?}");
        let expected = "a b|$HOME|; id|\nFAROL_ALERT=Disk Full\n\
             FAROL_LABEL_ALERTNAME=Disk Full\n\
             FAROL_LABEL_MOUNT_POINT=/; rm -rf $HOME `id`\n\n\
             FAROL_LABEL_SEVERITY=critical\n\
             FAROL_REMEDY=mine\n\
             FAROL_SEVERITY=critical\n\
             FAROL_VALUE=95.5\n\
             LC_ALL=C.UTF-8\n\
             PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
        let mut lines: Vec<&str> =
            outcome.output.lines().filter(|line| !line.starts_with("PWD=")).collect();
        let mut wanted: Vec<&str> = expected.lines().collect();
        lines.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn it_has_no_input_no_descriptors_of_ours_a_group_of_its_own_and_gains_nothing() {
        let outcome = run_script(
            "cat; ls /proc/self/fd | tr '\\n' ' '; echo; grep NoNewPrivs /proc/self/status; \
             test \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$ && echo own group; pwd",
            &[],
        );
        let (handles, rest) = outcome.output.split_once('\n').unwrap();
        assert_eq!(rest, "NoNewPrivs:\t1\nown group\n/\n", "{outcome:?}");
        let mut allowed = given_to_us();
        allowed.extend(["0", "1", "2"].map(str::to_owned));
        let others =
            handles.split_whitespace().filter(|handle| !allowed.contains(&(*handle).to_owned()));
        // That by which `ls` looks.
        assert_eq!(others.count(), 1, "{outcome:?}");
    }

    /// Handles that whoever started the tests has left to all below.
    fn given_to_us() -> Vec<String> {
        let names = fs::read_dir("/proc/self/fdinfo").unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_left = |name: &String| {
            let info = fs::read(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
            let info = String::from_utf8_lossy(&info).into_owned();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok());
            flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
        };
        names.filter(is_left).collect()
    }

    #[test]
    fn its_failure_is_told_with_what_it_wrote() {
        let outcome = run_script("echo out; echo err >&2; exit 3", &[]);
        assert!(!outcome.ok && outcome.summary.ends_with("has failed with 3"), "{outcome:?}");
        assert_eq!(outcome.output, "out\nerr\n");
        let outcome = run_script("kill -9 $$", &[]);
        assert!(outcome.summary.ends_with("was killed by signal 9"), "{outcome:?}");
    }

    fn is_alive(pid: &str) -> bool {
        let stat = fs::read(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat).into_owned();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// It and its child pay no heed to SIGTERM.
    #[test]
    fn one_that_never_ends_is_killed_with_its_children_whatever_it_ignores() {
        let _alone = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = safe_folder();
        let ready = folder.path().join("ready");
        let text = format!(
            "trap '' TERM\n(trap '' TERM; echo child; while :; do sleep 1; done) &\n\
             echo $! > {0}.new; mv {0}.new {0}\nwhile :; do echo noise; done",
            ready.display()
        );
        let program = program(script(folder.path(), &text), &[]);
        let leash = Leash::default();
        let outcome = std::thread::scope(|scope| {
            let running = scope.spawn(|| run(&program, &leash));
            while !ready.exists() {
                std::thread::yield_now();
            }
            leash.ask();
            leash.pull();
            running.join().unwrap()
        });
        assert!(outcome.summary.ends_with("was killed by signal 9"), "{outcome:?}");
        assert!(outcome.output.len() <= 64 * 1024);
        let child = String::from_utf8(fs::read(&ready).unwrap()).unwrap();
        // The kernel ends them one after the other.
        while is_alive(&child) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_leaves_a_child_behind_ends_and_the_child_with_it() {
        let outcome = run_script("sleep 1000 & echo $!", &[]);
        assert!(outcome.ok, "{outcome:?}");
        while is_alive(&outcome.output) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn another_user_is_one_without_our_groups_and_rights() {
        if !grant::is_root() {
            return;
        }
        let _alone = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = safe_folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let text = "id -u; id -g; id -G; grep CapEff /proc/self/status";
        let mut program = program(script(folder.path(), text), &[]);
        program.user = "nobody".to_owned();
        assert_eq!(program.granted(&Surroundings::default()), Ok(()));
        let outcome = run(&program, &Leash::default());
        let users = String::from_utf8(fs::read("/etc/passwd").unwrap()).unwrap();
        let nobody = find_user(&users, "nobody").unwrap();
        let (id, group) = (nobody.id, nobody.group);
        let expected = format!("{id}\n{group}\n{group}\nCapEff:\t0000000000000000\n");
        assert_eq!(outcome.output, expected, "{outcome:?}");
    }

    #[test]
    fn a_program_that_others_can_change_is_not_run() {
        let _alone = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = safe_folder();
        let path = script(folder.path(), "echo changed");
        let program = program(path.clone(), &[]);
        let why = |mode: u32, of: &Path| {
            fs::set_permissions(of, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = run(&program, &Leash::default());
            assert!(!outcome.ok && outcome.output.is_empty(), "{outcome:?}");
            assert!(program.granted(&Surroundings::default()).is_err());
            outcome.summary
        };
        assert!(why(0o757, &path).contains("may be written by others"));
        assert!(why(0o644, &path).contains("is not executable"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(why(0o777, folder.path()).contains("may be written by others"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(run(&program, &Leash::default()).ok);
        fs::remove_file(&path).unwrap();
        assert!(run(&program, &Leash::default()).summary.contains("No such file"));
    }

    #[test]
    fn a_path_that_is_searched_for_is_none() {
        for path in ["ls", "./ls", "/usr/bin/../bin/ls", ""] {
            let mut fields = Fields::defaults(BUILT_IN.fields);
            fields.set("path", crate::remedy::Given::Text(path.to_owned()));
            assert_eq!(build(&fields).unwrap_err().field, "path", "{path}");
        }
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let users = "root:x:0:0::/root:/bin/sh\nana:x:1000:1001::/home/ana:/bin/sh\nbad:x:y\n";
        let ana = Ok(User { id: 1000, group: 1001 });
        assert_eq!(find_user(users, "ana"), ana);
        assert_eq!(find_user(users, "1000"), ana);
        assert!(find_user(users, "eve").unwrap_err().contains("no user eve"));
        assert!(find_user(users, "bad").unwrap_err().contains("damaged"));
    }
}

//! Where data and logs go when nobody says: a rule over facts, so that any machine can be tried.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::Facts;

/// The folder for data and why it is that one.
pub(super) fn data(
    environment: &BTreeMap<String, String>,
    facts: &Facts<'_>,
) -> Option<(PathBuf, &'static str)> {
    let variable = |name: &str| environment.get(name).filter(|value| value.starts_with('/'));
    // systemd lists several folders with colons; the first is the unit's own.
    let granted = variable("STATE_DIRECTORY").and_then(|folders| folders.split(':').next());
    if let Some(folder) = granted {
        return Some((folder.into(), "systemd's state folder"));
    }
    let system = Path::new("/var/lib/farol");
    if facts.root || (facts.writable)(system) {
        let why = if facts.root { "running as root" } else { "it is there and writable" };
        return Some((system.into(), why));
    }
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Some((Path::new(state).join("farol"), "below XDG_STATE_HOME"));
    }
    let home = variable("HOME")?;
    Some((Path::new(home).join(".local/state/farol"), "below the home folder"))
}

/// The folder for the journal and the log, and why it is that one.
pub(super) fn logs(data: &Path, facts: &Facts<'_>) -> (PathBuf, &'static str) {
    let mounted = Path::new("/logs");
    match (facts.writable)(mounted) {
        true => (mounted.into(), "it is there and writable"),
        false => (data.join("logs"), "below data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(
        root: bool,
        writable: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<(String, String)> {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let facts = Facts {
            root,
            read: &|_, _| Ok(Vec::new()),
            writable: &|path| writable.iter().any(|folder| path == Path::new(folder)),
            find_machine: &farol_collect::view::find,
            host_name: &|_| None,
        };
        let (data, _) = data(&pairs.collect(), &facts)?;
        let (logs, _) = logs(&data, &facts);
        Some((data.display().to_string(), logs.display().to_string()))
    }

    #[test]
    fn each_way_of_starting_has_its_folder() {
        let home = ("HOME", "/home/ana");
        for (root, writable, variables, data, logs) in [
            (true, &[][..], &[][..], "/var/lib/farol", "/var/lib/farol/logs"),
            (false, &["/var/lib/farol"], &[home], "/var/lib/farol", "/var/lib/farol/logs"),
            (true, &["/logs"], &[], "/var/lib/farol", "/logs"),
            (true, &[], &[("STATE_DIRECTORY", "/srv/a:/srv/b")], "/srv/a", "/srv/a/logs"),
            (false, &[], &[home, ("XDG_STATE_HOME", "/st")], "/st/farol", "/st/farol/logs"),
            (
                false,
                &[],
                &[home, ("XDG_STATE_HOME", "relative")],
                "/home/ana/.local/state/farol",
                "/home/ana/.local/state/farol/logs",
            ),
        ] {
            let expected = Some((data.to_owned(), logs.to_owned()));
            assert_eq!(place(root, writable, variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn without_a_home_there_is_no_guess() {
        assert_eq!(place(false, &[], &[]), None);
    }
}

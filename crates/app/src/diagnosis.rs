//! What can be seen of the host from here, put together for people: for `farol doctor`, and for the
//! two or three lines at start-up. Reads the machine; decides nothing: `farol_collect::view` does.

use std::{collections::BTreeSet, path::Path};

use farol_collect::{
    Scope,
    view::{Mend, Missing, View},
};

use crate::config::{self, Config, Loaded, Target};

#[derive(Debug)]
pub struct Diagnosis {
    /// Trees and names, each with where it is and why it is taken to be there.
    pub places: Vec<Place>,
    pub kernel: Option<String>,
    /// What kind, when in one.
    pub container: Option<String>,
    /// Every collector that is on and tells of the host, and the gateway's probe.
    pub sources: Vec<Source>,
    /// The name in journal lines and labels, when it is but a container's and nobody chose it.
    pub foreign_name: Option<String>,
    pub privileges: Vec<Privilege>,
}

#[derive(Debug)]
pub struct Place {
    pub what: &'static str,
    pub value: String,
    pub why: String,
}

#[derive(Debug)]
pub struct Source {
    pub name: &'static str,
    /// `None` when it is the host's.
    pub missing: Option<Missing>,
}

/// Something that only some processes may.
#[derive(Debug)]
pub struct Privilege {
    pub what: &'static str,
    pub granted: bool,
    /// What grants it.
    pub needs: &'static str,
}

impl Diagnosis {
    pub fn of(loaded: &Loaded) -> Diagnosis {
        let config = &loaded.config;
        let view = View::of(&config.host);
        let name_is_chosen = origin(loaded, "host_name").is_none_or(|why| !is_default(&why));
        let foreign_name = view.of_host_name().is_err() && !name_is_chosen;
        Diagnosis {
            places: places(loaded),
            kernel: text(&config.host.proc.join("sys/kernel/osrelease")),
            container: view.container().map(str::to_owned),
            sources: sources(config, &view),
            foreign_name: foreign_name.then(|| config.host_name.to_string()),
            privileges: privileges(),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.missing().next().is_none() && self.foreign_name.is_none()
    }

    pub fn missing(&self) -> impl Iterator<Item = (&'static str, &Missing)> {
        self.sources.iter().filter_map(|source| Some((source.name, source.missing.as_ref()?)))
    }

    /// What mends it, each once.
    pub fn mends(&self) -> BTreeSet<Mend> {
        let name = self.foreign_name.as_ref().map(|_| Mend::MountRoot);
        let mut mends: BTreeSet<Mend> = self.missing().map(|(_, missing)| missing.mend).collect();
        // The host's name stands below its root as well, and its network brings the name along.
        if !mends.contains(&Mend::HostNetwork) && !mends.contains(&Mend::HostUts) {
            mends.extend(name);
        }
        mends
    }

    /// The flags for `docker run`, in one line; `None` when no flag mends anything.
    pub fn docker_flags(&self) -> Option<String> {
        let mends = self.mends();
        let flags: Vec<&str> = mends.iter().filter_map(|mend| mend.flag()).collect();
        (self.container.is_some() && !flags.is_empty()).then(|| flags.join(" "))
    }

    /// The same for a service in a compose file, line by line.
    pub fn compose_lines(&self) -> Vec<&'static str> {
        if self.container.is_none() {
            return Vec::new();
        }
        let line = |mend: &Mend| match mend {
            Mend::MountRoot => Some("volumes: [\"/:/host:ro,rslave\"]"),
            Mend::HostNetwork => Some("network_mode: host"),
            Mend::HostUts => Some("uts: host"),
            Mend::Words(_) => None,
        };
        self.mends().iter().filter_map(line).collect()
    }

    /// What mends it apart from the flags of a container engine.
    pub fn words(&self) -> Vec<&'static str> {
        const OWN_NAMESPACES: &str = "running Farol in the machine's own namespaces: in a unit, without PrivateNetwork=, RootDirectory=, RootImage= and ProtectProc=";
        let mends = self.mends();
        let words = mends.iter().filter_map(|mend| match mend {
            Mend::Words(words) => Some(*words),
            Mend::MountRoot | Mend::HostNetwork | Mend::HostUts => None,
        });
        let flag_is_of_no_use =
            self.container.is_none() && mends.iter().any(|mend| mend.flag().is_some());
        words.chain(flag_is_of_no_use.then_some(OWN_NAMESPACES)).collect()
    }

    /// For the log at start: nothing when all is the host's.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let names: Vec<&str> = self.missing().map(|(name, _)| name).collect();
        if !names.is_empty() {
            let place = self.container.as_deref().unwrap_or("private namespace");
            sentences.push(format!(
                "partial view of the host: only this {place}'s own figures can be seen for {}; they are left out (`farol doctor` says why)",
                names.join(", ")
            ));
        }
        if let Some(name) = &self.foreign_name {
            sentences.push(format!(
                "host_name: the host's own name cannot be seen; {name:?} is the container's, choose one with --host-name"
            ));
        }
        let ways = self.docker_flags().map(|flags| format!("docker run … {flags}"));
        let ways: Vec<String> =
            ways.into_iter().chain(self.words().into_iter().map(str::to_owned)).collect();
        if !ways.is_empty() {
            sentences.push(format!("to see the whole host, add: {}", ways.join("; ")));
        }
        sentences
    }
}

fn places(loaded: &Loaded) -> Vec<Place> {
    let rows = [
        ("procfs", "path.procfs"),
        ("sysfs", "path.sysfs"),
        ("root", "path.rootfs"),
        ("run", "path.run"),
        ("name", "host_name"),
    ];
    let row = |(what, key): (&'static str, &str)| {
        let row = loaded.effective.rows.iter().find(|row| row.key == key)?;
        Some(Place { what, value: row.shown.clone(), why: row.origin.clone() })
    };
    let mut places: Vec<Place> = rows.into_iter().filter_map(row).collect();
    let host = &loaded.config.host;
    let why = if host.net.starts_with(host.proc.join("1")) { "PID 1's" } else { "this process'" };
    let network =
        Place { what: "network", value: host.net.display().to_string(), why: why.to_owned() };
    places.insert(places.len().saturating_sub(1), network);
    places
}

fn origin(loaded: &Loaded, key: &str) -> Option<String> {
    loaded.effective.rows.iter().find(|row| row.key == key).map(|row| row.origin.clone())
}

fn is_default(origin: &str) -> bool {
    origin.starts_with("default")
}

fn sources(config: &Config, view: &View) -> Vec<Source> {
    let entries = config.collectors.entries();
    let of_host = entries.iter().filter(|entry| entry.scope != Scope::Own);
    let mut sources: Vec<Source> = of_host
        .map(|entry| Source { name: entry.name, missing: view.of_collector(entry).err() })
        .collect();
    let pings_gateway = config.probes.icmp.iter().any(|probe| probe.target == Target::Gateway);
    if config.collectors.is_on("probe") && pings_gateway && !view.is_recording() {
        sources.push(Source { name: "probe", missing: view.of_own_network().err() });
        sources.sort_by_key(|source| source.name);
    }
    sources
}

fn privileges() -> Vec<Privilege> {
    const CAP_NET_RAW: u32 = 13;
    const CAP_SYS_PTRACE: u32 = 19;
    let capabilities = effective_capabilities().unwrap_or(0);
    let has = |capability: u32| capabilities >> capability & 1 == 1;
    vec![
        Privilege {
            what: "I/O of other users' processes",
            granted: has(CAP_SYS_PTRACE),
            needs: "CAP_SYS_PTRACE",
        },
        Privilege {
            what: "ICMP probes",
            granted: has(CAP_NET_RAW) || group_may_ping().unwrap_or(false),
            needs: "a group within net.ipv4.ping_group_range, or CAP_NET_RAW; else TCP is tried",
        },
    ]
}

/// From `/proc/self/status`, as sixteen hexadecimal digits.
fn effective_capabilities() -> Option<u64> {
    let status = text(Path::new("/proc/self/status"))?;
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// The range is that of the namespace that the probes are sent from: our own.
fn group_may_ping() -> Option<bool> {
    let range = text(Path::new("/proc/sys/net/ipv4/ping_group_range"))?;
    let mut bounds = range.split_ascii_whitespace().map(|bound| bound.parse::<u32>().ok());
    let (least, most) = (bounds.next()??, bounds.next()??);
    Some((least..=most).contains(&rustix::process::getegid().as_raw()))
}

fn text(path: &Path) -> Option<String> {
    const MOST_BYTES: u64 = 64 * 1024;
    let bytes = config::read_file(path, MOST_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(container: Option<&str>, missing: &[(&'static str, Mend)]) -> Diagnosis {
        let source = |(name, mend): &(&'static str, Mend)| Source {
            name,
            missing: Some(Missing { reason: "because".into(), mend: *mend }),
        };
        Diagnosis {
            places: Vec::new(),
            kernel: None,
            container: container.map(str::to_owned),
            sources: missing.iter().map(source).collect(),
            foreign_name: None,
            privileges: Vec::new(),
        }
    }

    #[test]
    fn a_host_that_is_seen_whole_is_not_spoken_of() {
        let diagnosis = seen_from(None, &[]);
        assert!(diagnosis.is_whole());
        assert!(diagnosis.sentences().is_empty());
    }

    #[test]
    fn each_flag_that_mends_stands_once_in_the_line() {
        let missing = [
            ("filesystem", Mend::MountRoot),
            ("os", Mend::MountRoot),
            ("probe", Mend::HostNetwork),
        ];
        let diagnosis = seen_from(Some("docker container"), &missing);
        let sentences = diagnosis.sentences();
        assert!(sentences[0].contains("docker container's own figures"), "{sentences:?}");
        assert!(sentences[0].contains("filesystem, os, probe"), "{sentences:?}");
        assert_eq!(
            sentences[1],
            "to see the whole host, add: docker run … -v /:/host:ro,rslave --network=host"
        );
        let compose = ["volumes: [\"/:/host:ro,rslave\"]", "network_mode: host"];
        assert_eq!(diagnosis.compose_lines(), compose);
    }

    #[test]
    fn outside_a_container_no_engines_flag_is_advised() {
        let diagnosis = seen_from(None, &[("netclass", Mend::MountRoot)]);
        assert_eq!(diagnosis.docker_flags(), None);
        assert!(diagnosis.words()[0].contains("PrivateNetwork="));
    }

    #[test]
    fn a_name_that_is_a_containers_is_told_with_its_way_out() {
        let mut diagnosis = seen_from(Some("container"), &[]);
        diagnosis.foreign_name = Some("4c0f0b7d4f9a".into());
        assert!(!diagnosis.is_whole());
        assert!(diagnosis.sentences()[0].contains("--host-name"));
    }
}

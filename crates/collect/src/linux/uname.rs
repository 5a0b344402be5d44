//! `uname`: which kernel runs on which machine. Sources: `/proc/sys/kernel/{ostype,osrelease,
//! version,domainname}` (kernel/utsname_sysctl.c) and `arch` (kernel/sysctl.c, since Linux 6.1), so
//! that a folder is a machine; the host's name where [`Host`] says that it stands.

use std::path::Path;

use farol_model::{Lane, Metric};

use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

const INFO: &str = "node_uname_info";

pub(crate) const ENTRY: Entry = Entry {
    name: "uname",
    about: "kernel, machine type and names of the host",
    on: true,
    lane: Lane::Slow,
    scope: Scope::HostName,
    reads: &["/proc/sys/kernel"],
    metrics: &[Metric::gauge(
        INFO,
        "",
        "Labeled system information as provided by the uname system call.",
    )],
    build,
};

/// A label and its file.
const KERNEL: [(&str, &str); 3] =
    [("sysname", "ostype"), ("release", "osrelease"), ("version", "version")];

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Uname))
}

struct Uname;

impl Collector for Uname {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let folder = host.proc.join("sys/kernel");
        let mut values = Vec::with_capacity(KERNEL.len() + 3);
        for (label, file) in KERNEL {
            values.push((label, read(&folder.join(file))?));
        }
        let name = host.host_name().ok_or_else(|| no_name(&host.name))?;
        values.push(("nodename", name));
        // Nothing but the kernel tells the domain, and it tells that of our own namespace.
        if host.name_is_the_kernels() {
            values.push(("domainname", read(&folder.join("domainname"))?));
        }
        if let Some(machine) = machine(host, &folder) {
            values.push(("machine", machine));
        }
        let labels: Vec<_> = values.iter().map(|(label, value)| (*label, value.as_str())).collect();
        out.push(INFO, &labels, 1.0);
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, CollectError> {
    read_small(path).map_err(|error| CollectError::reading(path, &error))
}

fn no_name(path: &Path) -> CollectError {
    match read_small(path) {
        Err(error) => CollectError::reading(path, &error),
        Ok(_) => CollectError::Absent(format!("{} holds no name", path.display())),
    }
}

/// Kernels before 6.1 tell it by the system call only, which speaks of the machine we run on: it
/// is asked when the files are that machine's.
fn machine(host: &Host, folder: &Path) -> Option<String> {
    if let Ok(arch) = read_small(&folder.join("arch")) {
        return Some(arch);
    }
    host.is_this_kernel().then(|| rustix::system::uname().machine().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_folder_is_a_machine_and_its_type_is_never_guessed_from_ours() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        let kernel = host.proc.join("sys/kernel");
        std::fs::create_dir_all(&kernel).unwrap();
        for (_, file) in KERNEL {
            write(&kernel.join(file), &format!("the {file}\n"));
        }
        write(&kernel.join("hostname"), "the name\n");
        write(&kernel.join("domainname"), "the domain\n");
        let mut out = Scrape::new();
        Uname.collect(&host, &mut out).unwrap();
        let labels = &out.samples()[0].labels;
        assert_eq!(labels.get("nodename"), Some("the name"));
        assert_eq!(labels.get("machine"), None);

        write(&kernel.join("arch"), "riscv64\n");
        let mut out = Scrape::new();
        Uname.collect(&host, &mut out).unwrap();
        assert_eq!(out.samples()[0].labels.get("machine"), Some("riscv64"));
    }

    #[test]
    fn a_name_that_is_not_the_kernels_comes_without_a_domain() {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::recorded(folder.path());
        let kernel = host.proc.join("sys/kernel");
        std::fs::create_dir_all(&kernel).unwrap();
        for (_, file) in KERNEL {
            write(&kernel.join(file), &format!("the {file}\n"));
        }
        write(&kernel.join("hostname"), "4c0f0b7d4f9a\n");
        write(&kernel.join("domainname"), "(none)\n");
        host.name = folder.path().join("hostname");
        write(&host.name, "# the machine's\nweb-1\n");
        let mut out = Scrape::new();
        Uname.collect(&host, &mut out).unwrap();
        let labels = &out.samples()[0].labels;
        assert_eq!(labels.get("nodename"), Some("web-1"));
        assert_eq!(labels.get("domainname"), None);
    }

    #[test]
    fn this_machine_has_a_type() {
        let host = Host::local();
        assert!(machine(&host, Path::new("/nonexistent")).is_some());
    }
}

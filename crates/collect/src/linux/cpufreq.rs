//! `cpufreq`: the CPUs' clock rates and governors. Source:
//! `/sys/devices/system/cpu/cpu*/cpufreq/` (drivers/cpufreq/cpufreq.c), in kHz.
//!
//! A machine without cpufreq (most virtual ones) tells its clock rate in `/proc/cpuinfo`
//! (arch/*/kernel/cpu/proc.c), which node_exporter reads when its cpufreq collector is off; here it
//! is the fallback.

use std::path::Path;

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
    host::read_small,
};

/// A file of a CPU's folder and the metric it becomes.
const RATES: [(&str, &str); 6] = [
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz"),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz"),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz"),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz"),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz"),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz"),
];
const GOVERNOR: &str = "node_cpu_scaling_governor";
const CPUS: &str = "devices/system/cpu";
const CPUINFO: &str = "cpuinfo";

pub(crate) const ENTRY: Entry = Entry {
    name: "cpufreq",
    about: "clock rates and governors of the CPUs",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/devices/system/cpu", "/proc/cpuinfo"],
    metrics: &[
        Metric::gauge(RATES[0].1, "hertz", "Current CPU thread frequency in hertz."),
        Metric::gauge(RATES[1].1, "hertz", "Minimum CPU thread frequency in hertz."),
        Metric::gauge(RATES[2].1, "hertz", "Maximum CPU thread frequency in hertz."),
        Metric::gauge(RATES[3].1, "hertz", "Current scaled CPU thread frequency in hertz."),
        Metric::gauge(RATES[4].1, "hertz", "Minimum scaled CPU thread frequency in hertz."),
        Metric::gauge(RATES[5].1, "hertz", "Maximum scaled CPU thread frequency in hertz."),
        Metric::gauge(GOVERNOR, "", "Current enabled CPU frequency governor."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Cpufreq { cpuinfo: HotFile::new(Tree::Proc, CPUINFO) }))
}

struct Cpufreq {
    cpuinfo: HotFile,
}

impl Collector for Cpufreq {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let folder = host.tree(Tree::Sys).join(CPUS);
        for cpu in cpus(&folder) {
            collect_cpu(&cpu.to_string(), &folder.join(format!("cpu{cpu}/cpufreq")), out);
        }
        if out.samples().is_empty() {
            parse_cpuinfo(self.cpuinfo.read_str(host)?, out);
        }
        match out.samples() {
            [] => Err(CollectError::Absent(
                "neither cpufreq nor a clock rate in cpuinfo: the machine does not tell it".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// The numbers of the `cpu<n>` folders, in order.
fn cpus(folder: &Path) -> Vec<u32> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("cpu")?.parse::<u32>().ok();
    let mut cpus: Vec<u32> =
        entries.flatten().filter_map(|entry| number(entry.file_name())).collect();
    cpus.sort_unstable();
    cpus
}

/// A file that is not there or may not be read (`cpuinfo_cur_freq` is root's), and those of a CPU
/// that is off (they cannot be read), are left out.
fn collect_cpu(cpu: &str, folder: &Path, out: &mut Scrape) {
    for (file, metric) in RATES {
        let path = folder.join(file);
        let Ok(text) = read_small(&path) else { continue };
        match text.parse::<u64>() {
            Ok(kilohertz) => out.push(metric, &[("cpu", cpu)], kilohertz as f64 * 1000.0),
            // A driver that cannot tell says so in words, as in `<unknown>`.
            Err(_) if text.starts_with('<') => {}
            Err(_) => out.problem(malformed(&path.to_string_lossy(), &text)),
        }
    }
    let (Ok(current), Ok(available)) = (
        read_small(&folder.join("scaling_governor")),
        read_small(&folder.join("scaling_available_governors")),
    ) else {
        return;
    };
    for governor in available.split_ascii_whitespace() {
        let enabled = f64::from(u8::from(governor == current));
        out.push(GOVERNOR, &[("cpu", cpu), ("governor", governor)], enabled);
    }
}

/// `processor : 0` … `cpu MHz : 2445.428`; other architectures have no such line.
pub(crate) fn parse_cpuinfo(text: &str, out: &mut Scrape) {
    let mut cpu = "";
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match (key.trim_ascii(), value.trim_ascii()) {
            ("processor", number) => cpu = number,
            ("cpu MHz", megahertz) => match megahertz.parse::<f64>() {
                Ok(rate) if rate > 0.0 && rate.is_finite() && !cpu.is_empty() => {
                    // Whole kHz: the product of a decimal fraction is not exact.
                    let hertz = (rate * 1000.0).round() * 1000.0;
                    out.push(RATES[0].1, &[("cpu", cpu)], hertz);
                }
                Ok(_) => {}
                Err(_) => out.problem(malformed(CPUINFO, line)),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_each_processor_is_found_in_cpuinfo() {
        let mut out = Scrape::new();
        let text =
            "processor\t: 0\ncpu MHz\t\t: 2445.428\n\nprocessor\t: 1\ncpu MHz\t\t: 800.000\n";
        parse_cpuinfo(text, &mut out);
        let samples: Vec<_> = out
            .samples()
            .iter()
            .map(|sample| (sample.labels.get("cpu").unwrap(), sample.value))
            .collect();
        assert_eq!(samples, [("0", 2_445_428_000.0), ("1", 800_000_000.0)]);
    }

    #[test]
    fn a_machine_that_does_not_tell_its_rate_has_none() {
        let mut out = Scrape::new();
        parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 108.00\n", &mut out);
        assert!(out.samples().is_empty());
    }
}

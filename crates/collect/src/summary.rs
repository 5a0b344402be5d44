//! The vital signs of the machine: the one table where rates and percentages are made from raw
//! samples before the store. Each row becomes a `monitoring_*` gauge and, under its short name, a
//! member of the journal's and `/health`'s `metrics`.
//!
//! What cannot be measured is absent; there is no row that falls back to 0 or -1.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use farol_model::{Labels, Lane, Metric, Sample, State, Text};

/// What a row may look at: this tick's samples and the same lane's previous ones.
#[derive(Clone, Copy, Debug)]
pub struct Ticks<'a> {
    current: &'a [Sample],
    previous: Option<(&'a [Sample], Duration)>,
}

/// One vital sign.
#[derive(Debug)]
pub struct Row {
    pub metric: Metric,
    pub lane: Lane,
    pub compute: fn(&Ticks<'_>) -> Option<f64>,
}

impl Row {
    /// The name in `metrics`: without `monitoring_`.
    pub fn short_name(&self) -> &'static str {
        self.metric.name.strip_prefix(PREFIX).expect("each row's name begins with the prefix")
    }
}

const PREFIX: &str = "monitoring_";

/// In order of their names.
pub const ROWS: &[Row] = &[
    Row {
        metric: Metric::gauge(
            "monitoring_bytes_recv",
            "bytes",
            "Bytes received by the physical network devices since they came up.",
        ),
        lane: Lane::Fast,
        compute: |ticks| ticks.sum(RECEIVED, is_physical_device),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_bytes_sent",
            "bytes",
            "Bytes sent by the physical network devices since they came up.",
        ),
        lane: Lane::Fast,
        compute: |ticks| ticks.sum(SENT, is_physical_device),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_cpu_freq_ghz",
            "",
            "Mean clock rate of the CPUs in gigahertz.",
        ),
        lane: Lane::Slow,
        compute: cpu_freq_ghz,
    },
    Row {
        metric: Metric::gauge(
            "monitoring_cpu_percent",
            "percent",
            "Share of CPU time spent working since the last tick, all CPUs together; waiting for I/O is not working.",
        ),
        lane: Lane::Fast,
        compute: cpu_percent,
    },
    Row {
        metric: Metric::gauge(
            "monitoring_disk_percent",
            "percent",
            "Used share of the root filesystem, as df shows it.",
        ),
        lane: Lane::Slow,
        compute: |ticks| {
            let root = root_filesystem(ticks)?;
            percent(root.used, root.used + root.available)
        },
    },
    Row {
        metric: Metric::gauge(
            "monitoring_disk_total_bytes",
            "bytes",
            "Size of the root filesystem.",
        ),
        lane: Lane::Slow,
        compute: |ticks| Some(root_filesystem(ticks)?.size),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_disk_used_bytes",
            "bytes",
            "Used bytes of the root filesystem.",
        ),
        lane: Lane::Slow,
        compute: |ticks| Some(root_filesystem(ticks)?.used),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_latency_ms",
            "",
            "Mean time to connect to the TCP probes' targets, in milliseconds.",
        ),
        lane: Lane::Slow,
        compute: |ticks| Some(mean(ticks.family(PROBE_SECONDS), is_tcp_probe)? * 1000.0),
    },
    Row {
        metric: Metric::gauge("monitoring_load_1", "", "Load average over one minute."),
        lane: Lane::Fast,
        compute: |ticks| ticks.value("node_load1"),
    },
    Row {
        metric: Metric::gauge("monitoring_load_15", "", "Load average over 15 minutes."),
        lane: Lane::Fast,
        compute: |ticks| ticks.value("node_load15"),
    },
    Row {
        metric: Metric::gauge("monitoring_load_5", "", "Load average over five minutes."),
        lane: Lane::Fast,
        compute: |ticks| ticks.value("node_load5"),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_memory_percent",
            "percent",
            "Share of memory that is not available to programs.",
        ),
        lane: Lane::Fast,
        compute: |ticks| percent(memory_used(ticks)?, ticks.value(MEMORY_TOTAL)?),
    },
    Row {
        metric: Metric::gauge("monitoring_memory_total_bytes", "bytes", "Size of memory."),
        lane: Lane::Fast,
        compute: |ticks| ticks.value(MEMORY_TOTAL),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_memory_used_bytes",
            "bytes",
            "Memory that is not available to programs.",
        ),
        lane: Lane::Fast,
        compute: memory_used,
    },
    Row {
        metric: Metric::gauge(
            "monitoring_net_in_mbps",
            "",
            "Megabits per second received by the physical network devices since the last tick.",
        ),
        lane: Lane::Fast,
        compute: |ticks| ticks.rate(RECEIVED, is_physical_device).map(megabits),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_net_out_mbps",
            "",
            "Megabits per second sent by the physical network devices since the last tick.",
        ),
        lane: Lane::Fast,
        compute: |ticks| ticks.rate(SENT, is_physical_device).map(megabits),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_network_loss_percent",
            "percent",
            "Mean share of probes without an answer: of the ICMP targets, or of the TCP targets if there are none.",
        ),
        lane: Lane::Slow,
        compute: |ticks| {
            let loss = ticks.family("farol_probe_loss_ratio");
            Some(mean(loss, is_icmp_probe).or_else(|| mean(loss, is_tcp_probe))? * 100.0)
        },
    },
    Row {
        metric: Metric::gauge(
            "monitoring_ping_ms",
            "",
            "Mean round-trip time to the ICMP probes' targets, in milliseconds.",
        ),
        lane: Lane::Slow,
        compute: |ticks| Some(mean(ticks.family(PROBE_SECONDS), is_icmp_probe)? * 1000.0),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_swap_percent",
            "percent",
            "Used share of swap; absent without swap.",
        ),
        lane: Lane::Fast,
        compute: |ticks| {
            let total = ticks.value("node_memory_SwapTotal_bytes")?;
            percent(total - ticks.value("node_memory_SwapFree_bytes")?, total)
        },
    },
    Row {
        metric: Metric::gauge(
            "monitoring_temperature_celsius",
            "celsius",
            "Temperature of the hottest CPU sensor.",
        ),
        lane: Lane::Slow,
        compute: |ticks| hottest_cpu_sensor(ticks).or_else(|| hottest_cpu_zone(ticks)),
    },
    Row {
        metric: Metric::gauge(
            "monitoring_uptime_seconds",
            "seconds",
            "Time since the machine was started.",
        ),
        lane: Lane::Fast,
        compute: |ticks| {
            let uptime =
                ticks.value("node_time_seconds")? - ticks.value("node_boot_time_seconds")?;
            // Before the clock was set, the boot may seem to lie ahead.
            (uptime >= 0.0).then_some(uptime)
        },
    },
];

const RECEIVED: &str = "node_network_receive_bytes_total";
const SENT: &str = "node_network_transmit_bytes_total";
const CPU_SECONDS: &str = "node_cpu_seconds_total";
const MEMORY_TOTAL: &str = "node_memory_MemTotal_bytes";
const PROBE_SECONDS: &str = "farol_probe_duration_seconds";

/// `None` of nothing: no swap is not a full or an empty swap.
fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole * 100.0)
}

fn megabits(bytes: f64) -> f64 {
    bytes * 8.0 / 1e6
}

fn mean(samples: &[Sample], keep: fn(&Labels) -> bool) -> Option<f64> {
    let kept = samples.iter().filter(|sample| keep(&sample.labels)).count();
    Some(sum(samples, keep)? / kept as f64)
}

fn maximum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::max)
}

/// A guest's time is part of `user` and `nice` already, so the guests' own family is left aside.
fn cpu_percent(ticks: &Ticks<'_>) -> Option<f64> {
    let is_idle = |labels: &Labels| matches!(labels.get("mode"), Some("idle" | "iowait"));
    let all = ticks.increase(CPU_SECONDS, |_| true)?;
    let idle = ticks.increase(CPU_SECONDS, is_idle)?;
    percent(all - idle, all)
}

fn cpu_freq_ghz(ticks: &Ticks<'_>) -> Option<f64> {
    let of = |name| mean(ticks.family(name), |_| true);
    let hertz =
        of("node_cpu_scaling_frequency_hertz").or_else(|| of("node_cpu_frequency_hertz"))?;
    Some(hertz / 1e9)
}

fn memory_used(ticks: &Ticks<'_>) -> Option<f64> {
    Some(ticks.value(MEMORY_TOTAL)? - ticks.value("node_memory_MemAvailable_bytes")?)
}

struct Filesystem {
    size: f64,
    used: f64,
    /// To ordinary users: what is kept for root is neither used nor available.
    available: f64,
}

/// The filesystem at `/`; the early kernel's own below it (`rootfs`) is not looked at.
fn root_filesystem(ticks: &Ticks<'_>) -> Option<Filesystem> {
    let size = ticks.family("node_filesystem_size_bytes").iter().find(|sample| {
        let label = |name| sample.labels.get(name);
        label("mountpoint") == Some("/") && label("fstype") != Some("rootfs")
    })?;
    let of_the_same = |name| {
        let found = ticks.family(name).iter().find(|sample| sample.labels == size.labels);
        found.map(|sample| sample.value)
    };
    let free = of_the_same("node_filesystem_free_bytes")?;
    let available = of_the_same("node_filesystem_avail_bytes")?;
    Some(Filesystem { size: size.value, used: size.value - free, available })
}

/// Devices through which bytes leave and enter the machine, each byte once.
///
/// Only names are known here, so this is a list of beginnings by which the kernel and the usual
/// programs name devices that are not hardware: loopback, ends of virtual cables, bridges, tunnels
/// (whose bytes pass a real device once more, wrapped), and masters of bonds and teams (whose
/// members are counted). A VLAN's name has a dot after its parent's, which counts the same bytes.
fn is_physical_device(labels: &Labels) -> bool {
    const VIRTUAL: [&str; 37] = [
        "bond",
        "br-",
        "cali",
        "cilium",
        "cni",
        "docker",
        "dummy",
        "erspan",
        "flannel",
        "fwbr",
        "fwln",
        "fwpr",
        "geneve",
        "gre",
        "ifb",
        "ip6",
        "ip_vti",
        "ipvlan",
        "kube-",
        "lxc",
        "lxdbr",
        "macv",
        "nlmon",
        "ovs-",
        "podman",
        "ppp",
        "sit",
        "tailscale",
        "tap",
        "team",
        "tun",
        "veth",
        "virbr",
        "vlan",
        "vmbr",
        "vnet",
        "vxlan",
    ];
    /// Short beginnings, after which only a number or an identifier with one follows.
    const SHORT: [&str; 3] = ["br", "wg", "zt"];
    let Some(device) = labels.get("device") else { return false };
    let begins_short = |beginning: &&str| {
        device
            .strip_prefix(beginning)
            .is_some_and(|rest| rest.contains(|c: char| c.is_ascii_digit()))
    };
    !(device == "lo"
        || device.contains('.')
        || SHORT.iter().any(begins_short)
        || VIRTUAL.iter().any(|beginning| device.starts_with(beginning)))
}

fn is_icmp_probe(labels: &Labels) -> bool {
    labels.get("probe") == Some("icmp")
}

fn is_tcp_probe(labels: &Labels) -> bool {
    labels.get("probe") == Some("tcp")
}

/// By the names that drivers of CPU sensors give their chips; a disk's or a battery's chip has
/// another name and never takes part.
fn hottest_cpu_sensor(ticks: &Ticks<'_>) -> Option<f64> {
    let chips: Vec<&str> = ticks
        .family("node_hwmon_chip_names")
        .iter()
        .filter(|sample| sample.labels.get("chip_name").is_some_and(is_cpu_chip))
        .filter_map(|sample| sample.labels.get("chip"))
        .collect();
    let readings = ticks.family("node_hwmon_temp_celsius").iter().filter(|sample| {
        let chip = sample.labels.get("chip");
        chip.is_some_and(|chip| chips.contains(&chip)) && !is_offset_control_value(ticks, sample)
    });
    maximum(readings.map(|sample| sample.value))
}

fn is_cpu_chip(name: &str) -> bool {
    const DRIVERS: [&str; 6] =
        ["coretemp", "k10temp", "k8temp", "zenpower", "via_cputemp", "cpu_thermal"];
    DRIVERS.contains(&name) || (name.starts_with("cpu") && name.ends_with("thermal"))
}

/// AMD's `Tctl` is the fan control's value, on some models 10 to 27 degrees above the real one,
/// which the same chip then gives as `Tdie`.
fn is_offset_control_value(ticks: &Ticks<'_>, reading: &Sample) -> bool {
    let chip = reading.labels.get("chip");
    let sensor = reading.labels.get("sensor");
    let mut is_control = false;
    let mut has_real = false;
    for sample in ticks.family("node_hwmon_sensor_label") {
        if sample.labels.get("chip") != chip {
            continue;
        }
        match sample.labels.get("label") {
            Some("Tctl") => is_control |= sample.labels.get("sensor") == sensor,
            Some("Tdie") => has_real = true,
            _ => {}
        }
    }
    is_control && has_real
}

/// Boards without sensor chips (most ARM ones) have thermal zones.
fn hottest_cpu_zone(ticks: &Ticks<'_>) -> Option<f64> {
    let zones = ticks.family("node_thermal_zone_temp").iter();
    let of_cpu = zones.filter(|sample| sample.labels.get("type").is_some_and(is_cpu_zone));
    maximum(of_cpu.map(|sample| sample.value))
}

fn is_cpu_zone(kind: &str) -> bool {
    const KINDS: [&str; 5] = ["x86_pkg_temp", "TCPU", "soc_thermal", "soc-thermal", "CPU-therm"];
    let is_cpu_thermal = kind.starts_with("cpu") && kind.contains("thermal");
    KINDS.contains(&kind) || is_cpu_thermal
}

impl<'a> Ticks<'a> {
    /// The samples of one family, now.
    pub fn family(&self, name: &str) -> &'a [Sample] {
        family(self.current, name)
    }

    /// The value of the unlabelled series `name`.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.family(name).iter().find(|sample| sample.labels.is_empty()).map(|s| s.value)
    }

    /// The sum of `name` over the series that `keep` accepts; `None` when there is none.
    pub fn sum(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        sum(self.family(name), keep)
    }

    /// How much that sum grew since the previous tick; `None` without one, and when a series
    /// came, went or was reset in between (the sum then says nothing about the machine).
    pub fn increase(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        let (previous, _) = self.previous?;
        let now = self.family(name).iter().filter(|sample| keep(&sample.labels));
        let before = family(previous, name).iter().filter(|sample| keep(&sample.labels));
        let mut total = None;
        let mut before = before.peekable();
        for sample in now {
            let earlier = before.next()?;
            if earlier.labels != sample.labels || sample.value < earlier.value {
                return None;
            }
            *total.get_or_insert(0.0) += sample.value - earlier.value;
        }
        if before.peek().is_some() {
            return None;
        }
        total
    }

    /// [`Ticks::increase`] per second.
    pub fn rate(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        let (_, elapsed) = self.previous?;
        let seconds = elapsed.as_secs_f64();
        (seconds > 0.0).then_some(self.increase(name, keep)? / seconds)
    }
}

fn family<'a>(samples: &'a [Sample], name: &str) -> &'a [Sample] {
    let from = samples.partition_point(|sample| sample.name.as_str() < name);
    let rest = &samples[from..];
    &rest[..rest.partition_point(|sample| sample.name.as_str() == name)]
}

fn sum(samples: &[Sample], keep: fn(&Labels) -> bool) -> Option<f64> {
    samples
        .iter()
        .filter(|sample| keep(&sample.labels))
        .map(|sample| sample.value)
        .reduce(|total, value| total + value)
}

/// What the alerts make of the machine: the one sign that is not computed from samples.
const STATE: Metric = Metric::gauge(
    "monitoring_state",
    "",
    "The machine's state, by the worst alert that fires: 0 stable, 1 warning, 2 critical. Missing while it is not known.",
);

/// The sample of a state that is known.
pub fn state(state: State) -> Option<Sample> {
    let value = match state {
        State::Unknown => return None,
        State::Stable => 0.0,
        State::Warning => 1.0,
        State::Critical => 2.0,
    };
    Some(Sample { name: Text::from_static(STATE.name), labels: Labels::empty(), value })
}

/// The rows' metrics and the state's, for help texts and the reference.
pub fn metrics() -> &'static [Metric] {
    static METRICS: LazyLock<Vec<Metric>> =
        LazyLock::new(|| ROWS.iter().map(|row| row.metric).chain([STATE]).collect());
    &METRICS
}

/// Computes one lane's rows; keeps the lane's previous samples for the rates.
#[derive(Debug)]
pub struct Summary {
    lane: Lane,
    previous: Option<(Vec<Sample>, Instant)>,
}

impl Summary {
    pub fn new(lane: Lane) -> Summary {
        Summary { lane, previous: None }
    }

    /// Adds the lane's gauges to `samples` (which are and stay sorted by name), taken at `when`,
    /// and returns them by short name.
    pub fn extend(&mut self, when: Instant, samples: &mut Vec<Sample>) -> Vec<(Text, f64)> {
        let previous = self
            .previous
            .as_ref()
            .map(|(samples, then)| (samples.as_slice(), when.duration_since(*then)));
        let ticks = Ticks { current: samples, previous };
        let rows = ROWS.iter().filter(|row| row.lane == self.lane);
        let computed: Vec<(&Row, f64)> = rows
            .filter_map(|row| Some((row, (row.compute)(&ticks).filter(|value| value.is_finite())?)))
            .collect();

        let kept = self.previous.take().map(|(kept, _)| kept);
        self.previous = Some((keep_copy(samples, kept), when));

        let at = samples.partition_point(|sample| sample.name.as_str() < PREFIX);
        let gauges = computed.iter().map(|(row, value)| Sample {
            name: Text::from_static(row.metric.name),
            labels: Labels::empty(),
            value: *value,
        });
        samples.splice(at..at, gauges);
        computed
            .into_iter()
            .map(|(row, value)| (Text::from_static(row.short_name()), value))
            .collect()
    }
}

/// A copy of the samples in the previous copy's memory.
fn keep_copy(samples: &[Sample], reuse: Option<Vec<Sample>>) -> Vec<Sample> {
    let mut copy = reuse.unwrap_or_default();
    copy.clear();
    copy.extend_from_slice(samples);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = (&'static str, &'a [(&'static str, &'static str)], f64);

    fn samples(given: &[Given<'_>]) -> Vec<Sample> {
        let mut samples: Vec<Sample> = given
            .iter()
            .map(|(name, labels, value)| Sample {
                name: Text::from_static(name),
                labels: Labels::new(
                    labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
                ),
                value: *value,
            })
            .collect();
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        samples
    }

    /// One row on samples of one tick, or of two that are `seconds` apart.
    fn row(
        name: &str,
        previous: Option<(&[Given<'_>], u64)>,
        current: &[Given<'_>],
    ) -> Option<f64> {
        let row = ROWS.iter().find(|row| row.short_name() == name).unwrap();
        let current = samples(current);
        let before =
            previous.map(|(given, seconds)| (samples(given), Duration::from_secs(seconds)));
        let previous = before.as_ref().map(|(samples, elapsed)| (samples.as_slice(), *elapsed));
        (row.compute)(&Ticks { current: &current, previous })
    }

    fn now(name: &str, current: &[Given<'_>]) -> Option<f64> {
        row(name, None, current)
    }

    fn cpu(idle: f64, iowait: f64, user: f64) -> [Given<'static>; 3] {
        [
            (CPU_SECONDS, &[("cpu", "0"), ("mode", "idle")], idle),
            (CPU_SECONDS, &[("cpu", "0"), ("mode", "iowait")], iowait),
            (CPU_SECONDS, &[("cpu", "0"), ("mode", "user")], user),
        ]
    }

    #[test]
    fn rows_stand_in_order_of_their_names() {
        assert!(ROWS.is_sorted_by_key(|row| row.metric.name));
    }

    #[test]
    fn without_any_samples_each_row_is_absent() {
        for row in ROWS {
            let nothing = Ticks { current: &[], previous: Some((&[], Duration::from_secs(1))) };
            assert_eq!((row.compute)(&nothing), None, "{}", row.metric.name);
        }
    }

    #[test]
    fn waiting_for_io_is_not_working() {
        let (before, after) = (cpu(10.0, 1.0, 5.0), cpu(12.0, 2.0, 6.0));
        assert_eq!(row("cpu_percent", Some((&before, 1)), &after), Some(25.0));
    }

    #[test]
    fn a_guests_time_is_not_counted_twice() {
        let guest: Given<'_> =
            ("node_cpu_guest_seconds_total", &[("cpu", "0"), ("mode", "user")], 1.0);
        let before = cpu(10.0, 0.0, 5.0);
        let [idle, iowait, user] = cpu(11.0, 0.0, 6.0);
        let after = [guest, idle, iowait, user];
        assert_eq!(row("cpu_percent", Some((&before, 1)), &after), Some(50.0));
    }

    #[test]
    fn cpu_percent_is_absent_at_the_first_tick_and_after_a_reset_or_a_new_cpu() {
        let after = cpu(12.0, 2.0, 6.0);
        assert_eq!(now("cpu_percent", &after), None);
        assert_eq!(row("cpu_percent", Some((&cpu(13.0, 2.0, 5.0), 1)), &after), None);
        assert_eq!(row("cpu_percent", Some((&cpu(11.0, 2.0, 5.0)[..2], 1)), &after), None);
        // Nothing has passed: a share of nothing.
        assert_eq!(row("cpu_percent", Some((&after, 1)), &after), None);
    }

    #[test]
    fn the_clock_rate_is_the_mean_of_the_scaled_ones_and_else_of_the_plain_ones() {
        let plain: [Given<'_>; 1] = [("node_cpu_frequency_hertz", &[("cpu", "0")], 2.4e9)];
        assert_eq!(now("cpu_freq_ghz", &plain), Some(2.4));
        let scaled: [Given<'_>; 3] = [
            plain[0],
            ("node_cpu_scaling_frequency_hertz", &[("cpu", "0")], 1e9),
            ("node_cpu_scaling_frequency_hertz", &[("cpu", "1")], 3e9),
        ];
        assert_eq!(now("cpu_freq_ghz", &scaled), Some(2.0));
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let memory: [Given<'_>; 2] =
            [(MEMORY_TOTAL, &[], 8000.0), ("node_memory_MemAvailable_bytes", &[], 6000.0)];
        assert_eq!(now("memory_percent", &memory), Some(25.0));
        assert_eq!(now("memory_used_bytes", &memory), Some(2000.0));
        assert_eq!(now("memory_total_bytes", &memory), Some(8000.0));
        assert_eq!(now("memory_percent", &memory[..1]), None);
    }

    #[test]
    fn a_machine_without_swap_has_no_swap_percent() {
        let swap = |total, free| -> [Given<'static>; 2] {
            [("node_memory_SwapTotal_bytes", &[], total), ("node_memory_SwapFree_bytes", &[], free)]
        };
        assert_eq!(now("swap_percent", &swap(4000.0, 3000.0)), Some(25.0));
        assert_eq!(now("swap_percent", &swap(0.0, 0.0)), None);
    }

    #[test]
    fn the_root_filesystem_is_summed_up_as_df_does() {
        const ROOT: [(&str, &str); 2] = [("fstype", "ext4"), ("mountpoint", "/")];
        const EARLY: [(&str, &str); 2] = [("fstype", "rootfs"), ("mountpoint", "/")];
        const DATA: [(&str, &str); 2] = [("fstype", "ext4"), ("mountpoint", "/data")];
        let disks: [Given<'_>; 5] = [
            ("node_filesystem_size_bytes", &EARLY, 1.0),
            ("node_filesystem_size_bytes", &DATA, 7.0),
            ("node_filesystem_size_bytes", &ROOT, 100.0),
            ("node_filesystem_free_bytes", &ROOT, 40.0),
            ("node_filesystem_avail_bytes", &ROOT, 20.0),
        ];
        assert_eq!(now("disk_percent", &disks), Some(75.0));
        assert_eq!(now("disk_used_bytes", &disks), Some(60.0));
        assert_eq!(now("disk_total_bytes", &disks), Some(100.0));
        assert_eq!(now("disk_percent", &disks[..4]), None);
    }

    #[test]
    fn each_byte_on_the_wire_counts_once() {
        let is_physical = |device: &str| is_physical_device(&Labels::from([("device", device)]));
        for device in
            ["eth0", "enp3s0f1", "eno1", "wlp2s0", "wlan0", "ens18", "ib0", "wwan0", "end0"]
        {
            assert!(is_physical(device), "{device}");
        }
        for device in [
            "lo",
            "veth1a2b3c",
            "docker0",
            "docker_gwbridge",
            "br-0a1b2c3d",
            "br0",
            "virbr0",
            "bond0",
            "eth0.100",
            "wg0",
            "tun0",
            "tailscale0",
            "ip6tnl0",
            "cali12ab",
            "vnet3",
            "ifb0",
        ] {
            assert!(!is_physical(device), "{device}");
        }
    }

    fn network(eth0: f64, eth1: f64) -> [Given<'static>; 4] {
        [
            (RECEIVED, &[("device", "eth0")], eth0),
            (RECEIVED, &[("device", "eth1")], eth1),
            (RECEIVED, &[("device", "lo")], 1e9),
            (SENT, &[("device", "eth0")], 7.0),
        ]
    }

    #[test]
    fn network_rates_are_in_megabits_of_the_time_that_really_passed() {
        let (before, after) = (network(1e6, 0.0), network(2e6, 1e6));
        assert_eq!(row("net_in_mbps", Some((&before, 2)), &after), Some(8.0));
        assert_eq!(row("net_out_mbps", Some((&before, 2)), &after), Some(0.0));
        assert_eq!(now("bytes_recv", &after), Some(3e6));
        assert_eq!(now("bytes_sent", &after), Some(7.0));
    }

    #[test]
    fn a_device_that_starts_anew_makes_no_negative_rate() {
        let (before, after) = (network(2e6, 0.0), network(10.0, 0.0));
        assert_eq!(row("net_in_mbps", Some((&before, 1)), &after), None);
        assert_eq!(now("net_in_mbps", &after), None);
    }

    #[test]
    fn the_probes_answers_are_averaged_by_kind() {
        const FIRST: [(&str, &str); 2] = [("probe", "icmp"), ("target", "a")];
        const SECOND: [(&str, &str); 2] = [("probe", "icmp"), ("target", "b")];
        const CONNECT: [(&str, &str); 2] = [("probe", "tcp"), ("target", "a:443")];
        let probes: [Given<'_>; 6] = [
            (PROBE_SECONDS, &FIRST, 0.010),
            (PROBE_SECONDS, &SECOND, 0.030),
            (PROBE_SECONDS, &CONNECT, 0.050),
            ("farol_probe_loss_ratio", &CONNECT, 0.5),
            ("farol_probe_loss_ratio", &FIRST, 0.0),
            ("farol_probe_loss_ratio", &SECOND, 0.1),
        ];
        let close = |name, samples, wanted: f64| {
            assert!((now(name, samples).unwrap() - wanted).abs() < 1e-9, "{name}");
        };
        close("ping_ms", &probes, 20.0);
        close("latency_ms", &probes, 50.0);
        close("network_loss_percent", &probes, 5.0);
        close("network_loss_percent", &probes[..4], 50.0);
        assert_eq!(now("ping_ms", &probes[2..4]), None);
    }

    #[test]
    fn the_hottest_cpu_sensor_is_taken_and_never_a_disks() {
        let sensors: [Given<'_>; 5] = [
            ("node_hwmon_chip_names", &[("chip", "nvme_0"), ("chip_name", "nvme")], 1.0),
            ("node_hwmon_chip_names", &[("chip", "core_0"), ("chip_name", "coretemp")], 1.0),
            ("node_hwmon_temp_celsius", &[("chip", "nvme_0"), ("sensor", "temp1")], 70.0),
            ("node_hwmon_temp_celsius", &[("chip", "core_0"), ("sensor", "temp1")], 51.0),
            ("node_hwmon_temp_celsius", &[("chip", "core_0"), ("sensor", "temp2")], 55.0),
        ];
        assert_eq!(now("temperature_celsius", &sensors), Some(55.0));
        assert_eq!(now("temperature_celsius", &sensors[..3]), None);
    }

    #[test]
    fn a_fan_controls_value_is_not_a_temperature_when_the_real_one_is_there() {
        const CONTROL: [(&str, &str); 2] = [("chip", "pci_0"), ("sensor", "temp1")];
        const REAL: [(&str, &str); 2] = [("chip", "pci_0"), ("sensor", "temp2")];
        let sensors: [Given<'_>; 5] = [
            ("node_hwmon_chip_names", &[("chip", "pci_0"), ("chip_name", "k10temp")], 1.0),
            ("node_hwmon_temp_celsius", &CONTROL, 75.0),
            ("node_hwmon_temp_celsius", &REAL, 48.0),
            (
                "node_hwmon_sensor_label",
                &[("chip", "pci_0"), ("sensor", "temp1"), ("label", "Tctl")],
                1.0,
            ),
            (
                "node_hwmon_sensor_label",
                &[("chip", "pci_0"), ("sensor", "temp2"), ("label", "Tdie")],
                1.0,
            ),
        ];
        assert_eq!(now("temperature_celsius", &sensors), Some(48.0));
        assert_eq!(now("temperature_celsius", &sensors[..4]), Some(75.0));
    }

    #[test]
    fn a_board_without_sensor_chips_has_thermal_zones() {
        let zones: [Given<'_>; 2] = [
            ("node_thermal_zone_temp", &[("type", "battery"), ("zone", "0")], 60.0),
            ("node_thermal_zone_temp", &[("type", "cpu-thermal"), ("zone", "1")], 44.0),
        ];
        assert_eq!(now("temperature_celsius", &zones), Some(44.0));
        assert_eq!(now("temperature_celsius", &zones[..1]), None);
    }

    #[test]
    fn uptime_is_since_boot_and_absent_when_the_clock_is_behind_it() {
        let times = |now| -> [Given<'static>; 2] {
            [("node_time_seconds", &[], now), ("node_boot_time_seconds", &[], 1000.0)]
        };
        assert_eq!(now("uptime_seconds", &times(1060.0)), Some(60.0));
        assert_eq!(now("uptime_seconds", &times(940.0)), None);
    }

    #[test]
    fn loads_go_through_as_they_are() {
        let loads: [Given<'_>; 3] =
            [("node_load1", &[], 0.5), ("node_load15", &[], 0.25), ("node_load5", &[], 0.75)];
        assert_eq!(now("load_1", &loads), Some(0.5));
        assert_eq!(now("load_5", &loads), Some(0.75));
        assert_eq!(now("load_15", &loads), Some(0.25));
    }
}

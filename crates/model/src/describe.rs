//! What a metric is: the row from which `# HELP`, `# TYPE` and the reference pages come.

/// The type of a metric family, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Counter,
    Gauge,
    /// `untyped` in text 0.0.4, `unknown` in OpenMetrics.
    Untyped,
}

/// One row of a collector's `metrics` table.
///
/// `name` and `help` may hold one `*`: the row then stands for a family of names that the kernel
/// coins (`node_memory_*_bytes`), and `*` in the help is replaced by what it matched.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Base unit: "seconds", "bytes", "ratio", … or "" for counts and flags.
    pub unit: &'static str,
    pub help: &'static str,
}

impl Metric {
    pub const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
        Metric { name, kind: Kind::Counter, unit, help }
    }

    pub const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
        Metric { name, kind: Kind::Gauge, unit, help }
    }

    pub const fn untyped(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
        Metric { name, kind: Kind::Untyped, unit, help }
    }
}

/// What is known about one concrete metric name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub collector: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    pub help: String,
}

//! One of the machine's largest processes, as one tick saw it.

use crate::Text;

/// A row, not a series: processes come and go, and a pid in a label would make series without end.
/// What is not known (or may not be read) is none, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopProcess {
    pub pid: u32,
    /// As the kernel has it: at most 15 bytes of a program's name.
    pub name: Text,
    /// The effective user's name, or its number where there is no name.
    pub user: Option<Text>,
    /// The systemd unit.
    pub unit: Option<Text>,
    /// A container's id, or its name where its engine has only names.
    pub container: Option<Text>,
    /// The program, or its whole command line, as far as it was asked for.
    pub command: Option<Text>,
    /// Of one core since the tick before; none at the process's first sight.
    pub cpu_ratio: Option<f64>,
    pub resident_bytes: u64,
    pub read_bytes_per_second: Option<u64>,
    pub written_bytes_per_second: Option<u64>,
}

impl TopProcess {
    /// Bytes read and written a second, where either is known.
    pub fn disk_bytes_per_second(&self) -> Option<u64> {
        let known = [self.read_bytes_per_second, self.written_bytes_per_second];
        known.into_iter().flatten().reduce(u64::saturating_add)
    }
}

//! The vital signs as people read them: one table for every screen (`farol status`, the page), with
//! the units people say aloud. It stands beside the summary because both know the signs by name;
//! screens know none. The largest processes are told here in the same way.

use farol_model::TopProcess;

/// One line or tile of a screen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    pub title: &'static str,
    pub value: String,
    /// What belongs beside the value: "1.2 GiB of 2.4 GiB"; may be empty.
    pub detail: String,
    /// How full it is, 0 to 1, where that can be said.
    pub share: Option<f64>,
}

type Figures<'a> = &'a dyn Fn(&str) -> Option<f64>;

/// The signs whose figures are there, in the order people ask for them. `figures` gives a figure by
/// its short name (`cpu_percent`).
pub fn signs(figures: Figures<'_>) -> Vec<Sign> {
    ROWS.iter()
        .filter_map(|(title, row)| row(figures).map(|reading| reading.titled(title)))
        .collect()
}

/// A row's reading, not yet titled.
struct Reading {
    value: String,
    detail: String,
    share: Option<f64>,
}

impl Reading {
    fn new(value: String, detail: String) -> Reading {
        Reading { value, detail, share: None }
    }

    fn titled(self, title: &'static str) -> Sign {
        Sign { title, value: self.value, detail: self.detail, share: self.share }
    }
}

const ROWS: &[(&str, fn(Figures<'_>) -> Option<Reading>)] = &[
    ("CPU", |figure| {
        let percent = figure("cpu_percent")?;
        let detail = figure("cpu_freq_ghz").map(|ghz| format!("at {ghz:.2} GHz"));
        Some(full(percent, detail.unwrap_or_default()))
    }),
    ("Load", |figure| {
        let older = figure("load_5").zip(figure("load_15"));
        let detail = older.map(|(five, fifteen)| format!("5 min {five:.2}, 15 min {fifteen:.2}"));
        Some(Reading::new(format!("{:.2}", figure("load_1")?), detail.unwrap_or_default()))
    }),
    ("Memory", |figure| used(figure, "memory_percent", "memory_used_bytes", "memory_total_bytes")),
    ("Swap", |figure| Some(full(figure("swap_percent")?, String::new()))),
    ("Disk /", |figure| used(figure, "disk_percent", "disk_used_bytes", "disk_total_bytes")),
    ("Network", |figure| {
        let (into, out) = (megabits(figure("net_in_mbps")?), megabits(figure("net_out_mbps")?));
        Some(Reading::new(format!("{into} in"), format!("{out} out")))
    }),
    ("Ping", |figure| {
        let lost = figure("network_loss_percent").map(|lost| format!("{lost:.0} % lost"));
        // A target that answers no more still says something: how much is lost.
        let time = figure("ping_ms").map(|ms| format!("{ms:.2} ms"));
        match (time, lost) {
            (None, None) => None,
            (time, lost) => {
                let time = time.unwrap_or_else(|| "no answer".into());
                Some(Reading::new(time, lost.unwrap_or_default()))
            }
        }
    }),
    ("Latency", |figure| {
        Some(Reading::new(format!("{:.2} ms", figure("latency_ms")?), "TCP".into()))
    }),
    ("Temperature", |figure| {
        let celsius = figure("temperature_celsius")?;
        Some(Reading::new(format!("{celsius:.0} °C"), "hottest CPU sensor".into()))
    }),
    ("Uptime", |figure| Some(Reading::new(span(figure("uptime_seconds")?), String::new()))),
];

fn full(percent: f64, detail: String) -> Reading {
    let share = Some((percent / 100.0).clamp(0.0, 1.0));
    Reading { value: format!("{percent:.1} %"), detail, share }
}

fn used(figure: Figures<'_>, percent: &str, used: &str, total: &str) -> Option<Reading> {
    let amounts = figure(used).zip(figure(total));
    let detail = amounts.map(|(used, total)| format!("{} of {}", bytes(used), bytes(total)));
    Some(full(figure(percent)?, detail.unwrap_or_default()))
}

/// What the largest processes are the largest by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Cpu,
    Memory,
    Disk,
}

impl By {
    /// In the order people ask for them.
    pub const ALL: [By; 3] = [By::Cpu, By::Memory, By::Disk];

    pub const fn title(self) -> &'static str {
        match self {
            By::Cpu => "CPU",
            By::Memory => "Memory",
            By::Disk => "Disk",
        }
    }

    /// `25.0 %` of one core, `393 MiB`, `64.0 KiB/s`
    pub fn value(self, process: &TopProcess) -> Option<String> {
        let size = self.size(process)?;
        Some(match self {
            By::Cpu => format!("{:.1} %", size * 100.0),
            By::Memory => bytes(size),
            By::Disk => format!("{}/s", bytes(size)),
        })
    }

    fn size(self, process: &TopProcess) -> Option<f64> {
        match self {
            By::Cpu => process.cpu_ratio,
            By::Memory => Some(process.resident_bytes as f64),
            By::Disk => process.disk_bytes_per_second().map(|bytes| bytes as f64),
        }
    }
}

/// The largest first; those of size 0 are none.
pub fn largest(top: &[TopProcess], by: By, most: usize) -> Vec<&TopProcess> {
    let sized = top.iter().filter_map(|process| Some((by.size(process)?, process)));
    let mut sized: Vec<_> = sized.filter(|(size, _)| *size > 0.0).collect();
    sized.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    sized.into_iter().take(most).map(|(_, process)| process).collect()
}

/// `mysqld (812), mysql, mysql.service, container 4c0f0b7d4f9a`
pub fn process_in_words(process: &TopProcess) -> String {
    // As the engines' own tools show an id.
    const SHOWN: usize = 12;
    let mut words = format!("{} ({})", process.name, process.pid);
    for word in [&process.user, &process.unit].into_iter().flatten() {
        words.push_str(", ");
        words.push_str(word);
    }
    if let Some(container) = &process.container {
        words.push_str(", container ");
        words.extend(container.chars().take(SHOWN));
    }
    words
}

/// `1.2 GiB`, `964 KiB`
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

fn megabits(megabits: f64) -> String {
    match megabits {
        rate if rate >= 1000.0 => format!("{:.2} Gbit/s", rate / 1000.0),
        rate if rate >= 1.0 => format!("{rate:.1} Mbit/s"),
        rate => format!("{:.0} kbit/s", rate * 1000.0),
    }
}

/// The two largest parts: `3 d 4 h`, `12 min`, `8 s`.
pub fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{:.0} s", seconds.max(0.0));
    }
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use farol_model::Text;

    use super::*;

    #[test]
    fn the_largest_processes_are_told_by_what_they_are_large_in() {
        let process = |pid, cpu_ratio, resident_bytes, disk| TopProcess {
            pid,
            name: Text::from_static("db"),
            cpu_ratio,
            resident_bytes,
            written_bytes_per_second: disk,
            ..TopProcess::default()
        };
        let top = [
            process(1, None, 3 << 20, Some(65_536)),
            process(2, Some(0.25), 1 << 20, None),
            process(3, Some(1.5), 2 << 20, Some(0)),
        ];
        let told = |by: By| {
            let told = largest(&top, by, 2).into_iter();
            told.map(|process| (process.pid, by.value(process).unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(told(By::Cpu), [(3, "150.0 %".into()), (2, "25.0 %".into())]);
        assert_eq!(told(By::Memory), [(1, "3.0 MiB".into()), (3, "2.0 MiB".into())]);
        assert_eq!(told(By::Disk), [(1, "64.0 KiB/s".into())]);
    }

    #[test]
    fn a_process_is_named_with_whom_it_belongs_to() {
        let mut process = TopProcess { pid: 8, name: "db".into(), ..TopProcess::default() };
        assert_eq!(process_in_words(&process), "db (8)");
        process.user = Some("mysql".into());
        process.unit = Some("db.service".into());
        process.container = Some("4c0f0b7d4f9a1e2d".into());
        let expected = "db (8), mysql, db.service, container 4c0f0b7d4f9a";
        assert_eq!(process_in_words(&process), expected);
    }

    #[test]
    fn a_sign_whose_figure_is_absent_is_left_out_and_never_zero() {
        let signs = signs(&|name| match name {
            "cpu_percent" => Some(12.34),
            "memory_percent" => Some(50.0),
            "memory_used_bytes" => Some(1_288_490_189.0),
            "memory_total_bytes" => Some(2_576_980_378.0),
            _ => None,
        });
        let shown: Vec<_> = signs
            .iter()
            .map(|sign| (sign.title, sign.value.as_str(), sign.detail.as_str(), sign.share))
            .collect();
        assert_eq!(
            shown,
            [
                ("CPU", "12.3 %", "", Some(0.1234)),
                ("Memory", "50.0 %", "1.2 GiB of 2.4 GiB", Some(0.5)),
            ]
        );
    }

    #[test]
    fn a_target_that_answers_no_more_is_shown_as_lost() {
        let signs = signs(&|name| (name == "network_loss_percent").then_some(100.0));
        assert_eq!(
            (signs[0].value.as_str(), signs[0].detail.as_str()),
            ("no answer", "100 % lost")
        );
    }

    #[test]
    fn each_figure_a_screen_asks_for_is_a_row_of_the_summary() {
        let asked = std::cell::RefCell::new(Vec::new());
        let remember = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            Some(1.0)
        };
        signs(&remember);
        for name in asked.into_inner() {
            let is_row = crate::summary::ROWS.iter().any(|row| row.short_name() == name);
            assert!(is_row, "{name}");
        }
    }

    #[test]
    fn quantities_are_written_as_people_say_them() {
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(150.0 * 1024.0), "150 KiB");
        assert_eq!(megabits(0.02), "20 kbit/s");
        assert_eq!(megabits(1500.0), "1.50 Gbit/s");
        assert_eq!(span(3.0 * 86400.0 + 4.0 * 3600.0), "3 d 4 h");
        assert_eq!(span(7260.0), "2 h 1 min");
        assert_eq!(span(59.0), "59 s");
    }
}

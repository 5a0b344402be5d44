//! `loadavg`: how many tasks were running or waiting, averaged over 1, 5 and 15 minutes.
//! Source: `/proc/loadavg` (fs/proc/loadavg.c).

use farol_model::{Lane, Metric};

use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const NAMES: [&str; 3] = ["node_load1", "node_load5", "node_load15"];

pub(crate) const ENTRY: Entry = Entry {
    name: "loadavg",
    about: "load averages",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/loadavg"],
    metrics: &[
        Metric::gauge(NAMES[0], "", "1m load average."),
        Metric::gauge(NAMES[1], "", "5m load average."),
        Metric::gauge(NAMES[2], "", "15m load average."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Loadavg { file: HotFile::new(Tree::Proc, "loadavg") }))
}

struct Loadavg {
    file: HotFile,
}

impl Collector for Loadavg {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let loads = parse(self.file.read_str(host)?)?;
        for (name, load) in NAMES.into_iter().zip(loads) {
            out.push(name, &[], load);
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<[f64; 3], CollectError> {
    let malformed = || CollectError::Failed(format!("loadavg: not three numbers: {text:?}"));
    let mut fields = text.split_ascii_whitespace();
    let mut load = || fields.next()?.parse::<f64>().ok();
    match (load(), load(), load()) {
        (Some(one), Some(five), Some(fifteen)) => Ok([one, five, fifteen]),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_are_read_and_the_rest_of_the_line_is_ignored() {
        assert_eq!(parse("0.21 0.37 0.39 1/719 19737\n").unwrap(), [0.21, 0.37, 0.39]);
    }

    #[test]
    fn a_torn_line_is_a_failure_that_shows_the_line() {
        let error = parse("0.21 x").unwrap_err();
        assert_eq!(error.to_string(), r#"loadavg: not three numbers: "0.21 x""#);
    }
}

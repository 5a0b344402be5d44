//! `vmstat`: page faults, paging, swapping, kills for lack of memory. Source: `/proc/vmstat`
//! (mm/vmstat.c), of which the fields that the option `vmstat_fields` matches.

use farol_model::{Lane, Metric};
use regex::Regex;

use super::lines::{CoinedNames, is_name_part, malformed};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "vmstat";

pub(crate) const ENTRY: Entry = Entry {
    name: "vmstat",
    about: "paging, swapping, page faults, kills for lack of memory",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/vmstat"],
    metrics: &[Metric::untyped("node_vmstat_*", "", "/proc/vmstat information field *.")],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Vmstat {
        file: HotFile::new(Tree::Proc, FILE),
        fields: options.vmstat_fields.clone(),
        names: Default::default(),
    }))
}

struct Vmstat {
    file: HotFile,
    fields: Regex,
    names: CoinedNames,
}

impl Collector for Vmstat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, &self.fields, &mut self.names, out);
        Ok(())
    }
}

pub(crate) fn parse(text: &str, wanted: &Regex, names: &mut CoinedNames, out: &mut Scrape) {
    let coin = |key: &str| {
        (is_name_part(key) && wanted.is_match(key)).then(|| format!("node_vmstat_{key}"))
    };
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = line.split_once(' ') else {
            out.problem(malformed(FILE, line));
            continue;
        };
        let Some(name) = names.name(index, key, coin) else { continue };
        match value.trim_ascii().parse::<u64>() {
            Ok(value) => out.push_coined(name, &[], value as f64),
            Err(_) => out.problem(malformed(FILE, line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Scrape {
        let mut out = Scrape::new();
        let wanted = Options::default().vmstat_fields;
        parse(text, &wanted, &mut CoinedNames::default(), &mut out);
        out
    }

    #[test]
    fn only_the_wanted_fields_are_taken() {
        let out = parsed("nr_free_pages 5\npgpgin 7344136\npgfault 2320168\noom_kill 0\n");
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                ("node_vmstat_pgpgin", 7_344_136.0),
                ("node_vmstat_pgfault", 2_320_168.0),
                ("node_vmstat_oom_kill", 0.0),
            ]
        );
    }

    #[test]
    fn a_malformed_line_is_named_and_the_rest_goes_on() {
        let mut out = parsed("pgpgin x\npgpgout 1\nnr_odd\n");
        assert_eq!(out.samples().len(), 1);
        assert_eq!(
            out.take_problems(),
            [r#"vmstat: malformed: "pgpgin x""#, r#"vmstat: malformed: "nr_odd""#]
        );
    }
}

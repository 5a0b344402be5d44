//! `filefd`: file handles in use and the most the kernel allows. Source: `/proc/sys/fs/file-nr`
//! (fs/file_table.c): allocated, free (always 0 since 2.6), maximum.

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "sys/fs/file-nr";
const ALLOCATED: &str = "node_filefd_allocated";
const MAXIMUM: &str = "node_filefd_maximum";

pub(crate) const ENTRY: Entry = Entry {
    name: "filefd",
    about: "open file handles of the whole machine and their limit",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/sys/fs/file-nr"],
    metrics: &[
        Metric::gauge(ALLOCATED, "", "File descriptor statistics: allocated."),
        Metric::gauge(MAXIMUM, "", "File descriptor statistics: maximum."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Filefd { file: HotFile::new(Tree::Proc, FILE) }))
}

struct Filefd {
    file: HotFile,
}

impl Collector for Filefd {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out)
    }
}

pub(crate) fn parse(text: &str, out: &mut Scrape) -> Result<(), CollectError> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(Ok(allocated)), Some(_), Some(Ok(maximum))) => {
            out.push(ALLOCATED, &[], allocated as f64);
            out.push(MAXIMUM, &[], maximum as f64);
            Ok(())
        }
        _ => Err(CollectError::Failed(malformed(FILE, text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_third_number_are_taken() {
        let mut out = Scrape::new();
        parse("1024\t0\t1631329\n", &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|sample| sample.value).collect();
        assert_eq!(values, [1024.0, 1_631_329.0]);
    }

    #[test]
    fn a_torn_line_is_a_failure_that_shows_the_line() {
        let error = parse("1024\t0\n", &mut Scrape::new()).unwrap_err();
        assert_eq!(error.to_string(), r#"sys/fs/file-nr: malformed: "1024\t0\n""#);
    }
}

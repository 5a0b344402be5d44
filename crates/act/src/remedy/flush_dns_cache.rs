//! Empties the machine's cache of looked-up names.

use std::{path::Path, sync::Arc};

use super::{
    BuiltIn, Fault, Fields, Job, MINUTE, NotGranted, Outcome, Surroundings, Treatment,
    child::{self, Program},
    restart_unit::explained,
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "flush_dns_cache",
    about: "Empties the cache of systemd-resolved or nscd, whichever runs.",
    cooldown: MINUTE.saturating_mul(30),
    is_default: true,
    fields: &[],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct FlushDnsCache;

fn build(_fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    Ok(Arc::new(FlushDnsCache))
}

const NOTHING: &str = "nothing to flush: neither systemd-resolved nor nscd runs here";

/// Where it leaves a trace while it runs, its program, and what that is told.
const CACHES: &[(&str, &[&str], &[&str])] = &[
    ("/run/systemd/resolve", &["/usr/bin/resolvectl", "/bin/resolvectl"], &["flush-caches"]),
    ("/run/nscd/socket", &["/usr/sbin/nscd", "/sbin/nscd"], &["-i", "hosts"]),
    ("/var/run/nscd/socket", &["/usr/sbin/nscd", "/sbin/nscd"], &["-i", "hosts"]),
];

fn find() -> Option<Program> {
    let running = CACHES.iter().filter(|(trace, ..)| Path::new(trace).exists());
    running
        .filter_map(|(_, paths, arguments)| Some(child::of_system(child::find(paths)?, arguments)))
        .next()
}

impl Treatment for FlushDnsCache {
    fn what(&self) -> String {
        "empty the cache of looked-up names".to_owned()
    }

    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        Ok(())
    }

    fn rehearse(&self, _job: &Job<'_>) -> Outcome {
        Outcome::good(match find() {
            Some(program) => {
                format!("would run {} {}", program.path.display(), program.arguments.join(" "))
            }
            None => NOTHING.to_owned(),
        })
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        match find() {
            Some(program) => {
                let done = format!("emptied the cache with {}", program.path.display());
                explained(child::run(&program, job.leash), &done)
            }
            None => Outcome::good(NOTHING),
        }
    }
}

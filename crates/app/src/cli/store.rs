//! `farol store stats | verify | rebuild`: the store, looked at without a running Farol and without
//! its lock; and derived anew, which needs it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_collect::signs;
use farol_disk::{Disk, RealDisk};
use farol_model::Timestamp;
use farol_store::{BlockReport, Stats};
use serde_json::{Value, json};

use super::{Out, complain, running};
use crate::{
    clock,
    config::{self, Config},
    history,
    look::{self, Looked},
    rebuild,
    run::group_id,
};

pub(super) fn configure(command: Command) -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("The same as JSON");
    let stats = Command::new("stats").about("Say what the store holds").arg(json);
    let verify = Command::new("verify").about("Read every file and name what is damaged");
    let rebuild = Command::new("rebuild").about(
        "Derive the store anew from the journal, while no Farol runs; what the journal no longer \
         holds is kept",
    );
    command
        .subcommand_required(true)
        .subcommand(running::configure(stats))
        .subcommand(running::configure(verify))
        .subcommand(running::configure(rebuild))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    let config = config::from_process(config::flags_from(matches))?.config;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    match name {
        "stats" => stats(&disk, &config, matches.get_flag("json"), out),
        "verify" => verify(&*disk, &folder(&config)?, out),
        _ => rebuild(&disk, &config, out),
    }
}

/// A folder that is not there is a slip of the hand and not an empty store.
fn folder(config: &Config) -> anyhow::Result<PathBuf> {
    let folder = look::folder(config);
    anyhow::ensure!(
        folder.is_dir(),
        "there is no folder {}; name the one it is in with --data",
        folder.display()
    );
    Ok(folder)
}

fn stats(
    disk: &Arc<dyn Disk>,
    config: &Config,
    as_json: bool,
    out: &mut Out,
) -> anyhow::Result<ExitCode> {
    let looked = look::look(disk, config)?;
    for damage in &looked.damage {
        complain(format!("farol: {damage}"));
    }
    let max_bytes = config.store.max_size;
    let figures = Figures { stats: looked.store.stats(), max_bytes, looked: &looked };
    let folder = looked.folder.clone();
    match as_json {
        true => out.line(serde_json::to_string_pretty(&figures.object(&folder))?),
        false => out.text(figures.table(&folder)),
    }
    Ok(ExitCode::SUCCESS)
}

struct Figures<'a> {
    stats: Stats,
    max_bytes: u64,
    looked: &'a Looked,
}

impl Figures<'_> {
    fn table(&self, folder: &Path) -> String {
        let Stats {
            series,
            head_series,
            head_samples,
            blocks,
            block_samples,
            tier_blocks: [quarters, fives],
            bytes,
            oldest,
            newest,
            ..
        } = self.stats;
        let (size, most) = (signs::bytes(bytes as f64), signs::bytes(self.max_bytes as f64));
        let rows = [
            ("folder", folder.display().to_string()),
            ("size", format!("{size} of {most} at most")),
            ("series", format!("{series}, {head_series} of them in memory")),
            ("blocks", format!("{blocks} with {block_samples} samples")),
            ("tiers", format!("{quarters} days in steps of 15 s, {fives} in steps of 5 min")),
            ("in memory", format!("{head_samples} samples of windows that are in no block yet")),
            ("journal", format!("{} snapshots beyond the blocks", self.looked.replayed)),
            ("oldest", shown(oldest)),
            ("newest", shown(newest)),
        ];
        let mut table = String::new();
        for (title, value) in rows {
            table.push_str(&format!("{title:<11}{value}\n"));
        }
        table
    }

    fn object(&self, folder: &Path) -> Value {
        let stats = &self.stats;
        json!({
            "folder": folder.display().to_string(),
            "bytes": stats.bytes,
            "max_bytes": self.max_bytes,
            "series": stats.series,
            "head_series": stats.head_series,
            "head_samples": stats.head_samples,
            "blocks": stats.blocks,
            "block_samples": stats.block_samples,
            "tier_blocks": stats.tier_blocks,
            "replayed_snapshots": self.looked.replayed,
            "oldest": stats.oldest.map(clock::rfc3339),
            "newest": stats.newest.map(clock::rfc3339),
        })
    }
}

fn shown(at: Option<Timestamp>) -> String {
    at.map_or("nothing".to_owned(), clock::rfc3339)
}

fn verify(disk: &dyn Disk, folder: &Path, out: &mut Out) -> anyhow::Result<ExitCode> {
    let reports = farol_store::verify(disk, folder)?;
    for report in &reports {
        out.text(lines(report));
    }
    if reports.is_empty() {
        out.line(format!("no block in {}", folder.display()));
    }
    let is_sound = reports.iter().all(|report| report.damage.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rebuild(disk: &Arc<dyn Disk>, config: &Config, out: &mut Out) -> anyhow::Result<ExitCode> {
    let folder = folder(config)?;
    let settings = history::store_config(config, folder, group_id(config)?);
    let rebuilt = rebuild::rebuild(disk, &config.logs, &settings)?;
    for file in &rebuilt.kept {
        out.line(format!("{file:<44} kept: the journal does not hold (all of) it"));
    }
    for file in &rebuilt.derived {
        out.line(format!("{file:<44} derived anew"));
    }
    out.line(format!("{} snapshots of the journal were read", rebuilt.snapshots));
    Ok(ExitCode::SUCCESS)
}

fn lines(report: &BlockReport) -> String {
    let BlockReport { file, bytes, kind, series, samples, damage, .. } = report;
    let verdict = if damage.is_empty() { "good" } else { "DAMAGED" };
    let mut lines = format!(
        "{file:<44} {kind:<6} {series:>7} series {samples:>10} samples {bytes:>11} bytes  {verdict}\n"
    );
    for error in damage {
        lines.push_str(&format!("    {error}\n"));
    }
    lines
}

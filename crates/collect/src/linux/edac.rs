//! `edac`: memory errors that the hardware corrected, and those it could not. Source:
//! `/sys/devices/system/edac/mc` (drivers/edac/edac_mc_sysfs.c, Documentation/admin-guide/ras.rst).

use farol_model::{Lane, Metric};

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const CORRECTED: &str = "node_edac_correctable_errors_total";
const UNCORRECTED: &str = "node_edac_uncorrectable_errors_total";
const ROW_CORRECTED: &str = "node_edac_csrow_correctable_errors_total";
const ROW_UNCORRECTED: &str = "node_edac_csrow_uncorrectable_errors_total";
const CHANNEL_CORRECTED: &str = "node_edac_channel_correctable_errors_total";
const CHANNEL_UNCORRECTED: &str = "node_edac_channel_uncorrectable_errors_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "edac",
    about: "corrected and uncorrected errors of the memory",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/devices/system/edac/mc"],
    metrics: &[
        Metric::counter(CORRECTED, "", "Total correctable memory errors."),
        Metric::counter(UNCORRECTED, "", "Total uncorrectable memory errors."),
        Metric::counter(ROW_CORRECTED, "", "Total correctable memory errors for this csrow."),
        Metric::counter(ROW_UNCORRECTED, "", "Total uncorrectable memory errors for this csrow."),
        Metric::counter(CHANNEL_CORRECTED, "", "Total correctable memory errors for this channel."),
        Metric::counter(
            CHANNEL_UNCORRECTED,
            "",
            "Total uncorrectable memory errors for this channel.",
        ),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Edac))
}

struct Edac;

impl Collector for Edac {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("devices/system/edac/mc");
        for (name, path) in sysfs::devices(&class)? {
            let Some(controller) = number_after("mc", &name) else { continue };
            let Ok(folder) = Folder::open(&path) else { continue };
            push_controller(out, controller, &folder);
        }
        match out.samples() {
            [] => {
                Err(CollectError::Absent(format!("{} names no memory controller", class.display())))
            }
            _ => Ok(()),
        }
    }
}

fn push_controller(out: &mut Scrape, controller: &str, folder: &Folder) {
    let mut push = |name, attribute: &str, labels: &[(&'static str, &str)]| {
        if let Some(errors) = folder.number(attribute) {
            out.push(name, labels, errors);
        }
    };
    let labels = [("controller", controller), ("csrow", "unknown")];
    push(CORRECTED, "ce_count", &labels[..1]);
    push(UNCORRECTED, "ue_count", &labels[..1]);
    // Errors that the hardware could not tell the row of.
    push(ROW_CORRECTED, "ce_noinfo_count", &labels);
    push(ROW_UNCORRECTED, "ue_noinfo_count", &labels);
    for name in folder.folders().unwrap_or_default() {
        if let Some(row) = number_after("csrow", &name)
            && let Ok(folder) = folder.inner(&name)
        {
            push_row(out, controller, row, &folder);
        }
    }
}

fn push_row(out: &mut Scrape, controller: &str, row: &str, folder: &Folder) {
    let labels = [("controller", controller), ("csrow", row)];
    if let Some(errors) = folder.number("ce_count") {
        out.push(ROW_CORRECTED, &labels, errors);
    }
    if let Some(errors) = folder.number("ue_count") {
        out.push(ROW_UNCORRECTED, &labels, errors);
    }
    for file in folder.files().unwrap_or_default() {
        let Some(channel) = file.strip_suffix("_ce_count").and_then(|ch| number_after("ch", ch))
        else {
            continue;
        };
        let label = folder.text(&format!("ch{channel}_dimm_label"));
        let label = label.as_deref().map_or_else(|| "unknown".to_owned(), dimm_label);
        let labels = [labels[0], labels[1], ("channel", channel), ("dimm_label", label.as_str())];
        if let Some(errors) = folder.number(&file) {
            out.push(CHANNEL_CORRECTED, &labels, errors);
        }
        if let Some(errors) = folder.number(&format!("ch{channel}_ue_count")) {
            out.push(CHANNEL_UNCORRECTED, &labels, errors);
        }
    }
}

/// As node_exporter writes it: `CPU_SrcID#0_MC#0_Chan#1` → `CPU_SrcID0_MC0_Chan1`, and the
/// kernel's own `mc#0csrow#0channel#1` → `mc0_csrow0_channel1`.
fn dimm_label(text: &str) -> String {
    text.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

/// `mc0` → `0`.
fn number_after<'a>(kind: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(kind)
        .filter(|rest| !rest.is_empty() && rest.bytes().all(|character| character.is_ascii_digit()))
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        drop((dimm_label(line), number_after("mc", line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_told_by_their_numbers() {
        assert_eq!(number_after("mc", "mc0"), Some("0"));
        assert_eq!(number_after("csrow", "csrow12"), Some("12"));
        assert_eq!(number_after("mc", "mc"), None);
        assert_eq!(number_after("mc", "mce0"), None);
    }

    #[test]
    fn a_dimm_label_is_written_as_node_exporter_writes_it() {
        assert_eq!(dimm_label("CPU_SrcID#0_MC#0_Chan#1_DIMM#0"), "CPU_SrcID0_MC0_Chan1_DIMM0");
        assert_eq!(dimm_label("mc#0csrow#2channel#1"), "mc0_csrow2_channel1");
    }
}

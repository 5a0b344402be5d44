//! Flags of the programs people come from that have no counterpart here. clap would offer the flag
//! that is spelt least unlike it (`--config.file` for `--web.config.file`), which misleads.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// By the beginning of the name: what to do instead.
const FOREIGN: &[(&str, &str)] = &[
    ("--web.systemd-socket", "sockets are not taken from systemd: use --listen"),
    ("--web.disable-exporter-metrics", "ask for less with /metrics?exclude[]=farol"),
    (
        "--web.enable-lifecycle",
        "/-/reload is always there, and changes are refused to other origins",
    ),
    ("--web.external-url", "links are relative: a proxy's path needs no setting"),
    ("--storage.tsdb.path", "use --data, whose folder store it is"),
    ("--storage.tsdb.", "the store's settings begin with --store, the journal's with --journal"),
    ("--path.udev.data", "udev's data is looked for below --path.run"),
    ("--collector.", "`farol collectors` lists what there is, `farol run --help` the settings"),
    ("--no-collector.", "`farol collectors` lists what there is"),
    ("--port", "use --listen, as in --listen 127.0.0.1:8000"),
    ("--verbose", "use --log.level debug"),
];

/// The same error, with a tip that helps or none.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let given = text(&error, ContextKind::InvalidArg);
    let offered = text(&error, ContextKind::SuggestedArg);
    if is_slip(&given, &offered) {
        return error;
    }
    error.remove(ContextKind::SuggestedArg);
    // Built around the flag that was offered.
    error.remove(ContextKind::Usage);
    let name = given.split('=').next().unwrap_or_default();
    if let Some((_, instead)) = FOREIGN.iter().find(|(beginning, _)| name.starts_with(beginning)) {
        let tip = ContextValue::StyledStrs(vec![(*instead).into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

/// Whether one may have been meant by the other: a letter in four may be wrong, of those behind
/// the last dot, since what is before it (`--collector.`) many flags share.
fn is_slip(given: &str, offered: &str) -> bool {
    let name = given.trim_start_matches('-').rsplit('.').next().unwrap_or_default();
    let letters = name.chars().count();
    !offered.is_empty() && strsim::damerau_levenshtein(given, offered) <= (letters / 4).clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(flag: &str) -> String {
        let error = super::super::command().try_get_matches_from(["farol", "run", flag]);
        explain(error.unwrap_err()).to_string()
    }

    #[test]
    fn a_slip_is_corrected_and_a_foreign_flag_explained() {
        assert!(told("--intervall").contains("'--interval'"), "{}", told("--intervall"));
        assert!(told("--collector.hwmonn").contains("'--collector.hwmon'"));
        for (flag, tip) in [
            ("--web.systemd-socket", "use --listen"),
            ("--collector.wifi", "farol collectors"),
            ("--storage.tsdb.path=/data", "--data"),
        ] {
            let told = told(flag);
            assert!(told.contains(tip) && !told.contains("similar"), "{told}");
        }
        assert!(!told("--nonsense").contains("tip:"));
    }

    /// A flag that came to be known needs no excuse any more.
    #[test]
    fn what_is_called_foreign_is_unknown() {
        for (flag, _) in FOREIGN.iter().filter(|(flag, _)| !flag.ends_with('.')) {
            told(flag);
        }
    }
}

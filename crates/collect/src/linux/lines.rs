//! What the collectors of line-by-line procfs files share: names that are coined once and then
//! remembered by line, pairs of a key and a number, and the sentence that shows a malformed line.

use crate::Scrape;

/// What each line's key became, by the line's position in its file.
///
/// The kernel prints its fields in one order for the life of a machine, so that the next tick finds
/// each name where the last one left it, by one comparison: no pattern is matched and no text built
/// again. Where the key differs (a module came or went), it is coined anew.
#[derive(Debug, Default)]
pub(crate) struct CoinedNames {
    /// Key and the metric's name; no name when the key is filtered out.
    by_line: Vec<(String, Option<String>)>,
}

impl CoinedNames {
    /// The name for `key`, which stands in line `line`; `None` when it is not wanted.
    pub(crate) fn name(
        &mut self,
        line: usize,
        key: &str,
        coin: impl FnOnce(&str) -> Option<String>,
    ) -> Option<&str> {
        if self.by_line.len() <= line {
            // Only the lines in between are new, and the kernel's files have a few hundred.
            self.by_line.resize_with(line + 1, || (String::new(), None));
        }
        let remembered = &mut self.by_line[line];
        if remembered.0 != key {
            *remembered = (key.to_owned(), coin(key));
        }
        remembered.1.as_deref()
    }
}

/// Lines of a key and a whole number; those of any other shape are passed over.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim_ascii().parse().ok()?))
    })
}

/// What is said of a line that cannot be read: the file and (the beginning of) the line.
pub(crate) fn malformed(file: &str, line: &str) -> String {
    const SHOWN: usize = 80;
    match line.char_indices().nth(SHOWN) {
        None => format!("{file}: malformed: {line:?}"),
        Some((end, _)) => {
            let beginning = line.get(..end).unwrap_or_default();
            format!("{file}: malformed: {beginning:?}…")
        }
    }
}

/// Gives each line to `parse_line`, and names those that are not as it expects.
pub(crate) fn each_line(
    file: &str,
    text: &str,
    out: &mut Scrape,
    parse_line: impl Fn(&str, &mut Scrape) -> Option<()>,
) {
    for line in text.lines() {
        if parse_line(line, out).is_none() {
            out.problem(malformed(file, line));
        }
    }
}

/// A key the kernel coins becomes part of a metric's name: only what may stand there.
pub(crate) fn is_name_part(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_coined_once_for_as_long_as_its_line_keeps_its_key() {
        let mut names = CoinedNames::default();
        let coin = |key: &str| Some(format!("node_{key}"));
        assert_eq!(names.name(3, "MemFree", coin), Some("node_MemFree"));
        let never = |_: &str| unreachable!("known");
        assert_eq!(names.name(3, "MemFree", never), Some("node_MemFree"));
        assert_eq!(names.name(3, "Zswap", coin), Some("node_Zswap"));
        assert_eq!(names.name(3, "MemFree", |_| None), None);
    }

    #[test]
    fn a_long_malformed_line_is_shown_in_part() {
        assert_eq!(malformed("snmp", "Tcp: x"), r#"snmp: malformed: "Tcp: x""#);
        let reason = malformed("snmp", &"ä".repeat(100));
        assert_eq!(reason.chars().filter(|c| *c == 'ä').count(), 80);
    }
}

//! The names of a store's files: what a person sees of them, and the order of retention.

use super::Kind;

const BLOCK: &str = ".block";
/// A file that is being written; the next start removes it.
pub(crate) const TEMPORARY: &str = ".tmp";
/// A file that could not be used and is kept for whoever wants to look.
pub(crate) const DAMAGED: &str = ".damaged";

/// `2h-1795557600-17.block`: how long a time, from when on (Unix seconds), and which of all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub kind: Kind,
    pub start: i64,
    pub number: u64,
}

impl Name {
    pub(crate) fn file(&self) -> String {
        format!("{}-{}-{}{BLOCK}", self.kind.word(), self.start, self.number)
    }

    /// The name of a block, or of one that was set aside.
    pub(crate) fn parse(file: &str) -> Option<Name> {
        let stem = file.strip_suffix(DAMAGED).unwrap_or(file).strip_suffix(BLOCK)?;
        let (kind, rest) = stem.split_once('-')?;
        let kind = Kind::ALL.into_iter().find(|known| known.word() == kind)?;
        // The start may be negative: the last dash divides.
        let (start, number) = rest.rsplit_once('-')?;
        let name = Name { kind, start: start.parse().ok()?, number: number.parse().ok()? };
        (format!("{}-{start}-{number}", kind.word()) == stem).then_some(name)
    }
}

pub(crate) fn is_block(file: &str) -> bool {
    file.ends_with(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_not_ours() {
        for start in [0, -900, 1_795_557_600] {
            let name = Name { kind: Kind::Slot, start, number: 17 };
            assert_eq!(Name::parse(&name.file()), Some(name));
            assert_eq!(Name::parse(&(name.file() + DAMAGED)), Some(name));
        }
        for other in ["lock", "2h-1-2.block.tmp", "3h-1-2.block", "2h-1.block"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}

//! The parsers of foreign text, reachable for the fuzzer: whatever the bytes, none may panic.

use std::sync::LazyLock;

use crate::{Options, Scrape, linux, probe, view};

/// Made once: the patterns cost more than the parsers.
static OPTIONS: LazyLock<Options> = LazyLock::new(Options::default);

/// Feeds the text to every parser, twice: the second time they remember the first.
pub fn parse_everything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    linux::parse_everything(&text, &OPTIONS, &mut Scrape::new());
    linux::parse_bytes(bytes);
    probe::parse_everything(bytes, &text);
    view::parse_everything(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_beginning_of_a_file_and_no_odd_byte_makes_a_parser_panic() {
        let text = "Tcp: InErrs CurrEstab\nTcp: 1 -2\nTCP: inuse 1 mem 99999999999999999999\n\
                    cpu0 1 2\nctxt\nprocessor\t: 0\ncpu MHz : 1e308\nUdp6InErrors 3 4\n=\nA=\"\\\n\
                    VERSION_ID=1.2.3\nSUPPORT_END=65535-12-31\nsome total=18446744073709551615\n\
                    7 (a) (b) S 1 2 3\nUid:\t1\t2\nread_bytes: 1\n0::/x.service\nbtime 1\n\
                    MemTotal: 1 kB\nActive(an on): 2 kB\npgpgin 18446744073709551615\n\
                    md0 : active raid1 sda1[0](F)\n      5 blocks [2/1] [U_]\n      [=>..]  check = 1% (4/5)\n\
                    commits 1\nnread nwritten\n1 2\nl2-hits 4 3\ndataset_name 7 tank\nE:ID_ATA=1\nnvme0c1n2\n";
        for end in 0..=text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes.truncate(end);
            parse_everything(&bytes);
            bytes.push(0xff);
            bytes.extend_from_slice(text.as_bytes());
            parse_everything(&bytes);
        }
    }
}

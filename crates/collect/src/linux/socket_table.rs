//! A line of `/proc/net/{tcp,tcp6,udp,udp6}` (net/ipv4/tcp_ipv4.c, net/ipv4/udp.c and their IPv6
//! twins): what `tcpstat` and `udp_queues` have in common. Bytes, because there can be a million.

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketLine {
    Titles,
    Socket { state: u8, tx_queue: u64, rx_queue: u64 },
    Malformed,
}

/// `0: 0100007F:86BE 0100007F:4AB3 06 00000000:00000000 …`: number, two addresses, state, queues.
pub(super) fn parse_line(line: &[u8]) -> SocketLine {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).peekable();
    if fields.peek().is_some_and(|field| *field == b"sl") {
        return SocketLine::Titles;
    }
    parse_socket(fields.skip(3)).unwrap_or(SocketLine::Malformed)
}

fn parse_socket<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<SocketLine> {
    let state = u8::try_from(hexadecimal(fields.next()?)?).ok()?;
    let queues = fields.next()?;
    let colon = queues.iter().position(|byte| *byte == b':')?;
    let (tx_queue, rx_queue) = (hexadecimal(&queues[..colon])?, hexadecimal(&queues[colon + 1..])?);
    Some(SocketLine::Socket { state, tx_queue, rx_queue })
}

/// Of at most 32 bits, as the kernel prints them: sums of them do not overflow.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    const MOST_DIGITS: usize = 8;
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number * 16 + u64::from(digit))
    })
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        parse_line(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_state_and_both_queues_of_a_socket() {
        let line = b"   1: 0100007F:86BE 0100007F:4AB3 06 0000000A:000000FF 03:00000C92 00000000";
        let socket = SocketLine::Socket { state: 6, tx_queue: 10, rx_queue: 255 };
        assert_eq!(parse_line(line), socket);
        let six = b"  12: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000001 00:00000000";
        let socket = SocketLine::Socket { state: 10, tx_queue: 0, rx_queue: 1 };
        assert_eq!(parse_line(six), socket);
    }

    #[test]
    fn titles_are_told_from_what_is_no_line_of_the_table() {
        assert_eq!(
            parse_line(b"  sl  local_address rem_address   st tx_queue"),
            SocketLine::Titles
        );
        for line in [&b""[..], b"1: a b", b"1: a b 0A 1", b"1: a b 0A :", b"1: a b 1FF 0:0"] {
            assert_eq!(parse_line(line), SocketLine::Malformed);
        }
    }
}

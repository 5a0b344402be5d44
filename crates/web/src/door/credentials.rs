//! The `Authorization` header (RFC 7617 Basic, RFC 6750 Bearer).

use std::fmt;

/// What a client says of itself.
#[derive(PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    Basic { user: Vec<u8>, password: Vec<u8> },
    Bearer(&'a [u8]),
}

/// Says nothing of what it holds.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Basic(…)",
            Credentials::Bearer(_) => "Bearer(…)",
        })
    }
}

pub(super) fn parse(header: &[u8]) -> Option<Credentials<'_>> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = header.split_at(space);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return (!rest.is_empty()).then_some(Credentials::Bearer(rest));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut user = from_base64(rest, STANDARD, true)?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some(Credentials::Basic { user, password })
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `padded`: the text's length is a multiple of four, filled up with `=`.
pub(super) fn from_base64(text: &[u8], alphabet: &[u8; 64], padded: bool) -> Option<Vec<u8>> {
    let mut digits = text;
    if padded {
        if !text.len().is_multiple_of(4) {
            return None;
        }
        for _ in 0..2 {
            digits = digits.strip_suffix(b"=").unwrap_or(digits);
        }
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in digits {
        let value = alphabet.iter().position(|letter| letter == digit)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // One digit alone is not even a byte.
    (digits.len() % 4 != 1).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_are_understood_in_any_case() {
        let basic = |user: &str, password: &str| {
            let (user, password) = (user.into(), password.into());
            Some(Credentials::Basic { user, password })
        };
        assert_eq!(parse(b"Basic YWxpY2U6c2VjcmV0"), basic("alice", "secret"));
        assert_eq!(parse(b"bASIC YWxpY2U6YTpiOmM="), basic("alice", "a:b:c"));
        assert_eq!(parse(b"Basic YTo="), basic("a", ""));
        assert_eq!(parse(b"Basic Og=="), basic("", ""));
        assert_eq!(parse(b"Bearer abc"), Some(Credentials::Bearer(b"abc")));
        assert_eq!(parse(b"bearer  abc "), Some(Credentials::Bearer(b"abc")));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic YWxpY2U",
            "Basic YWxpY2U=",
            "Basic YWxpY2U6c2VjcmV0=",
            "Basic !WxpY2U6c2VjcmV0",
            "Basic YWxp Y2U6",
            "Bearer ",
            "Digest abc",
            "BasicYWxpY2U6c2VjcmV0",
        ] {
            assert_eq!(parse(header.as_bytes()), None, "{header:?}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", parse(b"Basic YWxpY2U6c2VjcmV0").unwrap()), "Basic(…)");
    }
}

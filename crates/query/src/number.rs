//! Numbers as Prometheus' API prints them.

/// The shortest text that comes back to the same number: plain between 1e-6 and 1e21, else with an
/// exponent of two digits at least; `NaN`, `+Inf`, `-Inf`.
pub fn print_number(value: f64, into: &mut Vec<u8>) {
    let size = value.abs();
    let whole = size as u64;
    let is_whole = whole as f64 == size;
    // Most values: the text is the right one as it is, without an exponent or a `.0` to look for.
    if !is_whole && (1e-5..EXACT as f64).contains(&size) {
        return into.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
    if !value.is_finite() {
        return into.extend_from_slice(match value {
            f64::INFINITY => b"+Inf",
            f64::NEG_INFINITY => b"-Inf",
            _ => b"NaN",
        });
    }
    if value.is_sign_negative() {
        into.push(b'-');
    }
    if is_whole && whole < EXACT {
        return print_whole(whole, into);
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(size).as_bytes();
    match text.iter().position(|byte| *byte == b'e') {
        None => into.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text)),
        Some(place) => print_scientific(&text[..place], &text[place + 1..], into),
    }
}

/// Below it every whole number is its own shortest text.
const EXACT: u64 = 1 << 53;

fn print_whole(mut whole: u64, into: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (whole % 10) as u8;
        whole /= 10;
        if whole == 0 {
            return into.extend_from_slice(&digits[at..]);
        }
    }
}

/// From `d.ddd` and an exponent: the point moved, or an exponent as Go writes it.
fn print_scientific(mantissa: &[u8], exponent: &[u8], into: &mut Vec<u8>) {
    let is_small = exponent.first() == Some(&b'-');
    let power = exponent.iter().filter(|byte| byte.is_ascii_digit());
    let power = power.fold(0_usize, |power, digit| power * 10 + usize::from(digit - b'0'));
    let first = mantissa[0];
    let rest = mantissa.get(2..).unwrap_or_default();
    let rest = if rest == b"0" { &[][..] } else { rest };
    match (is_small, power) {
        (true, ..=6) => {
            into.extend_from_slice(b"0.");
            into.resize(into.len() + power - 1, b'0');
            into.push(first);
            into.extend_from_slice(rest);
        }
        (false, ..21) => {
            into.push(first);
            let (before, after) = rest.split_at(rest.len().min(power));
            into.extend_from_slice(before);
            into.resize(into.len() + power - before.len(), b'0');
            if !after.is_empty() {
                into.push(b'.');
                into.extend_from_slice(after);
            }
        }
        _ => {
            into.push(first);
            if !rest.is_empty() {
                into.push(b'.');
                into.extend_from_slice(rest);
            }
            into.extend_from_slice(if is_small { b"e-" } else { b"e+" });
            if power < 10 {
                into.push(b'0');
            }
            print_whole(power as u64, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(value: f64) -> String {
        let mut text = Vec::new();
        print_number(value, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn numbers_are_printed_as_go_prints_them_for_prometheus() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-15.0, "-15"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (0.30000000000000004, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (9007199254740991.0, "9007199254740991"),
            (9007199254740992.0, "9007199254740992"),
            (123456789012345680.0, "123456789012345680"),
            (1.5e20, "150000000000000000000"),
            (999999999999999900000.0, "999999999999999900000"),
            (1e21, "1e+21"),
            (-1.2345e22, "-1.2345e+22"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e-4, "0.0001"),
            (1.5e-5, "0.000015"),
            (-1e-5, "-0.00001"),
            (9.999999999999999e-6, "0.000009999999999999999"),
            (4503599627370495.5, "4503599627370495.5"),
            (1e-6, "0.000001"),
            (1.25e-6, "0.00000125"),
            (9.99e-7, "9.99e-07"),
            (-2.5e-8, "-2.5e-08"),
            (1e-10, "1e-10"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (crate::ABSENT, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(printed(value), text, "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_number_is_the_same_number_and_none_is_shorter(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = printed(value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
            let shortest = format!("{value:e}");
            let digits = |text: &str| {
                let mantissa = text.split('e').next().unwrap_or(text);
                mantissa.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>()
            };
            let trimmed = |digits: Vec<u8>| {
                let text = String::from_utf8(digits).unwrap();
                text.trim_matches('0').to_owned()
            };
            // Of two that are as short, and as near, either may be printed.
            prop_assert_eq!(trimmed(digits(&text)).len(), trimmed(digits(&shortest)).len());
        }

        #[test]
        fn whole_numbers_are_printed_whole(value in -9_007_199_254_740_992_i64..9_007_199_254_740_992) {
            prop_assert_eq!(printed(value as f64), value.to_string());
        }
    }
}

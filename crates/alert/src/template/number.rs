//! Numbers as Go's `fmt` writes them.

/// `%v`: the shortest text that comes back to the same number, with an exponent below 1e-4 and from
/// 1e6 on.
pub(super) fn shortest(value: f64) -> String {
    general(value, None, false)
}

/// `%g` with so many digits, or as few as it takes. `keeps_zeros` is the flag `#`.
pub(super) fn general(value: f64, digits: Option<usize>, keeps_zeros: bool) -> String {
    if let Some(text) = unusual(value) {
        return text.to_owned();
    }
    // Go decides for an exponent by the digits asked for, and for the shortest as if six were.
    let most = digits.map_or(6, |digits| digits.max(1));
    let scientific = match digits {
        Some(digits) => format!("{value:.*e}", digits.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = if keeps_zeros { mantissa } else { without_zeros(mantissa) };
    if exponent < -4 || exponent >= i32::try_from(most).unwrap_or(i32::MAX) {
        return format!("{trimmed}{}", print_exponent(exponent));
    }
    let kept = trimmed.chars().filter(char::is_ascii_digit).count();
    let after_point = i32::try_from(kept).unwrap_or(i32::MAX) - 1 - exponent;
    format!("{value:.*}", usize::try_from(after_point).unwrap_or(0))
}

/// `%e`
pub(super) fn scientific(value: f64, digits: usize) -> String {
    if let Some(text) = unusual(value) {
        return text.to_owned();
    }
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}{}", print_exponent(exponent.parse().unwrap_or(0)))
}

/// `%f`
pub(super) fn fixed(value: f64, digits: usize) -> String {
    unusual(value).map_or_else(|| format!("{value:.digits$}"), ToOwned::to_owned)
}

fn unusual(value: f64) -> Option<&'static str> {
    match value {
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ if value.is_nan() => Some("NaN"),
        _ => None,
    }
}

fn without_zeros(mantissa: &str) -> &str {
    if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    }
}

fn print_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

//! What several functions and aggregations remark in the same words.

pub(crate) fn quantile_out_of_range(quantile: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", go_g(quantile))
}

/// A number as Go's `%g` prints it: the shortest digits, with an exponent below 1e-4 and from 1e6.
pub(crate) fn go_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_prometheus_prints_them() {
        for (value, text) in [
            (1.1, "1.1"),
            (-0.5, "-0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789.0, "1.23456789e+08"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (2.5e-7, "2.5e-07"),
        ] {
            assert_eq!(go_g(value), text);
        }
    }
}

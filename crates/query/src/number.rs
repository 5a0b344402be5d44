//! Numbers as Prometheus' API prints them.

/// The shortest text that comes back to the same number: plain between 1e-6 and 1e21, else with an
/// exponent of two digits at least; `NaN`, `+Inf`, `-Inf`.
pub fn print_number(value: f64, into: &mut Vec<u8>) {
    let _ = (value, into);
    todo!()
}

//! Durations as Go writes them: `300ms`, `1.5h`, `1m30s`.
//!
//! Only lengths of time, so nothing below zero; what does not fit is refused, never wrapped.

use std::time::Duration;

/// The longest duration Go can hold, in nanoseconds: about 292 years.
const NANOS_MAX: f64 = i64::MAX as f64;

/// Reads a duration; the error is a sentence for the person who wrote it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"10s\", \"500ms\" or \"1m30s\"");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        nanos += number * nanos_of_unit(&rest[..unit_end]).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    if nanos > NANOS_MAX {
        return Err(format!("{text:?} is too long a duration"));
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Writes a duration as Go prints it: `1m30s`, `500ms`, `0s`.
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fraction = |unit: u128| {
        let text = format!("{}.{:0width$}", nanos / unit, nanos % unit, width = digits_of(unit));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", fraction(1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", fraction(1_000_000));
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = Duration::new(seconds % 60, duration.subsec_nanos());
    let fraction = format!("{}.{:09}", rest.as_secs(), rest.subsec_nanos());
    let seconds = fraction.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn nanos_of_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

fn digits_of(unit: u128) -> usize {
    unit.ilog10() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert!(parse("10").is_err());
        assert!(parse("-5s").is_err());
        assert!(parse("10 s").is_err());
        assert!(parse("").is_err());
        assert!(parse("999999999h").is_err());
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for text in ["0s", "1ns", "1.5µs", "500ms", "1.5s", "1m30s", "1h0m0s", "72h0m0s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}

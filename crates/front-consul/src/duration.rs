//! Durations in Go's notation: `1h2m3.5s`, `100ms`. Clients write them, and read them back.

use std::time::Duration;

/// Units with their nanoseconds, the greatest first.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("ms", 1_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
];

/// Why a text is not a duration, in the words clients match on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// No number where one was expected, or one too large.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without its unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit nobody knows.
    #[error("time: unknown unit {1:?} in duration {0:?}")]
    UnknownUnit(String, String),
}

/// Nanoseconds, because Go's durations may be negative.
pub(crate) fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end_of = |part: &str| part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (whole, after) = rest.split_at(end_of(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(end_of(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit(text.to_owned(), unit.to_owned()));
        };
        total += part_nanos(whole, fraction, *nanos).ok_or_else(invalid)?;
        if total > i64::MAX as u128 {
            return Err(invalid());
        }
        rest = after;
    }
    let nanos = total as i64;
    Ok(if is_negative { -nanos } else { nanos })
}

/// `whole.fraction` of a unit of so many nanoseconds; nothing where it is too large.
fn part_nanos(whole: &str, fraction: &str, unit: u64) -> Option<u128> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Beyond 15 digits a fraction of the greatest unit is below a nanosecond.
    let digits = &fraction[..fraction.len().min(15)];
    let counter: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let part = counter * u128::from(unit) / 10u128.pow(digits.len() as u32);
    Some(u128::from(whole) * u128::from(unit) + part)
}

/// A duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let nanos = parse_nanos(text)?;
    Ok(Duration::from_nanos(nanos.max(0) as u64))
}

/// The notation of a duration: `1m0s`, `1.5s`, `100ms`, `0s`.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos() as u64;
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = fraction(nanos % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

fn fraction(nanos: u64, unit: u64) -> String {
    let (whole, part) = (nanos / unit, nanos % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{part:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_go_prints() {
        let cases = [
            ("0", "0s"),
            ("1.5h", "1h30m0s"),
            ("90s", "1m30s"),
            ("1m", "1m0s"),
            ("100ms", "100ms"),
            ("1.5s", "1.5s"),
            ("60000ms", "1m0s"),
            ("1us", "1µs"),
            ("15ns", "15ns"),
            (".5s", "500ms"),
            ("87600h0m0s", "87600h0m0s"),
        ];
        for (text, printed) in cases {
            assert_eq!(format(parse(text).unwrap()), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_gos_words() {
        let cases = [
            ("bogus", "time: invalid duration \"bogus\""),
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
            ("1s.", "time: invalid duration \"1s.\""),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), error);
        }
        assert_eq!(parse_nanos("-10s"), Ok(-10_000_000_000));
    }
}

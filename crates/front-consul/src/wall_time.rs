//! Instants of the wall clock as text. The clock itself is read elsewhere; here seconds since 1970
//! become a date (Hinnant: days to civil).

use std::time::Duration;

/// An instant, taken apart in UTC.
struct Civil {
    year: i64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    fn of(seconds: u64) -> Civil {
        let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u64,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u64,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

/// `2026-11-23T19:13:39Z`.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2026-11-23T19:13:39.123456Z`.
pub(crate) fn rfc3339_micros(since_1970: Duration) -> String {
    let whole = rfc3339(since_1970.as_secs());
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), since_1970.subsec_micros())
}

/// `2026-11-23 19:16:00 +0000 UTC`: how Go prints an instant.
pub(crate) fn go_utc(seconds: u64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_fall_where_the_calendar_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_461_219), "2026-11-23T19:13:39Z");
        assert_eq!(go_utc(1_795_461_360), "2026-11-23 19:16:00 +0000 UTC");
        let instant = Duration::new(1_795_461_219, 12_345_678);
        assert_eq!(rfc3339_micros(instant), "2026-11-23T19:13:39.012345Z");
    }
}

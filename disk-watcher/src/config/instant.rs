//! A moment as people write it in Kubernetes: RFC 3339 in UTC, seconds optional.

/// Seconds since 1970 of `2026-11-20T12:00Z` or `2026-11-20T12:00:30Z`.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<u64>> {
        let words = text.split(by);
        words
            .map(|w| {
                w.bytes()
                    .all(|b| b.is_ascii_digit())
                    .then(|| w.parse().ok())?
            })
            .collect()
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let ([year, month, day], [hour, minute, rest @ ..]) = (&date[..], &time[..]) else {
        return None;
    };
    let second = match rest {
        [] => 0,
        [second] => *second,
        _ => return None,
    };
    let sane = (1970..10_000).contains(year)
        && (1..=12).contains(month)
        && (1..=days_in(*year, *month)).contains(day)
        && *hour < 24
        && *minute < 60
        && second < 60;
    let years: u64 = (1970..*year)
        .map(|y| if is_leap(y) { 366 } else { 365 })
        .sum();
    let months: u64 = (1..*month).map(|m| days_in(*year, m)).sum();
    sane.then(|| (((years + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}

/// The moment as it is written, to the minute.
pub(crate) fn write(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    format!(
        "{year}-{month:02}-{:02}T{:02}:{:02}Z",
        days + 1,
        rest / 3600,
        rest % 3600 / 60
    )
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        // From date(1).
        for (text, seconds) in [
            ("1970-01-01T00:00Z", 0),
            ("2000-02-29T12:00Z", 951_825_600),
            ("2026-11-20T12:00Z", 1_795_176_000),
            ("2100-03-01T00:01Z", 4_107_542_460),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
            assert_eq!(write(seconds), text);
        }
        assert_eq!(parse("2026-11-20T12:00:30Z"), Some(1_795_176_030));
        for bad in [
            "",
            "2026-11-20",
            "2026-11-20T12:00",
            "2026-02-29T12:00Z",
            "2026-13-01T00:00Z",
            "2026-11-20T24:00Z",
            "2026-11-20T12:00:30:1Z",
            "2026-11-20T+1:00Z",
            "x-1-1T0:0Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

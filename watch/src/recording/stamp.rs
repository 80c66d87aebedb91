//! Reads RFC 3339 time stamps fast: the form that recordings use, without a parser.

use jiff::Timestamp;

/// Nanoseconds since 1970 of an RFC 3339 time stamp; `None` if it is none, or lies
/// outside the years that 64 bits of nanoseconds hold (1677 to 2262).
pub fn nanoseconds(text: &str) -> Option<i64> {
    fixed(text.as_bytes()).or_else(|| {
        let stamp: Timestamp = text.parse().ok()?;
        i64::try_from(stamp.as_nanosecond()).ok()
    })
}

/// `2026-11-24T04:09:00.123456789Z`, and nothing else.
fn fixed(text: &[u8]) -> Option<i64> {
    let text: &[u8; 30] = text.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (29, b'Z'),
    ];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let nanos = number(20, 29)?;
    // Odd ones (a leap second, 29 February) are the full parser's.
    let in_month = (1..=last_day(month)?).contains(&day);
    if !(1700..2200).contains(&year) || !in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000 + nanos)
}

/// The last day that a month has in every year.
fn last_day(month: i64) -> Option<i64> {
    match month {
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_agrees_with_the_parser() {
        let mut nanos = -8_000_000_000_000_000_000_i64;
        while nanos < 7_000_000_000_000_000_000 {
            let stamp = Timestamp::from_nanosecond(nanos.into()).unwrap();
            let text = stamp.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string();
            if let Some(short) = fixed(text.as_bytes()) {
                assert_eq!(short, nanos, "{text}");
            }
            assert_eq!(nanoseconds(&text), Some(nanos), "{text}");
            nanos += 86_400_000_000_000 * 13 + 3_723_123_456_789;
        }
    }

    #[test]
    fn other_forms_are_read_too_and_nonsense_is_not() {
        assert_eq!(nanoseconds("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(
            nanoseconds("1970-01-01T01:00:00.5+01:00"),
            Some(500_000_000)
        );
        for bad in [
            "",
            "now",
            "1970-13-01T00:00:00.000000000Z",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }
}

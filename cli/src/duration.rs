//! Durations on the command line and in scenarios: `500ms`, `25s`, `2m`.

use std::time::Duration;

/// Reads a duration; zero and what exceeds a day are refused.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mend = "write a whole number and ms, s, m or h: 500ms, 25s, 2m";
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(|| format!("the unit is missing: {mend}"))?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| mend.to_owned())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(mend.to_owned()),
    };
    match millis {
        Some(0) => Err("must be longer than zero".into()),
        Some(millis) if millis <= 86_400_000 => Ok(Duration::from_millis(millis)),
        _ => Err("must not be longer than a day (24h)".into()),
    }
}

/// Reads how far into a recording a moment lies: zero and parts of a unit are moments too,
/// and a recording may be of any length.
pub(crate) fn moment(text: &str) -> Result<Duration, String> {
    let mend = "write a number and us, ms, s, m, h or d: 350ms, 1.5s, 0s";
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(|| format!("the unit is missing: {mend}"))?;
    let (number, unit) = text.split_at(split);
    let nanos: u128 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(mend.to_owned()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    // Nine digits are a nanosecond of a second; what is finer is left out.
    let part = part.get(..part.len().min(9)).unwrap_or(part);
    let read = |digits: &str| digits.parse::<u64>().map_err(|_| mend.to_owned());
    let (whole, fraction) = (u128::from(read(whole)?), u128::from(read(part)?));
    let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or(9));
    let total = whole * nanos + fraction * nanos / scale;
    match u64::try_from(total) {
        Ok(nanos) if i64::try_from(nanos).is_ok() => Ok(Duration::from_nanos(nanos)),
        _ => Err("no recording is as long as that".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_may_be_zero_fine_and_far() {
        let nanos = |text: &str| moment(text).map(|after| after.as_nanos());
        assert_eq!(nanos("0s"), Ok(0));
        assert_eq!(nanos("1500us"), Ok(1_500_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanos("0.25ms"), Ok(250_000));
        assert_eq!(nanos("2d"), Ok(172_800_000_000_000));
        assert_eq!(nanos("30h"), Ok(108_000_000_000_000));
        assert_eq!(nanos("1.0000000019s"), Ok(1_000_000_001));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.2.3s",
            ".5s",
            "1.s",
            "1e3s",
            "5 s",
            "99999999999d",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!(
            moment("soon").unwrap_err(),
            "write a number and us, ms, s, m, h or d: 350ms, 1.5s, 0s"
        );
    }

    #[test]
    fn units_are_required_and_bounds_hold() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(parse("24h"), Ok(Duration::from_secs(86_400)));
        let error = |text: &str| parse(text).unwrap_err();
        let mend = "write a whole number and ms, s, m or h: 500ms, 25s, 2m";
        assert_eq!(error("25"), format!("the unit is missing: {mend}"));
        assert_eq!(error("s"), mend);
        assert_eq!(error("-1s"), mend);
        assert_eq!(error("1.5s"), mend);
        assert_eq!(error("5 parsecs"), mend);
        assert_eq!(error("0s"), "must be longer than zero");
        assert_eq!(error("25h"), "must not be longer than a day (24h)");
        assert_eq!(
            error("99999999999999999h"),
            "must not be longer than a day (24h)"
        );
    }
}

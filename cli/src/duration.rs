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

#[cfg(test)]
mod tests {
    use super::*;

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

//! Kubernetes quantities: `1`, `1500m`, `64Gi`, `1e3`.

use std::fmt;

/// An amount, exact to a billionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity {
    billionths: i128,
}

const ONE: i128 = 1_000_000_000;

/// Decimal suffixes and what they stand for, in billionths; the largest first.
const SUFFIXES: [(&str, i128); 10] = [
    ("E", ONE * 1_000_000_000_000_000_000),
    ("P", ONE * 1_000_000_000_000_000),
    ("T", ONE * 1_000_000_000_000),
    ("G", ONE * 1_000_000_000),
    ("M", ONE * 1_000_000),
    ("k", ONE * 1000),
    ("", ONE),
    ("m", 1_000_000),
    ("u", 1000),
    ("n", 1),
];

impl fmt::Display for Quantity {
    /// In decimal, with the largest suffix that leaves no fraction, as Kubernetes writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.billionths == 0 {
            return f.write_str("0");
        }
        let fitting = |(_, size): &&(&str, i128)| self.billionths % size == 0;
        match SUFFIXES.iter().find(fitting) {
            Some((suffix, size)) => write!(f, "{}{suffix}", self.billionths / size),
            None => write!(f, "{}n", self.billionths),
        }
    }
}

impl Quantity {
    pub(crate) const ZERO: Quantity = Quantity { billionths: 0 };

    /// The least amount that is `min` plus a multiple of `step`, and not below this one.
    pub(crate) fn up_to_step(self, min: Quantity, step: Quantity) -> Option<Quantity> {
        let above = self.billionths.checked_sub(min.billionths)?;
        if step.billionths <= 0 || above < 0 {
            return None;
        }
        let steps = above / step.billionths + i128::from(above % step.billionths != 0);
        let billionths = steps
            .checked_mul(step.billionths)?
            .checked_add(min.billionths)?;
        Some(Quantity { billionths })
    }

    pub(crate) fn parse(text: &str) -> Option<Quantity> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 32 {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (multiplier, divisor) = factor(suffix)?;
        let divisor =
            divisor.checked_mul(10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
        let amount = digits.checked_mul(multiplier)?.checked_mul(ONE)?;
        // What is finer than a billionth is rounded up, away from zero.
        let billionths = amount / divisor + i128::from(amount % divisor != 0);
        Some(Quantity {
            billionths: if negative { -billionths } else { billionths },
        })
    }

    pub(crate) fn sign(self) -> i64 {
        i64::try_from(self.billionths.signum()).unwrap_or(0)
    }

    /// The amount as a whole number, if it is one and fits.
    pub(crate) fn as_integer(self) -> Option<i64> {
        (self.billionths % ONE == 0)
            .then(|| i64::try_from(self.billionths / ONE).ok())
            .flatten()
    }

    pub(crate) fn plus(self, other: Quantity) -> Option<Quantity> {
        Some(Quantity {
            billionths: self.billionths.checked_add(other.billionths)?,
        })
    }

    pub(crate) fn minus(self, other: Quantity) -> Option<Quantity> {
        Some(Quantity {
            billionths: self.billionths.checked_sub(other.billionths)?,
        })
    }
}

/// What a suffix multiplies and divides by.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024i128.pow(power), 1));
    let decimal = |power: u32| Some((1000i128.pow(power), 1));
    match suffix {
        "n" => Some((1, ONE)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => Some((1, 1)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"))
    }

    #[test]
    fn the_same_amount_in_many_forms() {
        assert_eq!(quantity("1"), quantity("1000m"));
        assert_eq!(quantity("1.5k"), quantity("1500"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("-0.5"), quantity("-500m"));
        assert!(quantity("1Gi") > quantity("1G"));
        assert_eq!(quantity("2k").as_integer(), Some(2000));
        assert_eq!(quantity("1m").as_integer(), None);
    }

    #[test]
    fn amounts_are_written_with_the_largest_suffix() {
        let shown = ["0", "1", "1000", "2500M", "10000M", "0.5", "1Gi"];
        let shown = shown.map(|text| quantity(text).to_string());
        assert_eq!(
            shown,
            ["0", "1", "1k", "2500M", "10G", "500m", "1073741824"]
        );
    }

    #[test]
    fn nonsense_is_none() {
        for bad in [
            "",
            "-",
            "x",
            "1x",
            "1.2.3",
            ".",
            "1e",
            "1e99",
            "99999999999999999999999999999999Ei",
            "1 Gi",
        ] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
    }
}

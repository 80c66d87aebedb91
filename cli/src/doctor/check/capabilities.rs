//! May this process enter network namespaces, keep them, and make links?

use ndra_core::driver::Config;

use crate::doctor::finding::{Finding, fail, ok};

/// Of capability.h: links and addresses; namespaces and mounts.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

pub(super) fn check(_: &Config) -> Vec<Finding> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    vec![judge(&status)]
}

fn judge(status: &str) -> Finding {
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let Some(held) = held else {
        return fail(
            "capabilities",
            "/proc/self/status does not tell them",
            "run on Linux, with /proc mounted",
        );
    };
    let lacking: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(_, bit)| held & (1 << bit) == 0)
        .map(|(name, _)| name)
        .collect();
    if lacking.is_empty() {
        return ok("capabilities", "CAP_NET_ADMIN and CAP_SYS_ADMIN are there");
    }
    fail(
        "capabilities",
        format!("{} lacking here", lacking.join(" and ")),
        "as the driver it must be privileged, in a namespace that lets it (Pod Security level \
         `privileged`); by hand, run as root",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn each_capability_counts() {
        let of = |bits: &str| judge(&format!("Name:\tx\nCapEff:\t{bits}\n"));
        assert_eq!(of("000001ffffffffff").level, Level::Ok);
        assert_eq!(of("0000000000201000").level, Level::Ok);
        assert_eq!(of("0000000000200000").says, "CAP_NET_ADMIN lacking here");
        assert_eq!(of("0000000000001000").says, "CAP_SYS_ADMIN lacking here");
        assert_eq!(of("0").says, "CAP_NET_ADMIN and CAP_SYS_ADMIN lacking here");
        assert_eq!(judge("").level, Level::Fail);
    }
}

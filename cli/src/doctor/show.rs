//! Findings as aligned lines, and as JSON.

use std::io::Write;

use serde_json::json;

use super::finding::{Finding, Level};
use crate::report::{BAD, BOLD, DIM, GOOD, Look, WARN, paint};

/// Columns of the level and of the check's name.
const LEVEL: usize = 6;
const CHECK: usize = 14;

/// One line each, and how many of which kind.
pub(super) fn text(findings: &[Finding]) {
    let mut out = anstream::stdout().lock();
    // A reader that has gone away wants no more.
    let _ = out.write_all(page(findings, Look::of_locale()).as_bytes());
}

fn page(findings: &[Finding], look: Look) -> String {
    let mut page = String::new();
    for found in findings {
        let (style, word) = match found.level {
            Level::Ok => (GOOD, "ok"),
            Level::Warn => (WARN, "warn"),
            Level::Fail => (BAD, "fail"),
        };
        let level = paint(style, format!("{word:LEVEL$}"));
        let check = paint(BOLD, format!("{:CHECK$}", found.check));
        page += &format!("{level}{check}{}", found.says);
        if !found.mend.is_empty() {
            page += &format!(" {} {}", paint(DIM, look.arrow), found.mend);
        }
        page.push('\n');
    }
    let count = |level| findings.iter().filter(|found| found.level == level).count();
    page += &format!(
        "\n{} ok, {} to look at, {} to mend\n",
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail)
    );
    page
}

/// One document.
pub(super) fn json(findings: &[Finding]) {
    let ok = findings.iter().all(|found| found.level != Level::Fail);
    let document = json!({ "ok": ok, "findings": findings });
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{document:#}");
}

#[cfg(test)]
mod tests {
    use super::super::finding::{fail, ok, warn};
    use super::*;

    #[test]
    fn lines_are_aligned_and_coloured_by_level() {
        let findings = [
            ok("runtime", "containerd 2.3.4 answers"),
            warn("cdi", "it does not tell", "look into its configuration"),
            fail("cni-plugins", "no macvlan in /opt/cni/bin", "install it"),
        ];
        let page = page(&findings, Look::UNICODE);
        let plain = anstream::adapter::strip_str(&page).to_string();
        insta::assert_snapshot!(plain, @r"
        ok    runtime       containerd 2.3.4 answers
        warn  cdi           it does not tell → look into its configuration
        fail  cni-plugins   no macvlan in /opt/cni/bin → install it

        1 ok, 1 to look at, 1 to mend
        ");
        insta::assert_snapshot!(page.lines().nth(2).unwrap().replace('\u{1b}', "^"), @"^[31mfail  ^[0m^[1mcni-plugins   ^[0mno macvlan in /opt/cni/bin ^[2m→^[0m install it");
    }
}

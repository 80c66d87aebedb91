//! Can the record be read, and what waits in it?

use ndra_core::attachment::record;
use ndra_core::driver::Config;

use crate::doctor::finding::{Finding, fail, ok, warn};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let record = match record::load(&config.state_dir, &config.driver_name) {
        Ok(record) => record,
        Err(error) => {
            return vec![fail(
                "record",
                error.to_string(),
                "the driver does not start like this: --state-dir (the chart's hostPaths.state)",
            )];
        }
    };
    let (claims, orphans) = (record.claims.len(), record.orphans.len());
    let place = config.state_dir.join(record::FILE);
    vec![if let Some(orphan) = record.orphans.first() {
        let why = orphan.last_error.as_deref().unwrap_or("not tried yet");
        warn(
            "record",
            format!(
                "{orphans} of its interfaces could not be released, first {} of pod {}: {why}",
                orphan.place.if_name, orphan.place.pod
            ),
            "the driver goes on trying; mend what it says, or forget them: `ndra cleanup --force`",
        )
    } else {
        ok(
            "record",
            format!("{claims} prepared claims in {}", place.display()),
        )
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_record_that_nobody_can_read_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("node-1");
        config.state_dir = dir.path().into();
        assert_eq!(check(&config)[0].level, Level::Ok);
        std::fs::write(dir.path().join(record::FILE), "{").unwrap();
        let found = &check(&config)[0];
        assert_eq!(found.level, Level::Fail);
        assert!(
            found.says.contains("cannot be understood"),
            "{}",
            found.says
        );
    }
}

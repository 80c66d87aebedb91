//! Can the driver write its CDI specs?

use std::path::Path;

use ndra_core::driver::Config;
use ndra_core::socket::io_text;
use rustix::fs::{Access, access};

use crate::doctor::finding::{Finding, fail, ok};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    vec![judge(&config.cdi_dir)]
}

fn judge(dir: &Path) -> Finding {
    // The driver makes it where it can.
    let nearest = dir.ancestors().find(|above| above.exists());
    let mend = "give the driver a directory that it may write and the runtime reads: --cdi-dir \
                (the chart's hostPaths.cdi)";
    let Some(nearest) = nearest else {
        return fail("cdi-dir", format!("{} cannot be", dir.display()), mend);
    };
    if !nearest.is_dir() {
        let says = format!("{} is not a directory", nearest.display());
        return fail("cdi-dir", says, mend);
    }
    match access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
        Err(error) => fail(
            "cdi-dir",
            format!("{}: {}", nearest.display(), io_text(&error.into())),
            mend,
        ),
        Ok(()) if nearest == dir => ok("cdi-dir", format!("{} can be written", dir.display())),
        Ok(()) => ok("cdi-dir", format!("{} can be made", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_directory_that_is_or_can_be_made_will_do_and_a_file_will_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(judge(dir.path()).level, Level::Ok);
        assert!(judge(&dir.path().join("a/b")).says.ends_with("can be made"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let found = judge(&file.join("cdi"));
        assert_eq!(found.level, Level::Fail);
        assert!(
            found.says.ends_with("file is not a directory"),
            "{}",
            found.says
        );
    }
}

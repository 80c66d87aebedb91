//! Is the hook installed, does it run, and is it of the driver's version?

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use ndra_core::socket::io_text;

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4096;

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let hook = config.hook_path.clone();
    let seen = tokio::task::spawn_blocking(move || installed(&hook)).await;
    match seen {
        Ok(Ok(())) => {}
        Ok(Err(found)) => return vec![found],
        Err(error) => return vec![fail("hook", error.to_string(), "report this")],
    }
    let hook = &config.hook_path;
    match version(hook, &config.hook_args).await {
        Ok(version) => vec![
            ok("hook", format!("{} runs", hook.display())),
            judge(&version, env!("CARGO_PKG_VERSION")),
        ],
        Err(why) => vec![fail(
            "hook",
            format!("{} does not run: {why}", hook.display()),
            "install the hook of this release again: ndra install-hook --to DIR (the chart's \
             init container does)",
        )],
    }
}

/// Lies there, for everybody to run.
fn installed(hook: &Path) -> Result<(), Finding> {
    let dir = hook.parent().unwrap_or(hook).display();
    let install = format!("ndra install-hook --to {dir} (the chart's init container does)");
    let meta = std::fs::metadata(hook).map_err(|error| {
        fail(
            "hook",
            format!("{}: {}", hook.display(), io_text(&error)),
            &install,
        )
    })?;
    if !meta.is_file() {
        let says = format!("{} is not a program", hook.display());
        return Err(fail("hook", says, install));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o111 != 0o111 {
        return Err(fail(
            "hook",
            format!(
                "{} has mode {mode:04o}: not everybody may run it",
                hook.display()
            ),
            format!("chmod 755 {}", hook.display()),
        ));
    }
    if mode & 0o022 != 0 {
        return Err(fail(
            "hook",
            format!(
                "{} has mode {mode:04o}: others may change what runs as root",
                hook.display()
            ),
            format!("chmod 755 {}", hook.display()),
        ));
    }
    Ok(())
}

/// What it answers to `--version`; the check's time-out ends it.
async fn version(hook: &Path, args: &[String]) -> Result<String, String> {
    let output = tokio::process::Command::new(hook)
        .args(args)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| io_text(&error))?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    let said = output.stdout.get(..MAX_ANSWER).unwrap_or(&output.stdout);
    Ok(String::from_utf8_lossy(said).trim().to_owned())
}

/// `ndra-hook 0.1.0`.
fn judge(said: &str, ours: &str) -> Finding {
    match said.rsplit(' ').next() {
        Some(version) if version == ours => ok(
            "hook-version",
            format!("{version}, as the driver's program"),
        ),
        _ => warn(
            "hook-version",
            format!("the hook says {said:?}, this program is {ours}"),
            "hook and driver belong together: restart the driver's pod, whose init container \
             installs its own",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_hook_must_be_a_program_that_all_may_run_and_root_alone_changes() {
        let dir = tempfile::tempdir().unwrap();
        let hook = dir.path().join("ndra-hook");
        let words = || {
            installed(&hook)
                .err()
                .map(|found| found.says)
                .unwrap_or_default()
        };
        assert!(
            words().ends_with("No such file or directory"),
            "{}",
            words()
        );
        std::fs::write(&hook, "").unwrap();
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&hook, mode).unwrap();
        };
        mode(0o700);
        assert!(
            words().ends_with("has mode 0700: not everybody may run it"),
            "{}",
            words()
        );
        mode(0o777);
        assert!(words().contains("others may change"), "{}", words());
        mode(0o755);
        assert_eq!(words(), "");
        assert!(installed(dir.path()).is_err());
    }

    #[test]
    fn versions_are_compared() {
        assert_eq!(judge("ndra-hook 0.1.0", "0.1.0").level, Level::Ok);
        assert_eq!(judge("ndra-hook 0.0.9", "0.1.0").level, Level::Warn);
        assert_eq!(judge("", "0.1.0").level, Level::Warn);
    }
}

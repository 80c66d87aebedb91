//! Do programs run where the hook lies: the mount's options, and SELinux.

use std::path::Path;

use ndra_core::driver::Config;

use crate::doctor::finding::{Finding, fail, ok, warn};
use ndra_core::mounts::{self, Mount};

/// Types of files that runtimes may start under the targeted policy.
const STARTED: [&str; 3] = ["bin_t", "container_runtime_exec_t", "usr_t"];

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let hook = &config.hook_path;
    if !hook.exists() {
        // That it is missing is said once, by the check of the hook.
        return Vec::new();
    }
    let mount = match mounts::here(hook) {
        Ok((mounts, path)) => options(&mounts, &path),
        Err(error) => fail("hook-mount", error.to_string(), "mount /proc"),
    };
    let enforcing = std::fs::read_to_string("/sys/fs/selinux/enforce").unwrap_or_default();
    let selinux = selinux(enforcing.trim(), label(hook).as_deref(), hook);
    vec![mount, selinux]
}

fn options(mounts: &[Mount], hook: &Path) -> Finding {
    let Some(mount) = mounts::of(mounts, hook) else {
        let says = format!("{} lies on no mount", hook.display());
        return fail("hook-mount", says, "mount /proc");
    };
    if mount.options.iter().any(|option| option == "noexec") {
        return fail(
            "hook-mount",
            format!(
                "{} is mounted noexec: no hook runs there",
                mount.point.display()
            ),
            "install the hook on another file system: --hook-path (the chart's hostPaths.hook)",
        );
    }
    ok(
        "hook-mount",
        format!("programs run from {}", mount.point.display()),
    )
}

/// The file's label.
fn label(hook: &Path) -> Option<String> {
    let mut label = [0_u8; 256];
    let length = rustix::fs::getxattr(hook, "security.selinux", &mut label).ok()?;
    let label = String::from_utf8_lossy(label.get(..length)?);
    Some(label.trim_end_matches('\0').to_owned())
}

fn selinux(enforcing: &str, label: Option<&str>, hook: &Path) -> Finding {
    let kind = label.and_then(|label| label.split(':').nth(2));
    match (enforcing, kind) {
        ("1", Some(kind)) if STARTED.contains(&kind) => {
            ok("selinux", format!("runtimes may start what is {kind}"))
        }
        ("1", kind) => warn(
            "selinux",
            format!(
                "{} is {}, which a runtime may not start",
                hook.display(),
                kind.unwrap_or("without a label")
            ),
            format!(
                "`chcon -t bin_t {}`, and a rule for it with semanage",
                hook.display()
            ),
        ),
        ("0", _) => ok("selinux", "it is permissive"),
        _ => ok("selinux", "it is not in force here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn noexec_fails_on_the_hooks_own_mount_alone() {
        let mounts = mounts::parse(
            "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /opt rw,nosuid,noexec - tmpfs t rw\n",
        );
        let of = |path: &str| options(&mounts, Path::new(path));
        assert_eq!(of("/usr/bin/ndra-hook").level, Level::Ok);
        let found = of("/opt/ndra/bin/ndra-hook");
        assert_eq!(found.says, "/opt is mounted noexec: no hook runs there");
    }

    #[test]
    fn a_label_counts_where_selinux_is_in_force() {
        let hook = Path::new("/opt/ndra-hook");
        let of = |enforcing: &str, label: Option<&str>| selinux(enforcing, label, hook);
        assert_eq!(of("1", Some("system_u:object_r:bin_t:s0")).level, Level::Ok);
        let bad = of("1", Some("system_u:object_r:container_file_t:s0"));
        assert_eq!(bad.level, Level::Warn);
        assert!(bad.says.contains("container_file_t"), "{}", bad.says);
        assert_eq!(of("1", None).level, Level::Warn);
        assert_eq!(of("0", Some("a:b:tmp_t:s0")).level, Level::Ok);
        assert_eq!(of("", None).level, Level::Ok);
    }
}

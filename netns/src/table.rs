//! The list of mounts that the kernel shows a process (proc_pid_mountinfo(5)).

use std::path::Path;

/// Whether the mount that `path` lies on hands on what is mounted below it.
pub(crate) fn shares(mountinfo: &str, path: &Path) -> bool {
    let mut found = (0, false);
    for line in mountinfo.lines() {
        let mut words = line.split(' ');
        let Some(at) = words.nth(4) else {
            continue;
        };
        let depth = Path::new(&plain(at)).components().count();
        // The last of several on one directory hides those before.
        if depth >= found.0 && path.starts_with(plain(at)) {
            // Behind the options; `-` ends them.
            let mut optional = words.skip(1).take_while(|word| *word != "-");
            found = (depth, optional.any(|word| word.starts_with("shared:")));
        }
    }
    found.1
}

/// A path without the escapes that the kernel writes for blanks.
fn plain(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw
31 30 0:26 / /run/a\\040b rw,nosuid shared:7 master:2 - tmpfs tmpfs rw
32 22 0:27 / /mnt rw shared:9 - tmpfs tmpfs rw
33 32 0:28 / /mnt rw master:9 - tmpfs shared:1 rw
";

    #[test]
    fn the_mount_that_a_path_lies_on_is_asked() {
        for (path, shared) in [
            ("/tmp/x", true),
            ("/run/netns", false),
            ("/runs", true),
            ("/run/a b/c", true),
            ("/run/a", false),
            ("/mnt/x", false),
        ] {
            assert_eq!(shares(TABLE, Path::new(path)), shared, "{path}");
        }
        assert!(!shares("", Path::new("/")));
        assert!(!shares("1 2 3", Path::new("/")));
    }
}

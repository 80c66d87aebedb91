//! The mounts that this process sees, of which some reach the node and some do not:
//! `/proc/self/mountinfo`, see proc(5).

use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What of its file system is mounted; ends with `//deleted` once that is gone.
    pub root: String,
    /// Where.
    pub point: PathBuf,
    /// Options of the mount, such as `noexec`.
    pub options: Vec<String>,
    /// What comes and goes beneath it on the other side shows here, or here shows there.
    pub propagation: Propagation,
}

/// Whether mounts beneath a mount travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// Only to here.
    Slave,
    /// Not at all.
    Private,
}

/// All mounts of a `mountinfo`, in its order. Lines that are none are passed over.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (before, _) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?).into();
    let options = fields.next()?.split(',').map(str::to_owned).collect();
    let tags: Vec<&str> = fields.collect();
    let tagged = |tag: &str| tags.iter().any(|field| field.starts_with(tag));
    let propagation = if tagged("shared:") {
        Propagation::Shared
    } else if tagged("master:") {
        Propagation::Slave
    } else {
        Propagation::Private
    };
    Some(Mount {
        root,
        point,
        options,
        propagation,
    })
}

/// Space, tab, line feed and backslash stand as three octal digits.
fn unescape(field: &str) -> String {
    let mut text = field.to_owned();
    for (code, plain) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        text = text.replace(code, plain);
    }
    text
}

/// The mount that a path without symbolic links lies on: of those above it the nearest, and of
/// several at one place the last.
pub fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

/// The mounts of this process, and the path as they name it.
///
/// # Errors
/// If there is no such list here: no Linux, or no `/proc`.
pub fn here(path: &Path) -> std::io::Result<(Vec<Mount>, PathBuf)> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok((parse(&text), resolved(path)))
}

/// The path without symbolic links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let mut above = path.ancestors();
    let there = above.find_map(|above| Some((above, above.canonicalize().ok()?)));
    match there {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:23 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=814672k
40 25 0:23 /netns /run/netns rw,nosuid,nodev shared:5 - tmpfs tmpfs rw
51 22 8:2 / /opt\\040x rw,noexec,relatime master:7 - ext4 /dev/sda2 rw
60 22 0:23 /multus//deleted /run/multus rw - tmpfs tmpfs rw
61 25 0:24 / /run rw - tmpfs tmpfs rw
broken line
";

    #[test]
    fn the_nearest_and_last_mount_counts() {
        let mounts = parse(HOST);
        assert_eq!(mounts.len(), 6);
        let at = |path: &str| of(&mounts, Path::new(path)).unwrap();
        assert_eq!(at("/etc/x").point, Path::new("/"));
        assert_eq!(at("/run/netns/cni-1").propagation, Propagation::Shared);
        let spaced = at("/opt x/bin");
        assert_eq!(spaced.propagation, Propagation::Slave);
        assert!(spaced.options.iter().any(|option| option == "noexec"));
        assert_eq!(at("/run/ndra").propagation, Propagation::Private);
        assert_eq!(at("/run/multus/multus.sock").root, "/multus//deleted");
        assert_eq!(at("/runs").point, Path::new("/"));
    }

    #[test]
    fn links_are_followed_also_to_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(resolved(&dir.path().join("link")), real);
        assert_eq!(resolved(&dir.path().join("link/a/b")), real.join("a/b"));
    }
}

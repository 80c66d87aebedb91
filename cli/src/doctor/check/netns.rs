//! Do the pods' network namespaces, which are mounts, reach the driver, and those that it
//! keeps the node?

use std::path::Path;

use ndra_core::driver::Config;

use crate::doctor::finding::{Finding, fail, ok, warn};
use ndra_core::mounts::{self, Mount, Propagation};

/// The two names by which runtimes know the directory. They are one on a node, and two mounts
/// in a container.
const NAMES: [&str; 2] = ["/run/netns", "/var/run/netns"];

pub(super) fn check(_: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for name in NAMES {
        match mounts::here(Path::new(name)) {
            Ok((_, path)) if seen.contains(&path) => {}
            Ok((mounts, path)) => {
                found.push(judge(&mounts, &path));
                seen.push(path);
            }
            Err(error) => found.push(fail("netns", error.to_string(), "mount /proc")),
        }
    }
    found
}

fn judge(mounts: &[Mount], path: &Path) -> Finding {
    let place = path.display();
    match mounts::of(mounts, path).map(|mount| mount.propagation) {
        Some(Propagation::Shared) => ok("netns", format!("mounts in {place} are shared")),
        Some(Propagation::Slave) => warn(
            "netns",
            format!("mounts in {place} come from the node, and none goes back"),
            "plugins that release from inside a namespace, such as host-device, fail: let the \
             volume have mountPropagation Bidirectional (the chart's privileged=true)",
        ),
        Some(Propagation::Private) | None => fail(
            "netns",
            format!("mounts in {place} are private: namespaces of new pods are not seen"),
            "in a container, let the volume have mountPropagation Bidirectional; on a node, \
             `mount --make-rshared /run` before the runtime starts",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn the_propagation_of_the_nearest_mount_counts() {
        let of = |tags: &str| {
            let text = format!(
                "1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n2 1 0:9 / /run rw{tags} - tmpfs t rw\n"
            );
            judge(&mounts::parse(&text), Path::new("/run/netns")).level
        };
        assert_eq!(of(" shared:4"), Level::Ok);
        assert_eq!(of(" shared:4 master:2"), Level::Ok);
        assert_eq!(of(" master:2"), Level::Warn);
        assert_eq!(of(""), Level::Fail);
        assert_eq!(judge(&[], Path::new("/run/netns")).level, Level::Fail);
    }
}

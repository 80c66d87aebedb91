//! Does the runtime answer, and does it give containers the driver's CDI devices?

use std::path::{Path, PathBuf};

use ndra_core::cri::{About, Cdi, Cri};

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

/// The first containerd with CDI; its configuration has to ask for it until 2.0.
const CONTAINERD_WITH_CDI: (u32, u32) = (1, 7);
const CONTAINERD_CDI_ON: (u32, u32) = (2, 0);
/// The first CRI-O with CDI, which it never switches off.
const CRIO_WITH_CDI: (u32, u32) = (1, 23);

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let about = match Cri::new(&config.cri_socket, node.timeout) {
        Ok(cri) => cri.about().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match about {
        Ok(about) => judge(&about, &config.cri_socket, &config.cdi_dir),
        Err(why) => vec![fail(
            "runtime",
            why,
            "start the runtime, or name its socket: --cri-socket (the chart's runtime or \
             hostPaths.criSocket)",
        )],
    }
}

fn judge(about: &About, socket: &Path, cdi_dir: &Path) -> Vec<Finding> {
    let who = format!("{} {}", about.name, about.version);
    let mut found = Vec::new();
    found.push(match about.unready.as_slice() {
        [] => ok("runtime", format!("{who} answers at {}", socket.display())),
        reasons => warn(
            "runtime",
            format!("{who} is not ready: {}", reasons.join("; ")),
            "pods wait for it: mend what it says, usually the cluster's first network",
        ),
    });
    found.push(cdi(about, &who, cdi_dir));
    found
}

fn cdi(about: &About, who: &str, dir: &Path) -> Finding {
    let version = version(&about.version);
    match &about.cdi {
        Cdi::Off => fail(
            "cdi",
            format!("{who} has CDI switched off"),
            "set `enable_cdi = true` in its CRI plugin's configuration and restart it",
        ),
        Cdi::Read(dirs) if reads(dirs, dir) => ok("cdi", format!("{who} reads {}", dir.display())),
        Cdi::Read(dirs) => fail(
            "cdi",
            format!(
                "{who} does not read {}; it reads {}",
                dir.display(),
                dirs.iter()
                    .map(|dir| dir.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            "add the directory to `cdi_spec_dirs` of the runtime, or set --cdi-dir (the chart's \
             hostPaths.cdi) to one of these",
        ),
        Cdi::Untold => match (about.name.as_str(), version) {
            ("containerd", Some(version)) if version < CONTAINERD_WITH_CDI => fail(
                "cdi",
                format!("{who} knows no CDI"),
                "install containerd 2.0 or newer, or 1.7 with `enable_cdi = true`",
            ),
            ("containerd", Some(version)) if version < CONTAINERD_CDI_ON => fail(
                "cdi",
                format!("{who} does not say that CDI is on, and it is off unless asked for"),
                "set `enable_cdi = true` in its CRI plugin's configuration and restart it",
            ),
            ("cri-o", Some(version)) if version < CRIO_WITH_CDI => fail(
                "cdi",
                format!("{who} knows no CDI"),
                "install CRI-O 1.23 or newer; one as new as the kubelet is best",
            ),
            // Its Status has the pause image and nothing else (server/runtime_status.go).
            ("cri-o", _) if is_default(dir) => ok(
                "cdi",
                format!(
                    "{who} reads {} unless it was told otherwise, which it does not tell",
                    dir.display()
                ),
            ),
            _ => warn(
                "cdi",
                format!("{who} does not tell which CDI directories it reads"),
                format!(
                    "see that its `cdi_spec_dirs` has {}: `crio status config` shows it",
                    dir.display()
                ),
            ),
        },
    }
}

/// Both of CDI's own directories, which runtimes read by default.
fn is_default(dir: &Path) -> bool {
    ["/etc/cdi", "/run/cdi"]
        .iter()
        .any(|known| same(dir, Path::new(known)))
}

fn reads(dirs: &[PathBuf], dir: &Path) -> bool {
    dirs.iter().any(|read| same(read, dir))
}

/// `/var/run` is `/run` on every node, and in no container.
fn same(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| {
        let rest = path.strip_prefix("/var/run").map(ToOwned::to_owned);
        rest.map_or_else(|_| path.to_owned(), |rest| Path::new("/run").join(rest))
    };
    plain(one) == plain(other)
}

/// The two numbers that say what a runtime can do.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: &str, version: &str, cdi: Cdi, dir: &str) -> String {
        let about = About {
            name: name.into(),
            version: version.into(),
            oci_runtime: None,
            cdi,
            unready: Vec::new(),
        };
        let found = judge(&about, Path::new("/run/r.sock"), Path::new(dir));
        let line = |found: &Finding| {
            format!(
                "{:?} {}: {} > {}",
                found.level, found.check, found.says, found.mend
            )
        };
        line(&found[1])
    }

    #[test]
    fn what_a_runtime_does_with_cdi_is_told_by_what_it_says_and_its_version() {
        let read = |dir: &str| Cdi::Read(vec![dir.into(), "/etc/cdi".into()]);
        let all = [
            lines("containerd", "2.3.4", read("/var/run/cdi"), "/run/cdi"),
            lines("containerd", "2.3.4", read("/run/other"), "/run/cdi"),
            lines("containerd", "1.7.2", Cdi::Off, "/run/cdi"),
            lines("containerd", "1.7.2", Cdi::Untold, "/run/cdi"),
            lines("containerd", "1.6.1", Cdi::Untold, "/run/cdi"),
            lines("cri-o", "1.34.0-dev", Cdi::Untold, "/var/run/cdi"),
            lines("cri-o", "1.34.0", Cdi::Untold, "/srv/cdi"),
            lines("cri-o", "1.22.0", Cdi::Untold, "/run/cdi"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        Ok cdi: containerd 2.3.4 reads /run/cdi > 
        Fail cdi: containerd 2.3.4 does not read /run/cdi; it reads /run/other, /etc/cdi > add the directory to `cdi_spec_dirs` of the runtime, or set --cdi-dir (the chart's hostPaths.cdi) to one of these
        Fail cdi: containerd 1.7.2 has CDI switched off > set `enable_cdi = true` in its CRI plugin's configuration and restart it
        Fail cdi: containerd 1.7.2 does not say that CDI is on, and it is off unless asked for > set `enable_cdi = true` in its CRI plugin's configuration and restart it
        Fail cdi: containerd 1.6.1 knows no CDI > install containerd 2.0 or newer, or 1.7 with `enable_cdi = true`
        Ok cdi: cri-o 1.34.0-dev reads /var/run/cdi unless it was told otherwise, which it does not tell > 
        Warn cdi: cri-o 1.34.0 does not tell which CDI directories it reads > see that its `cdi_spec_dirs` has /srv/cdi: `crio status config` shows it
        Fail cdi: cri-o 1.22.0 knows no CDI > install CRI-O 1.23 or newer; one as new as the kubelet is best
        ");
    }

    #[test]
    fn a_runtime_that_is_not_ready_is_a_warning() {
        let about = About {
            name: "containerd".into(),
            version: "2.3.4".into(),
            oci_runtime: None,
            cdi: Cdi::Untold,
            unready: vec!["NetworkReady is false: NetworkPluginNotReady".into()],
        };
        let found = judge(&about, Path::new("/run/r.sock"), Path::new("/run/cdi"));
        insta::assert_snapshot!(found[0].says, @"containerd 2.3.4 is not ready: NetworkReady is false: NetworkPluginNotReady");
    }
}

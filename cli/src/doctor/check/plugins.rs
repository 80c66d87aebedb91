//! Are the CNI plugins there that claims name?

use std::collections::BTreeSet;
use std::path::PathBuf;

use ndra_core::driver::{Cni, Config};
use rustix::fs::{Access, access};

use crate::doctor::finding::{Finding, fail, ok, warn};

/// What a claim without parameters gets.
const DEFAULT: &str = "macvlan";

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let absent: Vec<&PathBuf> = config.cni_path.iter().filter(|dir| !dir.is_dir()).collect();
    if let Some(dir) = absent.first() {
        return vec![fail(
            "cni-plugins",
            format!("{} is not a directory", dir.display()),
            "install the CNI plugins, or name their directories: --cni-path (the chart's \
             hostPaths.cniBin)",
        )];
    }
    let dirs: Vec<String> = config
        .cni_path
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let dirs = dirs.join(":");
    let mut named: BTreeSet<&str> = config.allow_cni_types.iter().map(String::as_str).collect();
    named.insert(DEFAULT);
    let lacking: Vec<&str> = named
        .into_iter()
        .filter(|plugin| !installed(config, plugin))
        .collect();
    let mend = "install it on the node; the CNI project's plugins come in one archive";
    vec![if lacking.is_empty() {
        ok(
            "cni-plugins",
            format!("the plugins that claims may name are in {dirs}"),
        )
    } else if lacking.contains(&DEFAULT) {
        let through = match config.cni {
            Cni::Multus { .. } => "; Multus looks in a directory of its own, usually the same",
            Cni::Exec => "",
        };
        let says = format!("no {} in {dirs}{through}", lacking.join(", "));
        fail("cni-plugins", says, mend)
    } else {
        warn(
            "cni-plugins",
            format!("no {} in {dirs}", lacking.join(", ")),
            mend,
        )
    }]
}

fn installed(config: &Config, plugin: &str) -> bool {
    let mut places = config.cni_path.iter().map(|dir| dir.join(plugin));
    places.any(|place| place.is_file() && access(&place, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn what_is_missing_or_cannot_be_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("node-1");
        config.cni_path = vec![dir.path().into()];
        config.allow_cni_types = ["bridge".to_owned()].into();
        let put = |name: &str, mode: u32| {
            let place = dir.path().join(name);
            std::fs::write(&place, "").unwrap();
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let found = &check(&config)[0];
        assert_eq!(found.level, Level::Fail);
        assert!(
            found.says.starts_with("no bridge, macvlan in"),
            "{}",
            found.says
        );
        put("macvlan", 0o755);
        put("bridge", 0o644);
        let found = &check(&config)[0];
        assert_eq!(found.level, Level::Warn, "{}", found.says);
        assert!(found.says.starts_with("no bridge in"), "{}", found.says);
        put("bridge", 0o755);
        assert_eq!(check(&config)[0].level, Level::Ok);
        config.cni_path = vec![dir.path().join("none")];
        assert!(check(&config)[0].says.ends_with("is not a directory"));
    }
}

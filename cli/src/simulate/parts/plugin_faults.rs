//! Real CNI plugins that fail by order: a program that stands before each of them, from when
//! the first fault is ordered.
//!
//! The real Multus cannot be told to fail. Its plugins can: it finds these first, and hands
//! on what they say as it does with any plugin's error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndra_core::cni::Command;
use serde_json::json;

use super::super::plugins::quoted;
use super::super::workdir::{WorkDir, files};

/// The code of the CNI specification for an error that is the plugin's own.
const OWN_ERROR: u32 = 100;

/// Programs and what they are to say.
pub(crate) struct PluginFaults {
    dir: PathBuf,
    /// Where the programs are found under the plugins' names.
    programs: PathBuf,
    script: PathBuf,
    real: Vec<PathBuf>,
    ordered: AtomicUsize,
}

impl PluginFaults {
    /// Makes room for them; `real` are the plugins' own directories. No program stands before
    /// a plugin yet.
    pub(crate) fn new(work: &WorkDir, real: &[PathBuf]) -> io::Result<Self> {
        let dir = work.at("cni/faults");
        let programs = dir.join("bin");
        fs::create_dir_all(&programs)?;
        let script = dir.join("plugin");
        // Written once, before anything is forked that could hold it open.
        work.program(&script, &text(&dir, real))?;
        Ok(Self {
            dir,
            programs,
            script,
            real: real.to_vec(),
            ordered: AtomicUsize::new(0),
        })
    }

    /// To be searched before the plugins' directories.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// The next `times` plugins that are run for `command` fail with these words.
    pub(crate) fn fail_next(&self, times: usize, command: Command, words: &str) -> io::Result<()> {
        self.stand_before()?;
        let error = json!({"cniVersion": "1.0.0", "code": OWN_ERROR, "msg": words, "details": ""});
        for _ in 0..times {
            let number = self.ordered.fetch_add(1, Ordering::Relaxed);
            let next = self.dir.join("next");
            fs::write(&next, error.to_string())?;
            // Whole when it is found.
            fs::rename(
                next,
                self.dir.join(format!("{}.{number}", command.as_str())),
            )?;
        }
        Ok(())
    }

    /// Whether plugins wait before they do anything.
    pub(crate) fn hold(&self, hold: bool) -> io::Result<()> {
        self.stand_before()?;
        let held = self.dir.join("held");
        match hold {
            true => fs::write(held, ""),
            false => fs::remove_file(held),
        }
    }

    fn stand_before(&self) -> io::Result<()> {
        for plugin in self.real.iter().flat_map(|dir| files(dir)) {
            let Some(name) = Path::new(&plugin).file_name() else {
                continue;
            };
            match std::os::unix::fs::symlink(&self.script, self.programs.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Waits while it is held, takes the first order there is and fails; without one it becomes
/// the plugin.
fn text(dir: &Path, real: &[PathBuf]) -> String {
    let orders = quoted(dir);
    let real: Vec<String> = real.iter().map(|dir| quoted(dir)).collect();
    format!(
        r#"#!/bin/sh
while [ -e {orders}/held ]; do
    sleep 0.02
done
for order in {orders}/"$CNI_COMMAND".*; do
    if [ -e "$order" ] && mv "$order" {orders}/taken.$$ 2>/dev/null; then
        cat {orders}/taken.$$
        exit 1
    fi
done
for directory in {}; do
    [ ! -x "$directory/${{0##*/}}" ] || exec "$directory/${{0##*/}}"
done
exit 1
"#,
        real.join(" ")
    )
}

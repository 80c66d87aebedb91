//! The settings of the driver that a command is about: those of the driver that runs here,
//! and what the command line changes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Parser;
use ndra_core::driver::Config;

use crate::driver;

/// The longest command line that is read, in bytes.
const MAX_COMMAND_LINE: u64 = 128 * 1024;

/// Which driver a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct DriverOptions {
    /// Options of `ndra driver`, for a driver that runs with others than its defaults, such as
    /// `-- --cri-socket /run/crio/crio.sock`. In the driver's own container its options are
    /// known.
    #[arg(last = true, value_name = "DRIVER_OPTIONS")]
    options: Vec<OsString>,
}

/// `ndra driver`, as a command line of its own.
#[derive(Debug, Parser)]
#[command(name = "ndra driver", args_override_self = true)]
struct Line {
    #[command(flatten)]
    args: driver::Args,
}

impl DriverOptions {
    /// The driver's settings. Ends the program with exit code 2 where an option is none.
    pub(crate) fn config(&self) -> Config {
        let running = command_line(Path::new("/proc/1/cmdline")).unwrap_or_default();
        self.over(&running)
            .unwrap_or_else(|error| error.exit())
            .args
            .config()
    }

    fn over(&self, running: &[OsString]) -> Result<Line, clap::Error> {
        let mut line: Vec<OsString> = vec!["ndra driver".into()];
        // Only what the driver publishes bears the node's name.
        if std::env::var_os("NODE_NAME").is_none() {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = host.trim().to_ascii_lowercase();
            line.extend(["--node-name".into(), OsString::from(host)]);
        }
        line.extend(running.iter().cloned());
        line.extend(self.options.iter().cloned());
        Line::try_parse_from(line)
    }
}

/// The options of the driver whose command line this file holds; `None` if it is of another
/// program.
fn command_line(file: &Path) -> Option<Vec<OsString>> {
    use std::io::Read;
    let mut text = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    file.take(MAX_COMMAND_LINE).read_to_end(&mut text).ok()?;
    options(&text)
}

fn options(command_line: &[u8]) -> Option<Vec<OsString>> {
    let mut words = command_line
        .strip_suffix(b"\0")?
        .split(|byte| *byte == 0)
        .map(OsStr::from_bytes);
    let program = Path::new(words.next()?).file_name()?;
    if program != "ndra" || words.next()? != "driver" {
        return None;
    }
    Some(words.map(OsStr::to_os_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_drivers_options_count_and_the_command_lines_over_them() {
        let running = options(b"/ndra\0driver\0--driver-name=d.example\0--state-dir=/a\0").unwrap();
        let more = DriverOptions {
            options: vec!["--state-dir=/b".into()],
        };
        let config = more.over(&running).unwrap().args.config();
        assert_eq!(config.driver_name, "d.example");
        assert_eq!(config.state_dir, Path::new("/b"));
        assert_eq!(
            config.plugin_dir,
            Path::new("/var/lib/kubelet/plugins/d.example")
        );
        assert_eq!(options(b"/sbin/init\0driver\0"), None);
        assert_eq!(options(b"/ndra\0simulate\0"), None);
        assert_eq!(options(b""), None);
    }

    #[test]
    fn a_wrong_option_is_named() {
        let wrong = DriverOptions {
            options: vec!["--no-such".into()],
        };
        let text = wrong.over(&[]).unwrap_err().to_string();
        assert!(text.contains("unexpected argument '--no-such'"), "{text}");
    }
}

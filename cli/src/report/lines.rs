//! JSON lines: one event a line, for standard output and for recordings.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ndra_core::event::Event;
use ndra_core::socket::io_text;

use crate::problem::{Place, Problem};

/// `event` as one line, without its line feed.
pub(crate) fn line(event: &Event) -> String {
    // Events came from JSON or hold nothing but JSON values.
    serde_json::to_string(event).unwrap_or_default()
}

/// A recording being written. Each line is flushed whole, so that a run that dies leaves a
/// file that can be read up to there.
pub(crate) struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Recording {
    /// Begins a new recording, over an older one.
    ///
    /// # Errors
    /// The place is not one where a file can be written.
    pub(crate) fn create(path: &Path) -> Result<Self, Problem> {
        let file = File::create(path).map_err(|error| {
            Problem::new(
                Place::file(path.display().to_string()),
                format!("cannot be written: {}", io_text(&error)),
                "name a file in a directory that exists and may be written to",
            )
            .field("--record")
        })?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file's path and what the system says.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), String> {
        let Self { path, file } = self;
        writeln!(file, "{line}")
            .and_then(|()| file.flush())
            .map_err(|error| {
                format!(
                    "cannot write the recording {}: {}",
                    path.display(),
                    io_text(&error)
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_on_disk_when_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        let mut recording = Recording::create(&path).unwrap();
        recording.line("{}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
        recording.line("{\"a\":1}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n{\"a\":1}\n");
    }

    #[test]
    fn a_place_that_takes_no_file_is_named() {
        let error = Recording::create(Path::new("/nowhere/a.jsonl"))
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "/nowhere/a.jsonl: --record: cannot be written: No such file or directory"
        );
    }
}

//! JSON lines: one event a line, for standard output and for recordings.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ndra_core::event::Event;

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

/// Why a recording could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the recording {}: {reason}", path.display())]
pub(crate) struct RecordError {
    path: PathBuf,
    reason: String,
}

impl Recording {
    /// Begins a new recording, over an older one.
    pub(crate) fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|error| fail(path, &error))?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
        })
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), RecordError> {
        let Self { path, file } = self;
        writeln!(file, "{line}")
            .and_then(|()| file.flush())
            .map_err(|error| fail(path, &error))
    }
}

fn fail(path: &Path, error: &io::Error) -> RecordError {
    RecordError {
        path: path.into(),
        reason: ndra_core::socket::io_text(error),
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
            "cannot write the recording /nowhere/a.jsonl: No such file or directory"
        );
    }
}

//! Reads one of the user's files as text, within limits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::problem::{Place, Problem};

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The file name that means standard input.
const STDIN: &str = "-";

/// What messages call `file`.
pub(super) fn name(file: &Path) -> String {
    if file.as_os_str() == STDIN {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// The text of `file`.
pub(crate) fn read(file: &Path) -> Result<String, Problem> {
    let name = name(file);
    let fail = |error: &io::Error| {
        let mend = match error.kind() {
            io::ErrorKind::NotFound => "check the path; `-` reads standard input",
            io::ErrorKind::PermissionDenied => "give yourself read permission on it",
            _ => "check the file",
        };
        Problem::new(
            Place::file(&name),
            format!("cannot be read: {}", ndra_core::socket::io_text(error)),
            mend,
        )
    };
    let mut bytes = Vec::new();
    if file.as_os_str() == STDIN {
        io::stdin()
            .lock()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| fail(&e))?;
    } else {
        let meta = std::fs::metadata(file).map_err(|e| fail(&e))?;
        if meta.is_dir() {
            return Err(Problem::new(
                Place::file(&name),
                "is a directory",
                format!(
                    "name the files in it: {}/*.yaml",
                    name.trim_end_matches('/')
                ),
            ));
        }
        File::open(file)
            .map_err(|e| fail(&e))?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| fail(&e))?;
    }
    text(&name, bytes)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Problem> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::new(
            Place::file(name),
            format!("is longer than {} MiB", MAX_FILE >> 20),
            "split it, or name the files that hold Kubernetes objects",
        ));
    }
    let binary = |at: usize| {
        Problem::new(
            Place::file(name),
            format!("is not text: byte {at} does not belong into UTF-8 text"),
            "a manifest is YAML or JSON in UTF-8",
        )
    };
    if let Some(at) = bytes
        .iter()
        .position(|b| *b < b' ' && !matches!(b, b'\n' | b'\r' | b'\t'))
    {
        return Err(binary(at));
    }
    String::from_utf8(bytes).map_err(|e| binary(e.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_utf8_text_passes() {
        let say = |bytes: &[u8]| text("a.yaml", bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(
            say(b"kind: Pod\n\x7fELF\x00"),
            "a.yaml: is not text: byte 14 does not belong into UTF-8 text"
        );
        assert_eq!(
            say(b"a: \xff"),
            "a.yaml: is not text: byte 3 does not belong into UTF-8 text"
        );
        let long = vec![b'a'; usize::try_from(MAX_FILE).unwrap() + 1];
        assert_eq!(say(&long), "a.yaml: is longer than 4 MiB");
        assert_eq!(text("a", b"k: \xc3\xa9".to_vec()).unwrap(), "k: é");
    }
}

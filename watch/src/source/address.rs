//! What a user may write for a source, and what is wrong with what is none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndra_core::{shown, socket};

use super::name::Name;

/// Where the driver serves its events unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ndra/events.sock";

/// A place that events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event socket of a driver on this machine.
    Socket(PathBuf),
    /// A recording: JSON lines, growing or finished.
    File(PathBuf),
    /// JSON lines on standard input.
    Stdin,
    /// The driver on a node that is a container of Docker or Podman, as kind makes them.
    Kind {
        /// The node, which is the name of its container.
        node: Name,
        /// The driver's container on that node; without it, it is found by its usual names.
        container: Option<Name>,
    },
    /// The driver in one pod.
    Pod {
        /// The pod's namespace.
        namespace: Name,
        /// The pod's name.
        name: Name,
        /// The driver's container in the pod.
        container: Option<Name>,
    },
    /// The drivers in all pods of a DaemonSet, merged.
    DaemonSet {
        /// The DaemonSet's namespace.
        namespace: Name,
        /// The DaemonSet's name.
        name: Name,
        /// The driver's container in each pod.
        container: Option<Name>,
    },
}

impl Default for Source {
    /// The event socket of the driver on this machine.
    fn default() -> Self {
        Self::Socket(DEFAULT_SOCKET.into())
    }
}

impl Source {
    /// Does it go on while its reader is connected? A recording on standard input does not
    /// say; it counts as one that ends.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Stdin)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = |f: &mut fmt::Formatter<'_>, container: &Option<Name>| match container {
            Some(container) => write!(f, "/{container}"),
            None => Ok(()),
        };
        match self {
            Self::Socket(path) => write!(f, "unix://{}", plain(path)),
            Self::File(path) => f.write_str(&plain(path)),
            Self::Stdin => f.write_str("-"),
            Self::Kind { node, container } => {
                write!(f, "kind://{node}")?;
                tail(f, container)
            }
            Self::Pod {
                namespace,
                name,
                container,
            } => {
                write!(f, "pod://{namespace}/{name}")?;
                tail(f, container)
            }
            Self::DaemonSet {
                namespace,
                name,
                container,
            } => {
                write!(f, "ds://{namespace}/{name}")?;
                tail(f, container)
            }
        }
    }
}

/// A path for a message.
pub(super) fn plain(path: &Path) -> String {
    shown::plain(&path.display().to_string())
}

/// Why a text is no [`Source`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing stands there.
    #[error("the source is empty; write {FORMS}")]
    Empty,
    /// An unknown kind of address.
    #[error("{0} is no source of events; write {FORMS}")]
    Scheme(String),
    /// A socket without an absolute path.
    #[error("{0} names no socket by its absolute path; write unix://{DEFAULT_SOCKET}")]
    Relative(String),
    /// A path that the kernel has no room for, or that holds a NUL.
    #[error("{0}")]
    Path(String),
    /// Too few parts, or too many.
    #[error("{text} does not have the form {form}")]
    Form {
        /// What was written.
        text: String,
        /// What it should look like.
        form: &'static str,
    },
    /// A part that is no name.
    #[error(
        "{part} in {text} is no name of a {what}: it may have lower-case letters, \
         digits{chars}, and begins and ends with a letter or digit"
    )]
    Name {
        /// What was written.
        text: String,
        /// The part of it.
        part: String,
        /// What it should name.
        what: &'static str,
        /// The other characters that it may have.
        chars: &'static str,
    },
}

const FORMS: &str = "unix:///PATH, FILE.jsonl, - for standard input, kind://NODE, \
                     pod://NAMESPACE/NAME or ds://NAMESPACE/NAME";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        if text.contains('\0') {
            return Err(SourceError::Path(format!(
                "{} holds a NUL character, which no path can",
                shown::quoted(text)
            )));
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        match text.split_once("://") {
            Some(("unix", path)) => socket_at(text, path),
            Some(("kind", rest)) => {
                let form = "kind://NODE or kind://NODE/CONTAINER";
                let [node, container] = parts::<1, 2>(text, rest, form)?;
                Ok(Self::Kind {
                    node: name(text, node.unwrap_or_default(), "node", true)?,
                    container: optional(text, container)?,
                })
            }
            Some(("pod", rest)) => {
                let form = "pod://NAMESPACE/NAME or pod://NAMESPACE/NAME/CONTAINER";
                let [namespace, pod, container] = parts::<2, 3>(text, rest, form)?;
                Ok(Self::Pod {
                    namespace: name(text, namespace.unwrap_or_default(), "namespace", false)?,
                    name: name(text, pod.unwrap_or_default(), "pod", true)?,
                    container: optional(text, container)?,
                })
            }
            Some(("ds", rest)) => {
                let form = "ds://NAMESPACE/NAME or ds://NAMESPACE/NAME/CONTAINER";
                let [namespace, set, container] = parts::<2, 3>(text, rest, form)?;
                Ok(Self::DaemonSet {
                    namespace: name(text, namespace.unwrap_or_default(), "namespace", false)?,
                    name: name(text, set.unwrap_or_default(), "DaemonSet", true)?,
                    container: optional(text, container)?,
                })
            }
            Some(_) => Err(SourceError::Scheme(shown::quoted(text))),
            None => Ok(Self::File(text.into())),
        }
    }
}

fn socket_at(text: &str, path: &str) -> Result<Source, SourceError> {
    if !path.starts_with('/') {
        return Err(SourceError::Relative(shown::quoted(text)));
    }
    socket::check_path(Path::new(path))
        .map_err(|error| SourceError::Path(shown::plain(&error.to_string())))?;
    Ok(Source::Socket(path.into()))
}

/// The parts between slashes: at least `LEAST`, at most `MOST`.
fn parts<'a, const LEAST: usize, const MOST: usize>(
    text: &str,
    rest: &'a str,
    form: &'static str,
) -> Result<[Option<&'a str>; MOST], SourceError> {
    let mut found = [None; MOST];
    let mut count = 0;
    for part in rest.split('/') {
        if let Some(place) = found.get_mut(count) {
            *place = Some(part);
        }
        count += 1;
    }
    if !(LEAST..=MOST).contains(&count) || rest.is_empty() {
        return Err(SourceError::Form {
            text: shown::quoted(text),
            form,
        });
    }
    Ok(found)
}

fn name(text: &str, part: &str, what: &'static str, dots: bool) -> Result<Name, SourceError> {
    let name = if dots {
        Name::subdomain(part)
    } else {
        Name::label(part)
    };
    name.ok_or_else(|| SourceError::Name {
        text: shown::quoted(text),
        part: shown::quoted(part),
        what,
        chars: if dots { ", `-` and `.`" } else { " and `-`" },
    })
}

fn optional(text: &str, part: Option<&str>) -> Result<Option<Name>, SourceError> {
    part.map(|part| name(text, part, "container", false))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was_written() {
        for text in [
            "unix:///run/ndra/events.sock",
            "run.jsonl",
            "/var/tmp/a b.jsonl",
            "-",
            "kind://kind-worker2",
            "kind://kind-worker2/ndra",
            "pod://kube-system/ndra-abcde",
            "pod://kube-system/ndra-abcde/driver",
            "ds://kube-system/ndra",
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!(
            Source::default().to_string(),
            "unix:///run/ndra/events.sock"
        );
    }

    #[test]
    fn what_is_no_source_is_refused_in_these_words() {
        let long = format!("unix:///{}", "x".repeat(120));
        let errors: Vec<String> = [
            "",
            "http://localhost",
            "unix://events.sock",
            &long,
            "a\0b",
            "kind://",
            "kind://a/b/c",
            "kind://--help",
            "kind://Node",
            "pod://default",
            "pod://default/",
            "pod://-n/web",
            "ds://kube-system/$(reboot)",
            "ds://kube.system/ndra",
            "pod://default/web/a;b",
        ]
        .iter()
        .map(|text| text.parse::<Source>().unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        the source is empty; write unix:///PATH, FILE.jsonl, - for standard input, kind://NODE, pod://NAMESPACE/NAME or ds://NAMESPACE/NAME
        "http://localhost" is no source of events; write unix:///PATH, FILE.jsonl, - for standard input, kind://NODE, pod://NAMESPACE/NAME or ds://NAMESPACE/NAME
        "unix://events.sock" names no socket by its absolute path; write unix:///run/ndra/events.sock
        socket path /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is 121 bytes long, the limit is 107: choose a shorter directory
        "a\0b" holds a NUL character, which no path can
        "kind://" does not have the form kind://NODE or kind://NODE/CONTAINER
        "kind://a/b/c" does not have the form kind://NODE or kind://NODE/CONTAINER
        "--help" in "kind://--help" is no name of a node: it may have lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit
        "Node" in "kind://Node" is no name of a node: it may have lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit
        "pod://default" does not have the form pod://NAMESPACE/NAME or pod://NAMESPACE/NAME/CONTAINER
        "" in "pod://default/" is no name of a pod: it may have lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit
        "-n" in "pod://-n/web" is no name of a namespace: it may have lower-case letters, digits and `-`, and begins and ends with a letter or digit
        "$(reboot)" in "ds://kube-system/$(reboot)" is no name of a DaemonSet: it may have lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit
        "kube.system" in "ds://kube.system/ndra" is no name of a namespace: it may have lower-case letters, digits and `-`, and begins and ends with a letter or digit
        "a;b" in "pod://default/web/a;b" is no name of a container: it may have lower-case letters, digits and `-`, and begins and ends with a letter or digit
        "#);
    }
}

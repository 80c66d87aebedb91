//! Why a namespace could not be made, entered or left, in one line.

use std::fmt::Display;
use std::io;

/// What failed, why, and what to do where that is known.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}{}", text(source), advice(source))]
pub struct Trouble {
    what: String,
    source: io::Error,
}

impl Trouble {
    /// Says what was tried.
    #[cfg(any(test, target_os = "linux"))]
    pub(crate) fn at<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Self {
        let what = what.to_string();
        move |source| Self {
            what,
            source: source.into(),
        }
    }

    /// As another program told it.
    pub(crate) fn told(what: impl Display, why: impl Display) -> Self {
        Self {
            what: what.to_string(),
            source: io::Error::other(why.to_string()),
        }
    }

    /// What the system answered.
    pub fn os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// Without the number that Rust adds.
fn text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": this system does not let its users make namespaces (look at kernel.apparmor_restrict_unprivileged_userns and kernel.unprivileged_userns_clone)"
        }
        // The kernel's word for a limit that is reached.
        io::ErrorKind::StorageFull => {
            ": a limit is reached (look at user.max_user_namespaces and user.max_net_namespaces)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_where_to_look() {
        let denied = io::Error::from_raw_os_error(1);
        let denied = Trouble::at("cannot make a user namespace")(denied).to_string();
        assert!(denied.starts_with("cannot make a user namespace: operation not permitted: "));
        assert!(denied.contains("apparmor_restrict_unprivileged_userns"));
        let other = Trouble::told("the probe", "said nothing").to_string();
        assert_eq!(other, "the probe: said nothing");
    }
}

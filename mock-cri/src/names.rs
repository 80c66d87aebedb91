//! Ids, the names that runtimes reserve, and look-up by the beginning of an id.

use std::collections::BTreeMap;
use std::ops::Bound;

use ndra_core::wire::cri;

use crate::Flavor;

/// A new id: 64 hexadecimal digits.
pub(crate) fn new_id() -> String {
    let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    format!("{}{}", a.simple(), b.simple())
}

/// A made-up digest of an image: the same for the same name, and of the usual form.
pub(crate) fn image_digest(image: &str) -> String {
    use std::fmt::Write;
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut digest = String::from("sha256:");
    for round in 0..4_u8 {
        let mut hasher = DefaultHasher::new();
        (round, image).hash(&mut hasher);
        // Writing to a String cannot fail.
        let _ = write!(digest, "{:016x}", hasher.finish());
    }
    digest
}

/// The name that is reserved for a sandbox, unique to pod and attempt.
pub(crate) fn sandbox_name(flavor: Flavor, pod: &cri::PodSandboxMetadata) -> String {
    let name = format!("{}_{}_{}_{}", pod.name, pod.namespace, pod.uid, pod.attempt);
    match flavor {
        Flavor::Containerd => name,
        Flavor::Crio => format!("k8s_{name}"),
    }
}

/// The name that is reserved for a container, unique to pod, container and attempt.
pub(crate) fn container_name(
    flavor: Flavor,
    container: &cri::ContainerMetadata,
    pod: &cri::PodSandboxMetadata,
) -> String {
    let name = format!(
        "{}_{}_{}_{}_{}",
        container.name, pod.name, pod.namespace, pod.uid, container.attempt
    );
    match flavor {
        Flavor::Containerd => name,
        Flavor::Crio => format!("k8s_{name}"),
    }
}

/// Why an id leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It is empty.
    Empty,
    /// Nothing begins with it.
    Unknown,
    /// More than one thing begins with it.
    Ambiguous,
}

/// Finds by id, or by a beginning of it that only one id has: runtimes accept both.
pub(crate) fn find<'a, T>(all: &'a BTreeMap<String, T>, id: &str) -> Result<&'a T, Lookup> {
    if id.is_empty() {
        return Err(Lookup::Empty);
    }
    let from = (Bound::Included(id), Bound::<&str>::Unbounded);
    let mut candidates = all
        .range::<str, _>(from)
        .take_while(|(key, _)| key.starts_with(id));
    match (candidates.next(), candidates.next()) {
        (None, _) => Err(Lookup::Unknown),
        (Some((_, found)), None) => Ok(found),
        (Some(_), Some(_)) => Err(Lookup::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hex_digits_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert!(a.len() == 64 && a.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn a_beginning_is_enough_when_it_is_unique() {
        let all: BTreeMap<String, u8> = [("ab1".into(), 1), ("ab2".into(), 2)].into();
        assert_eq!(find(&all, "ab1"), Ok(&1));
        assert_eq!(find(&all, "ab"), Err(Lookup::Ambiguous));
        assert_eq!(find(&all, ""), Err(Lookup::Empty));
        assert_eq!(find(&all, "../ab1"), Err(Lookup::Unknown));
        assert_eq!(find(&all, "ab12"), Err(Lookup::Unknown));
    }

    #[test]
    fn digests_look_like_digests() {
        assert_eq!(image_digest("a").len(), "sha256:".len() + 64);
        assert_eq!(image_digest("a"), image_digest("a"));
        assert_ne!(image_digest("a"), image_digest("b"));
    }
}

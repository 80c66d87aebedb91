//! The driver on a node that is itself a container: through the engine, then through CRI.

use serde::Deserialize;

use super::lane::{Connect, Lane, Trouble};
use super::name::Name;
use super::programs::{CommandLine, Programs, output, stream};
use super::remote::{CONTAINERS, events_command};

/// Who may run nodes as containers, the likelier first.
const ENGINES: [&str; 2] = ["docker", "podman"];
/// The longest list of a node's containers that is read, in bytes.
const MOST: usize = 16 * 1024 * 1024;

/// See [`Source::Kind`](super::Source::Kind).
pub(super) struct Kind {
    pub(super) programs: Programs,
    pub(super) node: Name,
    pub(super) container: Option<Name>,
}

impl Connect for Kind {
    async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        let node = &self.node;
        lane.intake.set_node(node.as_str());
        lane.connecting(format!("the driver on node {node}"))
            .await?;
        let (engine, list) = self.list(lane).await?;
        let id = driver(&list, self.container.as_ref())
            .map_err(|reason| Trouble::Again(format!("node {node} {reason}")))?;
        let inside = events_command(lane.follow, &lane.intake);
        let line = exec_line(engine, node, &id, &inside);
        stream(&self.programs, &line, lane).await
    }
}

impl Kind {
    /// The node's containers, and which engine runs the node.
    async fn list(&self, lane: &Lane) -> Result<(&'static str, Vec<u8>), Trouble> {
        let there = ENGINES.iter().filter(|e| self.programs.find(e).is_some());
        let mut reasons = Vec::new();
        for engine in there {
            let line = list_line(engine, &self.node);
            let patience = lane.pace.answer;
            match output(&self.programs, &line, MOST, patience, &lane.cancel).await {
                Ok(list) => return Ok((engine, list)),
                Err(Trouble::Again(reason)) => reasons.push(reason),
                Err(trouble) => return Err(trouble),
            }
        }
        if reasons.is_empty() {
            return Err(Trouble::Final(
                "neither docker nor podman is on PATH: install the one that runs the node".into(),
            ));
        }
        Err(Trouble::Again(reasons.join("; ")))
    }
}

fn list_line(engine: &'static str, node: &Name) -> CommandLine {
    CommandLine::new(
        engine,
        ["exec", node.as_str(), "crictl", "ps", "-o", "json"],
    )
}

fn exec_line(engine: &'static str, node: &Name, id: &str, inside: &[String]) -> CommandLine {
    let outside = ["exec", "-i", node.as_str(), "crictl", "exec", "-i", id];
    let inside = inside.iter().map(String::as_str);
    CommandLine::new(engine, outside.into_iter().chain(inside))
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    id: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(rename = "createdAt", default)]
    created_at: serde_json::Value,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

impl Container {
    /// Nanoseconds since 1970; protobuf's JSON form writes such numbers as strings.
    fn created(&self) -> u64 {
        match &self.created_at {
            serde_json::Value::String(text) => text.parse().unwrap_or_default(),
            other => other.as_u64().unwrap_or_default(),
        }
    }
}

/// The id of the newest running container with the wanted name. The reason continues a
/// sentence that begins with the node.
fn driver(list: &[u8], wanted: Option<&Name>) -> Result<String, String> {
    let list: List = serde_json::from_slice(list)
        .map_err(|error| format!("answers with a list of containers that is none: {error}"))?;
    let is_wanted = |container: &&Container| {
        let name = container.metadata.name.as_str();
        match wanted {
            Some(wanted) => name == wanted.as_str(),
            None => CONTAINERS.contains(&name),
        }
    };
    let found = list
        .containers
        .iter()
        .filter(is_wanted)
        .max_by_key(|container| container.created());
    let Some(found) = found else {
        let wanted = match wanted {
            Some(name) => name.to_string(),
            None => CONTAINERS
                .join(", ")
                .replacen(", network", " or network", 1),
        };
        let mut names: Vec<&str> = list
            .containers
            .iter()
            .map(|container| container.metadata.name.as_str())
            .filter(|name| Name::label(name).is_some())
            .collect();
        names.sort_unstable();
        names.dedup();
        let names = if names.is_empty() {
            "none runs".to_owned()
        } else {
            names.truncate(20);
            format!("there are {}", names.join(", "))
        };
        return Err(format!(
            "has no running container named {wanted} ({names}): name the driver's with \
             kind://NODE/CONTAINER"
        ));
    };
    // It becomes an argument.
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    if found.id.is_empty() || found.id.len() > 128 || !found.id.bytes().all(plain) {
        return Err("names a container by something that is no id".into());
    }
    Ok(found.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"containers": [
        {"id": "aa11", "metadata": {"name": "kube-proxy", "attempt": 0}, "createdAt": "5"},
        {"id": "bb22", "metadata": {"name": "ndra"}, "createdAt": "1700000000000000001"},
        {"id": "cc33", "metadata": {"name": "ndra"}, "createdAt": "1700000000000000002"},
        {"id": "--privileged", "metadata": {"name": "evil"}}
    ]}"#;

    #[test]
    fn the_newest_container_with_the_name_is_taken() {
        let found = |name: &str| driver(LIST.as_bytes(), Some(&Name::label(name).unwrap()));
        assert_eq!(driver(LIST.as_bytes(), None), Ok("cc33".into()));
        assert_eq!(found("kube-proxy"), Ok("aa11".into()));
        let errors = [
            found("driver").unwrap_err(),
            found("evil").unwrap_err(),
            driver(b"{}", None).unwrap_err(),
            driver(b"oops", None).unwrap_err(),
        ];
        insta::assert_snapshot!(errors.join("\n"), @"
        has no running container named driver (there are evil, kube-proxy, ndra): name the driver's with kind://NODE/CONTAINER
        names a container by something that is no id
        has no running container named ndra, ndra-driver or network-dra (none runs): name the driver's with kind://NODE/CONTAINER
        answers with a list of containers that is none: expected value at line 1 column 1
        ");
    }
}

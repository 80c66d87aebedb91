//! Pods and DaemonSets, asked for with kubectl, and the driver inside them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Pace;
use super::lane::{Connect, Lane, Trouble};
use super::name::Name;
use super::programs::{CommandLine, Programs, output, stream};
use super::remote::{CONTAINERS, events_command};

/// The longest answer that is read, in bytes: a thousand pods and more.
const MOST: usize = 64 * 1024 * 1024;

/// How kubectl is asked.
#[derive(Clone)]
pub(super) struct Kubectl {
    pub(super) programs: Programs,
    pub(super) namespace: Name,
    pub(super) pace: Pace,
}

/// A pod, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodRef {
    pub(super) uid: String,
    pub(super) name: Name,
    pub(super) node: Name,
    /// The container to enter; without one kubectl knows the pod's default.
    pub(super) container: Option<Name>,
}

impl Kubectl {
    /// One pod, if it runs.
    async fn pod(
        &self,
        name: &Name,
        container: Option<&Name>,
        cancel: &CancellationToken,
    ) -> Result<PodRef, Trouble> {
        let line = self.line(["get", "pod", name.as_str()], &[]);
        let pod: Pod = self.ask(&line, cancel).await?;
        pod.running(container)
            .map_err(|reason| Trouble::Again(format!("pod {}/{name} {reason}", self.namespace)))
    }

    /// The running pods of a DaemonSet, by node.
    pub(super) async fn pods_of_set(
        &self,
        name: &Name,
        container: Option<&Name>,
        cancel: &CancellationToken,
    ) -> Result<Vec<PodRef>, Trouble> {
        let line = self.line(["get", "daemonset", name.as_str()], &[]);
        let set: Set = self.ask(&line, cancel).await?;
        let selector = set.spec.selector.text().map_err(|reason| {
            Trouble::Again(format!("DaemonSet {}/{name} {reason}", self.namespace))
        })?;
        let line = self.line(["get", "pods"], &[format!("--selector={selector}")]);
        let pods: Pods = self.ask(&line, cancel).await?;
        // Others may carry the same labels.
        let of_set = |pod: &Pod| {
            pod.metadata
                .owners
                .iter()
                .any(|o| o.uid == set.metadata.uid)
        };
        let mut pods: Vec<_> = pods
            .items
            .into_iter()
            .filter(of_set)
            .filter_map(|pod| pod.running(container).ok())
            .collect();
        pods.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        Ok(pods)
    }

    fn line<const N: usize>(&self, verb: [&str; N], more: &[String]) -> CommandLine {
        let seconds = self.pace.answer.as_secs().max(1);
        let namespace = format!("--namespace={}", self.namespace);
        let timeout = format!("--request-timeout={seconds}s");
        let rest = [namespace.as_str(), "-o", "json", timeout.as_str()];
        let more = more.iter().map(String::as_str);
        CommandLine::new("kubectl", verb.into_iter().chain(rest).chain(more))
    }

    fn exec_line(&self, pod: &PodRef, inside: &[String]) -> CommandLine {
        let namespace = format!("--namespace={}", self.namespace);
        let container = pod.container.as_ref().map(|c| format!("--container={c}"));
        let outside = [
            "exec",
            "-i",
            "--quiet",
            pod.name.as_str(),
            namespace.as_str(),
        ];
        CommandLine::new(
            "kubectl",
            outside
                .into_iter()
                .chain(container.as_deref())
                .chain(["--"])
                .chain(inside.iter().map(String::as_str)),
        )
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        line: &CommandLine,
        cancel: &CancellationToken,
    ) -> Result<T, Trouble> {
        // kubectl keeps to its own time-out first, and says more about it.
        let patience = self.pace.answer * 2;
        let text = output(&self.programs, line, MOST, patience, cancel).await?;
        serde_json::from_slice(&text).map_err(|error| {
            Trouble::Again(format!("kubectl answered with something else: {error}"))
        })
    }
}

/// See [`Source::Pod`](super::Source::Pod), and one pod of a DaemonSet.
pub(super) struct InPod {
    pub(super) kubectl: Kubectl,
    pub(super) which: Which,
}

/// What is known of a pod before it is connected.
pub(super) enum Which {
    /// Its name: the rest is looked up each time, because a new pod may have the name.
    Named { name: Name, container: Option<Name> },
    /// All of it.
    Found(PodRef),
}

impl Connect for InPod {
    async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        let namespace = &self.kubectl.namespace;
        let pod = match &self.which {
            Which::Named { name, container } => {
                lane.connecting(format!("pod {namespace}/{name}")).await?;
                self.kubectl
                    .pod(name, container.as_ref(), &lane.cancel)
                    .await?
            }
            Which::Found(pod) => pod.clone(),
        };
        lane.intake.set_node(pod.node.as_str());
        let PodRef { name, node, .. } = &pod;
        let what = format!("the driver in pod {namespace}/{name} on node {node}");
        lane.connecting(what).await?;
        let inside = events_command(lane.follow, &lane.intake);
        let line = self.kubectl.exec_line(&pod, &inside);
        stream(&self.kubectl.programs, &line, lane).await
    }
}

#[derive(Deserialize)]
struct Pods {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: String,
    #[serde(rename = "ownerReferences", default)]
    owners: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    uid: String,
}

#[derive(Default, Deserialize)]
struct PodSpec {
    #[serde(rename = "nodeName", default)]
    node_name: String,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Default, Deserialize)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

impl Pod {
    /// The pod, if it can be entered. The reason continues a sentence that begins with it.
    fn running(self, wanted: Option<&Name>) -> Result<PodRef, String> {
        if self.status.phase != "Running" {
            let phase = Some(self.status.phase.as_str())
                .filter(|phase| ["Pending", "Succeeded", "Failed"].contains(phase))
                .unwrap_or("in an unknown phase");
            return Err(format!("does not run, it is {phase}"));
        }
        let names: Vec<&str> = self
            .spec
            .containers
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        let container = match wanted {
            Some(wanted) if !names.contains(&wanted.as_str()) => {
                return Err(format!("has no container {wanted}"));
            }
            Some(wanted) => Some(wanted.clone()),
            None => CONTAINERS
                .iter()
                .find(|usual| names.contains(usual))
                .and_then(|usual| Name::label(usual)),
        };
        let odd = || "has a name, or a node, that the API would not allow".to_owned();
        Ok(PodRef {
            name: Name::subdomain(&self.metadata.name).ok_or_else(odd)?,
            node: Name::subdomain(&self.spec.node_name).ok_or_else(odd)?,
            uid: self.metadata.uid,
            container,
        })
    }
}

#[derive(Deserialize)]
struct Set {
    metadata: Metadata,
    spec: SetSpec,
}

#[derive(Deserialize)]
struct SetSpec {
    #[serde(default)]
    selector: Selector,
}

#[derive(Default, Deserialize)]
struct Selector {
    #[serde(rename = "matchLabels", default)]
    labels: BTreeMap<String, String>,
    #[serde(rename = "matchExpressions", default)]
    expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Selector {
    /// The selector as kubectl takes it.
    fn text(&self) -> Result<String, String> {
        // What the API allows in keys and values means nothing else in a selector.
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        };
        let strange = || "has a selector with labels that the API would not allow".to_owned();
        let mut terms = Vec::new();
        for (key, value) in &self.labels {
            if key.is_empty() || !plain(key) || !plain(value) {
                return Err(strange());
            }
            terms.push(format!("{key}={value}"));
        }
        for Expression {
            key,
            operator,
            values,
        } in &self.expressions
        {
            if key.is_empty() || !plain(key) || !values.iter().all(|value| plain(value)) {
                return Err(strange());
            }
            let values = values.join(",");
            terms.push(match operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.clone(),
                "DoesNotExist" => format!("!{key}"),
                _ => return Err("has a selector with an unknown operator".into()),
            });
        }
        if terms.is_empty() {
            return Err("has an empty selector".into());
        }
        Ok(terms.join(","))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_keep_their_meaning_and_nothing_slips_in() {
        let text = |selector: serde_json::Value| {
            let selector: Selector = serde_json::from_value(selector).unwrap();
            selector
                .text()
                .unwrap_or_else(|error| format!("error: it {error}"))
        };
        let seen = [
            json!({"matchLabels": {"app.kubernetes.io/name": "ndra", "a": ""}}),
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [
                {"key": "k", "operator": "In", "values": ["x", "y"]},
                {"key": "k", "operator": "NotIn", "values": ["z"]},
                {"key": "e", "operator": "Exists"},
                {"key": "d", "operator": "DoesNotExist"}]}),
            json!({}),
            json!({"matchLabels": {"a": "b,c!=d"}}),
            json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["x)"]}]}),
            json!({"matchExpressions": [{"key": "k", "operator": "Near"}]}),
        ]
        .map(text);
        insta::assert_snapshot!(seen.join("\n"), @"
        a=,app.kubernetes.io/name=ndra
        a=b,k in (x,y),k notin (z),e,!d
        error: it has an empty selector
        error: it has a selector with labels that the API would not allow
        error: it has a selector with labels that the API would not allow
        error: it has a selector with an unknown operator
        ");
    }

    #[test]
    fn only_a_running_pod_can_be_entered() {
        let pod = |phase: &str, node: &str, wanted: Option<&str>| {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "ndra-x", "uid": "u"},
                "spec": {"nodeName": node, "containers": [{"name": "side"}, {"name": "ndra"}]},
                "status": {"phase": phase},
            }))
            .unwrap();
            match pod.running(wanted.and_then(Name::label).as_ref()) {
                Ok(pod) => format!("{} on {} in {:?}", pod.name, pod.node, pod.container),
                Err(reason) => format!("error: it {reason}"),
            }
        };
        let seen = [
            pod("Running", "n1", None),
            pod("Running", "n1", Some("side")),
            pod("Running", "n1", Some("other")),
            pod("Running", "", None),
            pod("Pending", "n1", None),
            pod("\u{1b}[2J", "n1", None),
        ];
        insta::assert_snapshot!(seen.join("\n"), @r#"
        ndra-x on n1 in Some(Name("ndra"))
        ndra-x on n1 in Some(Name("side"))
        error: it has no container other
        error: it has a name, or a node, that the API would not allow
        error: it does not run, it is Pending
        error: it does not run, it is in an unknown phase
        "#);
    }
}

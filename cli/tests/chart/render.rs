//! What the chart makes of many values: valid for Kubernetes, and as it was reviewed.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::api::resource::v1::DeviceClass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::helm::{lint, object, objects, template, template_for};

/// Values that somebody may set together.
const MATRIX: &[(&str, &[&str])] = &[
    ("crio", &["runtime=crio"]),
    ("exec", &["network=exec"]),
    (
        "least",
        &[
            "rbac.create=false",
            "admissionPolicy.create=false",
            "deviceClass.create=false",
            "nicClass.create=false",
            "serviceAccount.create=false",
            "priorityClassName=",
            "tolerations=null",
            "nodeSelector=null",
            "privileged=false",
        ],
    ),
    (
        "most",
        &[
            "fullnameOverride=nets",
            "image.repository=registry.example/ndra",
            "image.tag=1.2.3",
            "image.pullPolicy=Always",
            "imagePullSecrets[0].name=pull",
            "driverName=nets.example",
            "interfaces.include={ens*,eth0}",
            "interfaces.exclude={ens9}",
            "interfaces.share={ens2f?}",
            "interfaces.maxAttachments=32",
            "uplink=bond0",
            "allowCniTypes={macvlan,host-local}",
            "classConfigOnly=true",
            "deviceMetadata=false",
            "log=ndra_core=debug",
            "logFormat=json",
            "metrics.enabled=true",
            "metrics.port=9464",
            "extraArgs={--del-attempts=5}",
            "deviceClass.name=fast",
            "deviceClass.parameters.apiVersion=dra.networking/v1alpha1",
            "deviceClass.parameters.kind=CNIConfig",
            "deviceClass.parameters.ifName=net1",
            "serviceAccount.name=driver",
            "serviceAccount.annotations.a=b",
            "podLabels.team=net",
            "podAnnotations.note=x",
            "updateStrategy.type=OnDelete",
            "updateStrategy.rollingUpdate=null",
            "health.port=9999",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key=metadata.name",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].operator=In",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values={n1}",
        ],
    ),
    (
        "surge",
        &[
            "updateStrategy.rollingUpdate.maxSurge=1",
            "updateStrategy.rollingUpdate.maxUnavailable=0",
            "metrics.enabled=true",
        ],
    ),
    (
        "elsewhere",
        &[
            "hostPaths.kubeletRegistry=/data/kubelet/plugins_registry",
            "hostPaths.kubeletPlugins=/data/kubelet/plugins",
            "hostPaths.state=/data/ndra",
            "hostPaths.run=/data/run",
            "hostPaths.cdi=/etc/cdi",
            "hostPaths.criSocket=/data/containerd/run/c.sock",
            "hostPaths.hook=/data/bin",
            "hostPaths.multusSocket=/data/multus/run/m.sock",
            "hostPaths.cniBin=/data/cni/bin",
            "hostPaths.cniCache=/data/multus/cache",
            "hostPaths.cniState=/data/cni/state",
            "hostPaths.netns=/data/netns",
        ],
    ),
];

/// Every combination that is tested, the defaults first.
pub(crate) fn matrix() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    std::iter::once(("defaults", &[][..])).chain(MATRIX.iter().copied())
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    for (name, values) in matrix() {
        let Some(said) = lint(values) else { return };
        assert!(said.contains("0 chart(s) failed"), "{name}: {said}");
    }
}

#[test]
fn the_defaults_are_as_reviewed() {
    let Some(manifest) = template(&[]) else {
        return;
    };
    insta::assert_snapshot!(manifest.unwrap());
}

/// The lines that other values take away and bring.
#[test]
fn other_values_change_what_they_should() {
    let Some(base) = template(&[]) else { return };
    let base = base.unwrap();
    for (name, values) in MATRIX {
        let manifest = template(values).unwrap().unwrap();
        insta::assert_snapshot!(format!("values_{name}"), difference(&base, &manifest));
    }
}

fn difference(before: &str, after: &str) -> String {
    let without = |lines: &str, other: &str, sign: char| {
        let mut other: Vec<&str> = other.lines().collect();
        let mut text = String::new();
        for line in lines.lines() {
            match other.iter().position(|same| *same == line) {
                Some(found) => drop(other.remove(found)),
                None => text.push_str(&format!("{sign}{line}\n")),
            }
        }
        text
    };
    without(before, after, '-') + &without(after, before, '+')
}

/// As strict as the API server is with `--validate=strict`: a field that Kubernetes does not
/// know is lost when the object is read by its types.
#[test]
fn every_object_is_one_that_kubernetes_knows() {
    for (name, values) in matrix() {
        let Some(manifest) = template(values) else {
            return;
        };
        for object in objects(&manifest.unwrap()) {
            let check = match (object["apiVersion"].as_str(), object["kind"].as_str()) {
                (Some("v1"), Some("ServiceAccount")) => kept::<ServiceAccount>,
                (Some("apps/v1"), Some("DaemonSet")) => kept::<DaemonSet>,
                (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRole")) => kept::<ClusterRole>,
                (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRoleBinding")) => {
                    kept::<ClusterRoleBinding>
                }
                (Some("resource.k8s.io/v1"), Some("DeviceClass")) => kept::<DeviceClass>,
                (Some("admissionregistration.k8s.io/v1"), Some("ValidatingAdmissionPolicy")) => {
                    kept::<ValidatingAdmissionPolicy>
                }
                (
                    Some("admissionregistration.k8s.io/v1"),
                    Some("ValidatingAdmissionPolicyBinding"),
                ) => kept::<ValidatingAdmissionPolicyBinding>,
                other => panic!("{name}: nobody checks {other:?}"),
            };
            let lost = check(&object);
            assert!(lost.is_empty(), "{name}: {}: {lost:?}", object["kind"]);
        }
    }
}

fn kept<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    let typed: T = match serde_json::from_value(object.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let mut lost = Vec::new();
    compare("", object, &serde_json::to_value(typed).unwrap(), &mut lost);
    lost
}

fn compare(path: &str, given: &Value, kept: &Value, lost: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => compare(&path, value, kept, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                compare(&format!("{path}[{index}]"), given, kept, lost);
            }
        }
        (given, kept) if given == kept => {}
        (given, kept) => lost.push(format!("{path}: {given} became {kept}")),
    }
}

#[test]
fn an_unknown_field_would_be_found() {
    let object = serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "x", "lables": {}}, "imagePullSecrets": [{"nam": "y"}]});
    assert_eq!(
        kept::<ServiceAccount>(&object),
        [".metadata.lables", ".imagePullSecrets[0].nam",]
            .into_iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn wrong_values_are_refused_with_the_place_and_the_reason() {
    let mut page = String::new();
    for value in [
        "runtime=docker",
        "network=ovn",
        "hostPaths.state=var/lib",
        "hostPaths.cniBin=/opt/../bin",
        "hostPaths.multusSocket=/m.sock",
        "hostPaths.multus=/run/multus",
        "interfaces.maxAttachments=0",
        "interfaces.include[0]=a/b",
        "slots=8",
        "health.port=70000",
        "driverName=DRA",
        "timeouts.cni=20",
        "timeouts.hook=1 minute",
        "timeouts.stop=0s",
        "log=a b",
        "deviceClass.parameters.foo=1",
        "deviceClass.parameters.apiVersion=v1",
        "extraArgs[0]=-v",
        "image.tga=1",
        "imagePullSecrets[0]=pull",
        "podLabels.app\\.kubernetes\\.io/name=x",
        "updateStrategy.rollingUpdate.maxSurge=1",
        "updateStrategy.rollingUpdate.maxUnavailable=0",
        "admissionPolicy.create=maybe",
    ] {
        let Some(refused) = template(&[value]) else {
            return;
        };
        let refused = refused.unwrap_err();
        let (head, why) = refused.split_once("network-dra:\n").unwrap();
        assert!(head.contains("specifications of the schema"), "{head}");
        page.push_str(&format!(
            "{value}\n  {}\n",
            why.trim_end().replace('\n', "\n  ")
        ));
    }
    insta::assert_snapshot!(page);
}

#[test]
fn values_that_do_not_fit_together_are_refused_by_their_names() {
    let mut page = String::new();
    for values in [
        &["timeouts.hook=40s"][..],
        &["timeouts.hookKillAfter=25999ms"],
        &["timeouts.hook=20s"],
        &["timeouts.hookKillAfter=1h", "timeouts.hook=11m"],
        &["timeouts.stop=1m"],
        &["metrics.enabled=true", "metrics.port=51517"],
        &["hostPaths.cniCache=/var/lib/cni"],
        &["hostPaths.hook=/opt/cni/bin"],
        &["hostPaths.run=/run/crio", "runtime=crio"],
    ] {
        let Some(refused) = template(values) else {
            return;
        };
        let refused = refused.unwrap_err();
        let (_, why) = refused.split_once("): ").unwrap();
        let why = why.lines().next().unwrap();
        page.push_str(&format!("{}\n  {why}\n", values.join(" ")));
    }
    insta::assert_snapshot!(page, @r"
    timeouts.hook=40s
      timeouts.hookKillAfter (30s) must be longer than timeouts.hook (40s), in whole seconds, or the hook's message never gets out
    timeouts.hookKillAfter=25999ms
      timeouts.hookKillAfter (25999ms) must be longer than timeouts.hook (25s), in whole seconds, or the hook's message never gets out
    timeouts.hook=20s
      timeouts.hook (20s) must be longer than timeouts.cni (20s), or the hook's message never gets out
    timeouts.hookKillAfter=1h timeouts.hook=11m
      timeouts.hook (11m) is longer than 10m, and the kubelet waits 2m for a container unless it is told otherwise
    timeouts.stop=1m
      terminationGracePeriodSeconds (30) must be longer than timeouts.stop (1m), or the driver is killed amid its calls
    metrics.enabled=true metrics.port=51517
      metrics.port and health.port are both 51517: each needs a port of its own
    hostPaths.cniCache=/var/lib/cni
      hostPaths.cniCache and hostPaths.cniState both lead to /var/lib/cni: each needs a directory of its own
    hostPaths.hook=/opt/cni/bin
      hostPaths.cniBin and hostPaths.hook both lead to /opt/cni/bin: each needs a directory of its own
    hostPaths.run=/run/crio runtime=crio
      hostPaths.criSocket and hostPaths.run both lead to /run/crio: each needs a directory of its own
    ");
    for values in [
        &["timeouts.hook=24s"][..],
        &["timeouts.stop=1m", "terminationGracePeriodSeconds=61"],
        // Nobody serves them.
        &["metrics.port=51517"],
    ] {
        template(values).unwrap().unwrap();
    }
}

/// Runtimes name namespaces with and without /var, and in an image there is no link.
#[test]
fn namespaces_are_where_either_name_leads() {
    for path in ["/run/netns", "/var/run/netns"] {
        let Some(manifest) = template(&[&format!("hostPaths.netns={path}")]) else {
            return;
        };
        let pod = object(&manifest.unwrap(), "DaemonSet");
        let mounts = &pod["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
        let mut places: Vec<&str> = mounts
            .as_array()
            .unwrap()
            .iter()
            .filter(|mount| mount["name"] == "host-paths-netns")
            .map(|mount| mount["mountPath"].as_str().unwrap())
            .collect();
        places.sort_unstable();
        assert_eq!(places, ["/run/netns", "/var/run/netns"]);
    }
}

#[test]
fn a_cluster_that_is_too_old_is_refused() {
    let Some(refused) = template_for("1.33.4", &[]) else {
        return;
    };
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("kubeVersion: >=1.34.0-0 which is incompatible with Kubernetes v1.33.4"),
        "{refused}"
    );
    template_for("1.34.0", &[]).unwrap().unwrap();
}

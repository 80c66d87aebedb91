//! The exact words for each kind of bad manifest.

use super::*;

fn words(text: &str) -> String {
    let Problems(problems) = parse("a.yaml", text).expect_err("it was taken");
    problems
        .iter()
        .map(|p| format!("{p}\n  → {}", p.mend))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn lists_and_namespaces_are_filled_in() {
    let objects = parse(
        "a.yaml",
        "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n\
         {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"x\"}}\n",
    )
    .unwrap();
    let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Pod default/a", "Namespace x"]);
    assert_eq!(objects[0].value["metadata"]["namespace"], "default");
    assert_eq!(objects[1].place.line, Some(8));
}

#[test]
fn what_is_no_object_is_named() {
    insta::assert_snapshot!(words(""), @r"
    a.yaml: holds no object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
    insta::assert_snapshot!(words("# nothing\n---\n"), @r"
    a.yaml: holds no object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
    insta::assert_snapshot!(words("just words"), @r"
    a.yaml:1: is a string, not an object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
    insta::assert_snapshot!(words("- a\n- b\n"), @r"
    a.yaml:1: is a list, not an object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
    insta::assert_snapshot!(words("a: [1,\nb"), @r"
    a.yaml:1: unclosed bracket '['
      → correct the YAML (or JSON) there
    ");
    insta::assert_snapshot!(words("a: 1\na: 2\n"), @r"
    a.yaml:2: duplicate mapping key: a
      → correct the YAML (or JSON) there
    ");
}

#[test]
fn kinds_and_versions_are_checked() {
    insta::assert_snapshot!(words("metadata: {name: a}"), @r"
    a.yaml:1: kind: is missing
      → every Kubernetes object has apiVersion and kind
    ");
    insta::assert_snapshot!(words("kind: Pod"), @r"
    a.yaml:1: apiVersion: is missing
      → every Kubernetes object has apiVersion and kind
    ");
    insta::assert_snapshot!(words("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}"), @"
    a.yaml:1: kind: `StatefulSet` is no kind that ndra knows
      → it knows Pod, Deployment, Node, Namespace, ResourceClaim, ResourceClaimTemplate, DeviceClass, NetworkAttachmentDefinition, ResourceClass, CNIConfig; put other workloads into Pods
    ");
    insta::assert_snapshot!(
        words("apiVersion: resource.k8s.io/v1alpha3\nkind: ResourceClaim\nmetadata: {name: a}"), @r"
    a.yaml:1: ResourceClaim: apiVersion: `resource.k8s.io/v1alpha3` is not served for ResourceClaim
      → write `apiVersion: resource.k8s.io/v1`
    ");
    insta::assert_snapshot!(words("apiVersion: v1\nkind: [Pod]"), @r"
    a.yaml:1: kind: is a list, not a string
      → write `kind:` as in `kubectl explain pod`
    ");
    insta::assert_snapshot!(words("apiVersion: v1\nkind: List\nitems: {}"), @r"
    a.yaml:1: List: items: is not a list
      → put the objects under `items:`
    ");
    insta::assert_snapshot!(
        words("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n- 3\n"), @r"
    a.yaml:1: Pod: items[0].metadata: is missing or no object
      → write `metadata: {name: …}`
    a.yaml:1: items[1]: is a number, not an object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
}

#[test]
fn names_are_checked() {
    insta::assert_snapshot!(words("apiVersion: v1\nkind: Pod\nmetadata: {}"), @r"
    a.yaml:1: Pod: metadata.name: is missing
      → give the object a name (generateName is not supported here)
    ");
    insta::assert_snapshot!(words("apiVersion: v1\nkind: Pod\nmetadata: {name: 12}"), @r"
    a.yaml:1: Pod: metadata.name: is a number, not a string
      → put the value into quotes
    ");
    insta::assert_snapshot!(words("apiVersion: v1\nkind: Pod\nmetadata: {name: ../../etc}"), @r"
    a.yaml:1: Pod: metadata.name: `../../etc` is no valid name
      → use at most 253 lower case letters, digits, `-` and `.`, a letter or digit first and last
    ");
    insta::assert_snapshot!(words("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: A}"), @r"
    a.yaml:1: Pod: metadata.namespace: `A` is no valid name
      → use at most 253 lower case letters, digits, `-` and `.`, a letter or digit first and last
    ");
    insta::assert_snapshot!(
        words("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}"), @r"
    a.yaml:1: Namespace a: metadata.namespace: is set, but a Namespace has no namespace
      → remove it
    ");
}

#[test]
fn duplicates_name_both_places() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
    insta::assert_snapshot!(words(&format!("{pod}---\n{pod}")), @r"
    a.yaml:5 (document 2): Pod default/a: stands in a.yaml:1 (document 1) already
      → remove or rename one of the two
    ");
}

#[test]
fn hostile_yaml_is_stopped() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    insta::assert_snapshot!(words(&bomb), @r"
    a.yaml:5: its aliases stand for more than 10000 values
      → write the values out instead of repeating them by alias
    ");
    insta::assert_snapshot!(words(&format!("a: {}", "[".repeat(100_000))), @r"
    a.yaml:1: is nested more than 64 levels deep
      → Kubernetes objects are not that deep: check the file
    ");
    insta::assert_snapshot!(words(&format!("a: {}{}", "[".repeat(70), "]".repeat(70))), @r"
    a.yaml:1: is nested more than 64 levels deep
      → Kubernetes objects are not that deep: check the file
    ");
    insta::assert_snapshot!(words(&"---\na: 1\n".repeat(1001)), @r"
    a.yaml:2001: holds more than 1000 documents
      → split the file
    ");
    insta::assert_snapshot!(words(&format!("a: [{}]", "1,".repeat(200_001))), @r"
    a.yaml:1: holds more than 200000 values
      → split the file
    ");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("dir")).unwrap();
    std::fs::write(at("empty.yaml"), "").unwrap();
    let Problems(problems) = load(&[at("gone.yaml"), at("dir"), at("empty.yaml")]).unwrap_err();
    let text = problems
        .iter()
        .map(|p| format!("{p}\n  → {}", p.mend))
        .collect::<Vec<_>>()
        .join("\n")
        .replace(&dir.path().display().to_string(), "/d");
    insta::assert_snapshot!(text, @r"
    /d/gone.yaml: cannot be read: No such file or directory
      → check the path; `-` reads standard input
    /d/dir: is a directory
      → name the files in it: /d/dir/*.yaml
    /d/empty.yaml: holds no object
      → a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
}

//! The driver's permissions in a run: everything, or what the roles of a manifest grant to
//! the service account in it, as on a cluster where that manifest is installed.

use std::collections::BTreeSet;
use std::path::Path;

use ndra_mock_apiserver::{Rbac, User};
use serde_json::{Value, json};

use super::world::NODE;
use crate::failure::Failure;
use crate::manifest;
use crate::problem::{Place, Problem};

/// What the driver shows the API server.
pub(super) const TOKEN: &str = "driver-on-its-node";

/// Reads roles and bindings from `file`, as `helm template` prints them.
pub(super) fn read(file: &Path) -> Result<Rbac, Failure> {
    let name = file.display().to_string();
    let bad = |what: String, mend: &str| Problem::new(Place::file(&name), what, mend);
    let documents = manifest::documents(&name, &manifest::read(file)?)?;
    let objects: Vec<Value> = documents
        .into_iter()
        .map(|document| document.value)
        .collect();
    let accounts = accounts(&objects);
    let [(namespace, account)] = accounts.iter().collect::<Vec<_>>()[..] else {
        return Err(bad(
            format!(
                "binds roles to {} service accounts, not to one",
                accounts.len()
            ),
            "name the output of `helm template` for the driver's chart",
        )
        .into());
    };
    let rbac = Rbac::new(&objects)
        .map_err(|why| bad(why, "put roles and their bindings into the same file"))?;
    let user = User::service_account(namespace, account, Some(NODE));
    Ok(rbac.with_user(TOKEN, user))
}

fn accounts(objects: &[Value]) -> BTreeSet<(String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let bindings = objects.iter().filter(|object| {
        matches!(
            object["kind"].as_str(),
            Some("ClusterRoleBinding" | "RoleBinding")
        )
    });
    bindings
        .filter_map(|binding| binding["subjects"].as_array())
        .flatten()
        .filter(|subject| subject["kind"] == "ServiceAccount")
        .map(|subject| (text(subject, "namespace"), text(subject, "name")))
        .collect()
}

/// What the driver was refused, which fails a run.
pub(super) fn failures(rbac: &Rbac) -> impl Iterator<Item = String> {
    let refused = rbac.report().refused.into_iter();
    refused.map(|why| format!("the driver's role lacks a permission: {why}"))
}

/// Writes which permissions were used, for whoever holds several runs against one role.
pub(super) fn write(rbac: &Rbac, file: &Path) -> Result<(), Failure> {
    let report = rbac.report();
    let shown = |grants: &BTreeSet<_>| -> Vec<String> {
        grants
            .iter()
            .map(ndra_mock_apiserver::Grant::to_string)
            .collect()
    };
    let text = json!({ "used": shown(&report.used), "unused": shown(&report.unused) });
    std::fs::write(file, format!("{text}\n")).map_err(|error| {
        Failure::run(
            format!("cannot write {}: {error}", file.display()),
            "name a file that can be written",
        )
    })
}

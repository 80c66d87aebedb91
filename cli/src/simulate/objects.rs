//! The objects of a run in its API server: what a cluster has before anybody uses it, and what
//! a run creates and deletes.

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::core::Status;
use serde_json::{Value, json};

use super::world::{DRIVER, NODE, World};
use crate::failure::Failure;
use crate::manifest::{Kind, Object};
use crate::problem::Problem;

impl World {
    /// Node, namespaces and the driver's class: what a cluster has before anybody uses it.
    pub(super) async fn ground(&self, objects: &[Object]) -> Result<(), Failure> {
        let object = |value: Value| Object::new(crate::problem::Place::file("ndra"), value);
        let mut ground = vec![object(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE },
        }))?];
        // As the chart makes them.
        let attributes = format!("device.attributes[\"{DRIVER}\"]");
        if self.is_classic() {
            ground.push(object(json!({
                "apiVersion": "resource.k8s.io/v1alpha2", "kind": "ResourceClass",
                "metadata": { "name": DRIVER }, "driverName": DRIVER,
            }))?);
        }
        for (name, which) in [
            (DRIVER.to_owned(), format!("\"uplink\" in {attributes}")),
            (
                format!("nic.{DRIVER}"),
                format!("{attributes}.type == \"whole\""),
            ),
        ] {
            let class = json!({
                "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
                "metadata": { "name": name },
                "spec": { "selectors": [{ "cel": {
                    "expression": format!("device.driver == \"{DRIVER}\" && {which}") } }] },
            });
            if !self.is_classic() {
                ground.push(object(class)?);
            }
        }
        let spaces: BTreeSet<&str> = objects
            .iter()
            .filter_map(|object| object.namespace.as_deref())
            .chain(["default"])
            .collect();
        for name in spaces {
            ground.push(object(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            }))?);
        }
        for object in &ground {
            if !objects
                .iter()
                .any(|own| own.to_string() == object.to_string())
            {
                self.ensure(object).await?;
            }
        }
        Ok(())
    }

    fn api(&self, kind: &'static Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = match self.is_classic() {
            true => kind.classic().resource(),
            false => kind.resource(),
        };
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates an object. What the API server refuses is the object's fault.
    pub(crate) async fn create(&self, object: &Object) -> Result<(), Failure> {
        match self.try_create(object).await? {
            None => Ok(()),
            Some(refusal) => Err(Problem::new(
                object.place.clone(),
                format!("the API server refuses it: {}", refusal.message),
                "mend the field that it names",
            )
            .object(object.to_string())
            .into()),
        }
    }

    /// Creates an object that may be there already.
    pub(crate) async fn ensure(&self, object: &Object) -> Result<(), Failure> {
        match self.try_create(object).await? {
            Some(refusal) if refusal.code != 409 => self.create(object).await,
            _ => Ok(()),
        }
    }

    async fn try_create(&self, object: &Object) -> Result<Option<Box<Status>>, Failure> {
        let api = self.api(object.kind, object.namespace.as_deref());
        let parsed: DynamicObject =
            serde_json::from_value(object.value.clone()).map_err(|error| {
                object.problem("metadata", error.to_string(), "see `kubectl explain`")
            })?;
        match api.create(&PostParams::default(), &parsed).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status)),
            Err(error) => Err(Failure::run(
                format!("{object} could not be created: {error}"),
                "",
            )),
        }
    }

    /// Deletes an object; one that is gone is deleted. `force` waits for nobody.
    pub(crate) async fn delete(
        &self,
        kind: &'static Kind,
        key: &str,
        force: bool,
    ) -> Result<(), Failure> {
        let (namespace, name) = match key.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, key),
        };
        let mut params = DeleteParams::default();
        if force {
            params.grace_period_seconds = Some(0);
        }
        // Not a successor of the same name.
        params.preconditions = self.uid(kind, key).map(|uid| Preconditions {
            uid: Some(uid),
            resource_version: None,
        });
        match self.api(kind, namespace).delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Failure::run(
                format!("{} {key} could not be deleted: {error}", kind.kind),
                "",
            )),
        }
    }

    fn uid(&self, kind: &Kind, key: &str) -> Option<String> {
        self.board.look(|seen| {
            let uid = seen.object(kind, key)?.pointer("/metadata/uid")?;
            uid.as_str().map(str::to_owned)
        })
    }
}

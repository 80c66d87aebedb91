//! A DRA driver that notes each call and answers what it is told to.

use std::path::{Path, PathBuf};

use ndra_core::socket;
use ndra_core::wire::registration::registration_server::{Registration, RegistrationServer};
use ndra_core::wire::registration::*;
use ndra_core::wire::{dra_v1, dra_v1alpha3, dra_v1beta1};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

use crate::bed::wait_for;

pub const NAME: &str = "dra.networking";

#[derive(Default)]
pub struct State {
    pub info: PluginInfo,
    /// GetInfo is never answered.
    pub silent: bool,
    pub notified: Vec<RegistrationStatus>,
    pub calls: Vec<String>,
    /// Calls are noted, then wait until this is false.
    pub hold: bool,
    /// Left out of replies.
    pub skip: Option<String>,
    /// Added to replies.
    pub stranger: Option<String>,
    /// Errors of the next replies, for every claim.
    pub errors: Vec<String>,
    /// Devices in replies; one for all requests otherwise.
    pub devices: Vec<dra_v1::Device>,
}

#[derive(Clone)]
pub struct Driver(pub watch::Sender<State>);

pub fn device(requests: &[&str], cdi: &[&str]) -> dra_v1::Device {
    dra_v1::Device {
        request_names: requests.iter().map(ToString::to_string).collect(),
        pool_name: "pool".into(),
        device_name: "dev".into(),
        cdi_device_ids: cdi.iter().map(ToString::to_string).collect(),
        share_id: None,
    }
}

impl Driver {
    /// A driver that is not registered yet.
    pub fn new(dir: &Path, versions: &[&str]) -> Self {
        Self::named(dir, NAME, versions)
    }

    pub fn named(dir: &Path, name: &str, versions: &[&str]) -> Self {
        Self(watch::Sender::new(State {
            info: PluginInfo {
                r#type: "DRAPlugin".into(),
                name: name.into(),
                endpoint: dir.join(format!("{name}.sock")).to_str().unwrap().into(),
                supported_versions: versions.iter().map(ToString::to_string).collect(),
            },
            ..State::default()
        }))
    }

    /// Serves the DRA services; ends with the guard.
    pub fn serve(&self) -> DropGuard {
        let stop = CancellationToken::new();
        let endpoint = PathBuf::from(&self.0.borrow().info.endpoint);
        let incoming = socket::bind(&endpoint).unwrap().incoming();
        let server = tonic::transport::Server::builder()
            .add_service(dra_v1::dra_plugin_server::DraPluginServer::new(
                self.clone(),
            ))
            .add_service(dra_v1beta1::dra_plugin_server::DraPluginServer::new(
                self.clone(),
            ))
            .add_service(dra_v1alpha3::node_server::NodeServer::new(self.clone()))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(server);
        stop.drop_guard()
    }

    /// Serves the registration socket; ends with the guard.
    pub fn register(&self, socket: &Path) -> DropGuard {
        let stop = CancellationToken::new();
        let incoming = socket::bind(socket).unwrap().incoming();
        let server = tonic::transport::Server::builder()
            .add_service(RegistrationServer::new(self.clone()))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(server);
        stop.drop_guard()
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(change);
    }

    pub fn calls(&self) -> Vec<String> {
        self.0.borrow().calls.clone()
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&State) -> bool) {
        wait_for(&self.0, what, condition).await;
    }

    pub async fn until_call(&self, call: &str) {
        self.until(call, |state| state.calls.iter().any(|c| c == call))
            .await;
    }

    pub async fn until_notified(&self) -> RegistrationStatus {
        self.until("a registration status", |state| !state.notified.is_empty())
            .await;
        self.0.borrow().notified[0].clone()
    }

    /// Notes the call; returns error text and devices by claim UID.
    pub async fn answer(
        &self,
        method: &str,
        names: Vec<(String, String)>,
    ) -> Vec<(String, String, Vec<dra_v1::Device>)> {
        let list: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        self.set(|state| state.calls.push(format!("{method} {}", list.join("+"))));
        let mut released = self.0.subscribe();
        let _ = released.wait_for(|state| !state.hold).await;
        let mut error = String::new();
        self.set(|state| error = state.errors.pop().unwrap_or_default());
        let state = self.0.borrow();
        let uids = names.into_iter().map(|(_, uid)| uid);
        let uids = uids.filter(|uid| state.skip.as_ref() != Some(uid));
        uids.chain(state.stranger.clone())
            .map(|uid| {
                let devices = match state.devices.as_slice() {
                    [] => vec![device(&[], &[&format!("dra.networking/claim={uid}")])],
                    devices => devices.to_vec(),
                };
                (uid, error.clone(), devices)
            })
            .collect()
    }
}

#[tonic::async_trait]
impl Registration for Driver {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        let mut state = self.0.subscribe();
        let state = state.wait_for(|state| !state.silent).await;
        Ok(Response::new(state.unwrap().info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        self.set(|state| state.notified.push(request.into_inner()));
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

macro_rules! serve {
    ($wire:ident, $suffix:literal, $device:expr) => {
        #[tonic::async_trait]
        impl $wire::dra_plugin_server::DraPlugin for Driver {
            async fn node_prepare_resources(
                &self,
                request: Request<$wire::NodePrepareResourcesRequest>,
            ) -> Result<Response<$wire::NodePrepareResourcesResponse>, Status> {
                let claims = request.into_inner().claims;
                let names = claims.into_iter().map(|c| (c.name, c.uid)).collect();
                let reply = self.answer(concat!("prepare", $suffix), names).await;
                let claims = reply.into_iter().map(|(uid, error, devices)| {
                    let devices = devices.into_iter().map($device).collect();
                    (uid, $wire::NodePrepareResourceResponse { devices, error })
                });
                let claims = claims.collect();
                Ok(Response::new($wire::NodePrepareResourcesResponse {
                    claims,
                }))
            }

            async fn node_unprepare_resources(
                &self,
                request: Request<$wire::NodeUnprepareResourcesRequest>,
            ) -> Result<Response<$wire::NodeUnprepareResourcesResponse>, Status> {
                let claims = request.into_inner().claims;
                let names = claims.into_iter().map(|c| (c.name, c.uid)).collect();
                let reply = self.answer(concat!("unprepare", $suffix), names).await;
                let claims = reply
                    .into_iter()
                    .map(|(uid, error, _)| (uid, $wire::NodeUnprepareResourceResponse { error }));
                let claims = claims.collect();
                Ok(Response::new($wire::NodeUnprepareResourcesResponse {
                    claims,
                }))
            }
        }
    };
}

serve!(dra_v1, "", |device| device);
serve!(dra_v1beta1, "(v1beta1)", |device| dra_v1beta1::Device {
    request_names: device.request_names,
    pool_name: device.pool_name,
    device_name: device.device_name,
    cdi_device_ids: device.cdi_device_ids,
});

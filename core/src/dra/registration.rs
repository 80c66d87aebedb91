//! How the kubelet meets the driver (pluginregistration v1).

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use crate::event::OwnState;
use crate::wire::registration::registration_server::{Registration, RegistrationServer};
use crate::wire::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};

/// `pluginregistration.Registration` for one driver.
pub struct RegistrationService {
    driver: String,
    endpoint: String,
    versions: &'static [&'static str],
    registered: watch::Sender<Option<Result<(), String>>>,
    own: OwnState,
}

impl RegistrationService {
    /// Announces `driver`, served in these versions at the socket `endpoint`. `registered` and
    /// `own` learn what the kubelet makes of it.
    pub fn server(
        driver: impl Into<String>,
        endpoint: impl Into<String>,
        versions: &'static [&'static str],
        registered: watch::Sender<Option<Result<(), String>>>,
        own: OwnState,
    ) -> RegistrationServer<Self> {
        RegistrationServer::new(Self {
            driver: driver.into(),
            endpoint: endpoint.into(),
            versions,
            registered,
            own,
        })
    }
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "DRAPlugin".into(),
            name: self.driver.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: self.versions.iter().map(|v| (*v).to_owned()).collect(),
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        let outcome = if status.plugin_registered {
            info!(driver = %self.driver, "registered with the kubelet");
            Ok(())
        } else {
            error!(driver = %self.driver, error = %status.error, "the kubelet refuses the driver");
            Err(status.error)
        };
        self.own.registered(&outcome);
        self.registered.send_replace(Some(outcome));
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

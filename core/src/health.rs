//! Tells the kubelet's probes whether the driver lives, and whether it is of use.
//!
//! Alive is who answers on his own sockets, by the names under which the kubelet finds
//! them. Whether the API server can be reached says nothing about that: a restart would
//! not mend it. Ready is who is also registered and has the node's devices published.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use tracing::{info, warn};

use crate::kube::slices::Published;
use crate::socket;
use crate::wire::dra_v1::NodePrepareResourcesRequest;
use crate::wire::dra_v1::dra_plugin_client::DraPluginClient;
use crate::wire::health::health_check_response::ServingStatus;
use crate::wire::health::health_server::{Health, HealthServer};
use crate::wire::health::{HealthCheckRequest, HealthCheckResponse};
use crate::wire::registration::InfoRequest;
use crate::wire::registration::registration_client::RegistrationClient;

/// The service whose health says whether a restart would help.
pub const LIVENESS: &str = "liveness";

/// The service whose health says whether the kubelet and the scheduler can use the driver.
pub const READINESS: &str = "readiness";

/// How long one of the driver's own sockets may take: as long as a kubelet gives GetInfo.
const LIMIT: Duration = Duration::from_secs(1);

/// What a driver's health is seen by.
#[derive(Clone)]
pub struct HealthSources {
    /// Its registration socket.
    pub registration: PathBuf,
    /// Its DRA socket.
    pub dra: PathBuf,
    /// What the kubelet made of it.
    pub registered: watch::Receiver<Option<Result<(), String>>>,
    /// What became of its ResourceSlices, where it has some.
    pub published: Option<watch::Receiver<Published>>,
}

/// Whether it is a driver's turn to serve the node. While it stands by for one that does, it
/// is healthy in both senses: were it not ready, a rolling update would wait for it for ever.
/// Clones share it.
#[derive(Clone, Default)]
pub struct Duty(Arc<OnceLock<HealthSources>>);

impl Duty {
    /// It is its turn from now on.
    pub fn begin(&self, sources: HealthSources) {
        // There is one beginning.
        let _ = self.0.set(sources);
    }
}

/// `grpc.health.v1.Health` for one driver.
pub struct HealthService {
    duty: Duty,
    /// What was said last, by service, so that the log tells of changes alone.
    said: Mutex<[Option<String>; 2]>,
}

impl HealthService {
    /// The health of the driver that has, or will have, this duty.
    pub fn server(duty: Duty) -> HealthServer<Self> {
        HealthServer::new(Self {
            duty,
            said: Mutex::default(),
        })
    }

    fn say(&self, service: &'static str, why: Option<&str>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = &mut said[usize::from(service == READINESS)];
        if said.as_deref() == why {
            return;
        }
        match why {
            Some(why) => warn!(service, "not healthy: {why}"),
            None => info!(service, "healthy again"),
        }
        *said = why.map(str::to_owned);
    }
}

impl HealthSources {
    /// Why the driver does not live.
    async fn dead(&self) -> Option<String> {
        let info = async {
            let channel = socket::connect(&self.registration, "this driver").await;
            let channel = channel.map_err(|error| error.to_string())?;
            let mut client = RegistrationClient::new(channel);
            let info = client.get_info(InfoRequest {}).await;
            info.map_err(|status| said(&self.registration, &status))
        };
        let prepare = async {
            let channel = socket::connect(&self.dra, "this driver").await;
            let channel = channel.map_err(|error| error.to_string())?;
            // Of no claim: nothing is prepared.
            let nothing = NodePrepareResourcesRequest::default();
            let mut client = DraPluginClient::new(channel);
            match client.node_prepare_resources(nothing).await {
                // Served in another version: an answer as well.
                Err(status) if status.code() == Code::Unimplemented => Ok(()),
                prepared => prepared
                    .map_err(|status| said(&self.dra, &status))
                    .map(drop),
            }
        };
        let (info, prepare) = tokio::join!(
            tokio::time::timeout(LIMIT, info),
            tokio::time::timeout(LIMIT, prepare),
        );
        let late = |path: &Path| format!("{}: no answer within {LIMIT:?}", path.display());
        match (info, prepare) {
            (Ok(Ok(_)), Ok(Ok(()))) => None,
            (Err(_), _) => Some(late(&self.registration)),
            (_, Err(_)) => Some(late(&self.dra)),
            (Ok(Err(error)), _) | (_, Ok(Err(error))) => Some(error),
        }
    }

    /// Why the driver, which lives, is of no use.
    fn useless(&self) -> Option<String> {
        match &*self.registered.borrow() {
            None => return Some("the kubelet has not registered the driver yet".into()),
            Some(Err(error)) => return Some(format!("the kubelet refuses the driver: {error}")),
            Some(Ok(())) => {}
        }
        let Some(published) = &self.published else {
            return None;
        };
        match &*published.borrow() {
            Published::Done { .. } => None,
            Published::Pending => Some("the node's devices are not published yet".into()),
            Published::Failing { error } => Some(format!("ResourceSlices not published: {error}")),
        }
    }
}

fn said(path: &Path, status: &Status) -> String {
    format!("{}: {}", path.display(), socket::status_text(status))
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = match request.get_ref().service.as_str() {
            "" | LIVENESS => LIVENESS,
            READINESS => READINESS,
            _ => {
                return Err(Status::not_found(format!(
                    "the services are {LIVENESS} and {READINESS}, and the empty name for the first"
                )));
            }
        };
        let why = match self.duty.0.get() {
            None => None,
            Some(sources) => match sources.dead().await {
                None if service == READINESS => sources.useless(),
                dead => dead,
            },
        };
        self.say(service, why.as_deref());
        let status = match why {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::AbortOnDropHandle;
    use tonic::transport::Server;

    use super::*;
    use crate::dra::RegistrationService;
    use crate::event::OwnState;
    use crate::wire::dra_v1::dra_plugin_server::{DraPlugin, DraPluginServer};
    use crate::wire::dra_v1::{
        NodePrepareResourcesResponse, NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
    };

    /// A DRA service that answers, or hangs.
    struct Dra {
        hangs: bool,
    }

    #[tonic::async_trait]
    impl DraPlugin for Dra {
        async fn node_prepare_resources(
            &self,
            request: Request<NodePrepareResourcesRequest>,
        ) -> Result<Response<NodePrepareResourcesResponse>, Status> {
            assert!(request.get_ref().claims.is_empty());
            if self.hangs {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(NodePrepareResourcesResponse::default()))
        }

        async fn node_unprepare_resources(
            &self,
            _: Request<NodeUnprepareResourcesRequest>,
        ) -> Result<Response<NodeUnprepareResourcesResponse>, Status> {
            Err(Status::internal("the health asks for it"))
        }
    }

    struct Rig {
        dir: tempfile::TempDir,
        registered: watch::Sender<Option<Result<(), String>>>,
        published: watch::Sender<Published>,
        sources: HealthSources,
        health: HealthService,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::Builder::new()
                .prefix("nd")
                .tempdir_in("/tmp")
                .unwrap();
            let (registered, heard) = watch::channel(None);
            let (published, seen) = watch::channel(Published::Pending);
            let sources = HealthSources {
                registration: dir.path().join("reg.sock"),
                dra: dir.path().join("dra.sock"),
                registered: heard,
                published: Some(seen),
            };
            let duty = Duty::default();
            duty.begin(sources.clone());
            Self {
                sources,
                health: HealthService {
                    duty,
                    said: Mutex::default(),
                },
                dir,
                registered,
                published,
            }
        }

        /// Serves both sockets until the handles are dropped.
        fn serve(&self, hangs: bool) -> [AbortOnDropHandle<()>; 2] {
            let own = OwnState::new("d", "0.1.0", &["v1.DRAPlugin"]);
            let registration = RegistrationService::server(
                "d",
                "e",
                &["v1.DRAPlugin"],
                self.registered.clone(),
                own,
            );
            let registration = Server::builder().add_service(registration);
            let dra = Server::builder().add_service(DraPluginServer::new(Dra { hangs }));
            [
                (registration, &self.sources.registration),
                (dra, &self.sources.dra),
            ]
            .map(|(router, path)| {
                let incoming = socket::bind(path).unwrap().incoming();
                AbortOnDropHandle::new(tokio::spawn(async move {
                    let _ = router.serve_with_incoming(incoming).await;
                }))
            })
        }

        /// What a probe hears, and why.
        async fn ask(&self, service: &str) -> String {
            let request = HealthCheckRequest {
                service: service.into(),
            };
            let status = match self.health.check(Request::new(request)).await {
                Ok(answer) => answer.get_ref().status().as_str_name().to_owned(),
                Err(status) => return format!("{:?}: {}", status.code(), status.message()),
            };
            let said = self.health.said.lock().unwrap();
            let said = said[usize::from(service == READINESS)].clone();
            let dir = self.dir.path().display().to_string();
            [Some(status), said]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
                .replace(&dir, "DIR")
        }
    }

    #[tokio::test]
    async fn alive_is_who_answers_on_both_sockets() {
        let rig = Rig::new();
        insta::assert_snapshot!(rig.ask(LIVENESS).await, @"NOT_SERVING: cannot reach DIR/reg.sock: No such file or directory (usually this driver listens there; is it running?)");
        let serving = rig.serve(false);
        assert_eq!(rig.ask(LIVENESS).await, "SERVING");
        assert_eq!(rig.ask("").await, "SERVING");
        // The server runs on, but nobody finds it any more.
        std::fs::remove_file(&rig.sources.dra).unwrap();
        insta::assert_snapshot!(rig.ask(LIVENESS).await, @"NOT_SERVING: cannot reach DIR/dra.sock: No such file or directory (usually this driver listens there; is it running?)");
        drop(serving);
        let _serving = rig.serve(true);
        insta::assert_snapshot!(rig.ask(LIVENESS).await, @"NOT_SERVING: DIR/dra.sock: no answer within 1s");
        insta::assert_snapshot!(rig.ask("other").await, @"NotFound: the services are liveness and readiness, and the empty name for the first");
    }

    #[tokio::test]
    async fn who_stands_by_is_alive_and_ready() {
        let mut rig = Rig::new();
        rig.health.duty = Duty::default();
        assert_eq!(rig.ask(LIVENESS).await, "SERVING");
        assert_eq!(rig.ask(READINESS).await, "SERVING");
        rig.health.duty.begin(rig.sources.clone());
        insta::assert_snapshot!(rig.ask(READINESS).await, @"NOT_SERVING: cannot reach DIR/reg.sock: No such file or directory (usually this driver listens there; is it running?)");
    }

    #[tokio::test]
    async fn ready_is_who_is_registered_and_has_published() {
        let rig = Rig::new();
        let _serving = rig.serve(false);
        insta::assert_snapshot!(rig.ask(READINESS).await, @"NOT_SERVING: the kubelet has not registered the driver yet");
        rig.registered.send_replace(Some(Err("name taken".into())));
        insta::assert_snapshot!(rig.ask(READINESS).await, @"NOT_SERVING: the kubelet refuses the driver: name taken");
        rig.registered.send_replace(Some(Ok(())));
        insta::assert_snapshot!(rig.ask(READINESS).await, @"NOT_SERVING: the node's devices are not published yet");
        let error = "no permission".into();
        rig.published.send_replace(Published::Failing { error });
        insta::assert_snapshot!(rig.ask(READINESS).await, @"NOT_SERVING: ResourceSlices not published: no permission");
        // No restart would mend that.
        assert_eq!(rig.ask(LIVENESS).await, "SERVING");
        rig.published.send_replace(Published::Done {
            generation: 1,
            slices: 1,
        });
        assert_eq!(rig.ask(READINESS).await, "SERVING");
    }
}

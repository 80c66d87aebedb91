//! Serves a recorder's events over gRPC, and reads such a stream.

use std::path::Path;
use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch::Receiver;
use tonic::{Request, Response, Status};

use super::{DriverState, Event, OwnState, Recorder};
use crate::socket;
use crate::wire::events::events_client::EventsClient;
use crate::wire::events::events_server::{Events, EventsServer};
use crate::wire::events::{WatchRequest, WatchResponse};

/// The longest event a reader accepts, in bytes of JSON.
const MAX_EVENT: usize = 256 * 1024;

/// `ndra.events.v1.Events` over one recorder.
pub struct EventService {
    recorder: Recorder,
    instance: String,
    own: Option<Receiver<DriverState>>,
}

impl EventService {
    /// A service for `recorder`. `instance` names this life of the program: sequence
    /// numbers of another life mean nothing in this one.
    pub fn server(recorder: Recorder, instance: impl Into<String>) -> EventsServer<Self> {
        EventsServer::new(Self {
            recorder,
            instance: instance.into(),
            own: None,
        })
    }

    /// As [`server`](Self::server), for a driver that also tells how it is doing.
    pub fn of_driver(
        recorder: Recorder,
        instance: impl Into<String>,
        own: &OwnState,
    ) -> EventsServer<Self> {
        EventsServer::new(Self {
            recorder,
            instance: instance.into(),
            own: Some(own.subscribe()),
        })
    }
}

#[tonic::async_trait]
impl Events for EventService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let after = if request.instance == self.instance {
            request.after_seq
        } else {
            0
        };
        let newest = self.recorder.last_seq();
        let after = after.min(newest);
        let reader = self.recorder.subscribe(after);
        let outlet = Outlet {
            reader,
            last: after,
            end: request.past_only.then_some(newest),
            instance: self.instance.clone(),
            own: self.own.clone(),
            greeted: false,
        };
        let events = stream::unfold(outlet, |mut outlet| async move {
            let item = outlet.next().await?;
            Some((item, outlet))
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// One watcher's place in the stream.
struct Outlet {
    reader: super::Subscription,
    last: u64,
    /// Nothing is sent after this event.
    end: Option<u64>,
    instance: String,
    own: Option<Receiver<DriverState>>,
    /// Was the driver's state sent once?
    greeted: bool,
}

impl Outlet {
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        if !std::mem::replace(&mut self.greeted, true)
            && let Some(state) = &mut self.own
        {
            let state = state.borrow_and_update().clone();
            return Some(self.state(&state));
        }
        if self.end.is_some_and(|end| self.last >= end) {
            return None;
        }
        tokio::select! {
            state = changed(&mut self.own) => Some(self.state(&state)),
            (event, dropped) = self.reader.next() => {
                self.last = event.seq;
                let json = serde_json::to_vec(&*event);
                Some(json.map_err(|e| Status::internal(format!("event {}: {e}", event.seq))).map(
                    |json| WatchResponse {
                        seq: event.seq,
                        instance: self.instance.clone(),
                        dropped,
                        event: json,
                        driver: Vec::new(),
                    },
                ))
            }
        }
    }

    fn state(&self, state: &DriverState) -> Result<WatchResponse, Status> {
        let line = state.line();
        let line = line.map_err(|e| Status::internal(format!("the driver's state: {e}")))?;
        Ok(WatchResponse {
            seq: self.last,
            instance: self.instance.clone(),
            dropped: 0,
            event: Vec::new(),
            driver: line.into_bytes(),
        })
    }
}

/// The state when it has changed; waits for ever when nobody tells it.
async fn changed(own: &mut Option<Receiver<DriverState>>) -> DriverState {
    if let Some(state) = own
        && state.changed().await.is_ok()
    {
        return state.borrow_and_update().clone();
    }
    std::future::pending().await
}

/// Why a stream of events ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The socket is not there or nobody listens.
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    /// The driver ended the stream or the connection broke.
    #[error("the event stream of {socket} ended: {reason}")]
    Ended {
        /// The socket's path.
        socket: String,
        /// What gRPC says.
        reason: String,
    },
    /// What came is not an event of this schema.
    #[error("{socket} sent an event that cannot be read: {reason}")]
    Unreadable {
        /// The socket's path.
        socket: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a stream tells.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Something happened.
    Event(Box<Watched>),
    /// How the driver is doing, from now on.
    Driver(Box<DriverState>),
}

/// One event of a stream, with its place in it.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The driver's life that `event.seq` belongs to; resume with it.
    pub instance: String,
    /// How many events before this one were lost.
    pub dropped: u64,
    /// The event.
    pub event: Event,
}

#[derive(serde::Deserialize)]
struct Line {
    driver: DriverState,
}

/// Reads the events of the driver behind `socket`, those after `after` (instance and
/// sequence number of the last one seen) or all it still holds.
pub async fn watch(
    socket: &Path,
    after: Option<(String, u64)>,
) -> Result<impl Stream<Item = Result<Heard, WatchError>> + Send + use<>, WatchError> {
    let name = socket.display().to_string();
    let channel = socket::connect(socket, "the ndra driver's event stream").await?;
    let (instance, after_seq) = after.unwrap_or_default();
    let ended = {
        let name = name.clone();
        move |status: Status| WatchError::Ended {
            socket: name.clone(),
            reason: socket::status_text(&status),
        }
    };
    let stream = EventsClient::new(channel)
        .max_decoding_message_size(MAX_EVENT)
        .watch(WatchRequest {
            after_seq,
            instance,
            past_only: false,
        })
        .await
        .map_err(&ended)?
        .into_inner();
    Ok(stream.map(move |item| {
        let item = item.map_err(&ended)?;
        let unreadable = |error: serde_json::Error| WatchError::Unreadable {
            socket: name.clone(),
            reason: error.to_string(),
        };
        if !item.driver.is_empty() {
            let line: Line = serde_json::from_slice(&item.driver).map_err(unreadable)?;
            return Ok(Heard::Driver(Box::new(line.driver)));
        }
        let event = serde_json::from_slice(&item.event).map_err(unreadable)?;
        Ok(Heard::Event(Box::new(Watched {
            instance: item.instance,
            dropped: item.dropped,
            event,
        })))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Step, Subject};

    #[tokio::test]
    async fn a_watch_resumes_where_it_stopped_and_begins_anew_in_another_life() {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let path = dir.path().join("e.sock");
        let recorder = Recorder::new(16);
        recorder.begin(Step::Prepare, Subject::default()).end();
        let listener = socket::bind(&path).unwrap();
        let server = tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(EventService::server(recorder.clone(), "life-1"))
                .serve_with_incoming(listener.incoming()),
        );
        let seq = |heard: Result<Heard, WatchError>| match heard.unwrap() {
            Heard::Event(watched) => watched.event.seq,
            Heard::Driver(state) => panic!("no driver is there: {state:?}"),
        };
        let all: Vec<_> = watch(&path, None).await.unwrap().take(2).collect().await;
        assert_eq!(all.into_iter().map(seq).collect::<Vec<_>>(), [1, 2]);
        let resume = |life: &str| Some((life.to_owned(), 1));
        let mut same = Box::pin(watch(&path, resume("life-1")).await.unwrap());
        assert_eq!(seq(same.next().await.unwrap()), 2);
        let mut other = Box::pin(watch(&path, resume("life-0")).await.unwrap());
        assert_eq!(seq(other.next().await.unwrap()), 1);
        server.abort();
    }

    #[tokio::test]
    async fn a_driver_says_first_how_it_is_doing_and_again_when_that_changes() {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let path = dir.path().join("e.sock");
        let recorder = Recorder::new(16);
        recorder.begin(Step::Prepare, Subject::default()).end();
        let own = OwnState::new("dra.networking", "0.1.0", &["v1.DRAPlugin"]);
        let listener = socket::bind(&path).unwrap();
        let server = tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(EventService::of_driver(recorder.clone(), "life-1", &own))
                .serve_with_incoming(listener.incoming()),
        );
        let mut stream = Box::pin(watch(&path, Some(("life-1".into(), 2))).await.unwrap());
        let mut called = Vec::new();
        for change in [Some("v1.DRAPlugin"), Some("v1beta1.DRAPlugin"), None] {
            match stream.next().await.unwrap().unwrap() {
                Heard::Driver(state) => called.push(state.registration.called),
                Heard::Event(watched) => panic!("{watched:?} was seen before"),
            }
            if let Some(version) = change {
                own.called(version);
            }
        }
        let versions = [None, Some("v1.DRAPlugin"), Some("v1beta1.DRAPlugin")];
        assert_eq!(called, versions.map(|version| version.map(str::to_owned)));
        server.abort();
    }
}

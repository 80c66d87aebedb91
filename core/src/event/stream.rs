//! Serves a recorder's events over gRPC, and reads such a stream.

use std::path::Path;
use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{Event, Recorder};
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
}

impl EventService {
    /// A service for `recorder`. `instance` names this life of the program: sequence
    /// numbers of another life mean nothing in this one.
    pub fn server(recorder: Recorder, instance: impl Into<String>) -> EventsServer<Self> {
        EventsServer::new(Self {
            recorder,
            instance: instance.into(),
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
        let instance = self.instance.clone();
        let end = request.past_only.then_some(newest);
        let events = stream::unfold((reader, after), move |(mut reader, last)| {
            let instance = instance.clone();
            async move {
                if end.is_some_and(|end| last >= end) {
                    return None;
                }
                let (event, dropped) = reader.next().await;
                let seq = event.seq;
                let item = serde_json::to_vec(&*event)
                    .map(|json| WatchResponse {
                        seq,
                        instance,
                        dropped,
                        event: json,
                    })
                    .map_err(|e| Status::internal(format!("event {seq}: {e}")));
                Some((item, (reader, seq)))
            }
        });
        Ok(Response::new(Box::pin(events)))
    }
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

/// Reads the events of the driver behind `socket`, those after `after` (instance and
/// sequence number of the last one seen) or all it still holds.
pub async fn watch(
    socket: &Path,
    after: Option<(String, u64)>,
) -> Result<impl Stream<Item = Result<Watched, WatchError>> + Send + use<>, WatchError> {
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
        let event =
            serde_json::from_slice(&item.event).map_err(|error| WatchError::Unreadable {
                socket: name.clone(),
                reason: error.to_string(),
            })?;
        Ok(Watched {
            instance: item.instance,
            dropped: item.dropped,
            event,
        })
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
        let all: Vec<_> = watch(&path, None).await.unwrap().take(2).collect().await;
        assert_eq!(all[1].as_ref().unwrap().event.seq, 2);
        let resume = |life: &str| Some((life.to_owned(), 1));
        let mut same = Box::pin(watch(&path, resume("life-1")).await.unwrap());
        assert_eq!(same.next().await.unwrap().unwrap().event.seq, 2);
        let mut other = Box::pin(watch(&path, resume("life-0")).await.unwrap());
        assert_eq!(other.next().await.unwrap().unwrap().event.seq, 1);
        server.abort();
    }
}

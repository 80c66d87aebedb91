//! The event socket of a driver on this machine.

use std::path::PathBuf;

use futures::{FutureExt, StreamExt};
use ndra_core::socket;
use ndra_core::wire::events::WatchRequest;
use ndra_core::wire::events::events_client::EventsClient;

use super::address::plain;
use super::intake::Beside;
use super::lane::{Connect, Lane, Trouble};
use super::line::MAX_LINE;

/// The longest message that is taken in; one with a line that is too long still arrives,
/// and is counted.
const MAX_MESSAGE: usize = 16 * MAX_LINE;

/// See [`Source::Socket`](super::Source::Socket).
pub(super) struct Local {
    pub(super) path: PathBuf,
}

impl Connect for Local {
    async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        let cancel = lane.cancel.clone();
        let reading = self.read(lane);
        cancel
            .run_until_cancelled(reading)
            .await
            .unwrap_or(Err(Trouble::Closed))
    }
}

impl Local {
    async fn read(&self, lane: &mut Lane) -> Result<(), Trouble> {
        let name = plain(&self.path);
        lane.connecting(format!("the driver at {name}")).await?;
        // Of several places nobody knows which is this driver's: all comes, and what was
        // seen is left out here.
        let (instance, after_seq) = match lane.intake.resume() {
            [place] => (place.instance.to_string(), place.seq),
            _ => Default::default(),
        };
        let request = WatchRequest {
            after_seq,
            instance,
            past_only: !lane.follow,
        };
        let quiet = lane.pace.quiet;
        let opening = async {
            let channel = socket::connect_to_hear(&self.path, "the ndra driver", quiet)
                .await
                .map_err(|error| Trouble::Again(error.to_string()))?;
            EventsClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .watch(request)
                .await
                .map_err(|status| {
                    let reason = socket::status_text(&status);
                    Trouble::Again(format!("{name} serves no events: {reason}"))
                })
        };
        let patience = lane.pace.answer;
        let mut stream = match tokio::time::timeout(patience, opening).await {
            Ok(opened) => opened?.into_inner(),
            Err(_) => {
                let seconds = patience.as_secs_f32();
                return Err(Trouble::Again(format!(
                    "{name} takes connections but does not answer within {seconds} s"
                )));
            }
        };
        lane.connected().await?;
        while let Some(message) = stream.next().await {
            let mut message = Some(message);
            // What is there already goes on together.
            while let Some(next) = message {
                let next = next.map_err(|status| {
                    let reason = socket::status_text(&status);
                    Trouble::Again(format!("{name} ended the stream: {reason}"))
                })?;
                let beside = Beside {
                    instance: Some(&next.instance),
                    dropped: next.dropped,
                };
                lane.intake.line(&next.event, beside).await?;
                lane.intake.line(&next.driver, beside).await?;
                message = stream.next().now_or_never().flatten();
            }
            lane.intake.flush().await?;
        }
        if lane.follow {
            return Err(Trouble::Again(format!("{name} ended the stream")));
        }
        Ok(())
    }
}

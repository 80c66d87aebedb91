//! An operator's way to a driver: through its socket while it runs, else on its record.

use std::path::PathBuf;

use tonic::Request;

use super::{Config, cdi, metadata, network};
use crate::attachment::operator::{How, Item, Operator, Wanted};
use crate::attachment::record::{FILE, RecordError, Store, boot_id};
use crate::event::Recorder;
use crate::socket;
use crate::wire::operator::operator_client::OperatorClient;
use crate::wire::operator::{CleanupRequest, DetachRequest};

/// Why an operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The driver that runs refused.
    #[error("the driver at {} answers: {reason}", socket.display())]
    Refused {
        /// Its events socket.
        socket: PathBuf,
        /// In its words.
        reason: String,
    },
    /// A driver holds the record and does not answer.
    #[error(
        "a driver holds the record {} and does not answer at {}: name its --events-socket after \
         `--`, or stop it",
        record.display(), socket.display()
    )]
    Held {
        /// The record.
        record: PathBuf,
        /// Where it was asked.
        socket: PathBuf,
    },
    /// There is no driver, and its record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Who carries out an operator's wish.
pub enum Hand {
    /// The driver that runs.
    Driver(OperatorClient<tonic::transport::Channel>, PathBuf),
    /// Nobody else: the record's lock is held.
    Own(Box<Operator>),
    /// No driver ever ran here.
    Nothing,
}

impl Hand {
    /// The driver of these settings, if it runs; else the record is taken over until this is
    /// dropped. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// The record is held by a driver that does not answer, or cannot be read.
    pub async fn of(config: &Config) -> Result<Self, OperatorError> {
        let socket = config.events_socket.clone();
        if let Ok(channel) = socket::connect(&socket, "the driver").await {
            return Ok(Self::Driver(OperatorClient::new(channel), socket));
        }
        let record = config.state_dir.join(FILE);
        let nothing = !record.exists()
            && cdi(config).list().is_empty()
            && metadata(config).others(std::iter::empty()).is_empty();
        if nothing {
            return Ok(Self::Nothing);
        }
        let store = match Store::open(&config.state_dir, &config.driver_name, &boot_id()) {
            Err(RecordError::InUse { .. }) => return Err(OperatorError::Held { record, socket }),
            opened => opened?,
        };
        let steps =
            crate::attachment::Steps::new(network(config), Recorder::new(16), config.times());
        let operator = Operator::alone(store, steps, cdi(config), metadata(config));
        Ok(Self::Own(Box::new(operator)))
    }

    /// See [`Operator::detach`].
    ///
    /// # Errors
    /// The driver refuses, or the record cannot be written.
    pub async fn detach(&mut self, wanted: Wanted, how: How) -> Result<Vec<Item>, OperatorError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Own(operator) => Ok(operator.detach(&wanted, how).await?),
            Self::Driver(client, socket) => {
                let request = Request::new(DetachRequest {
                    claim: wanted.claim.unwrap_or_default(),
                    pod: wanted.pod.unwrap_or_default(),
                    uid: wanted.uid.unwrap_or_default(),
                    interface: wanted.interface.unwrap_or_default(),
                    force: how.force,
                    dry_run: how.dry_run,
                });
                let answer = client.detach(request).await;
                items(answer.map(tonic::Response::into_inner), socket)
            }
        }
    }

    /// See [`Operator::cleanup`].
    ///
    /// # Errors
    /// The driver refuses, or the record cannot be written.
    pub async fn cleanup(&mut self, all: bool, how: How) -> Result<Vec<Item>, OperatorError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Own(operator) => Ok(operator.cleanup(all, how).await?),
            Self::Driver(client, socket) => {
                let request = Request::new(CleanupRequest {
                    force: how.force,
                    dry_run: how.dry_run,
                    all,
                });
                let answer = client.cleanup(request).await;
                items(answer.map(tonic::Response::into_inner), socket)
            }
        }
    }
}

fn items(
    answer: Result<crate::wire::operator::Report, tonic::Status>,
    socket: &std::path::Path,
) -> Result<Vec<Item>, OperatorError> {
    let report = answer.map_err(|status| OperatorError::Refused {
        socket: socket.into(),
        reason: socket::status_text(&status),
    })?;
    Ok(report.items.into_iter().map(Into::into).collect())
}

//! One connection kept up: made, lost, and made again with growing patience.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Pace;
use super::intake::{Closed, Intake, one_line};
use super::update::Update;

/// How a connection ended that did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better next time.
    Again(String),
    /// It will not get better by waiting.
    Final(String),
    /// Nobody reads any more.
    Closed,
}

impl From<Closed> for Trouble {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// A kind of connection.
pub(super) trait Connect: Send {
    /// Connects once and reads to the end. It returns soon after the lane was cancelled.
    fn connect(&mut self, lane: &mut Lane) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// What a connection works with.
pub(super) struct Lane {
    pub(super) intake: Intake,
    pub(super) cancel: CancellationToken,
    pub(super) follow: bool,
    pub(super) pace: Pace,
    connected: bool,
}

impl Lane {
    pub(super) fn new(intake: Intake, cancel: CancellationToken, follow: bool, pace: Pace) -> Self {
        Self {
            intake,
            cancel,
            follow,
            pace,
            connected: false,
        }
    }

    /// Says what is being connected.
    pub(super) async fn connecting(&mut self, what: String) -> Result<(), Closed> {
        let update = Update::Connecting {
            source: self.intake.source(),
            node: self.intake.node().cloned(),
            what,
        };
        self.intake.say(update).await
    }

    /// The other side answers.
    pub(super) async fn connected(&mut self) -> Result<(), Closed> {
        if std::mem::replace(&mut self.connected, true) {
            return Ok(());
        }
        let source = self.intake.source();
        self.intake.say(Update::Connected { source }).await
    }

    /// Connects, and connects again, until it ends, cannot go on, or is cancelled.
    pub(super) async fn run(mut self, mut source: impl Connect) {
        // A reader that is gone needs no more.
        let _ = self.keep_up(&mut source).await;
    }

    async fn keep_up(&mut self, connection: &mut impl Connect) -> Result<(), Closed> {
        let source = self.intake.source();
        let mut backoff = Backoff::new(&self.pace);
        loop {
            self.connected = false;
            let ended = connection.connect(self).await;
            self.intake.flush().await?;
            if self.cancel.is_cancelled() {
                return self.intake.say(Update::Ended { source }).await;
            }
            if self.connected {
                backoff = Backoff::new(&self.pace);
            }
            let reason = match ended {
                Err(Trouble::Closed) => return Err(Closed),
                Ok(()) => return self.intake.say(Update::Ended { source }).await,
                Err(Trouble::Again(reason)) if self.follow => one_line(&reason, 400),
                Err(Trouble::Again(reason) | Trouble::Final(reason)) => {
                    let reason = one_line(&reason, 400);
                    return self.intake.say(Update::Failed { source, reason }).await;
                }
            };
            let retry_in = backoff.next();
            let lost = Update::Lost {
                source,
                reason,
                retry_in,
            };
            self.intake.say(lost).await?;
            let wait = tokio::time::sleep(retry_in);
            if self.cancel.run_until_cancelled(wait).await.is_none() {
                return self.intake.say(Update::Ended { source }).await;
            }
        }
    }
}

/// Doubling waits.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(pace: &Pace) -> Self {
        Self {
            next: pace.first_retry.min(pace.last_retry),
            most: pace.last_retry,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::source::update::SourceId;

    /// Answers as it is told, one answer a connection.
    struct Script(Vec<(bool, Result<(), Trouble>)>);

    impl Connect for Script {
        async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
            let (connected, answer) = self.0.remove(0);
            if connected {
                lane.connected().await?;
            }
            answer
        }
    }

    async fn told(follow: bool, script: Vec<(bool, Result<(), Trouble>)>) -> Vec<String> {
        let (out, mut updates) = mpsc::channel(1);
        let intake = Intake::new(SourceId(0), out, true, &[]);
        let lane = Lane::new(intake, CancellationToken::new(), follow, Pace::default());
        let running = tokio::spawn(lane.run(Script(script)));
        let mut told = Vec::new();
        while let Some(update) = updates.recv().await {
            told.push(match update {
                Update::Lost { retry_in, .. } => format!("{}s", retry_in.as_secs()),
                Update::Connected { .. } => "connected".into(),
                Update::Ended { .. } => "ended".into(),
                Update::Failed { reason, .. } => reason,
                other => panic!("{other:?}"),
            });
        }
        running.await.unwrap();
        told
    }

    fn again() -> (bool, Result<(), Trouble>) {
        (false, Err(Trouble::Again("gone".into())))
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_to_half_a_minute_and_begin_anew_after_a_success() {
        let mut script: Vec<_> = (0..7).map(|_| again()).collect();
        script.push((true, Err(Trouble::Again("gone".into()))));
        script.push(again());
        script.push((true, Ok(())));
        let began = tokio::time::Instant::now();
        assert_eq!(
            told(true, script).await,
            [
                "1s",
                "2s",
                "4s",
                "8s",
                "16s",
                "30s",
                "30s",
                "connected",
                "1s",
                "2s",
                "connected",
                "ended"
            ]
        );
        assert_eq!(began.elapsed().as_secs(), 94);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_follow_does_not_wait() {
        assert_eq!(told(false, vec![again()]).await, ["gone"]);
        let last = (false, Err(Trouble::Final("never\n\u{1b}[1m".into())));
        assert_eq!(told(true, vec![again(), last]).await, ["1s", "never  [1m"]);
    }
}

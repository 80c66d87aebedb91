//! All pods of a DaemonSet as one stream, by time, as pods come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::feed::{AHEAD, Options};
use super::intake::{Closed, Intake, one_line};
use super::kubectl::{InPod, Kubectl, PodRef, Which};
use super::lane::{Backoff, Lane, Trouble};
use super::merge::{Merge, Now};
use super::name::Name;
use super::update::{SourceId, Update};

/// Pods that are read at the same time.
const MOST_PODS: usize = 256;
/// The DaemonSet itself; its pods have later numbers.
const SET: SourceId = SourceId(0);

/// See [`Source::DaemonSet`](super::Source::DaemonSet).
pub(super) struct Set {
    pub(super) kubectl: Kubectl,
    pub(super) name: Name,
    pub(super) container: Option<Name>,
    pub(super) options: Options,
    pub(super) out: mpsc::Sender<Update>,
    pub(super) cancel: CancellationToken,
}

/// What a look at the pods came to.
type Look = Result<Vec<PodRef>, Trouble>;

impl Set {
    /// Reads all pods until there are no more, or for ever when it follows.
    pub(super) async fn run(self) {
        let (looks, mut seen) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        let (inner, mut updates) = mpsc::channel(AHEAD);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.looker(looks, again.clone()));
        let mut fan = Fan {
            merge: Merge::new(self.options.pace.window),
            backoff: Backoff::new(&self.options.pace),
            set: self,
            inner,
            again,
            pods: BTreeMap::new(),
            last: 0,
            ending: Vec::new(),
            listed: false,
        };
        // A reader that is gone needs no more.
        let _ = fan.run(&mut seen, &mut updates, &mut tasks).await;
        fan.set.cancel.cancel();
        drop((seen, updates));
        while tasks.join_next().await.is_some() {}
    }

    /// Looks at the pods now, and again from time to time.
    fn looker(
        &self,
        looks: mpsc::Sender<Look>,
        again: Arc<Notify>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (kubectl, cancel) = (self.kubectl.clone(), self.cancel.clone());
        let (name, container) = (self.name.clone(), self.container.clone());
        let follow = self.options.follow;
        async move {
            let mut backoff = Backoff::new(&kubectl.pace);
            loop {
                let look = kubectl
                    .pods_of_set(&name, container.as_ref(), &cancel)
                    .await;
                let wait = if look.is_ok() {
                    backoff = Backoff::new(&kubectl.pace);
                    kubectl.pace.relist
                } else {
                    backoff.next()
                };
                if looks.send(look).await.is_err() || !follow {
                    return;
                }
                let sooner = tokio::time::timeout(wait, again.notified());
                if cancel.run_until_cancelled(sooner).await.is_none() {
                    return;
                }
            }
        }
    }
}

/// The pods' streams, and where they meet.
struct Fan {
    set: Set,
    merge: Merge,
    backoff: Backoff,
    inner: mpsc::Sender<Update>,
    again: Arc<Notify>,
    /// By UID: a new pod may have an old one's name.
    pods: BTreeMap<String, (SourceId, CancellationToken)>,
    last: u32,
    /// News that must not overtake the events before it.
    ending: Vec<Update>,
    listed: bool,
}

impl Fan {
    async fn run(
        &mut self,
        looks: &mut mpsc::Receiver<Look>,
        updates: &mut mpsc::Receiver<Update>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Closed> {
        let cancel = self.set.cancel.clone();
        let what = format!("DaemonSet {}/{}", self.set.kubectl.namespace, self.set.name);
        let connecting = Update::Connecting {
            source: SET,
            node: None,
            what: what.clone(),
        };
        self.say(connecting).await?;
        loop {
            let due = self
                .merge
                .due(Instant::now())
                .map(tokio::time::Instant::from_std);
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                Some(update) = updates.recv() => self.take(update).await?,
                Some(look) = looks.recv() => {
                    if self.looked(look, &what, tasks).await? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)),
                    if due.is_some() => {}
                Some(_) = tasks.join_next() => {}
            }
            self.hand_on().await?;
            if self.listed && !self.set.options.follow && self.pods.is_empty() {
                while let Some(chunk) = self.merge.next_of_rest() {
                    self.say(Update::Events(Box::new(chunk))).await?;
                }
                self.hand_on().await?;
                return self.say(Update::Ended { source: SET }).await;
            }
        }
    }

    async fn say(&self, update: Update) -> Result<(), Closed> {
        self.set.out.send(update).await.map_err(|_| Closed)
    }

    /// One pod's news.
    async fn take(&mut self, update: Update) -> Result<(), Closed> {
        let pace = self.set.options.pace;
        match update {
            Update::Events(chunk) => {
                self.merge.not_wait_for(chunk.source);
                let now = Now {
                    instant: Instant::now(),
                    wall: i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
                };
                self.merge.push(now, *chunk);
                Ok(())
            }
            Update::Connected { source } => {
                self.merge.wait_for(source, Instant::now() + pace.window);
                self.say(update).await
            }
            Update::Lost { source, .. } => {
                self.merge.not_wait_for(source);
                // It may be gone.
                self.again.notify_one();
                self.say(update).await
            }
            Update::Ended { source } | Update::Failed { source, .. } => {
                self.pods.retain(|_, (id, _)| *id != source);
                self.merge.end(source);
                self.ending.push(update);
                Ok(())
            }
            other => self.say(other).await,
        }
    }

    /// A look at the pods. Returns whether that was the end.
    async fn looked(
        &mut self,
        look: Look,
        what: &str,
        tasks: &mut JoinSet<()>,
    ) -> Result<bool, Closed> {
        let mut pods = match look {
            Ok(pods) => pods,
            Err(Trouble::Closed) => return Ok(true),
            Err(Trouble::Again(reason)) if self.set.options.follow => {
                let lost = Update::Lost {
                    source: SET,
                    reason: one_line(&reason, 400),
                    retry_in: self.backoff.next(),
                };
                self.listed = false;
                self.say(lost).await?;
                return Ok(false);
            }
            Err(Trouble::Again(reason) | Trouble::Final(reason)) => {
                let reason = one_line(&reason, 400);
                self.say(Update::Failed {
                    source: SET,
                    reason,
                })
                .await?;
                return Ok(true);
            }
        };
        if pods.is_empty() && !self.set.options.follow {
            let reason = format!("{what} has no running pod");
            self.say(Update::Failed {
                source: SET,
                reason,
            })
            .await?;
            return Ok(true);
        }
        self.backoff = Backoff::new(&self.set.options.pace);
        if !std::mem::replace(&mut self.listed, true) {
            self.say(Update::Connected { source: SET }).await?;
        }
        if pods.len() > MOST_PODS {
            let reason = format!(
                "{what} has {} pods: the first {MOST_PODS} by node are read",
                pods.len()
            );
            pods.truncate(MOST_PODS);
            self.say(Update::Connecting {
                source: SET,
                node: None,
                what: reason,
            })
            .await?;
        }
        let there: BTreeSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        // Their streams hand on what they have, and end.
        let gone = self
            .pods
            .extract_if(.., |uid, _| !there.contains(uid.as_str()));
        for (_, (_, cancel)) in gone {
            cancel.cancel();
        }
        for pod in pods {
            if !self.pods.contains_key(&pod.uid) {
                self.begin(pod, tasks);
            }
        }
        Ok(false)
    }

    fn begin(&mut self, pod: PodRef, tasks: &mut JoinSet<()>) {
        let options = &self.set.options;
        self.last += 1;
        let source = SourceId(self.last);
        let cancel = self.set.cancel.child_token();
        self.pods.insert(pod.uid.clone(), (source, cancel.clone()));
        self.merge
            .wait_for(source, Instant::now() + options.pace.settle);
        let intake = Intake::new(source, self.inner.clone(), true, &options.after);
        let lane = Lane::new(intake, cancel, options.follow, options.pace);
        let connection = InPod {
            kubectl: self.set.kubectl.clone(),
            which: Which::Found(pod),
        };
        tasks.spawn(lane.run(connection));
    }

    /// Hands on what is in order by now.
    async fn hand_on(&mut self) -> Result<(), Closed> {
        while let Some(chunk) = self.merge.next(Instant::now()) {
            self.say(Update::Events(Box::new(chunk))).await?;
        }
        let merge = &self.merge;
        let ready: Vec<Update> = self
            .ending
            .extract_if(.., |update| match update {
                Update::Ended { source } | Update::Failed { source, .. } => !merge.holds(*source),
                _ => true,
            })
            .collect();
        for update in ready {
            self.say(update).await?;
        }
        Ok(())
    }
}

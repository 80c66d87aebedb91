//! One stream out of several: the mocks' events and those of each life of the driver, in
//! order of time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use ndra_core::event::{self, DriverState, Event, Heard, Recorder, WatchError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::board::Board;

/// How long an event waits for earlier ones of slower sources.
const WINDOW: Duration = Duration::from_millis(20);
/// How long a started driver may take until it serves its events.
const CONNECT: Duration = Duration::from_secs(120);
/// Events that the mocks' recorder holds.
pub(crate) const RING: usize = 65_536;

/// The mocks are one source; every life of the driver is one more.
const MOCKS: u64 = 0;

enum Item {
    Event(Arc<Event>),
    /// A remark of the harness, at this time.
    Note(Timestamp, String),
    /// How the driver is doing, from this time on; none, when it has gone.
    Driver(Timestamp, Option<Box<DriverState>>),
    /// Everything that is there is to be handed out now.
    Flush(oneshot::Sender<()>),
}

/// What is handed out, in order.
pub(crate) enum Told<'a> {
    Event(&'a Event),
    Note(&'a str),
    Driver(Option<&'a DriverState>),
}

/// The stream's inlet.
#[derive(Clone)]
pub(crate) struct Inlet {
    items: mpsc::UnboundedSender<Item>,
    board: Board,
}

impl Inlet {
    /// Starts a stream that hands everything to `tell`, in order of time, sequence numbers
    /// and offsets of the whole run filled in.
    pub(crate) fn start(
        board: Board,
        began: Timestamp,
        mocks: Recorder,
        tell: impl FnMut(Told<'_>) + Send + 'static,
    ) -> (Self, AbortOnDropHandle<()>) {
        let (items, inbox) = mpsc::unbounded_channel();
        let inlet = Self { items, board };
        let outlet = Outlet {
            inbox,
            began,
            seq: 0,
            waiting: BTreeMap::new(),
            tell,
        };
        let relay = inlet.clone();
        let handle = tokio::spawn(async move {
            tokio::join!(outlet.run(mocks.clone(), relay));
        });
        (inlet, AbortOnDropHandle::new(handle))
    }

    /// A remark of the harness.
    pub(crate) fn note(&self, text: impl Into<String>) {
        // The outlet lives as long as the run.
        let _ = self.items.send(Item::Note(Timestamp::now(), text.into()));
    }

    /// Returns when all that came in before was handed out.
    pub(crate) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.items.send(Item::Flush(done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Follows one life of the driver: from the moment when its socket answers to the end
    /// of its stream. `life` tells it from the others.
    pub(crate) fn follow(&self, life: u64, socket: PathBuf) -> AbortOnDropHandle<()> {
        let inlet = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let source = MOCKS + life;
            if let Some(mut events) = inlet.connect(&socket).await {
                while let Some(Ok(heard)) = events.next().await {
                    let watched = match heard {
                        Heard::Event(watched) => watched,
                        Heard::Driver(state) => {
                            inlet.driver(Some(state));
                            continue;
                        }
                    };
                    if watched.dropped > 0 {
                        inlet.note(format!(
                            "{} events of the driver were lost",
                            watched.dropped
                        ));
                    }
                    inlet.event(source, Arc::new(watched.event));
                }
            }
            inlet.driver(None);
            inlet.board.source_gone(source);
        }))
    }

    fn event(&self, source: u64, event: Arc<Event>) {
        self.board.event(source, event.clone());
        let _ = self.items.send(Item::Event(event));
    }

    fn driver(&self, state: Option<Box<DriverState>>) {
        // The outlet lives as long as the run.
        let _ = self.items.send(Item::Driver(Timestamp::now(), state));
    }

    /// A driver's socket may not be there yet, or still be that of a driver that was
    /// killed: tried again whenever a file changes.
    async fn connect(&self, socket: &Path) -> Option<Watching> {
        let mut changes = self.board.changes();
        let attempts = async {
            loop {
                changes.mark_unchanged();
                if let Ok(events) = event::watch(socket, None).await {
                    return Some(Box::pin(events) as Watching);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(CONNECT, attempts).await.ok().flatten()
    }
}

type Watching = Pin<Box<dyn Stream<Item = Result<Heard, WatchError>> + Send>>;

struct Outlet<F> {
    inbox: mpsc::UnboundedReceiver<Item>,
    began: Timestamp,
    seq: u64,
    /// By time, then by order of arrival: two events of one source never change places.
    waiting: BTreeMap<(Timestamp, u64), Item>,
    tell: F,
}

impl<F: FnMut(Told<'_>)> Outlet<F> {
    async fn run(mut self, mocks: Recorder, relay: Inlet) {
        let mut mocks = mocks.subscribe(0);
        let mut arrivals = 0_u64;
        let mut tick = tokio::time::interval(WINDOW / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                (event, _) = mocks.next() => relay.event(MOCKS, event),
                item = self.inbox.recv() => {
                    arrivals += 1;
                    match item {
                        Some(Item::Flush(done)) => {
                            // What the mocks have recorded up to now belongs before it.
                            while let Some((event, _)) = mocks.ready() {
                                relay.event(MOCKS, event);
                            }
                            while let Ok(item) = self.inbox.try_recv() {
                                arrivals += 1;
                                self.keep(arrivals, item);
                            }
                            self.hand_out(None);
                            let _ = done.send(());
                        }
                        Some(item) => self.keep(arrivals, item),
                        None => return,
                    }
                }
                _ = tick.tick(), if !self.waiting.is_empty() => {
                    let now = Timestamp::now();
                    self.hand_out(now.checked_sub(WINDOW).ok());
                }
            }
        }
    }

    fn keep(&mut self, arrival: u64, item: Item) {
        let time = match &item {
            Item::Event(event) => event.time,
            Item::Note(time, _) | Item::Driver(time, _) => *time,
            Item::Flush(_) => return,
        };
        self.waiting.insert((time, arrival), item);
    }

    fn hand_out(&mut self, before: Option<Timestamp>) {
        while let Some(entry) = self.waiting.first_entry() {
            if before.is_some_and(|before| entry.key().0 > before) {
                return;
            }
            match entry.remove() {
                Item::Event(event) => {
                    self.seq += 1;
                    let mut event = (*event).clone();
                    event.seq = self.seq;
                    let since = event.time.duration_since(self.began);
                    event.elapsed_us = u64::try_from(since.as_micros()).unwrap_or_default();
                    (self.tell)(Told::Event(&event));
                }
                Item::Note(_, text) => (self.tell)(Told::Note(&text)),
                Item::Driver(_, state) => (self.tell)(Told::Driver(state.as_deref())),
                Item::Flush(_) => {}
            }
        }
    }
}

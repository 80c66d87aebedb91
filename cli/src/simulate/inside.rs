//! Pods seen from inside their network namespaces: what they have, and whom they reach.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::parts::PodLink;
use super::world::World;
use crate::report::{Answer, Attached};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most pods that one meeting sends a packet to.
const ASKED: usize = 16;

/// What was seen in all namespaces of a run.
#[derive(Debug, Default)]
pub(super) struct Inside {
    pub(super) attached: Vec<Attached>,
    pub(super) answers: Vec<Answer>,
    /// A real container that could not say what it has.
    pub(super) failures: Vec<String>,
}

/// Copies of pods that live at the same time, two by two, so that they can reach each other.
pub(super) struct Meetings {
    meetings: Vec<Meeting>,
    found: Mutex<Inside>,
}

struct Meeting {
    /// Lives that take part.
    expected: usize,
    arrived: watch::Sender<usize>,
    done: watch::Sender<bool>,
    pods: Mutex<Vec<(String, PodLink)>>,
}

impl Meetings {
    pub(super) fn new(copies: u16, parallel: u16) -> Self {
        let meeting = |first: u16| Meeting {
            expected: if parallel > 1 && first < copies { 2 } else { 1 },
            arrived: watch::Sender::new(0),
            done: watch::Sender::new(false),
            pods: Mutex::default(),
        };
        let size = if parallel > 1 { 2 } else { 1 };
        Self {
            meetings: (1..=copies).step_by(size).map(meeting).collect(),
            found: Mutex::default(),
        }
    }

    /// Looks into the namespaces of the `pods` of copy `number`, and waits until its partner
    /// is there, too, and all have asked for an answer. Returns at once where nothing is real.
    pub(super) async fn meet(&self, world: &World, number: u16, pods: &[String]) {
        let size = if self.meetings.iter().any(|m| m.expected == 2) {
            2
        } else {
            1
        };
        let index = usize::from(number.saturating_sub(1)) / size;
        let (true, Some(meeting)) = (world.network.real(), self.meetings.get(index)) else {
            return;
        };
        for sandbox in world.runtime.sandboxes() {
            let key = format!("{}/{}", sandbox.namespace, sandbox.name);
            let Some(netns) = sandbox
                .netns
                .filter(|_| sandbox.ready && pods.contains(&key))
            else {
                continue;
            };
            let network = world.network.clone();
            let links = tokio::task::spawn_blocking(move || network.look(&netns)).await;
            for link in links.unwrap_or_default() {
                let (namespace, name) = (&sandbox.namespace, &sandbox.name);
                let seen = match world.runtime.interface(namespace, name, &link.name).await {
                    None => Ok(attached(&key, &link)),
                    Some(seen) => seen.map(|(mac, addresses)| Attached {
                        mac,
                        addresses,
                        ..attached(&key, &link)
                    }),
                };
                match seen {
                    Ok(seen) => self.found().attached.push(seen),
                    Err(why) => {
                        let why = format!("in a container of pod {key}: {why}");
                        self.found().failures.push(why);
                    }
                }
                lock(&meeting.pods).push((key.clone(), link));
            }
        }
        let mut last = false;
        meeting.arrived.send_modify(|arrived| {
            *arrived += 1;
            last = *arrived == meeting.expected;
        });
        if last {
            let mut pods = std::mem::take(&mut *lock(&meeting.pods));
            pods.sort_by(|(one, _), (other, _)| one.cmp(other));
            let asked = tokio::task::spawn_blocking(move || ask(&pods)).await;
            self.found().answers.extend(asked.unwrap_or_default());
            meeting.done.send_replace(true);
        } else {
            let mut done = meeting.done.subscribe();
            // A partner that failed does not come.
            let done = done.wait_for(|done| *done);
            let _ = tokio::time::timeout(world.options.timeout, done).await;
        }
    }

    fn found(&self) -> MutexGuard<'_, Inside> {
        lock(&self.found)
    }

    /// What was seen.
    pub(super) fn end(self) -> Inside {
        self.found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attached(pod: &str, link: &PodLink) -> Attached {
    Attached {
        pod: pod.to_owned(),
        interface: link.name.clone(),
        mac: link.mac.clone(),
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
    }
}

/// The first pod of every network asks the others.
fn ask(pods: &[(String, PodLink)]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (index, (to, link)) in pods.iter().enumerate() {
        for net in link.addresses.iter().filter(|net| net.addr().is_ipv4()) {
            let earlier = pods[..index].iter();
            let first = earlier
                .filter(|(from, _)| from != to)
                .find_map(|(from, other)| {
                    let mut own = other.addresses.iter();
                    let own = own.find(|own| own.trunc() == net.trunc())?;
                    Some((from, other, own.addr()))
                });
            let Some((from, other, own)) = first else {
                continue;
            };
            answers.push(Answer {
                from: from.clone(),
                to: to.clone(),
                address: net.addr(),
                took_us: answer(&other.netns, own, &link.netns, net.addr()),
            });
            if answers.len() == ASKED {
                return answers;
            }
        }
    }
    answers
}

/// One TCP connection from one namespace into another; the time until it was accepted.
fn answer(from: &Path, own: IpAddr, to: &Path, address: IpAddr) -> Result<u64, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let listener = ndra_netns::inside(to, || TcpListener::bind((address, 0)))
        .map_err(|e| text(&e))?
        .map_err(|e| text(&e))?;
    let at: SocketAddr = listener.local_addr().map_err(|e| text(&e))?;
    let (_stream, took) = ndra_netns::inside(from, || {
        let began = Instant::now();
        TcpStream::connect_timeout(&at, PATIENCE).map(|stream| (stream, began.elapsed()))
    })
    .map_err(|e| text(&e))?
    .map_err(|e| text(&e))?;
    let (_, peer) = listener.accept().map_err(|e| text(&e))?;
    if peer.ip() != own {
        return Err(format!("it was reached from {}", peer.ip()));
    }
    Ok(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

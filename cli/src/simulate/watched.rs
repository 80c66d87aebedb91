//! A simulation under the dashboard: it runs on, and does what its keys ask for.

use std::collections::VecDeque;

use ndra_core::event::Step;
use ndra_core::gate::GateKeeper;
use ndra_watch::state::Control;
use ndra_watch::term::{Asked, Told};
use serde_json::Value;
use tokio::sync::mpsc;

use super::fault::Faults;
use super::life;
use super::world::{Stop, World};
use crate::failure::Failure;
use crate::manifest::{Object, kind};

/// A world that runs on.
pub(super) struct Watched<'a> {
    world: World,
    gates: GateKeeper,
    /// Pods and claims; each copy has its own.
    own: Vec<&'a Object>,
    shared: Vec<&'a Object>,
    /// The copies that live, oldest first.
    alive: VecDeque<Vec<Object>>,
    copies: u16,
    faults: Faults,
    tell: mpsc::UnboundedSender<Told>,
}

impl<'a> Watched<'a> {
    /// Copies of the pods that live at the same time; one more ends the oldest, so that
    /// whole lives are seen.
    pub(super) const TOGETHER: usize = 4;

    pub(super) fn new(
        mut world: World,
        objects: &'a [Object],
        tell: mpsc::UnboundedSender<Told>,
    ) -> Result<Self, Failure> {
        let gates = world
            .gates
            .take()
            .ok_or_else(|| Failure::run("the simulation cannot hold steps back", ""))?;
        let (own, shared) = objects
            .iter()
            .partition(|object| object.kind == &kind::POD || object.kind == &kind::CLAIM);
        Ok(Self {
            world,
            gates,
            own,
            shared,
            alive: VecDeque::new(),
            copies: 0,
            faults: Faults::default(),
            tell,
        })
    }

    /// Starts the pods, and does what is asked for until nobody asks any more. Hands the
    /// world back, and how many copies of the pods there were.
    pub(super) async fn run(
        mut self,
        mut asked: mpsc::UnboundedReceiver<Asked>,
    ) -> Result<(World, u16), Failure> {
        life::create_shared(&self.world, &self.shared).await?;
        self.start_pod().await?;
        loop {
            tokio::select! {
                Some(arrival) = self.gates.next() => self.faults.arrived(arrival, &self.world),
                asked = asked.recv() => match asked {
                    Some(asked) => self.act(asked).await?,
                    // The dashboard has gone.
                    None => return Ok((self.world, self.copies)),
                },
            }
        }
    }

    async fn act(&mut self, asked: Asked) -> Result<(), Failure> {
        match asked.control {
            Control::StartPod => self.start_pod().await,
            Control::RestartContainer => {
                self.restart_container(asked.pod.as_deref()).await;
                Ok(())
            }
            Control::KillDriver => self.kill_driver().await,
            Control::InjectFault => {
                let step = asked.step.unwrap_or(Step::CniAdd);
                let told = self.faults.inject(step, &self.world);
                self.say(told.unwrap_or_else(|why| why));
                Ok(())
            }
        }
    }

    /// Says something in the status line.
    fn say(&self, text: impl Into<String>) {
        // Without a dashboard nobody is left to tell.
        let _ = self.tell.send(Told::Remark(text.into()));
    }

    async fn start_pod(&mut self) -> Result<(), Failure> {
        if self.alive.len() >= Self::TOGETHER
            && let Some(oldest) = self.alive.pop_front()
        {
            for wanted in [&kind::POD, &kind::CLAIM] {
                for object in oldest.iter().filter(|object| object.kind == wanted) {
                    self.world.delete(wanted, &object.key(), false).await?;
                }
            }
        }
        self.copies = self.copies.saturating_add(1);
        let copy = life::copy(&self.own, Some(self.copies));
        for wanted in [&kind::CLAIM, &kind::POD] {
            for object in copy.iter().filter(|object| object.kind == wanted) {
                self.world.create(object).await?;
            }
        }
        let pods = copy.iter().filter(|object| object.kind == &kind::POD);
        let names: Vec<_> = pods.map(Object::key).collect();
        self.say(format!("started {}", names.join(", ")));
        self.alive.push_back(copy);
        Ok(())
    }

    async fn restart_container(&self, pod: Option<&str>) {
        let Some((namespace, name)) = pod.and_then(|pod| pod.split_once('/')) else {
            return self.say("this flow has no pod yet: select one that has");
        };
        let container = self.alive.iter().flatten().find_map(|object| {
            let this = object.kind == &kind::POD
                && object.name == name
                && object.namespace.as_deref() == Some(namespace);
            let container = object.value.pointer("/spec/containers/0/name");
            container.and_then(Value::as_str).filter(|_| this)
        });
        let Some(container) = container else {
            return self.say(format!("{namespace}/{name} is not running any more"));
        };
        let runtime = &self.world.runtime;
        match runtime.kill_container(namespace, name, container, 1).await {
            Ok(()) => self.say(format!("container {container} of {namespace}/{name} dies")),
            Err(error) => self.say(error),
        }
    }

    async fn kill_driver(&mut self) -> Result<(), Failure> {
        self.say("the driver is killed, and starts again");
        if let Err(error) = self.world.stop_driver(Stop::Kill).await {
            self.say(error);
        }
        self.world.start_driver()
    }
}

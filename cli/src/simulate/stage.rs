//! Carries a scenario's actions out, in order, and holds steps back where it says so.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ndra_core::cni::Command;
use ndra_core::gate::Arrival;

use super::board::Seen;
use super::fault::Faults;
use super::files;
use super::judge;
use super::world::{Stop, World};
use crate::failure::Failure;
use crate::manifest::{Object, kind};
use crate::scenario::{Action, Before, CniCommand, Condition, LinkState, Scenario, pod_key};

/// Why a scenario cannot go on.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// It did not go as the scenario says.
    Failed(String),
    /// The world broke.
    World(Failure),
}

impl From<Failure> for Stuck {
    fn from(failure: Failure) -> Self {
        Self::World(failure)
    }
}

/// Needs `wait` and `check` to be able to hold steps back while they wait.
pub(crate) struct Stage<'a> {
    world: &'a mut World,
    scenario: &'a Scenario,
    /// Steps to be held, the first that fits first.
    held: VecDeque<&'a Before>,
    faults: Faults,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(world: &'a mut World, scenario: &'a Scenario) -> Self {
        Self {
            world,
            scenario,
            held: VecDeque::new(),
            faults: Faults::default(),
        }
    }

    /// Creates everything but pods, then acts.
    pub(crate) async fn run(mut self) -> Result<(), Stuck> {
        let scenario = self.scenario;
        for object in &scenario.objects {
            if object.kind != &kind::POD {
                self.world.create(object).await?;
            }
        }
        self.act_all(&scenario.actions).await?;
        match self.held.front() {
            Some(before) => Err(Stuck::Failed(format!(
                "nothing came to the step {} that was to be held back",
                before.step
            ))),
            None => Ok(()),
        }
    }

    /// Boxed, because actions hold actions.
    fn act_all<'s>(
        &'s mut self,
        actions: &'a [Action],
    ) -> Pin<Box<dyn Future<Output = Result<(), Stuck>> + 's>> {
        Box::pin(async move {
            for action in actions {
                self.act(action).await?;
            }
            Ok(())
        })
    }

    async fn act(&mut self, action: &'a Action) -> Result<(), Stuck> {
        if let Some(note) = words(action) {
            self.world.inlet.note(note);
        }
        match action {
            Action::Apply(pods) => {
                for pod in pods {
                    self.world.create(self.pod(pod)?).await?;
                }
            }
            Action::Wait(condition) => self.wait(condition).await?,
            Action::Check(expect) => {
                let expect = expect.as_ref();
                self.until(
                    |world, seen| judge::judge(expect, seen, &judge::facts(world)),
                    "",
                )
                .await?;
                let runtime = self.world.runtime.socket().to_owned();
                let missing = files::check(&runtime, &expect.metadata).await;
                if !missing.is_empty() {
                    return Err(Stuck::Failed(missing.join("\n")));
                }
            }
            Action::Before(before) => self.held.push_back(before),
            Action::KillContainer(kill) => {
                let (namespace, name) = split(&kill.pod);
                let killed = self.world.runtime.kill_container(
                    &namespace,
                    &name,
                    &kill.container,
                    kill.code,
                );
                killed.await.map_err(Stuck::Failed)?;
            }
            Action::KillSandbox(pod) => {
                let (namespace, name) = split(pod);
                let killed = self.world.runtime.kill_sandbox(&namespace, &name);
                killed.await.map_err(Stuck::Failed)?;
            }
            Action::DeletePod(pod) => {
                self.world.delete(&kind::POD, &pod_key(pod), false).await?;
            }
            Action::ForceDeletePod(pod) => {
                self.world.delete(&kind::POD, &pod_key(pod), true).await?;
            }
            Action::ReplacePod(pod) => {
                let object = self.pod(pod)?;
                self.world.delete(&kind::POD, &object.key(), true).await?;
                self.world.create(object).await?;
            }
            Action::StopDriver(how) => {
                self.world.stop_driver(*how).await.map_err(Stuck::Failed)?;
            }
            Action::StartDriver(start) => {
                if start.slots.is_some() {
                    self.world.options.slots = start.slots;
                }
                self.world.start_driver()?;
            }
            Action::RollDriver(instance) => {
                self.world.roll_driver(instance).await?;
            }
            Action::BeginRoll(instance) => self.world.begin_roll(instance).await?,
            Action::EndRoll(_) => self.world.end_roll().await?,
            Action::HoldMultus(_) => self.world.multus.hold(true).map_err(Stuck::Failed)?,
            Action::ReleaseMultus(_) => self.world.multus.hold(false).map_err(Stuck::Failed)?,
            Action::RestartKubelet(_) => self.world.restart_kubelet().await?,
            Action::StopMultus(_) => self.world.multus.go().await,
            Action::StartMultus(_) => self.world.multus.come().await?,
            Action::FailMultus(fail) => {
                let command = match fail.command {
                    CniCommand::Add => Command::Add,
                    CniCommand::Del => Command::Del,
                };
                let multus = &self.world.multus;
                multus
                    .fail_next(fail.times, command, &fail.error)
                    .map_err(Stuck::Failed)?;
            }
            Action::SetInterface(set) => {
                let set = self.world.network.set(&set.name, set.state);
                set.map_err(Stuck::Failed)?;
            }
            Action::FailStep(step) => {
                let how = self.faults.inject(*step, self.world);
                self.world.inlet.note(how.map_err(Stuck::Failed)?);
            }
        }
        Ok(())
    }

    fn pod(&self, name: &str) -> Result<&'a Object, Stuck> {
        let scenario = self.scenario;
        // Checked when the scenario was read.
        scenario
            .pod(name)
            .ok_or_else(|| Stuck::Failed(format!("the scenario has no pod {name}")))
    }

    async fn wait(&mut self, condition: &Condition) -> Result<(), Stuck> {
        self.until(
            |world, seen| judge::wait(condition, seen, &judge::facts(world)),
            "waited in vain: ",
        )
        .await
    }

    /// Waits until `missing` misses nothing, and lets held steps happen meanwhile.
    async fn until(
        &mut self,
        missing: impl Fn(&World, &Seen) -> Vec<String>,
        prefix: &str,
    ) -> Result<(), Stuck> {
        let deadline = tokio::time::Instant::now() + self.world.options.timeout;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            match self.turn(&missing, left).await {
                Turn::Found => return Ok(()),
                Turn::Arrived(arrival) => self.arrived(arrival).await?,
                Turn::Late => {
                    let board = self.world.board.clone();
                    let missing = board.look(|seen| missing(self.world, seen));
                    return Err(Stuck::Failed(format!("{prefix}{}", missing.join("; "))));
                }
            }
        }
    }

    async fn turn(
        &mut self,
        missing: &impl Fn(&World, &Seen) -> Vec<String>,
        left: Duration,
    ) -> Turn {
        // Arrivals are taken through a borrow of their own: the rest of the world is only
        // looked at.
        let mut gates = self.world.gates.take();
        let world = &*self.world;
        let arrival = async {
            match &mut gates {
                Some(gates) => gates.next().await,
                None => None,
            }
        };
        let turn = tokio::select! {
            found = world.board.until(left, |seen| missing(world, seen).is_empty().then_some(())) => {
                match found {
                    Some(()) => Turn::Found,
                    None => Turn::Late,
                }
            }
            Some(arrival) = arrival => Turn::Arrived(arrival),
        };
        self.world.gates = gates;
        turn
    }

    /// Somebody stands before a step: it goes on when `arrival` is dropped.
    async fn arrived(&mut self, arrival: Arrival) -> Result<(), Stuck> {
        let fits = |before: &&Before| {
            before.step == arrival.step
                && before
                    .pod
                    .as_ref()
                    .is_none_or(|pod| arrival.subject.pod.as_deref() == Some(pod_key(pod).as_str()))
        };
        let held = self.held.iter().position(fits);
        if let Some(before) = held.and_then(|index| self.held.remove(index)) {
            self.act_all(&before.actions).await?;
        }
        self.faults.arrived(arrival, self.world);
        Ok(())
    }
}

enum Turn {
    Found,
    Late,
    Arrived(Arrival),
}

pub(super) fn split(pod: &str) -> (String, String) {
    let key = pod_key(pod);
    match key.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (String::new(), key),
    }
}

/// What the timeline says of an action; waiting and checking need no words.
fn words(action: &Action) -> Option<String> {
    Some(match action {
        Action::Wait(_)
        | Action::Check(_)
        | Action::Before(_)
        | Action::EndRoll(_)
        | Action::FailStep(_) => return None,
        Action::Apply(pods) => format!("apply {}", pods.join(", ")),
        Action::KillContainer(kill) => format!(
            "container {} of {} dies with exit code {}",
            kill.container, kill.pod, kill.code
        ),
        Action::KillSandbox(pod) => format!("the sandbox of {pod} dies"),
        Action::DeletePod(pod) => format!("delete {pod}"),
        Action::ForceDeletePod(pod) => format!("delete {pod} by force"),
        Action::ReplacePod(pod) => format!("replace {pod} under its name"),
        Action::StopDriver(Stop::Term) => "the driver gets SIGTERM".into(),
        Action::StopDriver(Stop::Kill) => "the driver is killed".into(),
        Action::StartDriver(start) => match start.slots {
            Some(slots) => format!("the driver starts with {slots} devices"),
            None => "the driver starts".into(),
        },
        Action::RollDriver(instance) => format!("the driver is replaced by {instance}"),
        Action::BeginRoll(instance) => format!("{instance} comes for the driver"),
        Action::HoldMultus(_) => "CNI plugins hang".into(),
        Action::ReleaseMultus(_) => "CNI plugins go on".into(),
        Action::RestartKubelet(_) => "the kubelet restarts".into(),
        Action::StopMultus(_) => "Multus goes away".into(),
        Action::StartMultus(_) => "Multus comes back".into(),
        Action::SetInterface(set) => match set.state {
            LinkState::Up => format!("{} comes up", set.name),
            LinkState::Down => format!("{} goes down", set.name),
            LinkState::Gone => format!("{} is taken away", set.name),
        },
        Action::FailMultus(fail) => match fail.times {
            1 => format!("the plugin will fail the next {}", fail.command),
            times => format!("the plugin will fail the next {times} {}s", fail.command),
        },
    })
}

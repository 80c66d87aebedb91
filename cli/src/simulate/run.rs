//! One run from begin to end: what to run, in which world, and what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ndra_core::event::Recorder;
use ndra_watch::term;
use serde_json::Value;
use tokio::sync::mpsc;

use super::board::Board;
use super::ground::Ground;
use super::inside::Inside;
use super::lane::{Lane, RuntimeKind};
use super::parts::Endpoint;
use super::show::{Layout, Show};
use super::stage::{Stage, Stuck};
use super::stream::{self, Inlet, RING};
use super::watched::Watched;
use super::workdir::{self, WorkDir};
use super::world::{NODE, Options, World};
use super::{Args, Flavor, KubeletApi, deployment, end, judge, life, rights};
use crate::failure::{Failure, tell};
use crate::manifest::{self, Object, kind};
use crate::problem::{Place, Problem, Problems};
use crate::report::Outcome;
use crate::scenario::{Action, Scenario};
use crate::signals;
use crate::validate::{self, Rules};
use crate::watch;

/// The shipped example, which runs when nothing else is named.
const EXAMPLE: (&str, &str) = (
    "examples/pod.yaml",
    include_str!("../../../examples/pod.yaml"),
);

/// The same for Kubernetes 1.29.
const CLASSIC_EXAMPLE: (&str, &str) = (
    "examples/kubernetes-1.29/pod.yaml",
    include_str!("../../../examples/kubernetes-1.29/pod.yaml"),
);

/// Devices that a driver publishes by default.
const ATTACHMENTS: usize = 8;

/// The most pods whose steps are shown one by one.
const SHOWN: usize = 5;

/// What is run.
enum Plan {
    Pods {
        title: String,
        objects: Vec<Object>,
        copies: u16,
        parallel: u16,
    },
    Scenario(Box<Scenario>),
}

impl Plan {
    /// Reads and checks everything: nothing is started with bad input.
    fn of(args: &Args) -> Result<Self, Failure> {
        if let Some(name) = &args.scenario {
            return Ok(Self::Scenario(Box::new(Scenario::find(name)?)));
        }
        let (title, objects) = if args.files.is_empty() {
            let (name, text) = match args.kubelet_api {
                Some(KubeletApi::V1alpha3) => CLASSIC_EXAMPLE,
                _ => EXAMPLE,
            };
            (name.to_owned(), manifest::parse(name, text)?)
        } else {
            let names: Vec<String> = args.files.iter().map(|f| f.display().to_string()).collect();
            (names.join(", "), manifest::load(&args.files)?)
        };
        let mut problems = validate::check(&objects, &Rules::default());
        if objects.iter().map(deployment::replicas).sum::<usize>() == 0 {
            problems.push(Problem::new(
                Place::file(&title),
                "holds no Pod: there is nothing to run",
                "add a Pod or a Deployment that uses the claim; `ndra validate` checks claims alone",
            ));
        }
        if problems.iter().any(Problem::is_error) {
            return Err(Problems(problems).into());
        }
        for warning in &problems {
            tell(warning);
        }
        Ok(Self::Pods {
            title,
            objects,
            copies: args.pods,
            parallel: args.parallel,
        })
    }

    fn objects(&self) -> &[Object] {
        match self {
            Self::Pods { objects, .. } => objects,
            Self::Scenario(scenario) => &scenario.objects,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Pods { title, copies, .. } if *copies > 1 => {
                format!("ndra simulate {title}, {copies} times")
            }
            Self::Pods { title, .. } => format!("ndra simulate {title}"),
            Self::Scenario(scenario) => format!("{}: {}", scenario.name, scenario.title),
        }
    }

    fn pods(&self) -> usize {
        let pods: usize = self.objects().iter().map(deployment::replicas).sum();
        match self {
            Self::Pods { copies, .. } => pods * usize::from(*copies),
            Self::Scenario(_) => pods,
        }
    }

    fn layout(&self) -> Layout {
        let pods = self.pods();
        match self {
            Self::Pods { .. } if pods > SHOWN => Layout::Table,
            Self::Pods { .. } if pods > 1 => Layout::ByPod,
            _ => Layout::Live { named: pods > 1 },
        }
    }

    /// Attachments of all pods that live at the same time.
    fn attachments(&self) -> usize {
        let together = match self {
            Self::Pods {
                copies, parallel, ..
            } => usize::from(*copies.min(parallel)),
            Self::Scenario(_) => 1,
        };
        let devices: usize = self.objects().iter().map(devices).sum();
        // Templates make a claim for every pod.
        let devices = devices.max(1) * self.objects().len().max(self.pods()).max(1);
        (devices * together).clamp(ATTACHMENTS, 4096)
    }

    fn options(
        &self,
        args: &Args,
        ground: Ground,
        found: Option<Endpoint>,
    ) -> Result<Options, Failure> {
        let wanted = found.as_ref().map(Endpoint::flavor).or(args.cri_flavor);
        let (flavor, kubelet_api, driver) = match self {
            Self::Pods { .. } => (
                wanted.unwrap_or(Flavor::Containerd),
                args.kubelet_api.unwrap_or(KubeletApi::V1),
                Vec::new(),
            ),
            Self::Scenario(scenario) => (
                scenario_flavor(scenario, wanted)?,
                args.kubelet_api
                    .or(scenario.kubelet_api)
                    .unwrap_or(KubeletApi::V1),
                scenario.driver.clone(),
            ),
        };
        if let Some(problem) = self
            .objects()
            .iter()
            .find_map(|one| unserved(one, kubelet_api))
        {
            return Err(problem.into());
        }
        Ok(Options {
            lane: Lane {
                runtime: match found {
                    Some(endpoint) => RuntimeKind::Found(Box::new(endpoint)),
                    None => RuntimeKind::Played(flavor),
                },
                multus: ground.multus,
                network: ground.network,
            },
            kubelet_api,
            rbac: args.rbac.as_deref().map(rights::read).transpose()?,
            slots: None,
            attachments: self.attachments(),
            interfaces: match self {
                Self::Pods { .. } => args.interfaces.clone(),
                Self::Scenario(scenario) => scenario.interfaces.clone(),
            },
            consumable_capacity: match self {
                Self::Pods { .. } => true,
                Self::Scenario(scenario) => scenario.consumable_capacity,
            },
            driver,
            gated: matches!(self, Self::Scenario(s) if has_gates(&s.actions)),
            timeout: args.timeout,
            slice_wipe: match self {
                // Nobody comes back: the kubelet need not wait.
                Self::Pods { .. } => Duration::from_millis(1),
                Self::Scenario(scenario) => match scenario.slice_wipe_seconds {
                    Some(seconds) => Duration::from_secs(seconds),
                    None => Duration::from_millis(300),
                },
            },
        })
    }
}

/// Objects of another Kubernetes than is run.
fn unserved(object: &Object, kubelet_api: KubeletApi) -> Option<Problem> {
    let dra = object.kind.group == kind::CLAIM.group || object.kind == &kind::CNI_CONFIG;
    let classic = kubelet_api == KubeletApi::V1alpha3;
    (dra && object.kind.is_classic() != classic).then(|| {
        let mend = match classic {
            true => {
                "write it as examples/kubernetes-1.29/pod.yaml does, or leave --kubelet-api out"
            }
            false => "run it with --kubelet-api v1alpha3",
        };
        let version = object.kind.api_version();
        let message = format!("`{version}` goes with another Kubernetes than DRA {kubelet_api}");
        object.problem("apiVersion", message, mend)
    })
}

fn scenario_flavor(scenario: &Scenario, wanted: Option<Flavor>) -> Result<Flavor, Problem> {
    let first = scenario.flavors.first().copied();
    match wanted {
        None => Ok(first.unwrap_or(Flavor::Containerd)),
        Some(flavor) if scenario.flavors.contains(&flavor) => Ok(flavor),
        Some(flavor) => Err(Problem::new(
            Place::file(format!("scenario {}", scenario.name)),
            format!("is not meant for {flavor}"),
            "leave --cri-flavor or --cri out",
        )),
    }
}

fn has_gates(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Before(_) | Action::FailStep(_)))
}

/// The most devices that one object asks for.
fn devices(object: &Object) -> usize {
    let path = match object.kind.kind {
        "ResourceClaim" => "/spec/devices/requests",
        "ResourceClaimTemplate" => "/spec/spec/devices/requests",
        _ => return 0,
    };
    let requests = object.value.pointer(path).and_then(Value::as_array);
    requests
        .into_iter()
        .flatten()
        .map(|request| {
            let count = request.pointer("/exactly/count").and_then(Value::as_u64);
            usize::try_from(count.unwrap_or(1))
                .unwrap_or(usize::MAX)
                .clamp(1, 4096)
        })
        .sum()
}

/// Runs what the command line asks for and says what came of it.
pub(super) async fn run(args: Args, ground: Ground) -> Result<ExitCode, Failure> {
    if args.watch {
        watch::check_terminal()?;
    }
    let plan = Plan::of(&args)?;
    let found = match &args.cri {
        Some(socket) => Some(Endpoint::find(socket).await?),
        None => None,
    };
    let options = plan.options(&args, ground, found.clone())?;
    let rbac = options.rbac.clone();
    if args.watch {
        return watched(&args, plan, options, found).await;
    }
    let (started, began) = (Instant::now(), Timestamp::now());
    let show = Show::open(args.output, plan.layout(), args.record.as_deref(), began)?;
    let work = WorkDir::create(args.keep)?;
    let path = work.path().to_owned();
    let [runtime, multus] = options.lane.words();
    show.head(
        &plan.title(),
        &[
            runtime,
            format!("kubelet DRA {}", options.kubelet_api),
            multus,
            format!("node {NODE}"),
        ],
    );
    let interrupted = signals::end()?;
    let whole = whole(&plan, options, work, &show, began);
    // When interrupted, everything is dropped: processes end, the directory goes.
    let ended = tokio::select! {
        whole = whole => whole,
        () = interrupted => Err(Failure::run("interrupted", "")),
    };
    let run = Run {
        args: &args,
        pods: plan.pods(),
        started,
        path,
        show,
        found,
    };
    let code = run.end(ended).await?;
    if let (Some(rbac), Some(file)) = (&rbac, &args.rbac_report) {
        rights::write(rbac, file)?;
    }
    Ok(code)
}

/// A run whose end is to be told.
struct Run<'a> {
    args: &'a Args,
    pods: usize,
    started: Instant,
    path: PathBuf,
    show: Show,
    /// The real runtime, where there is one.
    found: Option<Endpoint>,
}

impl Run<'_> {
    async fn end(self, ended: Result<(Outcome, WorkDir), Failure>) -> Result<ExitCode, Failure> {
        if self.args.keep {
            eprintln!("kept {}", self.path.display());
        }
        let (outcome, _work) = match ended {
            Ok((outcome, work)) => (self.complete(outcome), work),
            Err(failure) => {
                if let Some(endpoint) = &self.found {
                    endpoint.sweep().await;
                }
                if !self.args.keep {
                    workdir::remove_what_comes_late(&self.path).await;
                }
                let failures = vec![failure.to_string()];
                self.show.cut(&self.complete(Outcome {
                    failures,
                    ..Outcome::default()
                }));
                return Err(failure);
            }
        };
        self.show.end(&outcome)?;
        Ok(if outcome.ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn complete(&self, mut outcome: Outcome) -> Outcome {
        outcome.pods = self.pods;
        outcome.wall_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        outcome.take_attached(self.show.attached());
        self.show.complete(&mut outcome);
        outcome
    }
}

/// Runs pods under the dashboard until it is quit. Then they end as in any other run, and
/// what is left behind is told.
async fn watched(
    args: &Args,
    plan: Plan,
    options: Options,
    found: Option<Endpoint>,
) -> Result<ExitCode, Failure> {
    let (started, began) = (Instant::now(), Timestamp::now());
    // Prints nothing before the end; it keeps the recording.
    let show = Show::open(args.output, Layout::Table, args.record.as_deref(), began)?;
    let work = WorkDir::create(args.keep)?;
    let path = work.path().to_owned();
    let (tell, told) = mpsc::unbounded_channel();
    let (ask, asked) = mpsc::unbounded_channel();
    let board = Board::new();
    let recorder = Recorder::new(RING);
    let (inlet, _stream) = Inlet::start(board.clone(), began, recorder.clone(), {
        let (tell, show) = (tell.clone(), show.clone());
        move |said| {
            show.tell(&said);
            // The dashboard ends first when it is quit.
            let _ = tell.send(match said {
                stream::Told::Event(event) => term::Told::Event(Box::new(event.clone())),
                stream::Told::Note(note) => term::Told::Remark(note.to_owned()),
                stream::Told::Driver(state) => {
                    term::Told::Driver(state.map(|state| Box::new(state.clone())))
                }
            });
        }
    });
    let options = Options {
        gated: true,
        attachments: options.attachments * Watched::TOGETHER,
        slice_wipe: Duration::from_secs(1),
        ..options
    };
    let dashboard = watch::over(term::Simulation { told, asked: ask });
    let simulation = async {
        let objects = plan.objects();
        let world = World::start(options, work, board, inlet, recorder, objects).await?;
        Watched::new(world, objects, tell)?.run(asked).await
    };
    let mut simulation = Box::pin(simulation);
    let quit = tokio::select! {
        quit = dashboard.run() => quit.map_err(|error| watch::ended(&error)),
        failed = &mut simulation => failed.map(drop),
    };
    let interrupted = signals::end()?;
    let each = plan.pods();
    let end = async move {
        quit?;
        let (world, copies) = simulation.await?;
        let ended = end::end(world).await?;
        let outcome = Outcome {
            checks: ended.checks,
            failures: ended.failures,
            ..Outcome::default()
        };
        Ok((outcome, ended.work, each * usize::from(copies)))
    };
    // When interrupted, everything is dropped here, too.
    let ended = tokio::select! {
        ended = end => ended,
        () = interrupted => Err(Failure::run("interrupted", "")),
    };
    let pods = ended.as_ref().map_or(each, |(_, _, pods)| *pods);
    let ended = ended.map(|(outcome, work, _)| (outcome, work));
    let run = Run {
        args,
        pods,
        started,
        path,
        show,
        found,
    };
    run.end(ended).await
}

async fn whole(
    plan: &Plan,
    options: Options,
    work: WorkDir,
    show: &Show,
    began: Timestamp,
) -> Result<(Outcome, WorkDir), Failure> {
    let board = Board::new();
    let recorder = Recorder::new(RING);
    let (inlet, _stream) = Inlet::start(board.clone(), began, recorder.clone(), {
        let show = show.clone();
        move |told| show.tell(&told)
    });
    let rbac = options.rbac.clone();
    let mut world = World::start(options, work, board, inlet, recorder, plan.objects()).await?;
    let mut inside = Inside::default();
    let mut failures = match plan {
        Plan::Pods {
            objects,
            copies,
            parallel,
            ..
        } => {
            let lives = life::run(&world, objects, *copies, *parallel).await?;
            inside = lives.inside;
            lives.failures
        }
        Plan::Scenario(scenario) => match Stage::new(&mut world, scenario).run().await {
            Ok(()) => Vec::new(),
            Err(Stuck::Failed(why)) => vec![why],
            Err(Stuck::World(failure)) => return Err(failure),
        },
    };
    failures.append(&mut inside.failures);
    let by_containers = matches!(world.options.lane.runtime, RuntimeKind::Found(_));
    let board = world.board.clone();
    let ended = end::end(world).await?;
    failures.extend(ended.failures);
    if let Plan::Scenario(scenario) = plan {
        // Every step has ended, so that counts are final.
        failures.extend(board.look(|seen| judge::judge(&scenario.expect, seen, &ended.facts)));
    }
    failures.extend(rbac.iter().flat_map(rights::failures));
    let outcome = Outcome {
        checks: ended.checks,
        failures,
        inside: inside.attached,
        by_containers,
        answers: inside.answers,
        ..Outcome::default()
    };
    Ok((outcome, ended.work))
}

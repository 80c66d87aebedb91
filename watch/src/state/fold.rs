//! What is known of a flow after some of its events: a fold over them, twelve cells wide.

use ndra_core::event::{Phase, Step};

use super::failure::{self, Failure};
use super::log::Rec;

/// How many steps a flow has.
pub const STEPS: usize = Step::ALL.len();

/// What a step cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Not begun.
    Waiting,
    /// Begun, not ended.
    Running,
    /// Ended well.
    Done,
    /// Ended badly, and not tried again since.
    Failed,
    /// Never seen, though a later step was.
    Skipped,
}

/// One step of one flow.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    status: Status,
    open: u16,
    /// How often it ended, well or badly.
    pub runs: u16,
    /// How often it failed.
    pub fails: u16,
    /// Did the newest run end badly?
    failed: bool,
    /// Index of the newest failure's kind.
    pub(crate) failure: u8,
    /// When the newest run began, nanoseconds since 1970.
    pub began: i64,
    /// When the newest run ended.
    pub ended: i64,
    /// Microseconds that the newest ended run took.
    pub took_us: u64,
}

impl Cell {
    const EMPTY: Self = Self {
        status: Status::Waiting,
        open: 0,
        runs: 0,
        fails: 0,
        failed: false,
        failure: 0,
        began: 0,
        ended: 0,
        took_us: 0,
    };

    fn seen(&self) -> bool {
        self.runs > 0 || self.open > 0
    }
}

/// Where a flow stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A step failed and no attempt has gone well since. A flow that ended without ever
    /// having been ready stays here.
    Failed,
    /// A step runs for longer than it should.
    Hanging,
    /// On the way to an interface, or on the way out.
    Moving,
    /// The interface is there.
    Ready,
    /// Unprepared.
    Ended,
}

/// The fold. Small and flat: one for each flow, made again for each jump in time.
#[derive(Clone, Copy, Debug)]
pub struct FlowState {
    cells: [Cell; STEPS],
    /// How many events went in.
    pub events: u32,
    /// Time of the first event.
    pub first: i64,
    /// Time of the newest event.
    pub last: i64,
    /// When the hook's call first went well: every interface of the claim is there.
    pub ready: i64,
    /// Containers that came again in one sandbox, and sandboxes made anew.
    pub restarts: u16,
    /// Prepared again after having been unprepared.
    pub rounds: u16,
    sandbox: u32,
    containers: [u32; 4],
    attached: [u32; 4],
    /// Of a claim that is leaving: what was attached until then.
    had: [u32; 4],
    releasing: [u32; 4],
    newest: Option<Step>,
    troubles: [Option<Trouble>; 4],
}

/// The first failure of the newest attempt of one part of a flow.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    step: Step,
    failure: u8,
    /// A new attempt has begun since; its first failure takes this one's place.
    stale: bool,
}

/// The parts of a flow that are tried, and fail, as a whole.
fn part(step: Step, leaving: bool) -> usize {
    match step {
        Step::Prepare | Step::CdiWrite | Step::Prepared => 1,
        Step::Status => 3,
        Step::Unprepare | Step::CdiRemove => 2,
        Step::CniDel if leaving => 2,
        _ => 0,
    }
}

impl Default for FlowState {
    fn default() -> Self {
        Self {
            cells: [Cell::EMPTY; STEPS],
            events: 0,
            first: 0,
            last: 0,
            ready: 0,
            restarts: 0,
            rounds: 0,
            sandbox: 0,
            containers: [0; 4],
            attached: [0; 4],
            had: [0; 4],
            releasing: [0; 4],
            newest: None,
            troubles: [None; 4],
        }
    }
}

/// A step that runs longer than this hangs.
pub const HANGS_AFTER: i64 = 10_000_000_000;

impl FlowState {
    /// Takes the flow's next event in.
    pub(crate) fn apply(&mut self, rec: &Rec) {
        if self.events == 0 {
            self.first = rec.at;
        }
        self.events = self.events.saturating_add(1);
        self.last = self.last.max(rec.at);
        self.newest = Some(rec.step);
        if rec.phase == Phase::Begin {
            self.begin(rec);
        } else {
            self.end(rec);
        }
    }

    fn begin(&mut self, rec: &Rec) {
        use Step::{CniAdd, CniDel, Prepare, Unprepare};
        if rec.step == Prepare && self.cells[index(Step::CdiRemove)].status == Status::Done {
            *self = Self {
                events: self.events,
                first: self.first,
                last: self.last,
                ready: 0,
                restarts: self.restarts,
                rounds: self.rounds.saturating_add(1),
                newest: self.newest,
                ..Self::default()
            };
        }
        // A new attempt makes what failed inside the last one a thing of the past.
        let inside = match rec.step {
            Prepare => index(Step::CdiWrite)..=index(Step::Prepared),
            Unprepare => index(CniDel)..=index(Step::CdiRemove),
            step if (Step::CreateContainer..CniAdd).contains(&step) => {
                index(step) + 1..=index(CniAdd)
            }
            step => index(step)..=index(step),
        };
        let trouble = &mut self.troubles[part(rec.step, self.leaving())];
        let again = trouble.is_some();
        for cell in &mut self.cells[inside] {
            // What went well in an attempt that failed is done over. Elsewhere it stands:
            // another container of a pod takes nothing from the first.
            if cell.status == Status::Failed || again && cell.status == Status::Done {
                cell.status = Status::Waiting;
            }
        }
        let opens = matches!(rec.step, Prepare | Unprepare | Step::Status)
            || (Step::CreateContainer..=Step::Callback).contains(&rec.step);
        if let Some(trouble) = trouble
            && opens
        {
            trouble.stale = true;
        }
        if rec.step == Unprepare {
            self.had = self.attached;
        }
        if rec.step == CniAdd && !self.leaving() {
            // The DEL before it cleared the way.
            self.cells[index(CniDel)].status = Status::Waiting;
        }
        if rec.step == CniDel {
            put(&mut self.releasing, rec.tag);
        }
        let cell = &mut self.cells[index(rec.step)];
        cell.open = cell.open.saturating_add(1);
        cell.began = rec.at;
        cell.status = Status::Running;
    }

    fn end(&mut self, rec: &Rec) {
        let leaving = self.leaving();
        let failed = rec.phase == Phase::Fail;
        let cell = &mut self.cells[index(rec.step)];
        cell.open = cell.open.saturating_sub(1);
        cell.runs = cell.runs.saturating_add(1);
        cell.ended = rec.at;
        if let Some(took) = rec.took() {
            cell.took_us = took;
            if cell.began == 0 {
                let back = i64::try_from(took).unwrap_or(i64::MAX).saturating_mul(1000);
                cell.began = rec.at.saturating_sub(back);
            }
        }
        cell.failed = failed;
        if failed {
            cell.fails = cell.fails.saturating_add(1);
            cell.failure = rec.failure;
        }
        cell.status = match (failed, cell.open) {
            (true, _) => Status::Failed,
            (false, 0) if rec.step == Step::CniDel && !leaving => Status::Waiting,
            (false, 0) => Status::Done,
            (false, _) => Status::Running,
        };
        let part = part(rec.step, leaving);
        if failed {
            let trouble = &mut self.troubles[part];
            if trouble.is_none_or(|trouble| trouble.stale) {
                *trouble = Some(Trouble {
                    step: rec.step,
                    failure: rec.failure,
                    stale: false,
                });
            }
            return;
        }
        match rec.step {
            Step::Callback => {
                self.count_restart(rec);
                self.troubles[part] = None;
                if self.ready == 0 {
                    self.ready = rec.at;
                }
            }
            Step::CniAdd => put(&mut self.attached, rec.tag),
            Step::CniDel => {
                // The end of a DEL does not say of what: of the one that began first.
                let open = self.releasing.iter().find(|tag| **tag != 0).copied();
                let tag = if rec.tag != 0 {
                    rec.tag
                } else {
                    open.unwrap_or(0)
                };
                take(&mut self.releasing, tag);
                take(&mut self.attached, tag);
            }
            _ => {}
        }
        let gone = self.cells[index(Step::Unprepare)].status == Status::Done;
        let released = self.cells[index(Step::CniDel)].status != Status::Failed;
        match rec.step {
            Step::Prepare | Step::Status => self.troubles[part] = None,
            // What could not be released is an orphan, and worked off later.
            Step::Unprepare | Step::CniDel if gone && released => {
                // The end mends nothing: why there never was an interface stays to be seen.
                let kept = if self.ready == 0 { 2 } else { 0 };
                self.troubles[kept..].fill(None);
            }
            _ => {}
        }
    }

    fn count_restart(&mut self, rec: &Rec) {
        let another = self.sandbox != 0 && rec.sandbox != 0 && self.sandbox != rec.sandbox;
        if another {
            self.containers = [0; 4];
        }
        if another || self.containers.contains(&rec.tag) && rec.tag != 0 {
            self.restarts = self.restarts.saturating_add(1);
        }
        if rec.sandbox != 0 {
            self.sandbox = rec.sandbox;
        }
        put(&mut self.containers, rec.tag);
    }

    fn leaving(&self) -> bool {
        self.cells[index(Step::Unprepare)].seen()
    }

    /// A step's cell.
    pub fn cell(&self, step: Step) -> &Cell {
        &self.cells[index(step)]
    }

    /// What a step's cell shows. A step that was never seen although a later one was
    /// counts as skipped: it happened elsewhere, or not at all.
    pub fn status(&self, step: Step) -> Status {
        let cell = self.cell(step);
        if cell.status != Status::Waiting {
            return cell.status;
        }
        if cell.seen() {
            // Nothing is waited for after the end: what was begun anew and not reached
            // stands as it was left. A claim that is unprepared has no CDI spec.
            return match (self.is_unprepared(), cell.failed && step != Step::CdiRemove) {
                (true, true) => Status::Failed,
                (true, false) => Status::Done,
                (false, _) => Status::Waiting,
            };
        }
        // `status` is not waited for; only the end of the claim passes it over.
        let passed = if step == Step::Status {
            index(Step::Unprepare)
        } else {
            index(step) + 1
        };
        let later = self.cells[passed..].iter().enumerate().any(|(at, cell)| {
            let teardown = passed + at >= index(Step::Unprepare);
            let early_del = passed + at == index(Step::CniDel) && !self.leaving();
            cell.seen() && !(early_del && teardown)
        });
        if later {
            Status::Skipped
        } else {
            Status::Waiting
        }
    }

    /// How the flow stands at the moment `now`.
    pub fn stage(&self, now: i64) -> Stage {
        if self.root_failure().is_some() {
            return Stage::Failed;
        }
        let running = self.running();
        // Nobody waits for the status write, but one that hangs is worth a look.
        let busy = running.filter(|step| *step != Step::Status);
        if let Some(step) = running
            && now.saturating_sub(self.cell(step).began) > HANGS_AFTER
        {
            return Stage::Hanging;
        }
        if self.status(Step::Unprepare) == Status::Done {
            return Stage::Ended;
        }
        let out = self.leaving();
        if !out && self.status(Step::CniAdd) == Status::Done && busy.is_none() {
            return Stage::Ready;
        }
        Stage::Moving
    }

    /// The step that failed first in the newest attempt: the cause of the failures after
    /// it. Stays until an attempt goes well, so that a row does not flicker between tries.
    pub fn root_failure(&self) -> Option<Step> {
        self.trouble().map(|trouble| trouble.step)
    }

    /// The kind of the root failure.
    pub fn failure_kind(&self) -> Option<&'static Failure> {
        self.root_kind().map(failure::kind)
    }

    /// Index of the root failure's kind.
    pub(crate) fn root_kind(&self) -> Option<u8> {
        self.trouble().map(|trouble| trouble.failure)
    }

    /// Has a new attempt begun since the root failure?
    pub fn retrying(&self) -> bool {
        !self.ended() && self.trouble().is_some_and(|trouble| trouble.stale)
    }

    /// Is it unprepared, well or not? No attempt follows.
    pub fn ended(&self) -> bool {
        self.is_unprepared() && self.running().is_none()
    }

    fn is_unprepared(&self) -> bool {
        self.cell(Step::Unprepare).status == Status::Done
    }

    fn trouble(&self) -> Option<Trouble> {
        self.troubles.iter().copied().flatten().next()
    }

    /// The innermost step that runs.
    pub fn running(&self) -> Option<Step> {
        let runs = |step: &Step| self.cell(*step).status == Status::Running;
        Step::ALL
            .iter()
            .copied()
            .filter(|step| runs(step) && *step != Step::Status)
            .max_by_key(|step| (self.cell(*step).began, index(*step)))
            .or_else(|| Some(Step::Status).filter(runs))
    }

    /// The step that a person asks about: what failed, else what runs, else the newest.
    pub fn current(&self) -> Option<Step> {
        self.root_failure()
            .or_else(|| self.running())
            .or(self.newest)
    }

    /// Nanoseconds from the first event until the interface was there, or until `now`
    /// (at most until the newest event, if nothing runs) while it is not.
    pub fn total(&self, now: i64) -> i64 {
        let end = if self.ready != 0 {
            self.ready
        } else if self.running().is_some() {
            now.max(self.last)
        } else {
            self.last
        };
        end.saturating_sub(self.first).max(0)
    }

    /// Is the interface with this tag attached?
    pub(crate) fn holds(&self, tag: u32) -> bool {
        self.attached.contains(&tag)
    }

    /// Was the interface with this tag attached until the claim was unprepared?
    pub(crate) fn held(&self, tag: u32) -> bool {
        self.had.contains(&tag)
    }

    /// Did any step ever fail?
    pub fn ever_failed(&self) -> bool {
        self.cells.iter().any(|cell| cell.fails > 0)
    }
}

/// A step's place among the cells.
pub(super) fn index(step: Step) -> usize {
    step as usize
}

fn put(set: &mut [u32; 4], tag: u32) {
    if tag == 0 || set.contains(&tag) {
        return;
    }
    match set.iter_mut().find(|slot| **slot == 0) {
        Some(slot) => *slot = tag,
        None => {
            set.rotate_left(1);
            set[3] = tag;
        }
    }
}

fn take(set: &mut [u32; 4], tag: u32) {
    for slot in set.iter_mut().filter(|slot| **slot == tag) {
        *slot = 0;
    }
}

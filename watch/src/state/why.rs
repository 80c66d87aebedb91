//! What is the matter with the selected flow: the cause of its failure, or what it waits for.

use ndra_core::event::{Phase, Step};

use super::entry::brought;
use super::failure::{self, Failure};
use super::{Flow, HANGS_AFTER, Model, Stage, Status};

/// What a person needs to know about the selected flow first.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Why {
    /// Nothing.
    #[default]
    Well,
    /// A step failed.
    Failed {
        /// The one that failed first; the others failed because of it.
        step: Step,
        /// Its error, or nothing if that has been given up.
        error: String,
        /// What it means and what to do.
        kind: &'static Failure,
        /// Is it being tried again?
        retrying: bool,
        /// Is the claim unprepared since?
        ended: bool,
        /// How often this step has failed.
        times: u16,
    },
    /// A step runs, and for long.
    Hanging {
        /// The innermost one.
        step: Step,
        /// For how long, in nanoseconds.
        time: i64,
    },
    /// Prepared, and then nothing: no hook has run.
    NoHook {
        /// For how long, in nanoseconds.
        time: i64,
    },
}

impl Model {
    pub(super) fn make_why(&mut self) {
        self.why = self
            .selected()
            .map_or(Why::Well, |flow| self.why_of(flow, self.now()));
    }

    fn why_of(&self, flow: &Flow, now: i64) -> Why {
        let state = &flow.state;
        if let Some(step) = state.root_failure() {
            let limit = self.clock.limit();
            let found = self
                .log
                .chained_back(flow.chain)
                .filter(|(_, rec)| limit.is_none_or(|limit| rec.key() <= limit))
                .find(|(_, rec)| rec.phase == Phase::Fail && rec.step == step);
            let error = found
                .and_then(|(_, rec)| brought(&self.log.payloads, rec.payload))
                .map_or(String::new(), |brought| brought.error.to_owned());
            let index = state.root_kind().unwrap_or(0);
            return Why::Failed {
                step,
                error,
                kind: failure::kind(index),
                retrying: state.retrying(),
                ended: state.ended(),
                times: state.cell(step).fails,
            };
        }
        if state.stage(now) == Stage::Hanging
            && let Some(step) = state.running()
        {
            let time = now.saturating_sub(state.cell(step).began);
            return Why::Hanging { step, time };
        }
        let prepared = state.cell(Step::Prepare);
        let time = now.saturating_sub(prepared.ended);
        if state.status(Step::Prepare) == Status::Done
            && state.running().is_none()
            && time > HANGS_AFTER
            && (Step::CreateContainer as usize..Step::ALL.len())
                .all(|at| state.status(Step::ALL[at]) == Status::Waiting)
        {
            return Why::NoHook { time };
        }
        Why::Well
    }
}

//! The table of flows: filtered, sorted, grouped.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ndra_core::event::Phase;

use super::action::{Grouping, Sort};
use super::entry::brought;
use super::{Flow, FlowId, Model, Stage};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The head of a group.
    Group {
        /// What its flows have in common.
        name: String,
        /// How many there are.
        flows: usize,
        /// How many of them failed.
        failed: usize,
    },
    /// A flow.
    Flow(FlowId),
}

/// The table of flows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// From top to bottom.
    pub list: Vec<Row>,
    /// How many flows are shown.
    pub shown: usize,
    /// How many there are.
    pub all: usize,
    stages: [usize; 5],
}

impl Rows {
    /// How many flows, shown or not, are at a stage.
    pub fn at(&self, stage: Stage) -> usize {
        self.stages[stage as usize]
    }

    /// The row of a flow.
    pub fn index(&self, id: FlowId) -> Option<usize> {
        self.list.iter().position(|row| *row == Row::Flow(id))
    }

    /// The flow in a row.
    pub fn flow(&self, index: usize) -> Option<FlowId> {
        match self.list.get(index)? {
            Row::Flow(id) => Some(*id),
            Row::Group { .. } => None,
        }
    }
}

impl Model {
    /// Makes the table anew.
    pub(super) fn make_rows(&mut self) {
        let now = self.now();
        let mut rows = Rows::default();
        let mut found: Vec<(Stage, FlowId)> = Vec::new();
        for (at, flow) in self.flows.iter().enumerate() {
            let Some(flow) = flow else { continue };
            // It has not begun at this moment.
            if flow.state.events == 0 {
                continue;
            }
            let stage = flow.state.stage(now);
            rows.all += 1;
            rows.stages[stage as usize] += 1;
            if self.passes(flow, now) {
                found.push((stage, FlowId(u32::try_from(at).unwrap_or(u32::MAX))));
            }
        }
        rows.shown = found.len();
        self.sort(&mut found, now);
        self.group(found, &mut rows);
        self.rows = rows;
    }

    fn passes(&self, flow: &Flow, now: i64) -> bool {
        let filter = &self.look.filter;
        if filter.is_empty() {
            return true;
        }
        let errors = if filter.reads_errors() && flow.state.ever_failed() {
            self.error_texts(flow)
        } else {
            String::new()
        };
        filter.shows(flow, self.node_name(flow), now, &errors)
    }

    fn error_texts(&self, flow: &Flow) -> String {
        let limit = self.clock.limit();
        let mut texts = String::new();
        for (_, rec) in self.log.chained(flow.chain) {
            if limit.is_some_and(|limit| rec.key() > limit) {
                break;
            }
            if rec.phase == Phase::Fail
                && let Some(brought) = brought(&self.log.payloads, rec.payload)
            {
                texts.push_str(&brought.error.to_lowercase());
                texts.push('\n');
            }
        }
        texts
    }

    fn sort(&self, found: &mut [(Stage, FlowId)], now: i64) {
        let flow = |id: FlowId| self.flow(id);
        let first = |id: FlowId| flow(id).map_or(0, |flow| flow.state.first);
        match self.look.sort {
            Sort::Attention => {
                // Of those that failed, the ones that can still be helped come first.
                let ended = |id: FlowId| flow(id).is_some_and(|flow| flow.state.ended());
                found.sort_by_cached_key(|(stage, id)| {
                    (*stage, ended(*id), Reverse(first(*id)), *id)
                });
            }
            Sort::Newest => found.sort_by_cached_key(|(_, id)| (Reverse(first(*id)), *id)),
            Sort::Pod => found.sort_by_cached_key(|(_, id)| {
                let pod = flow(*id).and_then(|flow| flow.pods.first().cloned());
                (pod, *id)
            }),
            Sort::Claim => found.sort_by_cached_key(|(_, id)| {
                let claim = flow(*id).map(|flow| (flow.namespace.clone(), flow.claim.clone()));
                (claim, *id)
            }),
            Sort::Total => found.sort_by_cached_key(|(_, id)| {
                let total = flow(*id).map_or(0, |flow| flow.state.total(now));
                (Reverse(total), *id)
            }),
            Sort::Restarts => found.sort_by_cached_key(|(_, id)| {
                let restarts = flow(*id).map_or(0, |flow| flow.state.restarts);
                (Reverse(restarts), Reverse(first(*id)), *id)
            }),
        }
        if self.look.reverse {
            found.reverse();
        }
    }

    fn group(&self, found: Vec<(Stage, FlowId)>, rows: &mut Rows) {
        if self.look.grouping == Grouping::None {
            rows.list = found.into_iter().map(|(_, id)| Row::Flow(id)).collect();
            return;
        }
        // Groups stand in the order of their first flows.
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut groups: Vec<(String, Vec<(Stage, FlowId)>)> = Vec::new();
        for (stage, id) in found {
            let name = self.flow(id).map_or(String::new(), |flow| {
                let name = match self.look.grouping {
                    Grouping::Pod => flow.pods.first().map_or("", |pod| &**pod),
                    Grouping::Namespace => flow.pod_namespace(),
                    Grouping::Node | Grouping::None => self.node_name(flow),
                };
                name.to_owned()
            });
            let place = *places.entry(name.clone()).or_insert_with(|| {
                groups.push((name, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push((stage, id));
        }
        for (name, flows) in groups {
            let failed = flows.iter().filter(|(s, _)| *s == Stage::Failed).count();
            rows.list.push(Row::Group {
                name,
                flows: flows.len(),
                failed,
            });
            rows.list
                .extend(flows.into_iter().map(|(_, id)| Row::Flow(id)));
        }
    }
}

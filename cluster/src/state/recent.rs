//! Outcomes of the last commands, so that a retried one applies once.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::apply::Outcome;

/// Commands remembered. A retry follows its first try within seconds; at a thousand changes a second this is four of
/// them, and far more in any real cluster.
const RECENT_MAX: usize = 4096;

/// The last commands in the order of the log, and what became of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recent {
    order: VecDeque<[u8; 16]>,
    outcomes: BTreeMap<[u8; 16], Outcome>,
}

impl Recent {
    pub(crate) fn outcome(&self, command: &[u8; 16]) -> Option<&Outcome> {
        self.outcomes.get(command)
    }

    pub(crate) fn remember(&mut self, command: [u8; 16], outcome: Outcome) {
        if self.outcomes.insert(command, outcome).is_none() {
            self.order.push_back(command);
        }
        while self.order.len() > RECENT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.outcomes.remove(&oldest);
            }
        }
    }
}

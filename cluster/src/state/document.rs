//! Sites and zones as the operator wrote them. The cluster knows their names and hosts; the node parses the text.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many earlier revisions a document keeps.
pub(crate) const HISTORY_MAX: usize = 10;

/// A site or zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// The hosts it claims (sites), lower case; no other site may claim one of them. Empty for zones.
    pub hosts: Vec<String>,
    /// TOML, as written.
    pub text: String,
    /// The log index that set it.
    pub revision: u64,
    /// Who set it.
    pub author: String,
    /// When, by state time: milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// Earlier revisions, newest first, ten deep.
    pub history: VecDeque<Revision>,
}

/// An earlier text of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The log index that set it.
    pub revision: u64,
    /// Who set it.
    pub author: String,
    /// When, by state time: milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// TOML, as written.
    pub text: String,
}

impl Document {
    /// Bytes of its text, now and earlier.
    pub(crate) fn bytes(&self) -> usize {
        let earlier: usize = self.history.iter().map(|old| old.text.len()).sum();
        self.text.len() + earlier
    }

    /// The next revision of this document: what is in force now moves to the head of the history.
    pub(crate) fn succeeded_by(&self, mut next: Self) -> Self {
        next.history.clone_from(&self.history);
        next.history.push_front(Revision {
            revision: self.revision,
            author: self.author.clone(),
            changed_ms: self.changed_ms,
            text: self.text.clone(),
        });
        next.history.truncate(HISTORY_MAX);
        next
    }
}

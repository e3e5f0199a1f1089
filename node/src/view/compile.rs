//! State → [`View`]: what Raft agreed on, compiled each time it changes.
//!
//! [`Publisher`] is told of every applied entry inside its application. When it returns, the change is in force on
//! this node: the purge is in the book, the view is swapped, and only then does the fill index advance.

use std::collections::HashMap;
use std::sync::Arc;

use nearside_cluster::{Change, Document, Member, Observer, State};
use nearside_geo::Point;
use parking_lot::Mutex;

use super::{NodeView, PurgeBook, View, Views};
use crate::config::site::Site;
use crate::config::zone::Zone;
use crate::config::{site_file, zone_file};

/// Compiles states and puts them in force.
pub struct Publisher {
    views: Arc<Views>,
    book: Arc<PurgeBook>,
    /// The site that the command line made (`serve`): stands for the document of its name.
    pinned: Option<Arc<Site>>,
    compiled: Mutex<Compiled>,
}

/// What was compiled before, so that a change costs what it touches and a request keeps its `Arc`.
#[derive(Default)]
struct Compiled {
    sites: HashMap<String, Arc<Site>>,
    zones: HashMap<String, Arc<Zone>>,
}

impl Publisher {
    /// A publisher into `views` and `book`.
    #[must_use]
    pub fn new(views: Arc<Views>, book: Arc<PurgeBook>, pinned: Option<Arc<Site>>) -> Self {
        Self {
            views,
            book,
            pinned,
            compiled: Mutex::default(),
        }
    }

    fn compile(&self, state: &State) {
        let mut compiled = self.compiled.lock();
        let sites = recompile(&state.sites, &mut compiled.sites, "site", |document| {
            if let Some(site) = self
                .pinned
                .as_ref()
                .filter(|site| *site.name == *document.name)
            {
                return Ok(Arc::clone(site));
            }
            let mut site = site_file::parse(&document.text, &document.name)?;
            site.revision = document.revision;
            Ok(Arc::new(site))
        });
        let zones = recompile(&state.zones, &mut compiled.zones, "zone", |document| {
            let mut zone = zone_file::parse(&document.text, &document.name)?;
            zone.revision = document.revision;
            Ok(Arc::new(zone))
        });
        let nodes = state.members.values().map(node).collect();
        self.views
            .store(Arc::new(View::new(state.applied, sites, zones, nodes)));
    }

    fn take_purges(&self, state: &State) {
        let sites = state
            .purges
            .iter()
            .map(|(site, purges)| (site.as_str(), purges));
        self.book.set_all(sites, state.purge_floor);
    }
}

impl Observer for Publisher {
    fn restored(&self, state: &Arc<State>) {
        self.take_purges(state);
        self.compile(state);
        self.book.advance(state.applied);
    }

    fn applied(&self, index: u64, change: Option<&Change>, state: &Arc<State>) {
        match change {
            Some(Change::Purged(purge)) => {
                if let Some(purges) = state.purges.get(&purge.site) {
                    self.book.purged(&purge.site, &purge.scope, index, purges);
                }
            }
            Some(Change::JoinTokenMade(_) | Change::JoinTokenRevoked { .. }) | None => {}
            Some(_) => {
                self.take_purges(state);
                self.compile(state);
            }
        }
        self.book.advance(index);
    }
}

/// Revision of something compiled from a document.
trait Revised {
    fn revision(&self) -> u64;
}

impl Revised for Site {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Revised for Zone {
    fn revision(&self) -> u64 {
        self.revision
    }
}

/// Compiles the documents whose revision is new and keeps the rest. A document was checked before it was proposed; one
/// that this build cannot read (a newer node wrote it) leaves what was in force before, and says so.
fn recompile<T: Revised>(
    documents: &std::collections::BTreeMap<String, Arc<Document>>,
    compiled: &mut HashMap<String, Arc<T>>,
    kind: &str,
    parse: impl Fn(&Document) -> Result<Arc<T>, crate::config::ConfigError>,
) -> Vec<Arc<T>> {
    compiled.retain(|name, _| documents.contains_key(name));
    for (name, document) in documents {
        if compiled
            .get(name)
            .is_some_and(|old| old.revision() == document.revision)
        {
            continue;
        }
        match parse(document) {
            Ok(new) => {
                compiled.insert(name.clone(), new);
            }
            Err(error) => tracing::error!(
                kind,
                name,
                revision = document.revision,
                %error,
                "cannot compile a document, keeping the earlier one"
            ),
        }
    }
    documents
        .keys()
        .filter_map(|name| compiled.get(name))
        .cloned()
        .collect()
}

fn node(member: &Member) -> NodeView {
    NodeView {
        id: member.id.0,
        name: member.name.as_str().into(),
        region: member.region.as_str().into(),
        point: member
            .latitude
            .zip(member.longitude)
            .and_then(|(lat, lon)| Point::new(lat, lon)),
        ipv4: member.ipv4,
        ipv6: member.ipv6,
        draining: member.draining,
    }
}

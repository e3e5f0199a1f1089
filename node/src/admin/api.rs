//! What goes over the wire, shared by the API and the command line.

use nearside_cluster::{MemberStatus, Receipt as ClusterReceipt, ReceiptOutcome, Status};
use serde::{Deserialize, Serialize};

/// `GET /api/v1/route?address=ADDRESS[&host=HOST]` answers a [`RouteReport`]: every node in order, as DNS would.
pub use crate::dns::{PlaceReport, RouteReport};
/// `POST /api/v1/explain` takes a [`Question`] and answers an [`Explanation`]; it changes nothing.
pub use crate::proxy::{Explanation, PrefetchResult, Prefetched, Question};

/// The media type of every body, either way, but for errors.
pub const JSON: &str = "application/json";
/// The media type of errors (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Documents in one request at most.
pub const DOCUMENTS_MAX: usize = 256;

/// An error (RFC 9457). `type` is always `about:blank`: the status says the kind, the detail what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong, where, and what to do, in one line.
    pub detail: String,
}

/// `GET /api/v1/status`: the cluster's status with what this node serves beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The cluster as this node sees it.
    #[serde(flatten)]
    pub cluster: Status,
    /// This node's region.
    pub region: String,
    /// The program's version.
    pub version: String,
    /// Since this node started, milliseconds.
    pub uptime_ms: u64,
    /// May it get traffic?
    pub ready: bool,
    /// Why it is not ready: `starting`, `no view` or `draining`.
    pub not_ready_because: Option<String>,
    /// The log index that the data plane serves.
    pub generation: u64,
    /// Sites that it serves.
    pub sites: usize,
    /// Zones that it answers for.
    pub zones: usize,
}

/// `GET /api/v1/members`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Members {
    /// In the order of their ids.
    pub members: Vec<MemberFacts>,
    /// False: this node sees no majority, so `healthy` is what was last agreed.
    pub liveness_trusted: bool,
}

/// A member, with what it said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// As `status` says it.
    #[serde(flatten)]
    pub status: MemberStatus,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// What A answers say.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// What AAAA answers say.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// True for the leader, as far as this node knows.
    pub leader: bool,
}

/// How long a write waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Until a quorum holds it.
    Committed,
    /// Until every live node has applied it.
    #[default]
    Applied,
}

/// What every write may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// Who asks, for the record.
    pub author: Option<String>,
    /// How long to wait for others.
    pub wait: Wait,
    /// At most how long, milliseconds; none: ten seconds.
    pub timeout_ms: Option<u64>,
}

/// `POST /api/v1/sites` and `/zones`: documents that are set together, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// In order; no name twice.
    pub documents: Vec<ApplyDocument>,
    /// Check only; nothing changes.
    #[serde(default)]
    pub dry_run: bool,
    /// Who, and how long to wait.
    #[serde(default)]
    pub options: WriteOptions,
}

/// A document to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyDocument {
    /// What the operator calls the text, for errors: a file's name.
    #[serde(default)]
    pub file: Option<String>,
    /// TOML.
    pub text: String,
    /// Refused unless this is its revision; 0: unless it does not exist.
    #[serde(default)]
    pub expected_revision: Option<u64>,
}

/// `PUT /api/v1/sites/NAME` and `/zones/NAME`. The expected revision is the request's `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// TOML.
    pub text: String,
    /// Who, and how long to wait.
    #[serde(default)]
    pub options: WriteOptions,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The log index of the change; none for a dry run.
    pub index: Option<u64>,
    /// Names of the documents, or the one thing that was changed.
    pub names: Vec<String>,
    /// What is odd about the change, but no reason to refuse it.
    pub warnings: Vec<String>,
    /// What each node says; empty unless it was waited for.
    pub receipts: Vec<Receipt>,
    /// Live nodes that have not applied it in time.
    pub missing: Vec<String>,
}

/// A site or zone in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentFacts {
    /// Its name.
    pub name: String,
    /// Its hosts (sites).
    pub hosts: Vec<String>,
    /// The log index that set it.
    pub revision: u64,
    /// Who set it.
    pub author: String,
    /// When, milliseconds since the Unix epoch.
    pub changed_ms: u64,
}

/// `GET /api/v1/sites` and `/zones`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// In the order of their names.
    pub documents: Vec<DocumentFacts>,
}

/// `GET /api/v1/sites/NAME` and `/zones/NAME`; the revision is its `ETag` too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentText {
    /// As in the list.
    #[serde(flatten)]
    pub facts: DocumentFacts,
    /// TOML, as written.
    pub text: String,
}

/// `POST /api/v1/purges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// One URL, all its variants: `https://host/path?query`.
    #[serde(default)]
    pub url: Option<String>,
    /// A site: with neither of the next two, everything of it.
    #[serde(default)]
    pub site: Option<String>,
    /// Of the site what begins so: `/path`, at any host of it, or `host/path`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Of the site what carries this tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// Stale instead of gone.
    #[serde(default)]
    pub soft: bool,
    /// Who, and how long to wait.
    #[serde(default)]
    pub options: WriteOptions,
}

/// URLs in one prefetch at most.
pub const PREFETCH_URLS_MAX: usize = 1024;
/// Requests of one prefetch at once, at most.
pub const PREFETCH_AT_ONCE_MAX: usize = 64;

/// `POST /api/v1/prefetch`: URLs that this node fetches through its cache. Answered by a [`PrefetchReport`] when all
/// are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefetch {
    /// Whose URLs they are.
    pub site: String,
    /// With their scheme; or paths of the site's first host.
    pub urls: Vec<String>,
    /// Requests at once; none: eight.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Request fields: name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// What became of the URLs of a prefetch, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefetchReport {
    /// The node whose cache it was.
    pub node: String,
    /// One for each URL.
    pub results: Vec<Prefetched>,
}

/// The answer to a purge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Purged {
    /// Its log index: entries filled before it are unusable.
    pub index: u64,
    /// The site.
    pub site: String,
    /// What of it: `host/path?query`. None of this and the next two: everything.
    pub url: Option<String>,
    /// What begins so.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What carries this tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// Stale instead of gone.
    pub soft: bool,
    /// From the submission until a quorum held it, milliseconds.
    pub committed_ms: f64,
    /// What each node says; empty unless it was waited for.
    pub receipts: Vec<Receipt>,
    /// Live nodes that have not applied it in time.
    pub missing: Vec<String>,
    /// Nodes believed to be down: they apply it once they are back.
    pub down: Vec<String>,
}

/// Whether one node has applied a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its name.
    pub node: String,
    /// Its id.
    pub id: u64,
    /// What is known of it.
    pub outcome: Outcome,
    /// From submission to application there, milliseconds.
    pub ms: Option<f64>,
}

/// What is known of one node and one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Visible to its next request.
    Applied,
    /// Up, and has not said so in time.
    Missing,
    /// Believed to be down.
    Down,
}

impl From<ClusterReceipt> for Receipt {
    fn from(receipt: ClusterReceipt) -> Self {
        let (outcome, ms) = match receipt.outcome {
            ReceiptOutcome::Applied { ms } => {
                (Outcome::Applied, Some((ms * 100.0).round() / 100.0))
            }
            ReceiptOutcome::Missing => (Outcome::Missing, None),
            ReceiptOutcome::Down => (Outcome::Down, None),
        };
        Self {
            node: receipt.node,
            id: receipt.id.0,
            outcome,
            ms,
        }
    }
}

/// `POST /api/v1/join-tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewToken {
    /// Usable this long, milliseconds; none: an hour.
    pub ttl_ms: Option<u64>,
    /// By so many nodes; none: one.
    pub uses: Option<u32>,
    /// Who asks.
    pub author: Option<String>,
}

/// Its answer: the only time the token is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeToken {
    /// Give this to the joining node.
    pub token: String,
}

/// `GET /api/v1/join-tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Those that can still be used, and those whose time is over until they are revoked.
    pub tokens: Vec<TokenFacts>,
}

/// A join token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// Its public part.
    pub id: String,
    /// Unusable from here on, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// How many nodes may still join with it.
    pub uses_left: u32,
    /// Who made it.
    pub author: String,
}

/// `POST /api/v1/members/NAME/drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// True: be emptied; false: be taken back.
    pub draining: bool,
}

/// `GET /api/v1/geo?address=ADDRESS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoAnswer {
    /// What was asked.
    pub address: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: PlaceReport,
    /// The databases that were asked, in words.
    pub databases: String,
}

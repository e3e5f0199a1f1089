//! `nearside purge`.

use clap::Args;

use super::arguments::Global;
use super::client::Client;
use super::documents::Waiting;
use super::failure::Failure;
use super::output::{self, Cell, Table, Tone, milliseconds};
use crate::admin::api::{Outcome, PurgeRequest, Purged, Receipt};

/// Arguments of `purge`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["url", "all", "prefix", "tag"])]
pub struct Arguments {
    /// One URL, with all its variants
    #[arg(conflicts_with = "site")]
    pub url: Option<String>,
    /// A site, of which --all, a --prefix or a --tag is purged
    #[arg(long, requires = "what", value_name = "NAME")]
    pub site: Option<String>,
    /// Everything of --site
    #[arg(long, requires = "site")]
    pub all: bool,
    /// Of --site what begins so: a path like /blog/, at any of its hosts, or shop.example/blog/
    #[arg(long, requires = "site", value_name = "PATH")]
    pub prefix: Option<String>,
    /// Of --site what its origin has tagged so (Cache-Tag, Surrogate-Key, xkey)
    #[arg(long, requires = "site", value_name = "TAG")]
    pub tag: Option<String>,
    /// Make it stale instead of gone: it may still answer while it is asked for anew, or when no origin answers
    #[arg(long)]
    pub soft: bool,
    /// How long to wait for the other nodes
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let request = PurgeRequest {
        url: arguments.url,
        site: arguments.site,
        prefix: arguments.prefix,
        tag: arguments.tag,
        soft: arguments.soft,
        options: arguments.waiting.options(),
    };
    let purged: Purged = client
        .post("/api/v1/purges", &request, arguments.waiting.timeout)
        .await?;
    if global.json {
        output::json(&purged)?;
    } else {
        output::text(&told(&purged))?;
    }
    if purged.missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "not applied within {} on {}; the purge stands, and they apply it when they can",
        humantime::format_duration(arguments.waiting.timeout),
        purged.missing.join(", ")
    )))
}

fn told(purged: &Purged) -> String {
    let site = &purged.site;
    let what = match (&purged.url, &purged.prefix, &purged.tag) {
        (Some(url), _, _) => url.clone(),
        (_, Some(prefix), _) => format!("what begins with {prefix} of the site {site}"),
        (_, _, Some(tag)) => format!("what is tagged {tag} of the site {site}"),
        (None, None, None) => format!("everything of the site {site}"),
    };
    let how = if purged.soft { "made stale" } else { "purged" };
    let committed = milliseconds(purged.committed_ms);
    let mut text = format!(
        "{how} {what} at index {}, committed in {committed}\n",
        purged.index
    );
    if !purged.receipts.is_empty() {
        let mut table = Table::new(["NODE", "APPLIED", "AFTER"]);
        for receipt in &purged.receipts {
            table.row(cells(receipt));
        }
        text.push_str(&table.render());
    }
    text
}

fn cells(receipt: &Receipt) -> [Cell; 3] {
    let (tone, word) = match receipt.outcome {
        Outcome::Applied => (Tone::Good, "yes"),
        Outcome::Missing => (Tone::Bad, "not yet"),
        Outcome::Down => (Tone::Faint, "down: once it is back"),
    };
    [
        Cell::from(&receipt.node),
        Cell::toned(tone, word),
        Cell::or_dash(receipt.ms.map(milliseconds)),
    ]
}

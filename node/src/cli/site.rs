//! `nearside site`: the verbs of documents, and those that only sites have.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::arguments::Global;
use super::client::{Client, segment};
use super::documents::{self, Waiting, said};
use super::failure::Failure;
use crate::admin::api::{Apply, ApplyDocument, DocumentText, Written};
use crate::config::site_file;

/// Longest development mode: what lasts longer is a rule of the site.
const DEVELOP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Verbs of `site`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Those of documents.
    #[command(flatten)]
    Document(documents::Command),
    /// Bypass a site's cache for a time, so that work on it is seen at once; it ends by itself
    Develop(Develop),
}

/// Arguments of `site develop`.
#[derive(Debug, Args)]
pub struct Develop {
    /// The site
    pub name: String,
    /// From now on for so long, at most 30d
    #[arg(long = "for", default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub lasts: Duration,
    /// End it now
    #[arg(long, conflicts_with = "lasts")]
    pub off: bool,
    /// How long to wait for the other nodes
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) async fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Document(command) => documents::run(documents::SITE, command, global).await,
        Command::Develop(arguments) => develop(arguments, global).await,
    }
}

/// An ordinary change of the site, at the revision that was read.
async fn develop(arguments: Develop, global: &Global) -> anyhow::Result<()> {
    let Develop {
        name,
        lasts,
        off,
        waiting,
    } = arguments;
    if lasts < Duration::from_secs(1) || lasts > DEVELOP_MAX {
        return Err(Failure::usage("development mode lasts 1s to 30d"));
    }
    let until = (!off).then(|| SystemTime::now() + lasts);
    let client = Client::new(global)?;
    let document: DocumentText = client
        .get(&format!("/api/v1/sites/{}", segment(&name)))
        .await?;
    let text = site_file::develop(&document.text, &name, until).map_err(Failure::from)?;
    let request = Apply {
        documents: vec![ApplyDocument {
            file: Some(name.clone()),
            text,
            expected_revision: Some(document.facts.revision),
        }],
        dry_run: false,
        options: waiting.options(),
    };
    let written: Written = client
        .post("/api/v1/sites", &request, waiting.timeout)
        .await?;
    let what = match until {
        Some(until) => format!(
            "{name} bypasses its cache until {}",
            humantime::format_rfc3339_seconds(until)
        ),
        None => format!("{name} uses its cache again"),
    };
    said(&written, &what, global)
}

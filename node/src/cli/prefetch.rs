//! `nearside prefetch`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::arguments::Global;
use super::client::Client;
use super::explain::fields;
use super::failure::Failure;
use super::output;
use crate::admin::api::{
    PREFETCH_AT_ONCE_MAX, Prefetch, PrefetchReport, PrefetchResult, Prefetched,
};

/// How long the node may take for the URLs of one request; each fetch has the site's own deadlines.
const PATIENCE: Duration = Duration::from_secs(3600);
/// URLs in one request, for each that is fetched at once: often enough to show progress.
const ROUNDS: usize = 4;
/// Longest list, bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `prefetch`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The site
    #[arg(long, value_name = "NAME")]
    pub site: String,
    /// URLs with their scheme, files with one URL or path a line, or - for such a list on standard input
    #[arg(required = true, value_name = "URL|FILE|-")]
    pub sources: Vec<String>,
    /// Requests at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_once)]
    pub concurrency: usize,
    /// A request field, as "Name: value"; can be repeated
    #[arg(long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
}

fn at_once(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=PREFETCH_AT_ONCE_MAX).contains(&number) => Ok(number),
        _ => Err(format!("write a number from 1 to {PREFETCH_AT_ONCE_MAX}")),
    }
}

/// What became of all.
#[derive(Debug, Default, Serialize)]
struct Summary {
    node: String,
    urls: usize,
    stored: usize,
    fresh: usize,
    not_storable: usize,
    failed: usize,
    body_bytes: u64,
    /// Those that are not in the cache now.
    missing: Vec<Prefetched>,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> anyhow::Result<()> {
    let urls = urls(&arguments.sources)?;
    let headers = fields(&arguments.headers)?;
    let client = Client::new(global)?;
    let mut summary = Summary::default();
    let shows = std::io::stderr().is_terminal() && !global.json;
    for some in urls.chunks(arguments.concurrency * ROUNDS) {
        let request = Prefetch {
            site: arguments.site.clone(),
            urls: some.to_vec(),
            concurrency: Some(arguments.concurrency),
            headers: headers.clone(),
        };
        let report: PrefetchReport = client.post("/api/v1/prefetch", &request, PATIENCE).await?;
        summary.add(report);
        if shows {
            output::note(&format!("{} of {}", summary.urls, urls.len()));
        }
    }
    if global.json {
        output::json(&summary)?;
    } else {
        output::text(&summary.told())?;
    }
    if summary.failed == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} of {} could not be fetched",
        summary.failed, summary.urls
    )))
}

/// The URLs that the sources name, in their order.
fn urls(sources: &[String]) -> anyhow::Result<Vec<String>> {
    let mut urls = Vec::new();
    for source in sources {
        if source.contains("://") {
            urls.push(source.clone());
            continue;
        }
        let mut text = String::new();
        let read = if source == "-" {
            let input = std::io::stdin().lock();
            input.take(LIST_BYTES_MAX + 1).read_to_string(&mut text)
        } else {
            std::fs::File::open(source)
                .and_then(|file| file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text))
        };
        let bytes = read.map_err(|error| {
            Failure::failed(format!(
                "{source}: cannot be read: {error}; write a URL with its scheme, or a file of URLs and paths"
            ))
        })?;
        if bytes as u64 > LIST_BYTES_MAX {
            return Err(Failure::failed(format!(
                "{source} is longer than {LIST_BYTES_MAX} bytes"
            )));
        }
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        urls.extend(lines.map(str::to_owned));
    }
    if urls.is_empty() {
        return Err(Failure::usage("the list names no URL"));
    }
    Ok(urls)
}

impl Summary {
    fn add(&mut self, report: PrefetchReport) {
        self.node = report.node;
        for fetched in report.results {
            self.urls += 1;
            self.body_bytes += fetched.body_bytes;
            match fetched.result {
                PrefetchResult::Stored => self.stored += 1,
                PrefetchResult::Fresh => self.fresh += 1,
                PrefetchResult::NotStorable => {
                    self.not_storable += 1;
                    self.missing.push(fetched);
                }
                PrefetchResult::Failed => {
                    self.failed += 1;
                    self.missing.push(fetched);
                }
            }
        }
    }

    /// What is not stored, by its reason, and how many are what.
    fn told(&self) -> String {
        let mut by_reason: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for fetched in &self.missing {
            let word = match fetched.result {
                PrefetchResult::Failed => "failed",
                _ => "not storable",
            };
            let because = fetched.because.as_deref().unwrap_or("unknown");
            let urls = by_reason.entry((word, because)).or_default();
            urls.push(&fetched.url);
        }
        let mut text = String::new();
        for ((word, because), urls) in by_reason {
            for url in urls {
                text.push_str(&format!("{word} ({because}): {url}\n"));
            }
        }
        text.push_str(&format!(
            "{} on {}: {} stored, {} already fresh, {} not storable, {} failed\n",
            output::count(self.urls, "URL"),
            self.node,
            self.stored,
            self.fresh,
            self.not_storable,
            self.failed
        ));
        text
    }
}

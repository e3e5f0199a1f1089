//! `nearside site` and `nearside zone`: the same verbs for two kinds of files.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::arguments::Global;
use super::client::{Client, segment};
use super::failure::Failure;
use super::output::{self, Cell, Table, count};
use crate::admin::api::{
    Apply, ApplyDocument, DocumentText, Documents, Wait, WriteOptions, Written,
};
use crate::config::{site_file, zone_file};

/// Verbs of `site` and `zone`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set what the files say, all or none; - is standard input
    Apply {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Check against the cluster, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// How long to wait for the other nodes
        #[command(flatten)]
        waiting: Waiting,
    },
    /// List them
    List,
    /// Print one as it was written
    Show {
        /// Its name
        name: String,
    },
    /// Remove one
    Remove {
        /// Its name
        name: String,
        /// How long to wait for the other nodes
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Check files without any node; - is standard input
    Check {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// How long a change waits for the other nodes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Waiting {
    /// Return when a quorum holds the change, or when every live node has applied it
    #[arg(long, default_value = "applied", value_name = "UNTIL")]
    pub wait: Until,
    /// At most so long
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// When a change is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// A quorum holds it
    Committed,
    /// It is visible on every live node
    Applied,
}

impl Waiting {
    pub(super) fn options(self) -> WriteOptions {
        WriteOptions {
            author: author(),
            wait: match self.wait {
                Until::Committed => Wait::Committed,
                Until::Applied => Wait::Applied,
            },
            timeout_ms: Some(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Who types, for the record.
pub(super) fn author() -> Option<String> {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    let mut set = named.filter_map(|name| std::env::var(name).ok());
    set.find(|name| !name.is_empty())
}

/// A file's name and text.
type Named = (String, String);
/// What a check says of a file: right, or wrong.
type Verdict = Result<String, String>;

/// What differs between the two kinds.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    noun: &'static str,
    path: &'static str,
    check: fn(&[Named]) -> Vec<Verdict>,
}

pub(super) const SITE: Kind = Kind {
    noun: "site",
    path: "/api/v1/sites",
    check: check_sites,
};

pub(super) const ZONE: Kind = Kind {
    noun: "zone",
    path: "/api/v1/zones",
    check: check_zones,
};

pub(super) async fn run(kind: Kind, command: Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Check { files } => check(kind, &files, global.json),
        Command::Apply {
            files,
            dry_run,
            waiting,
        } => apply(kind, &files, dry_run, waiting, global).await,
        Command::List => list(kind, global).await,
        Command::Show { name } => {
            let path = format!("{}/{}", kind.path, segment(&name));
            let document: DocumentText = Client::new(global)?.get(&path).await?;
            if global.json {
                output::json(&document)
            } else {
                output::text(&document.text)
            }
        }
        Command::Remove { name, waiting } => {
            let options = waiting.options();
            let wait = match options.wait {
                Wait::Committed => "committed",
                Wait::Applied => "applied",
            };
            let path = format!(
                "{}/{}?wait={wait}&timeout_ms={}&author={}",
                kind.path,
                segment(&name),
                options.timeout_ms.unwrap_or_default(),
                segment(&options.author.unwrap_or_default()),
            );
            let written: Written = Client::new(global)?.delete(&path, waiting.timeout).await?;
            said(
                &written,
                &format!("removed the {} {name}", kind.noun),
                global,
            )
        }
    }
}

async fn apply(
    kind: Kind,
    files: &[PathBuf],
    dry_run: bool,
    waiting: Waiting,
    global: &Global,
) -> anyhow::Result<()> {
    let documents = read_all(files)?
        .into_iter()
        .map(|(file, text)| ApplyDocument {
            file: Some(file),
            text,
            expected_revision: None,
        });
    let request = Apply {
        documents: documents.collect(),
        dry_run,
        options: waiting.options(),
    };
    let client = Client::new(global)?;
    let written: Written = client.post(kind.path, &request, waiting.timeout).await?;
    let what = format!(
        "{} {}",
        plural(kind.noun, written.names.len()),
        written.names.join(", ")
    );
    let done = if dry_run {
        "could apply the"
    } else {
        "applied the"
    };
    said(&written, &format!("{done} {what}"), global)
}

fn plural(noun: &str, number: usize) -> String {
    if number == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}

/// What became of a change: warnings and who is missing beside the answer, so that the answer can be piped.
pub(super) fn said(written: &Written, what: &str, global: &Global) -> anyhow::Result<()> {
    for warning in &written.warnings {
        output::note(warning);
    }
    if global.json {
        return output::json(written);
    }
    let applied = written
        .receipts
        .iter()
        .filter(|receipt| receipt.ms.is_some());
    let slowest = applied
        .clone()
        .filter_map(|receipt| receipt.ms)
        .fold(0.0, f64::max);
    let nodes = applied.count();
    let mut line = what.to_owned();
    if let Some(index) = written.index {
        line.push_str(&format!(" at revision {index}"));
    }
    if nodes > 0 {
        let nodes = count(nodes, "node");
        line.push_str(&format!(
            ", on {nodes} within {}",
            output::milliseconds(slowest)
        ));
    }
    output::line(&line)?;
    say_missing(&written.missing);
    Ok(())
}

/// Names the live nodes that a change has not reached in time.
pub(super) fn say_missing(missing: &[String]) {
    if !missing.is_empty() {
        output::note(&format!(
            "not applied in time on {}; the change stands, and they take it up when they can",
            missing.join(", ")
        ));
    }
}

async fn list(kind: Kind, global: &Global) -> anyhow::Result<()> {
    let list: Documents = Client::new(global)?.get(kind.path).await?;
    if global.json {
        return output::json(&list);
    }
    if list.documents.is_empty() {
        return output::line(&format!(
            "no {}s; `nearside {} apply FILE` sets one",
            kind.noun, kind.noun
        ));
    }
    let hosts = list.documents.iter().any(|it| !it.hosts.is_empty());
    let mut table = if hosts {
        Table::new(["NAME", "HOSTS", "REVISION", "CHANGED", "AUTHOR"])
    } else {
        Table::new(["NAME", "REVISION", "CHANGED", "AUTHOR"])
    };
    for document in &list.documents {
        let mut cells = vec![Cell::from(&document.name)];
        if hosts {
            cells.push(document.hosts.join(" ").into());
        }
        cells.push(document.revision.into());
        cells.push(output::moment(document.changed_ms).into());
        cells.push(Cell::from(&document.author));
        table.row(cells);
    }
    output::text(&table.render())
}

fn check(kind: Kind, files: &[PathBuf], json: bool) -> anyhow::Result<()> {
    let files = read_all(files)?;
    let verdicts = (kind.check)(&files);
    let wrong = verdicts.iter().any(Result::is_err);
    if json {
        let told = verdicts.iter().map(|verdict| {
            let (Ok(line) | Err(line)) = verdict;
            serde_json::json!({ "right": verdict.is_ok(), "said": line })
        });
        output::json(&told.collect::<Vec<_>>())?;
    } else {
        for verdict in &verdicts {
            match verdict {
                Ok(line) => output::line(line)?,
                Err(line) => output::note(line),
            }
        }
    }
    if wrong {
        return Err(Failure::Silent.into());
    }
    Ok(())
}

fn check_sites(files: &[Named]) -> Vec<Verdict> {
    let parsed: Vec<_> = files
        .iter()
        .map(|(file, text)| site_file::parse(text, file))
        .collect();
    let good = files.iter().zip(&parsed);
    let good = good.filter_map(|((file, _), site)| Some((file.as_str(), site.as_ref().ok()?)));
    let clash = crate::admin::clash(good);
    let verdicts = files
        .iter()
        .zip(&parsed)
        .map(|((file, _), site)| match site {
            Ok(site) => Ok(format!(
                "{file}: the site {} is right, with {} and {}",
                site.name,
                count(site.hosts.len(), "host"),
                count(site.origins.len(), "origin"),
            )),
            Err(error) => Err(error.to_string()),
        });
    verdicts.chain(clash.err().map(Err)).collect()
}

fn check_zones(files: &[Named]) -> Vec<Verdict> {
    let verdicts = files
        .iter()
        .map(|(file, text)| match zone_file::parse(text, file) {
            Ok(zone) => Ok(format!(
                "{file}: the zone {} is right, with {} and {}",
                zone.name,
                count(zone.nameservers.len(), "name server"),
                count(zone.records.len(), "record"),
            )),
            Err(error) => Err(error.to_string()),
        });
    verdicts.collect()
}

/// Largest file that is read; the cluster takes less.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Named>> {
    let read = files.iter().map(|file| {
        let mut text = String::new();
        if file.as_os_str() == "-" {
            let mut input = std::io::stdin().lock().take(FILE_BYTES_MAX);
            input.read_to_string(&mut text).map_err(|error| {
                Failure::failed(format!("standard input cannot be read: {error}"))
            })?;
            return Ok(("standard input".to_owned(), text));
        }
        let name = file.display().to_string();
        std::fs::File::open(file)
            .and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| Failure::failed(format!("{name}: cannot be read: {error}")))?;
        Ok((name, text))
    });
    read.collect()
}

//! `nearside config`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;

use super::arguments::Global;
use super::failure::Failure;
use super::output;
use crate::config::node_file;

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the node file with every key, its default and what it means
    Default,
    /// Check a node file, with this environment over it
    Check {
        /// The file; - reads standard input
        file: PathBuf,
    },
}

pub(super) fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Default => output::text(node_file::DEFAULT),
        Command::Check { file } => {
            let settings = node_file::load(&file).map_err(Failure::from)?;
            let files = settings.certificates.values();
            let files = files.flat_map(|certificate| [&certificate.chain, &certificate.key]);
            let files = files.chain(&settings.geo_databases);
            for needed in files.chain(&settings.admin_token_file) {
                std::fs::File::open(needed).map_err(|error| {
                    let (file, needed) = (file.display(), needed.display());
                    Failure::failed(format!("{file}: {needed} cannot be read: {error}"))
                })?;
            }
            crate::listen::Certificates::load(&settings.certificates, Arc::default())
                .map_err(|error| anyhow::Error::new(error).context(file.display().to_string()))?;
            if let Some(token) = &settings.admin_token_file {
                crate::admin::check_token(token)
                    .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            }
            if global.json {
                let right = serde_json::json!({ "node": settings.name, "region": settings.region });
                return output::json(&right);
            }
            output::line(&format!(
                "{}: right, for the node {} in the region {}",
                file.display(),
                settings.name,
                settings.region
            ))
        }
    }
}

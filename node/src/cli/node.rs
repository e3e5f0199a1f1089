//! `nearside node`: a node of a cluster.

use std::path::PathBuf;

use clap::Args;

use super::arguments::Global;
use super::failure::Failure;
use crate::config::node_file;

/// Arguments of `node`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The node file; `nearside config default` prints one to start from
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> anyhow::Result<()> {
    let settings = node_file::load(&arguments.config).map_err(Failure::from)?;
    let token = match &global.token_file {
        // An empty file is no token: the first node of a cluster, or one whose token was taken away after it joined.
        Some(file) if std::fs::metadata(file).is_ok_and(|file| file.len() == 0) => None,
        Some(file) => Some(super::client::token(file)?),
        None => None,
    };
    crate::observe::system_log::start(&settings.log.level)?;
    crate::app::node(settings, arguments.config, token).await
}

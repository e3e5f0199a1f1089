//! `nearside join-token`.

use std::time::Duration;

use clap::Subcommand;

use super::arguments::Global;
use super::client::{Client, segment};
use super::output::{self, Cell, Table};
use crate::admin::api::{MadeToken, NewToken, Tokens, Written};

/// Verbs of `join-token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it, once: whoever has it can join
    New {
        /// How long it can be used
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Duration,
        /// How many nodes may join with it
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
    },
    /// List tokens, without their secrets
    List,
    /// Make a token useless
    Revoke {
        /// What `list` shows
        id: String,
    },
}

pub(super) async fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Command::New { ttl, uses } => {
            let request = NewToken {
                ttl_ms: Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
                uses: Some(uses),
                author: super::documents::author(),
            };
            let made: MadeToken = client
                .post("/api/v1/join-tokens", &request, Duration::ZERO)
                .await?;
            if global.json {
                output::json(&made)
            } else {
                output::line(&made.token)
            }
        }
        Command::List => {
            let tokens: Tokens = client.get("/api/v1/join-tokens").await?;
            if global.json {
                return output::json(&tokens);
            }
            let mut table = Table::new(["ID", "EXPIRES", "USES LEFT", "AUTHOR"]);
            for token in &tokens.tokens {
                table.row([
                    Cell::from(&token.id),
                    output::moment(token.expires_ms).into(),
                    token.uses_left.into(),
                    Cell::from(&token.author),
                ]);
            }
            output::text(&table.render())
        }
        Command::Revoke { id } => {
            let path = format!("/api/v1/join-tokens/{}", segment(&id));
            let written: Written = client.delete(&path, Duration::ZERO).await?;
            if global.json {
                output::json(&written)
            } else {
                output::line(&format!("{id} lets nobody in any more"))
            }
        }
    }
}

//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{
    cluster, completions, config, demo, documents, explain, geo, join_token, members, node,
    prefetch, purge, route, serve, sign, site, status,
};

/// An open CDN in one binary: a few nodes in several places cache your sites, and DNS sends each client to the nearest.
#[derive(Debug, Parser)]
#[command(
    name = "nearside",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with `nearside serve --origin 3000`: one caching node in front of your application."
)]
pub struct Program {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Admin API to speak to: unix:PATH, or ADDRESS:PORT over TCP
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        env = "NEARSIDE_ADMIN",
        default_value = "unix:/run/nearside/admin.sock",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub admin: String,
    /// File with a token: for `node` its join token, elsewhere the one for the admin API over TCP
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        env = "NEARSIDE_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// Say it in JSON
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a cluster of five nodes on this machine, and a guided tour of it
    Demo(demo::Arguments),
    /// Run one caching node in front of an application, whatever Host is asked for
    Serve(serve::Arguments),
    /// Run a node of a cluster
    Node(node::Arguments),
    /// Make a cluster
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Let nodes join
    #[command(subcommand)]
    JoinToken(join_token::Command),
    /// Say what this node knows of itself and its cluster, with or without a quorum
    Status(status::Arguments),
    /// List the nodes of the cluster
    Members,
    /// Send a node no more clients, while another is up
    Drain(members::Arguments),
    /// Send a drained node clients again
    Undrain(members::Arguments),
    /// Remove a node from the cluster for good; to come back it joins anew
    Remove(members::Removal),
    /// Publish sites
    #[command(subcommand)]
    Site(site::Command),
    /// Answer DNS zones
    #[command(subcommand)]
    Zone(documents::Command),
    /// Make what is cached unusable, on every node
    Purge(purge::Arguments),
    /// Fetch a list of URLs through a node's cache, so that clients find them there
    Prefetch(prefetch::Arguments),
    /// Tell what a node would make of a request, and why; nothing is asked or changed
    Explain(explain::Arguments),
    /// Sign a URL for a site that demands it
    Sign(sign::Arguments),
    /// Show where a client would be sent: every node in order, with the reason
    Route(route::Arguments),
    /// Show and check the node file
    #[command(subcommand)]
    Config(config::Command),
    /// Ask where an address is
    #[command(subcommand)]
    Geo(geo::Command),
    /// Print completions for a shell
    Completions(completions::Arguments),
}

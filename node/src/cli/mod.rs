//! The command line: one file per command. Commands that ask or change something speak to the admin API only.
//!
//! Exit codes: 0 done, 1 it failed (one line on standard error says what and what to do), 2 wrong usage.

mod arguments;
mod client;
mod cluster;
mod completions;
mod config;
mod demo;
mod documents;
mod explain;
mod failure;
mod geo;
mod join_token;
mod members;
mod node;
mod output;
mod prefetch;
mod purge;
mod route;
mod serve;
mod sign;
mod site;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub use arguments::{Command, Global, Program};
use failure::Failure;

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn run() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => {
            // clap says where it goes: help to standard output, what is wrong to standard error.
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // One provider of cryptography in the whole program; a second call finds it in place.
    let _in_place = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match dispatch(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// The command tree, for documents and completions.
#[must_use]
pub fn tree() -> clap::Command {
    Program::command()
}

fn dispatch(program: Program) -> anyhow::Result<()> {
    let global = &program.global;
    match program.command {
        Command::Demo(arguments) => on_every_core()?.block_on(demo::run(arguments)),
        Command::Serve(arguments) => on_every_core()?.block_on(serve::run(arguments)),
        Command::Node(arguments) => on_every_core()?.block_on(node::run(arguments, global)),
        Command::Config(command) => config::run(command, global),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Cluster(command) => asking()?.block_on(cluster::run(command, global)),
        Command::JoinToken(command) => asking()?.block_on(join_token::run(command, global)),
        Command::Status(arguments) => asking()?.block_on(status::run(&arguments, global)),
        Command::Members => asking()?.block_on(members::list(global)),
        Command::Drain(arguments) => asking()?.block_on(members::drain(&arguments, true, global)),
        Command::Undrain(arguments) => {
            asking()?.block_on(members::drain(&arguments, false, global))
        }
        Command::Remove(arguments) => asking()?.block_on(members::remove(&arguments, global)),
        Command::Site(command) => asking()?.block_on(site::run(command, global)),
        Command::Zone(command) => {
            asking()?.block_on(documents::run(documents::ZONE, command, global))
        }
        Command::Purge(arguments) => asking()?.block_on(purge::run(arguments, global)),
        Command::Prefetch(arguments) => asking()?.block_on(prefetch::run(arguments, global)),
        Command::Explain(arguments) => asking()?.block_on(explain::run(arguments, global)),
        Command::Route(arguments) => asking()?.block_on(route::run(&arguments, global)),
        Command::Geo(command) => asking()?.block_on(geo::run(command, global)),
    }
}

/// For commands that are a node: control, fills and the admin API share these threads; clients have their own.
fn on_every_core() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build();
    runtime.map_err(|error| Failure::failed(format!("cannot start threads: {error}")))
}

/// For commands that ask a node: one thread is enough.
fn asking() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests;

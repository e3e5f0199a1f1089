//! The numbers that the scenarios only bound: how long a purge takes to be applied everywhere, and how long a cluster
//! is without a leader or names a dead node.
//!
//! `cargo run --release -p nearside-tests --example measure -- purge|failover [TRIES]`. Ends with 1 when a bar was not
//! held.
#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

mod failover;
mod purge;
mod table;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tries = |usual| {
        arguments
            .get(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual)
    };
    let held = match arguments.first().map(String::as_str) {
        Some("purge") => nearside_tests::run(purge::measure(tries(50))),
        Some("failover") => nearside_tests::run(failover::measure(tries(20))),
        _ => {
            println!("measure purge|failover [TRIES]");
            false
        }
    };
    if held {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

//! The numbers that the scenarios only bound: how long a purge takes to be applied everywhere, and how long a cluster
//! is without a leader or names a dead node, and what clients see while nodes are killed without end.
//!
//! `cargo run --release -p nearside-tests --example measure -- purge|failover|crash [TRIES]`. Ends with 1 when a bar was not
//! held.
#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

mod crash;
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
        Some("crash") => nearside_tests::run(crash::measure(tries(40))),
        _ => {
            println!("measure purge|failover|crash [TRIES]");
            false
        }
    };
    if held {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

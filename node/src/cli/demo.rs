//! `nearside demo`: a cluster of five nodes in three regions with two origins on this machine, and a guided tour of it in
//! which every line marked ok was checked.

mod certificates;
mod client;
mod cluster;
mod faults;
mod origin;
mod plan;
mod process;
mod report;
mod tour;

use std::time::Instant;

use self::cluster::Demo;
use self::plan::{CLIENTS, HOST, NODES, SITE};
use self::report::Report;
use super::failure::Failure;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// End after the tour: 0, or 1 with what did not hold
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the demo and docker-compose.yml run beside the nodes.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// A small shop that serves as an origin
    #[command(hide = true)]
    Origin(origin::Arguments),
    /// A throw-away authority and a certificate
    #[command(hide = true)]
    Certificates(certificates::Arguments),
}

/// Runs the demo, or one of its parts. What does not hold in the tour is said there; here it is a failure.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.part {
        Some(Part::Origin(arguments)) => origin::run(arguments).await,
        Some(Part::Certificates(arguments)) => certificates::run(&arguments),
        None => guide(arguments.once).await,
    }
}

async fn guide(once: bool) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut report = Report::new();
    let mut demo = Demo::prepare()?;
    let mut interrupt = Interrupt::new()?;

    let held = tokio::select! {
        () = tour::walk(&mut demo, &mut report) => Some(report.close(start.elapsed())),
        () = interrupt.wait() => None,
    };
    if !once && held.is_some() {
        suggest(&demo, &report);
        interrupt.wait().await;
    }
    demo.stop().await;
    match held {
        Some(true) => Ok(()),
        Some(false) | None => Err(Failure::Silent.into()),
    }
}

/// Ctrl-C, or the signal that a supervisor sends.
struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Lines that work as they stand, in another terminal.
fn suggest(demo: &Demo, report: &Report) {
    let (ports, lon, sin) = (demo.ports, NODES[0].address, NODES[4].address);
    let (ca, socket) = (demo.ca.display(), demo.socket(1));
    let (program, socket) = (demo.program.display(), socket.display());
    let subnet = CLIENTS[5].address;
    report.line(format_args!(
        r"
The cluster stays up until Ctrl-C. In another terminal:

  dig @{lon} -p {dns} {HOST} +subnet={subnet}/24 +short
  curl -i --cacert {ca} --resolve {HOST}:{https}:{sin} https://{HOST}:{https}/anything
  export NEARSIDE_ADMIN=unix:{socket}
  {program} status
  {program} members
  {program} route {subnet} --host {HOST}
  {program} purge --site {SITE} --all --wait applied
  curl -s http://{sin}:{metrics}/metrics | grep requests",
        dns = ports.dns,
        https = ports.https,
        metrics = ports.metrics,
    ));
    for (index, node) in demo.alive() {
        if let Some(id) = demo.process_id(index) {
            report.line(format_args!(
                "  kill -9 {id}   # {}, {}; its log: {}/{}/log",
                node.name,
                node.city,
                demo.folder().display(),
                node.name
            ));
        }
    }
    report.line("");
}

//! One node: a process with a folder, an address and a log.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::plan::NodePlan;
use crate::places::Place;
use crate::process::{Process, Signal};
use crate::synced::JOURNAL_VARIABLE;
use crate::{Binary, DnsReply, DnsRequest, Got, Request, Said, eventually, patience};

/// Longest run of one command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait for a node to say something of itself after its start.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Where a node listens on its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) https: u16,
    pub(super) dns: u16,
    pub(super) peer: u16,
    pub(super) metrics: u16,
}

/// A node of a lab, running or not.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Its loopback address, which DNS answers name.
    pub address: Ipv4Addr,
    ports: Ports,
    home: PathBuf,
    witness: Option<PathBuf>,
    state: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    process: Option<Process>,
    paused: bool,
}

/// `status --json`, as far as the lab reads it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Role in Raft.
    pub role: String,
    /// Whose lead it follows.
    pub leader_name: Option<String>,
    /// Can changes be made?
    pub has_quorum: bool,
    /// The log index it has applied.
    pub applied: u64,
    /// Durable syncs of its Raft store.
    pub syncs: u64,
    /// Everybody it knows.
    pub members: Vec<Member>,
}

/// A member, as `status --json` says.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Does it vote?
    pub voter: bool,
    /// Is it believed to be up?
    pub healthy: bool,
}

impl Node {
    pub(super) fn new(
        plan: &NodePlan,
        address: Ipv4Addr,
        ports: Ports,
        home: PathBuf,
        witness: Option<PathBuf>,
    ) -> Self {
        Self {
            name: plan.name,
            place: plan.place,
            address,
            ports,
            home,
            witness,
            state: Mutex::new(Life::default()),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's folder: `node.toml`, `data`, `cache`, `log`.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its node file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.join("node.toml")
    }

    /// The join token it is started with from now on.
    pub fn give_token(&self, token: &str) {
        let file = self.home.join("join.token");
        std::fs::write(file, token).expect("the lab's folder can be written");
    }

    /// Starts the process without waiting for it. One that runs is killed first, so that its ports are free.
    ///
    /// # Panics
    /// When there is no program to start.
    pub fn spawn(&self) {
        self.life().process = None;
        let mut command = program();
        command.arg("node").arg("--config").arg(self.config());
        let token = self.home.join("join.token");
        if token.exists() {
            command.arg("--token-file").arg(token);
        }
        if let Some(witness) = &self.witness {
            command.env("LD_PRELOAD", witness);
            command.env(JOURNAL_VARIABLE, self.journal());
        }
        let log = || {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.home.join("log"));
            Stdio::from(file.expect("the lab's folder can be written"))
        };
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let process = Process::start(&mut command).expect("the program starts");
        *self.life() = Life {
            process: Some(process),
            paused: false,
        };
    }

    /// Starts it and waits until it says something of itself.
    pub async fn start(&self) {
        self.spawn();
        eventually("the node answers for itself", START_DEADLINE, async || {
            if let Some(status) = self.life().process.as_mut().and_then(Process::ended) {
                let log = self.log_end(20);
                panic!("{} ended by itself ({status}):\n{log}", self.name);
            }
            let said = self.run(&["status", "--check", "live"]).await;
            if said.code == Some(0) {
                Ok(())
            } else {
                Err(said.told())
            }
        })
        .await;
    }

    /// kill -9.
    pub fn kill(&self) {
        let process = self.life().process.take();
        if let Some(mut process) = process {
            process.kill();
        }
    }

    /// Takes from the node's `folder` (`data`, `cache`) every byte that it has never synced: what a power cut would
    /// do. The node must be dead, and its plan witnessed. Gives how many bytes and files that were.
    ///
    /// # Panics
    /// When the node lives or nobody witnessed its syncs.
    #[must_use]
    pub fn drop_unsynced(&self, folder: &str) -> (u64, usize) {
        assert!(self.life().process.is_none() && self.witness.is_some());
        crate::synced::drop_unsynced(&self.journal(), &self.home.join(folder))
    }

    fn journal(&self) -> PathBuf {
        self.home.join("synced")
    }

    /// kill -9, and a new start on the same folder.
    pub async fn restart(&self) {
        self.kill();
        self.start().await;
    }

    /// SIGTERM, and waits until the process has ended by itself.
    pub async fn terminate(&self) {
        self.signal(Signal::Terminate);
        eventually("the node ends by itself", patience(), async || {
            match self.life().process.as_mut().map(Process::ended) {
                Some(None) => Err("it runs on".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        self.life().process = None;
    }

    /// SIGTERM, without waiting.
    pub fn ask_to_end(&self) {
        self.signal(Signal::Terminate);
    }

    /// SIGHUP.
    pub fn ask_to_reload(&self) {
        self.signal(Signal::Reload);
    }

    /// SIGSTOP: alive to the kernel, silent to everybody.
    pub fn pause(&self) {
        self.signal(Signal::Stop);
        self.life().paused = true;
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::Continue);
        self.life().paused = false;
    }

    fn signal(&self, signal: Signal) {
        let life = self.life();
        let process = life.process.as_ref().expect("the node runs");
        process.signal(signal);
    }

    /// Is there a process that is not paused?
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut life = self.life();
        let paused = life.paused;
        !paused
            && life
                .process
                .as_mut()
                .is_some_and(|process| process.ended().is_none())
    }

    /// Its process id, while there is one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.life().process.as_ref().map(Process::id)
    }

    /// Where clients ask by plain HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        (self.address, self.ports.http).into()
    }

    /// Where clients ask by HTTPS.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        (self.address, self.ports.https).into()
    }

    /// Where resolvers ask.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        (self.address, self.ports.dns).into()
    }

    /// Where other nodes ask.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        (self.address, self.ports.peer).into()
    }

    /// A GET of `path` on `host`, to be sent here.
    #[must_use]
    pub fn get(&self, host: &str, path: &str) -> Request {
        Request::get(host, path).to(self.http())
    }

    /// Asks for the lab's content at `path`, and takes nothing but the right bytes.
    pub async fn fetch(&self, host: &str, path: &str) -> Got {
        self.get(host, path).send().await.sound(path)
    }

    /// Asks its DNS over UDP.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn resolve(&self, request: &DnsRequest) -> Result<DnsReply, String> {
        request
            .udp(self.dns())
            .await
            .map_err(|error| format!("{}: {error:#}", self.name))
    }

    /// Where its DNS sends a client that asks for `name`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn steer(&self, name: &str, client: IpAddr) -> Result<Vec<IpAddr>, String> {
        let reply = self.resolve(&DnsRequest::a(name).from(client)).await?;
        Ok(reply.addresses())
    }

    /// Runs a command against its admin socket, with `--json`.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        let admin = format!("unix:{}", self.home.join("admin.sock").display());
        let all = [&["--admin", &admin, "--json"], arguments].concat();
        run_program(&all).await
    }

    /// Runs a command against its admin socket, for human eyes.
    pub async fn run_plain(&self, arguments: &[&str]) -> Said {
        let admin = format!("unix:{}", self.home.join("admin.sock").display());
        let all = [&["--admin", &admin], arguments].concat();
        run_program(&all).await
    }

    /// What it says of itself and its cluster.
    ///
    /// # Errors
    /// When it says nothing, or something else.
    pub async fn status(&self) -> Result<Status, String> {
        let said = self.run(&["status"]).await;
        if said.code != Some(0) {
            return Err(said.told());
        }
        serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {}", said.stdout))
    }

    /// Its metrics, by name with labels.
    ///
    /// # Panics
    /// When they are not answered.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let listener = SocketAddr::from((self.address, self.ports.metrics));
        let got = Request::get(&listener.to_string(), "/metrics")
            .to(listener)
            .send()
            .await;
        assert_eq!(got.status, 200, "{got:?}");
        String::from_utf8_lossy(&got.body)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// All of its log, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.home.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The program, in an environment in which nothing steers it but its arguments.
pub(super) fn program() -> Command {
    // Looked for once: what a test run started with is what it ends with.
    static BINARY: OnceLock<Binary> = OnceLock::new();
    let binary = BINARY.get_or_init(|| Binary::find().unwrap_or_else(|error| panic!("{error}")));
    let mut command = Command::new(binary.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEARSIDE") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// Runs one command of the program to its end.
///
/// # Panics
/// When there is no program.
pub async fn run_program(arguments: &[&str]) -> Said {
    run_program_for(arguments, COMMAND_DEADLINE).await
}

/// The same, for a command that takes its time.
///
/// # Panics
/// When there is no program.
pub async fn run_program_for(arguments: &[&str], deadline: Duration) -> Said {
    let mut command = tokio::process::Command::from(program());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let arguments = arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect();
    match tokio::time::timeout(deadline, command.output()).await {
        Ok(Ok(output)) => Said {
            arguments,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        },
        Ok(Err(error)) => panic!("the program does not start: {error}"),
        Err(_) => Said {
            arguments,
            code: None,
            stdout: String::new(),
            stderr: format!("no end within {deadline:?}"),
        },
    }
}

//! The demo's processes: this very program, started as nodes and as origins, each with a log file; and its command line,
//! run as an operator would run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest wait for one command of the command line.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of a log that are shown when its process disappoints.
const LAST_WORDS: usize = 4;

/// The program, as it was started.
#[derive(Clone, Debug)]
pub(super) struct Program(PathBuf);

impl Program {
    pub(super) fn current() -> Result<Self> {
        let path = std::env::current_exe().context("cannot find this program's own file")?;
        Ok(Self(path))
    }

    /// How an operator calls it.
    pub(super) fn display(&self) -> std::path::Display<'_> {
        self.0.display()
    }

    /// A command of this program with an environment in which nothing steers it but its arguments.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NEARSIDE") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts a process that runs until it is stopped; what it says goes to `log`, after what is there.
    pub(super) fn start(&self, arguments: &[&str], log: &Path) -> Result<Running> {
        let open = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .with_context(|| format!("cannot open {}", log.display()))
        };
        let child = self
            .command()
            .args(arguments)
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.0.display()))?;
        Ok(Running {
            child,
            log: log.to_owned(),
        })
    }

    /// Runs one command against a node's admin socket; its JSON.
    pub(super) async fn ask(&self, socket: &Path, arguments: &[&str]) -> Result<Value> {
        let what = arguments.join(" ");
        let mut command = self.command();
        command
            .arg("--admin")
            .arg(format!("unix:{}", socket.display()))
            .arg("--json")
            .args(arguments);
        let output = timeout(COMMAND_TIMEOUT, command.output())
            .await
            .with_context(|| format!("`nearside {what}` did not end in time"))??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`nearside {what}` failed: {}", said.trim());
        }
        if output.stdout.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`nearside {what} --json` did not print JSON"))
    }
}

/// A process of the demo. Dropped, it is killed.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// The process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// kill -9, as a power cut would: no farewell.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill a process")
    }

    /// An error with the log's end when the process has ended by itself.
    pub(super) fn check(&mut self, name: &str) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        bail!("{name} ended by itself ({status}): {}", self.last_words())
    }

    /// The end of its log, on one line.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(LAST_WORDS);
        let tail: Vec<&str> = log.lines().skip(skipped).collect();
        tail.join(" | ")
    }
}

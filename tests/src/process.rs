//! Processes that cannot be left behind.
//!
//! A child is killed when it is dropped. A test run that is itself killed drops nothing, and a cluster shared by all
//! scenarios of a process is never dropped either: so one small shell stands beside the test process, knows every
//! child and folder by name, and clears up when its standard input closes, which the kernel does for us.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const WATCH: &str = r#"
trap '' INT TERM HUP
pids=
while read -r verb what; do
  case $verb in
    watch) pids="$pids $what" ;;
    forget) kept=; for pid in $pids; do [ "$pid" = "$what" ] || kept="$kept $pid"; done; pids=$kept ;;
    folder) set -- "$@" "$what" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done
sleep 0.2
[ "$#" = 0 ] || rm -rf -- "$@"
"#;

fn tell(line: &str) {
    static WATCHER: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    let watcher = WATCHER.get_or_init(|| {
        let mut child = Command::new("sh")
            .args(["-c", WATCH, "lab-watch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take().map(Mutex::new)
    });
    if let Some(watcher) = watcher {
        let mut stdin = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        // A watcher that is gone cannot be told anything; the children still end with their owners.
        drop(stdin.write_all(format!("{line}\n").as_bytes()));
    }
}

/// A folder that is removed at the latest when the test process ends.
pub(crate) fn watch_folder(folder: &Path) {
    tell(&format!("folder {}", folder.display()));
}

/// A child process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// What can be sent to a process beside SIGKILL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Reload,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        tell(&format!("watch {}", child.id()));
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        // Both fail only when the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        tell(&format!("forget {}", self.child.id()));
    }

    /// Sends a signal by the system's own command: this crate has no unsafe code.
    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Reload => "-HUP",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot send {name} to {}",
            self.child.id()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

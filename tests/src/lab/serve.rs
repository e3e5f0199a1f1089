//! `nearside serve`: one process in front of an application, no cluster.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::node::program;
use crate::process::{Process, Signal};
use crate::{Request, Said, eventually, patience, run_program};

/// Longest wait for its port to open.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running `serve` on a port and folder of its own.
#[derive(Debug)]
pub struct Serve {
    /// Where it listens.
    pub address: SocketAddr,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
    folder: tempfile::TempDir,
}

impl Serve {
    /// `serve --origin …` for each of `origins`, and more arguments.
    pub async fn start(origins: &[&str], more: &[&str]) -> Self {
        let origins = origins.iter().flat_map(|origin| ["--origin", origin]);
        let arguments: Vec<&str> = origins.chain(more.iter().copied()).collect();
        Self::run(&arguments, None).await
    }

    /// `serve --site FILE` in front of one origin. `settings` is TOML that follows the site's name, host and origin.
    pub async fn site(origin: &str, settings: &str, more: &[&str]) -> Self {
        let text = format!(
            "name = \"app\"\nhosts = [\"app.example\"]\n[[origin]]\nurl = \"{origin}\"\n{settings}"
        );
        Self::run(more, Some(&text)).await
    }

    async fn run(more: &[&str], site: Option<&str>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nearside-serve-")
            .tempdir()
            .expect("a temporary folder can be made");
        crate::process::watch_folder(folder.path());
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port is free");
        let mut arguments = vec!["serve".to_owned()];
        if let Some(text) = site {
            let file = folder.path().join("site.toml");
            std::fs::write(&file, text).expect("the folder can be written");
            arguments.extend(["--site".to_owned(), file.display().to_string()]);
        }
        arguments.extend(["--listen".to_owned(), address.to_string()]);
        arguments.extend([
            "--data".to_owned(),
            folder.path().join("data").display().to_string(),
        ]);
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let serve = Self {
            address,
            arguments,
            process: Mutex::new(None),
            folder,
        };
        serve.again().await;
        serve
    }

    /// Starts it again on the same port and folder.
    pub async fn again(&self) {
        let mut command = program();
        let log = || {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.log_file());
            Stdio::from(file.expect("the folder can be written"))
        };
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log());
        let process = Process::start(&mut command).expect("the program starts");
        self.set(Some(process));
        eventually("serve listens", START_DEADLINE, async || {
            if let Some(status) = self.ended() {
                panic!("serve ended by itself ({status}):\n{}", self.log());
            }
            match tokio::net::TcpStream::connect(self.address).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// kill -9.
    pub fn kill(&self) {
        self.set(None);
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&self) {
        if let Some(process) = &*self.process.lock().unwrap_or_else(PoisonError::into_inner) {
            process.signal(Signal::Terminate);
        }
        eventually("serve ends by itself", patience(), async || {
            self.ended()
                .map(drop)
                .ok_or_else(|| "it runs on".to_owned())
        })
        .await;
        self.set(None);
    }

    /// A GET of `path`, for any host.
    #[must_use]
    pub fn get(&self, path: &str) -> Request {
        Request::get("app.example", path).to(self.address)
    }

    /// Runs a command against its admin socket, with `--json`.
    pub async fn command(&self, arguments: &[&str]) -> Said {
        let admin = format!("unix:{}", self.data().join("admin.sock").display());
        let all = [&["--admin", &admin, "--json"], arguments].concat();
        run_program(&all).await
    }

    /// The same, for human eyes.
    pub async fn run_plain(&self, arguments: &[&str]) -> Said {
        let admin = format!("unix:{}", self.data().join("admin.sock").display());
        let all = [&["--admin", &admin], arguments].concat();
        run_program(&all).await
    }

    /// Where its data lies.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        Path::new(self.folder.path()).join("log")
    }

    fn set(&self, process: Option<Process>) {
        // The old one is killed as it is dropped.
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }

    fn ended(&self) -> Option<std::process::ExitStatus> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_mut()?.ended()
    }
}

//! Secrets as files on this node: read when they are wanted, kept for some seconds, never logged.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A changed file is in force after this time at most.
const KEPT: Duration = Duration::from_secs(5);
/// Longest file.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Files that are kept; sites that name more make each other read again.
const FILES_MAX: usize = 1000;

type Kept = HashMap<Box<str>, (Instant, Option<Arc<[u8]>>)>;

/// The secrets folder.
#[derive(Debug)]
pub struct Secrets {
    dir: PathBuf,
    kept: Mutex<Kept>,
}

impl Secrets {
    /// Files in `dir` are secrets.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            kept: Mutex::default(),
        }
    }

    /// The content of a file, without white space at its end. None when it cannot be had.
    pub(super) async fn of(&self, name: &str) -> Option<Arc<[u8]>> {
        let now = Instant::now();
        if let Some((read, secret)) = self.kept.lock().get(name)
            && now.saturating_duration_since(*read) < KEPT
        {
            return secret.clone();
        }
        let path = self.dir.join(name);
        let read = tokio::task::spawn_blocking(move || {
            if std::fs::metadata(&path)?.len() > FILE_MAX_BYTES {
                return Err(std::io::Error::other("it is longer than 1 MiB"));
            }
            std::fs::read(&path)
        });
        let secret = match read.await {
            Ok(Ok(bytes)) => Some(Arc::from(bytes.trim_ascii_end())),
            Ok(Err(error)) => {
                tracing::error!(secret = name, %error, "cannot read a secret");
                None
            }
            Err(error) => {
                tracing::error!(secret = name, %error, "cannot read a secret");
                None
            }
        };
        let mut kept = self.kept.lock();
        if kept.len() >= FILES_MAX {
            kept.clear();
        }
        kept.insert(name.into(), (now, secret.clone()));
        secret
    }
}

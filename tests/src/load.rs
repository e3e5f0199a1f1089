//! Clients that keep asking and check every byte. The one thing they may never see is a wrong body, or a short one
//! that does not also look broken.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::IndexedRandom;

use crate::Request;
use crate::content::content_fault;
use crate::patience::runtime;

/// Faults kept word by word; the rest is counted.
const FAULTS_MAX: usize = 20;

/// What clients of a load saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Right bodies.
    pub sound: u64,
    /// Exchanges that visibly failed: refused, reset, broken off, or an error status.
    pub failed: u64,
    /// Bodies that looked whole and were not what was asked for.
    pub wrong: u64,
    /// The first of them, and the first visible failures, in words.
    pub words: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: &str, wrong: bool) {
        if wrong {
            self.wrong += 1;
        } else {
            self.failed += 1;
        }
        if wrong || self.words.len() < FAULTS_MAX {
            self.words.push(other.to_owned());
        }
    }
}

/// Clients at work until they are stopped or dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// `clients` at once, each asking any of `targets` for any of `paths` of `host`, resting `pause` in between.
    #[must_use]
    pub fn start(
        clients: usize,
        targets: &[SocketAddr],
        host: &str,
        paths: &[String],
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = (0..clients)
            .map(|_| {
                let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
                let (targets, paths, host) = (targets.to_vec(), paths.to_vec(), host.to_owned());
                runtime().spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        ask(&targets, &host, &paths, &tally).await;
                        tokio::time::sleep(pause).await;
                    }
                })
            })
            .collect();
        Self {
            stop,
            tally,
            clients,
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets every client finish its request, and gives what they saw.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // A client that panicked has said so in the test's output.
            drop(client.await);
        }
        self.tally()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

async fn ask(targets: &[SocketAddr], host: &str, paths: &[String], tally: &Mutex<Tally>) {
    let (target, path) = {
        let mut random = rand::rng();
        match (targets.choose(&mut random), paths.choose(&mut random)) {
            (Some(target), Some(path)) => (*target, path.clone()),
            _ => return,
        }
    };
    let got = Request::get(host, &path).to(target).send().await;
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(broken) = &got.broken {
        tally.add(&format!("{target} {path}: {broken}"), false);
    } else if got.status != 200 {
        tally.add(&format!("{target} {path}: status {}", got.status), false);
    } else {
        let said = got.field(crate::content::CONTENT_FIELD);
        match content_fault(&path, said.as_deref(), &got.body) {
            None => tally.sound += 1,
            Some(fault) => tally.add(
                &format!("WRONG {target} {path}: {fault}; {}", got.cache_status()),
                true,
            ),
        }
    }
}

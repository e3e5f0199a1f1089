//! Waiting for facts. One knob (`NEARSIDE_LAB_PATIENCE`, a factor) stretches every deadline on a slow machine.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// Between two looks.
const STEP: Duration = Duration::from_millis(25);

/// How long a scenario waits for a fact that has no deadline of its own in the contract.
#[must_use]
pub fn patience() -> Duration {
    stretched(Duration::from_secs(20))
}

/// Asks `probe` until it says yes, and gives its answer.
///
/// # Panics
/// When `deadline` has passed; the message carries the probe's last reason.
#[track_caller]
pub fn eventually<T, F, A>(what: &str, deadline: Duration, mut probe: F) -> impl Future<Output = T>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, String>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let (start, deadline) = (Instant::now(), stretched(deadline));
        loop {
            let reason = match tokio::time::timeout(deadline, probe()).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(reason)) => reason,
                Err(_) => "the probe hung".to_owned(),
            };
            assert!(
                start.elapsed() < deadline,
                "{caller}: not within {deadline:?}: {what}: {reason}"
            );
            tokio::time::sleep(STEP).await;
        }
    }
}

/// Asks `probe` for the whole of `time`, and fails as soon as it says no.
///
/// # Panics
/// When the probe fails.
pub async fn never<F, A>(what: &str, time: Duration, mut probe: F)
where
    F: FnMut() -> A,
    A: Future<Output = Result<(), String>>,
{
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(reason) = probe().await {
            panic!("{what}: after {:?}: {reason}", start.elapsed());
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Runs a scenario on the lab's runtime. Links and origins live there too, so that a cluster can outlast the test
/// that started it. When the scenario fails, the last lines of its nodes' logs are printed.
pub fn run<T>(scenario: impl Future<Output = T>) -> T {
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime().block_on(scenario)));
    outcome.unwrap_or_else(|panic| {
        crate::lab::print_logs_of_this_thread();
        resume_unwind(panic)
    })
}

/// The one runtime of the test process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts where threads do")
    })
}

fn stretched(time: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| {
        let told = std::env::var("NEARSIDE_LAB_PATIENCE").ok();
        told.and_then(|text| text.parse().ok()).unwrap_or(1.0)
    });
    time.mul_f64(*factor)
}

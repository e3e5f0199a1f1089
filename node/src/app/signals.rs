//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, a second one stops at once.

use tokio::signal::unix::{SignalKind, signal};

/// Returns at the first SIGTERM or SIGINT; calls `reload` at each SIGHUP.
pub(super) async fn until_stop(reload: impl Fn()) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        // Without handlers the system's own apply: a signal ends the process, which loses nothing but open requests.
        tracing::error!("no signal handlers: this node can only be stopped at once");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => reload(),
        }
    }
}

/// Returns at the next SIGTERM or SIGINT.
pub(super) async fn stop_again() {
    until_stop(|| {}).await;
}

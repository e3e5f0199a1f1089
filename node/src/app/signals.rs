//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, a second one stops at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What this process was told and has not heeded yet. Made once: a signal that comes while nobody waits, as when the
/// store is being opened, is heeded by the next wait.
pub(super) struct Signals(Option<(Signal, Signal, Signal)>);

impl Signals {
    /// Begins to listen. From here on no signal ends the process by itself.
    pub(super) fn listen() -> Self {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::hangup()),
        );
        let (Ok(terminate), Ok(interrupt), Ok(hangup)) = signals else {
            // Without handlers the system's own apply: a signal ends the process, which loses nothing but open requests.
            tracing::error!("no signal handlers: this node can only be stopped at once");
            return Self(None);
        };
        Self(Some((terminate, interrupt, hangup)))
    }

    /// Returns at the next SIGTERM or SIGINT; calls `reload` at each SIGHUP.
    pub(super) async fn until_stop(&mut self, reload: impl Fn()) {
        let Some((terminate, interrupt, hangup)) = &mut self.0 else {
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
    pub(super) async fn stop_again(&mut self) {
        self.until_stop(|| {}).await;
    }
}

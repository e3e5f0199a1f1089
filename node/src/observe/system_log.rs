//! The system log: one line per fact, on standard error; the access log has standard output to itself.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Libraries that say more at `info` than an operator wants to read; what matters of it, this program says itself.
const QUIET_AT_INFO: &str = "info,openraft=error,actix_server=warn";

/// Starts the system log: JSON lines, or for a terminal, text.
///
/// # Errors
/// A filter that cannot be understood, or a log that runs already.
pub fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(match level {
        "info" => QUIET_AT_INFO,
        other => other,
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_ansi(colour)
            .with_target(false)
            .finish()
            .try_init()?;
    } else {
        log.json().flatten_event(true).finish().try_init()?;
    }
    Ok(())
}

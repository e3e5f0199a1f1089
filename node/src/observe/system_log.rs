//! The system log: one line per fact, on standard error; the access log has standard output to itself.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What libraries say below this is about themselves: which worker starts, each lost heartbeat of a peer that is down.
/// What it means for the node is said by the node itself. A filter that names a library hears all of it again.
const LIBRARIES: [&str; 6] = [
    "openraft=error",
    "actix_server=warn",
    "actix_http=warn",
    "foca=warn",
    "h2=warn",
    "hyper=warn",
];

/// The operator's filter with the libraries turned down, but for those that it names.
fn filter(level: &str) -> String {
    let quiet = LIBRARIES.iter().filter(|directive| {
        let name = directive.split('=').next().unwrap_or(directive);
        !level.split(',').any(|said| said.trim().starts_with(name))
    });
    quiet.fold(level.to_owned(), |filter, directive| {
        format!("{filter},{directive}")
    })
}

/// Starts the system log: JSON lines, or for a terminal, text.
///
/// # Errors
/// A filter that cannot be understood, or a log that runs already.
pub fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter(level))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_asked_for() {
        let usual = filter("info");
        assert!(usual.starts_with("info,openraft=error,"));
        assert!(EnvFilter::try_new(usual).is_ok());
        let asked = filter("warn,openraft::engine=debug");
        assert!(!asked.contains("openraft=error") && asked.contains("actix_server=warn"));
    }
}

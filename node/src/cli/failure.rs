//! How a command fails: one line, and the exit code that goes with it.

use std::process::ExitCode;

use crate::config::ConfigError;

/// A failure with words for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was tried, and failed.
    #[error("{0}")]
    Failed(String),
    /// There is no node where one was looked for.
    #[error("{0}")]
    Unreachable(String),
    /// It makes no sense as typed.
    #[error("{0}")]
    Usage(String),
    /// Everything is said already; only the exit code is left.
    #[error("")]
    Silent,
}

impl Failure {
    pub(super) fn failed(text: impl Into<String>) -> anyhow::Error {
        Self::Failed(text.into()).into()
    }

    pub(super) fn usage(text: impl Into<String>) -> anyhow::Error {
        Self::Usage(text.into()).into()
    }
}

/// Says what went wrong, on one line, and gives the exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind)
        == Some(std::io::ErrorKind::BrokenPipe)
    {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let code = match error.downcast_ref::<Failure>() {
        Some(Failure::Silent) => return ExitCode::from(1),
        Some(Failure::Usage(_)) => 2,
        Some(Failure::Failed(_) | Failure::Unreachable(_)) | None => 1,
    };
    eprintln!("nearside: {}", line(error));
    ExitCode::from(code)
}

/// What went wrong and why, on one line. A cause that the text above it repeats is not said again.
fn line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if cause.is_empty() || text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_and_on_one_line() {
        let cause = std::io::Error::other("disk\nfull");
        let error = anyhow::Error::new(cause)
            .context("the store failed: disk\nfull")
            .context("cannot start");
        assert_eq!(line(&error), "cannot start: the store failed: disk full");
    }
}

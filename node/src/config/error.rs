//! What is wrong with a file, in one line that an operator can act on.

use std::fmt;

/// One thing that is wrong, where, and what would be right: `shop.toml:7: unknown key …; did you mean …?`
///
/// Only the first is reported: the rest of a file that is wrong in one place often looks wrong for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as the operator named it, or the environment variable.
    pub file: String,
    /// Counted from one; none for an environment variable or a file that cannot be read.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What would be right, where we can guess it.
    pub hint: Option<String>,
}

impl ConfigError {
    pub(super) fn unlocated(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            what: what.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

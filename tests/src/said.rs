//! What a command said.

use serde_json::Value;

/// Exit code and output of one run of the program.
#[derive(Clone, Debug)]
pub struct Said {
    /// The arguments it was run with.
    pub arguments: Vec<String>,
    /// 0 done, 1 failed, 2 wrong usage; none: killed by a signal or out of time.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Itself, when the command ended with 0.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.told());
        self
    }

    /// Itself, when the command failed (1) with one line that holds every one of `words`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.told());
        let text = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        for word in words {
            assert!(
                text.contains(&word.to_lowercase()),
                "{word:?} is not in: {}",
                self.told()
            );
        }
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.told()))
    }

    /// Everything, for messages.
    #[must_use]
    pub fn told(&self) -> String {
        format!(
            "`nearside {}` ended with {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.arguments.join(" "),
            self.code,
            self.stdout,
            self.stderr
        )
    }
}

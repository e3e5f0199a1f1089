//! What the tour prints, and the count of what held.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

/// The printed tour. Each fact was checked, not assumed; those that did not hold are listed at the end.
pub(super) struct Report {
    colour: bool,
    steps: usize,
    held: usize,
    broken: Vec<String>,
}

impl Report {
    pub(super) fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour,
            steps: 0,
            held: 0,
            broken: Vec::new(),
        }
    }

    /// Opens the next step.
    pub(super) fn step(&mut self, title: impl Display) {
        self.steps += 1;
        let number = self.steps;
        self.line("");
        if self.colour {
            self.line(format_args!("\x1b[1m{number}. {title}\x1b[0m"));
        } else {
            self.line(format_args!("{number}. {title}"));
        }
    }

    /// One line of text. A reader that went away does not stop the tour.
    #[expect(
        clippy::let_underscore_must_use,
        reason = "a closed pipe must not end the cluster's clean-up"
    )]
    pub(super) fn line(&self, text: impl Display) {
        let _ = writeln!(stdout(), "{text}");
    }

    /// A fact that was checked.
    pub(super) fn fact(&mut self, held: bool, text: impl Display) {
        let (mark, colour) = if held { ("ok", 32) } else { ("FAILED", 31) };
        if self.colour {
            self.line(format_args!("   \x1b[{colour}m{mark}\x1b[0m {text}"));
        } else {
            self.line(format_args!("   {mark} {text}"));
        }
        if held {
            self.held += 1;
        } else {
            self.broken.push(format!("step {}: {text}", self.steps));
        }
    }

    /// The outcome of a step: one that could not be carried out is a fact that did not hold.
    pub(super) fn finish(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.fact(false, format_args!("could not go on: {error:#}"));
        }
    }

    /// The closing lines; true when everything held.
    pub(super) fn close(&self, took: Duration) -> bool {
        let (held, broken) = (self.held, self.broken.len());
        self.line("");
        if broken == 0 {
            self.line(format_args!(
                "All {held} facts held, in {:.1} s.",
                took.as_secs_f64()
            ));
        } else {
            self.line(format_args!("{held} facts held, {broken} did not:"));
            for fact in &self.broken {
                self.line(format_args!("  {fact}"));
            }
        }
        broken == 0
    }
}

/// A duration as people read it: 0.42 ms, 17 ms, 1.3 s.
pub(super) fn readable(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, readable};
    use std::time::Duration;

    #[test]
    fn a_fact_that_did_not_hold_decides_the_outcome() {
        let mut report = Report::new();
        report.fact(true, "water is wet");
        assert!(report.close(Duration::ZERO));
        report.finish(Err(anyhow::anyhow!("no water")));
        assert!(!report.close(Duration::ZERO));
    }

    #[test]
    fn durations_keep_two_or_three_digits() {
        assert_eq!(readable(Duration::from_micros(420)), "0.42 ms");
        assert_eq!(readable(Duration::from_millis(17)), "17 ms");
        assert_eq!(readable(Duration::from_millis(1300)), "1.3 s");
    }
}

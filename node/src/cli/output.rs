//! What commands print: tables, JSON, and colour where somebody looks.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// Prints text as it is. An error that is a closed pipe ends the command quietly.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one line.
pub(super) fn line(line: &str) -> anyhow::Result<()> {
    text(&format!("{line}\n"))
}

/// Says something that is not the answer, so that the answer can be piped.
pub(super) fn note(note: &str) {
    eprintln!("nearside: {note}");
}

/// Prints a value as JSON, for people and programs alike.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// How a word is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Plain,
    Faint,
}

/// True when standard output is a terminal whose owner wants colour (no-color.org).
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && std::io::stdout().is_terminal()
}

/// The word in its tone, where there is colour.
pub(super) fn toned(tone: Tone, word: &str) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Faint => "2",
        Tone::Plain => return word.to_owned(),
    };
    if colour() {
        format!("\u{1b}[{code}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}

/// Rows under a head, each column as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A cell: a word and its tone. The tone has no width.
#[derive(Debug)]
pub(super) struct Cell(String, Tone);

impl<T: ToString> From<T> for Cell {
    fn from(word: T) -> Self {
        Self(word.to_string(), Tone::Plain)
    }
}

impl Cell {
    pub(super) fn toned(tone: Tone, word: impl ToString) -> Self {
        Self(word.to_string(), tone)
    }

    /// The value, or a dash.
    pub(super) fn or_dash(value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => value.into(),
            None => "-".into(),
        }
    }
}

impl Table {
    pub(super) fn new(head: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            head: head.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text; no trailing blanks.
    pub(super) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let head = self.head.get(column).map_or(0, |head| head.chars().count());
            cells.fold(head, |width, cell| width.max(cell.0.chars().count()))
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        let head = self.head.iter().map(|word| (*word, Tone::Faint)).collect();
        let rows = self.rows.iter();
        let rows = rows.map(|row| row.iter().map(|cell| (cell.0.as_str(), cell.1)).collect());
        for row in std::iter::once(head).chain(rows) {
            let row: Vec<(&str, Tone)> = row;
            let last = row.len().saturating_sub(1);
            for (column, (word, tone)) in row.iter().enumerate() {
                text.push_str(&toned(*tone, word));
                if column < last {
                    let gap = widths.get(column).map_or(0, |width| width + 2);
                    let blanks = gap.saturating_sub(word.chars().count());
                    let _always_fits = write!(text, "{:blanks$}", "");
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Milliseconds, as short as they can be said.
pub(super) fn milliseconds(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// A length of time in words: `3m 20s`; what is below a second only when there is nothing above.
pub(super) fn span(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    let time = if ms >= 1000 {
        Duration::from_secs(time.as_secs())
    } else {
        time
    };
    humantime::format_duration(time).to_string()
}

/// A moment in UTC.
pub(super) fn moment(ms_since_epoch: u64) -> String {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(ms_since_epoch);
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// `1 site`, `2 sites`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["a".into(), "up".into()]);
        table.row(["longer".into(), Cell::or_dash(None::<u8>)]);
        assert_eq!(table.render(), "NAME    STATE\na       up\nlonger  -\n");
    }

    #[test]
    fn times_are_said_shortly() {
        assert_eq!(span(200_123), "3m 20s");
        assert_eq!(span(12), "12ms");
        assert_eq!(milliseconds(3.06), "3.1 ms");
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
    }
}

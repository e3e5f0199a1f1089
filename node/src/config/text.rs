//! One TOML text with its name: parsing, and the line of a key, so that whatever is wrong can be pointed at.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::nearest::nearest;

/// A text and what the operator calls it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// Keys (`section.key`, lower case) that an environment variable has the last word on.
    pub(super) overridden: &'a [String],
}

impl<'a> Text<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            overridden: &[],
        }
    }

    /// The text as `T`, or the first thing that is wrong with it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            // What is wrong with the file as a whole points at nothing, or at its beginning.
            let span = error.span().unwrap_or_default();
            let key = if span.is_empty() || span.end >= self.text.len() {
                String::new()
            } else {
                self.key_at(&span)
            };
            let offset = span.start;
            let (what, hint) = explain(error.message(), &key);
            ConfigError {
                file: self.name.to_owned(),
                line: Some(self.line(offset)),
                what,
                hint,
            }
        })
    }

    /// Something is wrong with the value at `path` (`origin.1.url`: keys and places in lists, with dots between).
    /// A path that leads nowhere points at what stands nearest above it.
    pub(super) fn wrong(&self, path: &str, what: impl Into<String>) -> ConfigError {
        let from_environment = self.overridden.iter().find(|key| {
            path == key.as_str()
                || path
                    .strip_prefix(key.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        match from_environment {
            Some(key) => ConfigError::unlocated(variable(key), what),
            None => ConfigError {
                file: self.name.to_owned(),
                line: Some(self.line(self.offset(path))),
                what: what.into(),
                hint: None,
            },
        }
    }

    /// The line on which the value at `path` begins.
    pub(super) fn line_of(&self, path: &str) -> usize {
        self.line(self.offset(path))
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// Where the value at `path` begins; where it is absent, the nearest table above it.
    fn offset(&self, path: &str) -> usize {
        let Ok(table) = DeTable::parse(self.text) else {
            return 0;
        };
        let mut steps = path.split('.').filter(|step| !step.is_empty());
        let Some((mut offset, mut value)) = steps
            .next()
            .and_then(|key| table.get_ref().get_key_value(key))
            .map(|(key, value)| (key.span().start, value.get_ref()))
        else {
            return 0;
        };
        for step in steps {
            let next = match value {
                DeValue::Table(table) => table
                    .get_key_value(step)
                    .map(|(key, value)| (key.span().start, value.get_ref())),
                DeValue::Array(list) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| list.get(index))
                    .map(|value| (value.span().start, value.get_ref())),
                _ => None,
            };
            match next {
                Some((start, inner)) => (offset, value) = (start, inner),
                None => break,
            }
        }
        offset
    }

    /// The dotted key that `span` points at, itself or within its value; empty when it means the whole file.
    fn key_at(&self, span: &Range<usize>) -> String {
        fn holds(outer: Range<usize>, inner: &Range<usize>) -> bool {
            outer.contains(&inner.start) && inner.end <= outer.end
        }
        fn descend(value: &DeValue<'_>, span: &Range<usize>, path: &mut String) {
            match value {
                DeValue::Table(table) => table_at(table, span, path),
                DeValue::Array(list) => {
                    let before = path.len();
                    for value in list {
                        descend(value.get_ref(), span, path);
                        if path.len() > before {
                            return;
                        }
                    }
                }
                _ => {}
            }
        }
        fn table_at(table: &DeTable<'_>, span: &Range<usize>, path: &mut String) {
            // The span of a table that was opened by a header is the header's line only, so its keys are asked too.
            for (key, value) in table {
                let before = path.len();
                if before > 0 {
                    path.push('.');
                }
                path.push_str(key.get_ref());
                let here = path.len();
                descend(value.get_ref(), span, path);
                let pointed_at = holds(key.span(), span) || holds(value.span(), span);
                if path.len() > here || pointed_at {
                    return;
                }
                path.truncate(before);
            }
        }
        let mut path = String::new();
        if let Ok(table) = DeTable::parse(self.text) {
            table_at(table.get_ref(), span, &mut path);
        }
        path
    }
}

/// `limits.connections` as the environment writes it.
pub(super) fn variable(key: &str) -> String {
    format!("NEARSIDE__{}", key.replace('.', "__").to_uppercase())
}

/// serde's message in the operator's words: what is wrong, and what would be right.
pub(super) fn explain(message: &str, key: &str) -> (String, Option<String>) {
    let mut parts = message.split('`');
    match parts.next().unwrap_or_default() {
        "unknown field " => {
            let name = parts.next().unwrap_or_default();
            let known: Vec<&str> = parts.skip(1).step_by(2).collect();
            // The key itself is what is pointed at, except where the message came without a place.
            let section = key.strip_suffix(name).unwrap_or(key).trim_end_matches('.');
            let what = if section.is_empty() {
                format!("unknown key `{name}`")
            } else {
                format!("unknown key `{name}` in `{section}`")
            };
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => Some(format!("did you mean `{meant}`?")),
                None if known.is_empty() => None,
                None => Some(format!("known here: {}", known.join(", "))),
            };
            (what, hint)
        }
        "unknown variant " => {
            let name = parts.next().unwrap_or_default();
            let known: Vec<&str> = parts.skip(1).step_by(2).collect();
            let what = format!("`{key}` cannot be \"{name}\"");
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("write one of {}", known.join(", ")),
            };
            (what, Some(hint))
        }
        "missing field " => {
            let name = parts.next().unwrap_or_default();
            let what = if key.is_empty() {
                format!("`{name}` is missing")
            } else {
                format!("`{name}` is missing in `{key}`")
            };
            (what, None)
        }
        _ => {
            let first_line = message.lines().next().unwrap_or_default();
            let what = if key.is_empty() {
                first_line.to_owned()
            } else {
                format!("`{key}`: {first_line}")
            };
            (what, None)
        }
    }
}

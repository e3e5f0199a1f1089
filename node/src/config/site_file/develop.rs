//! Development mode in a site's text: the one key is set or taken out, and every other byte stays as it was written.

use std::time::SystemTime;

use toml::de::{DeTable, DeValue};

use super::parse;
use crate::config::error::ConfigError;

const KEY: &str = "development_until";

/// The text of a site with `[cache] development_until` at that moment, or without it.
///
/// # Errors
/// A text that is no site's, or in which the key cannot be set without rewriting more of it.
pub fn develop(text: &str, name: &str, until: Option<SystemTime>) -> Result<String, ConfigError> {
    parse(text, name)?;
    let moment = until.map(|until| humantime::format_rfc3339_seconds(until).to_string());
    let changed = match &moment {
        Some(moment) => set(text, moment),
        None => unset(text),
    };
    // What was meant is what the text says now, or nothing is changed.
    match changed.filter(|changed| says(changed, name, moment.as_deref())) {
        Some(changed) => Ok(changed),
        None => Err(ConfigError::unlocated(
            name,
            "`development_until` cannot be changed here without rewriting the file around it",
        )
        .hint("change it in [cache] yourself, and apply the file")),
    }
}

fn says(text: &str, name: &str, moment: Option<&str>) -> bool {
    let Ok(site) = parse(text, name) else {
        return false;
    };
    let said = site.cache.development_until;
    said.map(|until| humantime::format_rfc3339_seconds(until).to_string())
        .as_deref()
        == moment
}

fn set(text: &str, moment: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let line = format!("{KEY} = {moment}");
    let Some((key, cache)) = table.get_ref().get_key_value("cache") else {
        return Some(appended(text, &line));
    };
    let DeValue::Table(inner) = cache.get_ref() else {
        return None;
    };
    if let Some((_, value)) = inner.get_key_value(KEY) {
        let span = value.span();
        return Some(format!(
            "{}{moment}{}",
            &text[..span.start],
            &text[span.end..]
        ));
    }
    let span = cache.span();
    if text[span.clone()].starts_with('{') {
        let comma = if inner.is_empty() { "" } else { "," };
        let at = span.start + 1;
        return Some(format!("{} {line}{comma}{}", &text[..at], &text[at..]));
    }
    let begin = text[..key.span().start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[begin..].find('\n').map_or(text.len(), |at| begin + at);
    let header = &text[begin..end];
    let is = |header: &str| {
        let inner = header.trim_start().strip_prefix('[')?.split(']').next()?;
        Some(inner.trim() == "cache")
    };
    match is(header) {
        Some(true) => Some(format!("{}\n{line}{}", &text[..end], &text[end..])),
        // `[cache.key]` without a `[cache]`.
        Some(false) => Some(appended(text, &line)),
        // `cache.key = …`.
        None => Some(format!(
            "{}cache.{line}\n{}",
            &text[..begin],
            &text[begin..]
        )),
    }
}

fn appended(text: &str, line: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{gap}[cache]\n{line}\n")
}

fn unset(text: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let cache = table.get_ref().get("cache");
    let Some(DeValue::Table(inner)) = cache.map(toml::Spanned::get_ref) else {
        return Some(text.to_owned());
    };
    let Some((key, value)) = inner.get_key_value(KEY) else {
        return Some(text.to_owned());
    };
    let (key, value) = (key.span(), value.span());
    let begin = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[value.end..]
        .find('\n')
        .map_or(text.len(), |at| value.end + at + 1);
    let before = text[begin..key.start].trim();
    let after = text[value.end..end].trim();
    // A line of its own, with nothing behind it that is not about it.
    if matches!(before, "" | "cache.") && (after.is_empty() || after.starts_with('#')) {
        return Some(format!("{}{}", &text[..begin], &text[end..]));
    }
    // In an inline table: with the comma behind it, or the one before.
    let rest = text[value.end..].trim_start();
    if let Some(rest) = rest.strip_prefix(',') {
        return Some(format!("{}{}", &text[..key.start], rest.trim_start()));
    }
    let head = text[..key.start].trim_end();
    let head = head.strip_suffix(',').unwrap_or(head);
    Some(format!("{head} {rest}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEAD: &str = "# mine\nname = \"a\"\nhosts = [\"a.example\"]\n";
    const ORIGIN: &str = "[[origin]]\nurl = \"http://127.0.0.1:1\"\n";

    #[test]
    fn the_key_comes_and_goes_and_nothing_else_changes() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        for (before, with) in [
            (
                format!("{HEAD}{ORIGIN}"),
                format!("{HEAD}{ORIGIN}[cache]\ndevelopment_until = 2026-11-24T12:00:00Z\n"),
            ),
            (
                format!("{HEAD}{ORIGIN}[cache] # here\nbody_max = \"1 MiB\"\n"),
                format!(
                    "{HEAD}{ORIGIN}[cache] # here\ndevelopment_until = 2026-11-24T12:00:00Z\nbody_max = \"1 MiB\"\n"
                ),
            ),
            (
                format!("{HEAD}cache = {{ body_max = \"1 MiB\" }}\n{ORIGIN}"),
                format!(
                    "{HEAD}cache = {{ development_until = 2026-11-24T12:00:00Z, body_max = \"1 MiB\" }}\n{ORIGIN}"
                ),
            ),
            (
                format!("{HEAD}cache.body_max = \"1 MiB\"\n{ORIGIN}"),
                format!(
                    "{HEAD}cache.development_until = 2026-11-24T12:00:00Z\ncache.body_max = \"1 MiB\"\n{ORIGIN}"
                ),
            ),
            (
                format!("{HEAD}{ORIGIN}[cache.key]\nquery_sort = true"),
                format!(
                    "{HEAD}{ORIGIN}[cache.key]\nquery_sort = true\n[cache]\ndevelopment_until = 2026-11-24T12:00:00Z\n"
                ),
            ),
        ] {
            let set = develop(&before, "a.toml", Some(until)).unwrap();
            assert_eq!(set, with);
            let later = develop(&set, "a.toml", Some(until + Duration::from_secs(60))).unwrap();
            assert_eq!(later, with.replace("12:00:00Z", "12:01:00Z"));
            let unset = develop(&later, "a.toml", None).unwrap();
            // A section that was added stays, and says nothing.
            assert_eq!(
                unset.replace("\n[cache]\n", "\n").trim_end(),
                before.replace("\n[cache]\n", "\n").trim_end()
            );
            assert_eq!(develop(&unset, "a.toml", None).unwrap(), unset);
        }
        let last = format!(
            "{HEAD}cache = {{ body_max = \"1 MiB\", development_until = 2026-11-24T12:00:00Z }}\n{ORIGIN}"
        );
        let unset = develop(&last, "a.toml", None).unwrap();
        assert_eq!(
            unset,
            format!("{HEAD}cache = {{ body_max = \"1 MiB\" }}\n{ORIGIN}")
        );
    }

    #[test]
    fn what_is_no_site_is_not_touched() {
        assert!(develop("name = 1\n", "a.toml", None).is_err());
    }
}

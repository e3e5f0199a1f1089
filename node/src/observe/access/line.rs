//! An access record as a line: for a machine, or for a person.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Record;

/// Query parameters whose values are not written down.
const REDACTED: [&str; 14] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "code",
    "key",
    "passwd",
    "password",
    "secret",
    "session",
    "sig",
    "signature",
    "token",
    "jwt",
];

/// The JSON line's shape. Times in milliseconds.
#[derive(Serialize)]
struct Json<'a> {
    time: Shown<humantime::Rfc3339Timestamp>,
    node: &'a str,
    site: Option<&'a str>,
    method: &'a str,
    host: &'a str,
    path: Cow<'a, str>,
    status: u16,
    bytes: u64,
    complete: bool,
    first_byte_ms: f64,
    duration_ms: f64,
    cache: &'a str,
    reason: Option<&'a str>,
    collapsed: bool,
    peer: Option<&'a str>,
    origin: Option<&'a str>,
    client: IpAddr,
    request_id: Shown<Hex>,
    generation: u64,
}

/// Written as it shows itself, without a string between.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A request's id, as error pages show it.
struct Hex(u64);

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Appends the line, without its end.
pub(super) fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let line = Json {
        time: Shown(humantime::format_rfc3339_millis(record.time)),
        node: &record.node,
        site: record.site.as_deref(),
        method: record.method.as_str(),
        host: &record.host,
        path: redacted(&record.target),
        status: record.status,
        bytes: record.body_bytes,
        complete: record.complete,
        first_byte_ms: milliseconds(record.first_byte),
        duration_ms: milliseconds(record.duration),
        cache: record.outcome,
        reason: record.reason,
        collapsed: record.collapsed,
        peer: record.peer.as_deref(),
        origin: record.origin.as_deref(),
        client: record.client,
        request_id: Shown(Hex(record.request_id)),
        generation: record.generation,
    };
    // Plain data into memory: nothing here can fail.
    serde_json::to_writer(out, &line).unwrap_or_default();
}

/// Three decimals are enough, and read better.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The line for a person: time, method, path, status, outcome, duration, size.
pub(super) fn human(record: &Record<'_>, colour: bool, line: &mut Vec<u8>) {
    let time = humantime::format_rfc3339_seconds(record.time).to_string();
    // "2026-11-24T07:10:03Z": the time of day is what a person at a terminal wants.
    let clock = time.get(11..19).unwrap_or(&time);
    let outcome = match record.reason {
        Some(reason) if record.outcome == "uncacheable" || record.outcome == "bypass" => {
            format!("{}: {reason}", record.outcome)
        }
        Some(reason) => reason.to_owned(),
        None => record.outcome.to_owned(),
    };
    let paint = match record.outcome {
        "hit" | "revalidated" => "32",
        "stale" | "stale-if-error" => "33",
        "refused" | "no-origin" => "31",
        _ => "36",
    };
    let (on, off) = if colour {
        (format!("\x1b[{paint}m"), "\x1b[0m")
    } else {
        (String::new(), "")
    };
    let broken = if record.complete { "" } else { "  broke off" };
    // Writing into memory cannot fail.
    write!(
        line,
        "{clock}  {:<6} {:<40} {}  {on}{outcome:<24}{off} {:>9}  {:>9}{broken}",
        printable(record.method.as_str()),
        printable(&redacted(&record.target)),
        record.status,
        span(record.duration),
        size(record.body_bytes),
    )
    .unwrap_or_default();
}

/// What a client sent must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn span(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        100_000..1_000_000 => format!("{:.0} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Path and query without the values of parameters that tell secrets.
fn redacted(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return target.into();
    };
    let mut text = format!("{path}?");
    for (at, parameter) in query.split('&').enumerate() {
        if at > 0 {
            text.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if is_telling(name) => {
                text.push_str(name);
                text.push_str("=REDACTED");
            }
            _ => text.push_str(parameter),
        }
    }
    text.into()
}

fn is_telling(name: &str) -> bool {
    let plain = percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .to_ascii_lowercase()
        .replace('-', "_");
    REDACTED.iter().any(|telling| {
        plain == *telling || plain.ends_with(&format!("_{telling}")) || plain.starts_with("x_amz_")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn a_person_reads_hit_or_why_not() {
        let mut line = Vec::new();
        human(&record(), false, &mut line);
        let line = String::from_utf8(line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = [
            "22:13:20",
            "GET",
            "/a?token=REDACTED&b=1",
            "200",
            "bypass:",
            "set-cookie",
            "1.2",
            "ms",
            "2.0",
            "KiB",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_machine_reads_every_field() {
        let mut line = Vec::new();
        json(&record(), &mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!(value["path"], "/a?token=REDACTED&b=1");
        assert_eq!(value["duration_ms"], 1.25);
        assert_eq!(value["cache"], "bypass");
        assert_eq!(value["reason"], "set-cookie");
        assert_eq!(value["request_id"], "0000000000000abc");
        assert_eq!(value["origin"], "origin1");
        assert_eq!(value["client"], "192.0.2.1");
        assert_eq!(value["peer"], serde_json::Value::Null);
        assert_eq!(value.as_object().unwrap().len(), 19);
    }

    #[test]
    fn values_of_telling_parameters_are_not_written() {
        for (target, expected) in [
            ("/a", "/a"),
            ("/a?q=1", "/a?q=1"),
            ("/a?API-Key=1&q=2", "/a?API-Key=REDACTED&q=2"),
            ("/a?X-Amz-Signature=1", "/a?X-Amz-Signature=REDACTED"),
            ("/a?id_token=1", "/a?id_token=REDACTED"),
            ("/a?to%6ben=1", "/a?to%6ben=REDACTED"),
            ("/a?monkey=1", "/a?monkey=1"),
        ] {
            assert_eq!(redacted(target), expected);
        }
    }
}

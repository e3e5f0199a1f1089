//! Access records: one per request, as a JSON line, or as the short line that `serve` shows on a terminal.
//!
//! Records cross a bounded channel to a thread of their own, so that no request waits for a terminal or a full pipe.
//! When the channel is full they are dropped, and counted. A record holds no credentials, no cookies, and of query
//! parameters with telling names no values.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::json;

/// Records that may wait for the writer.
const WAITING_MAX: usize = 8192;

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

/// One request, from its head to its last byte.
#[derive(Clone, Debug)]
pub struct Record {
    /// When its head was read.
    pub time: SystemTime,
    /// This node.
    pub node: Box<str>,
    /// The site, if the host belongs to one.
    pub site: Option<Box<str>>,
    /// The method.
    pub method: Method,
    /// The host as asked for.
    pub host: String,
    /// Path and query as asked for.
    pub target: String,
    /// The status that was sent.
    pub status: u16,
    /// Body bytes that were sent.
    pub body_bytes: u64,
    /// False when the body broke off, or the client went before its end.
    pub complete: bool,
    /// From the request's head to the response's.
    pub first_byte: Duration,
    /// From the request's head to the last byte.
    pub duration: Duration,
    /// `hit`, `miss` …
    pub outcome: &'static str,
    /// Why not a hit, where there is a reason.
    pub reason: Option<&'static str>,
    /// It waited for another's fetch.
    pub collapsed: bool,
    /// The node that was asked before an origin.
    pub peer: Option<Box<str>>,
    /// The origin's name, never its address.
    pub origin: Option<Box<str>>,
    /// The client.
    pub client: IpAddr,
    /// The id that our error pages show.
    pub request_id: u64,
    /// The view's generation.
    pub generation: u64,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object per line.
    Json,
    /// One short line for a person; with colours or without.
    Human {
        /// ANSI colours.
        colour: bool,
    },
}

/// Where requests leave their records. Clones share one.
#[derive(Clone, Debug, Default)]
pub struct AccessLog {
    sender: Option<SyncSender<Box<Record>>>,
    dropped: Arc<AtomicU64>,
    queued: Arc<AtomicU32>,
}

impl AccessLog {
    /// No log: records are not even made.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Starts the writer. It ends when the last clone of the log has gone, or its output is closed.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(
        form: Form,
        output: impl Write + Send + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let queued: Arc<AtomicU32> = Arc::default();
        let waiting = Arc::clone(&queued);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || run(form, &receiver, output, &waiting))?;
        let log = Self {
            sender: Some(sender),
            dropped: Arc::default(),
            queued,
        };
        Ok((log, writer))
    }

    /// Is anybody reading?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    /// Leaves a record; drops it when too many are waiting.
    pub fn write(&self, record: Box<Record>) {
        let Some(sender) = &self.sender else { return };
        // Counted first, so that the writer never takes away what is not there yet.
        self.queued.fetch_add(1, Ordering::Relaxed);
        if sender.try_send(record).is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Records that wait for the writer.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.queued.load(Ordering::Relaxed)
    }
}

/// Writes what comes, and flushes whenever there is nothing left to write.
fn run(form: Form, receiver: &Receiver<Box<Record>>, output: impl Write, queued: &AtomicU32) {
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    let mut line = String::new();
    loop {
        let record = match receiver.try_recv() {
            Ok(record) => record,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                if output.flush().is_err() {
                    return;
                }
                match receiver.recv() {
                    Ok(record) => record,
                    Err(_) => break,
                }
            }
        };
        queued.fetch_sub(1, Ordering::Relaxed);
        line.clear();
        match form {
            Form::Json => json_line(&record, &mut line),
            Form::Human { colour } => human_line(&record, colour, &mut line),
        }
        line.push('\n');
        if output.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
    // The output is gone or going; there is nobody to tell.
    drop(output.flush());
}

/// The JSON line. Times in milliseconds.
fn json_line(record: &Record, line: &mut String) {
    let value = json!({
        "time": humantime::format_rfc3339_millis(record.time).to_string(),
        "node": record.node,
        "site": record.site,
        "method": record.method.as_str(),
        "host": record.host,
        "path": redacted(&record.target),
        "status": record.status,
        "bytes": record.body_bytes,
        "complete": record.complete,
        "first_byte_ms": milliseconds(record.first_byte),
        "duration_ms": milliseconds(record.duration),
        "cache": record.outcome,
        "reason": record.reason,
        "collapsed": record.collapsed,
        "peer": record.peer,
        "origin": record.origin,
        "client": record.client,
        "request_id": format!("{:016x}", record.request_id),
        "generation": record.generation,
    });
    line.push_str(&value.to_string());
}

/// Three decimals are enough, and read better.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The line for a person: time, method, path, status, outcome, duration, size.
fn human_line(record: &Record, colour: bool, line: &mut String) {
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
    // Writing to a String cannot fail.
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
fn redacted(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
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
    text
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
    use super::*;
    use parking_lot::Mutex;

    fn record() -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            node: "lon1".into(),
            site: Some("shop".into()),
            method: Method::GET,
            host: "shop.example".to_owned(),
            target: "/a?token=abc&b=1".to_owned(),
            status: 200,
            body_bytes: 2048,
            complete: true,
            first_byte: Duration::from_micros(300),
            duration: Duration::from_micros(1_250),
            outcome: "bypass",
            reason: Some("set-cookie"),
            collapsed: false,
            peer: None,
            origin: Some("origin1".into()),
            client: "192.0.2.1".parse().unwrap(),
            request_id: 0xabc,
            generation: 7,
        }
    }

    #[test]
    fn a_person_reads_hit_or_why_not() {
        let mut line = String::new();
        human_line(&record(), false, &mut line);
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
        let mut line = String::new();
        json_line(&record(), &mut line);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!(value["path"], "/a?token=REDACTED&b=1");
        assert_eq!(value["duration_ms"], 1.25);
        assert_eq!(value["cache"], "bypass");
        assert_eq!(value["reason"], "set-cookie");
        assert_eq!(value["request_id"], "0000000000000abc");
        assert_eq!(value["origin"], "origin1");
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

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_writer_ends_with_its_log_and_loses_nothing() {
        let output = Shared::default();
        let (log, writer) = AccessLog::start(Form::Json, output.clone()).unwrap();
        for _ in 0..100 {
            log.write(Box::new(record()));
        }
        assert!(log.is_on() && !AccessLog::off().is_on());
        drop(log);
        writer.join().unwrap();
        let text = String::from_utf8(output.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 100);
    }

    #[test]
    fn when_the_writer_is_stuck_records_are_dropped_and_counted() {
        let (sender, _receiver) = sync_channel(1);
        let log = AccessLog {
            sender: Some(sender),
            dropped: Arc::default(),
            queued: Arc::default(),
        };
        for _ in 0..3 {
            log.write(Box::new(record()));
        }
        assert_eq!((log.dropped(), log.queued()), (2, 1));
    }
}

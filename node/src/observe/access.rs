//! Access records: one per request, as a JSON line, or as the short line that `serve` shows on a terminal.
//!
//! A worker writes its lines into a buffer of its own. A thread beside the workers takes what has come and writes it out,
//! many lines in one call, so that no request waits for a terminal or a full pipe, and none wakes anybody but the first
//! after a pause. The buffers are bounded: what does not fit is dropped, and counted. A record holds no credentials, no
//! cookies, and of query parameters with telling names no values.

mod line;

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::Method;
use parking_lot::{Condvar, Mutex};

/// More threads than this share buffers.
const SHARES: usize = 8;

/// Of one buffer, in bytes.
const WAITING_MAX: usize = 4 << 20;

/// How long the writer lets lines gather before it takes them.
const GATHER: Duration = Duration::from_millis(20);

/// One request, from its head to its last byte.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When its head was read.
    pub time: SystemTime,
    /// This node.
    pub node: Cow<'a, str>,
    /// The site, if the host belongs to one.
    pub site: Option<Cow<'a, str>>,
    /// The method.
    pub method: Method,
    /// The host as asked for.
    pub host: Cow<'a, str>,
    /// Path and query as asked for.
    pub target: Cow<'a, str>,
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
    pub peer: Option<Cow<'a, str>>,
    /// The origin's name, never its address.
    pub origin: Option<Cow<'a, str>>,
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
    end: Option<Arc<End>>,
}

/// The workers' end; the writer stops when it has gone.
#[derive(Debug)]
struct End {
    form: Form,
    shared: Arc<Shared>,
}

/// What workers and the writer share.
#[derive(Debug, Default)]
struct Shared {
    shares: [Share; SHARES],
    dropped: AtomicU64,
    /// The writer sleeps until a line comes.
    asleep: AtomicBool,
    closed: Mutex<bool>,
    wake: Condvar,
}

/// One worker's lines, on cache lines that it does not share.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    records: u32,
}

impl Drop for End {
    fn drop(&mut self) {
        *self.shared.closed.lock() = true;
        self.shared.wake.notify_all();
    }
}

/// The calling thread's share: threads take turns when they first write.
fn own_share() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARES;
    }
    OWN.with(|own| *own)
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
        let shared: Arc<Shared> = Arc::default();
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || run(&theirs, output))?;
        let end = Some(Arc::new(End { form, shared }));
        Ok((Self { end }, writer))
    }

    /// Is anybody reading?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.end.is_some()
    }

    /// Leaves a record; drops it when too much is waiting.
    pub fn write(&self, record: &Record<'_>) {
        let Some(end) = &self.end else { return };
        let shared = &end.shared;
        {
            let waiting = &mut *shared.shares[own_share()].0.lock();
            if waiting.lines.len() >= WAITING_MAX {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            match end.form {
                Form::Json => line::json(record, &mut waiting.lines),
                Form::Human { colour } => line::human(record, colour, &mut waiting.lines),
            }
            waiting.lines.push(b'\n');
            waiting.records += 1;
        }
        // The line first, then the look: the writer does the two the other way round, so one of them sees the other.
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            drop(shared.closed.lock());
            shared.wake.notify_one();
        }
    }

    /// Records dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let end = self.end.as_ref();
        end.map_or(0, |end| end.shared.dropped.load(Ordering::Relaxed))
    }

    /// Records that wait for the writer.
    #[must_use]
    pub fn queued(&self) -> u32 {
        let shares = self.end.iter().flat_map(|end| &end.shared.shares);
        shares.map(|share| share.0.lock().records).sum()
    }
}

impl Shared {
    /// Takes what has come since.
    fn take(&self, lines: &mut Vec<u8>) {
        for share in &self.shares {
            let waiting = &mut *share.0.lock();
            if waiting.records > 0 {
                lines.extend_from_slice(&waiting.lines);
                waiting.lines.clear();
                waiting.records = 0;
            }
        }
    }

    /// Waits until something has come, and a moment longer. True when nothing will come any more.
    fn wait(&self) -> bool {
        let mut closed = self.closed.lock();
        self.asleep.store(true, Ordering::SeqCst);
        let has_come = || self.shares.iter().any(|share| share.0.lock().records > 0);
        while !*closed && self.asleep.load(Ordering::SeqCst) && !has_come() {
            self.wake.wait(&mut closed);
        }
        self.asleep.store(false, Ordering::SeqCst);
        if !*closed {
            self.wake.wait_for(&mut closed, GATHER);
        }
        *closed
    }
}

/// Writes what comes until the log has gone.
fn run(shared: &Shared, mut output: impl Write) {
    let mut lines = Vec::new();
    loop {
        let last = shared.wait();
        shared.take(&mut lines);
        // The output is gone or going: there is nobody to tell.
        if output.write_all(&lines).is_err() || output.flush().is_err() {
            return;
        }
        lines.clear();
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    pub(super) fn record() -> Record<'static> {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            node: "lon1".into(),
            site: Some("shop".into()),
            method: Method::GET,
            host: "shop.example".into(),
            target: "/a?token=abc&b=1".into(),
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

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
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
        let output = Output::default();
        let (log, writer) = AccessLog::start(Form::Json, output.clone()).unwrap();
        for _ in 0..100 {
            log.write(&record());
        }
        assert!(log.is_on() && !AccessLog::off().is_on());
        drop(log);
        writer.join().unwrap();
        let text = String::from_utf8(output.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 100);
    }

    #[test]
    fn when_the_writer_is_stuck_records_are_dropped_and_counted() {
        let end = End {
            form: Form::Json,
            shared: Arc::default(),
        };
        let log = AccessLog {
            end: Some(Arc::new(end)),
        };
        let mut line = Vec::new();
        line::json(&record(), &mut line);
        let fit = WAITING_MAX.div_ceil(line.len() + 1) as u32;
        for _ in 0..fit + 2 {
            log.write(&record());
        }
        assert_eq!((log.dropped(), log.queued()), (2, fit));
    }

    /// Records of many threads, with pauses that let the writer fall asleep between them, all arrive.
    #[test]
    fn a_sleeping_writer_is_woken() {
        let output = Output::default();
        let (log, writer) = AccessLog::start(Form::Json, output.clone()).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let log = log.clone();
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        log.write(&record());
                        while log.queued() > 0 {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        drop(log);
        writer.join().unwrap();
        let text = String::from_utf8(output.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(
            text.lines()
                .all(|line| line.starts_with('{') && line.ends_with('}'))
        );
    }
}

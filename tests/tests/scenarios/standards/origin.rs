//! An origin that says exactly what it is told, down to the fields it leaves out: the lab's own one speaks through a
//! library, which adds a `Date`, mends framing and has no interim responses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it says to one question.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// A response: status, field lines, and content where the status and the method have any.
    Answer {
        status: u16,
        fields: String,
        /// Sent before the head, as it is.
        before: &'static str,
        /// It takes so long to answer.
        after: Duration,
    },
    /// It reads the question and closes the connection.
    Nothing,
    /// It promises more bytes than it sends.
    Half { fields: String },
    /// An answer of HTTP/1.0, whose content ends with the connection.
    Old { fields: String },
}

/// A question as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Path and query as written.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// The content that was sent back, or would have been.
    pub(super) content: String,
}

#[derive(Debug, Default)]
struct Book {
    /// Answers by the path's first segment, in order; the last one stays.
    scripts: HashMap<String, Vec<Says>>,
    asked: HashMap<String, Vec<Asked>>,
}

/// The origin.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) address: SocketAddr,
    book: Arc<Mutex<Book>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Exact {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exact {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book: Arc<Mutex<Book>> = Arc::default();
        let shared = Arc::clone(&book);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            book,
            task,
        }
    }

    /// What it says to questions about paths that begin with `/name`.
    pub(super) fn script(&self, name: &str, says: Vec<Says>) {
        lock(&self.book).scripts.insert(name.to_owned(), says);
    }

    /// What it was asked about them, oldest first.
    pub(super) fn asked(&self, name: &str) -> Vec<Asked> {
        lock(&self.book)
            .asked
            .get(name)
            .cloned()
            .unwrap_or_default()
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, until it ends or is told to end.
async fn converse(stream: TcpStream, book: Arc<Mutex<Book>>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut asked) = read(&mut stream).await {
        let name = asked.target.trim_start_matches('/');
        let name = name.split(['/', '?']).next().unwrap_or_default().to_owned();
        let says = {
            let mut book = lock(&book);
            let number = book.asked.get(&name).map_or(0, Vec::len);
            let script = book.scripts.get(&name).cloned().unwrap_or_default();
            asked.content = format!("{name} {}", number + 1);
            let (method, content) = (asked.method.clone(), asked.content.clone());
            book.asked.entry(name).or_default().push(asked);
            script.get(number).or(script.last()).map(|says| {
                let (after, goes_on) = match says {
                    Says::Answer { after, .. } => (*after, true),
                    _ => (Duration::ZERO, false),
                };
                (bytes(says, &method, &content), after, goes_on)
            })
        };
        let Some((bytes, after, goes_on)) = says else {
            return;
        };
        tokio::time::sleep(after).await;
        if stream.get_mut().write_all(&bytes).await.is_err() || !goes_on {
            return;
        }
    }
}

/// Reads one request; none at the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HeaderMap::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await.ok()?;
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(name, value);
    }
    if headers.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; length + 2];
            stream.read_exact(&mut piece).await.ok()?;
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        let mut content = vec![0; length.to_str().ok()?.parse().ok()?];
        stream.read_exact(&mut content).await.ok()?;
    }
    Some(Asked {
        method,
        target,
        headers,
        content: String::new(),
    })
}

fn bytes(says: &Says, method: &str, content: &str) -> Vec<u8> {
    match says {
        Says::Nothing => Vec::new(),
        Says::Half { fields } => {
            let length = content.len() + 1000;
            format!("HTTP/1.1 200 Fine\r\n{fields}content-length: {length}\r\n\r\n{content}")
        }
        .into_bytes(),
        Says::Old { fields } => format!("HTTP/1.0 200 Fine\r\n{fields}\r\n{content}").into_bytes(),
        Says::Answer {
            status,
            fields,
            before,
            ..
        } => {
            let bodiless = matches!(status, 204 | 304);
            let framed = bodiless || fields.contains("content-length:");
            let chunked = fields.contains("transfer-encoding: chunked");
            let length = match framed || chunked {
                true => String::new(),
                false => format!("content-length: {}\r\n", content.len()),
            };
            let empty = fields.contains("content-length: 0\r");
            let content = match bodiless || empty || method == "HEAD" {
                true => String::new(),
                false if chunked => format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len()),
                false => content.to_owned(),
            };
            format!("{before}HTTP/1.1 {status} Fine\r\n{fields}{length}\r\n{content}").into_bytes()
        }
    }
}

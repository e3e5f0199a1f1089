//! An origin that reads requests as RFC 9112 writes them and not a hair more loosely, and keeps what it could not read
//! so. It stands for the server behind the proxy that a smuggled request is meant for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Requests and faults remembered.
const SEEN_MAX: usize = 100_000;

/// A request that came whole and was well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strict {
    /// The method.
    pub method: String,
    /// As it stood in the request line.
    pub target: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    /// The content, without its framing.
    pub content: Vec<u8>,
    /// Trailer fields, names in lower case.
    pub trailers: Vec<(String, String)>,
}

impl Strict {
    /// The value of the one field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.iter().filter(|(field, _)| field == name);
        lines.next().map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct Book {
    seen: Vec<Strict>,
    faults: Vec<String>,
}

/// A running strict origin.
#[derive(Debug)]
pub struct StrictOrigin {
    /// Where it listens.
    pub address: SocketAddr,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl StrictOrigin {
    /// Plain HTTP on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        Self::saying("no-store").await
    }

    /// One whose answers have this `Cache-Control`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn saying(cache_control: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let book = Arc::<Mutex<Book>>::default();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: {cache_control}\r\n\r\nok"
        );
        let task = tokio::spawn(accept(listener, Arc::clone(&book), answer.into()));
        Self {
            address,
            book,
            task,
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came since the last look.
    #[must_use]
    pub fn take(&self) -> Vec<Strict> {
        std::mem::take(&mut self.lock().seen)
    }

    /// What was not well-formed, ever.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StrictOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, book: Arc<Mutex<Book>>, answer: Arc<str>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&book), Arc::clone(&answer)));
    }
}

async fn converse(mut stream: TcpStream, book: Arc<Mutex<Book>>, answer: Arc<str>) {
    let mut bytes = Vec::new();
    loop {
        match request(&bytes) {
            Ok(Some((request, length))) => {
                bytes.drain(..length);
                // To HEAD the head alone.
                let head = answer.len() - "ok".len();
                let end = if request.method == "HEAD" {
                    head
                } else {
                    answer.len()
                };
                {
                    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                    if book.seen.len() < SEEN_MAX {
                        book.seen.push(request);
                    }
                }
                if stream.write_all(&answer.as_bytes()[..end]).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                let mut piece = [0; 16 * 1024];
                match stream.read(&mut piece).await {
                    // A request that breaks off is none.
                    Ok(0) | Err(_) => return,
                    Ok(read) => bytes.extend_from_slice(&piece[..read]),
                }
            }
            Err(fault) => {
                let head = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                if book.faults.len() < SEEN_MAX {
                    book.faults.push(format!("{fault}: {head:?}"));
                }
                return;
            }
        }
    }
}

type Fault = &'static str;
type Fields = Vec<(String, String)>;

/// The first request of `bytes` and its length; none where it is not all there.
///
/// # Errors
/// What is wrong with it.
fn request(bytes: &[u8]) -> Result<Option<(Strict, usize)>, Fault> {
    let Some(head_end) = find(bytes, b"\r\n\r\n") else {
        // What can be no beginning is wrong before it is whole.
        return match bytes.first() {
            Some(first) if !is_token(*first) => Err("does not begin with a method"),
            _ if bytes.len() > 256 * 1024 => Err("a head without end"),
            _ => Ok(None),
        };
    };
    let head = text(&bytes[..head_end]);
    let head = head.as_str();
    let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, target, version] = words.as_slice() else {
        return Err("a request line of not three words");
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err("a method that is no token");
    }
    if version != "HTTP/1.1" {
        return Err("another version");
    }
    let star = target == "*" && method == "OPTIONS";
    if !(star || target.starts_with('/') && target.bytes().all(in_target)) {
        return Err("a target not in origin-form");
    }
    let fields = parse_fields(rest)?;
    let all = |name: &str| -> Vec<&str> {
        let of_name = fields.iter().filter(|(field, _)| field == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    let hosts = all("host");
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
    if hosts.len() != 1 || hosts[0].is_empty() || !hosts[0].bytes().all(in_host) {
        return Err("not one Host");
    }
    for name in [
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "keep-alive",
        "content_length",
        "transfer_encoding",
        "x_forwarded_for",
    ] {
        if !all(name).is_empty() {
            return Err("a field that should have ended at the proxy");
        }
    }
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let body = head_end + 4;
    let (content, trailers, end) = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => (Vec::new(), Vec::new(), body),
        ([length], []) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length: usize = length
                .parse()
                .ok()
                .filter(|_| digits)
                .ok_or("a length that is no number")?;
            let Some(content) = bytes.get(body..body + length) else {
                return Ok(None);
            };
            (content.to_vec(), Vec::new(), body + length)
        }
        ([], ["chunked"]) => match chunks(bytes, body)? {
            Some(read) => read,
            None => return Ok(None),
        },
        _ => return Err("framing that can be read in two ways"),
    };
    let request = Strict {
        method: method.to_owned(),
        target: target.to_owned(),
        fields,
        content,
        trailers,
    };
    Ok(Some((request, end)))
}

fn parse_fields(text: &str) -> Result<Fields, Fault> {
    let mut fields = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a field name that is no token");
        }
        let value = value.trim_matches([' ', '\t']);
        if value
            .chars()
            .any(|letter| letter != '\t' && (letter < ' ' || letter == '\u{7f}'))
        {
            return Err("a control byte in a field value");
        }
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Ok(fields)
}

/// Content, trailers and the place behind them.
fn chunks(bytes: &[u8], mut at: usize) -> Result<Option<(Vec<u8>, Fields, usize)>, Fault> {
    let mut content = Vec::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap_or_default();
        let hex = !size.is_empty() && size.len() < 9 && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(size, 16)
            .ok()
            .filter(|_| hex)
            .ok_or("a chunk size that is none, or with an extension")?;
        at += line + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk that does not end");
        }
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Some((content, Vec::new(), at + 2)));
    }
    let Some(end) = find(&bytes[at..], b"\r\n\r\n") else {
        return Ok(None);
    };
    let trailers = parse_fields(&text(&bytes[at..at + end]))?;
    let forbidden = [
        "content-length",
        "transfer-encoding",
        "host",
        "trailer",
        "te",
        "connection",
        "upgrade",
        "authorization",
        "cookie",
        "x-forwarded-for",
        "content-type",
        "content-encoding",
    ];
    if trailers
        .iter()
        .any(|(name, _)| forbidden.contains(&name.as_str()))
    {
        return Err("a trailer that frames, routes or authorizes");
    }
    Ok(Some((content, trailers, at + end + 4)))
}

/// One character for each byte: what is not ASCII may stand in values (RFC 9110 §5.5), and nowhere else.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 3986: what may stand in a path or query, with whole escapes.
fn in_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(Strict, usize)>, Fault> {
        request(text.as_bytes())
    }

    #[test]
    fn what_is_well_formed_is_read_whole() {
        let text = "POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        let (request, length) = read(text).unwrap().unwrap();
        assert_eq!(request.content, b"abc");
        assert_eq!(request.trailers, [("x-sum".to_owned(), "1".to_owned())]);
        assert_eq!(&text[length..], "GET");
        for part in [10, 40, 70, 75] {
            assert_eq!(read(&text[..part]), Ok(None));
        }
    }

    #[test]
    fn what_is_not_is_a_fault() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\n X: y\r\n",
            "Host: a\r\nX : y\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
            "Host: a\r\nContent-Length: +0\r\n",
            "Host: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: Chunked\r\n",
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert!(read(&head).is_err(), "{head:?}");
        }
        for line in [
            "GET http://a/ HTTP/1.1",
            "GET /#a HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.0",
            "GET * HTTP/1.1",
            "G{T / HTTP/1.1",
        ] {
            assert!(
                read(&format!("{line}\r\nHost: a\r\n\r\n")).is_err(),
                "{line:?}"
            );
        }
        for body in [
            "3;x\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n",
            "0\r\nHost: a\r\n\r\n",
        ] {
            let head =
                format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert!(read(&head).is_err(), "{body:?}");
        }
    }
}

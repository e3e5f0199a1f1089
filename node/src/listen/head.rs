//! Request heads that are refused, and heads made to one shape.
//!
//! hyper parses; what it lets through, and RFC 9112 and 9113 do not, is caught here.

use std::cell::Cell;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::address::valid_host;

/// Whether the head that is being received names its length twice, `Content-Length` and `Transfer-Encoding`.
///
/// hyper drops `Content-Length` from such a head and reads it as chunked, so the parsed head no longer shows it, and a
/// proxy in front of us may have read it the other way: request smuggling (RFC 9112 §6.1, §11.2). So the raw bytes
/// are looked at as they pass. A head that came in one read is known for certain; for one in several reads, or behind
/// another request in one read, we stay unsure, and then do what the RFC allows: read it as chunked, answer, close.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    seen: Cell<Seen>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    NoLength,
    Length,
    Unsure,
}

impl HeadScan {
    /// Bytes of a head; `continued` when they are not its first.
    pub(super) fn look(&self, bytes: &[u8], continued: bool) {
        let whole =
            bytes.ends_with(b"\r\n\r\n") || memchr::memmem::find(bytes, b"\r\n\r\n").is_some();
        self.seen.set(if continued || !whole {
            Seen::Unsure
        } else if names_length(bytes) {
            Seen::Length
        } else {
            Seen::NoLength
        });
    }

    /// Bytes came that may hold the beginning of a next head.
    pub(super) fn unsure(&self) {
        self.seen.set(Seen::Unsure);
    }

    /// What to do about a request that says `Transfer-Encoding`. Forgets what was seen.
    pub(super) fn chunked(&self) -> Chunked {
        match self.seen.take() {
            Seen::Length => Chunked::Refuse,
            Seen::NoLength => Chunked::Fine,
            Seen::Nothing | Seen::Unsure => Chunked::AnswerAndClose,
        }
    }
}

/// What to do about a chunked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    Fine,
    AnswerAndClose,
    Refuse,
}

/// Is there a line that begins with `content-length`, before the empty line?
fn names_length(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    for end in memchr::memchr_iter(b'\n', bytes) {
        let next = &bytes[end + 1..];
        match next {
            [] | [b'\n', ..] | [b'\r', b'\n', ..] => return false,
            [b'c' | b'C', ..] => {}
            _ => continue,
        }
        if next.len() > NAME.len() && next[..NAME.len()].eq_ignore_ascii_case(NAME) {
            return true;
        }
    }
    false
}

/// A request that is answered here, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a message that RFC 9112 or 9113 allows.
    Malformed(&'static str),
    /// More fields than `limits.header_fields`.
    TooManyFields,
    /// A declared length beyond `limits.body_bytes`.
    TooLarge,
    /// CONNECT: we are no tunnel.
    Tunnel,
    /// As many tunnels as `limits.tunnels` are open.
    TunnelsFull,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
            Self::TunnelsFull => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Malformed(what) => what,
            Self::TooManyFields => "too many header fields\n",
            Self::TooLarge => "the request's content is too large\n",
            Self::Tunnel => "CONNECT is not served here\n",
            Self::TunnelsFull => "too many WebSocket connections\n",
        }
    }
}

/// Checks a head and brings it to the one shape that handlers see (the room's page).
///
/// # Errors
///
/// The request must be answered with the refusal and, on HTTP/1, the connection closed.
pub(super) fn settle<B>(
    request: &mut Request<B>,
    fields_max: usize,
    body_bytes_max: u64,
) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Tunnel);
    }
    if request.headers().len() > fields_max {
        return Err(Refusal::TooManyFields);
    }
    if let Some(length) = request.headers().get(CONTENT_LENGTH) {
        let length = length
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        match length {
            None => return Err(Refusal::Malformed("Content-Length is not a number\n")),
            Some(length) if length > body_bytes_max => return Err(Refusal::TooLarge),
            Some(_) => {}
        }
    }
    if !codings_are_ours(request.headers()) {
        return Err(Refusal::Malformed("the transfer coding is not chunked\n"));
    }
    settle_host(request)?;
    if request.version() == Version::HTTP_2
        && [CONNECTION, TRANSFER_ENCODING]
            .iter()
            .any(|name| request.headers().contains_key(name))
    {
        return Err(Refusal::Malformed(
            "connection fields have no place in HTTP/2\n",
        ));
    }
    Ok(())
}

/// `chunked`, once: we undo no other coding, and whoever saw the content without its name would take it for what it is
/// not (RFC 9112 §6.1).
fn codings_are_ours(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// RFC 9112 §3.2: one valid Host, replaced by an absolute target's authority. RFC 9113 §8.3.1: `:authority`.
fn settle_host<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Malformed("more than one Host field\n"));
    }
    if let Some(host) = first
        && !valid_host(host.as_bytes())
    {
        return Err(Refusal::Malformed("the Host field is not a host\n"));
    }
    match request.version() {
        Version::HTTP_11 if first.is_none() => {
            return Err(Refusal::Malformed("no Host field\n"));
        }
        Version::HTTP_2 | Version::HTTP_3 => {
            if let (Some(host), Some(authority)) = (first, request.uri().authority())
                && !host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes())
            {
                return Err(Refusal::Malformed("Host and :authority differ\n"));
            }
            if first.is_none() && request.uri().authority().is_none() {
                return Err(Refusal::Malformed("no :authority\n"));
            }
        }
        _ => {}
    }
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    if !valid_host(authority.as_str().as_bytes()) {
        return Err(Refusal::Malformed("the target is not at a host\n"));
    }
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Refusal::Malformed("the target is not at a host\n"))?;
    let path = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = if path.as_str().starts_with('?') {
        // `http://host?query` (RFC 9110 §4.2.3: an empty path is the same as `/`).
        PathAndQuery::try_from(format!("/{}", path.as_str()))
            .map_err(|_| Refusal::Malformed("the target is not a URI\n"))?
    } else {
        path
    };
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_chunked_is_seen_however_it_is_spelt() {
        let scan = |bytes: &[u8]| {
            let scan = HeadScan::default();
            scan.look(bytes, false);
            scan.chunked()
        };
        let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(
            scan(head("cOnTeNt-LeNgTh: 3\r\nTransfer-Encoding: chunked").as_bytes()),
            Chunked::Refuse
        );
        assert_eq!(
            scan(head("Transfer-Encoding: chunked").as_bytes()),
            Chunked::Fine
        );
        // Content that looks like a field is content.
        let mut with_content = head("Transfer-Encoding: chunked");
        with_content.push_str("content-length: 3\r\n");
        assert_eq!(scan(with_content.as_bytes()), Chunked::Fine);
        assert_eq!(scan(b"POST / HTTP/1.1\r\nHo"), Chunked::AnswerAndClose);
    }

    fn check(request: Result<Request<()>, http::Error>) -> Result<Request<()>, Refusal> {
        let mut request = request.unwrap();
        settle(&mut request, 5, 100).map(|()| request)
    }

    #[test]
    fn hosts_follow_rfc_9112() {
        let get = || Request::get("/a?b");
        assert!(matches!(check(get().body(())), Err(Refusal::Malformed(_))));
        assert!(check(get().version(Version::HTTP_10).body(())).is_ok());
        assert!(check(get().header(HOST, "a.example:80").body(())).is_ok());
        assert!(check(get().header(HOST, "[::1]:80").body(())).is_ok());
        for bad in ["a b", "a/b", "user@a", "a:b:c", "a,b", "", "a:99999"] {
            let refused = check(get().header(HOST, bad).body(()));
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{bad}");
        }
        let twice = get().header(HOST, "a").header(HOST, "a").body(());
        assert!(matches!(check(twice), Err(Refusal::Malformed(_))));
        let absolute = Request::get("http://b.example/x/../y?q")
            .header(HOST, "a")
            .body(());
        let settled = check(absolute).unwrap();
        assert_eq!(settled.headers()[HOST], "b.example");
        assert_eq!(*settled.uri(), "/x/../y?q");
        let bare = Request::get("http://b.example?q")
            .header(HOST, "a")
            .body(());
        assert_eq!(*check(bare).unwrap().uri(), "/?q");
    }

    #[test]
    fn http2_authority_becomes_host() {
        let h2 = || Request::get("https://b.example/x").version(Version::HTTP_2);
        assert_eq!(check(h2().body(())).unwrap().headers()[HOST], "b.example");
        assert!(check(h2().header(HOST, "other").body(())).is_err());
        assert!(check(h2().header(CONNECTION, "close").body(())).is_err());
    }

    #[test]
    fn chunked_is_the_only_coding_and_stands_once() {
        let post = || Request::post("/").header(HOST, "a");
        assert!(check(post().header(TRANSFER_ENCODING, "Chunked").body(())).is_ok());
        for bad in [
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "chunked;a=b",
            "",
        ] {
            let refused = check(post().header(TRANSFER_ENCODING, bad).body(()));
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{bad}");
        }
        let twice = post()
            .header(TRANSFER_ENCODING, "chunked")
            .header(TRANSFER_ENCODING, "chunked");
        assert!(check(twice.body(())).is_err());
    }

    #[test]
    fn limits_have_their_own_status() {
        let mut many = Request::get("/").header(HOST, "a");
        for _ in 0..5 {
            many = many.header("x", "y");
        }
        assert_eq!(check(many.body(())).unwrap_err(), Refusal::TooManyFields);
        let large = Request::post("/")
            .header(HOST, "a")
            .header(CONTENT_LENGTH, "101");
        assert_eq!(check(large.body(())).unwrap_err(), Refusal::TooLarge);
    }
}

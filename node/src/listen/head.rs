//! Request heads that are refused, and heads made to one shape.
//!
//! hyper parses; what it lets through, and RFC 9112 and 9113 do not, is caught here.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, MAX_FORWARDS, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::address::valid_host;

/// No method that anybody knows is half as long (RFC 9112 §3).
const METHOD_BYTES_MAX: usize = 64;
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a head is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// `limits.header_fields`.
    pub(super) fields_max: usize,
    /// `limits.body_bytes`.
    pub(super) body_bytes_max: u64,
    /// The connection is secured, or its other end is a proxy that we trust to know.
    pub(super) secured: bool,
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
    /// CONNECT: we are no tunnel. TRACE: it would show what we add towards the origin.
    NotAllowed,
    /// OPTIONS that may go no further (RFC 9110 §7.6.2): not refused, but answered here.
    LastHop,
    /// A method too long to be one.
    Method,
    /// An `https` target on a connection that is not secured.
    Unsecured,
    /// An expectation that nobody here can meet.
    Expectation,
    /// As many tunnels as `limits.tunnels` are open.
    TunnelsFull,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::LastHop => StatusCode::OK,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Unsecured => StatusCode::MISDIRECTED_REQUEST,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TunnelsFull => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Malformed(what) => what,
            Self::TooManyFields => "too many header fields\n",
            Self::TooLarge => "the request's content is too large\n",
            Self::NotAllowed => "CONNECT and TRACE are not served here\n",
            Self::LastHop => "",
            Self::Method => "no method is that long\n",
            Self::Unsecured => "https is not served on a plain connection\n",
            Self::Expectation => "the only expectation is 100-continue\n",
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
    has_content: bool,
    terms: &Terms,
) -> Result<(), Refusal> {
    match *request.method() {
        Method::CONNECT | Method::TRACE => return Err(Refusal::NotAllowed),
        Method::OPTIONS => count_down(request.headers_mut())?,
        _ => {}
    }
    if request.method().as_str().len() > METHOD_BYTES_MAX {
        return Err(Refusal::Method);
    }
    if request.headers().len() > terms.fields_max {
        return Err(Refusal::TooManyFields);
    }
    settle_length(request.headers_mut(), terms.body_bytes_max)?;
    if !codings_are_ours(request.headers()) {
        return Err(Refusal::Malformed("the transfer coding is not chunked\n"));
    }
    settle_host(request)?;
    settle_target(request, terms.secured)?;
    if request.version() == Version::HTTP_2 {
        settle_http2(request.headers_mut())?;
    } else if !request.extensions().is_empty() {
        // hyper marks a request with `Upgrade` by an extension; there are no others here.
        settle_upgrade(request)?;
    }
    if has_content && request.version() > Version::HTTP_10 {
        settle_expectation(request.headers())?;
    }
    Ok(())
}

/// RFC 9110 §7.6.2: each intermediary takes one off, and the last one answers. A value that is no number is ignored.
fn count_down(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let left = headers
        .get(MAX_FORWARDS)
        .and_then(|hops| hops.to_str().ok())
        .filter(|hops| hops.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|hops| hops.parse::<u64>().ok());
    match left {
        None => Ok(()),
        Some(0) => Err(Refusal::LastHop),
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            Ok(())
        }
    }
}

/// One number of nothing but digits. Several lines that say the same are made one (RFC 9110 §8.6).
fn settle_length(headers: &mut HeaderMap, body_bytes_max: u64) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::Malformed("Content-Length is not a number\n");
    let Some(line) = headers.get(CONTENT_LENGTH) else {
        return Ok(());
    };
    if !line.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let length: u64 = line
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(BAD)?;
    if length > body_bytes_max {
        return Err(Refusal::TooLarge);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    if lines.any(|other| other != line) {
        return Err(Refusal::Malformed("lengths that differ\n"));
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        let line = line.clone();
        headers.insert(CONTENT_LENGTH, line);
    }
    Ok(())
}

/// RFC 9113 §8.2.2: no fields of a connection. §8.2.3: crumbs of `Cookie` are one field again for whoever comes next.
fn settle_http2(headers: &mut HeaderMap) -> Result<(), Refusal> {
    if [CONNECTION, TRANSFER_ENCODING]
        .iter()
        .any(|name| headers.contains_key(name))
    {
        return Err(Refusal::Malformed(
            "connection fields have no place in HTTP/2\n",
        ));
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
        let whole = whole.map_err(|_| Refusal::Malformed("a bad Cookie field\n"))?;
        headers.insert(COOKIE, whole);
    }
    Ok(())
}

/// Leaves `Upgrade` in the head only where it is asked for in earnest: `Connection` names it, and it is not `h2c`,
/// which no listener here speaks (RFC 9113 §3.1). Then it must be a GET without content: content of an upgrade could be
/// taken for the first bytes of the other protocol.
fn settle_upgrade<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let named = members(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case(b"upgrade"));
    let protocols: Vec<&[u8]> = members(headers, &UPGRADE)
        .filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
        .collect();
    if !named || protocols.is_empty() {
        let headers = request.headers_mut();
        headers.remove(UPGRADE);
        headers.remove(HTTP2_SETTINGS);
        request.extensions_mut().clear();
        return Ok(());
    }
    let framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    if framed || request.method() != Method::GET {
        return Err(Refusal::Malformed("an upgrade wants GET and no content\n"));
    }
    let left = HeaderValue::from_bytes(&protocols.join(&b", "[..]));
    let left = left.map_err(|_| Refusal::Malformed("a bad Upgrade field\n"))?;
    request.headers_mut().insert(UPGRADE, left);
    Ok(())
}

/// RFC 9110 §10.1.1: there is one expectation. Another one is refused, as it would not reach the origin.
fn settle_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met = |expected: &[u8]| expected.eq_ignore_ascii_case(b"100-continue");
    if members(headers, &EXPECT).all(met) {
        Ok(())
    } else {
        Err(Refusal::Expectation)
    }
}

/// The members of a field that is a list.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
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

/// RFC 9112 §3.2: one valid Host. RFC 9113 §8.3.1: `:authority` is in its place, and says the same where both are.
fn settle_host<B>(request: &Request<B>) -> Result<(), Refusal> {
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
    Ok(())
}

/// RFC 9112 §3.2: a path, a whole URI, whose authority takes the place of Host, or `*` of OPTIONS.
fn settle_target<B>(request: &mut Request<B>, secured: bool) -> Result<(), Refusal> {
    let path = request.uri().path();
    if !path.starts_with('/') && (path != "*" || request.method() != Method::OPTIONS) {
        return Err(Refusal::Malformed(
            "the target is no path and no whole URI\n",
        ));
    }
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    match request.uri().scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => {
            if !secured {
                return Err(Refusal::Unsecured);
            }
        }
        _ => return Err(Refusal::Malformed("the target is neither http nor https\n")),
    }
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
        if request.version() == Version::HTTP_2 {
            // RFC 9113 §8.3.1.
            return Err(Refusal::Malformed(":path does not begin with a slash\n"));
        }
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

    fn check(request: Result<Request<()>, http::Error>) -> Result<Request<()>, Refusal> {
        let mut request = request.unwrap();
        let terms = Terms {
            fields_max: 5,
            body_bytes_max: 100,
            secured: request.uri().scheme() == Some(&Scheme::HTTPS),
        };
        let has_content = request.headers().contains_key(CONTENT_LENGTH);
        settle(&mut request, has_content, &terms).map(|()| request)
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
    fn crumbs_of_cookies_are_one_field_again() {
        let request = Request::get("https://b.example/x")
            .version(Version::HTTP_2)
            .header(COOKIE, "a=1")
            .header(COOKIE, "b=2; c=3");
        let settled = check(request.body(())).unwrap();
        assert_eq!(settled.headers()[COOKIE], "a=1; b=2; c=3");
        assert_eq!(settled.headers().get_all(COOKIE).iter().count(), 1);
    }

    #[test]
    fn targets_have_a_form_for_each_method() {
        let at = |method: &str, target: &str| {
            check(
                Request::builder()
                    .method(method)
                    .uri(target)
                    .header(HOST, "a")
                    .body(()),
            )
        };
        assert!(at("GET", "/x").is_ok());
        assert!(at("OPTIONS", "*").is_ok());
        assert!(at("GET", "https://a/x").is_ok());
        for (method, target) in [
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "a:80"),
            ("GET", "ftp://a/"),
        ] {
            let refused = at(method, target);
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{target}");
        }
        assert_eq!(at("TRACE", "/").unwrap_err(), Refusal::NotAllowed);
        assert_eq!(at(&"X".repeat(65), "/").unwrap_err(), Refusal::Method);
    }

    #[test]
    fn options_go_as_far_as_they_may() {
        let options = |hops: &str| {
            let request = Request::options("/").header(HOST, "a");
            check(request.header(MAX_FORWARDS, hops).body(()))
        };
        assert_eq!(options("0").unwrap_err(), Refusal::LastHop);
        assert_eq!(options("2").unwrap().headers()[MAX_FORWARDS], "1");
        assert_eq!(options("-1").unwrap().headers()[MAX_FORWARDS], "-1");
    }

    #[test]
    fn an_upgrade_is_asked_for_in_earnest_or_not_at_all() {
        let upgrade = |method: &str, fields: &[(HeaderName, &str)]| {
            let mut request = Request::builder().method(method).uri("/").header(HOST, "a");
            for (name, value) in fields {
                request = request.header(name, *value);
            }
            // As hyper marks it.
            check(request.extension(0_u8).body(()))
        };
        let named = (CONNECTION, "keep-alive, Upgrade");
        let asked = (UPGRADE, "websocket");
        let settled = upgrade("GET", &[named.clone(), asked.clone()]).unwrap();
        assert_eq!(settled.headers()[UPGRADE], "websocket");
        let settled = upgrade("GET", &[named.clone(), (UPGRADE, "h2c, websocket")]).unwrap();
        assert_eq!(settled.headers()[UPGRADE], "websocket");
        for ignored in [vec![asked.clone()], vec![named.clone(), (UPGRADE, "h2c")]] {
            let settled = upgrade("POST", &ignored).unwrap();
            assert!(!settled.headers().contains_key(UPGRADE));
            assert!(settled.extensions().is_empty());
        }
        assert!(upgrade("POST", &[named.clone(), asked.clone()]).is_err());
        assert!(upgrade("GET", &[named, asked, (CONTENT_LENGTH, "3")]).is_err());
    }

    #[test]
    fn one_expectation_can_be_met() {
        let post = |expected: &str| {
            let request = Request::post("/")
                .header(HOST, "a")
                .header(CONTENT_LENGTH, "3");
            check(request.header(EXPECT, expected).body(()))
        };
        assert!(post("100-Continue").is_ok());
        assert_eq!(post("100-continue, x").unwrap_err(), Refusal::Expectation);
    }

    #[test]
    fn lengths_are_digits_and_one() {
        let post = |lengths: &[&str]| {
            let mut request = Request::post("/").header(HOST, "a");
            for length in lengths {
                request = request.header(CONTENT_LENGTH, *length);
            }
            check(request.body(()))
        };
        let settled = post(&["5", "5"]).unwrap();
        assert_eq!(settled.headers().get_all(CONTENT_LENGTH).iter().count(), 1);
        for bad in [
            &["+5"][..],
            &["5", "6"][..],
            &["5, 5"][..],
            &[""][..],
            &["-5"][..],
        ] {
            assert!(matches!(post(bad), Err(Refusal::Malformed(_))), "{bad:?}");
        }
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

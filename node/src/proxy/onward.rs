//! What a request says of its own connection, and we say in its stead on the next one, where the cache has no part:
//! that it would leave HTTP, that it takes trailers and has some, that its content waits to be wanted.
//!
//! A fill says none of it. What it brings is for many, so it is not made by what one connection can do; and trailers
//! are not stored (RFC 9111 §3 leaves it open).

use http::header::{EXPECT, HeaderMap, HeaderValue, SET_COOKIE, TE, TRAILER};
use http::{Extensions, Request, Response, Version};

use super::admit::Ask;
use super::cache_control::CacheControl;
use crate::exchange::{Body, ForThisClient, MaySwitch};

/// Noted before the fields of the hop are taken out.
#[derive(Clone, Debug, Default)]
pub(super) struct Onward {
    /// It asks for WebSocket, and its connection can be handed over.
    pub(super) switches: bool,
    trailers: Trailers,
}

/// RFC 9110 §6.5, §10.1.4.
#[derive(Clone, Debug, Default)]
pub(super) struct Trailers {
    /// It takes trailers.
    taken: bool,
    /// The names it says its own will have. HTTP/1.1 sends no others.
    named: Option<HeaderValue>,
}

impl Onward {
    pub(super) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            switches: extensions.get::<MaySwitch>().is_some(),
            trailers: Trailers::of(headers),
        }
    }
}

impl Trailers {
    fn of(headers: &HeaderMap) -> Self {
        let codings = headers.get_all(TE).iter();
        let taken = codings
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        Self {
            taken,
            named: headers.get(TRAILER).cloned(),
        }
    }

    /// Lets the names of an answer's trailers through to a client that takes trailers. Between this and
    /// [`Trailers::name`] the fields of the hop are taken out.
    pub(super) fn names_of(&self, response: &Response<Body>) -> Option<HeaderValue> {
        let named = response.headers().get(TRAILER);
        named.filter(|_| self.taken).cloned()
    }

    /// Puts them back.
    fn name(headers: &mut HeaderMap, named: Option<HeaderValue>) {
        if let Some(named) = named {
            headers.insert(TRAILER, named);
        }
    }
}

impl Ask {
    /// What it says of trailers. HTTP/2 says it without `Connection`, so it may still stand in its fields.
    pub(super) fn trailers(&self) -> Trailers {
        match self.onward.trailers.taken || self.onward.trailers.named.is_some() {
            true => self.onward.trailers.clone(),
            false => Trailers::of(&self.headers),
        }
    }
}

/// Finishes an answer that is for one client only: the names of its trailers, and the cookie that binds the client to
/// its origin. Not where others may keep the answer: they would be bound too.
pub(super) fn to_one_client(response: &mut Response<Body>, named: Option<HeaderValue>) {
    let cookie = response.extensions_mut().remove::<ForThisClient>();
    let headers = response.headers_mut();
    Trailers::name(headers, named);
    if let Some(ForThisClient(cookie)) = cookie {
        let directives = CacheControl::of_response(headers);
        if !directives.public && directives.s_maxage.is_none() {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Says it to the origin.
pub(super) fn say(ask: &Ask, trailers: &Trailers, request: &mut Request<Body>) {
    if ask.onward.switches {
        request.extensions_mut().insert(MaySwitch);
    }
    let headers = request.headers_mut();
    if trailers.taken {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Trailers::name(headers, trailers.named.clone());
    let expectation = ask.headers.get(EXPECT).map(HeaderValue::as_bytes);
    // HTTP/1.0 knows none: there it is ignored.
    if ask.version > Version::HTTP_10
        && expectation.is_some_and(|what| what.eq_ignore_ascii_case(b"100-continue"))
    {
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
    }
}

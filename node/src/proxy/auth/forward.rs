//! A server's word: asked about each request, and remembered only where it says so.
//!
//! 2xx lets the request pass; every other answer below 500 is the client's; no answer in time, or a broken server, keeps
//! everybody out. Fields that are copied from its answer shape what the origin says, so they are in the key: two users
//! never share what was made for one of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use parking_lot::Mutex;
use siphasher::sip128::SipHasher13;

use super::super::Proxy;
use super::super::admit::{Ask, Turned};
use super::super::cache_control::{CacheControl, Scope};
use super::super::headers;
use super::super::outcome::Own;
use super::Refused;
use crate::config::auth::Forward;
use crate::exchange::Body;

/// Longest time that a word is remembered, whatever it says.
const REMEMBERED_MAX: Duration = Duration::from_secs(300);
/// Words that are remembered.
const WORDS_MAX: usize = 10_000;

type Copied = Arc<Vec<(HeaderName, HeaderValue)>>;

/// Words that let requests pass, as long as they said they hold.
pub(in super::super) struct Words {
    kept: Mutex<HashMap<u128, (Instant, Copied)>>,
    secret: [u8; 16],
}

impl Default for Words {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            secret: rand::random(),
        }
    }
}

impl Words {
    fn of(&self, question: u128, now: Instant) -> Option<Copied> {
        let kept = self.kept.lock();
        let (until, copied) = kept.get(&question)?;
        (now < *until).then(|| Arc::clone(copied))
    }

    fn keep(&self, question: u128, until: Instant, now: Instant, copied: &Copied) {
        let mut kept = self.kept.lock();
        if kept.len() >= WORDS_MAX {
            kept.retain(|_, (until, _)| now < *until);
            if kept.len() >= WORDS_MAX {
                kept.clear();
            }
        }
        kept.insert(question, (until, Arc::clone(copied)));
    }
}

impl Proxy {
    /// Asks the site's server about a request.
    pub(super) async fn ask_server(&self, ask: &Ask) -> Result<Arc<Ask>, Refused> {
        let unavailable = || Turned::at(Own::AuthUnavailable, &ask.site);
        let forward = ask.site.auth.forward.as_ref().ok_or_else(unavailable)?;
        let request = question(ask, forward);
        let fingerprint = SipHasher13::new_with_key(&self.words.secret)
            .hash(&bytes_of(&ask.site.name, request.headers()))
            .as_u128();
        let now = Instant::now();
        if let Some(copied) = self.words.of(fingerprint, now) {
            return Ok(passed(ask, forward, &copied));
        }
        let asked = self.upstream.fetch(&forward.server, request);
        let answer = match tokio::time::timeout(forward.timeout, asked).await {
            Ok(Ok(answer)) => answer.response,
            Ok(Err(unanswered)) => {
                let reason = &*unanswered.reason;
                tracing::warn!(
                    site = &*ask.site.name,
                    reason,
                    "the auth server did not answer"
                );
                return Err(unavailable().into());
            }
            Err(_) => {
                tracing::warn!(site = &*ask.site.name, "the auth server was too slow");
                return Err(unavailable().into());
            }
        };
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::SWITCHING_PROTOCOLS {
            tracing::warn!(
                site = &*ask.site.name,
                status = status.as_u16(),
                "the auth server is broken"
            );
            return Err(unavailable().into());
        }
        if !status.is_success() {
            let mut answer = answer;
            headers::towards_client(answer.headers_mut());
            if ask.method == Method::HEAD {
                *answer.body_mut() = Body::Empty;
            }
            return Err(Refused::ByServer(Box::new(answer)));
        }
        let copied = forward.copy.iter().flat_map(|name| {
            let lines = answer.headers().get_all(name).iter();
            lines.map(move |value| (name.clone(), value.clone()))
        });
        let copied: Copied = Arc::new(copied.collect());
        if let Some(lasting) = lasting(answer.headers()) {
            self.words.keep(fingerprint, now + lasting, now, &copied);
        }
        Ok(passed(ask, forward, &copied))
    }
}

/// How long a word says that it holds: by `max-age` alone, as it is about one client.
fn lasting(answer: &HeaderMap) -> Option<Duration> {
    let directives = CacheControl::of_field(answer, &http::header::CACHE_CONTROL);
    if directives.no_store || directives.no_cache != Scope::Absent {
        return None;
    }
    let lasting = Duration::from_secs(directives.max_age?).min(REMEMBERED_MAX);
    (!lasting.is_zero()).then_some(lasting)
}

fn question(ask: &Ask, forward: &Forward) -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = Uri::from(forward.target.clone());
    let fields = request.headers_mut();
    for name in &forward.send {
        for value in ask.headers.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    let scheme = if ask.client.tls { "https" } else { "http" };
    let authority = ask.authority.as_str();
    for (name, text) in [
        ("host", authority),
        ("x-forwarded-host", authority),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-method", ask.method.as_str()),
        ("x-forwarded-uri", ask.target.path_and_query().as_str()),
        ("x-forwarded-for", &ask.client.address.to_string()),
    ] {
        headers::set(fields, HeaderName::from_static(name), text);
    }
    request
}

/// All that a server was told, so that nothing reads like something else.
fn bytes_of(site: &str, fields: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    part(site.as_bytes());
    for (name, value) in fields {
        part(name.as_str().as_bytes());
        part(value.as_bytes());
    }
    bytes
}

/// The request as it goes on: with the fields that were copied, in place of whatever the client wrote there.
fn passed(ask: &Ask, forward: &Forward, copied: &Copied) -> Arc<Ask> {
    let mut ask = Ask::clone(ask);
    for name in &forward.copy {
        ask.headers.remove(name);
    }
    for (name, value) in copied.iter() {
        ask.headers.append(name.clone(), value.clone());
        super::super::apart::copied(&mut ask.apart, name, value);
    }
    Arc::new(ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_as_long_as_it_says() {
        for (control, seconds) in [
            ("max-age=10", Some(10)),
            ("private, max-age=10", Some(10)),
            ("max-age=100000", Some(300)),
            ("max-age=0", None),
            ("no-store, max-age=10", None),
            ("no-cache, max-age=10", None),
            ("public", None),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert("cache-control", HeaderValue::from_static(control));
            assert_eq!(
                lasting(&answer),
                seconds.map(Duration::from_secs),
                "{control}"
            );
        }
        assert_eq!(lasting(&HeaderMap::new()), None);
    }
}

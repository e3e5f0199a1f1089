//! Asking upstream on behalf of the cache, and judging the answer. Knows nothing of fills or clients: what is asked is
//! a [`Job`], what comes of it a [`Fetched`].

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, HeaderValue};
use http::request::Request;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body::Body as _;

use super::admit::Ask;
use super::cache_control::{CacheControl, Scope};
use super::conditions;
use super::freshness::{initial_age, lifetime};
use super::headers::{self, COOKIES, Hop};
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::Refusal;
use super::ports::{Answer, Unanswered, Upstream};
use super::reuse::{Freshness, is_broken};
use super::storable::{Exchange, storable, ttl_applies};
use super::vary;
use crate::config::site::SetCookie;
use crate::exchange::Body;

/// One question for upstream.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ask: Arc<Ask>,
    /// What is stored and may only need the origin's word that it is still good.
    pub(super) stored: Option<Stored>,
    /// The applied index before an origin is chosen.
    pub(super) fill_index: u64,
    /// The client's own conditions and ranges stay in the question: its answer is for this client first.
    pub(super) keeps_conditions: bool,
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Fetched {
    /// May be stored.
    Storable {
        meta: Box<HttpMeta>,
        body: Body,
        length: Option<u64>,
        origin: Box<str>,
    },
    /// Is for this reader only.
    Unshared {
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    },
    /// The stored response is still good, with this metadata.
    NotModified {
        meta: Box<HttpMeta>,
        origin: Box<str>,
    },
    /// The origin is broken (500, 502, 503, 504).
    Broken {
        response: Response<Body>,
        origin: Box<str>,
    },
    /// Nobody answered.
    Unanswered(Unanswered),
}

/// Makes the request that the origin gets, with the client's body.
pub(super) fn towards_origin(ask: &Ask, node: &str, cdn_id: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = Uri::from(ask.target.path_and_query().clone());
    let mut fields = ask.headers.clone();
    let hop = Hop {
        node,
        cdn_id,
        client: &ask.client,
        authority: ask.authority.as_str(),
        version: ask.version,
    };
    headers::towards_origin(&mut fields, &ask.method, hop);
    for (name, value) in &ask.site.origin_headers {
        fields.insert(name.clone(), value.clone());
    }
    *request.headers_mut() = fields;
    request
}

/// Asks, and judges. A 304 that speaks of something else than what is stored tells nothing, and the question is asked
/// again without a condition.
pub(super) async fn fetch(upstream: &dyn Upstream, node: &str, cdn_id: &str, job: &Job) -> Fetched {
    let mut validates = job.ask.method == Method::GET && job.stored.is_some();
    loop {
        let mut request = towards_origin(&job.ask, node, cdn_id, Body::Empty);
        match &job.stored {
            Some(stored) if validates => {
                conditions::ask(request.headers_mut(), &stored.meta().head)
            }
            None if job.keeps_conditions => {}
            Some(_) if job.ask.method == Method::HEAD => {}
            _ => conditions::remove(request.headers_mut()),
        }
        let request_time = SystemTime::now();
        let answer = match upstream.fetch(&job.ask.site, request).await {
            Err(unanswered) => return Fetched::Unanswered(unanswered),
            Ok(answer) => answer,
        };
        if validates && answer.response.status() == StatusCode::NOT_MODIFIED {
            let speaks_of_it = job.stored.as_ref().is_some_and(|stored| {
                conditions::validates(answer.response.headers(), &stored.meta().head)
            });
            if !speaks_of_it {
                validates = false;
                continue;
            }
        }
        return judge(job, answer, validates, request_time, SystemTime::now());
    }
}

/// Judges an answer. Pure but for the clock readings it is given.
fn judge(
    job: &Job,
    answer: Answer,
    validates: bool,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Fetched {
    let Answer { response, origin } = answer;
    let status = response.status();
    if validates
        && status == StatusCode::NOT_MODIFIED
        && let Some(stored) = &job.stored
    {
        let meta = freshened(
            job,
            stored.meta(),
            response.headers(),
            request_time,
            response_time,
        );
        return Fetched::NotModified {
            meta: Box::new(meta),
            origin,
        };
    }
    if is_broken(status) && job.stored.is_some() {
        return Fetched::Broken { response, origin };
    }
    let ask = &job.ask;
    let directives = CacheControl::of_response(response.headers());
    let life = lifetime(status, response.headers(), &directives, response_time);
    let verdict = storable(Exchange {
        method: &ask.method,
        request: &ask.headers,
        request_directives: &ask.directives,
        status,
        answer: response.headers(),
        directives: &directives,
        lifetime: life,
        site_ttl: ask.ruling.ttl.is_some() && ttl_applies(status),
        set_cookie: ask.site.cache.set_cookie,
    });
    let length = content_length(&response);
    let verdict = match verdict {
        Ok(_) if length.is_some_and(|length| length > ask.site.cache.body_max_bytes) => {
            Err(Refusal::TooLarge)
        }
        other => other,
    };
    match verdict {
        Err(refusal) => Fetched::Unshared {
            response,
            refusal,
            origin,
        },
        Ok(storable) => {
            let (parts, body) = response.into_parts();
            let mut head = headers::to_store(&parts.headers, &storable.excluded);
            if status == StatusCode::OK && !head.contains_key(ACCEPT_RANGES) {
                head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            let meta = HttpMeta {
                status,
                head,
                request_time,
                freshness: freshness(
                    &parts.headers,
                    &directives,
                    life.seconds,
                    request_time,
                    response_time,
                ),
                fill_index: job.fill_index,
                site: ask.site.name.clone(),
                url: ask.url.as_str().into(),
                selection: vary::selection(&ask.headers, &storable.vary),
            };
            Fetched::Storable {
                meta: Box::new(meta),
                body,
                length,
                origin,
            }
        }
    }
}

/// The length that the answer declares, or that its body is known to have.
fn content_length(response: &Response<Body>) -> Option<u64> {
    response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .or_else(|| response.body().size_hint().exact())
}

fn freshness(
    answer: &HeaderMap,
    directives: &CacheControl,
    lifetime_s: u64,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshness {
    Freshness {
        response_time,
        initial_age_s: initial_age(answer, request_time, response_time),
        lifetime_s,
        no_cache: directives.no_cache == Scope::Whole,
        must_revalidate: directives.must_revalidate || directives.proxy_revalidate,
        s_maxage: directives.s_maxage.is_some(),
        stale_while_revalidate_s: directives.stale_while_revalidate,
        stale_if_error_s: directives.stale_if_error,
    }
}

/// The metadata of a stored response that a 304 has freshened (RFC 9111 §4.3.4): its fields updated, its age and
/// lifetime computed anew from the updated fields, its fill index that of the question.
fn freshened(
    job: &Job,
    old: &HttpMeta,
    answer: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> HttpMeta {
    let mut head = old.head.clone();
    let excluded = match job.ask.site.cache.set_cookie {
        SetCookie::Standard => &[][..],
        // A cookie in a 304 is meant for the client that asked, and the stored copy was judged without it.
        SetCookie::Explicit | SetCookie::Strip | SetCookie::Bypass => &COOKIES[..],
    };
    headers::freshen(&mut head, answer, excluded);
    // The Age that counts is the 304's own; the stored head has none.
    let mut updated = head.clone();
    if let Some(age) = answer.get(http::header::AGE) {
        updated.insert(http::header::AGE, age.clone());
    }
    if !answer.contains_key(http::header::DATE) {
        updated.remove(http::header::DATE);
    }
    let directives = CacheControl::of_response(&updated);
    let life = lifetime(old.status, &updated, &directives, response_time);
    HttpMeta {
        freshness: freshness(
            &updated,
            &directives,
            life.seconds,
            request_time,
            response_time,
        ),
        head,
        request_time,
        fill_index: job.fill_index,
        ..old.clone()
    }
}

//! Asking upstream on behalf of the cache, and judging the answer. Knows nothing of fills or clients: what is asked is
//! a [`Job`], what comes of it a [`Fetched`].

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, HOST, HeaderValue, RANGE};
use http::request::Request;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body::Body as _;

use super::admit::Ask;
use super::cache_control::CacheControl;
use super::conditions;
use super::deception;
use super::encode::{self, Form, encodable};
use super::freshen::{self, Freshened, HeadSays, Word, freshened, freshness, head_says};
use super::freshness::{lifetime, negative};
use super::headers::{self, Hop};
use super::lookup::Stored;
use super::meta::{HttpMeta, Ready};
use super::outcome::Refusal;
use super::parts::{Asker, Joined, Rest, asks_far_in, is_part};
use super::ports::{Answer, Unanswered};
use super::reuse::is_broken;
use super::storable::{Exchange, storable, ttl_applies};
use super::{Proxy, lookalikes, slices, tags, vary};
use crate::exchange::{Body, InterimTicket, OnInterim};
use crate::view::{Checked, TagSet};

/// One question for upstream.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ask: Arc<Ask>,
    /// What is stored and may only need the origin's word that it is still good.
    pub(super) stored: Option<Stored>,
    /// What is held in part and is completed, where nothing is stored whole.
    pub(super) rest: Option<Arc<Rest>>,
    /// The applied index before an origin is chosen.
    pub(super) fill_index: u64,
    /// The client's own conditions and ranges stay in the question: its answer is for this client first.
    pub(super) keeps_conditions: bool,
    /// The client's range is that of a slice: it stays in the question whatever is stored.
    pub(super) sliced: bool,
    /// Where interim responses go.
    pub(super) interim: Option<InterimTicket>,
    /// What is stored may answer for an origin that is broken.
    pub(super) covered: bool,
}

impl Job {
    /// The range that is asked for beside a validator: another object than the one held in part need not come whole.
    fn range_beside(&self, validates: bool) -> Option<&HeaderValue> {
        let stored = self.stored.as_ref()?;
        let partial = stored.meta().status == StatusCode::PARTIAL_CONTENT;
        let asks = self.sliced || validates && partial && asks_far_in(&self.ask);
        asks.then(|| self.ask.headers.get(RANGE)).flatten()
    }
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Fetched {
    /// May be stored.
    Storable {
        meta: Box<HttpMeta>,
        /// Fields for the client who asked, and for nobody else.
        personal: HeaderMap,
        body: Body,
        length: Option<u64>,
        /// The status of what the origin said; another than that of `meta` where that was put together.
        said: StatusCode,
        origin: Box<str>,
    },
    /// Is for this reader only.
    Unshared {
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    },
    /// The stored response is still good.
    NotModified {
        /// As it is now.
        now: Box<Freshened>,
        origin: Box<str>,
    },
    /// An answer to HEAD, with what it does to the stored GET response: metadata if it is still good, none if it is
    /// out of date.
    Head {
        response: Response<Body>,
        now: Option<Box<Freshened>>,
        origin: Box<str>,
    },
    /// The origin is broken (500, 502, 503, 504), and what is stored may answer for it.
    Broken {
        response: Response<Body>,
        origin: Box<str>,
    },
    /// Nobody answered.
    Unanswered(Unanswered),
}

/// The same request with the client's body.
pub(super) fn with_body(request: Request<Body>, body: Body) -> Request<Body> {
    request.map(|_| body)
}

/// Makes the request that the origin gets, without content but that of a query.
pub(super) fn towards_origin(ask: &Ask, node: &str, cdn_id: &str) -> Request<Body> {
    let content = ask.query.as_ref().map_or(Body::Empty, |query| query.body());
    let mut request = Request::new(content);
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = Uri::from(ask.origin_target());
    let mut fields = ask.headers.clone();
    let hop = Hop {
        node,
        cdn_id,
        client: &ask.client,
        authority: ask.authority.as_str(),
        version: ask.version,
        keyed: ask.policy().keyed_fields(),
    };
    headers::towards_origin(&mut fields, &ask.method, hop);
    let policy = ask.policy();
    if let Some(name) = &policy.host {
        headers::set(&mut fields, HOST, name);
    }
    if let Some(edits) = &policy.origin_headers {
        edits.apply(&mut fields);
    }
    lookalikes::remove(&mut fields, &ask.method);
    *request.headers_mut() = fields;
    request
}

/// Passes interim responses on to the client who waits, without what ends at this hop. Expectations are ours to meet
/// (100), and protocols are not switched (101).
pub(super) fn on_interim(ticket: InterimTicket) -> OnInterim {
    OnInterim(Arc::new(move |status, fields| {
        if status.is_informational() && status > StatusCode::SWITCHING_PROTOCOLS {
            let mut fields = fields.clone();
            headers::towards_client(&mut fields);
            fields.remove(CONTENT_LENGTH);
            ticket.tell(status, fields);
        }
    }))
}

impl Proxy {
    /// Asks, and judges.
    pub(super) async fn fetch(&self, job: &Job) -> Fetched {
        fetch(self, job).await
    }

    /// Asks for further ranges of what an answer is put together of.
    fn asker(&self, ask: &Arc<Ask>) -> Asker {
        Asker {
            upstream: Arc::clone(&self.upstream),
            ask: Arc::clone(ask),
            node: self.node.clone(),
            cdn_id: self.cdn_id.clone(),
            tag: HeaderValue::from_static(""),
            total_bytes: 0,
        }
    }
}

/// Asks, and judges. A 304 that speaks of something else than what is stored tells nothing, and the question is asked
/// again without a condition; so it is when what was to complete a part is neither its rest nor another object.
async fn fetch(proxy: &Proxy, job: &Job) -> Fetched {
    let (node, cdn_id) = (&*proxy.node, &*proxy.cdn_id);
    let mut rest = job.rest.clone();
    // What answers a request that says no-store must not be stored, and a 304 would be (RFC 9111 §5.2.1.5).
    let mut validates = (job.ask.method == Method::GET || job.ask.query.is_some())
        && !job.ask.directives.no_store
        && job
            .stored
            .as_ref()
            .is_some_and(|stored| freshen::may_be_asked_about(&job.ask.headers, stored.meta()));
    loop {
        let mut request = towards_origin(&job.ask, node, cdn_id);
        match &job.stored {
            _ if rest.is_some() => rest.iter().for_each(|rest| rest.ask(request.headers_mut())),
            Some(stored) if validates => {
                conditions::ask(request.headers_mut(), &stored.meta().head);
            }
            None if job.keeps_conditions => {}
            Some(_) if job.ask.method == Method::HEAD => {}
            _ => conditions::remove(request.headers_mut()),
        }
        if let Some(range) = job.range_beside(validates) {
            request.headers_mut().insert(RANGE, range.clone());
        }
        if let Some(ticket) = &job.interim {
            request.extensions_mut().insert(on_interim(ticket.clone()));
        }
        let request_time = SystemTime::now();
        let mut answer = match proxy.upstream.fetch(&job.ask.site, request).await {
            Err(unanswered) => return Fetched::Unanswered(unanswered),
            Ok(answer) => answer,
        };
        let said = answer.response.status();
        if job.sliced {
            slices::take_as_whole(&mut answer.response);
        }
        let mut tags = tags::take(answer.response.headers_mut(), &job.ask.site.cache.tags);
        if let Some(rest) = rest.take() {
            match rest.join(answer, &proxy.store, proxy.asker(&job.ask)) {
                Joined::Answer(joined) => answer = *joined,
                Joined::Useless => continue,
            }
            if said == StatusCode::PARTIAL_CONTENT && tags == TagSet::default() {
                tags = rest.tags();
            }
        }
        if validates && answer.response.status() == StatusCode::NOT_MODIFIED {
            let speaks_of_it = job.stored.as_ref().is_some_and(|stored| {
                conditions::validates(answer.response.headers(), &stored.meta().head)
            });
            if !speaks_of_it {
                validates = false;
                continue;
            }
        }
        let times = (request_time, SystemTime::now());
        return judge(job, answer, (said, tags), validates, times);
    }
}

/// Judges an answer. Pure but for the clock readings it is given.
fn judge(
    job: &Job,
    answer: Answer,
    (said, tags): (StatusCode, TagSet),
    validates: bool,
    (request_time, response_time): (SystemTime, SystemTime),
) -> Fetched {
    let Answer { response, origin } = answer;
    let status = response.status();
    if let Some(stored) = &job.stored {
        let word = || Word {
            headers: response.headers().clone(),
            tags: tags.clone(),
            request_time,
            response_time,
        };
        let after = |word: &Word| {
            let set_cookie = job.ask.site.cache.set_cookie;
            let old = stored.meta();
            let ruling = job.ask.ruling_for(old.status, &old.head);
            let policy = job.ask.site.rules.policy(&ruling);
            Box::new(freshened(
                old,
                &job.ask.headers,
                word,
                set_cookie,
                policy,
                job.fill_index,
            ))
        };
        if validates && status == StatusCode::NOT_MODIFIED {
            let now = after(&word());
            return Fetched::NotModified { now, origin };
        }
        if job.ask.method == Method::HEAD {
            let (request, bytes) = (&job.ask.headers, stored.body_bytes());
            let says = match job.ask.directives.no_store {
                true => HeadSays::Nothing,
                false => head_says(request, status, response.headers(), stored.meta(), bytes),
            };
            let now = match says {
                HeadSays::Same => Some(after(&word())),
                HeadSays::Another => None,
                HeadSays::Nothing => {
                    return Fetched::Unshared {
                        response,
                        refusal: Refusal::Method,
                        origin,
                    };
                }
            };
            return Fetched::Head {
                response,
                now,
                origin,
            };
        }
        if is_broken(status) && job.covered {
            return Fetched::Broken { response, origin };
        }
    }
    let ask = &job.ask;
    let directives = CacheControl::of_response(response.headers());
    let ruling = ask.ruling_for(status, response.headers());
    let policy = ask.site.rules.policy(&ruling);
    let life = lifetime(status, response.headers(), &directives, response_time);
    let life = negative(life, status, policy);
    let length = content_length(&response);
    let verdict = storable(Exchange {
        method: &ask.method,
        request: &ask.headers,
        request_directives: &ask.directives,
        status,
        answer: response.headers(),
        directives: &directives,
        lifetime: life,
        part: is_part(status, response.headers(), length),
        site_ttl: [policy.ttl, policy.ttl_min]
            .into_iter()
            .flatten()
            .any(|ttl| ttl_applies(ttl, status) && !ttl.lifetime.is_zero()),
        set_cookie: ask.site.cache.set_cookie,
    });
    let verdict = match verdict {
        Ok(_) if length.is_some_and(|length| length > ask.site.cache.body_max_bytes) => {
            Err(Refusal::TooLarge)
        }
        Ok(_)
            if ask.site.protect.refuses_deception
                && deception::deceives(ask.target.path(), status, response.headers()) =>
        {
            Err(Refusal::Deception)
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
            if freshen::is_undated(&head) {
                headers::set_date(&mut head, response_time);
            }
            let mut personal = HeaderMap::new();
            for name in &storable.personal {
                for value in parts.headers.get_all(name) {
                    personal.append(name, value.clone());
                }
            }
            let has_ranges = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
            if has_ranges && !head.contains_key(ACCEPT_RANGES) {
                head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            let codings = policy.compression.unwrap_or_default();
            let may = encodable(&ask.site.compression, codings, status, &head, length);
            let form = if may.is_empty() {
                Form::Plain
            } else {
                encode::mark(&mut head);
                Form::Encodable(may)
            };
            let meta = HttpMeta {
                status,
                head,
                form,
                ready: Ready::default(),
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
                tags,
                checked: Checked::default(),
                selection: vary::selection(&ask.headers, &storable.vary),
            };
            Fetched::Storable {
                meta: Box::new(meta),
                personal,
                body,
                length,
                said,
                origin,
            }
        }
    }
}

/// The length that the answer declares, or that its body is known to have.
fn content_length(response: &Response<Body>) -> Option<u64> {
    // 204 may declare a length all the same, which is not that of a body (RFC 9110 §8.6).
    if matches!(response.body(), Body::Empty) {
        return Some(0);
    }
    response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .or_else(|| response.body().size_hint().exact())
}

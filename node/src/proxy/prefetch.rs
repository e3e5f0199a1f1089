//! Prefetching: a URL is asked for as an ordinary client would, so that clients find it here.
//!
//! The request goes through the same phases, but for the site's guard, which the operator need not pass, and the counts
//! of clients' requests. Its body is read to its end and given to nobody.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};

use super::explain::{Question, of_own};
use super::outcome::{Outcome, Own};
use super::{Proxy, finish};
use crate::exchange::Body;
use crate::protect::Verdict;

/// What became of one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefetched {
    /// As it was given.
    pub url: String,
    /// In a word.
    pub result: PrefetchResult,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// Why it is not stored, or what went wrong.
    pub because: Option<String>,
}

/// What became of one URL, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrefetchResult {
    /// It was fetched, or the origin said that what was stored is still good.
    Stored,
    /// It was there and fresh.
    Fresh,
    /// It was fetched, and the answer or the site says that it is not for a cache.
    NotStorable,
    /// It was not fetched.
    Failed,
}

impl Proxy {
    /// Fetches one URL of a site through the cache. `headers` are the request's.
    pub async fn prefetch(
        self: &Arc<Self>,
        site: &str,
        url: &str,
        headers: &[(String, String)],
    ) -> Prefetched {
        let failed = |because: String| Prefetched {
            url: url.to_owned(),
            result: PrefetchResult::Failed,
            status: None,
            body_bytes: 0,
            because: Some(because),
        };
        let question = Question {
            url: url.to_owned(),
            method: None,
            from: None,
            headers: headers.to_vec(),
        };
        let (client, request, _) = match question.request() {
            Ok(request) => request,
            Err(error) => return failed(error.to_string()),
        };
        let (parts, ()) = request.into_parts();
        let times = (Instant::now(), SystemTime::now());
        let admitted = {
            let view = self.views.load();
            self.admit_past(&view, client, parts, times, |_, _, _| Verdict::Pass)
        };
        let ask = match admitted {
            Ok(ask) if *ask.site.name == *site => Arc::new(ask),
            Ok(ask) => return failed(format!("it is of the site {}", ask.site.name)),
            Err(turned) => return failed(of_own(turned.own)),
        };
        let (response, passage) = match self.hit(&ask, &Body::Empty) {
            Some(answered) => answered,
            None => self.answer(&ask, Body::Empty, finish::next_id()).await,
        };
        let status = response.status();
        let mut body = response.into_body();
        let mut body_bytes = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => body_bytes += frame.data_ref().map_or(0, |piece| piece.len() as u64),
                Err(error) => return failed(format!("its body broke off: {error}")),
            }
        }
        let (result, because) = match passage.outcome {
            Outcome::Hit | Outcome::Stale => (PrefetchResult::Fresh, None),
            Outcome::Revalidated | Outcome::Miss => (PrefetchResult::Stored, None),
            Outcome::StaleIfError => (
                PrefetchResult::Failed,
                Some("no origin gave a good answer; what is stored is stale".to_owned()),
            ),
            Outcome::Own(Own::NoOrigin) => {
                let because = format!("{}: no origin answers", status.as_u16());
                (PrefetchResult::Failed, Some(because))
            }
            Outcome::Own(own) => (PrefetchResult::Failed, Some(of_own(own))),
            Outcome::Uncacheable(_) | Outcome::Bypass(_) if status.is_server_error() => {
                let because = format!("the origin answered {}", status.as_u16());
                (PrefetchResult::Failed, Some(because))
            }
            Outcome::Uncacheable(refusal) | Outcome::Bypass(refusal) => {
                (PrefetchResult::NotStorable, Some(refusal.word().to_owned()))
            }
        };
        Prefetched {
            url: url.to_owned(),
            result,
            status: Some(status.as_u16()),
            body_bytes,
            because,
        }
    }
}

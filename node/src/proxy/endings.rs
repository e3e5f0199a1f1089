//! How a request ends that went to the origin: with the origin's own answer, with what is stored, or with ours.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use super::admit::{Ask, Turned};
use super::answer::{Answered, Errand, circumstances};
use super::lookup::Stored;
use super::onward;
use super::outcome::{Outcome, Own, Passage, Refusal};
use super::ports::Unanswered;
use super::{Proxy, headers};
use crate::exchange::Body;

impl Proxy {
    /// The origin's answer, for this client only.
    pub(super) fn unshared(
        &self,
        errand: &Errand<'_>,
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    ) -> Answered {
        let passage = Passage {
            fwd_status: Some(response.status()),
            origin: Some(origin),
            ..errand.passage(Outcome::Uncacheable(refusal))
        };
        let named = errand.ask.trailers().names_of(&response);
        let mut response = self.pass_on(errand.ask, response, &passage);
        onward::to_one_client(&mut response, named);
        (response, passage)
    }

    /// What was stored, as the origin has just said that it is still good. `personal` is for this client only.
    pub(super) async fn freshened(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        entry: &Stored,
        personal: HeaderMap,
        origin: Box<str>,
    ) -> Option<Answered> {
        let meta = entry.meta();
        let ask = Ask {
            now: meta.freshness.response_time,
            ..Ask::clone(errand.ask)
        };
        let ruling = ask.ruling_for(meta.status, &meta.head);
        let policy = ask.site.rules.policy(&ruling);
        let passage = Passage {
            fwd_status: Some(StatusCode::NOT_MODIFIED),
            ttl_s: Some(meta.freshness.ttl_s(meta.status, policy, ask.now)),
            origin: Some(origin),
            ..errand.passage(Outcome::Revalidated)
        };
        let mut response = self.send_entry(&ask, entry, &passage).await?;
        headers::add(response.headers_mut(), &personal);
        Some((response, passage))
    }

    /// The origin answered 500, 502, 503 or 504: something stale in its place, where that is allowed.
    pub(super) async fn broken(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        response: Response<Body>,
        origin: Box<str>,
    ) -> Answered {
        let status = Some(response.status());
        match self.stale_if_error(errand, status).await {
            Some(answered) => answered,
            None => self.unshared(errand, response, Refusal::Status, origin),
        }
    }

    /// Nobody answered: something stale, where that is allowed, else our own error.
    pub(super) async fn unanswered(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        unanswered: &Unanswered,
    ) -> Answered {
        match self.stale_if_error(errand, None).await {
            Some(answered) => answered,
            None => {
                let passage = errand.passage(Outcome::Own(Own::NoOrigin));
                // What is stored must not be sent unless it is validated, and cannot be (RFC 9111 §5.2.2.2).
                let in_vain = errand.stored.is_some() && unanswered.status.is_server_error();
                let unanswered = Unanswered {
                    status: match in_vain {
                        true => StatusCode::GATEWAY_TIMEOUT,
                        false => unanswered.status,
                    },
                    reason: Arc::clone(&unanswered.reason),
                };
                self.no_origin(errand.ask, errand.request_id, passage, &unanswered)
            }
        }
    }

    async fn stale_if_error(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        fwd_status: Option<StatusCode>,
    ) -> Option<Answered> {
        let (entry, purge) = errand.stored.as_ref()?;
        let (ask, meta) = (errand.ask, entry.meta());
        let ruling = ask.ruling_for(meta.status, &meta.head);
        let at = circumstances(ask, &ruling, meta.status, *purge);
        if !meta.freshness.stale_if_error(at) {
            return None;
        }
        let ttl_s = meta.freshness.ttl_s(meta.status, at.policy, ask.now);
        let passage = Passage {
            fwd_status,
            ttl_s: Some(ttl_s),
            ..errand.passage(Outcome::StaleIfError)
        };
        let response = self.send_entry(errand.ask, entry, &passage).await?;
        Some((response, passage))
    }

    /// An answer of our own.
    pub(super) fn turn(&self, errand: &Errand<'_>, turned: Turned, passage: Passage) -> Answered {
        let response = self.own(&turned, &errand.ask.method, errand.request_id, &passage);
        (response, passage)
    }

    /// Our own error, for want of an origin.
    pub(super) fn no_origin(
        &self,
        ask: &Ask,
        request_id: u64,
        passage: Passage,
        unanswered: &Unanswered,
    ) -> Answered {
        tracing::debug!(
            site = &*ask.site.name,
            reason = &*unanswered.reason,
            "no origin answered"
        );
        let full = unanswered.status == StatusCode::SERVICE_UNAVAILABLE;
        let turned = Turned {
            // Full now; there is no telling for how long.
            retry_after_s: full.then_some(1),
            ..Turned::new(Own::NoOrigin)
        };
        let passage = Passage {
            outcome: Outcome::Own(Own::NoOrigin),
            ..passage
        };
        let response = self.own_with(
            unanswered.status,
            &turned,
            &ask.method,
            request_id,
            &passage,
        );
        (response, passage)
    }
}

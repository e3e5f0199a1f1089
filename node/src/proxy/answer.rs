//! From an admitted request to its answer: look up, reuse, or bring what is missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Response, StatusCode};
use http_body::Body as _;

use super::admit::{Ask, Turned};
use super::fetch::Job;
use super::fill::Place;
use super::lookup::{Found, Stored};
use super::outcome::{Fwd, Outcome, Own, Passage, Refusal};
use super::parts::{Rest, Use, asks_far_in};
use super::purging::is_purge;
use super::reuse::{Because, Circumstances, Reuse};
use super::slices::Way;
use super::{Proxy, query};
use crate::config::rule::Ruling;
use crate::exchange::{Body, InterimLine};
use crate::view::PurgeVerdict;

/// How often a request looks again because what it waited for ended without being of use to it. After that it goes
/// to the origin by itself.
const LOOKS: usize = 3;

/// An answer, and how it came about.
pub(super) type Answered = (Response<Body>, Passage);

/// A request on its way to the origin, with what may help if that does not answer.
pub(super) struct Errand<'a> {
    pub(super) ask: &'a Arc<Ask>,
    pub(super) request_id: u64,
    pub(super) place: Place,
    pub(super) stored: Option<(Stored, PurgeVerdict)>,
    /// What is held in part, and is to be completed.
    pub(super) rest: Option<Arc<Rest>>,
    pub(super) fwd: Fwd,
    pub(super) fill_index: u64,
}

impl Errand<'_> {
    pub(super) fn job(&self, keeps_conditions: bool) -> Job {
        Job {
            ask: Arc::clone(self.ask),
            stored: self.stored.as_ref().map(|(entry, _)| Arc::clone(entry)),
            rest: self.rest.clone(),
            fill_index: self.fill_index,
            keeps_conditions,
            sliced: false,
            interim: self.ask.client.interim.as_ref().map(InterimLine::ticket),
            covered: self.stored.as_ref().is_some_and(|(entry, purge)| {
                let meta = entry.meta();
                let ruling = self.ask.ruling_for(meta.status, &meta.head);
                let freshness = &meta.freshness;
                freshness.stale_if_error(circumstances(self.ask, &ruling, meta.status, *purge))
            }),
        }
    }

    pub(super) fn passage(&self, outcome: Outcome) -> Passage {
        Passage {
            fwd: Some(self.fwd),
            ..Passage::new(outcome)
        }
    }
}

impl Proxy {
    /// Answers out of memory, without waiting: what is stored there whole and fresh. None says that [`Proxy::answer`]
    /// is to be asked, not that it is a miss.
    pub(super) fn hit(&self, ask: &Ask, body: &Body) -> Option<Answered> {
        if ask.is_demanding() || ask.bypass(!body.is_end_stream()).is_some() {
            return None;
        }
        let (entry, purge) = self.peek(ask)?;
        let meta = entry.meta();
        let ruling = ask.ruling_for(meta.status, &meta.head);
        let at = circumstances(ask, &ruling, meta.status, purge);
        let Reuse::Fresh { ttl_s } = meta.freshness.reuse(at) else {
            return None;
        };
        let passage = Passage {
            ttl_s: Some(ttl_s),
            ..Passage::new(Outcome::Hit)
        };
        let response = self.send_from_memory(ask, &entry, &passage)?;
        Some((response, passage))
    }

    /// Answers an admitted request.
    pub(super) async fn answer(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        mut body: Body,
        request_id: u64,
    ) -> Answered {
        let mut with_content = None;
        if ask.takes_query() && !ask.onward.switches {
            match query::read(ask, body).await {
                Ok(ask) => {
                    body = Body::Empty;
                    self.queries.store(true, Ordering::Relaxed);
                    with_content = Some(ask);
                }
                Err(passed) => body = passed,
            }
        }
        let ask = with_content.as_ref().unwrap_or(ask);
        if let Some(refusal) = ask.bypass(!body.is_end_stream()) {
            if is_purge(&ask.method) {
                return self.purging(ask).await;
            }
            return self.pass(ask, body, refusal, request_id).await;
        }
        for look in 0..LOOKS {
            let found = self.find(ask).await;
            if let Some(answered) = self
                .answer_found(ask, found, request_id, look + 1 == LOOKS)
                .await
            {
                return answered;
            }
        }
        // The last look goes alone, and only a body lost from disk under it brings us here.
        self.pass(ask, Body::Empty, Refusal::Busy, request_id).await
    }

    /// One look; none when it is worth another.
    async fn answer_found(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        found: Found,
        request_id: u64,
        alone: bool,
    ) -> Option<Answered> {
        // Before any origin is chosen, so that a purge from here on is newer than what comes.
        let fill_index = self.purges.applied();
        let Found {
            primary,
            key,
            mut stored,
            parts,
            mut fwd,
        } = found;
        let mut rest = None;
        let far_in = asks_far_in(ask);
        match parts.map(|parts| Use::of(parts, ask, far_in)) {
            Some(Use::Answer(lead, purge)) => stored = Some((lead, purge)),
            Some(Use::Complete(missing)) => {
                rest = Some(missing);
                fwd = Fwd::Partial;
            }
            Some(Use::Nothing) | None => {}
        }
        if let Some((entry, purge)) = &stored {
            let meta = entry.meta();
            let ruling = ask.ruling_for(meta.status, &meta.head);
            let at = circumstances(ask, &ruling, meta.status, *purge);
            let outcome = match meta.freshness.reuse(at) {
                Reuse::Fresh { ttl_s } => Some((Outcome::Hit, ttl_s)),
                Reuse::AcceptedStale { ttl_s } => Some((Outcome::Stale, ttl_s)),
                Reuse::WhileRevalidate { ttl_s } => {
                    self.revalidate_in_background(ask, &primary, &key, entry, *purge, fill_index);
                    Some((Outcome::Stale, ttl_s.min(0)))
                }
                Reuse::Revalidate {
                    because: Because::Stale,
                } => {
                    fwd = Fwd::Stale;
                    None
                }
                Reuse::Revalidate {
                    because: Because::Request,
                } => {
                    fwd = Fwd::Request;
                    None
                }
            };
            if let Some((outcome, ttl_s)) = outcome {
                let passage = Passage {
                    ttl_s: Some(ttl_s),
                    ..Passage::new(outcome)
                };
                let response = self.send_entry(ask, entry, &passage).await?;
                return Some((response, passage));
            }
        }
        let place = Place { primary, key };
        let mut errand = Errand {
            ask,
            request_id,
            place,
            stored,
            rest,
            fwd,
            fill_index,
        };
        if !alone
            && errand.stored.is_none()
            && errand.rest.is_none()
            && let Some(slice_bytes) = ask.slice_bytes()
        {
            match self.answer_in_slices(&mut errand, slice_bytes).await {
                Way::Answered(answered) => return Some(*answered),
                Way::Look => return None,
                Way::Usual => {}
            }
        }
        if ask.directives.only_if_cached {
            let passage = Passage::new(Outcome::Own(Own::OnlyIfCached));
            return Some(self.turn(&errand, Turned::new(Own::OnlyIfCached), passage));
        }
        let alone = alone
            || far_in
            || !ask.joins_others()
            || self.marks.is_solo(errand.place.key.whole(), Instant::now());
        if alone {
            return Some(self.go_alone(errand).await);
        }
        self.go_together(errand).await
    }
}

pub(super) fn circumstances<'a>(
    ask: &'a Ask,
    ruling: &'a Ruling,
    status: StatusCode,
    purge: PurgeVerdict,
) -> Circumstances<'a> {
    Circumstances {
        status,
        request: &ask.directives,
        policy: ask.site.rules.policy(ruling),
        purge,
        now: ask.now,
    }
}

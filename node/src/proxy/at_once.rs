//! A plain request for what is whole and fresh in memory, answered out of its connection's buffer.
//!
//! The third way to a hit (0701), and the shortest: no `Request`, no `Response`, no map of fields is made. It only
//! takes what is so plain that it can be answered by the rules that the other ways share; whatever else there is sends
//! the request there, before anything was counted. `tests/hits.rs` holds the three against each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::header::{ACCEPT_ENCODING, DATE, ETAG, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::admit::serves;
use super::cache_control::CacheControl;
use super::conditions::{needs_origin, not_modified, stays_in_not_modified};
use super::encode::Form;
use super::finish::next_id;
use super::headers::Choosing;
use super::key::{self, Authority};
use super::meta::HttpMeta;
use super::outcome::{Outcome, Passage};
use super::reuse::{Circumstances, Reuse};
use super::{Proxy, body, cache_status, vary};
use crate::config::site::{CacheSettings, ProtectSettings, Site, TlsSettings};
use crate::exchange::{Body, Client, PlainHead, RawField};
use crate::observe::access::Record;

/// Is this a site whose hits need nothing but what this way does?
///
/// Every setting is named here, so that whoever adds one has to decide: a setting that may change what a request is
/// answered with, or whether it is let in, has to be absent (`&& setting.is_none()`); `setting: _` is for those that act
/// only on the way to the origin, or when a response is stored. In doubt: absent. The keys of policies are in a list of
/// their own (`Rules::is_plain`), and one that is not on it bars.
fn is_plain(site: &Site, client: &Client) -> bool {
    let Site {
        name: _,
        hosts: _,
        any_host: _,
        origins: _,
        balance: _,
        sticky_cookie: _,
        cache,
        compression: _,
        rules: _,
        tls,
        auth,
        error_pages: _,
        maintenance,
        dresses: _,
        protect,
        revision: _,
    } = site;
    let CacheSettings {
        set_cookie: _,
        strict,
        body_max_bytes: _,
        tags: _,
        purge_from: _,
        status_key_for,
        development_until,
    } = cache;
    let TlsSettings {
        certificate: _,
        redirect_http,
        hsts,
    } = tls;
    let ProtectSettings {
        deny_networks,
        deny_countries,
        rate,
        refuses_deception: _,
    } = protect;
    !strict
        && development_until.is_none()
        && status_key_for.is_empty()
        && auth.signed.is_none()
        && maintenance.is_none()
        && (!*redirect_http || client.tls)
        && !(hsts.is_some() && client.tls)
        && deny_networks.is_empty()
        && deny_countries.is_empty()
        && rate.is_none()
}

impl Proxy {
    /// See [`crate::exchange::Handle::at_once`].
    pub(super) fn hit_at_once(
        &self,
        client: &Client,
        head: &PlainHead<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        thread_local! {
            static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
        }
        let choosing = Choosing::of_raw(head.fields)?;
        let Choosing {
            conditions,
            accept_encoding,
            ..
        } = choosing;
        let taken = Choosing {
            conditions,
            accept_encoding,
            ..Choosing::default()
        };
        if choosing != taken {
            return None;
        }
        let mut scratch = SCRATCH.take();
        let body = self.hit_with(client, head, choosing, &mut scratch, out);
        if body.is_none() {
            out.clear();
        }
        SCRATCH.set(scratch);
        body
    }

    fn hit_with(
        &self,
        client: &Client,
        head: &PlainHead<'_>,
        choosing: Choosing,
        scratch: &mut String,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        let conditions = choosing.conditions;
        let begin = Instant::now();
        let now = SystemTime::now();
        let (host, host_len) = authority(head.host, client.tls)?;
        let host = &*host;
        let view = self.views.glance();
        let site = view.site(&host[..host_len])?;
        if !is_plain(site, client)
            || !key::target_is_settled(head.target, &site.rules)
            || matches!(&client.server_name, Some(name) if !serves(&view, site, name))
        {
            return None;
        }
        let rules = &site.rules;
        let path = head.target.split('?').next().unwrap_or_default();
        let ruling = rules.at_plain_request(path)?;
        let entry = key::with_parts(&site.name, client.tls, host, head.target, &[], |whole| {
            self.store.peek_whole(whole)
        })?;
        let (meta, pieces) = (entry.meta(), entry.body()?);
        if meta.status != StatusCode::OK {
            return None;
        }
        let ruling = rules.at_response(&ruling, meta.status, &meta.head);
        if !rules.is_plain(&ruling) {
            return None;
        }
        if choosing.accept_encoding && !says_nothing_of_codings(meta) {
            return None;
        }
        let mut unchanged =
            conditions && meta.selection.is_empty() && names_tag(head.fields, meta.head.get(ETAG));
        if !unchanged && (conditions || !meta.selection.is_empty()) {
            let fields = chosen_by(head.fields, conditions, &meta.selection)?;
            if needs_origin(&fields) || !vary::matches(&meta.selection, &fields) {
                return None;
            }
            unchanged = conditions
                && not_modified(
                    &fields,
                    meta.status,
                    &meta.head,
                    meta.freshness.response_time,
                );
        }
        let purge = self.verdict(meta)?;
        if !self
            .marks
            .is_valid(&site.name, &meta.url, meta.request_time)
        {
            return None;
        }
        let Reuse::Fresh { ttl_s } = meta.freshness.reuse(Circumstances {
            status: meta.status,
            request: &CacheControl::default(),
            policy: rules.policy(&ruling),
            purge,
            now,
        }) else {
            return None;
        };
        let passage = Passage {
            ttl_s: Some(ttl_s),
            ..Passage::new(Outcome::Hit)
        };
        let (length, content) = if unchanged {
            write_fields(&meta.head, true, out)?;
            (0, Body::Empty)
        } else {
            let length = entry.body_bytes();
            let ready = meta.ready.head(|out| {
                write_fields(&meta.head, false, out)?;
                let length = number(&mut itoa::Buffer::new(), length).to_vec();
                field(out, b"content-length: ", &length);
                Some(())
            })?;
            out.extend_from_slice(ready);
            (length, body::in_memory(pieces, 0..length))
        };
        let mut digits = itoa::Buffer::new();
        let age = number(&mut digits, meta.freshness.age_s(now));
        field(out, b"age: ", age);
        field(out, b"via: ", self.via.as_bytes());
        scratch.clear();
        cache_status::write(scratch, &self.name, &passage);
        field(out, b"cache-status: ", scratch.as_bytes());
        out.extend_from_slice(b"\r\n");
        let elapsed = begin.elapsed();
        self.metrics.at(Some(&site.name), |metrics| {
            metrics.answered(passage.outcome, elapsed);
            metrics.sent(passage.outcome, length);
        });
        if self.access.is_on() {
            self.access.write(&Record {
                time: now,
                node: (&*self.node).into(),
                site: Some((&*site.name).into()),
                method: Method::GET,
                host: head.host.into(),
                target: head.target.into(),
                status: if unchanged { 304 } else { 200 },
                body_bytes: length,
                complete: true,
                first_byte: elapsed,
                duration: elapsed,
                outcome: passage.outcome.label(),
                reason: passage.outcome.reason(),
                collapsed: false,
                peer: None,
                origin: None,
                client: client.address,
                request_id: next_id(),
                generation: view.generation,
            });
        }
        Some(content)
    }
}

/// The authority of a valid Host field, and how much of it is the host. The last one is remembered: a connection asks for
/// one host again and again.
fn authority(field: &str, tls: bool) -> Option<(Rc<str>, usize)> {
    type Known = (Box<str>, bool, Rc<str>, usize);
    thread_local! {
        static LAST: RefCell<Option<Known>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if let Some((asked, asked_tls, authority, host_len)) = last
            && **asked == *field
            && *asked_tls == tls
        {
            return Some((Rc::clone(authority), *host_len));
        }
        let parsed = Authority::parse(field, tls).ok()?;
        let authority: Rc<str> = parsed.as_str().into();
        let host_len = parsed.host().len();
        *last = Some((field.into(), tls, Rc::clone(&authority), host_len));
        Some((authority, host_len))
    })
}

/// Is there one condition, which names the stored tag in the very bytes? So most clients ask, and nothing need be parsed:
/// other ways of saying it are for [`not_modified`].
fn names_tag(fields: &[RawField<'_>], tag: Option<&HeaderValue>) -> bool {
    let Some(tag) = tag.map(HeaderValue::as_bytes) else {
        return false;
    };
    let begins_condition = |field: &&RawField<'_>| {
        let begin = field.name.as_bytes().get(..3);
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(b"if-"))
    };
    let mut asked = fields.iter().filter(begins_condition);
    let (Some(field), None) = (asked.next(), asked.next()) else {
        return false;
    };
    // One tag, with nothing in its quotes that a list of tags could be made of.
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = opaque
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    field.name.eq_ignore_ascii_case("if-none-match")
        && field.value == tag
        && inner.is_some_and(|inner| !inner.iter().any(|byte| matches!(byte, b'"' | b',')))
}

/// Is a stored response the same for whatever content codings a client takes?
fn says_nothing_of_codings(meta: &HttpMeta) -> bool {
    meta.form == Form::Plain
        && meta
            .selection
            .iter()
            .all(|(name, _)| *name != ACCEPT_ENCODING)
}

/// Status line and stored fields. None when they are undated: then a date has to be added, which others do.
fn write_fields(stored: &HeaderMap, not_modified: bool, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(match not_modified {
        true => b"HTTP/1.1 304 Not Modified\r\n",
        false => b"HTTP/1.1 200 OK\r\n",
    });
    let has_tag = not_modified && stored.contains_key(ETAG);
    let mut dated = None;
    for (name, value) in stored {
        if *name == DATE {
            dated = Some(());
        }
        if !not_modified || stays_in_not_modified(name, has_tag) {
            out.extend_from_slice(name.as_str().as_bytes());
            field(out, b": ", value.as_bytes());
        }
    }
    dated
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(buffer: &mut itoa::Buffer, number: u64) -> &[u8] {
    buffer.format(number).as_bytes()
}

/// Those fields of a request that a stored response is chosen by: conditions, and what it varies on.
fn chosen_by(
    fields: &[RawField<'_>],
    conditions: bool,
    selection: &[(HeaderName, Option<Vec<u8>>)],
) -> Option<HeaderMap> {
    let mut chosen = HeaderMap::new();
    for field in fields {
        let condition = conditions
            && field
                .name
                .as_bytes()
                .get(..3)
                .is_some_and(|begin| begin.eq_ignore_ascii_case(b"if-"));
        let selected = |(name, _): &(HeaderName, _)| field.name.eq_ignore_ascii_case(name.as_str());
        if condition || selection.iter().any(selected) {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            chosen.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    Some(chosen)
}

//! What a site does to answers on their way out, wherever they come from: pages in the stead of errors, fields, HSTS.
//! Nothing of it is stored, so that a changed site counts for what is.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderValue, LAST_MODIFIED, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
};
use http::{HeaderMap, Response, StatusCode};

use super::Proxy;
use super::admit::{Ask, Turned};
use super::outcome::{Outcome, Own, Passage};
use crate::config::page::Page;
use crate::config::policy::Policy;
use crate::config::rule::Ruling;
use crate::config::site::Site;
use crate::exchange::Body;

impl Proxy {
    /// Dresses the answer to an admitted request.
    pub(super) fn dress(
        &self,
        ask: &Ask,
        response: &mut Response<Body>,
        passage: &Passage,
        request_id: u64,
    ) {
        if !ask.site.dresses {
            return;
        }
        let ruling = ask.ruling_for(response.status(), response.headers());
        let policy = ask.site.rules.policy(&ruling);
        let ours = matches!(passage.outcome, Outcome::Own(_));
        let page = error_page(&ask.site, policy, response.status());
        if let Some(page) = page.filter(|page| ours || page.intercepts) {
            put(page, response, ask.method == http::Method::HEAD, request_id);
        }
        fields(&ask.site, policy, ask.client.tls, response.headers_mut());
    }

    /// Dresses the answer to a request that was turned away before anything was known of it but its site. Rules that ask
    /// for the status or type alone still hold.
    pub(super) fn dress_turned(
        &self,
        site: &Arc<Site>,
        tls: bool,
        response: &mut Response<Body>,
        turned: &Turned,
        request_id: u64,
    ) {
        let maintenance = site
            .maintenance
            .as_ref()
            .filter(|_| turned.own == Own::Maintenance);
        if !site.dresses && maintenance.is_none() {
            return;
        }
        let none = Ruling::default();
        let ruling = site
            .rules
            .at_response(&none, response.status(), response.headers());
        let policy = site.rules.policy(&ruling);
        let page = maintenance
            .and_then(|maintenance| maintenance.page.as_ref())
            .or_else(|| error_page(site, policy, response.status()));
        if let Some(page) = page {
            // Our own few words were left out for HEAD.
            let is_head = matches!(response.body(), Body::Empty);
            put(page, response, is_head, request_id);
        }
        fields(site, policy, tls, response.headers_mut());
    }
}

/// The page for an error: a rule's before the site's.
fn error_page<'a>(site: &'a Site, policy: &'a Policy, status: StatusCode) -> Option<&'a Arc<Page>> {
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    policy
        .error_page
        .as_ref()
        .or_else(|| site.error_pages.of(status))
}

/// Puts a page in the stead of what an answer says, with the fields that speak of it.
fn put(page: &Page, response: &mut Response<Body>, is_head: bool, request_id: u64) {
    let body = page.written(response.status(), request_id);
    let headers = response.headers_mut();
    for name in [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_RANGE,
        ACCEPT_RANGES,
        TRANSFER_ENCODING,
        ETAG,
        LAST_MODIFIED,
    ] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, page.content_type.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = if is_head { Body::Empty } else { body.into() };
}

fn fields(site: &Site, policy: &Policy, tls: bool, headers: &mut HeaderMap) {
    if tls && let Some(hsts) = &site.tls.hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if let Some(edits) = &policy.client_headers {
        edits.apply(headers);
    }
}

//! Pages that the site's operator writes: in the stead of errors, and while the site is being worked on.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use ipnet::IpNet;

use super::policy::Value;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The text; `{status}` and `{request_id}` stand for what they say.
    pub body: Box<str>,
    /// Its type.
    pub content_type: HeaderValue,
    /// Also in the stead of an origin's answer, not of ours only.
    pub intercepts: bool,
}

impl Page {
    /// The page as one client gets it.
    #[must_use]
    pub fn written(&self, status: StatusCode, request_id: u64) -> Bytes {
        if !self.body.contains('{') {
            return Bytes::copy_from_slice(self.body.as_bytes());
        }
        self.body
            .replace("{status}", status.as_str())
            .replace("{request_id}", &format!("{request_id:016x}"))
            .into()
    }
}

impl Value for Page {
    fn shown(&self) -> String {
        let of = if self.intercepts { "any" } else { "our" };
        let kind = self.content_type.to_str().unwrap_or_default();
        format!(
            "in the stead of {of} answer: {} bytes of {kind}",
            self.body.len()
        )
    }
}

/// Pages by the statuses that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub Vec<(RangeInclusive<u16>, Arc<Page>)>);

impl ErrorPages {
    /// The page for a status: of several that of the narrowest range.
    #[must_use]
    pub fn of(&self, status: StatusCode) -> Option<&Arc<Page>> {
        let fitting = self
            .0
            .iter()
            .filter(|(range, _)| range.contains(&status.as_u16()));
        let narrowest = fitting.min_by_key(|(range, _)| range.end() - range.start());
        narrowest.map(|(_, page)| page)
    }
}

/// The site is being worked on: everybody gets 503, but those who work on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// For `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// Who passes.
    pub allow: Vec<IpNet>,
    /// What the others see; none: the page for 503, or our few words.
    pub page: Option<Arc<Page>>,
}

impl Maintenance {
    /// May this client pass?
    #[must_use]
    pub fn lets_in(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.allow.iter().any(|network| network.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Arc<Page> {
        Arc::new(Page {
            body: body.into(),
            content_type: HeaderValue::from_static("text/html"),
            intercepts: false,
        })
    }

    #[test]
    fn the_narrowest_range_has_the_page() {
        let pages = ErrorPages(vec![
            (500..=599, page("any")),
            (502..=504, page("gone")),
            (503..=503, page("busy")),
        ]);
        let body = |status| {
            let page = pages.of(StatusCode::from_u16(status).unwrap());
            page.map(|page| &*page.body)
        };
        assert_eq!(
            [500, 502, 503, 404].map(body),
            [Some("any"), Some("gone"), Some("busy"), None]
        );
    }

    #[test]
    fn a_page_may_name_the_request() {
        let text =
            page("<b>{status}</b> {request_id} {other}").written(StatusCode::BAD_GATEWAY, 10);
        assert_eq!(text, "<b>502</b> 000000000000000a {other}");
        assert_eq!(page("plain").written(StatusCode::BAD_GATEWAY, 1), "plain");
    }
}

//! Invalidation by unsafe requests (RFC 9111 §4.4): a write that went well makes what is stored of its target, and of
//! the same-origin URLs it names, unusable. Here at once; at the other nodes as soon as they hear of it
//! ([`super::ports::Neighbours`]).

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::header::{CONTENT_LOCATION, HeaderName, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};

use nearside_cache_store::{Directory, Key};

use super::admit::Ask;
use super::freshness::unix_ms;
use super::key::{self, Authority, Target};
use super::ports::Invalidation;
use super::query::is_query;
use super::{Proxy, slices};
use crate::config::site::Site;

impl Proxy {
    /// Invalidates what the answer to an unsafe request says has changed.
    pub(super) async fn invalidate(&self, ask: &Ask, status: StatusCode, answer: &HeaderMap) {
        if is_safe(&ask.method) || !(status.is_success() || status.is_redirection()) {
            return;
        }
        self.forget(ask, &ask.target).await;
        for name in [LOCATION, CONTENT_LOCATION] {
            if let Some(target) = same_origin(ask, answer, name)
                && target != ask.target
            {
                self.forget(ask, &target).await;
            }
        }
    }

    async fn forget(&self, ask: &Ask, target: &Target) {
        // First, as it takes a way: the others hear of it while this node looks at its disk.
        self.neighbours.tell(Invalidation {
            site: ask.site.name.clone(),
            authority: ask.authority.as_str().into(),
            target: target.path_and_query().as_str().into(),
        });
        self.mark(&ask.site, &ask.authority, target);
        self.forget_here(&ask.site, &ask.authority, target).await;
    }

    /// Makes unusable here what writes at other nodes have made so there. The rule is that of a write at this node, by
    /// this node's clock: whatever it asked an origin for before it heard of the write goes.
    pub async fn heard(&self, news: &[Invalidation]) {
        let view = self.views.load();
        let targets: Vec<_> = news
            .iter()
            .filter_map(|news| {
                // A site that is not here has nothing here.
                let site = view.site_named(&news.site)?;
                let authority = Authority::parse(&news.authority, false).ok()?;
                let target = Target::normalise(&news.target.parse().ok()?, &site.rules).ok()?;
                Some((site, authority, target))
            })
            .collect();
        // All marks before the first wait: from here on nothing of it is used.
        for (site, authority, target) in &targets {
            self.mark(site, authority, target);
        }
        for (site, authority, target) in &targets {
            self.forget_here(site, authority, target).await;
        }
    }

    /// Makes everything of a site unusable that was asked of its origins up to `asked`.
    pub fn heard_of_site(&self, site: &str, asked: SystemTime) {
        self.marks.invalidate_site(site, asked);
    }

    fn mark(&self, site: &Site, authority: &Authority, target: &Target) {
        let identity = target.identity(authority.host());
        self.marks
            .invalidate(&site.name, &identity, SystemTime::now());
    }

    async fn forget_here(&self, site: &Site, authority: &Authority, target: &Target) {
        if site.rules.divides() || self.queries.load(Ordering::Relaxed) {
            self.remember_write(&site.name, &target.identity(authority.host()))
                .await;
        }
        for tls in [false, true] {
            let whole = key::primary(&site.name, tls, authority, target, &[]);
            let primary = self.store.key(whole);
            let directory = self.directory(&primary).await;
            for variant in directory.variants() {
                self.store.remove(&self.store.key(variant.clone()));
            }
            for part in &directory.parts {
                self.store.remove(&self.store.key(part.key()));
            }
            let about = slices::about_key(primary.whole());
            self.store.remove(&self.store.key(about));
            self.store.remove(&primary);
        }
    }
}

/// Sites whose keys hold more than the URL: what is stored under a URL cannot be listed, so it cannot be removed. There
/// each write leaves a record beside the entries, which outlives those that are older, and a restart.
impl Proxy {
    fn written_key(&self, site: &str, identity: &str) -> Key {
        // Other keys begin with a site's name.
        self.store
            .key([b"\0written\0", site.as_bytes(), b"\0", identity.as_bytes()].concat())
    }

    async fn remember_write(&self, site: &str, identity: &str) {
        let key = self.written_key(site, identity);
        let now_ms = unix_ms(SystemTime::now()).to_be_bytes().to_vec();
        // Whoever wins meanwhile has written later than our write.
        for _ in 0..4 {
            let before = self.store.directory(&key).await;
            if self
                .store
                .set_directory(&key, before.as_deref(), now_ms.clone())
            {
                return;
            }
        }
    }

    /// Brings the record of writes into memory, where [`Proxy::is_unwritten`] looks.
    pub(super) async fn recall_writes(&self, ask: &Ask) {
        drop(
            self.store
                .directory(&self.written_key(&ask.site.name, &ask.url))
                .await,
        );
    }

    /// Was nothing written here since this was asked for? What is not in memory is not known, and counts as written.
    pub(super) fn is_unwritten(&self, ask: &Ask, asked: SystemTime) -> bool {
        if self.marks.is_newest(asked) {
            return true;
        }
        let key = self.written_key(&ask.site.name, &ask.url);
        match self.store.peek_directory(&key) {
            Directory::Absent => true,
            Directory::NotInMemory => false,
            Directory::Known(record) => match record[..].try_into() {
                Ok(written_ms) => u64::from_be_bytes(written_ms) < unix_ms(asked),
                Err(_) => false,
            },
        }
    }
}

/// RFC 9110 §9.2.1. An unknown method is taken for unsafe.
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method) || is_query(method)
}

/// The target that a field of the answer names, if it is of the same origin: another's URL is not ours to forget.
fn same_origin(ask: &Ask, answer: &HeaderMap, name: HeaderName) -> Option<Target> {
    let text = answer.get(name)?.to_str().ok()?;
    let text = text.split('#').next().unwrap_or_default();
    let tail = match split_reference(text) {
        (Some(scheme), _) if !scheme.eq_ignore_ascii_case(ask.scheme()) => return None,
        (_, Some((authority, tail))) => {
            let authority = Authority::parse(authority, ask.client.tls).ok()?;
            let root = if tail.starts_with('/') { "" } else { "/" };
            (authority == ask.authority).then(|| format!("{root}{tail}"))?
        }
        (Some(_), None) => return None,
        (None, None) if text.starts_with('/') => text.to_owned(),
        (None, None) => relative(ask.target.path(), text)?,
    };
    let uri: Uri = tail.parse().ok()?;
    Target::normalise(&uri, &ask.site.rules).ok()
}

/// Scheme, and authority with what stands behind it, of a URI reference, where it has them (RFC 3986 §4.1).
fn split_reference(text: &str) -> (Option<&str>, Option<(&str, &str)>) {
    let is_scheme = |scheme: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(letters)
    };
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        _ => (None, text),
    };
    let authority = rest
        .strip_prefix("//")
        .map(|rest| rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())));
    (scheme, authority)
}

/// A relative-path reference against the request's path (RFC 3986 §5.2.3); dot segments go when it is normalised.
fn relative(base: &str, reference: &str) -> Option<String> {
    if reference.is_empty() {
        return None;
    }
    if reference.starts_with('?') {
        return Some(format!("{base}{reference}"));
    }
    let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
    Some(format!("{folder}{reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_against_the_request() {
        assert_eq!(relative("/a/b", "c").as_deref(), Some("/a/c"));
        assert_eq!(relative("/a/b", "../c").as_deref(), Some("/a/../c"));
        assert_eq!(relative("/a/b", "?x").as_deref(), Some("/a/b?x"));
        assert_eq!(relative("/a", ""), None);
    }

    #[test]
    fn references_are_split_as_they_are_written() {
        for (text, scheme, authority) in [
            ("http://a/b?c", Some("http"), Some(("a", "/b?c"))),
            ("https://a?c", Some("https"), Some(("a", "?c"))),
            ("//a", None, Some(("a", ""))),
            ("urn:b", Some("urn"), None),
            ("/b?c=d://e", None, None),
            ("b?c=d://e", None, None),
            ("1b:c", None, None),
        ] {
            assert_eq!(split_reference(text), (scheme, authority), "{text}");
        }
    }

    #[test]
    fn methods_that_only_read_are_safe() {
        assert!(is_safe(&Method::OPTIONS));
        assert!(is_safe(&Method::from_bytes(b"QUERY").unwrap()));
        assert!(!is_safe(&Method::POST));
        assert!(!is_safe(&Method::from_bytes(b"PROPPATCH").unwrap()));
    }
}

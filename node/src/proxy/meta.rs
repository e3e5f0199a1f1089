//! What the store keeps beside a body: all that is needed to decide on reuse and to write a response head.
//!
//! Decoded once when an entry comes into memory: a hit clones a ready header map and decodes nothing. The encoding is
//! a version byte and MessagePack; an unknown version is a miss, and `golden/` holds an example of it.

use std::sync::OnceLock;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use nearside_cache_store::{DecodeError, Meta};
use serde::{Deserialize, Serialize};

use super::cache_control::CacheControl;
use super::encode::Form;
use super::freshness::{from_unix_ms, unix_ms};
use super::reuse::Freshness;
use crate::config::compression::{Coding, Codings};
use crate::view::{Checked, Identity, TagSet};

/// First byte of the encoding.
const VERSION: u8 = 3;

/// Metadata of a stored response.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpMeta {
    /// The status.
    pub status: StatusCode,
    /// The stored fields (RFC 9111 §3.1): without `Age`, `Content-Length` and what ends at a hop. Sent as they are.
    pub head: HeaderMap,
    /// When the origin was asked.
    pub request_time: SystemTime,
    /// Freshness data, arrival included.
    pub freshness: Freshness,
    /// The applied index when the fetch began, before an origin was chosen.
    pub fill_index: u64,
    /// Purge identity: the site.
    pub site: Box<str>,
    /// Purge identity: `host/path?query`.
    pub url: Box<str>,
    /// Purge identity: tags.
    pub tags: TagSet,
    /// Up to which purge it was found usable; not stored.
    pub checked: Checked,
    /// The request's values for the fields that `Vary` names; empty without `Vary`.
    pub selection: Vec<(HeaderName, Option<Vec<u8>>)>,
    /// What content codings have to do with it.
    pub form: Form,
    /// The fields as plain hits send them; not stored.
    pub ready: Ready,
}

/// The head of a whole answer as bytes, made at the first plain hit. A clone, whose fields may be changed, has none.
#[derive(Debug, Default)]
pub struct Ready(OnceLock<Option<Box<[u8]>>>);

impl Ready {
    /// The bytes, or what `make` writes; none where it cannot.
    pub(super) fn head(&self, make: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<&[u8]> {
        let made = || {
            let mut bytes = Vec::new();
            make(&mut bytes).map(|()| bytes.into())
        };
        self.0.get_or_init(made).as_deref()
    }
}

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Ready {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl HttpMeta {
    /// What purges match it by.
    #[must_use]
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            site: &self.site,
            url: &self.url,
            tags: Some(&self.tags),
        }
    }
}

/// The encoding's shape. Times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Wire {
    status: u16,
    fields: Vec<(String, Bytes)>,
    request_time_ms: u64,
    response_time_ms: u64,
    initial_age_s: u64,
    lifetime_s: u64,
    no_cache: bool,
    must_revalidate: bool,
    s_maxage: bool,
    stale_while_revalidate_s: Option<u64>,
    stale_if_error_s: Option<u64>,
    fill_index: u64,
    site: Box<str>,
    url: Box<str>,
    tags: Vec<(String, Vec<Box<str>>)>,
    every_tag: bool,
    selection: Vec<(String, Option<Bytes>)>,
    form: WireForm,
}

/// A [`Form`]: the codings it may have, or the one it has and the body it was made of.
#[derive(Default, Serialize, Deserialize)]
struct WireForm {
    codings: Vec<String>,
    of: Option<Bytes>,
}

impl WireForm {
    fn write(form: Form) -> Self {
        let name = |coding: Coding| coding.name().to_owned();
        match form {
            Form::Plain => Self::default(),
            Form::Encodable(codings) => Self {
                codings: codings.iter().map(name).collect(),
                of: None,
            },
            Form::Encoded { coding, of } => Self {
                codings: vec![name(coding)],
                of: Some(Bytes::copy_from_slice(&of)),
            },
        }
    }

    fn read(&self) -> Result<Form, DecodeError> {
        let unknown = || DecodeError::new("content coding");
        let known = |name: &String| Coding::named(name).ok_or_else(unknown);
        let codings = self
            .codings
            .iter()
            .map(known)
            .collect::<Result<Codings, _>>()?;
        Ok(match &self.of {
            Some(of) => Form::Encoded {
                coding: codings.iter().next().ok_or_else(unknown)?,
                of: of[..].try_into().map_err(|_| DecodeError::new("body"))?,
            },
            None if codings.is_empty() => Form::Plain,
            None => Form::Encodable(codings),
        })
    }
}

impl Meta for HttpMeta {
    fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            status: self.status.as_u16(),
            fields: self
                .head
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_str().to_owned(),
                        Bytes::copy_from_slice(value.as_bytes()),
                    )
                })
                .collect(),
            request_time_ms: unix_ms(self.request_time),
            response_time_ms: unix_ms(self.freshness.response_time),
            initial_age_s: self.freshness.initial_age_s,
            lifetime_s: self.freshness.lifetime_s,
            no_cache: self.freshness.no_cache,
            must_revalidate: self.freshness.must_revalidate,
            s_maxage: self.freshness.s_maxage,
            stale_while_revalidate_s: self.freshness.stale_while_revalidate_s,
            stale_if_error_s: self.freshness.stale_if_error_s,
            fill_index: self.fill_index,
            site: self.site.clone(),
            url: self.url.clone(),
            tags: self
                .tags
                .fields
                .iter()
                .map(|(name, tags)| (name.as_str().to_owned(), tags.to_vec()))
                .collect(),
            every_tag: self.tags.every,
            selection: self
                .selection
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.clone().map(Bytes::from)))
                .collect(),
            form: WireForm::write(self.form),
        };
        let mut bytes = vec![VERSION];
        // MessagePack of plain data into memory cannot fail; were it to, the empty record would read as a miss.
        if let Ok(body) = rmp_serde::to_vec(&wire) {
            bytes.extend_from_slice(&body);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, body) = bytes
            .split_first()
            .ok_or_else(|| DecodeError::new("empty"))?;
        if *version != VERSION {
            return Err(DecodeError::new(format!("version {version}")));
        }
        let wire: Wire =
            rmp_serde::from_slice(body).map_err(|error| DecodeError::new(error.to_string()))?;
        let bad = |what: &'static str| move |_| DecodeError::new(what);
        let name = |name: &str| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| DecodeError::new("field name"))
        };
        let mut head = HeaderMap::with_capacity(wire.fields.len());
        for (field, value) in wire.fields {
            let value = HeaderValue::from_maybe_shared(value)
                .map_err(|_| DecodeError::new("field value"))?;
            head.append(name(&field)?, value);
        }
        let selection = wire
            .selection
            .into_iter()
            .map(|(field, value)| Ok((name(&field)?, value.map(Vec::from))))
            .collect::<Result<_, DecodeError>>()?;
        let fields = wire
            .tags
            .into_iter()
            .map(|(field, tags)| Ok((name(&field)?, tags.into())))
            .collect::<Result<_, DecodeError>>()?;
        Ok(Self {
            status: StatusCode::from_u16(wire.status).map_err(bad("status"))?,
            request_time: from_unix_ms(wire.request_time_ms),
            freshness: Freshness {
                response_time: from_unix_ms(wire.response_time_ms),
                initial_age_s: wire.initial_age_s,
                lifetime_s: wire.lifetime_s,
                no_cache: wire.no_cache,
                must_revalidate: wire.must_revalidate,
                s_maxage: wire.s_maxage,
                came_with_age: false,
                immutable: CacheControl::of_response(&head).immutable,
                stale_while_revalidate_s: wire.stale_while_revalidate_s,
                stale_if_error_s: wire.stale_if_error_s,
            },
            head,
            fill_index: wire.fill_index,
            site: wire.site,
            url: wire.url,
            tags: TagSet {
                fields,
                every: wire.every_tag,
            },
            checked: Checked::default(),
            ready: Ready::default(),
            selection,
            form: wire.form.read()?,
        })
    }

    fn weigh(&self) -> usize {
        /// Index slot, bucket and the value's shared header, per field.
        const FIELD_BYTES: usize = 120;
        /// Around the fields in a head that is kept ready, and around each.
        const READY_BYTES: usize = 64;
        const READY_FIELD_BYTES: usize = 4;
        let fields: usize = self
            .head
            .iter()
            .map(|(name, value)| {
                let text = name.as_str().len() + value.len();
                text + FIELD_BYTES + text + READY_FIELD_BYTES
            })
            .sum();
        let selection: usize = self
            .selection
            .iter()
            .map(|(name, value)| {
                name.as_str().len() + value.as_ref().map_or(0, Vec::len) + FIELD_BYTES
            })
            .sum();
        READY_BYTES + fields + selection + self.site.len() + self.url.len() + self.tags.weigh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> HttpMeta {
        let mut head = HeaderMap::new();
        head.insert("content-type", HeaderValue::from_static("text/plain"));
        head.append("x-twice", HeaderValue::from_static("1"));
        head.append("x-twice", HeaderValue::from_bytes(b"\xff2").unwrap());
        HttpMeta {
            status: StatusCode::OK,
            head,
            request_time: from_unix_ms(1_700_000_000_123),
            freshness: Freshness {
                response_time: from_unix_ms(1_700_000_000_456),
                initial_age_s: 3,
                lifetime_s: 60,
                no_cache: false,
                must_revalidate: true,
                s_maxage: false,
                came_with_age: false,
                immutable: false,
                stale_while_revalidate_s: Some(10),
                stale_if_error_s: None,
            },
            fill_index: 42,
            site: "shop".into(),
            url: "shop.example/a?b".into(),
            tags: TagSet {
                fields: Box::new([(
                    HeaderName::from_static("cache-tag"),
                    Box::new(["news".into(), "article-7".into()]),
                )]),
                every: false,
            },
            checked: Checked::default(),
            ready: Ready::default(),
            selection: vec![
                (http::header::ACCEPT_ENCODING, Some(b"gzip".to_vec())),
                (HeaderName::from_static("x-a"), None),
            ],
            form: Form::Encoded {
                coding: Coding::Br,
                of: [7; 16],
            },
        }
    }

    /// What version 3 looks like on disk: a change here is a new version.
    const GOLDEN_V3: &str = include_str!("golden/http_meta_v3.hex");
    /// Version 2 knew no tags: a purge by tag would miss its entries, so they are misses.
    const GOLDEN_V2: &str = include_str!("golden/http_meta_v2.hex");

    #[test]
    fn the_encoding_is_the_golden_one() {
        let golden: String = GOLDEN_V3.split_whitespace().collect();
        assert_eq!(hex::encode(example().encode()), golden);
        let decoded = HttpMeta::decode(&hex::decode(golden).unwrap()).unwrap();
        assert_eq!(decoded, example());
        let old: String = GOLDEN_V2.split_whitespace().collect();
        assert!(HttpMeta::decode(&hex::decode(old).unwrap()).is_err());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let good = example().encode();
        assert!(HttpMeta::decode(&[]).is_err());
        assert!(HttpMeta::decode(&[9]).is_err());
        for cut in 1..good.len() {
            assert!(HttpMeta::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}

//! What may be encoded, and what an encoding does to the fields of a response.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue, VARY,
};
use http::{HeaderMap, StatusCode};

use super::super::cache_control::CacheControl;
use super::super::meta::HttpMeta;
use crate::config::compression::{Coding, Codings, Compression};

/// What stands between a stored body and content codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Sent as it is.
    #[default]
    Plain,
    /// Not encoded, and may be sent in these codings; its `Vary` says so.
    Encodable(Codings),
    /// An encoding of another entry's body.
    Encoded {
        /// How.
        coding: Coding,
        /// The name of the body that was encoded.
        of: [u8; 16],
    },
}

/// Digests of the bytes as they were: they do not speak of the encoded ones (RFC 9530 §2, §3; RFC 9110 appendix B for
/// `Content-MD5`; RFC 3230's `Digest`).
const OF_THE_BYTES: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// The codings in which a response with these fields may be sent. Its length is given where it is known.
#[must_use]
pub(crate) fn encodable(
    site: &Compression,
    codings: Codings,
    status: StatusCode,
    head: &HeaderMap,
    length: Option<u64>,
) -> Codings {
    let refused = codings.is_empty()
        || length.is_some_and(|length| length < site.min_bytes)
        // Whole representations only (RFC 9110 §15.3.7, §15.4.5), and those that people read.
        || !matches!(status.as_u16(), 200 | 201 | 203 | 300 | 400..=407 | 409 | 410 | 422 | 451 | 500 | 503)
        || head.contains_key(CONTENT_RANGE)
        || head.contains_key(CONTENT_ENCODING)
        || !head
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|content_type| site.covers(content_type))
        // Said to every intermediary, so a field for CDNs does not take it back.
        || CacheControl::of_field(head, &CACHE_CONTROL).no_transform;
    match refused {
        true => Codings::NONE,
        false => codings,
    }
}

/// Says of a response that others get it in another coding (RFC 9110 §12.5.5).
pub(crate) fn mark(head: &mut HeaderMap) {
    let says_so = |line: &HeaderValue| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if !head.get_all(VARY).iter().any(says_so) {
        head.append(VARY, OURS);
    }
}

/// The line that [`mark`] adds, with a name in no other spelling than ours.
const OURS: HeaderValue = HeaderValue::from_static("Accept-Encoding");

/// Takes back what [`mark`] said of a stored response, so that only the origin's own fields are left.
pub(crate) fn unmark(head: &mut HeaderMap, stored: &HttpMeta) {
    let chosen_so = stored
        .selection
        .iter()
        .any(|(name, _)| name == ACCEPT_ENCODING);
    if chosen_so || !matches!(stored.form, Form::Encodable(_)) {
        return;
    }
    let lines: Vec<HeaderValue> = head.get_all(VARY).iter().cloned().collect();
    if let Some((last, before)) = lines.split_last()
        && *last == OURS
    {
        head.remove(VARY);
        for line in before {
            head.append(VARY, line.clone());
        }
    }
}

/// Makes the fields of a response those of its encoding. Its length is left to whoever knows it.
pub(super) fn encode_head(head: &mut HeaderMap, coding: Coding) {
    head.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    mark(head);
    // Ranges are of the bytes as they are stored; of the encoded ones there are none to be asked for.
    head.remove(ACCEPT_RANGES);
    for name in &OF_THE_BYTES {
        head.remove(name);
    }
    // Another sequence of bytes must not share a strong tag (RFC 9110 §8.8.3); a weak one says what is true.
    if let Some(tag) = head.get(ETAG)
        && !tag.as_bytes().starts_with(b"W/")
    {
        let weak = [b"W/", tag.as_bytes()].concat();
        match HeaderValue::from_bytes(&weak) {
            Ok(weak) => head.insert(ETAG, weak),
            Err(_) => head.remove(ETAG),
        };
    }
}

/// The metadata of an encoding, after that of the response.
#[must_use]
pub(super) fn encoded_meta(stored: &HttpMeta, coding: Coding, of: [u8; 16]) -> HttpMeta {
    let mut meta = stored.clone();
    encode_head(&mut meta.head, coding);
    meta.form = Form::Encoded { coding, of };
    meta
}

/// The key of an encoding, under that of the response.
pub(super) fn encoded_key(key: &[u8], coding: Coding, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(key);
    // Nothing that a client or a site can choose puts these bytes behind a key.
    out.extend_from_slice(b"\0encoded\0");
    out.extend_from_slice(coding.name().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_whole_plain_text_is_encoded() {
        let html = ("content-type", "text/html");
        for (status, fields, length, may) in [
            (200, vec![html], Some(1000), true),
            (200, vec![html], None, true),
            (404, vec![html], Some(1000), true),
            (200, vec![html], Some(511), false),
            (200, vec![], Some(1000), false),
            (200, vec![("content-type", "image/png")], Some(1000), false),
            (204, vec![html], None, false),
            (206, vec![html], Some(1000), false),
            (304, vec![html], None, false),
            (416, vec![html], Some(1000), false),
            (200, vec![html, ("content-encoding", "gzip")], None, false),
            (
                200,
                vec![html, ("content-range", "bytes 0-1/2")],
                None,
                false,
            ),
            (
                200,
                vec![html, ("cache-control", "public, No-Transform")],
                None,
                false,
            ),
            (
                200,
                vec![
                    html,
                    ("cache-control", "no-transform"),
                    ("cdn-cache-control", "max-age=1"),
                ],
                None,
                false,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (site, all) = (Compression::default(), Codings::all());
            let codings = encodable(&site, all, status, &headers(&fields), length);
            assert_eq!(!codings.is_empty(), may, "{status} {fields:?}");
        }
        let (site, none) = (Compression::default(), Codings::NONE);
        assert!(encodable(&site, none, StatusCode::OK, &headers(&[html]), None).is_empty());
    }

    #[test]
    fn the_fields_of_an_encoding_speak_of_it() {
        let mut head = headers(&[
            ("etag", "\"a\""),
            ("accept-ranges", "bytes"),
            ("content-md5", "x"),
            ("repr-digest", "x"),
            ("content-digest", "x"),
            ("digest", "x"),
            ("vary", "Origin"),
            ("x-own", "1"),
        ]);
        encode_head(&mut head, Coding::Br);
        let mut expected = headers(&[
            ("etag", "W/\"a\""),
            ("vary", "Origin"),
            ("x-own", "1"),
            ("content-encoding", "br"),
        ]);
        expected.append("vary", HeaderValue::from_static("Accept-Encoding"));
        assert_eq!(head, expected);
        let mut weak = headers(&[("etag", "W/\"a\""), ("vary", "*")]);
        encode_head(&mut weak, Coding::Gzip);
        assert_eq!(
            (&weak["etag"], &weak["vary"]),
            (&"W/\"a\"".parse().unwrap(), &"*".parse().unwrap())
        );
    }

    #[test]
    fn a_mark_is_made_once() {
        for (lines, marked) in [
            (&[][..], 1),
            (&[("vary", "Origin")], 2),
            (&[("vary", "origin, accept-ENCODING")], 1),
            (&[("vary", "*")], 1),
        ] {
            let mut head = headers(lines);
            mark(&mut head);
            mark(&mut head);
            assert_eq!(head.get_all("vary").iter().count(), marked, "{lines:?}");
        }
    }
}

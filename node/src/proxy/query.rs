//! The method QUERY: safe and cacheable as GET is, with content that says what is asked for, and so is in the key.
//!
//! The content is read before anything is looked up, up to a bound; what is longer is passed through. As it is in memory
//! then, it can be sent again to another origin.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::admit::Ask;
use crate::exchange::{Body, BodyError};

/// Bytes of content that are read where a site says nothing.
const CONTENT_DEFAULT_BYTES: u64 = 64 << 10;

/// The content of a query, read whole.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) content: Bytes,
    /// Of the content, and of the fields that say how to read it.
    hash: [u8; 32],
}

impl Query {
    fn new(headers: &HeaderMap, content: Bytes) -> Self {
        let mut hash = Context::new(&SHA256);
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            for line in headers.get_all(&name) {
                hash.update(&normal(line.as_bytes()));
                hash.update(b"\0");
            }
            hash.update(b"\0");
        }
        hash.update(&content);
        let mut hashed = [0; 32];
        hashed.copy_from_slice(hash.finish().as_ref());
        Self {
            content,
            hash: hashed,
        }
    }

    /// Adds what tells this query from others, and from GET, to a primary key.
    pub(super) fn extend(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(b"\0query\0");
        key.extend_from_slice(&self.hash);
    }

    /// The content as a body.
    pub(super) fn body(&self) -> Body {
        self.content.clone().into()
    }
}

/// Is it this method?
#[must_use]
pub(super) fn is_query(method: &Method) -> bool {
    method.as_str() == "QUERY"
}

/// A field value in the form in which two that surely mean the same are equal: without white space outside of quotes,
/// and in lower case up to the first parameter, whose value may tell them apart by case.
fn normal(value: &[u8]) -> Vec<u8> {
    let (mut out, mut quoted, mut parameters) = (Vec::with_capacity(value.len()), false, false);
    for byte in value {
        match byte {
            b'"' => quoted = !quoted,
            b' ' | b'\t' if !quoted => continue,
            b';' => parameters = true,
            _ => {}
        }
        out.push(if parameters {
            *byte
        } else {
            byte.to_ascii_lowercase()
        });
    }
    out
}

impl Ask {
    /// Is it a query whose content may be read, so that the cache has a part in it?
    pub(super) fn takes_query(&self) -> bool {
        is_query(&self.method) && self.query.is_none() && self.query_max_bytes() > 0
    }

    fn query_max_bytes(&self) -> u64 {
        let said = self.policy().query_content;
        said.map_or(CONTENT_DEFAULT_BYTES, |size| size.bytes())
    }
}

/// Reads the content of a query. What is more than the bound, or breaks off, comes back as it was, to be passed through.
pub(super) async fn read(ask: &Arc<Ask>, mut body: Body) -> Result<Arc<Ask>, Body> {
    let max_bytes = ask.query_max_bytes();
    let declared = ask.headers.get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > max_bytes) {
        return Err(body);
    }
    let (mut pieces, mut read_bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return Err(again(pieces, Some(Err(error)), Body::Empty)),
            Ok(frame) => {
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                read_bytes += piece.len() as u64;
                if read_bytes > max_bytes {
                    return Err(again(pieces, Some(Ok(piece)), body));
                }
                pieces.push(piece);
            }
        }
    }
    let query = Query::new(&ask.headers, pieces.concat().into());
    let mut ask = Ask::clone(ask);
    // It is framed anew, by its length.
    ask.headers.remove(CONTENT_LENGTH);
    ask.query = Some(Arc::new(query));
    Ok(Arc::new(ask))
}

/// What was read, and then the rest.
fn again(pieces: Vec<Bytes>, last: Option<Result<Bytes, BodyError>>, rest: Body) -> Body {
    let read = pieces.into_iter().map(Ok).chain(last);
    let state = (read, Some(rest));
    Body::stream(StreamBody::new(futures_util::stream::unfold(
        state,
        |(mut read, rest)| async move {
            if let Some(piece) = read.next() {
                let rest = if piece.is_ok() { rest } else { None };
                return Some((piece.map(Frame::data), (read, rest)));
            }
            let mut rest = rest?;
            let frame = rest.frame().await?;
            let rest = frame.is_ok().then_some(rest);
            Some((frame, (read, rest)))
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn hash(fields: &[(&'static str, &'static str)], content: &'static str) -> [u8; 32] {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Query::new(&headers, Bytes::from_static(content.as_bytes())).hash
    }

    #[test]
    fn content_and_how_to_read_it_tell_queries_apart() {
        let json = ("content-type", "application/json");
        let one = hash(&[json], "{}");
        assert_eq!(one, hash(&[("content-type", "Application/JSON ")], "{}"));
        assert_ne!(one, hash(&[json], "{ }"));
        assert_ne!(one, hash(&[("content-type", "text/plain")], "{}"));
        assert_ne!(one, hash(&[json, ("content-encoding", "gzip")], "{}"));
        assert_ne!(one, hash(&[json, ("content-language", "de")], "{}"));
        assert_ne!(one, hash(&[], "{}"));
        let with = |kind| hash(&[("content-type", kind)], "x");
        assert_eq!(with("a/b; x=\"A b\""), with("A/B;x=\"A b\""));
        assert_ne!(with("a/b;x=A"), with("a/b;x=a"));
    }

    #[tokio::test]
    async fn what_was_read_comes_first_again() {
        let rest = Body::from("cd");
        let read = vec![Bytes::from_static(b"a")];
        let body = again(read, Some(Ok(Bytes::from_static(b"b"))), rest);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
        let broken = Some(Err(BodyError::TooSlow));
        let body = again(vec![Bytes::from_static(b"a")], broken, Body::Empty);
        assert!(body.collect().await.is_err());
    }
}

//! Which origin a client belongs to: by a cookie of ours, or by the hash of something it says.
//!
//! The cookie's value is made with a key of the cluster, so every node knows it, and it tells a client neither an
//! origin's name nor how many there are. An unknown value is as good as none.

use std::hash::Hasher as _;

use aws_lc_rs::hmac;
use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue, Uri};
use siphasher::sip::SipHasher13;

use crate::config::site::HashBy;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Bytes of a cookie's value, before they are written in hexadecimal.
const MARK_BYTES: usize = 12;

/// Makes marks for origins.
pub(super) struct Marker(hmac::Key);

impl Marker {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// What a cookie says for an origin.
    pub(super) fn mark(&self, site: &str, origin: &str) -> Box<str> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [site, origin] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::encode(&context.sign().as_ref()[..MARK_BYTES]).into()
    }
}

/// The cookie that binds a client to an origin: for this browser session, not for scripts, not for other sites.
pub(super) fn cookie(name: &str, mark: &str, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={mark}; Path=/; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).ok()
}

/// Did the client come over TLS? We wrote the field.
pub(super) fn is_secure(request: &HeaderMap) -> bool {
    request.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes) == Some(b"https")
}

/// Takes our cookie out of a request: it is no business of an origin. Returns its value.
pub(super) fn take(headers: &mut HeaderMap, name: &str) -> Option<String> {
    let mut taken = None;
    let mut left: Vec<HeaderValue> = Vec::new();
    for line in headers.get_all(COOKIE) {
        let Ok(text) = line.to_str() else {
            left.push(line.clone());
            continue;
        };
        let others: Vec<&str> = text
            .split(';')
            .map(str::trim)
            .filter(|pair| match pair.split_once('=') {
                Some((its, value)) if its == name => {
                    taken.get_or_insert_with(|| value.to_owned());
                    false
                }
                _ => true,
            })
            .collect();
        // A part of a field value is a field value.
        if let Ok(value) = HeaderValue::try_from(others.join("; "))
            && !value.is_empty()
        {
            left.push(value);
        }
    }
    if taken.is_some() {
        headers.remove(COOKIE);
        for value in left {
            headers.append(COOKIE, value);
        }
    }
    taken
}

/// What the site hashes of a request; none where it is not there.
pub(super) fn hashed(by: &HashBy, uri: &Uri, headers: &HeaderMap) -> Option<u64> {
    let of = |bytes: &[u8]| Some(hash(&[bytes]));
    match by {
        // We wrote it: the client comes first.
        HashBy::Client => {
            let way = headers.get(X_FORWARDED_FOR)?.as_bytes();
            of(way.split(|byte| *byte == b',').next()?)
        }
        HashBy::Path => of(uri.path().as_bytes()),
        HashBy::Field(name) => of(headers.get(name)?.as_bytes()),
        HashBy::Cookie(name) => {
            let lines = headers.get_all(COOKIE).iter();
            let mut pairs = lines
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
                .map(<[u8]>::trim_ascii);
            let value =
                pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
            of(value?)
        }
    }
}

/// How much an origin is the one for `key`: the one with the greatest has it, and an origin that comes or goes moves
/// only its own share (rendezvous hashing, weighted). The same on every node.
pub(super) fn rank(key: u64, origin: &str, weight: u32) -> f64 {
    let drawn = hash(&[&key.to_be_bytes(), origin.as_bytes()]);
    // In (0, 1): 53 bits are what a double holds.
    let uniform = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight.max(1)) / uniform.ln()
}

/// Not for tables: an attacker who finds values that go to one origin could as well send one value.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6e65_6172, 0x7369_6465);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookies(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn our_cookie_is_taken_out_and_the_others_stay() {
        let mut headers = with_cookies(&["a=1; near=abc; near2=x", "near=def", "b=2"]);
        assert_eq!(take(&mut headers, "near").as_deref(), Some("abc"));
        assert_eq!(headers, with_cookies(&["a=1; near2=x", "b=2"]));
        let untouched = with_cookies(&["a=1;  b=2"]);
        let mut headers = untouched.clone();
        assert_eq!(take(&mut headers, "near"), None);
        assert_eq!(headers, untouched);
    }

    #[test]
    fn a_mark_is_of_one_site_origin_and_key() {
        let (one, other) = (Marker::new(&[1; 32]), Marker::new(&[2; 32]));
        let mark = one.mark("shop", "paris");
        assert_eq!(mark.len(), 24);
        assert_eq!(mark, one.mark("shop", "paris"));
        for another in [
            one.mark("shop", "oslo"),
            one.mark("shopp", "aris"),
            other.mark("shop", "paris"),
        ] {
            assert_ne!(mark, another);
        }
    }

    #[test]
    fn an_origin_that_goes_moves_only_what_was_its_own() {
        let origins = [("a", 1), ("b", 1), ("c", 2)];
        let of = |key: u64, origins: &[(&str, u32)]| {
            let ranked = origins
                .iter()
                .map(|(name, weight)| rank(key, name, *weight));
            let best = ranked.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
            origins[best.unwrap().0].0.to_owned()
        };
        let mut shares = [0; 3];
        for key in 0..8000 {
            let home = of(key, &origins);
            shares[(home.as_bytes()[0] - b'a') as usize] += 1;
            let without_a = of(key, &origins[1..]);
            assert!(home == "a" || home == without_a);
        }
        for (share, expected) in shares.into_iter().zip([2000, 2000, 4000_i32]) {
            assert!((share - expected).abs() < 300, "{shares:?}");
        }
    }
}

//! What is in the key beside the URL: what the site wants answers stored apart by. Pure.
//!
//! What the key says and what the origin sees are made to agree here, at admission, before anything is looked up or
//! chosen: the origin is told the class and the country that are in the key, and of the cookies it sees those that are in
//! the key. So an answer is shaped by nothing that would not find it again.

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue, USER_AGENT};

use crate::config::rule::{Rules, Ruling};

/// What an origin is told of the device where the site keys it.
pub(super) const X_DEVICE_CLASS: HeaderName = HeaderName::from_static("x-device-class");
/// What an origin is told of the country where the site keys it.
pub(super) const X_CLIENT_COUNTRY: HeaderName = HeaderName::from_static("x-client-country");
const SEC_CH_UA_MOBILE: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");

/// A country that is not known, as ISO 3166 leaves free for such use.
const UNKNOWN: [u8; 2] = *b"XX";

/// The part of the key that a request adds to its URL, under the policy in force; empty where that adds nothing. Makes
/// the fields say the same to the origin. `may_be_answered` says whether the cache may have a part in the request at
/// all: one that it has none in keeps the cookies that it came with.
pub(super) fn divide(
    rules: &Rules,
    ruling: &Ruling,
    may_be_answered: bool,
    headers: &mut HeaderMap,
    country: impl FnOnce() -> Option<[u8; 2]>,
) -> Vec<u8> {
    let policy = rules.policy(ruling);
    let mut key = Vec::new();
    for fingerprint in rules.apart(ruling) {
        part(&mut key, b'r', &fingerprint);
    }
    for name in policy.keyed_fields() {
        part(&mut key, b'h', name.as_str().as_bytes());
        for line in headers.get_all(name) {
            part(&mut key, b'l', line.as_bytes());
        }
    }
    if let Some(names) = &policy.key_cookies
        && may_be_answered
    {
        let chosen = cookies(headers, names);
        part(&mut key, b'c', chosen.as_bytes());
        match HeaderValue::from_str(&chosen) {
            Ok(value) if !chosen.is_empty() => drop(headers.insert(COOKIE, value)),
            _ => drop(headers.remove(COOKIE)),
        }
    }
    let (tells_device, tells_country) = rules.tells();
    if policy.key_device == Some(true) {
        let class = device(headers);
        part(&mut key, b'd', class.as_bytes());
        headers.insert(X_DEVICE_CLASS, HeaderValue::from_static(class));
    } else if tells_device {
        headers.remove(X_DEVICE_CLASS);
    }
    if policy.key_country == Some(true) {
        let country = country().unwrap_or(UNKNOWN);
        part(&mut key, b'g', &country);
        match HeaderValue::from_bytes(&country) {
            Ok(value) => drop(headers.insert(X_CLIENT_COUNTRY, value)),
            Err(_) => drop(headers.remove(X_CLIENT_COUNTRY)),
        }
    } else if tells_country {
        headers.remove(X_CLIENT_COUNTRY);
    }
    key
}

/// A part with its kind and length in front, so that no two lists of parts read the same. No kind is zero, which is what
/// begins whatever follows in a key.
fn part(key: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    key.push(kind);
    key.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(bytes);
}

/// What a server's word adds to the key: a field that the origin is shown, as one that the site keys.
pub(super) fn copied(key: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    part(key, b'h', name.as_str().as_bytes());
    part(key, b'l', value.as_bytes());
}

/// The parts of such a key in words: kind and value.
pub(super) fn told(mut key: &[u8]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    while let Some((kind, rest)) = key.split_first() {
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let length = u32::from_be_bytes(*length) as usize;
        let (value, rest) = rest.split_at(length.min(rest.len()));
        let text = String::from_utf8_lossy(value).into_owned();
        match kind {
            b'r' => told.push(("rule".to_owned(), hex::encode(value))),
            b'h' => told.push((format!("header {text}"), String::new())),
            b'l' => {
                if let Some((_, lines)) = told.last_mut() {
                    if !lines.is_empty() {
                        lines.push_str(" | ");
                    }
                    lines.push_str(&text);
                }
            }
            b'c' => told.push(("cookies".to_owned(), text)),
            b'd' => told.push(("device".to_owned(), text)),
            b'g' => told.push(("country".to_owned(), text)),
            _ => told.push((char::from(*kind).to_string(), hex::encode(value))),
        }
        key = rest;
    }
    told
}

/// The chosen cookies as one field's value, in the order in which the site names them; of several of one name all, in
/// the order in which they came. Bytes that are no text make a cookie unreadable, and it goes.
fn cookies(headers: &HeaderMap, names: &[Box<str>]) -> String {
    let lines = || {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
    };
    let pairs = || lines().flat_map(|line| line.split(';').map(str::trim));
    let mut chosen = String::new();
    for name in names {
        for pair in pairs().filter(|pair| pair.split('=').next() == Some(name)) {
            if !chosen.is_empty() {
                chosen.push_str("; ");
            }
            chosen.push_str(pair);
        }
    }
    chosen
}

/// The device's class: `phone`, `tablet`, `desktop` or `bot`. What cannot be told is `desktop`.
pub(super) fn device(headers: &HeaderMap) -> &'static str {
    let agent = headers
        .get(USER_AGENT)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let agent = agent.to_ascii_lowercase();
    let says = |words: &[&str]| {
        words
            .iter()
            .any(|word| memchr::memmem::find(&agent, word.as_bytes()).is_some())
    };
    if says(&["bot", "crawl", "spider", "slurp"]) {
        "bot"
    } else if headers
        .get(SEC_CH_UA_MOBILE)
        .is_some_and(|value| value == "?1")
    {
        "phone"
    } else if says(&["ipad", "tablet", "kindle", "silk/", "playbook"])
        || says(&["android"]) && !says(&["mobile"])
    {
        "tablet"
    } else if says(&["iphone", "ipod", "mobi", "windows phone", "opera mini"]) {
        "phone"
    } else {
        "desktop"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::*;
    use crate::config::policy::Policy;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn divided(policy: Policy, fields: &[(&'static str, &'static str)]) -> (Vec<u8>, HeaderMap) {
        let rules = Rules::new(policy, Vec::new());
        let mut headers = headers(fields);
        let country = || Some(*b"NO");
        let ruling = Ruling::default();
        let key = divide(&rules, &ruling, true, &mut headers, country);
        (key, headers)
    }

    fn by_cookies(names: &[&str]) -> Policy {
        let names = names.iter().map(|name| (*name).into()).collect();
        Policy {
            key_cookies: Some(Arc::new(names)),
            ..Policy::default()
        }
    }

    #[test]
    fn only_the_chosen_cookies_are_in_the_key_and_reach_the_origin() {
        let policy = by_cookies(&["lang", "theme"]);
        let (one, sent) = divided(
            policy.clone(),
            &[("cookie", "sid=1; theme=dark"), ("cookie", "lang=de")],
        );
        assert_eq!(sent["cookie"], "lang=de; theme=dark");
        let (other, _) = divided(policy.clone(), &[("cookie", "lang=de;theme=dark;sid=2")]);
        assert_eq!(one, other);
        let (another, _) = divided(policy.clone(), &[("cookie", "lang=en; theme=dark")]);
        assert_ne!(one, another);
        let (none, sent) = divided(policy, &[("cookie", "sid=1; language=de")]);
        assert!(!sent.contains_key("cookie") && none != one);
    }

    #[test]
    fn fields_are_told_apart_line_by_line() {
        let policy = Policy {
            key_headers: Some(Arc::new(vec![
                HeaderName::from_static("x-a"),
                HeaderName::from_static("x-b"),
            ])),
            ..Policy::default()
        };
        let rows: [&[(&str, &str)]; 6] = [
            &[],
            &[("x-a", "")],
            &[("x-a", "1")],
            &[("x-b", "1")],
            &[("x-a", "1"), ("x-a", "2")],
            &[("x-a", "1, 2")],
        ];
        for (index, left) in rows.iter().enumerate() {
            for right in &rows[index + 1..] {
                let keys = [left, right].map(|fields| divided(policy.clone(), fields).0);
                assert_ne!(keys[0], keys[1], "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn what_is_in_the_key_is_told_and_nothing_else() {
        let policy = Policy {
            key_device: Some(true),
            key_country: Some(true),
            ..Policy::default()
        };
        let (key, sent) = divided(
            policy,
            &[("x-device-class", "bot"), ("x-client-country", "DE")],
        );
        assert_eq!(
            (&sent["x-device-class"], &sent["x-client-country"]),
            (
                &HeaderValue::from_static("desktop"),
                &HeaderValue::from_static("NO")
            )
        );
        assert!(!key.is_empty());
        // Elsewhere in such a site a client cannot say it either.
        let rules = Rules::new(
            Policy::default(),
            vec![crate::config::rule::Rule {
                line: 1,
                when: crate::config::rule::When {
                    paths: vec![crate::config::pattern::Pattern::new("/a")],
                    ..Default::default()
                },
                then: Policy {
                    key_device: Some(true),
                    ..Policy::default()
                },
            }],
        );
        let mut fields = headers(&[("x-device-class", "bot"), ("x-client-country", "DE")]);
        let ruling = rules.at_request(&Method::GET, "/b", &fields);
        let key = divide(&rules, &ruling, true, &mut fields, || None);
        assert!(key.is_empty() && !fields.contains_key("x-device-class"));
        assert!(fields.contains_key("x-client-country"));
    }

    #[test]
    fn a_device_is_told_by_what_it_says() {
        for (fields, class) in [
            (vec![], "desktop"),
            (
                vec![(
                    "user-agent",
                    "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
                )],
                "desktop",
            ),
            (
                vec![(
                    "user-agent",
                    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Mobile/15E148",
                )],
                "phone",
            ),
            (
                vec![(
                    "user-agent",
                    "Mozilla/5.0 (Linux; Android 15; Pixel) Mobile Safari",
                )],
                "phone",
            ),
            (
                vec![(
                    "user-agent",
                    "Mozilla/5.0 (Linux; Android 15; SM-X910) Safari",
                )],
                "tablet",
            ),
            (
                vec![("user-agent", "Mozilla/5.0 (iPad; CPU OS 18_0)")],
                "tablet",
            ),
            (
                vec![("user-agent", "Mozilla/5.0 (compatible; Examplebot/2.1)")],
                "bot",
            ),
            (
                vec![
                    ("user-agent", "Mozilla/5.0 (K)"),
                    ("sec-ch-ua-mobile", "?1"),
                ],
                "phone",
            ),
            (
                vec![
                    ("user-agent", "Mozilla/5.0 (K)"),
                    ("sec-ch-ua-mobile", "?0"),
                ],
                "desktop",
            ),
        ] {
            assert_eq!(device(&headers(&fields)), class, "{fields:?}");
        }
    }
}

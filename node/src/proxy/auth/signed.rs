//! Signed URLs: HMAC-SHA-256 over what a URL grants, in its query.
//!
//! `?…&ns-key=ID&ns-expires=UNIX[&ns-prefix=/path/][&ns-client=NETWORK]&ns-sig=BASE64URL`. What is signed is five
//! lines, so that no two grants read the same:
//!
//! ```text
//! nearside-url-1
//! host
//! /path?query            or prefix:/path/
//! expires
//! network, or nothing
//! ```
//!
//! Host and path are in their normal form, the query is without these parameters and before a site drops or sorts any.
//! The last line has no line end.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use ipnet::IpNet;

use crate::config::rule::Rules;
use crate::proxy::key::Target;

/// Shorter keys can be guessed.
pub const KEY_MIN_BYTES: usize = 16;

/// What a URL claims, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub key: Box<str>,
    /// What is granted.
    pub grant: Grant,
    mac: Box<[u8]>,
}

/// What a signed URL grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Path and query in normal form.
    pub target: Box<str>,
    /// In its stead: every path that begins so.
    pub prefix: Option<Box<str>>,
    /// Until then, in seconds since 1970.
    pub expires: u64,
    /// To clients in this network only.
    pub client: Option<IpNet>,
}

impl Grant {
    fn text(&self, host: &str) -> String {
        let what = match &self.prefix {
            Some(prefix) => format!("prefix:{prefix}"),
            None => self.target.to_string(),
        };
        let client = self
            .client
            .map(|network| network.to_string())
            .unwrap_or_default();
        format!("nearside-url-1\n{host}\n{what}\n{}\n{client}", self.expires)
    }

    /// The parameters that grant it, without `?` or `&` before them.
    #[must_use]
    pub fn sign(&self, secret: &[u8], key: &str, host: &str) -> String {
        let mac = hmac::sign(&of_secret(secret), self.text(host).as_bytes());
        let mut text = format!("ns-key={key}&ns-expires={}", self.expires);
        if let Some(prefix) = &self.prefix {
            text.push_str("&ns-prefix=");
            text.push_str(prefix);
        }
        if let Some(client) = &self.client {
            text.push_str("&ns-client=");
            text.push_str(&client.to_string());
        }
        text.push_str("&ns-sig=");
        text.push_str(&URL_SAFE_NO_PAD.encode(mac.as_ref()));
        text
    }
}

fn of_secret(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

impl Signature {
    /// Does the signature grant its URL to this client, now? Compared in constant time.
    #[must_use]
    pub fn holds(&self, secret: &[u8], host: &str, client: IpAddr, now: SystemTime) -> bool {
        let grant = &self.grant;
        let text = grant.text(host);
        if secret.len() < KEY_MIN_BYTES
            || hmac::verify(&of_secret(secret), text.as_bytes(), &self.mac).is_err()
        {
            return false;
        }
        let path = grant.target.split('?').next().unwrap_or_default();
        let in_time = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(grant.expires))
            .is_some_and(|end| now < end);
        in_time
            && grant
                .prefix
                .as_ref()
                .is_none_or(|prefix| path.starts_with(&**prefix))
            && grant
                .client
                .is_none_or(|network| network.contains(&client.to_canonical()))
    }
}

/// Takes the parameters of a signature out of a target. What is no whole signature grants nothing, and is taken out too.
#[must_use]
pub fn split(uri: Uri) -> (Uri, Option<Signature>) {
    let Some(query) = uri.query().filter(|query| query.contains("ns-")) else {
        return (uri, None);
    };
    let (mut rest, mut given) = (Vec::new(), Given::default());
    for parameter in query.split('&') {
        if !given.take(parameter) {
            rest.push(parameter);
        }
    }
    let text = match rest.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = text.parse().ok();
    let Ok(rest) = Uri::from_parts(parts) else {
        // A part of what was a URI is one too; were it not, nothing would be granted.
        return (Uri::from_static("/"), None);
    };
    let signature = given.whole(&rest);
    (rest, signature)
}

#[derive(Default)]
struct Given<'a> {
    key: Option<&'a str>,
    expires: Option<&'a str>,
    prefix: Option<&'a str>,
    client: Option<&'a str>,
    mac: Option<&'a str>,
    twice: bool,
}

impl<'a> Given<'a> {
    /// Is this one of ours?
    fn take(&mut self, parameter: &'a str) -> bool {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let place = match name {
            "ns-key" => &mut self.key,
            "ns-expires" => &mut self.expires,
            "ns-prefix" => &mut self.prefix,
            "ns-client" => &mut self.client,
            "ns-sig" => &mut self.mac,
            _ => return false,
        };
        self.twice |= place.replace(value).is_some();
        true
    }

    fn whole(self, uri: &Uri) -> Option<Signature> {
        if self.twice {
            return None;
        }
        // Some clients write `/` and `:` in a query encoded.
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .ok()
                .map(String::from)
        };
        let client = match self.client {
            Some(text) => {
                let text = plain(text)?;
                let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
                Some(text.parse().ok().or_else(one)?)
            }
            None => None,
        };
        let prefix = match self.prefix {
            Some(text) => Some(plain(text)?.into()),
            None => None,
        };
        Some(Signature {
            key: plain(self.key?)?.into(),
            mac: URL_SAFE_NO_PAD.decode(self.mac?).ok()?.into(),
            grant: Grant {
                target: target(uri)?,
                prefix,
                expires: self.expires?.parse().ok()?,
                client,
            },
        })
    }
}

/// Path and query in normal form, as they are signed.
#[must_use]
pub fn target(uri: &Uri) -> Option<Box<str>> {
    let target = Target::normalise(uri, &Rules::default()).ok()?;
    Some(target.path_and_query().as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of some length";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn grant(target_text: &str) -> Grant {
        Grant {
            target: target(&target_text.parse().unwrap()).unwrap(),
            prefix: None,
            expires: 1000,
            client: None,
        }
    }

    fn holds(url: &str, host: &str, client: &str, now: u64) -> bool {
        let (_, signature) = split(url.parse().unwrap());
        signature.is_some_and(|signature| {
            signature.holds(SECRET, host, client.parse().unwrap(), at(now))
        })
    }

    #[test]
    fn a_signature_grants_one_url_for_a_time() {
        let given = grant("/a?b=c").sign(SECRET, "k", "shop.example");
        let url = format!("/a?b=c&{given}");
        assert!(holds(&url, "shop.example", "192.0.2.1", 999));
        // Where they stand, and how the rest is spelled, does not matter.
        assert!(holds(
            &format!("/%61?{given}&b=c"),
            "shop.example",
            "192.0.2.1",
            0
        ));
        for (url, host, now) in [
            (url.clone(), "shop.example", 1000),
            (url.clone(), "other.example", 0),
            (url.replace("b=c", "b=d"), "shop.example", 0),
            (url.replace("/a", "/b"), "shop.example", 0),
            (url.replace("1000", "2000"), "shop.example", 0),
            (url.replace("ns-sig=", "ns-sig=A"), "shop.example", 0),
            (format!("{url}&ns-expires=1000"), "shop.example", 0),
            (format!("{url}&ns-client=192.0.2.1"), "shop.example", 0),
            ("/a?b=c".to_owned(), "shop.example", 0),
            ("/a?b=c&ns-sig=AAAA".to_owned(), "shop.example", 0),
        ] {
            assert!(!holds(&url, host, "192.0.2.1", now), "{url} {host} {now}");
        }
    }

    #[test]
    fn prefixes_and_networks_are_part_of_the_grant() {
        let given = Grant {
            prefix: Some("/video/7/".into()),
            client: Some("192.0.2.0/24".parse().unwrap()),
            ..grant("/video/7/index")
        }
        .sign(SECRET, "k", "h");
        assert!(holds(
            &format!("/video/7/a.ts?{given}"),
            "h",
            "192.0.2.9",
            0
        ));
        assert!(holds(
            &format!("/video/7/b.ts?x=1&{given}"),
            "h",
            "192.0.2.9",
            0
        ));
        assert!(!holds(
            &format!("/video/8/a.ts?{given}"),
            "h",
            "192.0.2.9",
            0
        ));
        assert!(!holds(
            &format!("/video/7/../8/a.ts?{given}"),
            "h",
            "192.0.2.9",
            0
        ));
        assert!(!holds(
            &format!("/video/7/a.ts?{given}"),
            "h",
            "192.0.3.9",
            0
        ));
        let wider = given.replace("/24", "/16");
        assert!(!holds(
            &format!("/video/7/a.ts?{wider}"),
            "h",
            "192.0.2.9",
            0
        ));
        let encoded = given.replace("=/video/7/", "=%2Fvideo%2F7%2F");
        assert!(holds(
            &format!("/video/7/a.ts?{encoded}"),
            "h",
            "192.0.2.9",
            0
        ));
    }

    #[test]
    fn the_parameters_leave_the_target() {
        for (given, left, whole) in [
            ("/a?ns-key=k&ns-expires=1&ns-sig=AA", "/a", true),
            (
                "/a?x=1&ns-key=k&y=2&ns-expires=1&ns-sig=AA",
                "/a?x=1&y=2",
                true,
            ),
            ("/a?ns-key=k", "/a", false),
            ("/a?ns-other=1", "/a?ns-other=1", false),
            ("/a?x=1", "/a?x=1", false),
        ] {
            let (uri, signature) = split(given.parse().unwrap());
            assert_eq!(
                (uri.to_string().as_str(), signature.is_some()),
                (left, whole),
                "{given}"
            );
        }
    }

    /// What `openssl dgst -sha256 -hmac` says of the five lines: the recipe in the documents.
    #[test]
    fn a_shell_can_sign() {
        let text = grant("/a?b=c").text("shop.example");
        assert_eq!(text, "nearside-url-1\nshop.example\n/a?b=c\n1000\n");
    }

    #[test]
    fn a_short_key_signs_nothing() {
        let given = grant("/a").sign(b"short", "k", "h");
        let (_, signature) = split(format!("/a?{given}").parse().unwrap());
        assert!(
            !signature
                .unwrap()
                .holds(b"short", "h", "192.0.2.1".parse().unwrap(), at(0))
        );
    }
}

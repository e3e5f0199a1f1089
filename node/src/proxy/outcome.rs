//! How a request ended, as closed lists: what logs, metrics and `Cache-Status` say is chosen from here.

use http::StatusCode;

/// Why an answer is not stored, or the cache not asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The method is not GET (or HEAD, which is answered from a stored GET).
    Method,
    /// The request carries content, which is no part of the key.
    Content,
    /// The request asks to leave HTTP for WebSocket.
    Upgrade,
    /// A rule of the site says `cache = "bypass"`.
    Rule,
    /// The site is in development mode.
    Development,
    /// The request has a condition only the origin may judge.
    Precondition,
    /// The request says `no-store`.
    RequestNoStore,
    /// The answer says `no-store`.
    NoStore,
    /// The answer says `private`.
    Private,
    /// The request has credentials, and the answer no word that allows sharing.
    Authorization,
    /// The answer sets a cookie, and the site's policy keeps such answers out.
    SetCookie,
    /// The answer varies on everything.
    VaryAnything,
    /// The status says that the answer cannot be stored.
    Status,
    /// The answer is an error about a request that was out of the ordinary.
    OddRequest,
    /// The answer gives neither a lifetime nor a validator.
    NoFreshness,
    /// The answer is stale from the start, and has no validator.
    Expired,
    /// The answer's type does not fit a path that looks like that of a static file, and the site's guard keeps such
    /// answers out.
    Deception,
    /// The body is larger than the site allows.
    TooLarge,
    /// As many fills are running as may.
    Busy,
}

impl Refusal {
    /// The word for logs and `Cache-Status`'s detail.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Content => "content",
            Self::Upgrade => "upgrade",
            Self::Rule => "rule",
            Self::Development => "development",
            Self::Precondition => "precondition",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryAnything => "vary",
            Self::Status => "status",
            Self::OddRequest => "odd-request",
            Self::NoFreshness => "no-freshness",
            Self::Expired => "expired",
            Self::Deception => "deception",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
        }
    }
}

/// Why we answered by ourselves, without cache or origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// 400: no host, or one that is none.
    BadRequest,
    /// 421: a host that is not ours, or not the certificate's.
    Misdirected,
    /// 403.
    Denied,
    /// 429.
    Limited,
    /// 308 to https.
    Redirect,
    /// 403: the site wants signed URLs, and this one is not, or not any more, or not for this client.
    Unsigned,
    /// The server that the site has asked about it said no, in its own words.
    Refused,
    /// 401: the site wants a name and a password.
    Unauthorized,
    /// 503: what a demand is checked by cannot be had, or too many are being checked.
    AuthUnavailable,
    /// 503: the site is being worked on.
    Maintenance,
    /// 508: the request came through us before.
    Loop,
    /// 504: `only-if-cached`, and nothing usable is.
    OnlyIfCached,
    /// 502, 503 or 504: no origin answered.
    NoOrigin,
    /// 200: a PURGE request was done.
    Purged,
    /// 405: this site takes no PURGE requests.
    NoPurge,
    /// 503: a PURGE request found no quorum in time, or too many others.
    NoQuorum,
}

impl Own {
    /// The word for logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Misdirected => "misdirected",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Redirect => "redirect",
            Self::Refused => "refused",
            Self::Unsigned => "unsigned",
            Self::Unauthorized => "unauthorized",
            Self::AuthUnavailable => "auth-unavailable",
            Self::Maintenance => "maintenance",
            Self::Loop => "loop",
            Self::OnlyIfCached => "only-if-cached",
            Self::NoOrigin => "no-origin",
            Self::Purged => "purged",
            Self::NoPurge => "no-purge",
            Self::NoQuorum => "no-quorum",
        }
    }
}

/// Where the answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Stored and fresh.
    Hit,
    /// Stored and stale: sent while the origin is asked, or because the client accepts it.
    Stale,
    /// Stored and stale: sent because no origin gave a good answer.
    StaleIfError,
    /// Stored, and the origin said that it is still good.
    Revalidated,
    /// From the origin, and stored.
    Miss,
    /// From the origin, and not stored, as the answer may not be.
    Uncacheable(Refusal),
    /// From the origin without looking into the cache, as the request is not for it.
    Bypass(Refusal),
    /// By ourselves.
    Own(Own),
}

impl Outcome {
    /// The label of metrics: one of a dozen words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        LABELS[self.index()]
    }

    /// The label's place in [`LABELS`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::Stale => 1,
            Self::StaleIfError => 2,
            Self::Revalidated => 3,
            Self::Miss => 4,
            Self::Uncacheable(_) => 5,
            Self::Bypass(_) => 6,
            Self::Own(
                Own::Denied | Own::Limited | Own::Unsigned | Own::Refused | Own::Unauthorized,
            ) => 7,
            Self::Own(Own::NoOrigin) => 8,
            Self::Own(_) => 9,
        }
    }

    /// The reason beside the label, where there is one.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Uncacheable(refusal) | Self::Bypass(refusal) => Some(refusal.word()),
            Self::Own(own) => Some(own.word()),
            _ => None,
        }
    }
}

/// Every value of [`Outcome::label`].
pub const LABELS: [&str; 10] = [
    "hit",
    "stale",
    "stale-if-error",
    "revalidated",
    "miss",
    "uncacheable",
    "bypass",
    "refused",
    "no-origin",
    "own",
];

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(own) => f.write_str(own.word()),
            other => match other.reason() {
                Some(reason) => write!(f, "{}: {reason}", other.label()),
                None => f.write_str(other.label()),
            },
        }
    }
}

/// How an answer came about: the outcome, and what `Cache-Status` and the log say beside it.
#[derive(Clone, Debug)]
pub struct Passage {
    /// Where the answer came from.
    pub outcome: Outcome,
    /// What the origin's answer was, when it was asked.
    pub fwd_status: Option<StatusCode>,
    /// Why the request went on, in RFC 9211's words; none for a hit.
    pub fwd: Option<Fwd>,
    /// Freshness left, when something stored was sent.
    pub ttl_s: Option<i64>,
    /// The answer went into the cache.
    pub stored: bool,
    /// The request waited for another's fetch.
    pub collapsed: bool,
    /// The origin's name (never its address).
    pub origin: Option<Box<str>>,
    /// What else `Cache-Status` should say, where the outcome says nothing.
    pub detail: Option<&'static str>,
}

impl Passage {
    /// An answer of the given outcome, with nothing said beside it.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            fwd_status: None,
            fwd: None,
            ttl_s: None,
            stored: false,
            collapsed: false,
            origin: None,
            detail: None,
        }
    }

    /// The same with a word for `Cache-Status`.
    #[must_use]
    pub fn with_detail(&self, detail: &'static str) -> Self {
        Self {
            detail: Some(detail),
            ..self.clone()
        }
    }
}

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fwd {
    /// The cache was told not to handle it.
    Bypass,
    /// The method needs the origin.
    Method,
    /// Nothing stored for the URL.
    Miss,
    /// Stored, but for other values of the fields it varies on.
    VaryMiss,
    /// Stored, but the request wants it validated.
    Request,
    /// Stored, but stale.
    Stale,
    /// Stored in part, and not the part that is wanted.
    Partial,
}

impl Fwd {
    /// RFC 9211's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Miss => "miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_as_a_person_would_say_them() {
        for (outcome, text, label) in [
            (Outcome::Hit, "hit", "hit"),
            (Outcome::Bypass(Refusal::Method), "bypass: method", "bypass"),
            (
                Outcome::Uncacheable(Refusal::SetCookie),
                "uncacheable: set-cookie",
                "uncacheable",
            ),
            (Outcome::Own(Own::Limited), "limited", "refused"),
            (Outcome::Own(Own::Misdirected), "misdirected", "own"),
        ] {
            assert_eq!(outcome.to_string(), text);
            assert_eq!(outcome.label(), label);
        }
    }
}

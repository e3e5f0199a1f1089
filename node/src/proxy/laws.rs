//! Laws of freshness, for any answer an origin may give: it is never taken for fresher than it says, it never grows
//! younger, and what we say of it adds up.
//!
//! An answer is made of numbers first and of text then, so that what it allows is known without the readers under test.

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::cache_control::{AGE_MAX_S, CacheControl};
use super::encode::Form;
use super::freshen::{Word, freshened, freshness};
use super::freshness::lifetime;
use super::meta::{HttpMeta, Ready};
use super::reuse::{Circumstances, Freshness, Reuse};
use crate::config::policy::Policy;
use crate::config::site::SetCookie;
use crate::view::{Checked, PurgeVerdict, TagSet};

/// When all of it happens, seconds since 1970.
const NOW_S: u64 = 1_800_000_000;

/// An answer in numbers. Times are seconds before its arrival.
#[derive(Clone, Debug)]
struct Made {
    status: u16,
    s_maxage: Option<u64>,
    max_age: Option<u64>,
    expires_ago: Option<i64>,
    modified_ago: Option<i64>,
    date_ago: Option<i64>,
    age: Option<u64>,
    delay: u64,
    words: Vec<&'static str>,
}

fn made() -> impl Strategy<Value = Made> {
    let seconds = || {
        prop_oneof![
            0..200_u64,
            Just(AGE_MAX_S),
            Just(u64::from(u32::MAX)),
            any::<u64>()
        ]
    };
    let ago = || -100_000..100_000_i64;
    let words = prop::sample::subsequence(
        vec![
            "public",
            "no-cache",
            "must-revalidate",
            "immutable",
            "stale-while-revalidate=60",
            "stale-if-error=60",
            "unknown=\"a, b\"",
        ],
        0..4,
    );
    (
        prop::sample::select(vec![200_u16, 203, 302, 404, 500, 599]),
        prop::option::of(seconds()),
        prop::option::of(seconds()),
        prop::option::of(ago()),
        prop::option::of(ago()),
        prop::option::of(ago()),
        prop::option::of(seconds()),
        0..100_u64,
        words,
    )
        .prop_map(
            |(
                status,
                s_maxage,
                max_age,
                expires_ago,
                modified_ago,
                date_ago,
                age,
                delay,
                words,
            )| Made {
                status,
                s_maxage,
                max_age,
                expires_ago,
                modified_ago,
                date_ago,
                age,
                delay,
                words,
            },
        )
}

fn second(seconds: i64) -> SystemTime {
    let seconds = i64::try_from(NOW_S).expect("small") + seconds;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().expect("after 1970"))
}

impl Made {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("a status")
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, text: String| {
            headers.append(name, HeaderValue::try_from(text).expect("text"));
        };
        let mut directives: Vec<String> = self.words.iter().map(|word| (*word).into()).collect();
        directives.extend(self.max_age.map(|s| format!("max-age={s}")));
        directives.extend(self.s_maxage.map(|s| format!("S-MaxAge={s}")));
        if !directives.is_empty() {
            set(CACHE_CONTROL, directives.join(" , "));
        }
        for (name, ago) in [
            (EXPIRES, self.expires_ago),
            (LAST_MODIFIED, self.modified_ago),
            (DATE, self.date_ago),
        ] {
            if let Some(ago) = ago {
                set(name, httpdate::fmt_http_date(second(-ago)));
            }
        }
        if let Some(age) = self.age {
            set(AGE, age.to_string());
        }
        headers
    }

    /// What it allows at most, seconds from its generation.
    fn allows_s(&self) -> u64 {
        let date_ago = self.date_ago.unwrap_or(0);
        let between =
            |earlier_ago: i64, later_ago: i64| u64::try_from(earlier_ago - later_ago).unwrap_or(0);
        let may_guess = [200, 203, 404].contains(&self.status) || self.words.contains(&"public");
        let allowed = match (self.s_maxage, self.max_age, self.expires_ago) {
            (Some(shared), _, _) => shared,
            (None, Some(all), _) => all,
            (None, None, Some(ago)) => between(date_ago, ago),
            (None, None, None) if may_guess => {
                self.modified_ago.map_or(0, |ago| between(ago, date_ago)) / 10
            }
            (None, None, None) => 0,
        };
        allowed.min(AGE_MAX_S)
    }

    /// How old it is at least when it arrives.
    fn is_old_s(&self) -> u64 {
        let apparent = u64::try_from(self.date_ago.unwrap_or(0)).unwrap_or(0);
        let said = self.age.unwrap_or(0).min(AGE_MAX_S) + self.delay;
        apparent.max(said).min(AGE_MAX_S)
    }

    fn freshness(&self) -> Freshness {
        let headers = self.headers();
        let directives = CacheControl::of_response(&headers);
        let arrival = second(0);
        let lifetime = lifetime(self.status(), &headers, &directives, arrival);
        let request_time = arrival - Duration::from_secs(self.delay);
        freshness(
            &headers,
            &directives,
            lifetime.seconds,
            request_time,
            arrival,
        )
    }
}

fn reuse(freshness: &Freshness, status: StatusCode, request: &CacheControl, at_s: u64) -> Reuse {
    freshness.reuse(Circumstances {
        status,
        request,
        policy: &Policy::default(),
        purge: PurgeVerdict::Usable,
        now: second(i64::try_from(at_s).expect("small")),
    })
}

proptest! {
    #[test]
    fn freshness_never_exceeds_what_the_answer_allows(made in made(), later in 0..200_000_u64) {
        let freshness = made.freshness();
        prop_assert!(freshness.lifetime_s <= made.allows_s());
        let age = made.is_old_s().saturating_add(later).min(AGE_MAX_S);
        match reuse(&freshness, made.status(), &CacheControl::default(), later) {
            Reuse::Fresh { ttl_s } => {
                prop_assert!(age < made.allows_s(), "{age} {}", made.allows_s());
                prop_assert!(!made.words.contains(&"no-cache"));
                prop_assert_eq!(ttl_s, (made.allows_s() - age) as i64);
            }
            Reuse::WhileRevalidate { ttl_s } => {
                prop_assert!(made.words.contains(&"stale-while-revalidate=60"));
                prop_assert!(!made.words.contains(&"must-revalidate"));
                prop_assert!((-60..=0).contains(&ttl_s));
            }
            Reuse::AcceptedStale { .. } => prop_assert!(false, "nobody accepts that"),
            Reuse::Revalidate { .. } => {
                prop_assert!(age >= made.allows_s() || made.words.contains(&"no-cache"));
            }
        }
    }

    #[test]
    fn age_never_decreases_and_adds_up_with_the_ttl(
        made in made(),
        mut times in prop::collection::vec(0..400_000_000_u64, 2..6),
    ) {
        let freshness = made.freshness();
        times.sort_unstable();
        let policy = Policy::default();
        let mut before = 0;
        for time in times {
            let now = second(i64::try_from(time).expect("small"));
            let age = freshness.age_s(now);
            prop_assert!(age >= before);
            prop_assert!(age >= made.is_old_s().max(time.min(AGE_MAX_S)));
            before = age;
            let ttl = freshness.ttl_s(made.status(), &policy, now);
            prop_assert_eq!(ttl + i64::try_from(age).expect("bounded"), freshness.lifetime_s as i64);
        }
    }

    #[test]
    fn a_request_is_never_given_worse_than_it_asks_for(
        made in made(),
        later in 0..400_u64,
        max_age in prop::option::of(0..400_u64),
        min_fresh in prop::option::of(0..400_u64),
        max_stale in prop::option::of(0..400_u64),
    ) {
        let freshness = made.freshness();
        let request = CacheControl { max_age, min_fresh, max_stale, ..CacheControl::default() };
        let age = freshness.age_s(second(i64::try_from(later).expect("small")));
        let left = freshness.lifetime_s as i64 - age as i64;
        match reuse(&freshness, made.status(), &request, later) {
            Reuse::Fresh { .. } => {
                let young = max_age.is_none_or(|max| age <= max) || made.words.contains(&"immutable");
                prop_assert!(young && min_fresh.is_none_or(|min| left >= min as i64));
            }
            Reuse::AcceptedStale { .. } => {
                prop_assert!(max_stale.is_some_and(|max| -left <= max as i64));
                prop_assert!(min_fresh.is_none() && max_age.is_none_or(|max| age <= max));
                prop_assert!(made.s_maxage.is_none() && !made.words.contains(&"must-revalidate"));
            }
            Reuse::WhileRevalidate { .. } => {
                prop_assert!(min_fresh.is_none() && max_age.is_none_or(|max| age <= max));
            }
            Reuse::Revalidate { .. } => {}
        }
    }

    #[test]
    fn a_word_of_the_origin_makes_it_as_good_as_a_new_answer(made in made(), word in made()) {
        // Age is never stored as a field.
        let mut head = made.headers();
        head.remove(AGE);
        let old = HttpMeta {
            status: made.status(),
            head,
            request_time: second(0),
            freshness: made.freshness(),
            fill_index: 0,
            site: "shop".into(),
            url: "shop.example/".into(),
            tags: TagSet::default(),
            checked: Checked::default(),
            selection: Vec::new(),
            form: Form::Plain,
            ready: Ready::default(),
        };
        // A word that says all that a new answer would say.
        let word = Made {
            date_ago: Some(word.date_ago.unwrap_or(0)),
            max_age: Some(word.max_age.unwrap_or(5)),
            ..word
        };
        let said = Word {
            headers: word.headers(),
            tags: TagSet::default(),
            request_time: second(0) - Duration::from_secs(word.delay),
            response_time: second(0),
        };
        let new = freshened(&old, &HeaderMap::new(), &said, SetCookie::Standard, &Policy::default(), 0);
        prop_assert_eq!(new.meta.freshness.lifetime_s, word.allows_s());
        prop_assert_eq!(new.meta.freshness.age_s(second(0)), word.is_old_s());
        prop_assert!(new.stays);
    }
}

use std::time::Duration;

use super::*;
use crate::config::policy::Ttl;
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// A response that arrived at second 0 with age 0 and lives for 100 seconds.
fn stored() -> Freshness {
    Freshness {
        response_time: at(0),
        initial_age_s: 0,
        lifetime_s: 100,
        no_cache: false,
        must_revalidate: false,
        s_maxage: false,
        came_with_age: false,
        immutable: false,
        stale_while_revalidate_s: None,
        stale_if_error_s: None,
    }
}

fn site(while_revalidate_s: u64, if_error_s: u64) -> Policy {
    Policy {
        stale_if_error: Some(Duration::from_secs(if_error_s)),
        stale_while_revalidate: Some(Duration::from_secs(while_revalidate_s)),
        ..Policy::default()
    }
}

fn directives(line: &'static str) -> CacheControl {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(line));
    CacheControl::of_request(&headers)
}

fn decide(stored: Freshness, request: &'static str, policy: &Policy, second: u64) -> Reuse {
    stored.reuse(Circumstances {
        status: StatusCode::OK,
        request: &directives(request),
        policy,
        purge: PurgeVerdict::Usable,
        now: at(second),
    })
}

const STALE: Reuse = Reuse::Revalidate {
    because: Because::Stale,
};
const ASKED: Reuse = Reuse::Revalidate {
    because: Because::Request,
};

#[test]
fn freshness_ends_with_the_lifetime() {
    let none = site(0, 0);
    assert_eq!(decide(stored(), "", &none, 0), Reuse::Fresh { ttl_s: 100 });
    assert_eq!(decide(stored(), "", &none, 99), Reuse::Fresh { ttl_s: 1 });
    assert_eq!(decide(stored(), "", &none, 100), STALE);
    let aged = Freshness {
        initial_age_s: 60,
        ..stored()
    };
    assert_eq!(decide(aged, "", &none, 39), Reuse::Fresh { ttl_s: 1 });
    assert_eq!(decide(aged, "", &none, 40), STALE);
    let asks = Freshness {
        no_cache: true,
        ..stored()
    };
    assert_eq!(decide(asks, "", &none, 0), STALE);
}

#[test]
fn requests_may_want_better_or_accept_worse() {
    let none = site(0, 0);
    for (request, second, expected) in [
        ("no-cache", 1, ASKED),
        ("max-age=10", 10, Reuse::Fresh { ttl_s: 90 }),
        ("max-age=10", 11, ASKED),
        ("max-age=0", 1, ASKED),
        ("min-fresh=90", 10, Reuse::Fresh { ttl_s: 90 }),
        ("min-fresh=91", 10, ASKED),
        ("max-stale", 500, Reuse::AcceptedStale { ttl_s: -400 }),
        ("max-stale=10", 110, Reuse::AcceptedStale { ttl_s: -10 }),
        ("max-stale=10", 111, STALE),
        ("max-stale=10, max-age=10", 105, ASKED),
    ] {
        assert_eq!(
            decide(stored(), request, &none, second),
            expected,
            "{request} at {second}"
        );
    }
    let strict = Freshness {
        must_revalidate: true,
        ..stored()
    };
    assert_eq!(decide(strict, "max-stale", &none, 101), STALE);
    let shared = Freshness {
        s_maxage: true,
        ..stored()
    };
    assert_eq!(decide(shared, "max-stale", &none, 101), STALE);
}

#[test]
fn a_window_lets_it_be_sent_while_the_origin_is_asked() {
    let (none, some) = (site(0, 0), site(30, 0));
    let own = Freshness {
        stale_while_revalidate_s: Some(10),
        ..stored()
    };
    assert_eq!(
        decide(own, "", &none, 110),
        Reuse::WhileRevalidate { ttl_s: -10 }
    );
    assert_eq!(decide(own, "", &some, 111), STALE);
    assert_eq!(
        decide(stored(), "", &some, 130),
        Reuse::WhileRevalidate { ttl_s: -30 }
    );
    let shared = Freshness {
        s_maxage: true,
        ..stored()
    };
    assert_eq!(decide(shared, "", &some, 110), STALE);
    let both = Freshness {
        s_maxage: true,
        ..own
    };
    assert_eq!(
        decide(both, "", &none, 110),
        Reuse::WhileRevalidate { ttl_s: -10 }
    );
    let forbidden = Freshness {
        must_revalidate: true,
        ..own
    };
    assert_eq!(decide(forbidden, "", &some, 110), STALE);
}

#[test]
fn a_broken_origin_is_covered_within_the_window() {
    let check = |stored: Freshness, request: &'static str, policy: &Policy, second, expected| {
        let allowed = stored.stale_if_error(Circumstances {
            status: StatusCode::OK,
            request: &directives(request),
            policy,
            purge: PurgeVerdict::Usable,
            now: at(second),
        });
        assert_eq!(allowed, expected, "{stored:?} {request} at {second}");
    };
    let (none, day) = (site(0, 0), site(0, 86_400));
    check(stored(), "", &none, 101, false);
    check(stored(), "", &day, 101, true);
    check(stored(), "", &day, 100 + 86_401, false);
    check(
        Freshness {
            stale_if_error_s: Some(5),
            ..stored()
        },
        "",
        &day,
        106,
        false,
    );
    check(
        Freshness {
            stale_if_error_s: Some(5),
            ..stored()
        },
        "",
        &none,
        105,
        true,
    );
    check(
        Freshness {
            must_revalidate: true,
            ..stored()
        },
        "",
        &day,
        101,
        false,
    );
    check(
        Freshness {
            no_cache: true,
            ..stored()
        },
        "",
        &day,
        1,
        false,
    );
    check(
        Freshness {
            s_maxage: true,
            ..stored()
        },
        "",
        &day,
        101,
        false,
    );
    check(stored(), "stale-if-error=9", &none, 109, true);
    check(stored(), "no-cache", &day, 101, false);
    check(stored(), "max-age=5", &none, 10, true);
}

#[test]
fn a_rule_counts_from_arrival_and_only_for_good_answers() {
    let ruled = |names_status| Policy {
        ttl: Some(Ttl {
            lifetime: Duration::from_secs(1000),
            names_status,
        }),
        ..Policy::default()
    };
    let ruling = &ruled(false);
    let aged = Freshness {
        initial_age_s: 900,
        ..stored()
    };
    assert_eq!(aged.ttl_s(StatusCode::OK, ruling, at(10)), 990);
    assert_eq!(
        aged.ttl_s(StatusCode::INTERNAL_SERVER_ERROR, ruling, at(10)),
        -810
    );
    let named = &ruled(true);
    assert_eq!(
        aged.ttl_s(StatusCode::INTERNAL_SERVER_ERROR, named, at(10)),
        990
    );
    assert!(aged.shareable(StatusCode::OK, ruling, at(10)));
    assert!(!aged.shareable(StatusCode::OK, &Policy::default(), at(10)));
}

#[test]
fn a_soft_purge_makes_it_stale_at_once() {
    let some = site(30, 0);
    let purged = |policy: &Policy| {
        stored().reuse(Circumstances {
            status: StatusCode::OK,
            request: &CacheControl::default(),
            policy,
            purge: PurgeVerdict::Stale,
            now: at(1),
        })
    };
    assert_eq!(purged(&site(0, 0)), STALE);
    assert_eq!(purged(&some), Reuse::WhileRevalidate { ttl_s: 99 });
}

#[test]
fn a_reload_asks_about_all_but_the_immutable() {
    let none = site(0, 0);
    assert_eq!(decide(stored(), "max-age=0", &none, 0), ASKED);
    assert_eq!(decide(stored(), "max-age=0, max-stale", &none, 200), ASKED);
    let fresh = Reuse::Fresh { ttl_s: 50 };
    assert_eq!(decide(stored(), "max-age=50", &none, 50), fresh);
    assert_eq!(decide(stored(), "max-age=49", &none, 50), ASKED);
    let immutable = Freshness {
        immutable: true,
        ..stored()
    };
    assert_eq!(decide(immutable, "max-age=0", &none, 50), fresh);
    assert_eq!(decide(immutable, "no-cache", &none, 50), ASKED);
    assert_eq!(decide(immutable, "max-age=0", &none, 100), ASKED);
    assert_eq!(decide(immutable, "", &none, 100), STALE);
}

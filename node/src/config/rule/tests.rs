use std::time::Duration;

use http::HeaderValue;

use super::super::policy::{Caching, Ttl};
use super::*;

fn ttl(seconds: u64) -> Policy {
    Policy {
        ttl: Some(Ttl {
            lifetime: Duration::from_secs(seconds),
            names_status: false,
        }),
        ..Policy::default()
    }
}

fn bypass() -> Policy {
    Policy {
        cache: Some(Caching::Bypass),
        ..Policy::default()
    }
}

fn on(path: &str) -> When {
    When {
        paths: vec![Pattern::new(path)],
        ..When::default()
    }
}

fn rules(list: Vec<(When, Policy)>) -> Rules {
    let base = Policy {
        stale_if_error: Some(Duration::from_secs(9)),
        ..Policy::default()
    };
    let list = (10..).zip(list);
    let list = list.map(|(line, (when, then))| Rule { line, when, then });
    Rules::new(base, list.collect())
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn lifetime(policy: &Policy) -> Option<u64> {
    policy.ttl.map(|ttl| ttl.lifetime.as_secs())
}

#[test]
fn a_later_rule_wins_key_by_key() {
    let rules = rules(vec![
        (on("/a/*"), ttl(1)),
        (on("/a/b/*"), bypass()),
        (on("/a/b/c/*"), ttl(3)),
    ]);
    for (path, expected, bypasses) in [
        ("/", None, false),
        ("/a/x", Some(1), false),
        ("/a/b/x", Some(1), true),
        ("/a/b/c/x", Some(3), true),
    ] {
        let ruling = rules.at_request(&Method::GET, path, &HeaderMap::new());
        let policy = rules.policy(&ruling);
        assert_eq!(
            (lifetime(policy), policy.bypasses()),
            (expected, bypasses),
            "{path}"
        );
        assert_eq!(policy.stale_if_error, Some(Duration::from_secs(9)));
    }
    let ruling = rules.at_request(&Method::GET, "/a/b/c/x", &HeaderMap::new());
    let said: Vec<_> = rules
        .explain(&ruling)
        .into_iter()
        .map(|key| (key.key, key.rule))
        .collect();
    assert_eq!(
        said,
        [
            ("ttl", Some((3, 12))),
            ("cache", Some((2, 11))),
            ("stale_if_error", None)
        ]
    );
}

#[test]
fn methods_and_fields_have_to_hold_too() {
    let when = When {
        methods: vec![Method::GET, Method::HEAD],
        fields: vec![
            (
                http::header::ACCEPT,
                FieldTest::Like(vec![Pattern::new("*json*")]),
            ),
            (http::header::ORIGIN, FieldTest::Absent),
            (http::header::COOKIE, FieldTest::Present),
        ],
        ..on("/a")
    };
    let good = [
        ("accept", "text/html"),
        ("accept", "application/json"),
        ("cookie", "a=b"),
    ];
    assert!(when.request(&Method::HEAD, "/a", &headers(&good)));
    assert!(!when.request(&Method::POST, "/a", &headers(&good)));
    assert!(!when.request(&Method::GET, "/b", &headers(&good)));
    assert!(!when.request(&Method::GET, "/a", &headers(&good[..2])));
    assert!(!when.request(&Method::GET, "/a", &headers(&[good[0], good[2]])));
    let other = [good[1], good[2], ("origin", "null")];
    assert!(!when.request(&Method::GET, "/a", &headers(&other)));
}

#[test]
fn what_asks_for_the_answer_joins_in_its_place() {
    let errors = When {
        statuses: vec![404..=404, 500..=599],
        ..When::default()
    };
    let images = When {
        types: vec![Pattern::new("image/*")],
        ..on("/a/*")
    };
    let rules = rules(vec![
        (on("/a/*"), ttl(1)),
        (errors, ttl(2)),
        (images, ttl(3)),
        (on("/a/b/*"), ttl(4)),
    ]);
    let plain = headers(&[("content-type", "text/plain")]);
    let image = headers(&[("content-type", "Image/PNG; q=1")]);
    for (path, status, fields, early, late) in [
        ("/", 200, &plain, None, None),
        ("/", 404, &plain, None, Some(2)),
        ("/", 200, &image, None, None),
        ("/a/x", 200, &plain, Some(1), Some(1)),
        ("/a/x", 503, &plain, Some(1), Some(2)),
        ("/a/x", 503, &image, Some(1), Some(3)),
        ("/a/b/x", 503, &image, Some(4), Some(4)),
    ] {
        let ruling = rules.at_request(&Method::GET, path, &HeaderMap::new());
        assert_eq!(lifetime(rules.policy(&ruling)), early, "{path}");
        assert!(rules.waits(&ruling));
        let status = StatusCode::from_u16(status).unwrap();
        let ruling = rules.at_response(&ruling, status, fields);
        assert_eq!(lifetime(rules.policy(&ruling)), late, "{path} {status}");
    }
}

#[test]
fn a_site_without_rules_has_its_own_word() {
    let rules = rules(Vec::new());
    let ruling = rules.at_request(&Method::GET, "/", &HeaderMap::new());
    assert!(matches!(ruling.0, Chosen::Base) && !rules.waits(&ruling));
    assert!(std::ptr::eq(rules.policy(&ruling), rules.base()));
    assert_eq!(rules.apart(&ruling).count(), 0);
}

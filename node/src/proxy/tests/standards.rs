//! RFC 9111, 9110 and 9213 clause by clause, where a whole exchange is needed to see it.

use super::*;

const MAX_AGE: (&str, &str) = ("cache-control", "max-age=60");
const STALE: (&str, &str) = ("cache-control", "max-age=0");

fn head() -> Request<Body> {
    request(Method::HEAD, "/a", &[], Body::Empty)
}

/// 200 with these fields, and then, when asked with the tag of it, 304 with those.
fn validated(
    first: &'static [(&'static str, &'static str)],
    then: &'static [(&'static str, &'static str)],
) -> Script {
    script(move |seen| {
        if seen.headers.contains_key("if-none-match") {
            reply(304, then, "")
        } else {
            reply(200, first, "hello")
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_final_status_with_explicit_freshness_is_reused() {
    let answer = script(|seen| {
        let status = seen.target.trim_start_matches('/').parse().unwrap();
        let body = if status == 204 { "" } else { "hello" };
        reply(status, &[MAX_AGE], body)
    });
    let bed = Bed::start(answer).await;
    let statuses = [
        200, 201, 202, 203, 204, 226, 299, 300, 301, 302, 303, 305, 307, 308, 400, 401, 403, 404,
        405, 410, 414, 418, 421, 451, 499, 500, 501, 502, 503, 504, 505, 599,
    ];
    for status in statuses {
        let target = format!("/{status}");
        for _ in 0..2 {
            assert_eq!(bed.get(&target).await.status.as_u16(), status);
        }
    }
    assert_eq!(bed.origin.count(), statuses.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn age_is_for_what_the_origin_did_not_give_for_this_request() {
    let bed = Bed::start(always(200, &[MAX_AGE], "hello")).await;
    assert_eq!(bed.get("/a").await.field("age"), "");
    assert_eq!(bed.get("/a").await.field("age"), "0");
    let bed = Bed::start(always(200, &[MAX_AGE, ("age", "30")], "hello")).await;
    assert_eq!(bed.get("/a").await.field("age"), "30");
    assert_eq!(bed.get("/a").await.field("age"), "30");
    let bed = Bed::start(validated(&[STALE, ("etag", "\"a\"")], &[])).await;
    bed.get("/a").await;
    assert_eq!(bed.get("/a").await.field("age"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undated_answer_is_dated_by_its_arrival() {
    let bed = Bed::start(always(200, &[MAX_AGE, ("date", "yesterday")], "hello")).await;
    let first = bed.get("/a").await.field("date").to_owned();
    assert!(httpdate::parse_http_date(&first).is_ok(), "{first}");
    assert_eq!(bed.get("/a").await.field("date"), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_in_a_304_reaches_who_asked_and_nobody_else() {
    let then = &[
        MAX_AGE,
        ("etag", "\"a\""),
        ("set-cookie", "a=b"),
        ("content-type", "text/html"),
    ];
    let bed = Bed::start(validated(&[STALE, ("etag", "\"a\"")], then)).await;
    bed.get("/a").await;
    let asked = bed.get("/a").await;
    assert_eq!((asked.text(), asked.field("set-cookie")), ("hello", "a=b"));
    let hit = bed.get("/a").await;
    assert!(hit.cache_status().contains("hit"));
    assert_eq!(
        (hit.field("set-cookie"), hit.field("content-type")),
        ("", "text/html")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_304_makes_private_is_not_shared_any_more() {
    let first = &[("cache-control", "max-age=0"), ("etag", "\"a\"")];
    let then = &[("cache-control", "private, max-age=60")];
    let bed = Bed::start(validated(first, then)).await;
    bed.get("/a").await;
    let asked = bed.get("/a").await;
    assert_eq!(asked.text(), "hello");
    assert!(bed.get("/a").await.cache_status().contains("fwd=miss"));
    assert_eq!(bed.origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_fields_reach_who_asked_and_are_not_stored() {
    for control in [
        "max-age=60, private=\"x-a\"",
        "max-age=60, no-cache=\"x-a\"",
    ] {
        let fields: &'static [(&str, &str)] = Box::leak(Box::new([
            ("cache-control", control),
            ("x-a", "1"),
            ("x-b", "2"),
        ]));
        let bed = Bed::start(always(200, fields, "hello")).await;
        let first = bed.get("/a").await;
        assert_eq!(
            (first.field("x-a"), first.field("x-b")),
            ("1", "2"),
            "{control}"
        );
        let hit = bed.get("/a").await;
        assert_eq!((hit.field("x-a"), hit.field("x-b")), ("", "2"), "{control}");
        assert_eq!(bed.origin.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_head_updates_what_is_stored_of_get() {
    let answer = script(|seen| match seen.method {
        Method::HEAD => reply(200, &[MAX_AGE, ("etag", "\"a\""), ("x-a", "2")], ""),
        _ => reply(
            200,
            &[
                ("cache-control", "max-age=0"),
                ("etag", "\"a\""),
                ("x-a", "1"),
            ],
            "hello",
        ),
    });
    let bed = Bed::start(answer).await;
    bed.get("/a").await;
    let asked = bed.send(head()).await;
    assert_eq!((asked.field("x-a"), bed.origin.count()), ("2", 2));
    let hit = bed.get("/a").await;
    assert_eq!((hit.field("x-a"), hit.text()), ("2", "hello"));
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_head_for_another_object_outdates_what_is_stored() {
    let answer = script(|seen| match seen.method {
        Method::HEAD => reply(200, &[MAX_AGE, ("etag", "\"b\"")], ""),
        _ => reply(200, &[MAX_AGE, ("etag", "\"a\"")], "hello"),
    });
    let bed = Bed::start(answer).await;
    bed.get("/a").await;
    let mut reload = head();
    reload
        .headers_mut()
        .insert("cache-control", HeaderValue::from_static("no-cache"));
    bed.send(reload).await;
    bed.get("/a").await;
    assert_eq!(bed.origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_for_cdns_counts_in_place_of_cache_control() {
    for (fields, expected) in [
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "no-store"),
            ][..],
            "hit",
        ),
        (
            &[("cdn-cache-control", "no-store"), MAX_AGE],
            "detail=no-store",
        ),
        (
            &[("cdn-cache-control", "max-age=0"), MAX_AGE],
            "detail=expired",
        ),
        (&[("cdn-cache-control", "max-age=0, &&"), MAX_AGE], "hit"),
        (
            &[
                ("nearside-cdn-cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
            ],
            "hit",
        ),
        (
            &[
                ("cdn-cache-control", "public"),
                ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
            ],
            "detail=no-freshness",
        ),
        (
            &[
                ("surrogate-control", "max-age=60"),
                ("cache-control", "no-store"),
            ],
            "hit",
        ),
    ] {
        let bed = Bed::start(always(200, fields, "hello")).await;
        bed.get("/a").await;
        let got = bed.get("/a").await;
        assert!(
            got.cache_status().contains(expected),
            "{fields:?}: {}",
            got.cache_status()
        );
        assert!(!got.headers.contains_key("surrogate-control"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_with_a_lifetime_takes_the_place_of_what_may_not_be_sent_stale() {
    let first = &[
        ("cache-control", "max-age=0, must-revalidate"),
        ("etag", "\"a\""),
    ];
    let bed = Bed::start(always(200, first, "good")).await;
    bed.get("/a").await;
    bed.origin.now_does(always(503, &[MAX_AGE], "bad"));
    for _ in 0..2 {
        assert_eq!(bed.get("/a").await.text(), "bad");
    }
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_do_not_ask_about_what_was_stored_without() {
    let first = &[("cache-control", "max-age=0"), ("etag", "\"a\"")];
    let bed = Bed::start(validated(first, &[MAX_AGE])).await;
    bed.get("/a").await;
    let got = bed.get_with("/a", &[("authorization", "Basic x")]).await;
    assert!(!bed.origin.last().headers.contains_key("if-none-match"));
    assert!(
        got.cache_status().ends_with("detail=authorization"),
        "{}",
        got.cache_status()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_vary_otherwise_are_found_by_what_they_say() {
    let bed = Bed::start(script(|seen| {
        match seen.headers.get("foo").map(HeaderValue::as_bytes) {
            Some(b"1") => reply(200, &[MAX_AGE, ("vary", "foo")], "by foo"),
            Some(b"2") => reply(200, &[MAX_AGE, ("vary", "bar")], "by bar"),
            _ => reply(200, &[MAX_AGE], "for all"),
        }
    }))
    .await;
    bed.get_with("/a", &[("foo", "1")]).await;
    for (round, foo) in [("fwd=vary-miss", "2"), ("hit", "3")] {
        let fields: &[(&'static str, &'static str)] = if foo == "2" {
            &[("foo", "2"), ("bar", "1")]
        } else {
            &[("foo", "3"), ("bar", "1")]
        };
        let got = bed.get_with("/a", fields).await;
        assert_eq!(got.text(), "by bar");
        assert!(got.cache_status().contains(round), "{}", got.cache_status());
    }
    assert_eq!(bed.get_with("/a", &[("foo", "1")]).await.text(), "by foo");
    assert_eq!(bed.origin.count(), 2);
    // One without Vary answers those that nothing else answers.
    for _ in 0..2 {
        assert_eq!(
            bed.get_with("/a", &[("foo", "9"), ("bar", "9")])
                .await
                .text(),
            "for all"
        );
    }
    assert_eq!(bed.get_with("/a", &[("foo", "1")]).await.text(), "by foo");
    assert_eq!(bed.origin.count(), 3);
}

use super::*;

const FRESH: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("content-type", "text/plain"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_is_a_hit_with_its_age() {
    let bed = Bed::start(always(200, FRESH, "hello")).await;
    let first = bed.get("/a").await;
    assert_eq!((first.status, first.text()), (StatusCode::OK, "hello"));
    assert_eq!(
        first.cache_status(),
        "lon1; fwd=miss; fwd-status=200; stored"
    );
    assert_eq!(first.field("content-length"), "5");
    let second = bed.get("/a").await;
    assert_eq!((second.status, second.text()), (StatusCode::OK, "hello"));
    assert!(
        second.cache_status().starts_with("lon1; hit; ttl="),
        "{}",
        second.cache_status()
    );
    assert_eq!(second.field("age"), "0");
    assert_eq!(second.field("via"), "1.1 lon1");
    assert_eq!(second.field("content-type"), "text/plain");
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_shared_is_fetched_each_time() {
    for (fields, reason) in [
        (&[("cache-control", "no-store")][..], "no-store"),
        (&[("cache-control", "private, max-age=60")], "private"),
        (
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            "set-cookie",
        ),
        (&[("cache-control", "max-age=60"), ("vary", "*")], "vary"),
        (&[], "no-freshness"),
    ] {
        let bed = Bed::start(always(200, fields, "mine")).await;
        for round in 1..=3 {
            let got = bed.get("/a").await;
            assert_eq!(got.text(), "mine");
            assert!(
                got.cache_status().ends_with(&format!("detail={reason}")),
                "{}",
                got.cache_status()
            );
            assert_eq!(bed.origin.count(), round, "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_stored_with_a_word_for_shared_caches() {
    let fields = &[
        ("cache-control", "public, max-age=60"),
        ("set-cookie", "a=b"),
    ];
    let bed = Bed::start(always(200, fields, "all")).await;
    bed.get("/a").await;
    assert_eq!(bed.get("/a").await.field("set-cookie"), "a=b");
    assert_eq!(bed.origin.count(), 1);
    let bed = Bed::with(
        "[cache]\nset_cookie = \"strip\"\n",
        always(200, fields, "all"),
    )
    .await;
    assert_eq!(bed.get("/a").await.field("set-cookie"), "");
    assert_eq!(bed.get("/a").await.field("set-cookie"), "");
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_not_answered_from_what_others_got() {
    let bed = Bed::start(always(200, FRESH, "secret")).await;
    let with = [("authorization", "Bearer x")];
    bed.get_with("/a", &with).await;
    bed.get_with("/a", &with).await;
    assert_eq!(bed.origin.count(), 2);
    let bed = Bed::start(always(200, &[("cache-control", "s-maxage=60")], "open")).await;
    bed.get_with("/a", &with).await;
    bed.get("/a").await;
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_live_side_by_side() {
    let answer = script(|seen| {
        let language = seen
            .headers
            .get("accept-language")
            .map_or("none", |value| if value == "de" { "de" } else { "en" });
        reply(
            200,
            &[("cache-control", "max-age=60"), ("vary", "Accept-Language")],
            language,
        )
    });
    let bed = Bed::start(answer).await;
    for round in 0..2 {
        for (fields, expected) in [
            (&[("accept-language", "de")][..], "de"),
            (&[("accept-language", "en")], "en"),
            (&[], "none"),
            (&[("accept-language", " EN")], "en"),
        ] {
            let got = bed.get_with("/a", fields).await;
            assert_eq!(got.text(), expected);
            assert!(
                round == 0 || got.cache_status().contains("hit"),
                "{}",
                got.cache_status()
            );
        }
    }
    assert_eq!(bed.origin.count(), 3);
    bed.purge("/a", false);
    bed.get_with("/a", &[("accept-language", "de")]).await;
    bed.get_with("/a", &[("accept-language", "en")]).await;
    assert_eq!(bed.origin.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_it_gets_304_from_the_cache() {
    let fields = &[
        ("cache-control", "max-age=60"),
        ("etag", "\"v1\""),
        ("content-type", "text/plain"),
    ];
    let bed = Bed::start(always(200, fields, "hello")).await;
    // On a miss the whole object is fetched, and the client's condition is answered all the same.
    for _ in 0..2 {
        let got = bed.get_with("/a", &[("if-none-match", "W/\"v1\"")]).await;
        assert_eq!((got.status, got.text()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(
            (got.field("etag"), got.field("content-type")),
            ("\"v1\"", "")
        );
        assert_eq!(got.field("cache-control"), "max-age=60");
    }
    assert_eq!(bed.get("/a").await.text(), "hello");
    assert_eq!(bed.origin.count(), 1);
    assert!(!bed.origin.last().headers.contains_key("if-none-match"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_304_from_the_origin_freshens_what_is_stored() {
    let answer = script(|seen| {
        if seen
            .headers
            .get("if-none-match")
            .is_some_and(|tag| tag == "\"v1\"")
        {
            reply(
                304,
                &[
                    ("cache-control", "max-age=60"),
                    ("etag", "\"v1\""),
                    ("x-new", "1"),
                ],
                "",
            )
        } else {
            reply(
                200,
                &[
                    ("cache-control", "no-cache"),
                    ("etag", "\"v1\""),
                    ("x-old", "1"),
                ],
                "hello",
            )
        }
    });
    let bed = Bed::start(answer).await;
    assert_eq!(bed.get("/a").await.text(), "hello");
    let checked = bed.get("/a").await;
    assert_eq!((checked.status, checked.text()), (StatusCode::OK, "hello"));
    assert!(
        checked
            .cache_status()
            .starts_with("lon1; fwd=stale; fwd-status=304"),
        "{}",
        checked.cache_status()
    );
    assert_eq!((checked.field("x-old"), checked.field("x-new")), ("1", "1"));
    let hit = bed.get("/a").await;
    assert!(
        hit.cache_status().starts_with("lon1; hit"),
        "{}",
        hit.cache_status()
    );
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_come_from_the_stored_object() {
    let bed = Bed::start(always(
        200,
        &[("cache-control", "max-age=60"), ("etag", "\"v1\"")],
        "0123456789",
    ))
    .await;
    // The first one while it is being brought.
    for (range, status, body, content_range) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
    ] {
        let request = request(Method::GET, "/a", &[], Body::Empty);
        let mut request = request;
        request
            .headers_mut()
            .insert("range", HeaderValue::from_static(range));
        let got = bed.send(request).await;
        assert_eq!((got.status.as_u16(), got.text()), (status, body), "{range}");
        assert_eq!(got.field("content-range"), content_range);
        // Its reader has what it asked for before the rest has come.
        eventually("the object", || bed.store.stats().fills_stored == 1).await;
    }
    let several = bed
        .get_with("/a", &[("range", "bytes=0-1, -2"), ("if-range", "\"v1\"")])
        .await;
    let content_type = several.field("content-type");
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
         \r\n--{boundary}\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--{boundary}--\r\n"
    );
    assert_eq!((several.status.as_u16(), several.text()), (206, &*expected));
    assert_eq!(several.field("content-length"), expected.len().to_string());
    assert!(!several.headers.contains_key("content-range"));
    let old = bed
        .get_with("/a", &[("range", "bytes=0-1"), ("if-range", "\"v0\"")])
        .await;
    assert_eq!(old.status, StatusCode::OK);
    assert_eq!(bed.origin.count(), 1);
    assert!(!bed.origin.last().headers.contains_key("range"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_from_a_stored_get() {
    let bed = Bed::start(always(200, FRESH, "hello")).await;
    let head = || request(Method::HEAD, "/a", &[], Body::Empty);
    let passed = bed.send(head()).await;
    assert_eq!((passed.status, passed.text()), (StatusCode::OK, ""));
    assert_eq!(bed.origin.last().method, Method::HEAD);
    bed.get("/a").await;
    let hit = bed.send(head()).await;
    assert_eq!(
        (hit.status, hit.text(), hit.field("content-length")),
        (StatusCode::OK, "", "5")
    );
    assert!(hit.cache_status().contains("hit"));
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_url_is_fetched_again() {
    let bed = Bed::start(always(200, FRESH, "hello")).await;
    bed.get("/a?b").await;
    bed.get("/c").await;
    bed.purge("/a?b", false);
    assert!(bed.get("/a?b").await.cache_status().contains("fwd=miss"));
    assert!(bed.get("/a?b").await.cache_status().contains("hit"));
    assert!(bed.get("/c").await.cache_status().contains("hit"));
    assert_eq!(bed.origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_makes_what_is_stored_of_its_target_unusable() {
    let answer = script(|seen| match seen.method {
        Method::GET => reply(200, FRESH, "hello"),
        Method::PUT => reply(500, &[], ""),
        _ => reply(201, &[("location", "/b")], ""),
    });
    let bed = Bed::start(answer).await;
    for target in ["/a", "/b", "/c"] {
        bed.get(target).await;
    }
    let post = |method| request(method, "/a", &[], "x".into());
    bed.send(post(Method::PUT)).await;
    assert!(bed.get("/a").await.cache_status().contains("hit"));
    bed.send(post(Method::POST)).await;
    for (target, expected) in [("/a", "fwd=miss"), ("/b", "fwd=miss"), ("/c", "hit")] {
        let got = bed.get(target).await;
        assert!(
            got.cache_status().contains(expected),
            "{target}: {}",
            got.cache_status()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_may_ask_for_better_or_for_nothing_at_all() {
    let bed = Bed::start(always(200, FRESH, "hello")).await;
    let empty = bed
        .get_with("/a", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(empty.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(bed.origin.count(), 0);
    bed.get("/a").await;
    let cached = bed
        .get_with("/a", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(cached.status, StatusCode::OK);
    let reload = bed.get_with("/a", &[("cache-control", "no-cache")]).await;
    assert!(
        reload.cache_status().contains("fwd=request"),
        "{}",
        reload.cache_status()
    );
    bed.get_with("/b", &[("cache-control", "no-store")]).await;
    bed.get_with("/b", &[("cache-control", "no-store")]).await;
    assert_eq!(bed.origin.count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_gives_a_lifetime_or_keeps_the_cache_out() {
    let settings = "[cache]\nkey = { query_drop = [\"utm_*\"] }\n\
        [[rule]]\nmatch = { path = \"/assets/*\" }\nttl = \"1h\"\n\
        [[rule]]\nmatch = { path = \"/cart/*\" }\ncache = \"bypass\"\n";
    let bed = Bed::with(settings, always(200, &[("etag", "\"v1\"")], "hello")).await;
    bed.get("/assets/a").await;
    let hit = bed.get("/assets/a?utm_source=x").await;
    assert!(
        hit.cache_status().starts_with("lon1; hit; ttl=3"),
        "{}",
        hit.cache_status()
    );
    assert_eq!(bed.origin.last().target, "/assets/a");
    for _ in 0..2 {
        let got = bed.get("/cart/a").await;
        assert_eq!(
            got.cache_status(),
            "lon1; fwd=bypass; fwd-status=200; detail=rule"
        );
    }
    assert_eq!(bed.origin.count(), 3);
}

//! Tags of answers, and purges by them.

use nearside_cluster::PurgeScope;

use super::{Bed, always, by_hand, collect, get, reply, script};
use crate::exchange::Body;

fn tag(name: &str) -> PurgeScope {
    PurgeScope::Tag(name.to_owned())
}

#[tokio::test]
async fn a_purge_by_tag_reaches_what_carries_it_with_all_its_variants_and_parts() {
    let bed = Bed::start(script(|seen| {
        let language = seen.headers.get("accept-language").is_some();
        let fields: &[_] = match &*seen.target {
            "/vary" => &[
                ("cache-control", "max-age=60"),
                ("vary", "accept-language"),
                ("cache-tag", "article-7, news"),
            ],
            "/part" => &[
                ("cache-control", "max-age=60"),
                ("surrogate-key", "news article-7"),
                ("etag", "\"a\""),
                ("content-range", "bytes 8-9/2000000"),
            ],
            _ => &[("cache-control", "max-age=60"), ("xkey", "news")],
        };
        let status = if seen.target == "/part" { 206 } else { 200 };
        reply(status, fields, if language { "de" } else { "en" })
    }))
    .await;
    let asks = || {
        [
            get("/vary", &[]),
            get("/vary", &[("accept-language", "de")]),
            get("/part", &[("range", "bytes=8-9"), ("if-range", "\"a\"")]),
            get("/other", &[]),
        ]
    };
    let hits = async || {
        let mut hits = Vec::new();
        for ask in asks() {
            let got = bed.send(ask).await;
            for field in ["cache-tag", "surrogate-key", "xkey"] {
                assert!(!got.headers.contains_key(field), "{field} was sent on");
            }
            hits.push(got.cache_status().contains("hit"));
        }
        hits
    };
    hits().await;
    let kept = hits().await;
    assert_eq!((kept[0], kept[1], kept[3]), (true, true, true));
    bed.purge_scope(&tag("sports"), false);
    assert_eq!(hits().await, kept);
    bed.purge_scope(&tag("article-7"), false);
    assert_eq!(hits().await, [false, false, false, true]);
    bed.purge_scope(&tag("news"), false);
    assert_eq!(hits().await, [false; 4]);
    assert_eq!(hits().await, kept);
}

#[tokio::test]
async fn a_soft_purge_by_tag_asks_the_origin_whose_304_may_tag_anew() {
    let bed = Bed::start(always(
        200,
        &[
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("cache-tag", "old"),
        ],
        "body",
    ))
    .await;
    bed.get("/a").await;
    let not_modified = &[
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("cache-tag", "new"),
    ];
    bed.origin
        .now_does(script(move |_| reply(304, not_modified, Body::Empty)));
    bed.purge_scope(&tag("old"), true);
    let got = bed.get("/a").await;
    assert_eq!(got.text(), "body");
    assert!(bed.origin.last().headers.contains_key("if-none-match"));
    assert!(!got.headers.contains_key("cache-tag"));
    let asked = bed.origin.count();
    bed.purge_scope(&tag("old"), true);
    bed.get("/a").await;
    assert_eq!(bed.origin.count(), asked, "it is not tagged so any more");
    bed.purge_scope(&tag("new"), true);
    bed.get("/a").await;
    assert_eq!(bed.origin.count(), asked + 1);
}

#[tokio::test]
async fn a_purge_by_prefix_reaches_what_begins_so() {
    let bed = Bed::start(always(200, &[("cache-control", "max-age=60")], "x")).await;
    let paths = ["/blog/1", "/blog/2?x", "/blog", "/other"];
    for path in paths {
        bed.get(path).await;
    }
    bed.purge_scope(&PurgeScope::Prefix("/blog/".into()), false);
    for (path, hit) in paths.into_iter().zip([false, false, true, true]) {
        let got = bed.get(path).await;
        assert_eq!(got.cache_status().contains("hit"), hit, "{path}");
    }
}

#[tokio::test]
async fn a_fetch_that_began_before_a_purge_by_tag_is_joined_by_nobody_after_it() {
    let (first, body) = by_hand();
    let body = parking_lot::Mutex::new(Some(body));
    let bed = Bed::start(script(move |_| {
        let fields = &[("cache-control", "max-age=60"), ("cache-tag", "news")];
        match body.lock().take() {
            Some(body) => reply(200, fields, body),
            None => reply(200, fields, "new"),
        }
    }))
    .await;
    let early = bed.open(get("/a", &[])).await;
    bed.purge_scope(&tag("news"), false);
    let late = bed.get("/a").await;
    assert_eq!(late.text(), "new");
    first.send(Ok("old".into())).unwrap();
    drop(first);
    assert_eq!(collect(early).await.text(), "old");
    for _ in 0..3 {
        assert_eq!(bed.get("/a").await.text(), "new");
    }
}

#[tokio::test]
async fn a_site_names_its_fields_and_may_send_them_on() {
    let settings = "[cache]\ntags = { fields = [\"X-Groups\"], send = true }\n";
    let fields = &[
        ("cache-control", "max-age=60"),
        ("x-groups", "a, b"),
        ("cache-tag", "c"),
    ];
    let bed = Bed::with(settings, always(200, fields, "x")).await;
    bed.get("/a").await;
    bed.purge_scope(&tag("c"), false);
    let got = bed.get("/a").await;
    assert!(got.cache_status().contains("hit"));
    assert_eq!(got.field("x-groups"), "a, b");
    assert_eq!(got.field("cache-tag"), "c");
    bed.purge_scope(&tag("b"), false);
    assert!(!bed.get("/a").await.cache_status().contains("hit"));
}

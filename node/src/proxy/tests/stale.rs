use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_origin_is_covered_by_what_is_stale() {
    let fields = &[("cache-control", "max-age=0, stale-if-error=60")];
    let mut bed = Bed::start(always(200, fields, "good")).await;
    assert_eq!(bed.get("/a").await.text(), "good");
    for status in [500, 502, 503, 504] {
        bed.origin.now_does(always(status, &[], "broken"));
        let got = bed.get("/a").await;
        assert_eq!((got.status, got.text()), (StatusCode::OK, "good"));
        let expected = format!("fwd=stale; fwd-status={status}");
        assert!(
            got.cache_status().contains(&expected),
            "{}",
            got.cache_status()
        );
        assert!(got.cache_status().ends_with("detail=stale-if-error"));
    }
    bed.origin.now_does(always(403, &[], "not you"));
    assert_eq!(bed.get("/a").await.status, StatusCode::FORBIDDEN);
    bed.origin.die().await;
    assert_eq!(bed.get("/a").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_revalidated_is_never_stale() {
    let fields = &[(
        "cache-control",
        "max-age=0, must-revalidate, stale-if-error=60",
    )];
    let mut bed = Bed::start(always(200, fields, "good")).await;
    bed.get("/a").await;
    bed.origin.now_does(always(503, &[], "broken"));
    let got = bed.get("/a").await;
    assert_eq!(
        (got.status, got.text()),
        (StatusCode::SERVICE_UNAVAILABLE, "broken")
    );
    bed.origin.die().await;
    let got = bed.get("/a").await;
    assert_eq!(got.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(
        got.text().starts_with("504 Gateway Timeout\nrequest "),
        "{}",
        got.text()
    );
    assert!(!got.text().contains("127.0.0.1"), "{}", got.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sites_default_covers_what_says_nothing() {
    let site =
        "[cache]\nstale_if_error = \"1d\"\n[[rule]]\nmatch = { path = \"/*\" }\nttl = \"0s\"\n";
    let mut bed = Bed::with(
        site,
        always(200, &[("cache-control", "max-age=60")], "good"),
    )
    .await;
    bed.get("/a").await;
    bed.origin.die().await;
    assert_eq!(bed.get("/a").await.text(), "good");
    assert_eq!(bed.get("/b").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_revalidated_the_stale_one_is_sent() {
    let fields = &[("cache-control", "max-age=0, stale-while-revalidate=60")];
    let bed = Bed::start(always(200, fields, "old")).await;
    bed.get("/a").await;
    let (slow, mut hands) = answers_by_hand(&[("cache-control", "max-age=60")]);
    bed.origin.now_does(slow);
    for _ in 0..10 {
        let got = bed.get("/a").await;
        assert_eq!(got.text(), "old");
        assert!(
            got.cache_status().starts_with("lon1; hit; ttl="),
            "{}",
            got.cache_status()
        );
    }
    let pieces = hands.recv().await.unwrap();
    pieces.send(Ok("new".into())).unwrap();
    drop(pieces);
    eventually("the new entry", || bed.store.stats().fills_stored == 2).await;
    assert_eq!(bed.get("/a").await.text(), "new");
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_purge_lets_the_stale_one_be_sent_once_more() {
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    let bed = Bed::start(always(200, fields, "old")).await;
    bed.get("/a").await;
    bed.origin.now_does(always(200, fields, "new"));
    bed.purge("/a", true);
    assert_eq!(bed.get("/a").await.text(), "old");
    eventually("the new entry", || bed.store.stats().fills_stored == 2).await;
    assert_eq!(bed.get("/a").await.text(), "new");
    assert_eq!(bed.origin.count(), 2);
}

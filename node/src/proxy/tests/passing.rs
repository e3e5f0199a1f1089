use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_streams_both_ways() {
    let bed = Bed::start(script(|seen| reply(200, &[], seen.body.clone()))).await;
    let (pieces, body) = by_hand();
    pieces.send(Ok("ab".into())).unwrap();
    pieces.send(Ok("cd".into())).unwrap();
    drop(pieces);
    let got = bed.send(request(Method::POST, "/echo", &[], body)).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "abcd"));
    assert_eq!(
        got.cache_status(),
        "lon1; fwd=method; fwd-status=200; detail=method"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_sees_our_fields_and_not_the_clients() {
    let bed = Bed::start(always(
        200,
        &[
            ("alt-svc", "h3=\":443\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ],
        "",
    ))
    .await;
    let got = bed
        .get_with(
            "/a/../b?x=%7e",
            &[
                ("x-forwarded-host", "evil.example"),
                ("x-forwarded-for", "10.0.0.1"),
                ("connection", "keep-alive, x-secret"),
                ("x-secret", "1"),
                ("te", "trailers"),
                ("upgrade", "websocket"),
                ("cookie", "a=b"),
            ],
        )
        .await;
    let seen = bed.origin.last();
    assert_eq!(seen.target, "/b?x=~");
    for (name, expected) in [
        ("host", "shop.example"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-for", "192.0.2.1"),
        (
            "forwarded",
            "for=192.0.2.1;host=\"shop.example\";proto=http",
        ),
        ("via", "1.1 lon1"),
        ("cdn-loop", "nearside-test"),
        ("cookie", "a=b"),
    ] {
        assert_eq!(seen.headers[name], expected, "{name}");
    }
    for name in ["x-secret", "te", "upgrade"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_eq!((got.field("alt-svc"), got.field("x-hop")), ("", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_requests_are_answered_by_ourselves() {
    let bed = Bed::with("[tls]\nredirect_http = true\n", always(200, &[], "")).await;
    let redirect = bed.get("/a?b=c").await;
    assert_eq!(redirect.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.field("location"), "https://shop.example/a?b=c");
    let unknown = bed.get_with("/", &[("host", "nobody.example")]).await;
    assert_eq!(unknown.status, StatusCode::MISDIRECTED_REQUEST);
    let twice = bed
        .get_with("/", &[("host", "shop.example"), ("host", "other.example")])
        .await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    let again = bed
        .get_with(
            "/",
            &[("host", "other.example"), ("cdn-loop", "x, nearside-test")],
        )
        .await;
    assert_eq!(again.status, StatusCode::LOOP_DETECTED);
    let tls = |name: &str| Client {
        tls: true,
        server_name: Some(name.into()),
        ..client()
    };
    for (name, status) in [
        ("shop.example", 200),
        ("other.example", 421),
        ("nobody.example", 421),
    ] {
        let got = bed.open_as(tls(name), get("/", &[])).await;
        assert_eq!(got.status().as_u16(), status, "{name}");
    }
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kept_out_hears_why() {
    let settings =
        "[protect]\ndeny = [\"192.0.2.0/24\"]\nrate = { requests = \"1/s\", burst = 1 }\n";
    let bed = Bed::with(settings, always(200, &[], "in")).await;
    assert_eq!(bed.get("/").await.status, StatusCode::FORBIDDEN);
    let other = || Client {
        address: "198.51.100.1".parse().unwrap(),
        ..client()
    };
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let response = bed.open_as(other(), get("/", &[])).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(response.headers().contains_key("retry-after"));
        }
        statuses.push(response.status().as_u16());
    }
    assert_eq!((statuses[0], statuses[2]), (200, 429));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_that_only_the_origin_may_judge_go_there() {
    let answer = script(|seen| {
        let judged = seen.headers.contains_key("if-match");
        reply(
            if judged { 412 } else { 200 },
            &[("cache-control", "max-age=60")],
            "",
        )
    });
    let bed = Bed::start(answer).await;
    bed.get("/a").await;
    let got = bed.get_with("/a", &[("if-match", "\"v1\"")]).await;
    assert_eq!(got.status, StatusCode::PRECONDITION_FAILED);
    assert!(bed.get("/a").await.cache_status().contains("hit"));
}

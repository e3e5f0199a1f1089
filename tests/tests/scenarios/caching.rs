//! What a client gets from the cache, and what an origin is asked for.

use std::time::Duration;

use futures_util::future::join_all;
use nearside_tests::{Reply, content, run};

use crate::stage::Stage;

#[test]
fn the_second_request_is_a_hit_with_an_age() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/5000/page";
        let first = stage.fetch(path).await;
        assert!(!first.is_hit(), "{}", first.cache_status());
        assert!(
            first.cache_status().contains("fwd="),
            "{}",
            first.cache_status()
        );
        let second = stage.fetch(path).await;
        assert!(second.is_hit(), "{}", second.cache_status());
        let age: u64 = second.field("age").unwrap().parse().unwrap();
        assert!(age <= 60, "{age}");
        assert!(
            second.cache_status().starts_with("lon1"),
            "{}",
            second.cache_status()
        );
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn twenty_clients_at_once_make_one_fetch_on_each_node() {
    run(async {
        let stage = Stage::new().await;
        let path = "/slow";
        stage.origin.on(
            path,
            Reply::content(path, 1, 200_000)
                .cache_control("max-age=600")
                .head_after(Duration::from_millis(150))
                .in_pieces(10, Duration::from_millis(20)),
        );
        let asks = stage
            .lab
            .nodes()
            .iter()
            .flat_map(|node| (0..20).map(|_| node.get(&stage.host, path).send()));
        for got in join_all(asks).await {
            assert_eq!(got.content_fault(path), None, "{}", got.cache_status());
        }
        let fetches = stage.origin.asked_for(path);
        assert!(fetches <= stage.lab.nodes().len(), "{fetches} fetches");
    });
}

#[test]
fn a_follower_receives_bytes_as_they_arrive() {
    run(async {
        let stage = Stage::new().await;
        let path = "/long";
        let every = Duration::from_millis(100);
        stage.origin.on(
            path,
            Reply::content(path, 1, 300_000)
                .cache_control("max-age=600")
                .in_pieces(15, every),
        );
        let leads = stage.get(path).send();
        let follows = async {
            tokio::time::sleep(every * 4).await;
            stage.get(path).send().await
        };
        let (first, second) = futures_util::join!(leads, follows);
        assert_eq!(first.content_fault(path), None);
        assert_eq!(second.content_fault(path), None);
        assert!(
            second.head_after < every * 4,
            "the head came only after {:?}",
            second.head_after
        );
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn each_variant_is_kept_beside_the_others() {
    run(async {
        let stage = Stage::new().await;
        let path = "/greeting";
        stage.origin.script(path, |seen| {
            let language = seen.field("accept-language").unwrap_or_default();
            Reply::new(format!("greeting in {language}"))
                .cache_control("max-age=600")
                .field("vary", "Accept-Language")
        });
        for hit in [false, true] {
            for language in ["de", "fr"] {
                let got = stage
                    .get(path)
                    .field("accept-language", language)
                    .send()
                    .await;
                assert_eq!(got.body, format!("greeting in {language}"));
                assert_eq!(got.is_hit(), hit, "{language}: {}", got.cache_status());
            }
        }
        assert_eq!(stage.origin.asked_for(path), 2);
    });
}

#[test]
fn a_range_is_cut_from_the_stored_whole() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/300000/film";
        let whole = stage.fetch(path).await.body;
        let range = |range| stage.get(path).field("range", range).send();
        let got = range("bytes=1000-1999").await;
        assert_eq!(got.status, 206);
        assert_eq!(
            got.field("content-range").unwrap(),
            "bytes 1000-1999/300000"
        );
        assert_eq!(got.body, whole.slice(1000..2000));
        let got = range("bytes=-10").await;
        assert_eq!((got.status, got.body), (206, whole.slice(299_990..)));
        let got = range("bytes=300000-").await;
        assert_eq!(got.status, 416);
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn what_must_not_be_stored_is_asked_for_every_time() {
    run(async {
        let stage = Stage::new().await;
        for (path, rule) in [
            ("/no-store", "no-store"),
            ("/private", "private, max-age=600"),
            ("/zero", "max-age=0, must-revalidate"),
            ("/shared-zero", "s-maxage=0, max-age=600"),
        ] {
            stage
                .origin
                .on(path, Reply::new("fresh every time").cache_control(rule));
            for _ in 0..2 {
                let got = stage.get(path).send().await;
                assert_eq!((got.status, got.is_hit()), (200, false), "{path}");
            }
            assert_eq!(stage.origin.asked_for(path), 2, "{path}");
        }
    });
}

#[test]
fn head_is_answered_from_a_stored_get() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/7000/page";
        let got = stage.fetch(path).await;
        assert!(!got.is_hit());
        let head = nearside_tests::Request::new(http::Method::HEAD, &stage.host, path);
        let got = head.to(stage.node().http()).send().await;
        assert_eq!(got.status, 200);
        assert!(got.is_hit() && got.body.is_empty(), "{got:?}");
        assert_eq!(got.field("content-length").unwrap(), "7000");
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn a_cookie_is_stored_only_when_the_origin_says_so() {
    run(async {
        let stage = Stage::new().await;
        let cookie = |rule| {
            Reply::new("hello")
                .cache_control(rule)
                .field("set-cookie", "id=1")
        };
        stage.origin.on("/personal", cookie("max-age=600"));
        stage.origin.on("/meant", cookie("public, max-age=600"));
        for (path, hit) in [("/personal", false), ("/meant", true)] {
            stage.get(path).send().await;
            let got = stage.get(path).send().await;
            assert_eq!(got.is_hit(), hit, "{path}: {}", got.cache_status());
        }
    });
}

#[test]
fn a_rule_of_the_site_changes_lifetime_and_bypasses() {
    run(async {
        let more = "[cache]\nkey = { query_drop = [\"utm_*\"] }\n\
            [[rule]]\nmatch = { path = \"/assets/*\" }\nttl = \"30d\"\n\
            [[rule]]\nmatch = { path = [\"/cart/*\"] }\ncache = \"bypass\"\n";
        let stage = Stage::with(more).await;
        for path in ["/assets/a.js", "/cart/1"] {
            stage
                .origin
                .on(path, Reply::new("x").cache_control("max-age=0"));
        }
        stage
            .origin
            .on("/cart/2", Reply::new("x").cache_control("max-age=600"));
        for (path, hit) in [
            ("/assets/a.js", true),
            ("/cart/1", false),
            ("/cart/2", false),
        ] {
            stage.get(path).send().await;
            let got = stage.get(path).send().await;
            assert_eq!(got.is_hit(), hit, "{path}: {}", got.cache_status());
        }
        let one = stage.get("/c/100/x?utm_source=a").send().await;
        let other = stage.get("/c/100/x?utm_source=b").send().await;
        assert!(!one.is_hit() && other.is_hit(), "{}", other.cache_status());
    });
}

#[test]
fn a_body_larger_than_the_memory_tier_comes_whole_and_is_a_hit() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/40000000/large";
        let first = stage.fetch(path).await;
        assert!(!first.is_hit());
        let second = stage.fetch(path).await;
        assert!(second.is_hit(), "{}", second.cache_status());
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn a_body_that_broke_off_is_broken_for_the_client_and_never_stored() {
    run(async {
        let stage = Stage::new().await;
        let path = "/torn";
        let good = Reply::content(path, 1, 100_000).cache_control("max-age=600");
        for torn in [good.clone(), good.clone().chunked()] {
            stage.origin.on(
                path,
                torn.in_pieces(10, Duration::from_millis(5))
                    .break_after(60_000),
            );
            let got = stage.get(path).send().await;
            assert!(got.broken.is_some() || got.status >= 500, "{got:?}");
            stage.origin.on(path, good.clone());
            let got = stage.fetch(path).await;
            assert!(!got.is_hit(), "half a body was stored");
            let purged = stage.node().run(&["purge", &stage.url(path)]).await;
            purged.ok();
        }
    });
}

#[test]
fn an_unknown_host_is_misdirected() {
    run(async {
        let stage = Stage::new().await;
        let got = stage.node().get("nobody.example", "/").send().await;
        assert_eq!(got.status, 421, "{got:?}");
    });
}

#[test]
fn bodies_of_requests_stream_through() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.script("/upload", |seen| {
            Reply::new(nearside_tests::hash(&seen.body))
        });
        let body = content("upload", 1, 20_000_000);
        let got = nearside_tests::Request::new(http::Method::POST, &stage.host, "/upload")
            .to(stage.node().http())
            .body(body.clone())
            .send()
            .await;
        assert_eq!(got.body, nearside_tests::hash(&body), "{got:?}");
        assert!(!got.is_hit());
    });
}

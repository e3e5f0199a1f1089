//! What fields cross the proxy, towards the origin and back.

use nearside_tests::{Reply, Request, run};

use crate::stage::Stage;

#[test]
fn an_origin_learns_who_asked_and_through_whom() {
    run(async {
        let stage = Stage::new().await;
        stage
            .origin
            .on("/seen", Reply::new("ok").cache_control("no-store"));
        let got = stage
            .get("/seen")
            .from("203.0.113.9".parse().unwrap())
            .send()
            .await;
        assert_eq!(got.status, 200);
        let seen = &stage.origin.seen("/seen")[0];
        assert_eq!(seen.field("host").unwrap(), stage.host);
        assert!(
            seen.field("x-forwarded-for")
                .unwrap()
                .contains("203.0.113.9")
        );
        assert!(seen.field("forwarded").unwrap().contains("203.0.113.9"));
        assert!(seen.field("via").is_some());
        assert!(seen.field("cdn-loop").is_some());
        assert!(got.field("via").is_some());
    });
}

#[test]
fn a_client_that_nobody_trusts_cannot_choose_its_address() {
    run(async {
        let stage = Stage::new().await;
        stage
            .origin
            .on("/seen", Reply::new("ok").cache_control("no-store"));
        let got = stage
            .get("/seen")
            .source("127.0.0.77".parse().unwrap())
            .from("203.0.113.9".parse().unwrap())
            .field("forwarded", "for=203.0.113.10")
            .send()
            .await;
        assert_eq!(got.status, 200);
        let seen = &stage.origin.seen("/seen")[0];
        for name in ["x-forwarded-for", "forwarded"] {
            let said = seen.field(name).unwrap();
            assert!(
                said.contains("127.0.0.77") && !said.contains("203.0.113."),
                "{said}"
            );
        }
    });
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    run(async {
        let stage = Stage::new().await;
        let reply = Reply::new("ok")
            .cache_control("max-age=60")
            .field("connection", "x-private")
            .field("x-private", "1")
            .field("keep-alive", "timeout=9")
            .field("x-public", "1");
        stage.origin.on("/seen", reply);
        let got = stage
            .get("/seen")
            .field("connection", "x-mine")
            .field("x-mine", "1")
            .field("te", "trailers")
            .field("proxy-authorization", "Basic eA==")
            .field("x-yours", "1")
            .send()
            .await;
        assert!(
            got.field("x-private").is_none() && got.field("keep-alive").is_none(),
            "{got:?}"
        );
        assert_eq!(got.field("x-public").unwrap(), "1");
        let seen = &stage.origin.seen("/seen")[0];
        assert!(seen.field("x-mine").is_none() && seen.field("proxy-authorization").is_none());
        assert_eq!(seen.field("x-yours").unwrap(), "1");
    });
}

#[test]
fn every_spelling_of_a_path_is_one_object_to_cache_origin_and_purge() {
    run(async {
        let stage = Stage::new().await;
        for (spelled, plain) in [
            ("/c/./100/../100/~user", "/c/100/~user"),
            ("/c/100/%7euser/%c3%a9", "/c/100/~user/%C3%A9"),
            ("/c/100/%2f?q=%7E", "/c/100/%2F?q=~"),
        ] {
            let first = stage.get(spelled).send().await;
            assert_eq!(first.content_fault(plain), None, "{spelled}");
            for path in [plain, spelled] {
                assert!(stage.get(path).send().await.is_hit(), "{path}");
            }
            assert_eq!(stage.origin.asked_for(plain), 1, "{spelled}");
            stage.node().run(&["purge", &stage.url(spelled)]).await.ok();
            let after = stage.get(plain).send().await;
            assert!(!after.is_hit(), "a purge of {spelled} missed {plain}");
        }
        // Two slashes are not one, and a reserved character stays as it is.
        for path in ["/a//b", "/a%2Fb?x=1&&y"] {
            stage.get(path).send().await;
            assert_eq!(stage.origin.asked_for(path), 1, "{path}");
        }
    });
}

#[test]
fn fields_that_the_site_sets_reach_the_origin() {
    run(async {
        let stage = Stage::with("[headers.origin.set]\nX-Edge = \"yes\"\n").await;
        stage
            .origin
            .on("/seen", Reply::new("ok").cache_control("no-store"));
        let got = stage.get("/seen").field("x-edge", "forged").send().await;
        assert_eq!(got.status, 200);
        assert_eq!(
            stage.origin.seen("/seen")[0].field("x-edge").unwrap(),
            "yes"
        );
    });
}

#[test]
fn other_methods_pass_through() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.script("/thing", |seen| {
            Reply::new(format!("{} {}", seen.method, seen.body.len())).status(201)
        });
        for method in [http::Method::PUT, http::Method::DELETE, http::Method::PATCH] {
            let request = Request::new(method.clone(), &stage.host, "/thing");
            let got = request.to(stage.node().http()).body("12345").send().await;
            assert_eq!((got.status, got.body), (201, format!("{method} 5").into()));
        }
    });
}

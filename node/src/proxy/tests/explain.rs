//! What is told of a request is what becomes of it, and telling changes nothing.

use super::*;
use crate::proxy::{Explanation, Question};

fn question(url: &str, fields: &[(&str, &str)]) -> Question {
    let headers = fields.iter();
    Question {
        url: url.to_owned(),
        method: None,
        from: None,
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

impl Bed {
    async fn explain(&self, target: &str, fields: &[(&str, &str)]) -> Explanation {
        let question = question(&format!("http://shop.example{target}"), fields);
        self.proxy.explain(&question).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verdict_is_what_then_happens() {
    let settings = "[cache]\nkey = { cookies = [\"lang\"] }\n[[rule]]\nmatch = { path = \"/never\" }\ncache = \"bypass\"\n[[rule]]\nmatch = { path = \"/a\", status = 200 }\nttl = \"1h\"\n";
    let fields = &[
        ("vary", "accept-language"),
        ("cache-control", "max-age=0"),
        ("etag", "\"x\""),
    ];
    let bed = Bed::with(settings, always(200, fields, "abc")).await;
    let before = bed.explain("/a", &[]).await;
    assert_eq!(
        (before.verdict.as_str(), before.stored.is_none()),
        ("miss", true)
    );
    assert_eq!(before.waiting.len(), 1);
    assert_eq!(before.waiting[0].number, 2);
    assert_eq!(before.next[0].origin, "origin1");
    assert_eq!(bed.origin.count(), 0);

    let german = [("accept-language", "de"), ("cookie", "sid=1; lang=de")];
    bed.get_with("/a?x=%7e", &german).await;
    let told = bed.explain("/a?x=%7E", &german).await;
    assert_eq!(told.verdict, "hit", "{told:?}");
    assert_eq!(told.url, "http://shop.example/a?x=~");
    assert_eq!(told.purge_identity.as_deref(), Some("shop.example/a?x=~"));
    let key = told.key.unwrap();
    assert_eq!(key.apart, [("cookies".to_owned(), "lang=de".to_owned())]);
    let stored = told.stored.unwrap();
    assert_eq!(
        (stored.status, stored.body_bytes, stored.tier.as_str()),
        (200, 3, "memory")
    );
    assert!((3590..=3600).contains(&stored.ttl_s));
    assert_eq!(
        stored.variant,
        [("accept-language".to_owned(), Some("de".to_owned()))]
    );
    let ttl = told.in_force.iter().find(|said| said.key == "ttl").unwrap();
    assert_eq!((ttl.value.as_str(), ttl.rule.unwrap().number), ("1h", 2));
    assert_eq!(ttl.rule.unwrap().line, 10);

    let english = bed
        .explain("/a?x=~", &[("accept-language", "en"), german[1]])
        .await;
    assert!(
        english.verdict == "miss" && english.because.contains("other values"),
        "{english:?}"
    );
    let wants = bed
        .explain(
            "/a?x=~",
            &[german[0], german[1], ("cache-control", "no-cache")],
        )
        .await;
    assert_eq!(wants.verdict, "revalidate");
    let never = bed.explain("/never", &[]).await;
    assert_eq!((never.verdict.as_str(), never.key), ("bypass", None));
    let cached = bed
        .explain("/b", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(cached.verdict, "own");

    bed.purge("/a?x=~", true);
    let soft = bed.explain("/a?x=~", &german).await;
    assert_eq!(
        (soft.verdict.as_str(), soft.stored.unwrap().purge.as_str()),
        ("revalidate", "stale")
    );
    bed.purge("/a?x=~", false);
    let gone = bed.explain("/a?x=~", &german).await;
    assert_eq!(
        (gone.verdict.as_str(), gone.stored.unwrap().purge.as_str()),
        ("miss", "gone")
    );
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telling_counts_and_moves_nothing() {
    let settings =
        "[protect]\ndeny = [\"203.0.113.0/24\"]\nrate = { requests = \"1/h\", burst = 2 }\n";
    let bed = Bed::with(
        settings,
        always(200, &[("cache-control", "max-age=60")], "abc"),
    )
    .await;
    for _ in 0..5 {
        assert_eq!(bed.explain("/a", &[]).await.verdict, "miss");
    }
    let denied = Question {
        from: Some("203.0.113.9".parse().unwrap()),
        ..question("http://shop.example/a", &[])
    };
    let denied = bed.proxy.explain(&denied).await.unwrap();
    assert!(denied.because.starts_with("403"), "{denied:?}");
    // The client's two requests are still its own.
    assert_eq!(bed.get("/a").await.status, 200);
    assert_eq!(bed.get("/a").await.status, 200);
    assert_eq!(bed.get("/a").await.status, 429);
    assert_eq!(bed.origin.count(), 1);
    let other = bed
        .proxy
        .explain(&question("https://nobody.example/", &[]))
        .await
        .unwrap();
    assert!(other.because.starts_with("421") && other.site.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_said_to_be_none() {
    let bed = Bed::start(always(200, &[], "")).await;
    for (question, word) in [
        (question("ftp://shop.example/", &[]), "is not a URL"),
        (question("http:///a", &[]), "is not a URL"),
        (
            question("shop.example/a", &[("a b", "1")]),
            "is not a field name",
        ),
        (
            question("shop.example/a", &[("Host", "x")]),
            "the host is the URL's",
        ),
        (
            Question {
                method: Some("G T".to_owned()),
                ..question("shop.example/a", &[])
            },
            "is not a method",
        ),
    ] {
        let error = bed.proxy.explain(&question).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_turns_a_client_away_is_named() {
    let settings = "[[rule]]\nmatch = { path = \"/old\" }\nredirect = { to = \"/new\" }\n";
    let bed = Bed::with(settings, always(200, &[], "")).await;
    let told = bed.explain("/old", &[]).await;
    assert_eq!(told.verdict, "own");
    assert!(
        told.location
            .is_some_and(|location| location.ends_with("/new"))
    );
    let said = told
        .in_force
        .iter()
        .find(|said| said.key.starts_with("redirect"));
    assert_eq!(
        said.and_then(|said| said.rule).map(|rule| rule.number),
        Some(1)
    );
    assert_eq!(bed.origin.count(), 0);
}

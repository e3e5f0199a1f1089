//! The method QUERY.

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

fn query(fields: &[(&'static str, &'static str)], content: impl Into<Body>) -> Request<Body> {
    let method = Method::from_bytes(b"QUERY").unwrap();
    request(method, "/a", fields, content.into())
}

/// Says what it was asked.
fn echo() -> Script {
    script(|seen| {
        let fields = &[
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("accept-query", "application/json"),
        ];
        if seen.headers.contains_key("if-none-match") {
            return reply(304, fields, "");
        }
        let body = format!("{} {}", seen.method, String::from_utf8_lossy(&seen.body));
        reply(200, fields, body)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_told_apart_by_their_content() {
    let bed = Bed::start(echo()).await;
    for (content, hit) in [("{1}", false), ("{1}", true), ("{2}", false), ("{1}", true)] {
        let got = bed.send(query(&[JSON], content)).await;
        assert_eq!(got.text(), format!("QUERY {content}"));
        assert_eq!(
            got.cache_status().contains("hit"),
            hit,
            "{content}: {got:?}"
        );
        assert_eq!(got.field("accept-query"), "application/json");
    }
    assert_eq!(bed.origin.last().headers["content-length"], "3");
    let other = bed
        .send(query(&[("content-type", "text/plain")], "{1}"))
        .await;
    assert!(other.cache_status().contains("fwd=miss"), "{other:?}");
    // Neither GET nor HEAD is answered by them, nor they by those.
    assert_eq!(bed.get("/a").await.text(), "GET ");
    let empty = bed.send(query(&[JSON], Body::Empty)).await;
    assert_eq!(empty.text(), "QUERY ");
    let had = bed
        .send(query(&[JSON, ("if-none-match", "\"a\"")], "{1}"))
        .await;
    assert_eq!(had.status, StatusCode::NOT_MODIFIED);
    assert_eq!(bed.origin.count(), 5);
    bed.purge("/a", false);
    let purged = bed.send(query(&[JSON], "{1}")).await;
    assert!(purged.cache_status().contains("fwd=miss"), "{purged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_read_in_pieces_and_collapsed() {
    let bed = Bed::start(echo()).await;
    let ask = async || {
        let (pieces, body) = by_hand();
        for piece in ["{", "1", "}"] {
            pieces.send(Ok(piece.into())).unwrap();
        }
        drop(pieces);
        bed.send(query(&[JSON], body)).await
    };
    let all = futures_util::future::join_all((0..10).map(|_| ask())).await;
    assert!(all.iter().all(|got| got.text() == "QUERY {1}"));
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_invalidates_nothing_and_writes_invalidate_queries() {
    let bed = Bed::start(echo()).await;
    bed.get("/a").await;
    bed.send(query(&[JSON], "{1}")).await;
    assert!(bed.get("/a").await.cache_status().contains("hit"));
    bed.send(request(Method::POST, "/a", &[], "x".into())).await;
    let got = bed.send(query(&[JSON], "{1}")).await;
    assert!(got.cache_status().contains("fwd=miss"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_query_is_asked_about_with_its_content() {
    let bed = Bed::start(echo()).await;
    bed.send(query(&[JSON], "{1}")).await;
    bed.purge("/a", true);
    let got = bed.send(query(&[JSON], "{1}")).await;
    assert_eq!(got.text(), "QUERY {1}");
    assert!(
        got.cache_status().contains("fwd=stale; fwd-status=304"),
        "{got:?}"
    );
    let last = bed.origin.last();
    assert_eq!(
        (last.method.as_str(), &last.body[..]),
        ("QUERY", &b"{1}"[..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_content_is_passed_through_uncached() {
    let bed = Bed::with("[cache]\nquery_content = \"4 B\"\n", echo()).await;
    for _ in 0..2 {
        let (pieces, body) = by_hand();
        for piece in ["abc", "def", "ghi"] {
            pieces.send(Ok(piece.into())).unwrap();
        }
        drop(pieces);
        let got = bed.send(query(&[JSON], body)).await;
        assert_eq!(got.text(), "QUERY abcdefghi");
        assert!(
            got.cache_status()
                .ends_with("fwd=bypass; fwd-status=200; detail=content"),
            "{got:?}"
        );
    }
    assert_eq!(bed.origin.count(), 2);
    let off = Bed::with("[cache]\nquery_content = \"0 B\"\n", echo()).await;
    for _ in 0..2 {
        assert_eq!(off.send(query(&[JSON], "{1}")).await.text(), "QUERY {1}");
    }
    assert_eq!(off.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_a_query_vary() {
    let bed = Bed::start(script(|seen| {
        let language = seen.headers["accept-language"].to_str().unwrap();
        let fields = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
        reply(200, fields, format!("in {language}"))
    }))
    .await;
    for hit in [false, true] {
        for language in ["de", "en"] {
            let got = bed
                .send(query(&[JSON, ("accept-language", language)], "{1}"))
                .await;
            assert_eq!(got.text(), format!("in {language}"));
            assert_eq!(got.cache_status().contains("hit"), hit, "{got:?}");
        }
    }
    assert_eq!(bed.origin.count(), 2);
}

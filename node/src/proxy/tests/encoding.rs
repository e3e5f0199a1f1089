//! Content codings, made here.

use http::header::VARY;

use super::*;
use crate::proxy::encode::decoded;

const HTML: &[(&str, &str)] = &[
    ("cache-control", "max-age=600"),
    ("content-type", "text/html; charset=utf-8"),
    ("etag", "\"one\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
];

/// Some KiB that compress well.
fn page() -> String {
    (0..400).fold(String::new(), |page, number| {
        page + &format!("<li class=item>number {number}</li>\n")
    })
}

fn pages(fields: &'static [(&'static str, &'static str)]) -> Script {
    script(move |_| reply(200, fields, page()))
}

fn accepting(target: &str, codings: &'static str) -> Request<Body> {
    get(target, &[("accept-encoding", codings)])
}

fn vary(got: &Got) -> Vec<&str> {
    let lines = got.headers.get_all(VARY).iter();
    lines.map(|line| line.to_str().unwrap()).collect()
}

impl Got {
    /// The body as a client reads it.
    fn decoded(&self) -> Vec<u8> {
        let bytes = self.body.as_ref().unwrap();
        match self.field("content-encoding") {
            "" => bytes.to_vec(),
            coding => decoded(coding, bytes),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_coding_is_made_once_and_kept() {
    let bed = Bed::start(pages(HTML)).await;
    for round in 0..3 {
        for codings in ["", "gzip", "br", "zstd", "gzip, deflate, br, zstd"] {
            let got = bed.send(accepting("/a", codings)).await;
            let coding = codings.rsplit(", ").next().unwrap();
            assert_eq!(got.field("content-encoding"), coding, "{codings}");
            assert_eq!(got.decoded(), page().into_bytes(), "{codings}");
            assert_eq!(vary(&got), ["Accept-Encoding"]);
            let encoded = !coding.is_empty();
            assert_eq!(
                got.field("etag"),
                if encoded { "W/\"one\"" } else { "\"one\"" }
            );
            assert_eq!(got.headers.contains_key("accept-ranges"), !encoded);
            if round > 0 {
                let length = got.body.as_ref().unwrap().len().to_string();
                assert_eq!(got.field("content-length"), length);
                assert!(got.cache_status().contains("; hit; ttl="), "{got:?}");
            }
        }
    }
    assert_eq!(bed.origin.count(), 1);
    assert_eq!(bed.proxy.metrics.encoded.get(), 3);
    assert_eq!(bed.origin.last().headers["accept-encoding"], "identity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_is_encoded_as_it_arrives() {
    let (script, mut given) = answers_by_hand(HTML);
    let bed = Bed::start(script).await;
    let mut response = bed.open(accepting("/a", "br")).await;
    let pieces = given.recv().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "br");
    assert!(!response.headers().contains_key("content-length"));
    pieces.send(Ok(Bytes::from_static(b"first "))).unwrap();
    // What came is not withheld until there is more of it.
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    let first = frame.into_data().unwrap();
    let joined = bed.open(accepting("/a", "br")).await;
    let plain = bed.open(get("/a", &[])).await;
    pieces.send(Ok(Bytes::from_static(b"second"))).unwrap();
    drop(pieces);
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(decoded("br", &[first, rest].concat()), b"first second");
    assert_eq!(collect(joined).await.decoded(), b"first second");
    assert_eq!(collect(plain).await.text(), "first second");
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_breaks_off_encoded() {
    let (script, mut given) = answers_by_hand(HTML);
    let bed = Bed::start(script).await;
    let response = bed.open(accepting("/a", "gzip")).await;
    let pieces = given.recv().await.unwrap();
    pieces.send(Ok(Bytes::from_static(b"first "))).unwrap();
    pieces
        .send(Err(BodyError::Upstream("gone".to_owned())))
        .unwrap();
    assert!(collect(response).await.body.is_err());
    bed.origin.now_does(pages(HTML));
    let got = bed.send(accepting("/a", "gzip")).await;
    assert_eq!(got.decoded(), page().into_bytes());
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_should_stay_as_it_is_does() {
    const NO_TRANSFORM: &[(&str, &str)] = &[
        ("cache-control", "max-age=600, no-transform"),
        ("content-type", "text/html"),
    ];
    const IMAGE: &[(&str, &str)] = &[
        ("cache-control", "max-age=600"),
        ("content-type", "image/png"),
    ];
    const ENCODED: &[(&str, &str)] = &[
        ("cache-control", "max-age=600"),
        ("content-type", "text/html"),
        ("content-encoding", "gzip"),
    ];
    for fields in [NO_TRANSFORM, IMAGE, ENCODED] {
        let bed = Bed::start(pages(fields)).await;
        for _ in 0..2 {
            let got = bed.send(accepting("/a", "gzip, br")).await;
            assert_eq!(got.text(), page(), "{fields:?}");
            assert_eq!(got.headers.get("vary"), None);
        }
        assert_eq!(bed.proxy.metrics.encoded.get(), 0);
    }
    let bed = Bed::start(always(200, HTML, "short")).await;
    let got = bed.send(accepting("/a", "gzip")).await;
    assert_eq!((got.text(), got.headers.get("vary")), ("short", None));
    // The client may forbid it too.
    let bed = Bed::start(pages(HTML)).await;
    let fields = [
        ("accept-encoding", "gzip"),
        ("cache-control", "no-transform"),
    ];
    let got = bed.get_with("/a", &fields).await;
    assert_eq!(
        (got.text(), vary(&got)),
        (&*page(), vec!["Accept-Encoding"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_of_the_bytes_as_they_are() {
    let bed = Bed::start(pages(HTML)).await;
    bed.send(accepting("/a", "gzip")).await;
    let fields = [("accept-encoding", "gzip"), ("range", "bytes=4-7")];
    let got = bed.get_with("/a", &fields).await;
    assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(got.text(), &page()[4..8]);
    assert_eq!(got.field("etag"), "\"one\"");
    assert_eq!(got.headers.get("content-encoding"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_conditions_speak_of_the_same_encoding() {
    let bed = Bed::start(pages(HTML)).await;
    // From the origin, without a body to encode.
    let head = || {
        request(
            Method::HEAD,
            "/a",
            &[("accept-encoding", "br")],
            Body::Empty,
        )
    };
    let got = bed.send(head()).await;
    assert_eq!(got.field("content-encoding"), "br");
    assert_eq!(
        (got.field("etag"), got.headers.get("content-length")),
        ("W/\"one\"", None)
    );
    bed.get("/a").await;
    // Stored, but in no coding yet.
    let got = bed.send(head()).await;
    assert_eq!(
        (got.field("etag"), got.headers.get("content-length")),
        ("W/\"one\"", None)
    );
    for tag in ["W/\"one\"", "\"one\"", "*"] {
        let got = bed
            .get_with("/a", &[("accept-encoding", "br"), ("if-none-match", tag)])
            .await;
        assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{tag}");
        assert_eq!(
            (got.field("etag"), vary(&got)),
            ("W/\"one\"", vec!["Accept-Encoding"])
        );
    }
    assert_eq!(bed.proxy.metrics.encoded.get(), 0);
    let whole = bed.send(accepting("/a", "br")).await;
    let got = bed.send(head()).await;
    let length = whole.body.unwrap().len().to_string();
    assert_eq!(
        (got.field("content-encoding"), got.field("content-length")),
        ("br", &*length)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encodings_come_and_go_with_their_response() {
    let bed = Bed::start(pages(HTML)).await;
    let gzip = || accepting("/a", "gzip");
    for _ in 0..2 {
        bed.send(gzip()).await;
    }
    // A purge reaches them all.
    bed.origin
        .now_does(script(|_| reply(200, HTML, page() + "more")));
    bed.purge("/a", false);
    for _ in 0..2 {
        let got = bed.send(gzip()).await;
        assert_eq!(got.decoded(), (page() + "more").into_bytes());
    }
    // A validation keeps them, with the fields that it brings.
    bed.origin.now_does(always(
        304,
        &[
            ("etag", "\"one\""),
            ("x-round", "2"),
            ("cache-control", "max-age=600"),
        ],
        "",
    ));
    let made = bed.proxy.metrics.encoded.get();
    bed.purge("/a", true);
    for fwd_or_hit in ["fwd=stale", "; hit"] {
        let got = bed.send(gzip()).await;
        assert!(got.cache_status().contains(fwd_or_hit), "{got:?}");
        assert_eq!(got.decoded(), (page() + "more").into_bytes());
        assert_eq!(
            (got.field("x-round"), got.field("etag")),
            ("2", "W/\"one\"")
        );
        assert_eq!(vary(&got), ["Accept-Encoding"]);
        assert!(got.headers.contains_key("content-length"));
    }
    assert_eq!(bed.origin.last().headers["if-none-match"], "\"one\"");
    assert_eq!(bed.proxy.metrics.encoded.get(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_encodes_by_itself_is_left_to_it() {
    const CHOSEN: &[(&str, &str)] = &[
        ("cache-control", "max-age=600"),
        ("content-type", "text/html"),
        ("vary", "Accept-Encoding"),
        ("content-encoding", "br"),
    ];
    let origin = script(|seen: &Seen| {
        let takes = |coding| {
            seen.headers
                .get("accept-encoding")
                .is_some_and(|field| field.to_str().unwrap().contains(coding))
        };
        match takes("br") {
            true => reply(200, CHOSEN, "as the origin encoded it"),
            false => reply(200, &CHOSEN[..3], page()),
        }
    });
    let bed = Bed::start(origin).await;
    for codings in ["gzip, deflate, br", "br;q=0.9, gzip", "gzip, br"] {
        let got = bed.send(accepting("/a", codings)).await;
        assert_eq!(got.text(), "as the origin encoded it");
        assert_eq!(vary(&got), ["Accept-Encoding"]);
    }
    assert_eq!(bed.origin.count(), 1);
    assert_eq!(bed.origin.last().headers["accept-encoding"], "gzip, br");
    // What it does not encode, we do.
    for _ in 0..2 {
        let got = bed.send(accepting("/a", "gzip")).await;
        assert_eq!(
            (got.field("content-encoding"), vary(&got)),
            ("gzip", vec!["Accept-Encoding"])
        );
        assert_eq!(got.decoded(), page().into_bytes());
    }
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_stored_is_encoded_on_its_way() {
    const PRIVATE: &[(&str, &str)] = &[
        ("cache-control", "private"),
        ("content-type", "application/json"),
        ("etag", "\"one\""),
    ];
    let bed = Bed::start(pages(PRIVATE)).await;
    for round in 1..3 {
        for method in [Method::GET, Method::POST] {
            let fields = [("accept-encoding", "zstd")];
            let got = bed.send(request(method, "/a", &fields, Body::Empty)).await;
            assert_eq!(got.field("content-encoding"), "zstd");
            assert_eq!(
                (got.field("etag"), vary(&got)),
                ("W/\"one\"", vec!["Accept-Encoding"])
            );
            assert_eq!(got.headers.get("content-length"), None);
            assert_eq!(got.decoded(), page().into_bytes());
        }
        assert_eq!(bed.proxy.metrics.encoded.get(), round * 2);
    }
    let plain = bed.get("/a").await;
    assert_eq!(
        (plain.text(), vary(&plain)),
        (&*page(), vec!["Accept-Encoding"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_encodings_at_once_are_not_made() {
    let bed = Bed::start(pages(HTML)).await;
    bed.get("/a").await;
    let all = bed.proxy.encoders.exhaust();
    for target in ["/a", "/b"] {
        let got = bed.send(accepting(target, "gzip")).await;
        assert_eq!(
            (got.text(), vary(&got)),
            (&*page(), vec!["Accept-Encoding"])
        );
        assert!(
            got.cache_status().ends_with("; detail=encoders-busy"),
            "{got:?}"
        );
        assert_eq!(got.field("etag"), "\"one\"");
    }
    assert_eq!(bed.proxy.metrics.encoders_busy.get(), 2);
    drop(all);
    let got = bed.send(accepting("/a", "gzip")).await;
    assert_eq!(got.field("content-encoding"), "gzip");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_larger_than_memory_keeps_whole_are_encoded_too() {
    // 1/64 of the bed's memory is 1 MiB; this is 3, in pieces of all sizes.
    let whole: String = (0..120_000)
        .map(|number| format!("{:x} lorem ipsum\n", number * 7919))
        .collect();
    let body = whole.clone();
    let bed = Bed::start(script(move |_| reply(200, HTML, body.clone()))).await;
    for codings in ["gzip", "br", "zstd", "gzip"] {
        let got = bed.send(accepting("/a", codings)).await;
        assert_eq!(got.field("content-encoding"), codings);
        assert!(got.decoded() == whole.as_bytes(), "{codings}");
    }
    assert_eq!(bed.origin.count(), 1);
}

//! A hit in memory is answered without waiting (`Proxy::hit`), and must say what the way that waits says.

use std::time::{Instant, SystemTime};

use super::*;
use crate::exchange::{PlainHead, RawField};
use crate::observe::access::Form;
use crate::proxy::admit::Ask;
use crate::proxy::answer::Answered;
use crate::proxy::cache_control::CacheControl;
use crate::proxy::conditions;
use crate::proxy::headers::Choosing;

const STORED: &[(&str, &str)] = &[
    ("cache-control", "public, max-age=600"),
    ("content-type", "text/plain"),
    ("etag", "\"one\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("via", "1.1 before"),
    ("cache-status", "before; hit"),
    ("age", "7"),
    ("x-own", "1"),
    ("x-own", "2"),
];

fn ask(bed: &Bed, request: Request<Body>) -> Ask {
    let (parts, _) = request.into_parts();
    let view = bed.proxy.views.load();
    let times = (Instant::now(), SystemTime::now());
    bed.proxy
        .admit(&view, Arc::new(client()), parts, times)
        .unwrap()
}

/// What the fields found let us skip says what it says of a request without fields.
#[test]
fn fields_that_are_not_found_choose_nothing() {
    for (fields, _) in ROWS {
        let request = get("/a", fields);
        let headers = request.headers();
        let found = Choosing::of(headers);
        let directives = CacheControl::of_request(headers) != CacheControl::default();
        assert_eq!(found.directives, directives, "{fields:?}");
        let has = |name: &str| headers.contains_key(name);
        assert_eq!(found.range, has("range"));
        assert_eq!(found.connection, has("connection"));
        let conditions =
            conditions::needs_origin(headers) || has("if-none-match") || has("if-modified-since");
        assert_eq!(found.conditions, conditions, "{fields:?}");
    }
    let looped = get("/a", &[("cdn-loop", "nearside-test")]);
    assert!(Choosing::of(looped.headers()).cdn_loop);
}

async fn told((response, passage): Answered) -> (String, Got) {
    (format!("{passage:?}"), collect(response).await)
}

/// Multipart boundaries are random.
fn without_boundary(got: &Got) -> String {
    let text = format!("{got:?}");
    match text.split_once("boundary=") {
        Some((_, rest)) => {
            let boundary: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            text.replace(&boundary, "B")
        }
        None => text,
    }
}

/// The fields of a request, and whether it is answered without waiting.
type Row<'a> = (&'a [(&'static str, &'static str)], bool);

const ROWS: &[Row<'static>] = &[
    (&[], true),
    (&[("connection", "Keep-Alive")], true),
    (&[("connection", "close"), ("te", "trailers")], true),
    (&[("accept", "*/*"), ("cookie", "a=b")], true),
    (&[("authorization", "Basic YTpi")], true),
    (&[("if-none-match", "\"one\"")], true),
    (&[("if-none-match", "W/\"one\", \"two\"")], true),
    (&[("if-none-match", "\"two\"")], true),
    (&[("if-none-match", "*")], true),
    (
        &[
            ("if-none-match", "\"two\""),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ],
        true,
    ),
    (
        &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        true,
    ),
    (
        &[("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")],
        true,
    ),
    (&[("range", "bytes=1-2")], true),
    (&[("range", "bytes=-3")], true),
    (&[("range", "bytes=0-1,4-5")], true),
    (&[("range", "bytes=100-")], true),
    (&[("range", "bytes=1-2"), ("if-range", "\"one\"")], true),
    (&[("range", "bytes=1-2"), ("if-range", "\"two\"")], true),
    (&[("cache-control", "max-age=60")], true),
    (&[("cache-control", "max-age=1")], false),
    (&[("cache-control", "min-fresh=60")], true),
    (&[("cache-control", "min-fresh=100000")], false),
    (&[("cache-control", "max-stale")], true),
    (&[("cache-control", "only-if-cached")], true),
    (&[("cache-control", "no-cache")], false),
    (&[("cache-control", "no-store")], true),
    (&[("pragma", "no-cache")], false),
    (&[("if-match", "\"one\"")], false),
    (
        &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        false,
    ),
    (
        &[
            ("connection", "cache-control"),
            ("cache-control", "no-cache"),
        ],
        true,
    ),
];

/// Sites in which a hit has more to look at.
const SETTINGS: &[&str] = &[
    "",
    "[[rule]]\nmatch = { path = \"/a*\" }\nttl = \"2h\"\n",
    "[[rule]]\nmatch = { header = { X-None = false }, method = [\"GET\", \"HEAD\"] }\nttl = \"2h\"\n[[rule]]\nmatch = { content_type = \"text/*\" }\nttl_min = \"1h\"\n",
    "[cache]\nttl_max = \"30m\"\n[[rule]]\nmatch = { status = 200, path = \"/a\" }\nttl_min = \"10m\"\n",
    "[cache]\nkey = { query_sort = true, headers = [\"X-Tenant\"], cookies = [\"lang\"], device = true, country = true }\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_to_a_hit_say_the_same() {
    let long: &'static str = "0123456789".repeat(100).leak();
    let gzip = ("accept-encoding", "gzip, deflate");
    let plain = SETTINGS
        .iter()
        .map(|settings| (*settings, "0123456789", None));
    let encoded = [
        ("", "0123456789", Some(gzip)),
        ("", long, None),
        ("", long, Some(gzip)),
    ];
    for (settings, body, codings) in plain.chain(encoded) {
        let bed = Bed::with(settings, always(200, STORED, body)).await;
        let first: Vec<_> = codings.into_iter().collect();
        bed.get_with("/a?b=1", &first).await;
        for (fields, at_once) in ROWS {
            let fields: Vec<_> = fields.iter().copied().chain(codings).collect();
            for method in [Method::GET, Method::HEAD] {
                let request = || request(method.clone(), "/%61?b=1", &fields, Body::Empty);
                let ask = ask(&bed, request());
                let hit = bed.proxy.hit(&ask, &Body::Empty);
                assert_eq!(hit.is_some(), *at_once, "{settings} {method} {fields:?}");
                let Some(hit) = hit else { continue };
                let (passage, got) = told(hit).await;
                let waited = bed.proxy.answer(&Arc::new(ask), Body::Empty, 0).await;
                let (passage_waited, got_waited) = told(waited).await;
                assert_eq!(passage, passage_waited, "{method} {fields:?}");
                let both = [&got, &got_waited].map(without_boundary);
                assert_eq!(both[0], both[1], "{method} {fields:?}");
                assert_eq!(got.headers.get_all("via").iter().count(), 2);
                assert_eq!(got.headers.get_all("cache-status").iter().count(), 2);
                assert_eq!(got.headers.get_all("age").iter().count(), 1);
            }
        }
        assert_eq!(bed.origin.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hit_in_memory_waits() {
    let bed = Bed::start(always(200, STORED, "0123456789")).await;
    let at_once = |request: Request<Body>| {
        let ask = ask(&bed, request);
        bed.proxy.hit(&ask, &Body::Empty).is_some()
    };
    assert!(!at_once(get("/a", &[])));
    bed.get("/a").await;
    assert!(at_once(get("/a", &[])));
    assert!(!at_once(request(Method::POST, "/a", &[], Body::Empty)));
    let asked = ask(&bed, get("/a", &[]));
    assert!(bed.proxy.hit(&asked, &Body::from("content")).is_none());
    bed.purge("/a", true);
    assert!(!at_once(get("/a", &[])));
    bed.get("/a").await;
    assert!(at_once(get("/a", &[])));
    bed.purge("/a", false);
    assert!(!at_once(get("/a", &[])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variant_at_the_primary_key_is_a_hit_for_its_own_readers() {
    let fields = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let bed = Bed::start(always(200, fields, "deutsch")).await;
    let german = || get("/a", &[("accept-language", "de")]);
    bed.send(german()).await;
    let hit = |request| bed.proxy.hit(&ask(&bed, request), &Body::Empty).is_some();
    assert!(hit(german()));
    assert!(!hit(get("/a", &[("accept-language", "en")])));
    assert!(!hit(get("/a", &[])));
}

/// The head and content of an answer at once, as a client reads them.
async fn at_once(bed: &Bed, target: &str, fields: &[(&str, &str)]) -> Option<Got> {
    let raw: Vec<RawField<'_>> = fields
        .iter()
        .map(|(name, value)| RawField {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let head = PlainHead {
        target,
        host: "Shop.Example",
        fields: &raw,
    };
    let mut out = Vec::new();
    let body = bed.proxy.at_once(&client(), &head, &mut out);
    let Some(body) = body else {
        assert!(out.is_empty());
        return None;
    };
    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut room);
    let end = parsed.parse(&out).unwrap();
    assert_eq!(end, httparse::Status::Complete(out.len()));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(parsed.code.unwrap()).unwrap();
    for field in parsed.headers.iter() {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(field.value).unwrap();
        response.headers_mut().append(name, value);
    }
    Some(collect(response).await)
}

fn sorted(got: &Got) -> String {
    let mut fields: Vec<String> = got
        .headers
        .iter()
        .map(|field| format!("{field:?}"))
        .collect();
    fields.sort();
    format!("{} {:?} {fields:?}", got.status, got.body)
}

/// Settings, and how many of the rows are answered in the shortest way. Nine are those without fields, with fields that
/// choose nothing, If-None-Match and If-Modified-Since.
const THIRD_WAY: &[(&str, usize)] = &[
    ("", 10),
    ("[[rule]]\nmatch = { path = \"/a\" }\nttl = \"2h\"\n", 10),
    (
        "[[rule]]\nmatch = { path = \"/a*\", method = \"GET\" }\nttl = \"2h\"\n[[rule]]\nttl_max = \"1h\"\n",
        10,
    ),
    (
        "[[rule]]\nmatch = { status = 200, content_type = \"text/*\" }\nttl = \"3h\"\n",
        10,
    ),
    (
        "[[rule]]\nmatch = { path = \"/b\" }\ncache = \"bypass\"\n",
        10,
    ),
    ("[[rule]]\ncache = \"standard\"\n", 0),
    (
        "[[rule]]\nmatch = { header = { X-None = true } }\nttl = \"2h\"\n",
        0,
    ),
    (
        "[[rule]]\nmatch = { path = \"/b\" }\nkey = { device = true }\n",
        10,
    ),
    ("[cache]\nkey = { device = true }\n", 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_way_to_a_hit_says_the_same() {
    for (settings, answers) in THIRD_WAY {
        let bed = Bed::with(settings, always(200, STORED, "0123456789")).await;
        bed.get("/a?b=1").await;
        let mut answered = 0;
        for (fields, _) in ROWS {
            let Some(got) = at_once(&bed, "/a?b=1", fields).await else {
                continue;
            };
            answered += 1;
            let ask = ask(&bed, get("/a?b=1", fields));
            let (_, expected) = told(bed.proxy.hit(&ask, &Body::Empty).unwrap()).await;
            assert_eq!(sorted(&got), sorted(&expected), "{settings} {fields:?}");
        }
        assert_eq!(answered, *answers, "{settings}");
    }
    let bed = Bed::start(always(200, STORED, "0123456789")).await;
    bed.get("/a?b=1").await;
    for target in ["/%61?b=1", "/x/../a?b=1", "/b", "/a", "*"] {
        assert!(at_once(&bed, target, &[]).await.is_none(), "{target}");
    }
    bed.purge("/a?b=1", true);
    assert!(at_once(&bed, "/a?b=1", &[]).await.is_none());
    bed.get("/a?b=1").await;
    assert!(at_once(&bed, "/a?b=1", &[]).await.is_some());
    bed.purge("/a?b=1", false);
    assert!(at_once(&bed, "/a?b=1", &[]).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_with_settings_of_its_own_is_not_answered_at_once() {
    for settings in [
        "[[rule]]\nmatch = { header = { X-None = false } }\nttl = \"2h\"\n",
        "[protect]\nrate = { requests = \"1000/s\", burst = 1000 }\n",
        "[protect]\ndeny = [\"198.51.100.0/24\"]\n",
        "[protect]\ndeny = [\"country:XX\"]\n",
    ] {
        let bed = Bed::with(settings, always(200, STORED, "0123456789")).await;
        bed.get("/a").await;
        assert!(at_once(&bed, "/a", &[]).await.is_none(), "{settings}");
        let asked = ask(&bed, get("/a", &[]));
        assert!(bed.proxy.hit(&asked, &Body::Empty).is_some(), "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_whole_fresh_200_that_was_chosen_by_the_request_is_answered_at_once() {
    let fields = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let bed = Bed::start(always(200, fields, "deutsch")).await;
    let german = [("accept-language", "de")];
    bed.send(get("/a", &german)).await;
    let shouted = [("Accept-Language", "DE")];
    assert!(at_once(&bed, "/a", &shouted).await.is_some());
    assert!(
        at_once(&bed, "/a", &[("accept-language", "en")])
            .await
            .is_none()
    );
    assert!(at_once(&bed, "/a", &[]).await.is_none());
    for (status, control) in [(404, "max-age=60"), (200, "max-age=0"), (200, "no-store")] {
        let fields: &[(&str, &str)] = match control {
            "no-store" => &[("cache-control", "no-store")],
            "max-age=0" => &[("cache-control", "max-age=0")],
            _ => &[("cache-control", "max-age=60")],
        };
        let bed = Bed::start(always(status, fields, "x")).await;
        bed.get("/a").await;
        assert!(
            at_once(&bed, "/a", &[]).await.is_none(),
            "{status} {control}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_encoded_is_answered_at_once_to_who_takes_it_as_it_is() {
    const LONG: &str = include_str!("hits.rs");
    for (content_type, encodable) in [("text/plain", true), ("image/png", false)] {
        let fields: &'static [(&str, &str)] = match encodable {
            true => &[
                ("cache-control", "max-age=60"),
                ("content-type", "text/plain"),
            ],
            false => &[
                ("cache-control", "max-age=60"),
                ("content-type", "image/png"),
            ],
        };
        let bed = Bed::start(always(200, fields, LONG)).await;
        bed.get("/a").await;
        assert!(at_once(&bed, "/a", &[]).await.is_some(), "{content_type}");
        let taker = at_once(&bed, "/a", &[("Accept-Encoding", "gzip")]).await;
        assert_eq!(taker.is_none(), encodable, "{content_type}");
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_tells_of_all_ways_the_same() {
    let mut bed = Bed::start(always(200, STORED, "0123456789")).await;
    bed.get("/a?token=1").await;
    let output = Written::default();
    let (log, writer) = AccessLog::start(Form::Json, output.clone()).unwrap();
    // The fill has a hold on the proxy for a moment longer than its reader.
    eventually("the fill's end", || Arc::strong_count(&bed.proxy) == 1).await;
    Arc::get_mut(&mut bed.proxy).unwrap().access = log;
    for fields in [&[][..], &[("if-none-match", "\"one\"")]] {
        let host_as_sent = "shop.example";
        let request = get("/a?token=1", fields);
        assert_eq!(request.headers()["host"], host_as_sent);
        bed.send(request).await;
        assert!(at_once(&bed, "/a?token=1", fields).await.is_some());
    }
    drop(bed);
    writer.join().unwrap();
    let text = String::from_utf8(output.0.lock().clone()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = line.as_object_mut().unwrap();
            for passing in ["time", "first_byte_ms", "duration_ms", "request_id", "host"] {
                assert!(fields.remove(passing).is_some(), "{passing}");
            }
            line
        })
        .collect();
    let told = |status: u16| {
        let of_status = |line: &&serde_json::Value| line["status"] == status;
        lines.iter().filter(of_status).collect::<Vec<_>>()
    };
    for status in [200, 304] {
        let told = told(status);
        assert_eq!(told.len(), 2, "{text}");
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0]["cache"], "hit");
        assert_eq!(told[0]["path"], "/a?token=REDACTED");
    }
}

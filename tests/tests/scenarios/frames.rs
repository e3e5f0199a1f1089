//! HTTP/2, frame by frame at a real listener: what RFC 9113 does not allow, and what would become another request once
//! it is written as HTTP/1.1. The origin behind it reads to the letter.

use std::time::Duration;

use nearside_tests::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameClient, HEADERS, PING, RST_STREAM, SETTINGS,
    StreamEnd, WINDOW_UPDATE, block, frame,
};
use nearside_tests::places::LONDON;
use nearside_tests::{Lab, Plan, StrictOrigin, run};

use crate::stage::site_file;

const HOST: &str = "frames.example";

struct Scene {
    lab: Lab,
    origin: StrictOrigin,
}

impl Scene {
    async fn new() -> Self {
        let plan = Plan::new(&[("lon1", LONDON)])
            .certificate("frames", &[HOST])
            .section(
                "[limits]\nhead_timeout = \"2s\"\nprogress_timeout = \"2s\"\nidle_timeout = \"3s\"",
            );
        let lab = Lab::start(plan).await;
        let origin = StrictOrigin::start().await;
        let site = site_file("frames", HOST, &[&origin.url()], "");
        lab.apply("site", "frames", &site).await;
        Self { lab, origin }
    }

    async fn open(&self) -> FrameClient {
        let address = self.lab.node("lon1").https();
        FrameClient::open(address, HOST, &self.lab.authority)
            .await
            .unwrap()
    }

    /// What one request with these fields, and perhaps content, comes to.
    async fn ask(&self, fields: &[(&str, &str)], content: Option<&str>) -> StreamEnd {
        let mut client = self.open().await;
        client.headers(1, content.is_none(), fields).await;
        if let Some(content) = content {
            client.send(DATA, END_STREAM, 1, content.as_bytes()).await;
        }
        client.end_of(1).await
    }

    /// The targets that the origin was asked for since the last look.
    fn asked(&self) -> Vec<String> {
        let seen = self.origin.take();
        seen.into_iter().map(|seen| seen.target).collect()
    }
}

/// An ordinary request, with what is to be changed changed, and what is to be added added.
fn get<'a>(change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/p"),
    ];
    for (name, value) in change {
        match fields.iter_mut().find(|(there, _)| there == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

/// The same without one of its fields.
fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    let mut fields = get(&[]);
    fields.retain(|(there, _)| *there != name);
    fields
}

fn refused(end: &StreamEnd) -> bool {
    match end {
        StreamEnd::Answered(statuses, _) => {
            let refusals = [400, 405, 421, 431];
            statuses.len() == 1 && refusals.contains(&statuses[0])
        }
        StreamEnd::Reset(code) => *code != 0,
        StreamEnd::Closed(code) => code.is_some_and(|code| code != 0),
    }
}

#[test]
fn fields_that_are_none_in_http2_are_refused() {
    run(async {
        let scene = Scene::new().await;
        let mut shapes = vec![];
        for value in ["a\r\nB: c", "a\nb", "a\rb", "a\0b", "a\u{1}b", "a\u{7f}b"] {
            shapes.push(get(&[("x", value)]));
        }
        for name in [
            "x\r\nb", "x:b", "x b", "x ", " x", "X", "", "x\0", "x\u{e9}", "x\tb", ":x", ":status",
        ] {
            shapes.push(get(&[(name, "1")]));
        }
        let smuggled = "/p HTTP/1.1\r\nHost: frames.example\r\n\r\nGET /smuggled";
        for (name, value) in [
            (":path", smuggled),
            (":path", "/a b"),
            (":path", "/a\0"),
            (":path", ""),
            (":path", "p"),
            (":path", "*"),
            (":path", "?a"),
            (":path", "http://frames.example/p"),
            (":method", "GET /smuggled HTTP/1.1\r\nX: y\r\n\r\nGET"),
            (":method", ""),
            (":method", "G T"),
            (":method", "CONNECT"),
            (":authority", "frames.example\r\nX: y"),
            (":authority", "user@frames.example"),
            (":authority", "frames.example/x"),
            (":authority", "frames.example, b"),
            (":authority", ""),
            (":scheme", "https\r\nX: y"),
            (":scheme", "https://frames.example/smuggled?"),
            (":scheme", "ftp"),
            (":scheme", ""),
        ] {
            shapes.push(get(&[(name, value)]));
        }
        for name in [":method", ":scheme", ":authority", ":path"] {
            shapes.push(without(name));
            // Twice, and behind an ordinary field.
            let mut twice = get(&[]);
            let again = *twice.iter().find(|(there, _)| *there == name).unwrap();
            twice.push(again);
            shapes.push(twice);
            let mut late = without(name);
            late.push(("x", "y"));
            late.push(again);
            shapes.push(late);
        }
        for (name, value) in [
            ("connection", "close"),
            ("connection", "x"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "identity"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("host", "evil.example"),
            ("content-length", "5"),
            ("content-length", "-1"),
            ("content-length", "x"),
        ] {
            shapes.push(get(&[(name, value)]));
        }
        let mut connect = get(&[(":method", "CONNECT")]);
        connect.insert(1, (":protocol", "websocket"));
        shapes.push(connect);
        let mut hosts = get(&[("host", HOST)]);
        hosts.push(("host", "b"));
        shapes.push(hosts);
        let mut wrong = Vec::new();
        for shape in &shapes {
            let end = scene.ask(shape, None).await;
            if !refused(&end) {
                wrong.push(format!("{shape:?}: {end:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(scene.asked(), [""; 0]);
        assert_eq!(scene.origin.faults(), [""; 0]);
    });
}

#[test]
fn lengths_and_trailers_of_http2_frame_nothing_behind_it() {
    run(async {
        let scene = Scene::new().await;
        let post = |more: &[(&'static str, &'static str)]| {
            let mut fields = get(&[(":method", "POST")]);
            fields.extend(more);
            fields
        };
        let behind = "GET /smuggled HTTP/1.1\r\nHost: frames.example\r\n\r\n";
        for (fields, content) in [
            (post(&[("content-length", "0")]), behind),
            (post(&[("content-length", "3")]), "hello"),
            (post(&[("content-length", "10")]), "hello"),
            (
                post(&[("content-length", "5"), ("content-length", "6")]),
                "hello",
            ),
            (post(&[("content-length", "+5")]), "hello"),
            (post(&[("content-length", "5, 5")]), "hello"),
            (post(&[("content-length", "5 ")]), "hello"),
            (
                post(&[("transfer-encoding", "chunked")]),
                "0\r\n\r\nGET /smuggled",
            ),
        ] {
            let end = scene.ask(&fields, Some(content)).await;
            // What does not fit is found out while the content comes: the origin's request breaks off.
            let whole =
                matches!(&end, StreamEnd::Answered(statuses, _) if statuses.last() == Some(&200));
            assert!(!whole, "{fields:?}: {end:?}");
            assert_eq!(scene.asked(), [""; 0], "{fields:?}");
        }
        // Trailers: pseudo ones and those that frame or route end here, those of a connection are an error.
        for (trailers, seen) in [
            (
                &[
                    ("x-sum", "1"),
                    ("content-length", "3"),
                    ("host", "evil"),
                    ("cookie", "a"),
                ][..],
                true,
            ),
            (&[(":path", "/smuggled")][..], true),
            (&[(":method", "GET"), ("x", "y")][..], true),
            (&[("transfer-encoding", "chunked")][..], false),
            (&[("connection", "close")][..], false),
            (&[("x", "a\r\nb")][..], false),
        ] {
            let mut client = scene.open().await;
            client.headers(1, false, &post(&[])).await;
            client.send(DATA, 0, 1, b"hello").await;
            client.headers(1, true, trailers).await;
            let end = client.end_of(1).await;
            let whole =
                matches!(&end, StreamEnd::Answered(statuses, _) if statuses.last() == Some(&200));
            assert_eq!(whole, seen, "{trailers:?}: {end:?}");
            let asked: Vec<_> = scene.origin.take();
            assert_eq!(asked.len(), usize::from(seen), "{trailers:?}: {asked:?}");
            assert!(asked.iter().all(|asked| asked.content == b"hello"));
        }
        assert_eq!(scene.origin.faults(), [""; 0]);
    });
}

#[test]
fn what_http2_allows_reaches_the_origin_as_one_request_of_http1() {
    run(async {
        let scene = Scene::new().await;
        let mut cookies = get(&[("cookie", "a=1")]);
        cookies.push(("cookie", "b=2"));
        for (fields, target) in [
            (get(&[]), "/p"),
            (get(&[("te", "trailers")]), "/p"),
            (get(&[("host", HOST)]), "/p"),
            (get(&[(":path", "/p?q#frag")]), "/p?q"),
            (get(&[(":scheme", "http")]), "/p"),
            (get(&[(":path", "*"), (":method", "OPTIONS")]), "*"),
            (get(&[("content-length", "0")]), "/p"),
            (get(&[("x_forwarded_for", "1.2.3.4")]), "/p"),
            (cookies, "/p"),
        ] {
            let end = scene.ask(&fields, None).await;
            assert_eq!(
                end,
                StreamEnd::Answered(vec![200], b"ok".to_vec()),
                "{fields:?}"
            );
            let seen = scene.origin.take();
            assert_eq!(seen.len(), 1, "{fields:?}");
            assert_eq!(seen[0].target, target, "{fields:?}");
            assert_eq!(seen[0].field("host"), Some(HOST));
            if fields.iter().any(|(name, _)| *name == "cookie") {
                assert_eq!(seen[0].field("cookie"), Some("a=1; b=2"));
            }
        }
        // Without an authority, Host is in its place.
        let mut fields = without(":authority");
        fields.push(("host", HOST));
        let end = scene.ask(&fields, None).await;
        assert_eq!(end, StreamEnd::Answered(vec![200], b"ok".to_vec()));
        assert_eq!(scene.asked(), ["/p"]);
        assert_eq!(scene.origin.faults(), [""; 0]);
    });
}

#[test]
fn an_upload_that_is_reset_never_looks_whole() {
    run(async {
        let scene = Scene::new().await;
        // NO_ERROR, CANCEL, REFUSED_STREAM, INTERNAL_ERROR.
        for code in [0_u32, 8, 7, 2] {
            for length in [None, Some(("content-length", "10"))] {
                let mut client = scene.open().await;
                let mut fields = get(&[(":method", "POST"), (":path", "/upload")]);
                fields.extend(length);
                client.headers(1, false, &fields).await;
                client.send(DATA, 0, 1, b"hello").await;
                // The origin may have seen the beginning by now, or not.
                tokio::time::sleep(Duration::from_millis(50)).await;
                client.send(RST_STREAM, 0, 1, &code.to_be_bytes()).await;
                client.headers(3, true, &get(&[])).await;
                let end = client.end_of(3).await;
                assert_eq!(
                    end,
                    StreamEnd::Answered(vec![200], b"ok".to_vec()),
                    "{code}"
                );
            }
        }
        // Nor one whose connection ends.
        let mut client = scene.open().await;
        client
            .headers(1, false, &get(&[(":method", "POST"), (":path", "/upload")]))
            .await;
        client.send(DATA, 0, 1, b"hello").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(client);
        let mut client = scene.open().await;
        client.headers(1, true, &get(&[])).await;
        client.end_of(1).await;
        assert_eq!(scene.asked(), ["/p"; 9]);
        assert_eq!(scene.origin.faults(), [""; 0]);
    });
}

#[test]
fn frames_out_of_place_end_the_connection() {
    run(async {
        let scene = Scene::new().await;
        let begun = block(&get(&[]));
        let open = frame(HEADERS, END_HEADERS | END_STREAM, 1, &begun);
        for (what, bytes) in [
            (
                "HEADERS on stream 0",
                frame(HEADERS, END_HEADERS | END_STREAM, 0, &begun),
            ),
            (
                "HEADERS on a stream of the server",
                frame(HEADERS, END_HEADERS | END_STREAM, 2, &begun),
            ),
            ("DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x")),
            (
                "RST_STREAM on an idle stream",
                frame(RST_STREAM, 0, 1, &[0; 4]),
            ),
            (
                "CONTINUATION alone",
                frame(CONTINUATION, END_HEADERS, 1, &begun),
            ),
            ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
            ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
            ("PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
            (
                "a window that overflows",
                [
                    open.clone(),
                    frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                ]
                .concat(),
            ),
            ("a frame beyond the size", frame(DATA, 0, 1, &[0; 20_000])),
            (
                "PUSH_PROMISE of a client",
                [open.clone(), frame(5, END_HEADERS, 1, &begun)].concat(),
            ),
            (
                "another frame in a header block",
                [
                    frame(HEADERS, END_STREAM, 1, &begun),
                    frame(PING, 0, 0, &[0; 8]),
                ]
                .concat(),
            ),
            (
                "another stream in a header block",
                [
                    frame(HEADERS, END_STREAM, 1, &begun),
                    frame(CONTINUATION, END_HEADERS, 3, &begun),
                ]
                .concat(),
            ),
            (
                "an index beyond the table",
                frame(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    1,
                    &[0xff, 0x80, 0x80, 0x01],
                ),
            ),
        ] {
            let mut client = scene.open().await;
            client.write(&bytes).await;
            let mut code = None;
            while let Some(frame) = client.next().await {
                if frame.kind == nearside_tests::frames::GOAWAY {
                    code = frame.payload.get(4..8).map(|code| code[3]);
                }
            }
            assert!(code.is_some_and(|code| code != 0), "{what}: {code:?}");
        }
        assert_eq!(scene.origin.faults(), [""; 0]);
    });
}

#[test]
fn floods_of_frames_are_bounded() {
    run(async {
        let scene = Scene::new().await;
        // Header blocks without end.
        let mut client = scene.open().await;
        client.send(HEADERS, END_STREAM, 1, &block(&get(&[]))).await;
        let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(8000))]));
        for _ in 0..200 {
            client.write(&more).await;
        }
        assert!(refused(&client.end_of(1).await));
        // Fields beyond the limit, in one block.
        let mut client = scene.open().await;
        let large = "y".repeat(14_000);
        client.send(HEADERS, END_STREAM, 1, &block(&get(&[]))).await;
        for last in [false, false, true] {
            let flags = if last { END_HEADERS } else { 0 };
            client
                .send(CONTINUATION, flags, 1, &block(&[("x", &large)]))
                .await;
        }
        assert!(refused(&client.end_of(1).await));
        // Streams that are begun and reset.
        let mut client = scene.open().await;
        for number in 0..20_000_u32 {
            let stream = 2 * number + 1;
            let both = [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[]))),
                frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ];
            client.write(&both.concat()).await;
            if number % 1000 == 999 && client_ended(&mut client).await {
                break;
            }
        }
        while client.next().await.is_some() {}
        // Pings, settings and empty frames whose answers nobody reads: cut by progress.
        let ping = frame(PING, 0, 0, &[7; 8]).repeat(1000);
        let settings = frame(SETTINGS, 0, 0, &[]).repeat(1000);
        for flood in [ping, settings] {
            let mut client = scene.open().await;
            for _ in 0..300 {
                client.write(&flood).await;
            }
            // It serves on, or has ended; either way in time.
            client.headers(1, true, &get(&[])).await;
            client.end_of(1).await;
        }
        // Others are served as ever.
        drop(scene.origin.take());
        let end = scene.ask(&get(&[]), None).await;
        assert_eq!(end, StreamEnd::Answered(vec![200], b"ok".to_vec()));
    });
}

async fn client_ended(client: &mut FrameClient) -> bool {
    tokio::time::timeout(Duration::from_millis(20), async {
        while client.next().await.is_some() {}
    })
    .await
    .is_ok()
}

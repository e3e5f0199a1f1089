//! Whatever a client sends, the origin receives a well-formed request or none: requests that are right, with random
//! damage, at a real listener; the origin behind it reads to the letter.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use nearside_tests::frames::{
    DATA, END_HEADERS, END_STREAM, FrameClient, HEADERS, RST_STREAM, block, frame,
};
use nearside_tests::places::LONDON;
use nearside_tests::{Lab, Plan, Serve, StrictOrigin, run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::site_file;

const FRAMES_HOST: &str = "damage.example";

/// Damaged requests, and how many are sent at a time.
const CASES: u64 = 3000;
const AT_A_TIME: usize = 16;

const WHOLE: [&str; 10] = [
    "GET /a?b=c HTTP/1.1\r\nHost: app.example\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: app.example\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
    "GET http://app.example:80/%7ea/../b HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, X-One\r\nX-One: 1\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\nGET /b HTTP/1.1\r\nHost: app.example\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: app.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: app.example\r\n\r\n",
    "GET /a HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nHost: app.example\r\nIf-None-Match: \"a\", W/\"b\"\r\nRange: bytes=0-5\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: app.example\r\nMax-Forwards: 5\r\nTE: trailers, gzip\r\n\r\n",
];

const LINES: [&str; 16] = [
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length: 55\r\n",
    "Content_Length: 5\r\n",
    "Host: other.example\r\n",
    "Connection: close, Host, Content-Length, Transfer-Encoding\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n z\r\n",
    "X: \u{e9}\u{ff}\r\n",
    "0\r\n\r\n",
    "GET /c HTTP/1.1\r\n",
    "\r\n",
    "\n",
];

const PIECES: [&[u8]; 26] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b":",
    b",",
    b";",
    b"\"",
    b"0",
    b"5",
    b"f",
    b"+",
    b"-",
    b"0x",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"%",
    b"#",
    b"_",
    b"chunked",
    b"ffffffffffffffff",
];

/// One to four damages.
fn damage(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = WHOLE.choose(random).unwrap().as_bytes().to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => {
                bytes.remove(at);
            }
            2 => {
                let piece = PIECES.choose(random).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => {
                // A line, where one may begin.
                let ends = (0..bytes.len()).filter(|at| bytes[*at] == b'\n');
                let at = ends
                    .collect::<Vec<_>>()
                    .choose(random)
                    .map_or(0, |at| at + 1);
                let line = LINES.choose(random).unwrap();
                bytes.splice(at..at, line.bytes());
            }
            4 => {
                // A part of it twice.
                let end = (at + random.random_range(0..40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, part);
            }
            5 => {
                let end = (at + random.random_range(0..10)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 if at < bytes.len() => {
                // Another white space or line end.
                let spaces = b" \t\r\n";
                if let Some(at) = (at..bytes.len()).find(|at| spaces.contains(&bytes[*at])) {
                    bytes[at] = *spaces.choose(random).unwrap();
                }
            }
            _ if at < bytes.len() => bytes[at] ^= 0x20,
            _ => {}
        }
    }
    bytes
}

/// Sends it, in one piece or two, and reads until the other side ends or has nothing to say.
async fn send(address: SocketAddr, bytes: Vec<u8>, cut: Option<usize>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (first, second) = bytes.split_at(cut.unwrap_or(bytes.len()));
    let mut piece = [0; 4096];
    let exchange = async {
        stream.write_all(first).await?;
        if !second.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.write_all(second).await?;
        }
        let mut patience = Duration::from_millis(200);
        while let Ok(read) = tokio::time::timeout(patience, stream.read(&mut piece)).await {
            if read? == 0 {
                break;
            }
            patience = Duration::from_millis(30);
        }
        std::io::Result::Ok(())
    };
    // A connection that is closed on us is an answer, too.
    drop(exchange.await);
}

#[test]
fn whatever_a_client_sends_the_origin_receives_a_well_formed_request_or_none() {
    let seed = std::env::var("NEARSIDE_SEED");
    let seed: u64 = seed.ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
    run(async {
        let origin = StrictOrigin::start().await;
        let serve = Serve::start(&[&origin.url()], &["--access-log", "off"]).await;
        // Most are sent on new connections; more at a time than one address may have would be turned away.
        let cases = futures_util::stream::iter(0..CASES).map(|case| {
            let mut random = StdRng::seed_from_u64(seed + case);
            let bytes = damage(&mut random);
            let halves = random.random_bool(0.3);
            let cut = halves.then(|| random.random_range(0..=bytes.len()));
            send(serve.address, bytes, cut)
        });
        cases.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let faults = origin.faults();
        let count = faults.len();
        let first = faults
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            faults.is_empty(),
            "seed {seed}, {count} faults, such as\n{first}"
        );
        // The damage is not so great that nothing comes through.
        let came = origin.take().len();
        assert!(came > usize::try_from(CASES).unwrap() / 10, "{came} came");
    });
}

/// Over HTTP/2 each case is a connection with TLS.
const FRAME_CASES: u64 = 600;

/// Frames of one request, with damage to its fields, its frames or its bytes.
fn damaged_frames(random: &mut StdRng) -> Vec<u8> {
    let post = random.random_bool(0.6);
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = [
        (":method", if post { "POST" } else { "GET" }),
        (":scheme", "https"),
        (":authority", FRAMES_HOST),
        (":path", "/a?b=c"),
        ("accept", "*/*"),
        ("cookie", "a=b"),
        ("content-length", if post { "5" } else { "0" }),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    for _ in 0..random.random_range(0..=2) {
        let at = random.random_range(0..fields.len());
        match random.random_range(0..6) {
            0 => drop(fields.remove(at)),
            1 => {
                let again = fields[at].clone();
                let to = random.random_range(0..=fields.len());
                fields.insert(to, again);
            }
            2 => {
                let to = random.random_range(0..fields.len());
                fields.swap(at, to);
            }
            3 => {
                let more = [
                    ("transfer-encoding", "chunked"),
                    ("content-length", "55"),
                    ("connection", "close"),
                    ("host", "other.example"),
                    ("te", "trailers"),
                    ("x_forwarded_for", "1"),
                    ("expect", "100-continue"),
                ];
                let (name, value) = more.choose(random).unwrap();
                fields.push((name.as_bytes().into(), value.as_bytes().into()));
            }
            _ => {
                let piece = PIECES.choose(random).unwrap();
                let name = random.random_bool(0.3);
                let text = if name {
                    &mut fields[at].0
                } else {
                    &mut fields[at].1
                };
                let to = random.random_range(0..=text.len());
                text.splice(to..to, piece.iter().copied());
            }
        }
        if fields.is_empty() {
            break;
        }
    }
    let end = if post { 0 } else { END_STREAM };
    let mut frames = vec![frame(HEADERS, END_HEADERS | end, 1, &block(&fields))];
    if post {
        let trailers = random.random_bool(0.3);
        let end = if trailers { 0 } else { END_STREAM };
        frames.push(frame(DATA, end, 1, b"hello"));
        if trailers {
            let more = [("x-sum", "1"), ("content-length", "9"), ("host", "b")];
            frames.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&more)));
        }
    }
    if random.random_bool(0.3) {
        let at = random.random_range(0..frames.len());
        match random.random_range(0..3) {
            0 => drop(frames.remove(at)),
            1 => frames.push(frames[at].clone()),
            _ => frames.insert(at, frame(RST_STREAM, 0, 1, &[0; 4])),
        }
    }
    let mut bytes = frames.concat();
    if random.random_bool(0.3) && !bytes.is_empty() {
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
    }
    bytes
}

#[test]
fn whatever_a_client_of_http2_sends_the_origin_receives_a_well_formed_request_or_none() {
    let seed = std::env::var("NEARSIDE_SEED");
    let seed: u64 = seed.ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
    run(async {
        let plan = Plan::new(&[("lon1", LONDON)]).certificate("damage", &[FRAMES_HOST]);
        let lab = Lab::start(plan).await;
        let origin = StrictOrigin::start().await;
        let site = site_file("damage", FRAMES_HOST, &[&origin.url()], "");
        lab.apply("site", "damage", &site).await;
        let (address, authority) = (lab.node("lon1").https(), &lab.authority);
        let cases = futures_util::stream::iter(0..FRAME_CASES).map(|case| async move {
            let bytes = damaged_frames(&mut StdRng::seed_from_u64(seed + case));
            let client = FrameClient::open(address, FRAMES_HOST, authority);
            let mut client = client.await.unwrap();
            client.write(&bytes).await;
            // What does not end is left to itself.
            let end = client.end_of(1);
            drop(tokio::time::timeout(Duration::from_millis(300), end).await);
        });
        cases.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let faults = origin.faults();
        let first = faults
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            faults.is_empty(),
            "seed {seed}, {} faults, such as\n{first}",
            faults.len()
        );
        let came = origin.take();
        assert!(
            came.len() > usize::try_from(FRAME_CASES).unwrap() / 10,
            "{}",
            came.len()
        );
        assert!(came.iter().all(|came| came.content.len() <= 10));
    });
}

//! Whatever a client sends, the origin receives a well-formed request or none: requests that are right, with random
//! damage, at a real listener; the origin behind it reads to the letter.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use nearside_tests::{Serve, StrictOrigin, run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

//! Trailers and expectations over HTTP/1.1: what stands around content, and before it.

use std::net::SocketAddr;

use nearside_tests::{Serve, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Reads to where a head ends.
async fn head(stream: &mut TcpStream) -> String {
    read_until(stream, b"\r\n\r\n").await
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end) {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

/// An origin that says `before` after each head, reads chunked content where one announces it, and then says `after`.
/// Tells what it got, and where a connection ended.
async fn origin(
    before: &'static str,
    after: &'static str,
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                loop {
                    let asked = head(&mut stream).await.to_lowercase();
                    if asked.is_empty() {
                        return;
                    }
                    let chunked = asked.contains("transfer-encoding: chunked");
                    tell.send(asked).ok();
                    stream.write_all(before.as_bytes()).await.ok();
                    if chunked {
                        let content = read_until(&mut stream, b"\r\n\r\n").await;
                        tell.send(content).ok();
                    }
                    stream.write_all(after.as_bytes()).await.ok();
                }
            });
        }
    });
    (address, told)
}

async fn connect(serve: &Serve) -> TcpStream {
    TcpStream::connect(serve.address).await.unwrap()
}

#[test]
fn trailers_pass_over_http1_both_ways() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Host\r\n\r\n\
            2\r\nok\r\n0\r\nX-Sum: 9\r\nHost: evil\r\nX-Unnamed: 1\r\n\r\n";
        let (address, mut told) = origin("", answer).await;
        let serve = Serve::start(&[&format!("http://{address}")], &[]).await;
        let mut stream = connect(&serve).await;
        let ask = |te: &str| {
            format!(
                "POST /x HTTP/1.1\r\nHost: a\r\n{te}Transfer-Encoding: chunked\r\nTrailer: X-Mine\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Mine: 7\r\n\r\n"
            )
        };
        stream
            .write_all(ask("TE: trailers\r\nConnection: TE\r\n").as_bytes())
            .await
            .unwrap();
        let got = head(&mut stream).await.to_lowercase();
        assert!(
            got.starts_with("http/1.1 200 ") && got.contains("trailer: x-sum, host\r\n"),
            "{got}"
        );
        let content = read_until(&mut stream, b"\r\n\r\n").await.to_lowercase();
        assert_eq!(content, "2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n");
        let asked = told.recv().await.unwrap();
        assert!(
            asked.contains("te: trailers\r\n") && asked.contains("connection: te\r\n"),
            "{asked}"
        );
        let content = told.recv().await.unwrap().to_lowercase();
        assert_eq!(content, "3\r\nabc\r\n0\r\nx-mine: 7\r\n\r\n");
        // Who takes none gets none, and the origin is not asked for them.
        stream.write_all(ask("").as_bytes()).await.unwrap();
        let got = head(&mut stream).await.to_lowercase();
        assert!(!got.contains("trailer:"), "{got}");
        let content = read_until(&mut stream, b"0\r\n\r\n").await;
        assert_eq!(content, "2\r\nok\r\n0\r\n\r\n");
        assert!(!told.recv().await.unwrap().contains("\r\nte:"));
    });
}

const EXPECTING: &str = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_client_is_told_to_continue_when_the_origin_is_ready() {
    run(async {
        let done = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
        let (address, mut told) = origin("HTTP/1.1 100 Continue\r\n\r\n", done).await;
        let serve = Serve::start(&[&format!("http://{address}")], &[]).await;
        let mut stream = connect(&serve).await;
        for _ in 0..2 {
            stream.write_all(EXPECTING.as_bytes()).await.unwrap();
            assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
            assert!(
                told.recv()
                    .await
                    .unwrap()
                    .contains("expect: 100-continue\r\n")
            );
            stream.write_all(b"2\r\nhi\r\n0\r\n\r\n").await.unwrap();
            let got = head(&mut stream).await;
            assert!(got.starts_with("HTTP/1.1 201 "), "{got}");
            assert_eq!(told.recv().await.unwrap(), "2\r\nhi\r\n0\r\n\r\n");
        }
    });
}

#[test]
fn an_origin_that_says_nothing_gets_the_content_all_the_same() {
    run(async {
        let (address, mut told) =
            origin("", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
        let serve = Serve::start(&[&format!("http://{address}")], &[]).await;
        let mut stream = connect(&serve).await;
        stream.write_all(EXPECTING.as_bytes()).await.unwrap();
        assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"2\r\nhi\r\n0\r\n\r\n").await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 201 "));
        told.recv().await.unwrap();
        assert_eq!(told.recv().await.unwrap(), "2\r\nhi\r\n0\r\n\r\n");
    });
}

#[test]
fn a_refusal_comes_before_the_content_and_the_connection_ends() {
    run(async {
        for status in ["401 Unauthorized", "417 Expectation Failed"] {
            let refusal: &'static str =
                format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno").leak();
            let (address, mut told) = origin(refusal, "").await;
            let serve = Serve::start(&[&format!("http://{address}")], &[]).await;
            let mut stream = connect(&serve).await;
            stream.write_all(EXPECTING.as_bytes()).await.unwrap();
            let got = head(&mut stream).await;
            assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{got}");
            assert!(
                got.to_lowercase().contains("connection: close\r\n"),
                "{got}"
            );
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"no");
            assert!(
                told.recv()
                    .await
                    .unwrap()
                    .contains("expect: 100-continue\r\n")
            );
            // No content went to the origin, nor a next request on that connection.
            let mut next = connect(&serve).await;
            next.write_all(b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            assert!(
                head(&mut next)
                    .await
                    .starts_with(&format!("HTTP/1.1 {status}"))
            );
            let mut heard = told.recv().await.unwrap();
            while !heard.starts_with("get /y ") {
                assert_eq!(heard, "", "what was not wanted was sent");
                heard = told.recv().await.unwrap();
            }
        }
    });
}

#[test]
fn early_hints_come_before_the_answer() {
    run(async {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nConnection: x\r\n\r\n\
            HTTP/1.1 102 Processing\r\n\r\n";
        let done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok";
        let (address, _told) = origin(hints, done).await;
        let serve = Serve::start(&[&format!("http://{address}")], &[]).await;
        let mut stream = connect(&serve).await;
        let ask = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let first = head(&mut stream).await.to_lowercase();
        assert!(first.starts_with("http/1.1 103 "), "{first}");
        assert!(
            first.contains("link: </style.css>\r\n") && !first.contains("connection"),
            "{first}"
        );
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 102 "));
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        // From the cache there is nothing to wait for, and so nothing to say before.
        stream.write_all(ask).await.unwrap();
        let got = head(&mut stream).await;
        assert!(
            got.starts_with("HTTP/1.1 200 ") && got.contains("hit"),
            "{got}"
        );
    });
}

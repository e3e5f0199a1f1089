//! WebSocket: connections that leave HTTP, through the program to an origin and back.

use std::net::SocketAddr;
use std::time::Duration;

use nearside_tests::{Lab, Plan, Serve, eventually, patience, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const ASK: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// An origin that answers each head with `reply`, sends everything back after a 101, and tells what heads it got.
async fn origin(reply: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(asked) = head(&mut stream).await {
                    tell.send(asked).ok();
                    stream.write_all(reply.as_bytes()).await.ok();
                    if reply.starts_with("HTTP/1.1 101") {
                        let (mut from, mut to) = stream.split();
                        tokio::io::copy(&mut from, &mut to).await.ok();
                        to.shutdown().await.ok();
                        return;
                    }
                }
            });
        }
    });
    (address, heads)
}

/// Reads to the end of a head; none when the connection ended.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn ask(address: SocketAddr, what: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(what.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await.unwrap_or_default();
    (stream, answer)
}

#[test]
fn a_websocket_passes_through_and_is_counted() {
    run(async {
        let (origin, mut heads) = origin(SWITCH).await;
        let serve = Serve::start(&[&format!("http://{origin}")], &["--access-log", "json"]).await;
        let (mut stream, answer) = ask(serve.address, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let answer = answer.to_lowercase();
        for field in [
            "connection: upgrade\r\n",
            "upgrade: websocket\r\n",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
            "sec-websocket-protocol: chat\r\n",
        ] {
            assert!(answer.contains(field), "{field}: {answer}");
        }
        let asked = heads.recv().await.unwrap().to_lowercase();
        for field in [
            "get /chat?room=1 http/1.1\r\n",
            "connection: upgrade\r\n",
            "upgrade: websocket\r\n",
            "sec-websocket-version: 13\r\n",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
            "x-forwarded-for: 127.0.0.1\r\n",
        ] {
            assert!(asked.contains(field), "{field}: {asked}");
        }
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let (mut from, mut to) = stream.split();
        let sending = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(from.read_to_end(&mut received), sending);
        read.unwrap();
        assert!(
            received == sent,
            "{} of {} bytes",
            received.len(),
            sent.len()
        );
        eventually("the tunnel is in the access log", patience(), async || {
            let log = serve.log();
            let line = log.lines().find(|line| line.contains("/chat"));
            let line: serde_json::Value =
                serde_json::from_str(line.ok_or("no line")?).map_err(|error| error.to_string())?;
            if line["status"] == 101 && line["bytes"] == 1_000_000 && line["complete"] == true {
                Ok(())
            } else {
                Err(line.to_string())
            }
        })
        .await;
    });
}

#[test]
fn an_origin_that_does_not_switch_answers_over_http() {
    run(async {
        let (origin, mut heads) = origin(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nno",
        )
        .await;
        let serve = Serve::start(&[&format!("http://{origin}")], &[]).await;
        let (mut stream, answer) = ask(serve.address, ASK).await;
        for _ in 0..2 {
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            let mut body = [0; 2];
            stream.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"no");
            // It is still HTTP, and the cache has no part in a handshake.
            heads.recv().await.unwrap();
            stream.write_all(ASK.as_bytes()).await.unwrap();
            head(&mut stream).await.unwrap();
        }
    });
}

#[test]
fn no_other_protocol_is_asked_of_an_origin() {
    run(async {
        let (origin, mut heads) = origin("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let serve = Serve::start(&[&format!("http://{origin}")], &[]).await;
        let others = [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
            "Upgrade: websocket\r\n",
        ];
        for (number, fields) in others.into_iter().enumerate() {
            let what = format!("GET /{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let (_, answer) = ask(serve.address, &what).await;
            // Ignored or refused: either way no origin is asked for another protocol.
            if answer.starts_with("HTTP/1.1 400 ") {
                continue;
            }
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            let asked = heads.recv().await.unwrap().to_lowercase();
            for field in ["upgrade", "http2-settings"] {
                assert!(!asked.contains(field), "{asked}");
            }
        }
    });
}

#[test]
fn an_origin_that_switches_unasked_is_not_believed() {
    run(async {
        let (origin, _heads) = origin(SWITCH).await;
        let serve = Serve::start(&[&format!("http://{origin}")], &[]).await;
        let (_, answer) = ask(serve.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    });
}

#[test]
fn a_stopping_node_does_not_wait_for_quiet_websockets() {
    run(async {
        let (origin, _heads) = origin(SWITCH).await;
        let serve = Serve::start(&[&format!("http://{origin}")], &[]).await;
        let (mut stream, answer) = ask(serve.address, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        stream.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await.unwrap();
        // Waits for the end of the program, for less long than its grace period.
        serve.terminate().await;
        assert_eq!(stream.read(&mut pong).await.unwrap_or(0), 0);
    });
}

#[test]
fn a_node_bounds_its_websockets_by_number_and_by_silence() {
    run(async {
        let (origin, _heads) = origin(SWITCH).await;
        let plan = Plan::new(&[("lon1", nearside_tests::places::LONDON)])
            .section("[limits]\ntunnels = 1\ntunnel_idle_timeout = \"2s\"");
        let lab = Lab::start(plan).await;
        let text = format!(
            "name = \"app\"\nhosts = [\"app.example\"]\n[[origin]]\nurl = \"http://{origin}\"\n"
        );
        lab.apply("site", "app", &text).await;
        let node = lab.node("lon1").http();
        let (mut first, answer) = ask(node, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let (_, answer) = ask(node, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let mut nothing = [0; 1];
        let ended = tokio::time::timeout(Duration::from_secs(15), first.read(&mut nothing)).await;
        assert_eq!(ended.expect("closed for its silence").unwrap_or(0), 0);
        eventually("there is room again", patience(), async || {
            let (_, answer) = ask(node, ASK).await;
            match answer.starts_with("HTTP/1.1 101 ") {
                true => Ok(()),
                false => Err(answer),
            }
        })
        .await;
    });
}

//! What comes before the final answer, and what waits for it: 103 and 102, 100 (Continue), slow clients of HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use nearside_tests::frames::{DATA, END_STREAM, FrameClient, HEADERS, StreamEnd};
use nearside_tests::places::LONDON;
use nearside_tests::{Lab, Plan, StrictOrigin, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::site_file;

const HOST: &str = "interims.example";

async fn lab() -> Lab {
    let plan = Plan::new(&[("lon1", LONDON)])
        .certificate("interims", &[HOST])
        .section(
            "[limits]\nhead_timeout = \"1s\"\nprogress_timeout = \"1s\"\nidle_timeout = \"2s\"",
        );
    Lab::start(plan).await
}

/// An origin that says twice what to load meanwhile, and answers.
async fn hinting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let mut heard = [0; 4096];
                while stream.read(&mut heard).await? > 0 {
                    for answer in [
                        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n",
                        "HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n",
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok",
                    ] {
                        stream.write_all(answer.as_bytes()).await?;
                        stream.flush().await?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                std::io::Result::Ok(())
            }));
        }
    }));
    address
}

fn get(path: &str) -> [(&str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
    ]
}

/// Reads until `enough` is true of what came.
async fn read(stream: &mut TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let reading = async {
        let mut piece = [0; 4096];
        while !enough(&text) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => text.push_str(&String::from_utf8_lossy(&piece[..read])),
            }
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(8), reading).await);
    text
}

#[test]
fn hints_reach_clients_of_either_protocol_and_none_of_the_oldest() {
    run(async {
        let lab = lab().await;
        let node = lab.node("lon1");
        let url = format!("http://{}", hinting().await);
        lab.apply(
            "site",
            "interims",
            &site_file("interims", HOST, &[&url], ""),
        )
        .await;
        for (version, hints) in [("1.1", 2), ("1.0", 0)] {
            let mut stream = TcpStream::connect(node.http()).await.unwrap();
            let ask = format!("GET /x HTTP/{version}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.unwrap();
            let said = read(&mut stream, |_| false).await;
            assert_eq!(
                said.matches(" 103 Early Hints\r\n").count(),
                hints,
                "{said}"
            );
            assert!(
                said.contains(" 200 OK\r\n") && said.ends_with("ok"),
                "{said}"
            );
            let (a, b) = (said.find("/a.css"), said.find("/b.css"));
            assert!(a <= b && !said.to_lowercase().contains("x-hop"), "{said}");
        }
        let mut client = FrameClient::open(node.https(), HOST, &lab.authority)
            .await
            .unwrap();
        for stream in [1, 3] {
            client.headers(stream, true, &get("/x")).await;
            let expected = StreamEnd::Answered(vec![103, 103, 200], b"ok".to_vec());
            assert_eq!(client.end_of(stream).await, expected);
        }
    });
}

#[test]
fn content_is_sent_when_100_continue_has_come() {
    run(async {
        let lab = lab().await;
        let node = lab.node("lon1");
        let origin = StrictOrigin::start().await;
        let site = site_file("interims", HOST, &[&origin.url()], "");
        lab.apply("site", "interims", &site).await;
        let mut stream = TcpStream::connect(node.http()).await.unwrap();
        let ask = format!(
            "POST /x HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let said = read(&mut stream, |said| said.ends_with("\r\n\r\n")).await;
        assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(
            origin.take().is_empty(),
            "the origin has it before it was sent"
        );
        stream.write_all(b"hello").await.unwrap();
        let said = read(&mut stream, |said| said.ends_with("ok")).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert_eq!(origin.take()[0].content, b"hello");

        let mut client = FrameClient::open(node.https(), HOST, &lab.authority)
            .await
            .unwrap();
        let mut fields = get("/x").to_vec();
        fields[0].1 = "POST";
        fields.push(("expect", "100-continue"));
        client.headers(1, false, &fields).await;
        // The block of 100, before anything was sent.
        let interim = loop {
            let frame = client.next().await.unwrap();
            if frame.kind == HEADERS {
                break frame;
            }
        };
        assert_eq!(interim.flags & END_STREAM, 0);
        client.send(DATA, END_STREAM, 1, b"hello").await;
        let end = client.end_of(1).await;
        assert_eq!(end, StreamEnd::Answered(vec![200], b"ok".to_vec()));
        assert_eq!(origin.take()[0].content, b"hello");
        assert_eq!(origin.faults(), [""; 0]);
    });
}

#[test]
fn clients_of_http2_are_cut_by_progress_not_by_time() {
    run(async {
        let lab = lab().await;
        let node = lab.node("lon1");
        let origin = StrictOrigin::start().await;
        let site = site_file("interims", HOST, &[&origin.url()], "");
        lab.apply("site", "interims", &site).await;
        let open = || FrameClient::open(node.https(), HOST, &lab.authority);
        let mut fields = get("/x").to_vec();
        fields[0].1 = "POST";
        // A steady one, for longer than any timeout.
        let mut client = open().await.unwrap();
        client.headers(1, false, &fields).await;
        for _ in 0..6 {
            client.send(DATA, 0, 1, b"ab").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        client.send(DATA, END_STREAM, 1, b"c").await;
        let end = client.end_of(1).await;
        assert_eq!(end, StreamEnd::Answered(vec![200], b"ok".to_vec()));
        assert_eq!(origin.take()[0].content, b"ababababababc");
        // One that stops.
        let mut client = open().await.unwrap();
        client.headers(1, false, &fields).await;
        client.send(DATA, 0, 1, b"ab").await;
        let end = client.end_of(1).await;
        assert!(
            matches!(&end, StreamEnd::Answered(statuses, _) if statuses == &[408]),
            "{end:?}"
        );
        // A head that does not end, and nothing at all.
        let mut client = open().await.unwrap();
        client.send(HEADERS, END_STREAM, 1, &[0x82]).await;
        assert!(matches!(client.end_of(1).await, StreamEnd::Closed(_)));
        let mut client = open().await.unwrap();
        assert!(matches!(client.end_of(1).await, StreamEnd::Closed(_)));
        assert!(origin.take().is_empty());
        assert_eq!(origin.faults(), [""; 0]);
    });
}

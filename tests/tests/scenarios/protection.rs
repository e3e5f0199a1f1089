//! Who is kept out, and who is not waited for.

use std::time::{Duration, Instant};

use nearside_tests::{Lab, Node, Reply, eventually, patience, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::stage::Stage;

#[test]
fn a_client_beyond_its_rate_is_told_to_wait_and_others_are_not() {
    run(async {
        let stage = Stage::with("[protect]\nrate = { requests = \"1/s\", burst = 3 }\n").await;
        let path = "/c/100/x";
        let ask = |client: &str| stage.get(path).from(client.parse().unwrap()).send();
        let mut refused = None;
        for _ in 0..10 {
            let got = ask("198.51.100.1").await;
            if got.status == 429 {
                refused = Some(got);
            }
        }
        let refused = refused.expect("ten requests at once are more than four");
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(ask("198.51.100.2").await.status, 200);
        // IPv6 clients of one /64 are one client.
        let statuses = [
            ask("2001:db8:1:1::1").await.status,
            ask("2001:db8:1:1::2").await.status,
            ask("2001:db8:1:1::3").await.status,
            ask("2001:db8:1:1::4").await.status,
            ask("2001:db8:1:1::5").await.status,
            ask("2001:db8:1:1::6").await.status,
        ];
        assert!(statuses.contains(&429), "{statuses:?}");
        eventually("the client may ask again", patience(), async || {
            let got = ask("198.51.100.1").await;
            if got.status == 200 {
                Ok(())
            } else {
                Err(format!("{got:?}"))
            }
        })
        .await;
    });
}

#[test]
fn denied_networks_and_countries_are_refused() {
    run(async {
        let stage = Stage::with("[protect]\ndeny = [\"198.51.100.0/24\", \"country:JP\"]\n").await;
        for (client, status) in [
            ("198.51.100.7", 403),
            ("133.11.0.1", 403),
            ("91.10.0.1", 200),
            ("203.0.113.1", 200),
        ] {
            let got = stage
                .get("/c/100/x")
                .from(client.parse().unwrap())
                .send()
                .await;
            assert_eq!(got.status, status, "{client}: {got:?}");
        }
    });
}

#[test]
fn a_head_beyond_the_limits_is_refused() {
    run(async {
        let stage = Stage::new().await;
        let got = stage
            .get("/c/100/x")
            .field("x-long", &"a".repeat(64 * 1024))
            .send()
            .await;
        assert!(
            [400, 431].contains(&got.status) || got.broken.is_some(),
            "{got:?}"
        );
        let mut many = stage.get("/c/100/x");
        for number in 0..300 {
            many = many.field(&format!("x-{number}"), "1");
        }
        let got = many.send().await;
        assert!(
            [400, 431].contains(&got.status) || got.broken.is_some(),
            "{got:?}"
        );
        stage.fetch("/c/100/x").await;
    });
}

/// The shared cluster waits two seconds for a head and three for progress.
const CUT_WITHIN: Duration = Duration::from_secs(8);

/// Sends a piece now and then until the node ends the connection.
async fn drip(node: &Node, opening: &[u8], drop: &[u8]) -> Duration {
    let start = Instant::now();
    let mut stream = TcpStream::connect(node.http()).await.unwrap();
    stream.write_all(opening).await.unwrap();
    let mut buffer = [0; 1024];
    while start.elapsed() < CUT_WITHIN * 2 {
        let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buffer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) || stream.write_all(drop).await.is_err() {
            break;
        }
    }
    start.elapsed()
}

#[test]
fn a_client_that_drips_its_head_is_cut_off() {
    run(async {
        let lab = Lab::shared().await;
        let took = drip(lab.node("lon1"), b"GET / HTTP/1.1\r\nHost: x", b"x").await;
        assert!(took < CUT_WITHIN, "{took:?}");
    });
}

#[test]
fn a_client_that_stops_sending_its_body_is_cut_off() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.on("/upload", Reply::new("ok"));
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nhello",
            stage.host
        );
        let took = drip(stage.node(), head.as_bytes(), b"").await;
        assert!(took < CUT_WITHIN, "{took:?}");
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/30000000/unread";
        stage.fetch(path).await;
        let mut stream = TcpStream::connect(stage.node().http()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", stage.host);
        stream.write_all(head.as_bytes()).await.unwrap();
        // Nothing is read for longer than the deadline; then what the kernels hold is read, and there is no more.
        tokio::time::sleep(CUT_WITHIN).await;
        let mut all = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
        assert!(end.is_ok(), "the connection is still open");
        assert!(all.len() < 30_000_000, "{} bytes came", all.len());
    });
}

#[test]
fn one_client_cannot_take_all_connections() {
    run(async {
        let stage = Stage::new().await;
        let head = format!("GET /c/10/x HTTP/1.1\r\nHost: {}\r\n\r\n", stage.host);
        let mut held = Vec::new();
        let mut answered = 0;
        // The default is 256 connections of one address.
        for _ in 0..300 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.88:0".parse().unwrap()).unwrap();
            let Ok(mut stream) = socket.connect(stage.node().http()).await else {
                continue;
            };
            let mut answer = [0; 12];
            let exchange = async {
                stream.write_all(head.as_bytes()).await?;
                stream.read_exact(&mut answer).await
            };
            let came = tokio::time::timeout(Duration::from_secs(2), exchange).await;
            answered += usize::from(matches!(came, Ok(Ok(_))) && answer.ends_with(b"200"));
            held.push(stream);
        }
        assert!((200..=256).contains(&answered), "{answered} of 300");
        stage.fetch("/c/10/x").await;
    });
}

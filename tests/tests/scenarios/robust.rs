//! Rude clients, rude networks, and clients that go away.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nearside_tests::{DnsRequest, Lab, Reply, eventually, patience, run};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::stage::Stage;

#[test]
fn a_fill_outlives_the_client_that_began_it() {
    run(async {
        let stage = Stage::new().await;
        let path = "/long";
        let reply = Reply::content(path, 1, 200_000).cache_control("max-age=600");
        stage
            .origin
            .on(path, reply.in_pieces(20, Duration::from_millis(50)));
        let mut first = TcpStream::connect(stage.node().http()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", stage.host);
        first.write_all(head.as_bytes()).await.unwrap();
        assert!(
            first.read_u8().await.is_ok(),
            "the first client gets its first byte"
        );
        let follows = stage.get(path).send();
        let leaves = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(first);
        };
        let (second, ()) = futures_util::join!(follows, leaves);
        second.sound(path);
        eventually("it is stored", patience(), async || {
            let got = stage.fetch(path).await;
            if got.is_hit() {
                Ok(())
            } else {
                Err(got.cache_status())
            }
        })
        .await;
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_others() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/25000000/large";
        let mut idle = TcpStream::connect(stage.node().http()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", stage.host);
        idle.write_all(head.as_bytes()).await.unwrap();
        assert!(idle.read_u8().await.is_ok());
        // The one that stands still is cut off after three seconds; nobody waits for that.
        let got = stage.fetch(path).await;
        assert!(got.took < Duration::from_millis(2500), "{:?}", got.took);
        drop(idle);
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    run(async {
        let stage = Stage::new().await;
        let host = &stage.host;
        for request in [
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
            ),
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: other.example\r\n\r\n"),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            format!("GET / HTTP/1.1\r\nHost : {host}\r\n\r\n"),
        ] {
            let mut stream = TcpStream::connect(stage.node().http()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            let read =
                tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer).into_owned();
            let closed = matches!(read, Ok(Err(_)));
            assert!(
                closed || text.starts_with("HTTP/1.1 4"),
                "{request:?} was answered {text:?}"
            );
        }
        assert_eq!(stage.origin.asked(), 0, "one of them reached the origin");
    });
}

#[test]
fn garbage_on_any_port_silences_nobody() {
    run(async {
        let stage = Stage::new().await;
        let node = stage.node();
        let zone = "name = \"noise.test\"\nnameservers = { ns1 = \"lon1\", ns2 = \"nyc1\" }\n";
        stage.lab.apply("zone", "noise.test", zone).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let noise = |length: usize| {
            let mut bytes = vec![0; length];
            rand::rng().fill(&mut bytes[..]);
            bytes
        };
        for number in 0..3000 {
            let mut packet = noise(number % 600);
            // Some look like questions for a moment.
            if number % 3 == 0 && packet.len() > 12 {
                packet[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
            }
            // A refused packet says that nobody listens, which the question below would notice.
            drop(socket.send_to(&packet, node.dns()).await);
        }
        for target in [node.http(), node.https(), node.dns(), node.peer()] {
            for length in [1, 100, 5000] {
                let mut stream = TcpStream::connect(target).await.unwrap();
                drop(stream.write_all(&noise(length)).await);
            }
        }
        let reply = node
            .resolve(&DnsRequest::a("pool.noise.test"))
            .await
            .unwrap();
        assert!(!reply.addresses().is_empty(), "{reply:?}");
        stage.fetch("/c/100/x").await;
        for node in stage.lab.nodes() {
            assert!(node.status().await.unwrap().has_quorum, "{}", node.name);
        }
    });
}

#[test]
fn secrets_are_for_their_owner_only() {
    run(async {
        let lab = Lab::shared().await;
        for node in lab.nodes() {
            let socket = node.home().join("admin.sock");
            assert_eq!(mode(&socket), 0o600, "{socket:?}");
            // This node's own key and the cluster's: no third secret in the clear, and nobody else may read these two.
            let mut secret = Vec::new();
            for path in files(&node.home().join("data")) {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let clear = String::from_utf8_lossy(&bytes).contains("PRIVATE KEY");
                if clear || path.extension().is_some_and(|kind| kind == "key") {
                    assert_eq!(mode(&path), 0o600, "{path:?}");
                    secret.push(path);
                }
            }
            assert_eq!(secret.len(), 2, "{secret:?}");
        }
    });
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_origin_that_talks_nonsense_is_a_bad_gateway() {
    run(async {
        let stage = Stage::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let nonsense: [&[u8]; 4] = [
                b"SSH-2.0-OpenSSH\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                b"",
            ];
            for answer in nonsense.iter().cycle() {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                drop(stream.write_all(answer).await);
            }
        });
        let name = crate::stage::fresh_name();
        let host = format!("{name}.example");
        let text = crate::stage::site_file(&name, &host, &[&format!("http://{address}")], "");
        stage.lab.apply("site", &name, &text).await;
        for number in 0..8 {
            let got = stage.node().get(&host, &format!("/{number}")).send().await;
            assert!((502..=504).contains(&got.status), "{got:?}");
        }
        server.abort();
        eventually("others are served", patience(), async || {
            let got = stage.get("/c/100/x").send().await;
            got.content_fault("/c/100/x").map_or(Ok(()), Err)
        })
        .await;
    });
}

use super::tls::Authority;
use super::*;

const PATIENCE: Duration = Duration::from_secs(5);
const GET: &str = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n";

/// Version 2, of a client at 192.0.2.9.
const V2: [u8; 28] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0, 12, 192,
    0, 2, 9, 198, 51, 100, 2, 0, 1, 0, 2,
];

#[tokio::test]
async fn a_proxy_introduces_its_client_in_either_version() {
    let rig = Rig::introduced(Limits::default(), None);
    let v1 = "PROXY TCP6 2001:db8::9 2001:db8::1 40000 80\r\n";
    let local = [&V2[..12], &[0x20, 0, 0, 0]].concat();
    for (header, expected) in [
        (v1.as_bytes(), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&V2, "192.0.2.9"),
        (&local, "127.0.0.1"),
    ] {
        // In one piece with the request, and byte by byte.
        for slowly in [false, true] {
            let mut wire = rig.connect().await;
            if slowly {
                for byte in header {
                    wire.0.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                wire.send(GET).await;
            } else {
                let whole = [header, GET.as_bytes()].concat();
                wire.0.write_all(&whole).await.unwrap();
            }
            for _ in 0..2 {
                let response = wire.response().await;
                assert!(
                    response.ends_with(&format!("\r\n\r\n{expected}")),
                    "{response}"
                );
                wire.send(GET).await;
            }
        }
    }
    // What the client says of itself is not the proxy's word.
    let mut wire = rig.connect().await;
    wire.send(v1).await;
    wire.send(&GET.replace("Host", "X-Forwarded-For: 198.51.100.1\r\nHost"))
        .await;
    assert!(wire.response().await.ends_with("2001:db8::9"));
    rig.stop().await;
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let mut authority = Authority::new();
    authority.sign("shop", &["shop.example"]);
    let rig = Rig::introduced(Limits::default(), Some(authority.certificates()));
    let mut stream = TcpStream::connect(rig.https.unwrap()).await.unwrap();
    stream.write_all(&V2).await.unwrap();
    let stream = authority.over(stream, "shop.example", "http/1.1").await;
    let mut stream = stream.unwrap();
    let get = GET.replace("Host: a", "Host: a\r\nConnection: close");
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(all.ends_with("192.0.2.9"), "{all}");
    rig.stop().await;
}

#[tokio::test]
async fn without_a_header_from_a_proxy_and_with_one_from_others_nothing_is_served() {
    let rig = Rig::introduced(quick(), None);
    // A proxy that does not introduce its client.
    for bytes in [GET, "PROXY TCP4 1.2.3.4 nobody 1 2\r\n", "PROXY TCP4 1"] {
        let mut wire = rig.connect().await;
        wire.send(bytes).await;
        assert_eq!(wire.ended(PATIENCE).await, 0, "{bytes}");
    }
    eventually("both are counted", || rig.metrics.introduction.get() == 2).await;
    // The third one did not end its line in time.
    assert_eq!(rig.metrics.cuts(), (1, 0));
    // One who is no proxy: a request is served, a header is none.
    let stranger = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        Wire(socket.connect(rig.http).await.unwrap())
    };
    let mut wire = stranger().await;
    wire.send(GET).await;
    assert!(wire.response().await.ends_with("127.0.0.9"));
    let mut wire = stranger().await;
    wire.send("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n").await;
    wire.send(GET).await;
    let response = wire.response().await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    let mut wire = stranger().await;
    wire.0.write_all(&V2).await.unwrap();
    wire.send(GET).await;
    let response = wire.response().await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    rig.stop().await;
}

#[tokio::test]
async fn clients_behind_a_proxy_are_capped_one_by_one() {
    let rig = Rig::introduced(
        Limits {
            connections_per_client: 1,
            ..Limits::default()
        },
        None,
    );
    let mut held = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1"] {
        let mut wire = rig.connect().await;
        wire.send(&format!("PROXY TCP4 {client} 198.51.100.2 1 2\r\n{GET}"))
            .await;
        held.push((wire.response().await, wire));
    }
    assert!(held[0].0.ends_with("192.0.2.1"), "{}", held[0].0);
    assert!(held[1].0.ends_with("192.0.2.2"), "{}", held[1].0);
    assert_eq!(held[2].0, "");
    assert_eq!(rig.metrics.full(), (0, 1));
    rig.stop().await;
}

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_connection_is_kept_and_its_socket_has_no_delay() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    for _ in 0..3 {
        wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let response = wire.response().await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        assert!(response.ends_with("ok"), "{response}");
    }
    wire.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert!(wire.response().await.ends_with("abc"));
    // Chunked, but known to name no length: kept.
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(wire.response().await.ends_with("ok"));
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut_also_the_second_one() {
    let rig = Rig::new(quick());
    for first in [true, false] {
        let mut wire = rig.connect().await;
        if !first {
            wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
            wire.response().await;
        }
        let started = Instant::now();
        // A byte now and then is no progress: the head as a whole has its time.
        let (mut read, mut write) = wire.0.into_split();
        let dribble = async {
            for byte in b"GET /x HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        tokio::select! {
            () = dribble => {}
            _ = read.read_to_end(&mut rest) => {}
        }
        assert!(
            started.elapsed() < Duration::from_millis(1500),
            "{:?}",
            started.elapsed()
        );
    }
    assert_eq!(rig.metrics.cuts(), (2, 0));
    rig.stop().await;
}

#[tokio::test]
async fn an_idle_connection_ends_after_its_time() {
    let rig = Rig::new(quick());
    let mut silent = rig.connect().await;
    let mut kept = rig.connect().await;
    kept.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    kept.response().await;
    let started = Instant::now();
    assert_eq!(kept.ended(PATIENCE).await, 0);
    assert!(started.elapsed() > Duration::from_millis(800));
    assert_eq!(silent.ended(PATIENCE).await, 0);
    assert_eq!(rig.metrics.cuts(), (0, 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_cut_by_progress() {
    let rig = Rig::new(quick());
    let mut wire = rig.connect().await;
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        .await;
    // Longer than the timeout in total, but never without progress.
    for piece in ["ab", "cd", "ef", "gh"] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        wire.send(piece).await;
    }
    assert!(wire.response().await.ends_with("abcdefgh"));
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nab")
        .await;
    let response = wire.response().await;
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert_eq!(wire.ended(PATIENCE).await, 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_stalled_reader_is_cut_and_a_slow_one_is_not() {
    let rig = Rig::new(quick());
    let mut stalled = rig.connect().await;
    stalled.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut slow = rig.connect().await;
    slow.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut total, mut piece) = (0, vec![0; 4 << 20]);
    let whole = BIG_PIECES * 16 * 1024;
    while total < whole {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let read = slow.0.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "cut after {total} bytes");
        total += read;
    }
    eventually("the stalled reader is cut", || rig.metrics.cuts().1 == 1).await;
    // What was on its way still arrives, and then the end comes early, not as if all was well.
    assert!(stalled.ended(PATIENCE).await < whole);
    assert_eq!(rig.metrics.cuts(), (0, 1));
    rig.stop().await;
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let rig = Rig::new(Limits {
        header_bytes: 8 * 1024,
        header_fields: 20,
        ..Limits::default()
    });
    let many = "X: y\r\n".repeat(30);
    let large = format!("X: {}\r\n", "y".repeat(10_000));
    for fields in [many, large] {
        let mut wire = rig.connect().await;
        wire.send(&format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .await;
        let response = wire.response().await;
        assert!(response.starts_with("HTTP/1.1 431"), "{response}");
        wire.ended(PATIENCE).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_and_closed() {
    let rig = Rig::new(Limits::default());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let cases = [
        (
            "both lengths",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{chunked}\r\n0\r\n\r\n"
            ),
        ),
        (
            "both lengths, turned round",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\n{chunked}Content-Length: 3\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "two lengths",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
                .into(),
        ),
        (
            "a signed length",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc".into(),
        ),
        (
            "a length list",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc".into(),
        ),
        (
            "chunked is not last",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n".into(),
        ),
        (
            "chunked in 1.0",
            format!("POST /echo HTTP/1.0\r\nHost: a\r\n{chunked}\r\n0\r\n\r\n"),
        ),
        ("no host", "GET /x HTTP/1.1\r\n\r\n".into()),
        (
            "two hosts",
            "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(),
        ),
        (
            "a host with a path",
            "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n".into(),
        ),
        (
            "a folded line",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n".into(),
        ),
        (
            "a space before the colon",
            "GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".into(),
        ),
        (
            "a bare CR",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n".into(),
        ),
        (
            "a NUL",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".into(),
        ),
        ("no version", "GET /x\r\n\r\n".into()),
        ("noise", "\x16\x03\x01\x02\r\n\r\n".into()),
    ];
    for (what, request) in cases {
        let mut wire = rig.connect().await;
        wire.send(&request).await;
        let response = wire.response().await;
        assert!(response.starts_with("HTTP/1.1 400"), "{what}: {response}");
        tokio::time::timeout(PATIENCE, wire.ended(PATIENCE))
            .await
            .expect(what);
    }
    let mut wire = rig.connect().await;
    wire.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        .await;
    let response = wire.response().await;
    assert!(response.starts_with("HTTP/1.1 405"), "{response}");
    rig.stop().await;
}

#[tokio::test]
async fn a_chunked_request_that_was_not_seen_whole_is_answered_and_closed() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le")
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    wire.send("ngth: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        .await;
    let response = wire.response().await;
    assert!(
        response.starts_with("HTTP/1.1 200") && response.contains("connection: close"),
        "{response}"
    );
    assert!(response.ends_with("abc"), "{response}");
    assert_eq!(wire.ended(PATIENCE).await, 0);
    rig.stop().await;
}

#[tokio::test]
async fn targets_reach_the_handler_in_one_form() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    let cases = [
        (
            "GET http://b.example:81/host?x=%2e/../ HTTP/1.1\r\nHost: a",
            "b.example:81 /host?x=%2e/../",
        ),
        ("GET /host HTTP/1.1\r\nHost: A.example", "A.example /host"),
        ("GET /host HTTP/1.0\r\nConnection: keep-alive", "none /host"),
    ];
    for (head, expected) in cases {
        wire.send(&format!("{head}\r\n\r\n")).await;
        let response = wire.response().await;
        assert!(response.ends_with(expected), "{response}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn connections_are_capped_per_client_and_in_total() {
    let rig = Rig::new(Limits {
        connections: 3,
        connections_per_client: 2,
        ..Limits::default()
    });
    let get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = rig.connect().await;
        wire.send(get).await;
        wire.response().await;
        open.push(wire);
    }
    let mut third = rig.connect().await;
    assert_eq!(third.ended(PATIENCE).await, 0);
    assert_eq!(rig.metrics.full(), (0, 1));
    let socket = |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        socket.connect(rig.http)
    };
    let mut other = Wire(socket("127.0.0.7:0").await.unwrap());
    other.send(get).await;
    other.response().await;
    let mut beyond = Wire(socket("127.0.0.8:0").await.unwrap());
    assert_eq!(beyond.ended(PATIENCE).await, 0);
    assert_eq!(rig.metrics.full(), (1, 1));
    // A seat that is given up is free again.
    drop(open);
    eventually("seats are given back", || rig.metrics.open.get() == 1).await;
    let mut again = rig.connect().await;
    again.send(get).await;
    assert!(again.response().await.ends_with("ok"));
    rig.stop().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let rig = Rig::new(Limits {
        body_bytes: 10,
        ..Limits::default()
    });
    let mut wire = rig.connect().await;
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        .await;
    assert!(wire.response().await.starts_with("HTTP/1.1 413"));
    let mut wire = rig.connect().await;
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n")
        .await;
    assert!(wire.response().await.starts_with("HTTP/1.1 413"));
    wire.ended(PATIENCE).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_others_do_not() {
    let get = "GET /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n\r\n";
    for (trusted, expected) in [(&["127.0.0.0/8"][..], "192.0.2.7"), (&[][..], "127.0.0.1")] {
        let rig = Rig::start(Limits::default(), trusted, None);
        let mut wire = rig.connect().await;
        wire.send(get).await;
        let response = wire.response().await;
        assert!(response.ends_with(expected), "{response}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn interim_responses_come_before_their_final_one() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    for _ in 0..2 {
        wire.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let mut first = vec![0; interim.len()];
        wire.0.read_exact(&mut first).await.unwrap();
        assert_eq!(String::from_utf8(first).unwrap(), interim);
        let interim = "HTTP/1.1 102 Processing\r\n\r\n";
        let mut second = vec![0; interim.len()];
        wire.0.read_exact(&mut second).await.unwrap();
        assert_eq!(String::from_utf8(second).unwrap(), interim);
        let response = wire.response().await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        // What comes late does not get into the next exchange.
        wire.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let response = wire.response().await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    }
    // One who knows none gets none.
    let mut wire = rig.connect().await;
    wire.send("GET /early HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let response = wire.response().await;
    assert!(response.starts_with("HTTP/1.0 200 OK"), "{response}");
    // Pipelined, they may be dropped, but nothing is mixed up.
    let mut wire = rig.connect().await;
    wire.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let mut all = Vec::new();
    wire.0.read_to_end(&mut all).await.unwrap();
    let body = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    let rest = &all[body + BIG_PIECES * 16 * 1024..];
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 ") && rest.ends_with("early"),
        "{rest}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn who_is_refused_while_it_sends_hears_why() {
    let rig = Rig::new(Limits {
        body_bytes: 10,
        ..Limits::default()
    });
    let large = "x".repeat(2 << 20);
    for (head, status) in [
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2097152",
            "413",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a, b\r\nTransfer-Encoding: chunked",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost : a\r\nContent-Length: 2097152",
            "400",
        ),
    ] {
        let mut wire = rig.connect().await;
        // All of it, before anything is read.
        wire.send(&format!("{head}\r\n\r\n{large}")).await;
        let response = wire.response().await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {response}"
        );
        assert_eq!(wire.ended(PATIENCE).await, 0);
    }
    rig.stop().await;
}

use tokio::io::DuplexStream;

use super::*;
use crate::exchange::{MaySwitch, Switched};

const ASK: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// What the handler answers: 101 with an origin that sends everything back, or, at `/deaf`, one that reads nothing.
pub(super) fn switch(request: &Request<Body>) -> Response<Body> {
    if request.extensions().get::<MaySwitch>().is_none() {
        return Response::new(Body::from("no switch"));
    }
    let (ours, theirs) = tokio::io::duplex(1024);
    match request.uri().path() {
        "/ws" => drop(tokio::spawn(echo(theirs))),
        _ => drop(tokio::spawn(async move {
            let _kept = theirs;
            std::future::pending::<()>().await;
        })),
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    response
        .extensions_mut()
        .insert(Switched::new(Box::pin(ours)));
    response
}

async fn echo(stream: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await.ok();
    to.shutdown().await.ok();
}

async fn opened(rig: &Rig, ask: &str) -> Wire {
    let mut wire = rig.connect().await;
    wire.send(ask).await;
    let answer = wire.response().await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("connection: upgrade\r\n"), "{answer}");
    wire
}

#[tokio::test]
async fn bytes_go_both_ways_until_both_sides_have_ended() {
    let rig = Rig::new(Limits::default());
    // The first words come with the request.
    let mut wire = rig.connect().await;
    wire.send(&format!("{ASK}early")).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(wire.0.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    let sent = vec![b'z'; 1 << 20];
    let (mut read, mut write) = wire.0.split();
    let sending = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(read.read_to_end(&mut received), sending);
    read.unwrap();
    assert_eq!(&received[..5], b"early");
    assert_eq!(received.len(), 5 + sent.len());
    let bytes = received.len() as u64;
    eventually("the tunnel is counted and gone", || {
        rig.metrics.tunnels() == (0, 0, 0, (bytes, bytes))
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn a_tunnel_ends_when_nothing_passes_or_nobody_reads() {
    let rig = Rig::new(Limits {
        tunnel_idle_timeout: Duration::from_millis(300),
        ..quick()
    });
    let mut quiet = opened(&rig, ASK).await;
    assert_eq!(quiet.ended(Duration::from_secs(5)).await, 0);
    assert_eq!(rig.metrics.tunnels().1, 1);
    let rig = Rig::new(Limits {
        tunnel_idle_timeout: Duration::from_secs(60),
        ..quick()
    });
    let mut stuck = opened(&rig, &ASK.replace("/ws", "/deaf")).await;
    stuck.0.write_all(&[0; 4096]).await.unwrap();
    assert_eq!(stuck.ended(Duration::from_secs(5)).await, 0);
    eventually("the tunnel is counted and gone", || {
        let (open, idle, stuck, _) = rig.metrics.tunnels();
        (open, idle, stuck) == (0, 0, 1)
    })
    .await;
}

#[tokio::test]
async fn tunnels_have_a_limit_of_their_own() {
    let rig = Rig::new(Limits {
        tunnels: 1,
        ..Limits::default()
    });
    let first = opened(&rig, ASK).await;
    let mut second = rig.connect().await;
    second.send(ASK).await;
    let answer = second.response().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Other requests are not concerned.
    let mut other = rig.connect().await;
    other.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(other.response().await.ends_with("ok"));
    drop(first);
    eventually("the first is gone", || rig.metrics.tunnels().0 == 0).await;
    opened(&rig, ASK).await;
}

#[tokio::test]
async fn a_drain_closes_a_tunnel_once_it_is_quiet() {
    let rig = Rig::new(Limits::default());
    let mut wire = opened(&rig, ASK).await;
    wire.send("ping").await;
    let mut pong = [0; 4];
    wire.0.read_exact(&mut pong).await.unwrap();
    let stopped = tokio::spawn(rig.stop());
    assert_eq!(wire.ended(Duration::from_secs(5)).await, 0);
    stopped.await.unwrap();
}

#[tokio::test]
async fn what_does_not_ask_for_websocket_is_answered_over_http() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    for ask in [
        ASK.replace("websocket", "h2c"),
        ASK.replace("keep-alive, Upgrade", "keep-alive"),
    ] {
        wire.send(&ask).await;
        let answer = wire.response().await;
        assert!(answer.ends_with("no switch"), "{answer}");
    }
}

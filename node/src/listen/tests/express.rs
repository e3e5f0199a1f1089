//! Plain requests that are answered in front of hyper, and all the others that must not be.

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);
const NOW: &str = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn plain_requests_are_answered_at_once_and_others_in_between() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    for head in [
        NOW,
        "GET /now HTTP/1.1\r\nhost: a\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n",
        "GET /now HTTP/1.1\r\nAccept: */*\r\nHost: a\r\nconnection: Keep-Alive\r\n\r\n",
    ] {
        wire.send(head).await;
        assert!(wire.response().await.ends_with("at once"), "{head}");
        wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(wire.response().await.ends_with("ok"));
    }
    rig.stop().await;
}

/// What is not plain gets hyper's answer; `ok`, or the status given.
#[tokio::test]
async fn whatever_is_not_plain_is_hypers() {
    let rig = Rig::new(Limits::default());
    for (head, expected) in [
        ("GET /now HTTP/1.1\nHost: a\n\n", "ok"),
        ("\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n", "ok"),
        ("GET /now HTTP/1.0\r\nHost: a\r\n\r\n", "ok"),
        ("GET http://a/now HTTP/1.1\r\nHost: a\r\n\r\n", "ok"),
        ("HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK"),
        (
            "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "ok",
        ),
        (
            "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "ok",
        ),
        ("GET /now HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "ok"),
        (
            "GET /now HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1",
            "ok",
        ),
        ("GET /now HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad"),
        ("GET /now HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 Bad"),
        ("GET /now HTTP/1.1\r\n\r\n", "400 Bad"),
        ("GET /now HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad"),
        ("GET /now HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "400 Bad"),
    ] {
        let mut wire = rig.connect().await;
        wire.send(head).await;
        let mut text = Vec::new();
        let by_hyper = async {
            while !String::from_utf8_lossy(&text).contains(expected) {
                let mut piece = [0; 1024];
                let read = wire.0.read(&mut piece).await.unwrap();
                assert_ne!(read, 0, "{head:?}: {}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&piece[..read]);
            }
        };
        tokio::time::timeout(PATIENCE, by_hyper).await.unwrap();
        assert!(
            !String::from_utf8_lossy(&text).contains("at once"),
            "{head:?}"
        );
    }
    rig.stop().await;
}

/// Where hyper holds a part of a next head, what looks like a whole one is the rest of it.
#[tokio::test]
async fn the_rest_of_a_head_is_never_taken_for_a_head() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nX: ")
        .await;
    assert!(wire.response().await.ends_with("ok"));
    wire.send(NOW).await;
    let rest = wire.response().await;
    assert!(rest.ends_with("ok"), "{rest}");
    // The same without a request before.
    let mut wire = rig.connect().await;
    wire.send("GET /y HTTP/1.1\r\nHost: a\r\nX: ").await;
    tokio::task::yield_now().await;
    wire.send(NOW).await;
    let rest = wire.response().await;
    assert!(!rest.contains("at once"), "{rest}");
    // Content that looks like a head is content.
    let mut wire = rig.connect().await;
    let post = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        NOW.len()
    );
    wire.send(&post).await;
    tokio::task::yield_now().await;
    wire.send(NOW).await;
    assert!(wire.response().await.ends_with(NOW));
    // From there on the connection is hyper's.
    wire.send(NOW).await;
    assert!(wire.response().await.ends_with("ok"));
    rig.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    wire.send(&format!("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n{NOW}{NOW}"))
        .await;
    let mut text = String::new();
    let all = async {
        while text.matches("HTTP/1.1 200").count() < 3 || !text.ends_with("ok") {
            let mut piece = [0; 1024];
            let read = wire.0.read(&mut piece).await.unwrap();
            assert_ne!(read, 0);
            text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert!(text.find("waited") < text.find("ok"), "{text}");
    rig.stop().await;
}

#[tokio::test]
async fn a_stalled_reader_of_an_answer_at_once_is_cut_and_a_slow_one_is_not() {
    let rig = Rig::new(quick());
    let big = "GET /now/big HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stalled = rig.connect().await;
    stalled.send(big).await;
    let mut slow = rig.connect().await;
    slow.send(big).await;
    let (mut total, mut piece) = (0, vec![0; 4 << 20]);
    let whole = BIG_PIECES * PIECE.len();
    while total < whole {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let read = slow.0.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "cut after {total} bytes");
        total += read;
    }
    eventually("the stalled reader is cut", || rig.metrics.cuts().1 == 1).await;
    assert!(stalled.ended(PATIENCE).await < whole);
    // A request that came while the answer was on its way is answered after it.
    slow.send(NOW).await;
    slow.response().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_drain_lets_an_answer_at_once_arrive() {
    let rig = Rig::new(Limits::default());
    let mut wire = rig.connect().await;
    wire.send("GET /now/big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Its first bytes show that the answer is on its way.
    let mut first = vec![0; 1024];
    let first = wire.0.read(&mut first).await.unwrap();
    rig.drain.cancel();
    let whole = BIG_PIECES * PIECE.len();
    let rest = wire.ended(PATIENCE).await;
    assert!(first + rest > whole, "{} of {whole}", first + rest);
    rig.stop().await;
}

#[tokio::test]
async fn an_idle_connection_after_an_answer_at_once_ends_after_its_time() {
    let rig = Rig::new(quick());
    let mut wire = rig.connect().await;
    wire.send(NOW).await;
    wire.response().await;
    assert_eq!(wire.ended(PATIENCE).await, 0);
    assert_eq!(rig.metrics.cuts(), (0, 0));
    rig.stop().await;
}

use http::header::EXPECT;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::upstream::progress::CONTINUE_WAIT;

/// A POST whose content notes when it is first asked for.
fn expecting(asked_for: &Arc<Mutex<bool>>) -> Request<Body> {
    let noted = Arc::clone(asked_for);
    let pieces = futures_util::stream::once(async move {
        *noted.lock() = true;
        Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"content")))
    });
    let mut request = request(Method::POST, "/x", Body::stream(StreamBody::new(pieces)));
    let expectation = HeaderValue::from_static("100-continue");
    request.headers_mut().insert(EXPECT, expectation);
    request
}

async fn status_of(origins: &Origins, site: &Arc<Site>, request: Request<Body>) -> StatusCode {
    let answer = origins.fetch(site, request, Replay::Unsent).await.unwrap();
    let status = answer.response.status();
    answer.response.into_body().collect().await.unwrap();
    status
}

/// An origin that sends `before` after the head, and 200 after the content.
async fn asks(before: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut received = Vec::new();
                while !received.ends_with(b"\r\n\r\n") {
                    received.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(received).unwrap();
                assert!(head.contains("expect: 100-continue\r\n"), "{head}");
                stream.write_all(before.as_bytes()).await.unwrap();
                let mut content = Vec::new();
                while !content.ends_with(b"0\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => content.push(byte),
                        Err(_) => return,
                    }
                }
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(ok).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn content_waits_until_the_origin_wants_it() {
    let address = asks("HTTP/1.1 100 Continue\r\n\r\n").await;
    let (origins, site) = (origins(), site(vec![origin("one", address)]));
    let asked_for = Arc::default();
    let started = Instant::now();
    assert_eq!(status_of(&origins, &site, expecting(&asked_for)).await, 200);
    assert!(*asked_for.lock());
    // It was the origin's word, and not the end of our patience.
    assert!(started.elapsed() < CONTINUE_WAIT);
}

#[tokio::test]
async fn an_origin_that_knows_no_expectations_gets_the_content_after_a_while() {
    let address = asks("").await;
    let mut slow = origin("one", address);
    slow.response_timeout = Duration::from_secs(5);
    let (origins, site) = (origins(), site(vec![slow]));
    let asked_for = Arc::default();
    assert_eq!(status_of(&origins, &site, expecting(&asked_for)).await, 200);
    assert!(*asked_for.lock());
}

#[tokio::test]
async fn a_final_answer_before_the_content_makes_it_needless() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    let address = asks(refusal).await;
    let (origins, site) = (origins(), site(vec![origin("one", address)]));
    let asked_for = Arc::default();
    assert_eq!(status_of(&origins, &site, expecting(&asked_for)).await, 401);
    assert!(!*asked_for.lock());
    // The connection still waits for content that never comes: it is not used again.
    assert_eq!(origins.idle_connections(), 0);
    assert!(origins.status(&site)[0].healthy);
}

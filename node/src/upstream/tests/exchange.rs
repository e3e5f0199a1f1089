use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;
use tokio::sync::mpsc;

use super::*;

/// A request's content, piece by piece, from a channel.
struct Pieces(mpsc::Receiver<Result<Bytes, BodyError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[tokio::test]
async fn a_request_goes_out_as_it_is_on_a_kept_connection() {
    let scripted = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    for path in ["/a/../b//c?x=%2F&y=%zz'", "/", "*"] {
        let method = if path == "*" {
            Method::OPTIONS
        } else {
            Method::GET
        };
        let request = request(method.clone(), path, Body::Empty);
        let answer = origins
            .fetch(&site, request, Replay::of(&method))
            .await
            .unwrap();
        assert_eq!((&*answer.origin, answer.attempts), ("one", 1));
        assert_eq!(
            answer
                .response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes(),
            "ok"
        );
        assert_eq!(
            scripted.last(),
            format!("{method} {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        );
    }
    assert_eq!(scripted.connections.load(Ordering::SeqCst), 1);
    assert_eq!(origins.idle_connections(), 1);
}

#[tokio::test]
async fn content_is_framed_by_what_is_known_of_it() {
    let scripted = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    let (sender, pieces) = mpsc::channel(2);
    for text in ["ab", "c"] {
        sender
            .send(Ok(Bytes::from_static(text.as_bytes())))
            .await
            .unwrap();
    }
    drop(sender);
    let cases = [
        (Body::from("abc"), "content-length: 3\r\n\r\nabc"),
        (
            Body::stream(Pieces(pieces)),
            "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
        (Body::Empty, "content-length: 0\r\n\r\n"),
    ];
    for (body, expected) in cases {
        let mut request = request(Method::POST, "/x", body);
        // Whatever framing came with it is not what goes out.
        request
            .headers_mut()
            .insert("transfer-encoding", "gzip, chunked".parse().unwrap());
        request
            .headers_mut()
            .insert("content-length", "77".parse().unwrap());
        origins.fetch(&site, request, Replay::Unsent).await.unwrap();
        assert!(scripted.last().ends_with(expected), "{}", scripted.last());
    }
}

#[tokio::test]
async fn a_connection_the_origin_closed_while_idle_costs_nobody_an_answer() {
    let scripted =
        Scripted::new(|_, _| Act::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
            .await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    for _ in 0..20 {
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
        assert_eq!(ask(&origins, &site, Method::POST).await, "200 ok from one");
    }
    assert!(origins.status(&site)[0].healthy);
}

#[tokio::test]
async fn a_kept_connection_that_dies_under_a_safe_request_is_replaced() {
    // Every second request finds the connection closing without an answer.
    let scripted = Scripted::new(|number, _| if number % 2 == 1 { CLOSE } else { OK }).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    for _ in 0..10 {
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
    }
    assert!(origins.status(&site)[0].healthy);
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_is_an_error_and_not_an_end() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    for act in [Act::SendAndStall(half), Act::SendAndClose(half)] {
        let scripted = Scripted::new(move |_, _| act).await;
        let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
        let request = request(Method::GET, "/x", Body::Empty);
        let answer = origins.fetch(&site, request, Replay::Safe).await.unwrap();
        let started = Instant::now();
        let error = answer.response.into_body().collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Upstream(_)), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(origins.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_not_the_origins_fault() {
    let scripted = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    let (sender, pieces) = mpsc::channel(2);
    sender.send(Ok(Bytes::from_static(b"ab"))).await.unwrap();
    sender.send(Err(BodyError::TooSlow)).await.unwrap();
    let request = request(Method::POST, "/x", Body::stream(Pieces(pieces)));
    let error = origins
        .fetch(&site, request, Replay::Unsent)
        .await
        .unwrap_err();
    assert_eq!((error.side, error.retry_safe), (Side::Client, false));
    assert!(matches!(
        error.kind,
        UpstreamErrorKind::Content(BodyError::TooSlow)
    ));
    assert_eq!(scripted.asked(), 0);
    assert!(origins.status(&site)[0].healthy);
}

#[tokio::test]
async fn a_long_upload_is_not_cut_while_the_client_sends() {
    let scripted = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    let (sender, pieces) = mpsc::channel(2);
    let sending = async {
        for _ in 0..3 {
            // Longer than the origin's own deadline: it is the client that is slow.
            tokio::time::sleep(Duration::from_millis(700)).await;
            sender.send(Ok(Bytes::from_static(b"ab"))).await.unwrap();
        }
        drop(sender);
    };
    let request = request(Method::POST, "/x", Body::stream(Pieces(pieces)));
    let (answer, ()) = tokio::join!(origins.fetch(&site, request, Replay::Unsent), sending);
    assert_eq!(answer.unwrap().response.status(), 200);
}

#[tokio::test]
async fn runtimes_do_not_share_connections_but_health() {
    let scripted = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), site(vec![origin("one", scripted.address)]));
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
    let (there, its_site) = (Arc::clone(&origins), Arc::clone(&site));
    let elsewhere = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                assert_eq!(ask(&there, &its_site, Method::GET).await, "200 ok from one");
            }
        });
    });
    elsewhere.await.unwrap();
    assert_eq!(scripted.connections.load(Ordering::SeqCst), 2);
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
    assert_eq!(scripted.connections.load(Ordering::SeqCst), 2);
}

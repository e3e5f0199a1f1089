use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::tls::Authority;
use super::*;

type Sender = SendRequest<Empty<Bytes>>;

async fn open(
    authority: &Authority,
    rig: &Rig,
    window: u32,
) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let https = rig.https.unwrap();
    let stream = authority
        .connect(https, "shop.example", "h2")
        .await
        .unwrap();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("https://shop.example{path}");
    Request::get(uri).body(Empty::new()).unwrap()
}

fn rig(limits: Limits) -> (Authority, Rig) {
    let mut authority = Authority::new();
    authority.sign("shop", &["shop.example"]);
    let rig = Rig::start(limits, &[], Some(authority.certificates()));
    (authority, rig)
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let (authority, rig) = rig(Limits::default());
    let (sender, _driving) = open(&authority, &rig, 1 << 20).await;
    let asked = (0..50).map(|n| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let path = if n % 10 == 0 { "/big" } else { "/x" };
            let response = sender.send_request(get(path)).await.unwrap();
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len()
        })
    });
    let lengths = futures_util::future::join_all(asked).await;
    let total: usize = lengths.into_iter().map(Result::unwrap).sum();
    assert_eq!(total, 5 * BIG_PIECES * 16 * 1024 + 45 * 2);
    rig.stop().await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (authority, rig) = rig(Limits {
        h2_resets: 20,
        ..Limits::default()
    });
    let (mut sender, driving) = open(&authority, &rig, 1 << 20).await;
    let mut sent = 0;
    while sent < 10_000 && !driving.is_finished() {
        if sender.ready().await.is_err() {
            break;
        }
        let asking = sender.send_request(get("/wait"));
        // Give the request its way out, then take it back: RST_STREAM.
        tokio::time::timeout(Duration::from_millis(2), asking)
            .await
            .ok();
        sent += 1;
    }
    assert!(sent < 500, "{sent} resets were tolerated");
    rig.stop().await;
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_cut() {
    let (authority, rig) = rig(quick());
    let (mut sender, _driving) = open(&authority, &rig, 64 * 1024).await;
    let response = sender.send_request(get("/big")).await.unwrap();
    eventually("the stalled reader is cut", || rig.metrics.cuts().1 == 1).await;
    assert!(response.into_body().collect().await.is_err());
    rig.stop().await;
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection() {
    let (authority, rig) = rig(quick());
    let (mut sender, driving) = open(&authority, &rig, 1 << 20).await;
    let response = sender.send_request(get("/x")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), driving).await;
    assert!(ended.unwrap().unwrap().is_ok(), "GOAWAY is a clean end");
    rig.stop().await;
}

#[tokio::test]
async fn a_drain_says_goaway_and_lets_streams_end() {
    let (authority, rig) = rig(Limits::default());
    let (mut sender, driving) = open(&authority, &rig, 1 << 20).await;
    let asking = sender.send_request(get("/wait"));
    tokio::time::sleep(WAIT / 5).await;
    let stopped = tokio::spawn(rig.stop());
    let body = asking.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "waited");
    assert!(driving.await.unwrap().is_ok());
    stopped.await.unwrap();
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let (authority, rig) = rig(Limits {
        header_fields: 10,
        body_bytes: 10,
        ..Limits::default()
    });
    let (mut sender, _driving) = open(&authority, &rig, 1 << 20).await;
    let mut many = get("/x");
    for n in 0..20 {
        let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
        many.headers_mut()
            .insert(name, HeaderValue::from_static("y"));
    }
    let mut other_host = get("/x");
    let host = HeaderValue::from_static("other.example");
    other_host.headers_mut().insert(http::header::HOST, host);
    for (request, status) in [(many, 431), (other_host, 400), (get("/x"), 200)] {
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    rig.stop().await;
}

/// A client that sees interim responses.
async fn open_bare(authority: &Authority, rig: &Rig) -> h2::client::SendRequest<Bytes> {
    let https = rig.https.unwrap();
    let stream = authority.connect(https, "shop.example", "h2").await;
    let (sender, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    drop(tokio::spawn(connection));
    sender.ready().await.unwrap()
}

fn ask(method: &str, path: &str) -> http::request::Builder {
    let uri = format!("https://shop.example{path}");
    Request::builder().method(method).uri(uri)
}

async fn interim(response: &mut h2::client::ResponseFuture) -> Response<()> {
    let next = std::future::poll_fn(|cx| response.poll_informational(cx));
    let next = tokio::time::timeout(Duration::from_secs(5), next).await;
    next.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn interim_responses_come_before_their_final_one_each_on_its_stream() {
    let (authority, rig) = rig(Limits::default());
    let mut sender = open_bare(&authority, &rig).await;
    let mut send = |path: &str| {
        let request = ask("GET", path).body(()).unwrap();
        sender.send_request(request, true).unwrap().0
    };
    // Another stream waits meanwhile, and one more hears of its own.
    let waiting = send("/wait");
    let mut early = [send("/early"), send("/early")];
    for response in &mut early {
        let hints = interim(response).await;
        assert_eq!(hints.status(), StatusCode::EARLY_HINTS);
        assert_eq!(hints.headers()["link"], "</a>");
    }
    for mut response in early {
        assert_eq!(
            interim(&mut response).await.status(),
            StatusCode::PROCESSING
        );
        assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    }
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn content_is_asked_for_by_100_continue() {
    let (authority, rig) = rig(Limits::default());
    let mut sender = open_bare(&authority, &rig).await;
    let request = ask("POST", "/echo").header("expect", "100-continue");
    let (mut response, mut content) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    // Nothing is sent before.
    assert_eq!(interim(&mut response).await.status(), StatusCode::CONTINUE);
    content.send_data(Bytes::from_static(b"abc"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "abc");
    // Content that nobody wants is not asked for.
    let request = ask("POST", "/x").header("expect", "100-continue");
    let (mut response, _content) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    let answer = std::future::poll_fn(|cx| {
        assert!(!matches!(
            response.poll_informational(cx),
            std::task::Poll::Ready(Some(_))
        ));
        std::pin::Pin::new(&mut response).poll(cx)
    });
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn content_that_is_reset_is_not_whole_whatever_the_reason() {
    let (authority, rig) = rig(Limits::default());
    let mut sender = open_bare(&authority, &rig).await;
    for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
        let request = ask("POST", "/keep").body(()).unwrap();
        let (_response, mut content) = sender.send_request(request, false).unwrap();
        content
            .send_data(Bytes::from_static(b"abc"), false)
            .unwrap();
        let echo = &rig.echo;
        eventually("it has come", || *echo.begun.lock() == "abc").await;
        content.send_reset(reason);
        eventually("it has ended", || echo.ended.lock().is_some()).await;
        assert_eq!(echo.ended.lock().take(), Some(false), "{reason:?}");
        echo.begun.lock().clear();
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut_whatever_else_is_open() {
    let (authority, rig) = rig(quick());
    let https = rig.https.unwrap();
    for other in [false, true] {
        let stream = authority.connect(https, "shop.example", "h2").await;
        let mut stream = stream.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        if other {
            // :method GET, :scheme https, :path /endless, :authority a: indexed but for the path and authority.
            let block = b"\x82\x87\x04\x08/endless\x01\x01a";
            let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
            stream
                .write_all(&[&head[..], block].concat())
                .await
                .unwrap();
        }
        // A block that ends some day, byte by byte.
        stream
            .write_all(&[0, 0, 200, 1, 4, 0, 0, 0, 3])
            .await
            .unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let dribble = async {
            while write.write_all(&[0x82]).await.is_ok() && write.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        let ended = async {
            tokio::select! {
                () = dribble => {}
                _ = read.read_to_end(&mut rest) => {}
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
        assert!(ended.is_ok(), "{other}");
    }
    eventually("both are counted", || rig.metrics.cuts().0 == 2).await;
    rig.stop().await;
}

#[tokio::test]
async fn content_over_http2_is_cut_by_progress() {
    let (authority, rig) = rig(quick());
    let mut sender = open_bare(&authority, &rig).await;
    for steady in [true, false] {
        let request = ask("POST", "/echo").body(()).unwrap();
        let (response, mut content) = sender.send_request(request, false).unwrap();
        // Longer than the timeout in total, but never without progress.
        for piece in ["ab", "cd", "ef", "gh"] {
            content
                .send_data(piece.into(), steady && piece == "gh")
                .unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let status = if steady {
            StatusCode::OK
        } else {
            StatusCode::REQUEST_TIMEOUT
        };
        assert_eq!(response.await.unwrap().status(), status);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_steady_slow_reader_over_http2_is_not_cut() {
    let (authority, rig) = rig(quick());
    let mut sender = open_bare(&authority, &rig).await;
    let request = ask("GET", "/big").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let (mut total, started) = (0, Instant::now());
    // The window is opened a little now and then, for longer than the timeout.
    while started.elapsed() < Duration::from_millis(1500) {
        let piece = body.data().await.unwrap().unwrap();
        total += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        total += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(total, BIG_PIECES * 16 * 1024);
    assert_eq!(rig.metrics.cuts(), (0, 0));
    rig.stop().await;
}

#[tokio::test]
async fn pings_beyond_all_measure_end_the_connection() {
    let (authority, rig) = rig(Limits::default());
    let stream = authority
        .connect(rig.https.unwrap(), "shop.example", "h2")
        .await;
    let (mut read, mut write) = tokio::io::split(stream.unwrap());
    let flood = async {
        write
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .ok();
        write.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.ok();
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(100);
        for _ in 0..1000 {
            if write.write_all(&ping).await.is_err() || write.flush().await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut pongs = Vec::new();
    let ended = async {
        tokio::select! {
            () = flood => {}
            _ = read.read_to_end(&mut pongs) => {}
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .is_ok()
    );
    assert!(pongs.len() < 17 * 20_000, "{} bytes", pongs.len());
    rig.stop().await;
}

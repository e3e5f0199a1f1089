//! What origins put on the wire, byte for byte.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A proxy in front of an origin that answers every request with these bytes and closes.
async fn says(bytes: &'static [u8]) -> (Bed, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    // Ends with the test's runtime.
    drop(tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            if head.is_empty() {
                continue;
            }
            *count.lock() += 1;
            // The proxy may have hung up: then the test sees that.
            drop(socket.write_all(bytes).await);
        }
    }));
    let nobody = Origin::start(always(500, &[], "")).await;
    (Bed::before("", address, nobody), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_frames_a_whole_answer_it_is_stored() {
    for (what, bytes) in [
        (
            "interim responses first",
            &b"HTTP/1.1 103 Early Hints\r\nCache-Control: no-store\r\nLink: </a>\r\n\r\n\
               HTTP/1.1 102 Processing\r\n\r\n\
               HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello"[..],
        ),
        (
            "HTTP/1.0 until it closes",
            b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nhello",
        ),
        (
            "chunks with an extension and a trailer",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\
              Trailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        (
            "white space before a colon",
            b"HTTP/1.1 200 OK\r\nCache-Control : max-age=60\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "a folded line",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60,\r\n public\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "bare line feeds",
            b"HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Length: 5\n\nhello",
        ),
        (
            "a length beside chunks",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\
              Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "no reason",
            b"HTTP/1.1 200 \r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello",
        ),
    ] {
        let (bed, asked) = says(bytes).await;
        for _ in 0..2 {
            let got = bed.get("/a").await;
            assert_eq!((got.status.as_u16(), got.text()), (200, "hello"), "{what}");
            assert!(!got.headers.contains_key("link"), "{what}");
            assert!(!got.headers.contains_key("trailer"), "{what}");
        }
        assert_eq!(*asked.lock(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_whole_is_seen_to_break_and_not_stored() {
    for (what, bytes) in [
        (
            "fewer bytes than declared",
            &b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nhello"[..],
        ),
        (
            "no last chunk",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "a chunk size that is none",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n\r\n",
        ),
    ] {
        let (bed, asked) = says(bytes).await;
        for round in 1..=2 {
            let got = bed.get("/a").await;
            // Before the client has seen anything of it, an error of ours says it better.
            let early = got.status == StatusCode::BAD_GATEWAY;
            assert!(got.body.is_err() || early, "{what}: {got:?}");
            assert_eq!(*asked.lock(), round, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_204_is_that_of_no_body() {
    let (bed, asked) =
        says(b"HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\n")
            .await;
    for _ in 0..2 {
        let got = bed.get("/a").await;
        assert_eq!((got.status.as_u16(), got.text()), (204, ""));
        assert!(!got.headers.contains_key("content-length"));
    }
    assert_eq!(*asked.lock(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_are_forwarded() {
    let (bed, _) = says(
        b"HTTP/1.1 100 Continue\r\n\r\n\
          HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-a\r\nX-A: 1\r\n\r\n\
          HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let (line, mut interims) = crate::exchange::InterimLine::new();
    let with_line = || Client {
        interim: Some(Arc::clone(&line)),
        ..client()
    };
    for target in ["/a", "/a", "/b"] {
        let exchange = line.begin();
        let got = collect(bed.open_as(with_line(), get(target, &[])).await).await;
        assert_eq!(got.text(), "hello");
        if got.cache_status().contains("hit") {
            assert!(interims.try_recv().is_err());
            continue;
        }
        let interim = interims.try_recv().unwrap();
        assert_eq!(
            (interim.exchange, interim.status),
            (exchange, StatusCode::EARLY_HINTS)
        );
        assert_eq!(
            (interim.headers.len(), &interim.headers["link"]),
            (1, &HeaderValue::from_static("</a>"))
        );
        assert!(interims.try_recv().is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_asked_for_is_refused() {
    for bytes in [
        &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
    ] {
        let (bed, _) = says(bytes).await;
        let got = bed.get("/a").await;
        assert_eq!(
            got.status,
            StatusCode::BAD_GATEWAY,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

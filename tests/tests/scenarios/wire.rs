//! Shapes of requests, byte for byte at a real listener. The origin behind it reads to the letter: it must get nothing,
//! or exactly one well-formed request.

use std::net::SocketAddr;
use std::time::Duration;

use nearside_tests::{Serve, StrictOrigin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the listener must make of a shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Made {
    /// Answered with this status and closed; the origin gets nothing.
    Refused(u16),
    /// The origin gets exactly this one: method, target, content.
    One(&'static str, &'static str, &'static str),
    /// Closed without a word; the origin gets nothing.
    Closed,
    /// The origin gets the beginning of one that never ends, which is none; the connection is closed.
    Broken,
}

use Made::{Broken, Closed, One, Refused};

/// Sends bytes and reads to the end of the connection.
pub(crate) async fn talk(address: SocketAddr, bytes: &[u8], no_more: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // The other side may have closed before it has taken all.
    drop(stream.write_all(bytes).await);
    if no_more {
        drop(stream.shutdown().await);
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let end = async {
        while let Ok(read) = stream.read(&mut piece).await {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&piece[..read]);
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(8), end).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection stays open: {text:?}");
    text
}

/// What an attacker would put behind a shape, to have it taken for another request.
const BEHIND: &str = "GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n";

/// Puts each shape to the listener; `H` stands for the Host line.
pub(crate) async fn check(shapes: &[(&str, &str, Made)]) {
    let origin = StrictOrigin::start().await;
    let serve = Serve::start(&[&origin.url()], &[]).await;
    let mut wrong = Vec::new();
    for (name, shape, made) in shapes {
        let mut bytes = shape.replace("H\r\n", "Host: app.example\r\n");
        if !matches!(made, One(..)) {
            bytes.push_str(BEHIND);
        }
        let answer = talk(serve.address, bytes.as_bytes(), matches!(made, Broken)).await;
        let seen = origin.take();
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let seen: Vec<_> = seen
            .iter()
            .map(|seen| (&*seen.method, &*seen.target, &*seen.content))
            .collect();
        let right = match made {
            Refused(expected) => {
                status == Some(*expected)
                    && seen.is_empty()
                    && answer.matches("HTTP/1.").count() == 1
            }
            One(method, target, content) => {
                status == Some(200) && seen == [(*method, *target, content.as_bytes())]
            }
            Closed => seen.is_empty() && answer.is_empty(),
            Broken => seen.is_empty() && status.is_none_or(|status| status >= 400),
        };
        if !right {
            wrong.push(format!("{name}: {made:?}, but {seen:?} and {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(origin.faults(), Vec::<String>::new());
}

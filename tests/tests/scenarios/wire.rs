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

/// What is stored, where something is.
const HIT: &str = "GET /p HTTP/1.1\r\nHost: app.example\r\n\r\n";

/// Puts each shape to the listener; `H` stands for the Host line. Then those that are refused once more where their
/// target is stored, alone and behind a hit.
pub(crate) async fn check(shapes: &[(&str, &str, Made)]) {
    let origin = StrictOrigin::start().await;
    let serve = Serve::start(&[&origin.url()], &[]).await;
    let mut wrong = Vec::new();
    for (name, shape, made) in shapes {
        let bytes = bytes_of(shape, *made);
        let answer = talk(serve.address, bytes.as_bytes(), matches!(made, Broken)).await;
        let seen = origin.take();
        let seen: Vec<_> = seen
            .iter()
            .map(|seen| (&*seen.method, &*seen.target, &*seen.content))
            .collect();
        let status = status(&answer);
        let right = match made {
            Refused(expected) => refused(&answer, *expected) && seen.is_empty(),
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
    wrong.extend(origin.faults());
    wrong.extend(wrong_where_stored(shapes).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn wrong_where_stored(shapes: &[(&str, &str, Made)]) -> Vec<String> {
    let origin = StrictOrigin::saying("max-age=600").await;
    let serve = Serve::start(&[&origin.url()], &[]).await;
    let close = "Connection: close\r\n\r\n";
    let get = HIT.replace("\r\n\r\n", &format!("\r\n{close}"));
    for _ in 0..2 {
        talk(serve.address, get.as_bytes(), false).await;
    }
    assert_eq!(origin.take().len(), 1, "it is stored");
    let mut wrong = Vec::new();
    for (name, shape, made) in shapes {
        let Refused(expected) = made else {
            continue;
        };
        let bytes = bytes_of(shape, *made);
        let answer = talk(serve.address, bytes.as_bytes(), false).await;
        if !refused(&answer, *expected) {
            wrong.push(format!("{name}, stored: {answer:?}"));
        }
        // The one before is answered as ever.
        let answer = talk(serve.address, (HIT.to_owned() + &bytes).as_bytes(), false).await;
        let second = answer.find("\r\n\r\nok").map(|at| &answer[at + 6..]);
        let seen = origin.take();
        // Of two lengths behind another request one is not seen, and what can be read in one way only is answered. As
        // every write does, it outdates what is stored.
        let other: Vec<_> = seen.iter().filter(|seen| seen.method != "GET").collect();
        let once = other.len() == 1 && other[0].content == b"hello";
        let second = second.is_some_and(|second| refused(second, *expected));
        if !(second && other.is_empty() || once) {
            wrong.push(format!("{name}, behind a hit: {seen:?} and {answer:?}"));
        }
    }
    wrong.extend(origin.faults());
    wrong
}

fn bytes_of(shape: &str, made: Made) -> String {
    let mut bytes = shape.replace("H\r\n", "Host: app.example\r\n");
    if !matches!(made, One(..)) {
        bytes.push_str(BEHIND);
    }
    bytes
}

fn status(answer: &str) -> Option<u16> {
    answer.get(9..12)?.parse().ok()
}

/// With this status, and nothing behind it.
fn refused(answer: &str, expected: u16) -> bool {
    status(answer) == Some(expected) && answer.matches("HTTP/1.").count() == 1
}

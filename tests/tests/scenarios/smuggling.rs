//! Every known shape of framing that two readers could read in two ways.

use nearside_tests::run;

use crate::wire::Made::{Broken, One, Refused};
use crate::wire::check;

#[test]
fn lengths_that_are_not_one_number_are_refused() {
    let post =
        |fields: &str, body: &str| format!("POST /p HTTP/1.1\r\nH\r\n{fields}\r\n\r\n{body}");
    let bad = [
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5;",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: \"5\"",
        "Content-Length:",
        "Content-Length: five",
        "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551616",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Content-Length\0: 5",
        "Content-Length:\u{b}5",
        "Content-Length: 5\r",
    ];
    let shapes: Vec<_> = bad
        .iter()
        .map(|field| (*field, post(field, "hello")))
        .collect();
    let mut shapes: Vec<_> = shapes
        .iter()
        .map(|(name, shape)| (*name, shape.as_str(), Refused(400)))
        .collect();
    let one = One("POST", "/p", "hello");
    let same = post(
        "Connection: close\r\nContent-Length: 5\r\nContent-Length: 5",
        "hello",
    );
    let zeros = post("Connection: close\r\nContent-Length: 0005", "hello");
    let spaces = post("Connection: close\r\nContent-Length:  \t 5 \t", "hello");
    let beyond = post("Content-Length: 18446744073709551615", "hello");
    let other_name = post(
        "Connection: close\r\nContent_Length: 3\r\nContent-Length: 5",
        "hello",
    );
    shapes.extend([
        ("beyond all numbers", beyond.as_str(), Refused(431)),
        ("the same twice", same.as_str(), one),
        ("leading zeros", &zeros, one),
        ("white space", &spaces, one),
        ("an underscore", &other_name, one),
    ]);
    run(check(&shapes));
}

#[test]
fn codings_that_are_not_chunked_once_are_refused() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let post = |fields: &str| format!("POST /p HTTP/1.1\r\nH\r\n{fields}\r\n\r\n{body}");
    let bad = [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "content-length: 5\r\ntransfer-encoding: CHUNKED",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: x chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding:\u{c}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: \u{feff}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\rX: y",
    ];
    let shapes: Vec<_> = bad.iter().map(|field| (*field, post(field))).collect();
    let mut shapes: Vec<_> = shapes
        .iter()
        .map(|(name, shape)| (*name, shape.as_str(), Refused(400)))
        .collect();
    let older = format!("POST /p HTTP/1.0\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let older_kept = older.replace(
        "H\r\n",
        "H\r\nConnection: keep-alive\r\nContent-Length: 5\r\n",
    );
    let one = One("POST", "/p", "hello");
    let tab = post("Connection: close\r\nTransfer-Encoding:\tchunked\t");
    let capital = post("Connection: close\r\nTransfer-encoding: Chunked");
    let other_name =
        post("Connection: close\r\nTransfer_Encoding: gzip\r\nTransfer-Encoding: chunked");
    shapes.extend([
        ("HTTP/1.0", older.as_str(), Refused(400)),
        ("HTTP/1.0 with both", &older_kept, Refused(400)),
        ("tabs", &tab, one),
        ("another case", &capital, one),
        ("an underscore", &other_name, one),
    ]);
    run(check(&shapes));
}

#[test]
fn chunks_that_are_not_to_the_letter_end_the_connection() {
    let post = |body: &str| {
        format!(
            "POST /p HTTP/1.1\r\nH\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        )
    };
    let bad = [
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("negative", "-5\r\nhello\r\n0\r\n\r\n"),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a space before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("no digit", "\r\nhello\r\n0\r\n\r\n"),
        ("an overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        (
            "half an overflow",
            "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        ),
        ("other letters", "5g\r\nhello\r\n0\r\n\r\n"),
        ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a bare CR in the size", "5\rX\nhello\r\n0\r\n\r\n"),
        ("no CRLF behind the data", "5\r\nhello0\r\n\r\n"),
        ("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("two other bytes behind the data", "5\r\nhelloXX0\r\n\r\n"),
        ("more data than the size", "5\r\nhello!\r\n0\r\n\r\n"),
        ("a bare CR at the end", "5\r\nhello\r\n0\r\n\rX"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("a trailer without colon", "5\r\nhello\r\n0\r\nXy\r\n\r\n"),
        (
            "a trailer with a space in its name",
            "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        ),
        (
            "a control byte in a trailer",
            "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        ),
    ];
    let huge = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000));
    let many = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(3000));
    let mut shapes: Vec<_> = bad
        .iter()
        .map(|(name, body)| (*name, post(body), Broken))
        .collect();
    shapes.push(("a huge extension", post(&huge), Broken));
    shapes.push(("too many trailers", post(&many), Broken));
    shapes.push((
        "never the last chunk",
        post("5\r\nhello\r\nfffff\r\n"),
        Broken,
    ));
    let one = One("POST", "/p", "hello");
    for (name, body) in [
        ("leading zeros", "0000005\r\nhello\r\n0\r\n\r\n"),
        ("several zeros at the end", "5\r\nhello\r\n000\r\n\r\n"),
        ("an extension", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        ("a quoted extension", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
        ("white space behind the size", "5 \t\r\nhello\r\n0\r\n\r\n"),
        ("two chunks", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (
            "trailers that frame",
            "5\r\nhello\r\n0\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\n",
        ),
        (
            "trailers that route",
            "5\r\nhello\r\n0\r\nHost: evil.example\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        ),
        (
            "trailers that authorize",
            "5\r\nhello\r\n0\r\nAuthorization: Basic x\r\nCookie: a=b\r\n\r\n",
        ),
    ] {
        shapes.push((name, post(body), one));
    }
    let shapes: Vec<_> = shapes
        .iter()
        .map(|(name, shape, made)| (*name, shape.as_str(), *made))
        .collect();
    run(check(&shapes));
}

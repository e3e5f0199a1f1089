//! Every known shape of lines, targets and wishes to leave HTTP/1 that two readers could read in two ways.

use nearside_tests::run;

use crate::wire::Made::{Broken, Closed, One, Refused};
use crate::wire::check;

#[test]
fn lines_that_are_no_lines_are_refused() {
    let long = format!("{} /p HTTP/1.1\r\nH\r\n\r\n", "X".repeat(100));
    let longer = format!("{} /p HTTP/1.1\r\nH\r\n\r\n", "X".repeat(100_000));
    let endless = format!("GET /{} HTTP/1.1\r\nH\r\n\r\n", "a".repeat(100_000));
    let close = "Connection: close\r\n\r\n";
    let shapes = [
        (
            "a bare CR in a value",
            "GET /p HTTP/1.1\r\nH\r\nX: y\rZ: w\r\n\r\n",
            Refused(400),
        ),
        (
            "a bare CR as line end",
            "GET /p HTTP/1.1\rH\r\n\r\n",
            Refused(400),
        ),
        (
            "a folded line",
            "GET /p HTTP/1.1\r\nH\r\nX: y\r\n z\r\n\r\n",
            Refused(400),
        ),
        (
            "a folded first line",
            "GET /p HTTP/1.1\r\n H\r\n\r\n",
            Refused(400),
        ),
        (
            "a folded Host",
            "GET /p HTTP/1.1\r\nHost:\r\n app.example\r\n\r\n",
            Refused(400),
        ),
        (
            "a NUL in a value",
            "GET /p HTTP/1.1\r\nH\r\nX: a\0b\r\n\r\n",
            Refused(400),
        ),
        (
            "a control byte in a value",
            "GET /p HTTP/1.1\r\nH\r\nX: a\u{1}b\r\n\r\n",
            Refused(400),
        ),
        (
            "DEL in a value",
            "GET /p HTTP/1.1\r\nH\r\nX: a\u{7f}b\r\n\r\n",
            Refused(400),
        ),
        (
            "a NUL in a name",
            "GET /p HTTP/1.1\r\nH\r\nX\0: a\r\n\r\n",
            Refused(400),
        ),
        (
            "a control byte in a name",
            "GET /p HTTP/1.1\r\nH\r\nX\u{1}: a\r\n\r\n",
            Refused(400),
        ),
        (
            "a space in a name",
            "GET /p HTTP/1.1\r\nH\r\nX Y: a\r\n\r\n",
            Refused(400),
        ),
        (
            "a space behind a name",
            "GET /p HTTP/1.1\r\nH\r\nX : a\r\n\r\n",
            Refused(400),
        ),
        (
            "a name of other letters",
            "GET /p HTTP/1.1\r\nH\r\nX\u{e9}: a\r\n\r\n",
            Refused(400),
        ),
        (
            "no name",
            "GET /p HTTP/1.1\r\nH\r\n: a\r\n\r\n",
            Refused(400),
        ),
        (
            "no colon",
            "GET /p HTTP/1.1\r\nH\r\nX\r\n\r\n",
            Refused(400),
        ),
        (
            "a NUL in the target",
            "GET /\0p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a control byte in the target",
            "GET /\u{1}p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a tab in the target",
            "GET /a\tb HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a space in the target",
            "GET /a b HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        ("two spaces", "GET  /p HTTP/1.1\r\nH\r\n\r\n", Refused(400)),
        (
            "a space at the end",
            "GET /p HTTP/1.1 \r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a tab for a space",
            "GET\t/p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a space first",
            " GET /p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        ("no version", "GET /p\r\n\r\n", Refused(400)),
        ("HTTP/0.9", "GET /p HTTP/0.9\r\nH\r\n\r\n", Refused(400)),
        ("HTTP/1.2", "GET /p HTTP/1.2\r\nH\r\n\r\n", Refused(400)),
        ("HTTP/2.0", "GET /p HTTP/2.0\r\nH\r\n\r\n", Refused(400)),
        ("HTTP/01.1", "GET /p HTTP/01.1\r\nH\r\n\r\n", Refused(400)),
        ("HTTP/1.10", "GET /p HTTP/1.10\r\nH\r\n\r\n", Refused(400)),
        ("http/1.1", "GET /p http/1.1\r\nH\r\n\r\n", Refused(400)),
        (
            "another protocol",
            "GET /p ICY/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        ("no method", "/p HTTP/1.1\r\nH\r\n\r\n", Refused(400)),
        (
            "a method that is no token",
            "G(T /p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        ("a long method", &long, Refused(501)),
        ("a method beyond all limits", &longer, Refused(431)),
        ("a target beyond all limits", &endless, Refused(431)),
        (
            "HTTP/2 with prior knowledge",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Closed,
        ),
        (
            "TLS on the plain port",
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
            Refused(400),
        ),
        (
            "a PROXY header of one who is not trusted",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /p HTTP/1.1\r\nH\r\n\r\n",
            Refused(400),
        ),
        (
            "a lower-case method",
            &format!("get /p HTTP/1.1\r\nH\r\n{close}"),
            One("get", "/p", ""),
        ),
        (
            "empty lines first",
            &format!("\r\n\r\nGET /p HTTP/1.1\r\nH\r\n{close}"),
            One("GET", "/p", ""),
        ),
        (
            "bare LF as line ends",
            "GET /p HTTP/1.1\nHost: app.example\nConnection: close\n\n",
            One("GET", "/p", ""),
        ),
        (
            "bare LF as some line ends",
            "GET /p HTTP/1.1\r\nHost: app.example\nConnection: close\r\n\n",
            One("GET", "/p", ""),
        ),
        (
            "garbage behind content",
            &format!("POST /p HTTP/1.1\r\nH\r\nContent-Length: 5\r\n{close}hello\0\0garbage"),
            One("POST", "/p", "hello"),
        ),
    ];
    run(check(&shapes));
}

#[test]
fn targets_and_hosts_that_name_two_resources_are_refused() {
    let close = "Connection: close\r\n\r\n";
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n{close}");
    let own = "Host: app.example";
    let table = [
        ("no Host", get("/p", "X: y"), Refused(400)),
        ("an empty Host", get("/p", "Host:"), Refused(400)),
        (
            "two Hosts",
            get("/p", "Host: app.example\r\nHost: b"),
            Refused(400),
        ),
        (
            "the same Host twice",
            get("/p", "Host: app.example\r\nHost: app.example"),
            Refused(400),
        ),
        (
            "a list of Hosts",
            get("/p", "Host: app.example, b"),
            Refused(400),
        ),
        (
            "a Host with a path",
            get("/p", "Host: app.example/x"),
            Refused(400),
        ),
        (
            "a Host with a query",
            get("/p", "Host: app.example?x"),
            Refused(400),
        ),
        (
            "a Host with a fragment",
            get("/p", "Host: app.example#x"),
            Refused(400),
        ),
        (
            "a Host with a space",
            get("/p", "Host: app example"),
            Refused(400),
        ),
        (
            "a Host with a tab",
            get("/p", "Host: app\texample"),
            Refused(400),
        ),
        (
            "a Host with a user",
            get("/p", "Host: user@app.example"),
            Refused(400),
        ),
        (
            "a Host with a bad port",
            get("/p", "Host: app.example:8x"),
            Refused(400),
        ),
        (
            "a Host with a port beyond all",
            get("/p", "Host: app.example:65536"),
            Refused(400),
        ),
        (
            "a Host with two ports",
            get("/p", "Host: app.example:80:80"),
            Refused(400),
        ),
        (
            "a Host with an escape",
            get("/p", "Host: app%2eexample"),
            Refused(400),
        ),
        (
            "a Host with a backslash",
            get("/p", "Host: app.example\\x"),
            Refused(400),
        ),
        (
            "a Host with other letters",
            get("/p", "Host: \u{e9}.example"),
            Refused(400),
        ),
        (
            "a Host in half a bracket",
            get("/p", "Host: [::1"),
            Refused(400),
        ),
        (
            "a Host in brackets that is none",
            get("/p", "Host: [app.example]"),
            Refused(400),
        ),
        (
            "a Host that is a URL",
            get("/p", "Host: http://app.example"),
            Refused(400),
        ),
        (
            "a whole URI, and no Host",
            get("http://app.example/p", "X: y"),
            Refused(400),
        ),
        (
            "a whole URI, and a bad Host",
            get("http://app.example/p", "Host: a b"),
            Refused(400),
        ),
        (
            "a whole URI with a user",
            get("http://user@app.example/p", own),
            Refused(400),
        ),
        (
            "a whole URI with a user and password",
            get("http://u:p@app.example/p", own),
            Refused(400),
        ),
        (
            "https on the plain port",
            get("https://app.example/p", own),
            Refused(421),
        ),
        (
            "another scheme",
            get("ftp://app.example/p", own),
            Refused(400),
        ),
        (
            "a scheme of scripts",
            get("javascript:alert(1)", own),
            Refused(400),
        ),
        ("a file", get("file:///etc/passwd", own), Refused(400)),
        ("no authority", get("http:///p", own), Refused(400)),
        ("a host alone", get("app.example", own), Refused(400)),
        (
            "a host and port alone",
            get("app.example:80", own),
            Refused(400),
        ),
        ("a path without slash", get("p/q", own), Refused(400)),
        ("a query alone", get("?a", own), Refused(400)),
        ("a fragment alone", get("#a", own), Refused(400)),
        ("a backslash first", get("\\p", own), Refused(400)),
        ("* of another method", get("*", own), Refused(400)),
        (
            "CONNECT",
            "CONNECT app.example:80 HTTP/1.1\r\nH\r\n\r\n".to_owned(),
            Refused(405),
        ),
        (
            "TRACE",
            "TRACE /p HTTP/1.1\r\nH\r\n\r\n".to_owned(),
            Refused(405),
        ),
        (
            "OPTIONS that may go no further",
            "OPTIONS /p HTTP/1.1\r\nH\r\nMax-Forwards: 0\r\n\r\n".to_owned(),
            Refused(200),
        ),
        (
            "CONNECT of a path",
            "CONNECT /p HTTP/1.1\r\nH\r\n\r\n".to_owned(),
            Refused(405),
        ),
        (
            "* of OPTIONS",
            format!("OPTIONS * HTTP/1.1\r\nH\r\n{close}"),
            One("OPTIONS", "*", ""),
        ),
        (
            "a whole URI",
            get("http://app.example/p?q", own),
            One("GET", "/p?q", ""),
        ),
        (
            "a whole URI, and another Host",
            get("http://app.example/p", "Host: evil.example"),
            One("GET", "/p", ""),
        ),
        (
            "a whole URI without path",
            get("http://app.example?q", own),
            One("GET", "/?q", ""),
        ),
        (
            "a scheme in capitals",
            get("HTTP://app.example/p", own),
            One("GET", "/p", ""),
        ),
        ("a fragment", get("/p#frag", own), One("GET", "/p", "")),
        (
            "two slashes",
            get("//evil.example/p", own),
            One("GET", "//evil.example/p", ""),
        ),
        (
            "an HTTP/1.0 request",
            "GET /p HTTP/1.0\r\nH\r\n\r\n".to_owned(),
            One("GET", "/p", ""),
        ),
    ];
    let shapes: Vec<_> = table
        .iter()
        .map(|(name, shape, made)| (*name, shape.as_str(), *made))
        .collect();
    run(check(&shapes));
}

#[test]
fn what_asks_to_leave_http_1_or_expects_more_is_answered_here() {
    let close = "Connection: close";
    let get = |fields: &str| format!("GET /p HTTP/1.1\r\nH\r\n{fields}\r\n\r\n");
    let post = |fields: &str| format!("POST /p HTTP/1.1\r\nH\r\n{fields}\r\n\r\nhello");
    let h2c = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
    let plain = One("GET", "/p", "");
    let table = [
        (
            "Upgrade alone",
            get(&format!("{close}\r\nUpgrade: websocket")),
            plain,
        ),
        (
            "h2c",
            get(&format!(
                "Connection: close, Upgrade, HTTP2-Settings\r\n{h2c}"
            )),
            plain,
        ),
        ("h2c alone", get(&format!("{close}\r\n{h2c}")), plain),
        (
            "h2c with content",
            post(&format!(
                "Connection: close, Upgrade, HTTP2-Settings\r\n{h2c}\r\nContent-Length: 5"
            )),
            One("POST", "/p", "hello"),
        ),
        (
            "an upgrade with a length",
            post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5")
                .replace("POST", "GET"),
            Refused(400),
        ),
        (
            "an upgrade with chunks",
            get("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked"),
            Refused(400),
        ),
        (
            "an upgrade of POST",
            post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5"),
            Refused(400),
        ),
        (
            "an upgrade of DELETE",
            get("Connection: Upgrade\r\nUpgrade: websocket").replace("GET", "DELETE"),
            Refused(400),
        ),
        (
            "an older upgrade",
            "GET /p HTTP/1.0\r\nH\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            plain,
        ),
        (
            "another expectation",
            post("Expect: 200-ok\r\nContent-Length: 5"),
            Refused(417),
        ),
        (
            "two expectations",
            post("Expect: 100-continue, more\r\nContent-Length: 5"),
            Refused(417),
        ),
        (
            "an expectation without content",
            get(&format!("{close}\r\nExpect: 100-continue")),
            plain,
        ),
        (
            "an older expectation",
            post("Expect: 100-continue\r\nContent-Length: 5").replace("1.1", "1.0"),
            One("POST", "/p", "hello"),
        ),
        (
            "TE",
            get(&format!("{close}, TE\r\nTE: gzip, trailers;q=0.5")),
            plain,
        ),
        (
            "Keep-Alive",
            get(&format!("{close}, Keep-Alive\r\nKeep-Alive: timeout=5")),
            plain,
        ),
        (
            "Proxy-Connection",
            get(&format!("{close}\r\nProxy-Connection: keep-alive")),
            plain,
        ),
        (
            "Connection names Host",
            get(&format!("{close}, Host, Content-Length")),
            plain,
        ),
        (
            "content of GET",
            post(&format!("{close}\r\nContent-Length: 5")).replace("POST", "GET"),
            One("GET", "/p", "hello"),
        ),
        (
            "content of HEAD",
            post(&format!("{close}\r\nContent-Length: 5")).replace("POST", "HEAD"),
            One("HEAD", "/p", "hello"),
        ),
        (
            "content of DELETE",
            post(&format!("{close}\r\nContent-Length: 5")).replace("POST", "DELETE"),
            One("DELETE", "/p", "hello"),
        ),
        (
            "content of OPTIONS",
            post(&format!("{close}\r\nContent-Length: 5")).replace("POST", "OPTIONS"),
            One("OPTIONS", "/p", "hello"),
        ),
        (
            "an address with underscores",
            get(&format!("{close}\r\nX_Forwarded_For: 1.2.3.4")),
            plain,
        ),
        (
            "the end before the content",
            post("Connection: close\r\nContent-Length: 500"),
            Broken,
        ),
    ];
    let shapes: Vec<_> = table
        .iter()
        .map(|(name, shape, made)| (*name, shape.as_str(), *made))
        .collect();
    run(check(&shapes));
}

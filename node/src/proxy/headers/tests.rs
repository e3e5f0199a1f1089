use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn client(address: &str, socket: &str) -> Client {
    Client {
        address: address.parse().unwrap(),
        socket: socket.parse().unwrap(),
        local: "127.0.0.1:8080".parse().unwrap(),
        tls: true,
        server_name: None,
        interim: None,
    }
}

fn sent(method: Method, fields: &[(&'static str, &'static str)], client: &Client) -> HeaderMap {
    let mut headers = headers(fields);
    let hop = Hop {
        node: "lon1",
        cdn_id: "nearside-1",
        client,
        authority: "shop.example",
        version: Version::HTTP_11,
        keyed: &[],
    };
    towards_origin(&mut headers, &method, hop);
    headers
}

#[test]
fn connection_takes_its_nominees_along() {
    let mut fields = headers(&[
        ("connection", "close, X-Private"),
        ("x-private", "1"),
        ("connection", "host, content-length"),
        ("host", "a"),
        ("content-length", "3"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("proxy-authorization", "Basic x"),
        ("accept", "*/*"),
    ]);
    remove_hop_by_hop(&mut fields);
    assert_eq!(
        fields,
        headers(&[("host", "a"), ("content-length", "3"), ("accept", "*/*")])
    );
}

#[test]
fn what_a_client_says_of_its_way_is_replaced() {
    let direct = client("192.0.2.1", "192.0.2.1:5000");
    let sent = sent(
        Method::GET,
        &[
            ("host", "Evil.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-original-url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("forwarded", "for=10.0.0.1"),
            ("via", "1.0 before"),
            ("cookie", "a=b"),
        ],
        &direct,
    );
    let expected = headers(&[
        ("host", "shop.example"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "shop.example"),
        (
            "forwarded",
            "for=192.0.2.1;host=\"shop.example\";proto=https",
        ),
        ("via", "1.0 before"),
        ("via", "1.1 lon1"),
        ("cookie", "a=b"),
        ("x-forwarded-proto", "https"),
        ("cdn-loop", "nearside-1"),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn both_ends_of_a_trusted_proxy_are_named() {
    let behind = client("2001:db8::7", "10.0.0.9:5000");
    let sent = sent(
        Method::POST,
        &[("x-http-method-override", "PATCH")],
        &behind,
    );
    assert_eq!(sent["x-forwarded-for"], "2001:db8::7, 10.0.0.9");
    assert_eq!(
        sent["forwarded"],
        "for=\"[2001:db8::7]\";host=\"shop.example\";proto=https, for=10.0.0.9"
    );
    assert_eq!(sent["x-http-method-override"], "PATCH");
}

#[test]
fn our_own_id_is_found_wherever_it_stands() {
    for (line, expected) in [
        ("nearside-1", true),
        ("other, nearside-1; v=1", true),
        ("NEARSIDE-1", true),
        ("nearside-12", false),
        ("other", false),
    ] {
        assert_eq!(
            loops(&headers(&[("cdn-loop", line)]), "nearside-1"),
            expected,
            "{line}"
        );
    }
}

#[test]
fn a_304_updates_all_but_how_to_read_the_body() {
    let mut stored = headers(&[
        ("content-type", "text/html"),
        ("cache-control", "max-age=1"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "1"),
    ]);
    let answer = headers(&[
        ("content-type", "text/plain"),
        ("content-encoding", "br"),
        ("cache-control", "max-age=9"),
        ("content-length", "0"),
        ("x-a", "3"),
        ("connection", "x-c"),
        ("x-c", "1"),
    ]);
    freshen(&mut stored, &answer);
    let expected = headers(&[
        ("content-type", "text/plain"),
        ("x-b", "1"),
        ("cache-control", "max-age=9"),
        ("x-a", "3"),
    ]);
    assert_eq!(stored, expected);
}

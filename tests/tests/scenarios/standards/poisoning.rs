//! What is not in the key must not shape what is stored.

use http::Method;

use super::{case, table};

const HOUR: &str = "cache-control: max-age=3600";

#[test]
fn what_restates_the_request_does_not_reach_the_origin() {
    let mut cases = Vec::new();
    for name in [
        "x-forwarded-host",
        "x-forwarded-server",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "x-forwarded-path",
        "x-forwarded-uri",
        "x-forwarded-proto",
        "x-forwarded-protocol",
        "x-forwarded",
        "forwarded",
        "x-host",
        "x-http-host-override",
        "x-original-host",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-rewrite-uri",
        "x-url-scheme",
        "x-scheme",
        "x-request-uri",
        "x-override-url",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-http-destinationurl",
        "x-proxy-url",
        "front-end-https",
        "x-proto",
        "base-url",
        "x-envoy-original-path",
        "x-script-name",
        "x-backend-host",
        "proxy",
    ] {
        let evil = "evil.example";
        let mut one = case(format!("{name} chooses nothing"))
            .says(200, HOUR)
            .get(&format!("{name}: {evil}"))
            .reaches();
        one = match name {
            "x-forwarded-host" => one.sends("x-forwarded-host: app.example"),
            "x-forwarded-proto" => one.sends("x-forwarded-proto: http"),
            "forwarded" => one.sends("forwarded: ~host=\"app.example\""),
            other => one.sends(&format!("!{other}")),
        };
        cases.push(one.get("").hit());
    }
    table(cases);
}

#[test]
fn an_error_about_one_clients_request_is_not_everyones() {
    let long = format!("x-long: {}", "a".repeat(6000));
    let mut cases = Vec::new();
    for status in [
        400, 405, 406, 408, 411, 413, 414, 415, 416, 417, 421, 425, 426, 501,
    ] {
        cases.push(
            case(format!("{status} to a plain request"))
                .says(status, HOUR)
                .get("x-a: 1")
                .reaches()
                .get("")
                .hit(),
        );
        let odd = case(format!("{status} to an odd request"))
            .says(status, HOUR)
            .says(200, HOUR)
            .get(&long)
            .asks(1)
            .status(status)
            .get("");
        // The URL is everyone's: what is said of it or its method is, too.
        cases.push(match status {
            405 | 414 | 501 => odd.hit(),
            _ => odd.reaches(),
        });
    }
    for status in [400, 408, 413, 429, 431, 500, 502] {
        cases.push(
            case(format!("{status} without a lifetime"))
                .says(status, "last-modified: {-86400}\netag: \"a\"")
                .says(200, HOUR)
                .get("")
                .get("")
                .reaches(),
        );
    }
    table(cases);
}

#[test]
fn one_url_has_one_spelling_for_key_and_origin() {
    let mut cases = Vec::new();
    for (spelled, sent) in [
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/./b", "/a/b"),
        ("/%62", "/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a|b", "/a%7Cb"),
        ("/a//b", "/a//b"),
        ("/a;b", "/a;b"),
        ("/a\\b", "/a%5Cb"),
        ("/a%00b", "/a%00b"),
        ("/a%0d%0aX:1", "/a%0D%0AX:1"),
        ("/a?x=%7e", "/a?x=~"),
        ("/a?x=/../b", "/a?x=/../b"),
        ("/a?x=1&x=2", "/a?x=1&x=2"),
        ("/a?", "/a?"),
    ] {
        cases.push(
            case(format!("{spelled} is {sent}"))
                .says(200, HOUR)
                .ask(Method::GET, spelled, "")
                .reaches()
                .check(super::Check::Target(sent))
                .ask(Method::GET, sent, "")
                .hit(),
        );
    }
    cases.push(
        case("an empty query is not none")
            .says(200, HOUR)
            .ask(Method::GET, "/a?", "")
            .reaches()
            .ask(Method::GET, "/a", "")
            .reaches(),
    );
    table(cases);
}

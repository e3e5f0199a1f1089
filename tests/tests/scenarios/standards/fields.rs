//! RFC 9111 §3.1: which fields are stored with an answer.

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600";

/// An answer with these fields is not used again.
fn not_reused(name: impl Into<String>, fields: &str) -> Case {
    case(name)
        .says(200, fields)
        .get("")
        .reaches()
        .get("")
        .reaches()
}

/// An answer with these fields is used again.
fn reused(name: impl Into<String>, fields: &str) -> Case {
    case(name).says(200, fields).get("").reaches().get("").hit()
}

#[test]
fn named_fields_are_left_out_and_the_rest_is_used_again() {
    let mut cases = Vec::new();
    for line in [
        "private=\"x-a\"",
        "no-cache=\"x-a\"",
        "private=\"X-A\"",
        "private=\"x-a, x-c\"",
        "private=\"x-c ,x-a\"",
        "private=x-a",
        "private=\"x-c\", private=\"x-a\"",
        "private=\"x-c\", no-cache=\"x-a\"",
        "Private=\"x-a\"",
    ] {
        cases.push(
            case(line)
                .says(
                    200,
                    &format!("cache-control: max-age=3600, {line}\nx-a: mine\nx-b: all"),
                )
                .get("")
                .reaches()
                .sees("x-a: mine")
                .sees("x-b: all")
                .get("")
                .hit()
                .sees("!x-a")
                .sees("x-b: all"),
        );
    }
    table(cases);
}

#[test]
fn cookies_are_stored_with_a_word_for_shared_caches() {
    let cookie = "set-cookie: a=b\nset-cookie: c=d";
    let mut cases = Vec::new();
    for control in ["public, max-age=3600", "s-maxage=3600"] {
        cases.push(
            reused(
                format!("a cookie and {control}"),
                &format!("cache-control: {control}\n{cookie}"),
            )
            .sees("set-cookie: a=b, c=d"),
        );
    }
    cases.push(reused(
        "a cookie and a targeted field",
        &format!("cdn-cache-control: max-age=3600\n{cookie}"),
    ));
    cases.push(not_reused(
        "a cookie without such a word",
        &format!("{HOUR}\n{cookie}"),
    ));
    cases.push(
        reused("a request's cookie keeps nothing out", HOUR)
            .get("cookie: a=b")
            .hit(),
    );
    table(cases);
}

#[test]
fn fields_are_stored_but_for_those_of_one_connection_or_proxy() {
    let mut cases = Vec::new();
    for name in [
        "X-Custom",
        "Custom",
        "Content-Custom",
        "X-Content-Custom",
        "Content-Disposition",
        "Content-Language",
        "Content-Location",
        "Content-MD5",
        "Content-Security-Policy",
        "Content-Type",
        "Digest",
        "Clear-Site-Data",
        "ETag",
        "Last-Modified",
        "Link",
        "Location",
        "P3P",
        "Public-Key-Pins",
        "Referrer-Policy",
        "Retry-After",
        "Server",
        "Server-Timing",
        "Set-Cookie2",
        "SourceMap",
        "Strict-Transport-Security",
        "Timing-Allow-Origin",
        "WWW-Authenticate",
        "Warning",
        "X-Frame-Options",
        "X-XSS-Protection",
        "Access-Control-Allow-Origin",
        "Alt-Svc",
        "CDN-Cache-Control-Not",
        "Allow",
        "Accept-Ranges",
        "Authentication-Info",
        "Proxy-Features",
        "Refresh",
    ] {
        let (stored, first) = (format!("{name}: some value"), format!("{name}: again"));
        cases.push(
            case(format!("{name} is stored"))
                .says(200, &format!("{HOUR}\n{stored}"))
                .get("")
                .reaches()
                .sees(&stored)
                .get("")
                .hit()
                .sees(&stored),
        );
        cases.push(
            case(format!("{name} is stored in two lines"))
                .says(200, &format!("{HOUR}\n{stored}\n{first}"))
                .get("")
                .get("")
                .hit()
                .sees(&format!("{name}: some value, again")),
        );
    }
    for (name, value) in [
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authenticate", "Basic realm=a"),
        ("Proxy-Authentication-Info", "nextnonce=a"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "trailers"),
        ("Trailer", "x-a"),
        ("Upgrade", "h2c"),
    ] {
        cases.push(
            case(format!("{name} is not stored"))
                .says(200, &format!("{HOUR}\n{name}: {value}"))
                .get("")
                .reaches()
                .get("")
                .hit()
                .sees(&format!("!{name}")),
        );
    }
    for (connection, fields) in [
        ("x-a", "x-a: 1"),
        ("X-A, X-B", "x-a: 1\nx-b: 2"),
        ("close, x-a", "x-a: 1"),
        ("x-b\nconnection: x-a", "x-a: 1\nx-b: 2"),
        ("keep-alive , x-a", "x-a: 1"),
    ] {
        cases.push(
            case(format!("what Connection: {connection} names is not stored"))
                .says(
                    200,
                    &format!("{HOUR}\nconnection: {connection}\n{fields}\nx-c: 3"),
                )
                .get("")
                .reaches()
                .sees("!x-a")
                .get("")
                .hit()
                .sees("!x-a")
                .sees("!x-b")
                .sees("x-c: 3"),
        );
    }
    cases.push(
        case("an Alt-Svc that would lead past us is not passed on")
            .says(200, &format!("{HOUR}\nalt-svc: h3=\":443\"; ma=60"))
            .get("")
            .sees("!alt-svc")
            .get("")
            .hit()
            .sees("!alt-svc"),
    );
    cases.push(
        case("an Alt-Svc that takes back what was said is")
            .says(200, &format!("{HOUR}\nalt-svc: clear"))
            .get("")
            .sees("alt-svc: clear")
            .get("")
            .hit()
            .sees("alt-svc: clear"),
    );
    table(cases);
}

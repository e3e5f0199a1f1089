//! RFC 9111 §3: what may be stored, and what of it.

use http::Method;

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600";

/// An answer with these fields is used again.
fn reused(name: impl Into<String>, fields: &str) -> Case {
    case(name).says(200, fields).get("").reaches().get("").hit()
}

/// It is not.
fn not_reused(name: impl Into<String>, fields: &str) -> Case {
    case(name)
        .says(200, fields)
        .get("")
        .reaches()
        .get("")
        .reaches()
        .get("")
        .reaches()
}

/// Final statuses, known and unknown. RFC 6585 forbids four more.
const STATUSES: [u16; 51] = [
    200, 201, 202, 203, 204, 205, 207, 208, 226, 299, 300, 301, 302, 303, 305, 307, 308, 399, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 417, 418, 421, 422,
    423, 425, 426, 451, 499, 500, 501, 502, 503, 504, 505, 555, 599,
];

#[test]
fn every_final_status_with_a_lifetime_is_stored() {
    let again = |status: u16, fields: &str| {
        case(format!("{status} with {fields}"))
            .says(status, fields)
            .get("")
            .reaches()
            .status(status)
            .get("")
            .hit()
            .status(status)
    };
    let mut cases = Vec::new();
    for status in STATUSES {
        for fields in [
            HOUR,
            "cache-control: s-maxage=3600",
            "expires: {+3600}\ndate: {+0}",
            "cdn-cache-control: max-age=3600",
        ] {
            cases.push(again(status, fields));
        }
    }
    for status in [428, 429, 431, 511] {
        cases.push(
            case(format!("{status} is never stored (RFC 6585)"))
                .says(status, HOUR)
                .get("")
                .reaches()
                .get("")
                .reaches(),
        );
    }
    table(cases);
}

#[test]
fn lifetimes_are_guessed_for_some_statuses_only() {
    let old = "last-modified: {-100000}\ndate: {+0}";
    let mut cases = Vec::new();
    for status in STATUSES {
        let guessed = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
        let plain = case(format!("{status} with a modification date"))
            .says(status, old)
            .get("")
            .reaches()
            .status(status)
            .get("");
        cases.push(if guessed {
            plain.hit()
        } else {
            plain.reaches()
        });
        cases.push(
            case(format!("{status} with a modification date and public"))
                .says(status, &format!("cache-control: public\n{old}"))
                .get("")
                .reaches()
                .get("")
                .hit(),
        );
    }
    for directive in [
        "no-store",
        "private",
        "no-cache",
        "max-age=0",
        "s-maxage=0",
        "max-age=x",
    ] {
        cases.push(
            case(format!("no guess beside {directive}"))
                .says(200, &format!("cache-control: {directive}\n{old}"))
                .get("")
                .get("")
                .asks(1),
        );
    }
    cases.push(
        case("no guess beside an Expires that has passed")
            .says(200, &format!("expires: {{-1}}\n{old}"))
            .get("")
            .get("")
            .asks(1),
    );
    cases.push(
        case("no guess beside an Expires that is none")
            .says(200, &format!("expires: 0\n{old}"))
            .get("")
            .get("")
            .asks(1),
    );
    cases.push(
        case("a guess is a tenth of the time since modification")
            .says(200, "last-modified: {-10000}\ndate: {-900}")
            .get("")
            .get("")
            .hit()
            .age(900, 960),
    );
    cases.push(
        case("a guess ends after a tenth")
            .says(200, "last-modified: {-10000}\ndate: {-1100}")
            .get("")
            .get("")
            .asks(1),
    );
    cases.push(
        case("nothing to guess from")
            .says(200, "x-a: 1")
            .get("")
            .get("")
            .reaches(),
    );
    cases.push(
        case("a query does not forbid a guess")
            .says(200, old)
            .ask(Method::GET, "?a=1", "")
            .reaches()
            .ask(Method::GET, "?a=1", "")
            .hit(),
    );
    table(cases);
}

#[test]
fn what_directives_forbid_is_not_stored() {
    let mut cases = Vec::new();
    for line in [
        "no-store",
        "No-StOrE",
        "max-age=3600, no-store",
        "no-store, max-age=3600",
        "public, no-store, max-age=3600",
        "max-age=3600\ncache-control: no-store",
        "no-store\ncache-control: max-age=3600",
        "max-age=3600,no-store",
        "max-age=3600 ,\tno-store",
        ",, no-store,, max-age=3600",
        "foo=bar, max-age=3600, no-store=1",
        "a=\"b, c\", no-store, max-age=3600",
        "private",
        "private, max-age=3600",
        "max-age=3600, PRIVATE",
        "private, s-maxage=3600",
        "public, private, max-age=3600",
        "private=\"\", max-age=3600",
        "private=\"a b\", max-age=3600",
        "private, private=\"x-a\", max-age=3600",
        "no-store, private=\"x-a\", max-age=3600",
        "must-understand, private, max-age=3600",
        // What a quote that never ends takes in still forbids.
        "max-age=3600, foo=\"bar, no-store",
    ] {
        cases.push(not_reused(line, &format!("cache-control: {line}")));
    }
    for line in [
        "max-age=3600, unknown",
        "max-age=3600, unknown=\"no-store\"",
        "max-age=3600, unknown=\"a, no-store, b\"",
        "max-age=3600, x-no-store",
        "max-age=3600, no-stores",
        "MAX-AGE=3600",
        "Public, Max-Age=3600",
        "max-age=3600, no-transform, immutable",
        "max-age=3600, must-understand, no-store",
        "max-age=3600, must-understand",
        "max-age=3600, must-revalidate, proxy-revalidate",
        "max-age=3600, pragma=no-cache",
    ] {
        cases.push(reused(line, &format!("cache-control: {line}")));
    }
    cases.push(reused(
        "Pragma of a response means nothing",
        "cache-control: max-age=3600\npragma: no-cache",
    ));
    cases.push(
        case("must-understand and a status nobody knows")
            .says(499, "cache-control: max-age=3600, must-understand")
            .get("")
            .reaches()
            .get("")
            .reaches(),
    );
    cases.push(
        case("must-understand and a known status outweigh no-store")
            .says(
                404,
                "cache-control: max-age=3600, must-understand, no-store",
            )
            .get("")
            .reaches()
            .get("")
            .hit(),
    );
    cases.push(
        case("what a request says not to store is not stored")
            .says(200, HOUR)
            .get("cache-control: no-store")
            .reaches()
            .get("")
            .reaches()
            .get("")
            .hit_of(2)
            .get("cache-control: no-store")
            .hit_of(2),
    );
    cases.push(
        case("nor does a 304 to such a request update what is")
            .says(200, "cache-control: max-age=0\netag: \"a\"")
            .says(200, "cache-control: max-age=3600\netag: \"b\"")
            .says(304, "cache-control: max-age=3600\netag: \"a\"")
            .get("")
            .get("cache-control: no-store")
            .reaches()
            .sends("!if-none-match")
            .get("")
            .validated()
            .sends("if-none-match: \"a\""),
    );
    table(cases);
}

#[test]
fn no_cache_is_asked_about_at_every_use() {
    let mut cases = Vec::new();
    for line in [
        "no-cache",
        "NO-CACHE",
        "no-cache, max-age=3600",
        "max-age=3600, no-cache",
        "no-cache, s-maxage=3600, public",
        "max-age=3600\ncache-control: no-cache",
        "no-cache=\"\", max-age=3600",
        "no-cache=\"x-a\", no-cache, max-age=3600",
    ] {
        cases.push(
            case(line)
                .says(200, &format!("cache-control: {line}\netag: \"a\""))
                .says(304, &format!("cache-control: {line}\netag: \"a\""))
                .get("")
                .reaches()
                .get("")
                .validated()
                .sends("if-none-match: \"a\"")
                .status(200)
                .get("")
                .validated()
                .status(200)
                .get("if-none-match: \"a\"")
                .validated()
                .status(304)
                .get("cache-control: max-stale")
                .validated(),
        );
        cases.push(
            case(format!("{line}, and nothing to ask with"))
                .says(200, &format!("cache-control: {line}"))
                .get("")
                .reaches()
                .get("")
                .reaches()
                .sends("!if-none-match"),
        );
    }
    table(cases);
}

#[test]
fn credentials_need_a_word_for_shared_caches() {
    let with = "authorization: Basic eDp5";
    let mut cases = Vec::new();
    for line in [
        "public, max-age=3600",
        "s-maxage=3600",
        "must-revalidate, max-age=3600",
        "public, s-maxage=3600, max-age=0",
    ] {
        cases.push(
            case(format!("with credentials, {line}"))
                .says(200, &format!("cache-control: {line}"))
                .get(with)
                .reaches()
                .sends(with)
                .get("")
                .hit()
                .get(with)
                .hit(),
        );
    }
    for line in [
        "max-age=3600",
        "proxy-revalidate, max-age=3600",
        "immutable, max-age=3600",
        "private, s-maxage=3600",
        "public, no-store",
    ] {
        cases.push(
            case(format!("with credentials, {line}"))
                .says(200, &format!("cache-control: {line}"))
                .get(with)
                .reaches()
                .get(with)
                .reaches()
                .get("")
                .reaches(),
        );
    }
    cases.push(
        case("with credentials and Expires")
            .says(200, "expires: {+3600}")
            .get(with)
            .reaches()
            .get("")
            .reaches(),
    );
    cases.push(
        case("what was stored without credentials is for all")
            .says(200, HOUR)
            .get("")
            .reaches()
            .get(with)
            .hit(),
    );
    table(cases);
}

#[test]
fn only_a_get_is_stored_and_only_whole() {
    let foo = || Method::from_bytes(b"FOO").expect("a method");
    table(vec![
        case("an answer to HEAD is no answer to GET")
            .says(200, HOUR)
            .head("")
            .reaches()
            .get("")
            .reaches()
            .head("")
            .hit_of(2)
            .sees("content-length: ~"),
        case("an answer to POST is not stored")
            .says(200, HOUR)
            .ask(Method::POST, "", "")
            .with("x")
            .reaches()
            .get("")
            .reaches(),
        case("an answer to an unknown method is not stored")
            .says(200, HOUR)
            .ask(foo(), "", "")
            .reaches()
            .get("")
            .reaches()
            .ask(foo(), "", "")
            .reaches(),
        case("an answer to OPTIONS is not stored, and does not outdate")
            .says(200, HOUR)
            .get("")
            .reaches()
            .ask(Method::OPTIONS, "", "")
            .reaches()
            .get("")
            .hit(),
        case("a GET with content has no part in the cache")
            .says(200, HOUR)
            .get("")
            .with("x")
            .reaches()
            .get("")
            .reaches()
            .get("")
            .with("x")
            .reaches()
            .get("")
            .hit_of(2),
        case("half an answer is not stored")
            .says_half(HOUR)
            .says(200, HOUR)
            .get("")
            .asks(1)
            .get("")
            .reaches()
            .get("")
            .hit_of(2),
        case("an answer of HTTP/1.0 that ends with its connection")
            .says_old("expires: {+3600}\ndate: {+0}")
            .get("")
            .reaches()
            .get("")
            .hit(),
        case("an answer in chunks")
            .says(200, &format!("{HOUR}\ntransfer-encoding: chunked"))
            .get("")
            .reaches()
            .get("")
            .hit()
            .sees("!transfer-encoding"),
        case("an empty answer")
            .says(200, &format!("{HOUR}\ncontent-length: 0"))
            .get("")
            .asks(1)
            .get("")
            .asks(0)
            .sees("content-length: 0"),
        case("a 206 nobody asked for is not the whole")
            .says(206, &format!("{HOUR}\ncontent-range: bytes 0-4/100"))
            .says(200, HOUR)
            .get("")
            .get("")
            .reaches(),
        case("a 304 nobody asked for is not stored")
            .says(304, HOUR)
            .says(200, HOUR)
            .get("")
            .get("")
            .reaches(),
        case("interim responses are not the answer")
            .says_behind(
                "HTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncache-control: max-age=1\r\n\r\n",
                200,
                HOUR,
            )
            .get("")
            .reaches()
            .status(200)
            .sees("!link")
            .sees(HOUR)
            .get("")
            .hit()
            .sees("!link"),
        case("queries tell objects apart")
            .says(200, HOUR)
            .ask(Method::GET, "?a=1", "")
            .reaches()
            .ask(Method::GET, "?a=2", "")
            .reaches()
            .ask(Method::GET, "", "")
            .reaches()
            .ask(Method::GET, "?a=1", "")
            .hit(),
        case("cases tell objects apart")
            .says(200, HOUR)
            .ask(Method::GET, "/a", "")
            .reaches()
            .ask(Method::GET, "/A", "")
            .reaches()
            .ask(Method::GET, "/%61", "")
            .hit(),
    ]);
}

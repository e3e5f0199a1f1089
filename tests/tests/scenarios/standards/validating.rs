//! RFC 9111 §4.3 and §3.2: asking about what is stored, and answering those who ask about what they have. RFC 9110 §8.8
//! and §13.

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600";
const STALE: &str = "cache-control: max-age=0";

/// Something stale is stored with these validators.
fn stale(name: impl Into<String>, validators: &str) -> Case {
    case(name)
        .says(200, &format!("{STALE}\n{validators}"))
        .get("")
        .reaches()
}

#[test]
fn the_origin_is_asked_with_every_validator() {
    let mut cases = vec![
        stale("a strong tag", "etag: \"a\"")
            .says(304, HOUR)
            .get("")
            .validated()
            .status(200)
            .sends("if-none-match: \"a\"")
            .sends("!if-modified-since")
            .get("")
            .hit(),
        stale("a weak tag", "etag: W/\"a\"")
            .says(304, &format!("{HOUR}\netag: W/\"a\""))
            .get("")
            .validated()
            .sends("if-none-match: W/\"a\"")
            .get("")
            .hit(),
        stale("a date", "last-modified: {-86400}")
            .says(304, HOUR)
            .get("")
            .validated()
            .sends("if-modified-since: {-86400}")
            .sends("!if-none-match")
            .get("")
            .hit(),
        stale("both", "etag: \"a\"\nlast-modified: {-86400}")
            .says(304, HOUR)
            .get("")
            .validated()
            .sends("if-none-match: \"a\"")
            .sends("if-modified-since: {-86400}"),
        stale("a tag with a comma", "etag: \"a,b\"")
            .says(304, HOUR)
            .get("")
            .validated()
            .sends("if-none-match: \"a,b\""),
        stale("a client's other tag does not go along", "etag: \"a\"")
            .says(304, HOUR)
            .get("if-none-match: \"mine\"")
            .validated()
            .status(200)
            .sends("if-none-match: \"a\""),
        stale(
            "a client's own tag is answered from the cache",
            "etag: \"a\"",
        )
        .says(304, &format!("{HOUR}\netag: \"a\""))
        .get("if-none-match: \"a\"")
        .asks(1)
        .status(304)
        .get("")
        .hit(),
        stale("a full answer takes the place", "etag: \"a\"")
            .says(200, &format!("{HOUR}\netag: \"b\""))
            .get("")
            .reaches()
            .get("")
            .hit_of(2)
            .sees("etag: \"b\""),
        stale(
            "a full answer that may not be stored is passed on",
            "etag: \"a\"",
        )
        .says(200, "cache-control: no-store")
        .get("")
        .reaches()
        .get("")
        .reaches(),
        stale("a redirect is passed on", "etag: \"a\"")
            .says(302, "location: /b")
            .get("")
            .reaches()
            .status(302),
        stale("an error that nothing covers is passed on", "etag: \"a\"")
            .says(599, "")
            .get("")
            .reaches()
            .status(599),
        stale("a 304 that speaks of another is not taken", "etag: \"a\"")
            .says(304, &format!("{HOUR}\netag: \"b\""))
            .says(200, &format!("{HOUR}\netag: \"b\""))
            .get("")
            .asks(2)
            .sends("!if-none-match")
            .status(200)
            .sees("etag: \"b\"")
            .get("")
            .hit_of(3),
        stale(
            "a 304 with another date is not taken",
            "last-modified: {-86400}",
        )
        .says(304, &format!("{HOUR}\nlast-modified: {{-43200}}"))
        .says(200, HOUR)
        .get("")
        .asks(2)
        .sends("!if-modified-since"),
        stale("a 304 without a lifetime leaves the old one", "etag: \"a\"")
            .says(304, "etag: \"a\"")
            .get("")
            .validated()
            .get("")
            .validated(),
    ];
    for (first, then) in [
        ("cache-control: max-age=60\nage: 600", "date: {+0}"),
        ("cache-control: max-age=60\ndate: {-600}", "date: {+0}"),
        ("cache-control: max-age=60\ndate: {-600}", ""),
        ("cache-control: max-age=60\nage: 600", "age: 10"),
        ("expires: {-60}\ndate: {-120}", "expires: {+3600}"),
        ("expires: {-60}\ndate: {-120}", "date: {+0}\nexpires: {+60}"),
        ("expires: {-60}\ndate: {-120}", HOUR),
        ("cache-control: max-age=0", "cache-control: max-age=60"),
        ("cache-control: no-cache", HOUR),
        ("expires: 0", HOUR),
        ("cache-control: max-age=0", "cache-control: s-maxage=60"),
    ] {
        cases.push(
            case(format!("{first}, then a 304 with {then}"))
                .says(200, &format!("{first}\netag: \"a\""))
                .says(304, &format!("{then}\netag: \"a\""))
                .get("")
                .reaches()
                .get("")
                .validated()
                .age(0, 30)
                .get("")
                .hit()
                .age(0, 60),
        );
    }
    for (case_index, case) in cases.iter_mut().enumerate() {
        // A 304 for what was asked just now may go without Age.
        if case_index >= 14 {
            case.steps[1]
                .checks
                .retain(|check| !matches!(check, super::Check::Age(..)));
        }
    }
    table(cases);
}

#[test]
fn a_304_updates_what_is_stored() {
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
        "Link",
        "Location",
        "Public-Key-Pins",
        "Referrer-Policy",
        "Retry-After",
        "Server",
        "Set-Cookie2",
        "Strict-Transport-Security",
        "WWW-Authenticate",
        "Warning",
        "X-Frame-Options",
        "X-XSS-Protection",
        "Access-Control-Allow-Origin",
        "Accept-Ranges",
        "Via-Not",
    ] {
        cases.push(
            stale(
                format!("{name} is replaced"),
                &format!("etag: \"a\"\n{name}: old\n{name}: older\nx-b: kept"),
            )
            .says(
                304,
                &format!("{HOUR}\netag: \"a\"\n{name}: new\nx-c: added"),
            )
            .get("")
            .validated()
            .sees(&format!("{name}: new"))
            .sees("x-b: kept")
            .sees("x-c: added")
            .get("")
            .hit()
            .sees(&format!("{name}: new"))
            .sees("x-b: kept")
            .sees("x-c: added"),
        );
        cases.push(
            stale(
                format!("{name} is kept"),
                &format!("etag: \"a\"\n{name}: old"),
            )
            .says(304, &format!("{HOUR}\netag: \"a\""))
            .get("")
            .get("")
            .hit()
            .sees(&format!("{name}: old")),
        );
    }
    for (name, old, new) in [
        ("Content-Encoding", "x-old", "x-new"),
        ("Content-Range", "", "bytes 0-1/2"),
    ] {
        let sees = match old {
            "" => format!("!{name}"),
            old => format!("{name}: {old}"),
        };
        let first = match old {
            "" => "etag: \"a\"".to_owned(),
            old => format!("etag: \"a\"\n{name}: {old}"),
        };
        cases.push(
            stale(format!("{name} is part of the stored bytes"), &first)
                .says(304, &format!("{HOUR}\netag: \"a\"\n{name}: {new}"))
                .get("")
                .validated()
                .sees(&sees)
                .get("")
                .hit()
                .sees(&sees),
        );
    }
    for length in ["0", "1", "5000"] {
        cases.push(
            stale(
                format!("a length of {length} is not the stored one's"),
                "etag: \"a\"",
            )
            .says(
                304,
                &format!("{HOUR}\netag: \"a\"\ncontent-length: {length}"),
            )
            .get("")
            .validated()
            .get("")
            .hit(),
        );
    }
    for (name, value) in [
        ("Connection", "x-c"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic realm=a"),
        ("Proxy-Authentication-Info", "nextnonce=a"),
        ("Proxy-Authorization", "Basic a"),
        ("Proxy-Connection", "close"),
        ("Upgrade", "h2c"),
    ] {
        cases.push(
            stale(format!("{name} of a 304 is not stored"), "etag: \"a\"")
                .says(304, &format!("{HOUR}\netag: \"a\"\n{name}: {value}"))
                .get("")
                .validated()
                .get("")
                .hit()
                .sees(&format!("!{name}")),
        );
    }
    cases.extend([
        stale(
            "what a 304's Connection names is not stored",
            "etag: \"a\"\nx-a: old",
        )
        .says(
            304,
            &format!("{HOUR}\netag: \"a\"\nconnection: x-a\nx-a: new"),
        )
        .get("")
        .get("")
        .hit()
        .sees("x-a: old"),
        stale("a 304 that forbids sharing", "etag: \"a\"")
            .says(304, "cache-control: private, max-age=3600\netag: \"a\"")
            .says(200, HOUR)
            .get("")
            .validated()
            .get("")
            .reaches(),
        stale("a 304 that forbids storing", "etag: \"a\"")
            .says(304, "cache-control: no-store\netag: \"a\"")
            .says(200, HOUR)
            .get("")
            .validated()
            .get("")
            .reaches(),
        stale("a 304 with a time", "etag: \"a\"\ndate: {-600}")
            .says(304, &format!("{HOUR}\netag: \"a\"\ndate: {{-5}}"))
            .get("")
            .sees("date: {-5}")
            .get("")
            .hit()
            .sees("date: {-5}")
            .age(5, 60),
        stale(
            "a 304 with another modification date",
            "etag: \"a\"\nlast-modified: {-600}",
        )
        .says(
            304,
            &format!("{HOUR}\netag: \"a\"\nlast-modified: {{-500}}"),
        )
        .get("")
        .validated()
        .get("")
        .hit()
        .sees("last-modified: {-500}"),
        stale("a 304 that makes it vary", "etag: \"a\"")
            .says(304, &format!("{HOUR}\netag: \"a\"\nvary: foo"))
            .says(200, HOUR)
            .get("foo: 1")
            .validated()
            .sees("vary: foo")
            .get("foo: 1")
            .hit()
            .sees("vary: foo")
            .get("foo: 2")
            .reaches(),
        stale("a 304 that makes it vary on everything", "etag: \"a\"")
            .says(304, &format!("{HOUR}\netag: \"a\"\nvary: *"))
            .says(200, HOUR)
            .get("")
            .validated()
            .get("")
            .reaches(),
        stale("a 304 with named fields", "etag: \"a\"\nx-a: old")
            .says(
                304,
                "cache-control: max-age=3600, no-cache=\"x-a\"\netag: \"a\"\nx-a: new",
            )
            .get("")
            .validated()
            .sees("x-a: new")
            .get("")
            .hit()
            .sees("!x-a"),
    ]);
    table(cases);
}

#[test]
fn clients_that_have_it_are_told_so() {
    let stored = || {
        case("").says(
            200,
            &format!(
                "{HOUR}\netag: \"a\"\nlast-modified: {{-86400}}\ncontent-type: text/plain\n\
                 content-language: en\ncontent-location: /b\nvary: foo\nx-a: 1"
            ),
        )
    };
    let mut cases = Vec::new();
    for (asks, status) in [
        ("if-none-match: \"a\"", 304),
        ("if-none-match: W/\"a\"", 304),
        ("if-none-match: \"b\", \"a\"", 304),
        ("if-none-match: \"b\",\"a\",\"c\"", 304),
        ("if-none-match: , \"b\" ,, \"a\"", 304),
        ("if-none-match: \"b\"\nif-none-match: \"a\"", 304),
        ("if-none-match: *", 304),
        ("if-none-match: \"a\"\nif-modified-since: {-90000}", 304),
        ("if-none-match: \"a\"\nif-modified-since: no date", 304),
        ("if-none-match: \"b\"", 200),
        ("if-none-match: \"A\"", 200),
        ("if-none-match: a", 200),
        ("if-none-match: \"a", 200),
        ("if-none-match: \"b, a\"", 200),
        ("if-none-match: \"a b\"", 200),
        ("if-none-match: \"*\"", 200),
        ("if-none-match: w/\"a\"", 200),
        ("if-none-match:", 200),
        ("if-none-match: \"b\"\nif-modified-since: {+0}", 200),
        ("if-modified-since: {-86400}", 304),
        ("if-modified-since: {-86399}", 304),
        ("if-modified-since: {+0}", 304),
        ("if-modified-since: {850 -86400}", 304),
        ("if-modified-since: {asctime -86400}", 304),
        ("if-modified-since: {-86401}", 200),
        ("if-modified-since: no date", 200),
        ("if-modified-since: 0", 200),
        ("if-modified-since:", 200),
        ("", 200),
    ] {
        let mut one = stored().get("").reaches().get(asks).hit().status(status);
        if status == 304 {
            one = one
                .sees("etag: \"a\"")
                .sees("vary: foo")
                .sees(HOUR)
                .sees("content-location: /b")
                .sees("date: ~GMT")
                .age(0, 60)
                .sees("!content-type")
                .sees("!content-language")
                .sees("!content-length");
        }
        one.name = format!("asked with {asks}");
        cases.push(one.head(asks).hit().status(status));
    }
    cases.extend([
        case("by Date where there is no modification date")
            .says(200, &format!("{HOUR}\ndate: {{-600}}"))
            .get("")
            .get("if-modified-since: {-600}")
            .hit()
            .status(304)
            .get("if-modified-since: {-601}")
            .hit()
            .status(200),
        case("by modification date a 304 says that date")
            .says(200, &format!("{HOUR}\nlast-modified: {{-600}}"))
            .get("")
            .get("if-modified-since: {-600}")
            .hit()
            .status(304)
            .sees("last-modified: {-600}"),
        case("a tag, where nothing has one")
            .says(200, HOUR)
            .get("")
            .get("if-none-match: \"a\"")
            .hit()
            .status(200),
        case("a weak tag compares weakly")
            .says(200, &format!("{HOUR}\netag: W/\"a\""))
            .get("")
            .get("if-none-match: \"a\"")
            .hit()
            .status(304)
            .get("if-none-match: W/\"a\"")
            .hit()
            .status(304),
        case("conditions are for 200 only")
            .says(404, &format!("{HOUR}\netag: \"a\""))
            .get("")
            .get("if-none-match: \"a\"")
            .hit()
            .status(404)
            .get("if-modified-since: {+0}")
            .hit()
            .status(404),
        case("conditions only an origin may judge")
            .says(200, &format!("{HOUR}\netag: \"a\""))
            .says(412, "")
            .get("")
            .get("if-match: \"b\"")
            .reaches()
            .sends("if-match: \"b\"")
            .status(412)
            .get("if-unmodified-since: {-86400}")
            .reaches()
            .sends("if-unmodified-since: {-86400}")
            .status(412)
            .get("")
            .hit(),
        case("on a miss the whole is fetched for all")
            .says(200, &format!("{HOUR}\netag: \"a\""))
            .get("if-none-match: \"b\"")
            .reaches()
            .status(200)
            .get("")
            .hit(),
        case("a 304 that the origin gives to a client is its own")
            .says(200, "cache-control: no-store\netag: \"a\"")
            .says(304, "etag: \"a\"")
            .says(200, HOUR)
            .get("")
            .get("if-none-match: \"a\"")
            .reaches()
            .sends("if-none-match: \"a\"")
            .status(304)
            .get("")
            .reaches()
            .get("")
            .hit_of(3),
    ]);
    table(cases);
}

#[test]
fn an_answer_to_head_speaks_of_what_is_stored() {
    let mut cases = Vec::new();
    for (answer, same) in [
        ("etag: \"a\"", true),
        ("etag: \"a\"\nlast-modified: {-600}", true),
        ("last-modified: {-600}", true),
        ("x-a: 1", true),
        ("etag: \"b\"", false),
        ("last-modified: {-500}", false),
        ("etag: \"a\"\nlast-modified: {-500}", false),
        ("etag: \"a\"\ncontent-length: 5000", false),
    ] {
        let one = stale(
            format!("HEAD with {answer}"),
            "etag: \"a\"\nlast-modified: {-600}\nx-b: old",
        )
        .says(200, &format!("{HOUR}\n{answer}\nx-b: new"))
        .says(200, HOUR)
        .head("")
        .asks(1)
        .status(200)
        .sends("!if-none-match")
        .get("");
        cases.push(match same {
            true => one.hit().sees("x-b: new"),
            false => one.reaches(),
        });
    }
    cases.push(
        case("HEAD outdates what was fresh")
            .says(200, &format!("{HOUR}\netag: \"a\""))
            .says(200, &format!("{HOUR}\netag: \"b\""))
            .get("")
            .head("cache-control: no-cache")
            .asks(1)
            .get("")
            .reaches(),
    );
    cases.push(
        case("HEAD has the length of the GET it is answered from")
            .says(200, &format!("{HOUR}\ncontent-type: text/plain"))
            .get("")
            .head("")
            .hit()
            .sees("content-type: text/plain")
            .sees("content-length: ~")
            .age(0, 60),
    );
    cases.push(
        case("HEAD passes an origin's length on")
            .says(200, "content-length: 12345")
            .head("")
            .reaches()
            .sees("content-length: 12345"),
    );
    table(cases);
}

//! RFC 9111 §4.1: `Vary`.

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600";

fn varying(vary: &str) -> Case {
    case(vary).says(200, &format!("{HOUR}\n{vary}"))
}

#[test]
fn requests_match_by_what_vary_names() {
    let mut cases = Vec::new();
    for (vary, first, second, is_match) in [
        ("vary: foo", "foo: 1", "foo: 1", true),
        ("vary: foo", "foo: 1", "foo: 2", false),
        ("vary: foo", "foo: 1", "", false),
        ("vary: foo", "", "foo: 1", false),
        ("vary: foo", "", "", true),
        ("vary: foo", "foo:", "", false),
        ("vary: foo", "foo: 1", "foo: 1\nbar: 2", true),
        ("vary: foo", "foo: 1", "FOO: 1", true),
        ("vary: FOO", "foo: 1", "foo: 1", true),
        ("vary: Foo", "foo: a", "foo: A", false),
        ("vary: foo", "foo: 1, 2", "foo: 2, 1", false),
        ("vary: foo", "foo: 1, 2", "foo: 1\nfoo: 2", true),
        ("vary: foo", "foo: 1,2", "foo: 1, 2", true),
        ("vary: foo", "foo: 1", "foo:   1  ", true),
        ("vary: foo", "foo: \"1,2\"", "foo: \"1, 2\"", false),
        ("vary: foo", "foo: 1 2", "foo: 1  2", false),
        ("vary: foo, bar", "foo: 1\nbar: 2", "foo: 1\nbar: 2", true),
        ("vary: foo, bar", "foo: 1\nbar: 2", "bar: 2\nfoo: 1", true),
        ("vary: foo, bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false),
        ("vary: foo, bar", "foo: 1\nbar: 2", "foo: 1", false),
        ("vary: foo,bar,,", "foo: 1", "foo: 1", true),
        (
            "vary: foo\nvary: bar",
            "foo: 1\nbar: 2",
            "foo: 1\nbar: 2",
            true,
        ),
        (
            "vary: foo\nvary: bar",
            "foo: 1\nbar: 2",
            "foo: 2\nbar: 2",
            false,
        ),
        (
            "vary: foo\nvary: bar",
            "foo: 1\nbar: 2",
            "foo: 1\nbar: 1",
            false,
        ),
        ("vary: foo, foo", "foo: 1", "foo: 1", true),
        ("vary:", "foo: 1", "foo: 2", true),
        ("vary: *", "", "", false),
        ("vary: *", "foo: 1", "foo: 1", false),
        ("vary: foo, *", "foo: 1", "foo: 1", false),
        ("vary: *, foo", "foo: 1", "foo: 1", false),
        ("vary: foo\nvary: *", "foo: 1", "foo: 1", false),
        ("vary: *\nvary: foo", "foo: 1", "foo: 1", false),
        ("vary:  * ", "", "", false),
        ("vary: foo;bar", "", "", false),
        ("vary: cookie", "cookie: a=b", "cookie: a=b", true),
        ("vary: cookie", "cookie: a=b", "cookie: a=c", false),
        (
            "vary: origin",
            "origin: https://a.example",
            "origin: https://b.example",
            false,
        ),
        ("vary: host", "", "", true),
        // Where the field's definition says so, values that differ mean the same.
        (
            "vary: accept-encoding",
            "accept-encoding: gzip, br",
            "accept-encoding: br,gzip",
            true,
        ),
        (
            "vary: accept-encoding",
            "accept-encoding: GZIP",
            "accept-encoding: gzip",
            true,
        ),
        (
            "vary: accept-encoding",
            "accept-encoding: gzip;q=0.5",
            "accept-encoding: gzip; q=0.5",
            true,
        ),
        (
            "vary: accept-encoding",
            "accept-encoding: gzip",
            "accept-encoding: br",
            false,
        ),
        (
            "vary: accept-encoding",
            "accept-encoding: gzip",
            "accept-encoding: gzip, br",
            false,
        ),
        ("vary: accept-encoding", "accept-encoding: gzip", "", false),
        (
            "vary: accept-language",
            "accept-language: en, de",
            "accept-language: DE,EN",
            true,
        ),
        (
            "vary: accept-language",
            "accept-language: en",
            "accept-language: en, de",
            false,
        ),
        (
            "vary: accept-language",
            "accept-language: en",
            "accept-language: en;q=0.5",
            false,
        ),
        (
            "vary: accept",
            "accept: text/html",
            "accept: TEXT/html",
            true,
        ),
        (
            "vary: accept",
            "accept: a/b;p=\"x, y\"",
            "accept: a/b;p=\"x,y\"",
            false,
        ),
        ("vary: accept", "accept: a/b;p=X", "accept: a/b;p=x", false),
        ("vary: user-agent", "user-agent: a", "user-agent: A", false),
    ] {
        let one = varying(vary).get(first).reaches().get(second);
        let mut one = if is_match { one.hit() } else { one.reaches() };
        one.name = format!("{vary}: {first:?} and {second:?}");
        cases.push(one);
    }
    table(cases);
}

#[test]
fn variants_live_beside_each_other() {
    table(vec![
        varying("vary: foo")
            .get("foo: 1")
            .reaches()
            .get("foo: 2")
            .reaches()
            .get("")
            .reaches()
            .get("foo: 1")
            .hit_of(1)
            .get("foo: 2")
            .hit_of(2)
            .get("")
            .hit_of(3),
        case("each is validated by itself")
            .says(200, "cache-control: max-age=0\nvary: foo\netag: \"a\"")
            .says(200, "cache-control: max-age=0\nvary: foo\netag: \"b\"")
            .says(304, "cache-control: max-age=3600\nvary: foo\netag: \"b\"")
            .says(304, "cache-control: max-age=3600\nvary: foo\netag: \"a\"")
            .get("foo: 1")
            .reaches()
            .get("foo: 2")
            .reaches()
            .get("foo: 2")
            .check(super::Check::Validated(2))
            .sends("if-none-match: \"b\"")
            .get("foo: 1")
            .check(super::Check::Validated(1))
            .sends("if-none-match: \"a\"")
            .get("foo: 1")
            .hit_of(1)
            .get("foo: 2")
            .hit_of(2),
        case("answers with another Vary for one URL")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .says(200, &format!("{HOUR}\nvary: foo, bar"))
            .get("foo: 1")
            .reaches()
            .get("foo: 2\nbar: 1")
            .reaches()
            .get("foo: 2\nbar: 1")
            .hit_of(2)
            .get("foo: 2\nbar: 2")
            .reaches()
            .get("foo: 2\nbar: 1")
            .hit_of(2),
        case("of several that match the most recent is used")
            .says(200, &format!("{HOUR}\nvary: foo\ndate: {{-60}}"))
            .says(200, &format!("{HOUR}\nvary: bar\ndate: {{-30}}"))
            .get("foo: 1")
            .reaches()
            .get("foo: 2\nbar: 1")
            .reaches()
            .get("foo: 1\nbar: 1")
            .hit_of(2),
        case("of several that match the most recent is used, by Date")
            .says(200, &format!("{HOUR}\nvary: foo\ndate: {{-30}}"))
            .says(200, &format!("{HOUR}\nvary: bar\ndate: {{-60}}"))
            .get("foo: 1")
            .reaches()
            .get("foo: 2\nbar: 1")
            .reaches()
            .get("foo: 1\nbar: 1")
            .hit_of(1),
        case("an answer without Vary gives way to those with")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .says(200, HOUR)
            .get("foo: 1")
            .reaches()
            .get("")
            .reaches()
            .get("")
            .hit_of(2)
            .get("foo: 2")
            .hit_of(2)
            .get("foo: 1")
            .hit_of(1),
        case("and to those that come after it")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .says(200, HOUR)
            .says(200, &format!("{HOUR}\nvary: foo"))
            .get("foo: 1")
            .reaches()
            .get("foo: 2")
            .reaches()
            .get("foo: 3\ncache-control: no-cache")
            .reaches()
            .get("foo: 3")
            .hit_of(3)
            .get("foo: 1")
            .hit_of(1)
            .get("foo: 2")
            .hit_of(2),
        case("what took the place of a variant is found by its request")
            .says(200, "cache-control: max-age=0\nvary: foo\netag: \"a\"")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .says(200, HOUR)
            .get("foo: 1")
            .reaches()
            .get("foo: 2")
            .reaches()
            .get("foo: 1")
            .reaches()
            .get("foo: 1")
            .hit_of(3)
            .get("foo: 2")
            .hit_of(2),
        case("a write reaches all of them")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .says(200, &format!("{HOUR}\nvary: bar"))
            .says(200, HOUR)
            .get("foo: 1")
            .reaches()
            .get("foo: 2\nbar: 1")
            .reaches()
            .get("foo: 3\nbar: 3")
            .reaches()
            .ask(http::Method::POST, "", "")
            .with("x")
            .reaches()
            .get("foo: 1")
            .reaches(),
    ]);
}

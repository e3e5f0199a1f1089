//! RFC 9111 §4.4: what writes make unusable.

use http::Method;

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600";

fn foo() -> Method {
    Method::from_bytes(b"FOO").expect("a method")
}

/// Two objects are stored; then something is written to the first.
fn written(name: String, method: Method, status: u16, fields: &str) -> Case {
    let content = if method == Method::DELETE { "" } else { "x" };
    case(name)
        .says(200, HOUR)
        .says(200, HOUR)
        .says(status, fields)
        .says(200, HOUR)
        .get("")
        .reaches()
        .ask(Method::GET, "/b?c=1", "")
        .reaches()
        .ask(method, "", "")
        .with(content)
        .reaches()
        .status(status)
}

#[test]
fn a_write_that_went_well_invalidates_its_target() {
    let mut cases = Vec::new();
    let methods = || {
        [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            foo(),
            Method::from_bytes(b"M-SEARCH").expect("a method"),
            Method::from_bytes(b"PROPFIND").expect("a method"),
        ]
    };
    for method in methods() {
        for status in [200, 201, 202, 204, 299, 301, 302, 303, 307, 399] {
            cases.push(
                written(format!("{method} and {status}"), method.clone(), status, "")
                    .get("")
                    .reaches()
                    .ask(Method::GET, "/b?c=1", "")
                    .hit_of(2),
            );
        }
        for status in [400, 403, 404, 409, 412, 500, 502, 503] {
            cases.push(
                written(format!("{method} and {status}"), method.clone(), status, "")
                    .get("")
                    .hit_of(1),
            );
        }
    }
    for method in [Method::OPTIONS, Method::HEAD] {
        cases.push(
            case(format!("{method} invalidates nothing"))
                .says(200, HOUR)
                .get("")
                .ask(method, "", "")
                .get("")
                .hit(),
        );
    }
    cases.push(
        case("every variant goes")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .get("foo: 1")
            .get("foo: 2")
            .ask(Method::POST, "", "")
            .with("x")
            .get("foo: 1")
            .reaches()
            .get("foo: 2")
            .reaches(),
    );
    cases.push(
        case("a query is part of the target")
            .says(200, HOUR)
            .get("")
            .ask(Method::GET, "?a", "")
            .ask(Method::POST, "?a", "")
            .with("x")
            .get("")
            .hit()
            .ask(Method::GET, "?a", "")
            .reaches(),
    );
    table(cases);
}

#[test]
fn a_write_invalidates_what_it_names_of_the_same_origin() {
    let mut cases = Vec::new();
    for name in ["location", "content-location"] {
        for (value, goes) in [
            ("{path}/b?c=1", true),
            ("http://app.example{path}/b?c=1", true),
            ("http://APP.example:80{path}/b?c=1", true),
            ("HTTP://app.example{path}/b?c=1", true),
            ("//app.example{path}/b?c=1", true),
            ("{path}/./x/../b?c=1", true),
            ("{path}/b?c=1#part", true),
            ("{path}/%62?c=1", true),
            ("http://other.example{path}/b?c=1", false),
            ("//other.example{path}/b?c=1", false),
            ("http://app.example:8080{path}/b?c=1", false),
            ("https://app.example{path}/b?c=1", false),
            ("ftp://app.example{path}/b?c=1", false),
            ("{path}/b", false),
            ("{path}/b?c=2", false),
            ("http://[broken{path}/b?c=1", false),
            ("", false),
        ] {
            let fields = format!("{name}: {value}");
            for (method, status) in [(Method::POST, 201), (foo(), 200)] {
                let one = written(
                    format!("{method} {status} {fields}"),
                    method,
                    status,
                    &fields,
                )
                .ask(Method::GET, "/b?c=1", "");
                cases.push(if goes { one.reaches() } else { one.hit_of(2) });
            }
            let failed = written(format!("failed, {fields}"), Method::POST, 500, &fields);
            cases.push(failed.ask(Method::GET, "/b?c=1", "").hit_of(2));
        }
        for (value, goes) in [
            ("b?c=1", true),
            ("./b?c=1", true),
            ("x/../b?c=1", true),
            ("../b?c=1", false),
        ] {
            cases.push({
                let one = case(format!("a relative {name}: {value}"))
                    .says(200, HOUR)
                    .says(201, &format!("{name}: {value}"))
                    .says(200, HOUR)
                    .ask(Method::GET, "/b?c=1", "")
                    .ask(Method::POST, "/new", "")
                    .with("x")
                    .ask(Method::GET, "/b?c=1", "");
                if goes { one.reaches() } else { one.hit() }
            });
        }
    }
    table(cases);
}

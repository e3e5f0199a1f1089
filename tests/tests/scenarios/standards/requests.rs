//! RFC 9111 §5.2.1, §5.4: what requests may ask of the cache.

use super::{Case, case, table};

const HOUR: &str = "cache-control: max-age=3600\netag: \"a\"";

/// Something fresh is stored, half an hour old.
fn half_an_hour_old(name: &str) -> Case {
    case(name)
        .says(200, &format!("{HOUR}\nage: 1800"))
        .says(200, HOUR)
        .get("")
        .reaches()
}

/// Something stale is stored, an hour after it was good.
fn an_hour_stale(name: &str, more: &str) -> Case {
    case(format!("{name} {more}"))
        .says(
            200,
            &format!("cache-control: max-age=3600{more}\netag: \"a\"\nage: 7200"),
        )
        .says(200, HOUR)
        .get("")
        .reaches()
}

#[test]
fn requests_may_ask_for_better() {
    let mut cases = Vec::new();
    for (asks, is_hit) in [
        ("cache-control: no-cache", false),
        ("cache-control: No-Cache", false),
        ("cache-control: foo, no-cache", false),
        ("cache-control: foo\ncache-control: no-cache", false),
        ("cache-control: no-cache=\"x-a\"", false),
        ("pragma: no-cache", false),
        ("pragma: foo, no-cache", false),
        ("pragma: No-Cache", false),
        ("pragma: no-cache\ncache-control: max-age=3600", true),
        ("pragma: no-cache\ncache-control: foo", true),
        ("pragma: foo", true),
        ("cache-control: max-age=0", false),
        ("cache-control: max-age=1799", false),
        ("cache-control: max-age=\"60\"", false),
        ("cache-control: max-age=1900", true),
        ("cache-control: max-age=999999999999", true),
        ("cache-control: max-age=3600, max-age=60", false),
        ("cache-control: min-fresh=1900", false),
        ("cache-control: min-fresh=3600", false),
        ("cache-control: min-fresh=1700", true),
        ("cache-control: min-fresh=0", true),
        ("cache-control: max-stale", true),
        ("cache-control: max-stale=0", true),
        ("cache-control: no-store", true),
        ("cache-control: no-transform", true),
        ("cache-control: only-if-cached", true),
        ("cache-control: only-if-cached, max-age=1900", true),
        ("cache-control: s-maxage=0", true),
        ("cache-control: must-revalidate", true),
        ("cache-control: private", true),
        ("cache-control: unknown=\"no-cache\"", true),
        ("cache-control:", true),
        ("if-match: \"b\"", false),
    ] {
        let one = half_an_hour_old(asks).get(asks);
        cases.push(if is_hit {
            one.hit().age(1800, 1860)
        } else {
            one.reaches()
        });
    }
    cases.push(
        case("max-age=0 asks about what has just been stored, too")
            .says(200, HOUR)
            .says(304, HOUR)
            .get("")
            .get("cache-control: max-age=0")
            .validated()
            .sends("if-none-match: \"a\"")
            .status(200)
            .get("")
            .hit(),
    );
    cases.push(
        case("no-cache asks with what is stored, and a 304 will do")
            .says(200, HOUR)
            .says(304, HOUR)
            .get("")
            .get("cache-control: no-cache")
            .validated()
            .sends("if-none-match: \"a\"")
            .get("pragma: no-cache")
            .validated(),
    );
    cases.push(
        case("what no-cache brings is for those who come after")
            .says(200, HOUR)
            .says(200, HOUR)
            .get("")
            .get("cache-control: no-cache")
            .reaches()
            .get("")
            .hit_of(2),
    );
    cases.push(
        case("what is immutable is not asked about by reloads")
            .says(200, "cache-control: max-age=3600, immutable\netag: \"a\"")
            .get("")
            .get("cache-control: max-age=0")
            .hit()
            .get("cache-control: no-cache")
            .reaches(),
    );
    cases.push(
        case("immutable ends with freshness")
            .says(
                200,
                "cache-control: max-age=3600, immutable\netag: \"a\"\nage: 7200",
            )
            .says(304, "etag: \"a\"")
            .get("")
            .get("")
            .validated()
            .sends("if-none-match: \"a\""),
    );
    cases.push(
        case("only-if-cached where nothing is")
            .says(200, HOUR)
            .get("cache-control: only-if-cached")
            .asks(0)
            .status(504)
            .sees("cache-status: ~only-if-cached")
            .get("")
            .reaches()
            .get("cache-control: only-if-cached")
            .hit()
            .get("cache-control: only-if-cached, max-age=0")
            .asks(0)
            .status(504)
            .get("cache-control: only-if-cached, no-cache")
            .asks(0)
            .status(504),
    );
    cases.push(
        case("requests' directives go on to the origin")
            .says(200, HOUR)
            .get("cache-control: no-cache, foo=bar\npragma: no-cache")
            .sends("cache-control: no-cache, foo=bar")
            .sends("pragma: no-cache"),
    );
    table(cases);
}

#[test]
fn requests_may_accept_worse() {
    let mut cases = Vec::new();
    for (asks, is_hit) in [
        ("cache-control: max-stale", true),
        ("cache-control: Max-Stale", true),
        ("cache-control: max-stale=3700", true),
        ("cache-control: max-stale=\"3700\"", true),
        ("cache-control: max-stale=99999999999", true),
        ("cache-control: max-stale=3500", false),
        ("cache-control: max-stale=0", false),
        ("cache-control: max-stale=x", false),
        ("cache-control: max-stale=-1", false),
        ("cache-control: max-stale, no-cache", false),
        ("cache-control: max-stale, max-age=60", false),
        ("cache-control: max-stale, max-age=7300", true),
        ("cache-control: max-stale, min-fresh=60", false),
        ("cache-control: max-stale, only-if-cached", true),
        ("cache-control: max-age=9000", false),
        ("", false),
    ] {
        let one = an_hour_stale(asks, "").get(asks);
        cases.push(if is_hit {
            one.hit().age(7200, 7260)
        } else {
            one.reaches()
        });
    }
    for more in [
        ", must-revalidate",
        ", proxy-revalidate",
        ", no-cache",
        ", s-maxage=3600",
    ] {
        cases.push(
            an_hour_stale("max-stale does not help against", more)
                .get("cache-control: max-stale")
                .reaches(),
        );
    }
    cases.push(
        an_hour_stale("only-if-cached and stale", "")
            .get("cache-control: only-if-cached")
            .asks(0)
            .status(504),
    );
    table(cases);
}

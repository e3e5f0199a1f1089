//! RFC 9213: directives for CDNs, in structured fields; and `Surrogate-Control`.

use super::{case, table};

#[test]
fn a_targeted_field_counts_in_place_of_the_general_ones() {
    let mut cases = Vec::new();
    for (fields, is_fresh) in [
        ("cdn-cache-control: max-age=3600", true),
        (
            "CDN-Cache-Control: max-age=3600\ncache-control: no-store",
            true,
        ),
        (
            "cdn-cache-control: max-age=3600\ncache-control: private",
            true,
        ),
        (
            "cdn-cache-control: max-age=3600\ncache-control: max-age=0",
            true,
        ),
        ("cdn-cache-control: max-age=3600\nexpires: 0", true),
        (
            "cdn-cache-control: max-age=3600\ncache-control: s-maxage=0",
            true,
        ),
        ("cdn-cache-control: max-age=3600\npragma: no-cache", true),
        (
            "cdn-cache-control: s-maxage=3600\ncache-control: no-cache",
            true,
        ),
        ("cdn-cache-control: max-age=3600;a=b", true),
        ("cdn-cache-control: max-age=3600;a;b=\"c\", public;d", true),
        ("cdn-cache-control: max-age=3600, unknown", true),
        ("cdn-cache-control: unknown=(1 2);a, max-age=3600", true),
        ("cdn-cache-control: max-age=0, max-age=3600", true),
        (
            "cdn-cache-control: max-age=3600\ncdn-cache-control: public",
            true,
        ),
        (
            "cdn-cache-control: public\ncdn-cache-control: max-age=3600",
            true,
        ),
        ("cdn-cache-control: no-store=?0, max-age=3600", true),
        ("cdn-cache-control:  max-age=3600 ", true),
        ("cdn-cache-control: max-age=3600,must-revalidate", true),
        ("cdn-cache-control: max-age=999999999999999", true),
        ("cdn-cache-control: max-age=0", false),
        (
            "cdn-cache-control: max-age=0\ncache-control: max-age=3600",
            false,
        ),
        (
            "cdn-cache-control: no-store\ncache-control: max-age=3600",
            false,
        ),
        (
            "cdn-cache-control: private\ncache-control: max-age=3600",
            false,
        ),
        (
            "cdn-cache-control: no-cache\ncache-control: max-age=3600",
            false,
        ),
        ("cdn-cache-control: max-age=3600, no-store", false),
        ("cdn-cache-control: max-age=3600, no-store=?1", false),
        ("cdn-cache-control: max-age=3600, private", false),
        ("cdn-cache-control: max-age=3600, max-age=0", false),
        (
            "cdn-cache-control: max-age=3600\ncdn-cache-control: no-store",
            false,
        ),
        ("cdn-cache-control: public\nexpires: {+3600}", false),
        (
            "cdn-cache-control: unknown\ncache-control: max-age=3600",
            false,
        ),
        ("cdn-cache-control: max-age=3600\nage: 7200", false),
        // A value of another type is no lifetime.
        ("cdn-cache-control: max-age=\"3600\"", false),
        ("cdn-cache-control: max-age=3600.5", false),
        ("cdn-cache-control: max-age=-3600", false),
        ("cdn-cache-control: max-age=a", false),
        ("cdn-cache-control: max-age", false),
        ("cdn-cache-control: max-age=?1", false),
        ("cdn-cache-control: max-age=:MzYwMA==:", false),
        (
            "cdn-cache-control: max-age=(3600)\nlast-modified: {-100000}",
            false,
        ),
        ("cdn-cache-control: max-age=3600, no-store=(1)", false),
        ("cdn-cache-control: max-age=3600, private=(\"x-a\")", false),
    ] {
        let one = case(fields).says(200, fields).get("").reaches().get("");
        cases.push(if is_fresh { one.hit() } else { one.reaches() });
    }
    // What does not parse is as good as absent.
    for broken in [
        "",
        " ",
        ",",
        "max-age=3600,",
        "max-age=3600, ,public",
        "Max-Age=3600",
        "max-age = 3600",
        "max-age= 3600",
        "max-age='3600'",
        "max-age=3600s",
        "max-age=\"3600",
        "max-age=3600 public",
        "max-age=3600; public=;",
        "max-age=3600, &",
        "max-age=3600, 1=2",
        "max-age=9999999999999999",
        "max-age=03600a",
        "\"max-age=3600\"",
        "max-age=--1",
        "no-store, Bad",
        "no-store=",
    ] {
        cases.push(
            case(format!("broken, {broken:?}, in place of a lifetime"))
                .says(
                    200,
                    &format!("cdn-cache-control: {broken}\ncache-control: max-age=3600"),
                )
                .get("")
                .reaches()
                .get("")
                .hit(),
        );
        cases.push(
            case(format!("broken, {broken:?}, in place of no-store"))
                .says(
                    200,
                    &format!("cdn-cache-control: {broken}\ncache-control: no-store"),
                )
                .get("")
                .reaches()
                .get("")
                .reaches(),
        );
    }
    cases.push(
        case("a targeted field is passed on to the caches of others")
            .says(
                200,
                "cdn-cache-control: max-age=3600\ncache-control: no-store",
            )
            .get("")
            .sees("cdn-cache-control: max-age=3600")
            .sees("cache-control: no-store")
            .get("")
            .hit()
            .sees("cdn-cache-control: max-age=3600")
            .sees("cache-control: no-store"),
    );
    cases.push(
        case("ours comes before that of all")
            .says(
                200,
                "nearside-cdn-cache-control: max-age=3600\ncdn-cache-control: no-store",
            )
            .get("")
            .get("")
            .hit(),
    );
    cases.push(
        case("ours, broken, leaves it to that of all")
            .says(
                200,
                "nearside-cdn-cache-control: &\ncdn-cache-control: max-age=3600\n\
                 cache-control: no-store",
            )
            .get("")
            .get("")
            .hit(),
    );
    cases.push(
        case("named fields in a targeted field are left out")
            .says(
                200,
                "cdn-cache-control: max-age=3600, private=\"x-a, x-c\"\nx-a: 1\nx-b: 2",
            )
            .get("")
            .sees("x-a: 1")
            .get("")
            .hit()
            .sees("!x-a")
            .sees("x-b: 2"),
    );
    cases.push(
        case("credentials and a targeted field")
            .says(200, "cdn-cache-control: max-age=3600, public")
            .get("authorization: Basic x")
            .get("")
            .hit(),
    );
    cases.push(
        case("credentials and a targeted field that gives no leave")
            .says(
                200,
                "cdn-cache-control: max-age=3600\ncache-control: public",
            )
            .get("authorization: Basic x")
            .get("")
            .reaches(),
    );
    cases.push(
        case("a 304 may bring another targeted field")
            .says(200, "cdn-cache-control: max-age=0\netag: \"a\"")
            .says(304, "cdn-cache-control: max-age=3600\netag: \"a\"")
            .get("")
            .get("")
            .validated()
            .get("")
            .hit(),
    );
    table(cases);
}

#[test]
fn surrogate_control_is_for_us_and_ends_here() {
    let mut cases = Vec::new();
    for (fields, is_fresh) in [
        ("surrogate-control: max-age=3600", true),
        (
            "surrogate-control: max-age=3600\ncache-control: no-store",
            true,
        ),
        (
            "surrogate-control: Max-Age=3600\ncache-control: max-age=0",
            true,
        ),
        ("surrogate-control: max-age=3600+600", true),
        ("surrogate-control: content=\"ESI/1.0\", max-age=3600", true),
        (
            "surrogate-control: content=\"ESI/1.0, ESI/1.1\", max-age=3600",
            true,
        ),
        (
            "surrogate-control: content=\"ESI/1.0\"\ncache-control: max-age=3600",
            true,
        ),
        (
            "surrogate-control: content=\"no-store, a\"\ncache-control: max-age=3600",
            true,
        ),
        (
            "surrogate-control: max-age=3600;other\ncache-control: max-age=3600",
            true,
        ),
        (
            "surrogate-control: max-age=0\ncdn-cache-control: max-age=3600",
            true,
        ),
        (
            "surrogate-control: no-store\ncache-control: max-age=3600",
            false,
        ),
        ("surrogate-control: no-store, max-age=3600", false),
        (
            "surrogate-control: max-age=0\ncache-control: max-age=3600",
            false,
        ),
        (
            "surrogate-control: max-age=x\ncache-control: max-age=3600",
            false,
        ),
        ("surrogate-control: max-age=3600;other", false),
    ] {
        let one = case(fields)
            .says(200, fields)
            .get("")
            .reaches()
            .sees("!surrogate-control")
            .get("");
        let one = if is_fresh { one.hit() } else { one.reaches() };
        cases.push(one.sees("!surrogate-control"));
    }
    table(cases);
}

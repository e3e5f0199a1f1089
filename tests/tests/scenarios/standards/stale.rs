//! RFC 9111 §4.2.4 and RFC 5861: what may be sent although it is stale.

use super::{Case, case, table};

const FRESH: &str = "cache-control: max-age=3600";

/// Something is stored that was fresh for a minute, a while ago.
fn stale(directives: &str, age_s: u64) -> Case {
    case(format!("{directives}, {age_s} s old"))
        .says(
            200,
            &format!("cache-control: max-age=60{directives}\nage: {age_s}"),
        )
        .get("")
        .reaches()
}

#[test]
fn errors_are_covered_in_the_window_of_stale_if_error() {
    let mut cases = Vec::new();
    for status in [500, 502, 503, 504] {
        cases.push(
            stale(", stale-if-error=3600", 600)
                .says(status, "")
                .get("")
                .asks(1)
                .validated()
                .status(200)
                .age(600, 660),
        );
        cases.push(
            stale(", stale-if-error=60", 600)
                .says(status, "")
                .get("")
                .reaches()
                .status(status),
        );
        // Without a word the site's window of a day counts, as of one who is cut off (RFC 9111 §4.3.3).
        cases.push(
            stale("", 600)
                .says(status, "")
                .get("")
                .validated()
                .status(200)
                .get("cache-control: stale-if-error=60")
                .reaches()
                .status(status),
        );
        cases.push(
            stale("", 90_000)
                .says(status, "")
                .get("")
                .reaches()
                .status(status)
                .get("cache-control: stale-if-error=99999")
                .validated(),
        );
        for forbids in [", must-revalidate", ", proxy-revalidate", ", no-cache"] {
            cases.push(
                stale(&format!(", stale-if-error=3600{forbids}"), 600)
                    .says(status, "")
                    .get("")
                    .reaches()
                    .status(status),
            );
        }
    }
    for status in [400, 403, 404, 410, 501, 505, 599] {
        cases.push(
            stale(", stale-if-error=3600", 600)
                .says(status, "")
                .get("")
                .reaches()
                .status(status),
        );
    }
    for value in ["x", "-1", "\"\"", "1.5", ""] {
        cases.push(
            stale(&format!(", stale-if-error={value}"), 600)
                .says(503, "")
                .get("")
                .reaches()
                .status(503),
        );
    }
    cases.push(
        stale(", stale-if-error=\"3600\"", 600)
            .says(503, "")
            .get("")
            .validated(),
    );
    cases.push(
        case("an error with a lifetime is stored where nothing covers it")
            .says(
                200,
                "cache-control: max-age=60, must-revalidate\nage: 600\netag: \"a\"",
            )
            .says(503, FRESH)
            .get("")
            .get("")
            .reaches()
            .status(503)
            .get("")
            .hit_of(2)
            .status(503),
    );
    table(cases);
}

#[test]
fn who_is_cut_off_from_the_origin_sends_what_is_stale() {
    let mut cases = Vec::new();
    for directives in [
        "",
        ", public",
        ", stale-if-error=3600",
        ", stale-while-revalidate=1",
        ", unknown",
    ] {
        cases.push(
            stale(directives, 600)
                .says_nothing()
                .get("")
                .status(200)
                .age(600, 660)
                .sees("cache-status: ~fwd=stale"),
        );
    }
    cases.push(
        case("by Expires")
            .says(200, "expires: {-60}\ndate: {-120}\nlast-modified: {-3600}")
            .says_nothing()
            .get("")
            .get("")
            .status(200),
    );
    // A word that ends the window ends it for this case, too.
    for directives in [
        ", stale-if-error=60",
        ", stale-if-error=0",
        ", must-revalidate",
        ", proxy-revalidate",
        ", s-maxage=60",
        ", no-cache\netag: \"a\"",
        ", must-revalidate, stale-if-error=3600",
    ] {
        cases.push(
            stale(directives, 600)
                .says_nothing()
                .get("")
                .status(504)
                .sees("cache-status: ~detail=no-origin"),
        );
    }
    cases.push(
        case("no-cache is not met with anything unasked")
            .says(200, FRESH)
            .says_nothing()
            .get("")
            .get("cache-control: no-cache")
            .status(504)
            .get("")
            .hit(),
    );
    cases.push(
        case("an origin that breaks off before its head has not answered")
            .says(200, "cache-control: max-age=60\nage: 600")
            .says_nothing()
            .says(200, FRESH)
            .get("")
            .get("")
            .status(200),
    );
    cases.push(
        case("what is gone does not come back")
            .says(200, "cache-control: max-age=60\nage: 600")
            .says(404, "")
            .says_nothing()
            .get("")
            .get("")
            .reaches()
            .status(404)
            .get("")
            .status(502),
    );
    table(cases);
}

#[test]
fn what_is_stale_is_sent_while_it_is_revalidated() {
    let mut cases = Vec::new();
    for (directives, age_s, is_sent) in [
        (", stale-while-revalidate=3600", 600, true),
        (", Stale-While-Revalidate=\"3600\"", 600, true),
        (", stale-while-revalidate=600", 640, true),
        (", stale-while-revalidate=500", 600, false),
        (", stale-while-revalidate=0", 600, false),
        (", stale-while-revalidate", 600, false),
        (", stale-while-revalidate=x", 600, false),
        (", stale-while-revalidate=3600, must-revalidate", 600, false),
        (
            ", stale-while-revalidate=3600, proxy-revalidate",
            600,
            false,
        ),
        (", stale-while-revalidate=3600, no-cache", 600, false),
        ("", 600, false),
    ] {
        let one = stale(directives, age_s).says(200, FRESH).get("");
        cases.push(if is_sent {
            one.sees("cache-status: ~hit")
                .age(age_s, age_s + 60)
                .eventually_hit_of(2)
        } else {
            one.reaches().get("").hit_of(2)
        });
    }
    for asks in ["cache-control: no-cache", "cache-control: max-age=60"] {
        cases.push(
            stale(", stale-while-revalidate=3600", 600)
                .says(200, FRESH)
                .get(asks)
                .reaches(),
        );
    }
    table(cases);
}

//! RFC 9211: `Cache-Status` says what happened.

use http::Method;

use super::{case, table};

const HOUR: &str = "cache-control: max-age=3600";

#[test]
fn cache_status_tells_each_way_of_answering() {
    let says = |text: &str| format!("cache-status: {text}");
    table(vec![
        case("a miss that is stored, and a hit")
            .says(200, &format!("{HOUR}\nage: 600"))
            .get("")
            .sees(&says("serve; fwd=miss; fwd-status=200; stored"))
            .get("")
            .sees("cache-status: ~serve; hit; ttl=")
            .get("cache-control: max-age=60")
            .sees(&says("serve; fwd=request; fwd-status=200; stored")),
        case("what is not stored says why")
            .says(200, "cache-control: no-store")
            .get("")
            .sees(&says("serve; fwd=miss; fwd-status=200; detail=no-store")),
        case("what is stale and validated")
            .says(200, "cache-control: max-age=0\netag: \"a\"")
            .says(304, HOUR)
            .get("")
            .get("")
            .sees("cache-status: ~serve; fwd=stale; fwd-status=304; ttl=36"),
        case("what is stale and replaced")
            .says(200, "cache-control: max-age=0\netag: \"a\"")
            .get("")
            .get("")
            .sees(&says("serve; fwd=stale; fwd-status=200; stored")),
        case("another variant")
            .says(200, &format!("{HOUR}\nvary: foo"))
            .get("foo: 1")
            .get("foo: 2")
            .sees(&says("serve; fwd=vary-miss; fwd-status=200; stored")),
        case("a method that is not ours to answer")
            .says(200, HOUR)
            .ask(Method::POST, "", "")
            .sees(&says("serve; fwd=method; fwd-status=200; detail=method")),
        case("content that is not ours to read")
            .says(200, HOUR)
            .get("")
            .with("x")
            .sees(&says("serve; fwd=bypass; fwd-status=200; detail=content")),
        case("a stale one while it is asked about")
            .says(
                200,
                "cache-control: max-age=60, stale-while-revalidate=3600\nage: 70",
            )
            .get("")
            .get("")
            .sees("cache-status: ~serve; hit; ttl=-1"),
        case("a stale one in place of an error")
            .says(
                200,
                "cache-control: max-age=60, stale-if-error=3600\nage: 70",
            )
            .says(503, "")
            .get("")
            .get("")
            .sees("cache-status: ~serve; fwd=stale; fwd-status=503; ttl=-1")
            .sees("cache-status: ~detail=stale-if-error"),
        case("what caches before us say stands before")
            .says(200, &format!("{HOUR}\ncache-status: origin; hit"))
            .get("")
            .sees(&says(
                "origin; hit, serve; fwd=miss; fwd-status=200; stored",
            ))
            .get("")
            .sees("cache-status: ~origin; hit, serve; hit; ttl="),
        case("no origin answers")
            .says_nothing()
            .get("")
            .status(502)
            .sees("cache-status: ~serve; fwd=miss; detail=no-origin"),
    ]);
}

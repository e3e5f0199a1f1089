//! What a site changes of requests and answers: fields, paths, pages.

use super::*;

const FRESH: &[(&str, &str)] = &[
    ("cache-control", "max-age=600"),
    ("content-type", "text/html"),
    ("server", "old"),
    ("etag", "\"one\""),
];

fn over_tls() -> Client {
    Client {
        tls: true,
        ..client()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_are_changed_on_both_sides_and_not_stored() {
    let bed = Bed::with(
        "[headers.origin]\nset = { X-Edge = \"1\" }\nremove = [\"X-Noise\"]\n\
         [headers.client]\nset = { Server = \"new\" }\nadd = { X-More = [\"1\", \"2\"] }\nremove = [\"via\"]\n\
         [[rule]]\nmatch = { status = 404 }\nheaders = { client = { set = { X-Missing = \"yes\" } } }\n\
         [[rule]]\nmatch = { path = \"/admin\" }\nheaders = { client = { remove = [\"Server\"] } }\n",
        script(|seen| {
            let status = if seen.target == "/none" { 404 } else { 200 };
            reply(status, FRESH, "text")
        }),
    )
    .await;
    for round in 0..3 {
        let got = bed.get_with("/a", &[("x-noise", "1")]).await;
        assert_eq!(got.cache_status().contains("; hit"), round > 0);
        assert_eq!(got.field("server"), "new");
        assert_eq!(got.headers.get_all("x-more").iter().count(), 2);
        assert_eq!(got.headers.get("via"), None);
        assert_eq!(got.headers.get("x-missing"), None);
        let missing = bed.get("/none").await;
        assert_eq!(
            (missing.field("x-missing"), missing.field("server")),
            ("yes", "new")
        );
        assert_eq!(bed.get("/admin").await.headers.get("server"), None);
    }
    let seen = bed.origin.seen.lock()[0].clone();
    assert_eq!(seen.headers["x-edge"], "1");
    assert!(!seen.headers.contains_key("x-noise"));
    let not_modified = bed.get_with("/a", &[("if-none-match", "\"one\"")]).await;
    assert_eq!(
        (not_modified.status.as_u16(), not_modified.field("server")),
        (304, "new")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_for_origins_that_depends_on_the_request_stores_apart() {
    let bed = Bed::with(
        "[[rule]]\nmatch = { header = { X-Beta = true } }\nheaders = { origin = { set = { X-Flavour = \"beta\" } } }\n",
        script(|seen| {
            let flavour = seen.headers.get("x-flavour");
            let flavour = flavour.map_or("plain", |value| value.to_str().unwrap());
            reply(200, FRESH, flavour.to_owned())
        }),
    )
    .await;
    for _ in 0..2 {
        assert_eq!(bed.get("/a").await.text(), "plain");
        assert_eq!(bed.get_with("/a", &[("x-beta", "1")]).await.text(), "beta");
    }
    assert_eq!(bed.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_sent_elsewhere_and_origins_asked_for_another_path() {
    let bed = Bed::with(
        "[tls]\nhsts = { max_age = \"1h\" }\n\
         [[rule]]\nmatch = { path = \"/old/*\" }\nredirect = { from = \"^/old/(.*)$\", to = \"/new/$1\", status = 301 }\n\
         [[rule]]\nmatch = { path = \"/app/*\" }\nrewrite = { strip_prefix = \"/app\" }\nhost = \"app.internal\"\n\
         [[rule]]\nmatch = { path = \"/up*\" }\nrewrite = { from = \"^/up(.*)$\", to = \"/down/$1\" }\n",
        always(200, FRESH, "text"),
    )
    .await;
    let got = bed.get("/old/a%20b?c=d").await;
    assert_eq!(
        (got.status.as_u16(), got.field("location")),
        (301, "/new/a%20b?c=d")
    );
    assert_eq!(got.headers.get("strict-transport-security"), None);
    for _ in 0..2 {
        bed.get("/app/x?y=1").await;
    }
    assert_eq!(bed.origin.count(), 1);
    let seen = bed.origin.last();
    assert_eq!(
        (&*seen.target, &seen.headers["host"]),
        ("/x?y=1", &HeaderValue::from_static("app.internal"))
    );
    assert_eq!(seen.headers["x-forwarded-host"], "shop.example");
    // What a group holds does not climb out of where the rule has put it.
    bed.get("/up../../etc").await;
    assert_eq!(bed.origin.last().target, "/etc");
    // The purge knows the client's URL.
    bed.purge("/app/x?y=1", false);
    bed.get("/app/x?y=1").await;
    assert_eq!(bed.origin.count(), 3);
    for target in ["/app/x?y=1", "/old/a"] {
        let got = collect(bed.open_as(over_tls(), get(target, &[])).await).await;
        assert_eq!(
            got.field("strict-transport-security"),
            "max-age=3600",
            "{target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_sites_own_pages() {
    let mut bed = Bed::with(
        "[error_pages]\n502-504 = { body = \"<b>{status}</b> {request_id}\" }\n404 = { body = \"lost\", type = \"text/plain\", intercept = true }\n\
         [[rule]]\nmatch = { path = \"/api/*\", status = \"5xx\" }\nerror_page = { body = \"{}\", type = \"application/json\", intercept = true }\n",
        script(|seen| {
            let status = match &*seen.target {
                "/none" => 404,
                _ => 503,
            };
            reply(status, &[("content-type", "text/html"), ("etag", "\"e\""), ("cache-control", "max-age=600")], "the origin's own")
        }),
    )
    .await;
    for _ in 0..2 {
        let got = bed.get("/none").await;
        assert_eq!(
            (got.status.as_u16(), got.text(), got.field("content-type")),
            (404, "lost", "text/plain")
        );
        assert_eq!(got.headers.get("etag"), None);
        assert_eq!(got.field("content-length"), "4");
    }
    assert_eq!(bed.get("/page").await.text(), "the origin's own");
    let got = bed.get("/api/x").await;
    assert_eq!(
        (got.status.as_u16(), got.text(), got.field("content-type")),
        (503, "{}", "application/json")
    );
    bed.origin.die().await;
    let got = bed.get("/other").await;
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    assert!(got.text().starts_with("<b>502</b> "), "{got:?}");
    let got = bed
        .send(request(Method::HEAD, "/other", &[], Body::Empty))
        .await;
    assert_eq!((got.text(), got.field("content-length")), ("", "27"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_is_worked_on_lets_in_who_works_on_it() {
    let bed = Bed::with(
        "[maintenance]\nretry_after = \"10m\"\nallow = [\"198.51.100.0/24\"]\npage = { body = \"soon\" }\n",
        always(200, FRESH, "text"),
    )
    .await;
    let worker = Client {
        address: "198.51.100.7".parse().unwrap(),
        ..client()
    };
    let got = collect(bed.open_as(worker, get("/a", &[])).await).await;
    assert_eq!(got.text(), "text");
    // Not even from the cache.
    let got = bed.get("/a").await;
    assert_eq!(
        (got.status.as_u16(), got.text(), got.field("retry-after")),
        (503, "soon", "600")
    );
    assert_eq!(bed.origin.count(), 1);
}

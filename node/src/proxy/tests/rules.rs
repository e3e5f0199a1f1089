//! What a site's rules make of requests, through the whole proxy.

use super::*;

const PLAIN: &[(&str, &str)] = &[("content-type", "text/plain")];
const HOUR: &[(&str, &str)] = &[("cache-control", "max-age=3600")];

async fn statuses(bed: &Bed, requests: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    for target in requests {
        let got = bed.get(target).await;
        said.push(got.cache_status().split_once("; ").unwrap().1.to_owned());
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ttl_for_a_status_keeps_errors_and_leaves_the_rest_alone() {
    let settings = "[[rule]]\nmatch = { status = [404, \"5xx\"] }\nttl = \"1m\"\n";
    for status in [404, 503] {
        let bed = Bed::with(settings, always(status, PLAIN, "no")).await;
        bed.get("/a").await;
        assert!(
            bed.get("/a").await.cache_status().contains("hit"),
            "{status}"
        );
        assert_eq!(bed.origin.count(), 1);
    }
    let bed = Bed::with(settings, always(200, PLAIN, "yes")).await;
    bed.get("/a").await;
    assert!(!bed.get("/a").await.cache_status().contains("hit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ttl_by_type_and_path_joins_when_the_answer_is_known() {
    let settings =
        "[[rule]]\nmatch = { path = \"/img/*\", content_type = \"image/*\" }\nttl = \"1m\"\n";
    let origin = script(|seen| {
        let kind = match seen.target.contains("png") {
            true => "IMAGE/png; x=1",
            false => "text/html",
        };
        reply(200, &[("content-type", kind)], "x")
    });
    let bed = Bed::with(settings, origin).await;
    for (target, hits) in [
        ("/img/a.png", true),
        ("/img/a.html", false),
        ("/a.png", false),
    ] {
        bed.get(target).await;
        let second = bed.get(target).await;
        assert_eq!(second.cache_status().contains("hit"), hits, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_and_ceilings_hold_whatever_the_origin_says() {
    let settings =
        "[cache]\nttl_max = \"1h\"\n[[rule]]\nmatch = { path = \"/low/*\" }\nttl_min = \"10m\"\n";
    let origin = script(|seen| {
        let control = match seen.target.rsplit('/').next().unwrap() {
            "long" => "max-age=86400",
            "short" => "max-age=1",
            "zero" => "max-age=0",
            _ => "private, max-age=1",
        };
        reply(200, &[("cache-control", control)], "x")
    });
    let bed = Bed::with(settings, origin).await;
    for (target, ttl) in [
        ("/long", Some(3600)),
        ("/low/long", Some(3600)),
        ("/short", Some(1)),
        ("/low/short", Some(600)),
        ("/low/zero", Some(600)),
        ("/low/private", None),
    ] {
        bed.get(target).await;
        let second = bed.get(target).await;
        let said = second.cache_status();
        let told = said
            .split_once("hit; ttl=")
            .map(|(_, ttl)| ttl.parse::<u64>().unwrap());
        // A second may pass between the two.
        let near = told == ttl || told.map(|told| told + 1) == ttl;
        assert!(near || ttl == Some(1), "{target}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negative_ttl_is_for_errors_that_say_nothing() {
    let settings = "[cache]\nnegative_ttl = \"1m\"\n";
    for (status, fields, hits) in [
        (404, PLAIN, true),
        (500, PLAIN, true),
        (
            405,
            &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            true,
        ),
        (404, &[("cache-control", "no-store")], false),
        (404, &[("cache-control", "max-age=0")], false),
        (403, PLAIN, false),
        (200, PLAIN, false),
    ] {
        let bed = Bed::with(settings, always(status, fields, "x")).await;
        bed.get("/a").await;
        let second = bed.get("/a").await;
        assert_eq!(
            second.cache_status().contains("hit"),
            hits,
            "{status} {fields:?}"
        );
        if hits {
            assert!(
                second.cache_status().contains("ttl=60")
                    || second.cache_status().contains("ttl=59")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_force_nothing_where_the_site_says_so() {
    let bed = Bed::with(
        "[cache]\nclient_directives = \"ignore\"\n",
        always(200, HOUR, "x"),
    )
    .await;
    bed.get_with("/a", &[("cache-control", "no-store")]).await;
    for field in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "min-fresh=100000"),
        ("pragma", "no-cache"),
    ] {
        let got = bed.get_with("/a", &[field]).await;
        assert!(got.cache_status().contains("hit"), "{field:?}");
    }
    assert_eq!(bed.origin.count(), 1);
    let got = bed
        .get_with("/b", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(got.status, 504);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_mode_bypasses_until_it_ends() {
    let bed = Bed::with(
        "[cache]\ndevelopment_until = 2999-01-01T00:00:00Z\n",
        always(200, HOUR, "x"),
    )
    .await;
    let said = statuses(&bed, &["/a", "/a"]).await;
    assert!(
        said.iter().all(|said| said.contains("fwd=bypass")),
        "{said:?}"
    );
    let bed = Bed::with(
        "[cache]\ndevelopment_until = 2001-01-01T00:00:00Z\n",
        always(200, HOUR, "x"),
    )
    .await;
    let said = statuses(&bed, &["/a", "/a"]).await;
    assert!(said[1].starts_with("hit"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_is_cut_to_what_the_rule_of_the_path_says() {
    let settings = "[cache]\nkey = { query_drop = [\"utm_*\"], query_sort = true }\n[[rule]]\nmatch = { path = \"/search\" }\nkey = { query_keep = [\"q\", \"page\", \"utm_x\"] }\n[[rule]]\nmatch = { path = \"/raw\" }\nkey = { query_drop = [], query_sort = false }\n";
    let bed = Bed::with(settings, always(200, HOUR, "x")).await;
    for (target, sent) in [
        ("/a?b=2&a=1&utm_x=3&a=0", "/a?a=1&a=0&b=2"),
        ("/search?page=2&x=1&q=y&utm_x=1", "/search?page=2&q=y"),
        ("/search?x=1", "/search"),
        ("/raw?b=2&a=1&utm_x=3", "/raw?b=2&a=1&utm_x=3"),
    ] {
        bed.get(target).await;
        assert_eq!(bed.origin.last().target, sent, "{target}");
    }
    let before = bed.origin.count();
    assert!(
        bed.get("/a?a=1&b=2&a=0")
            .await
            .cache_status()
            .contains("hit")
    );
    assert_eq!(bed.origin.count(), before);
    // One purge finds it by any of its spellings.
    let site = bed
        .proxy
        .views
        .load()
        .site("shop.example")
        .cloned()
        .unwrap();
    let identity = crate::proxy::key::identity_of_url(
        "http://shop.example/a?b=2&a=1&a=0&utm_y=1",
        &site.rules,
    );
    assert_eq!(identity.as_deref(), Some("shop.example/a?a=1&a=0&b=2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_key_keeps_answers_apart_and_one_purge_finds_all() {
    let settings = "[cache]\nkey = { headers = [\"X-Tenant\", \"X-Forwarded-Host\"], cookies = [\"lang\"], device = true, country = true }\n";
    let origin = script(|seen| {
        let text = |name: &str| {
            let value = seen.headers.get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let names = [
            "x-tenant",
            "x-forwarded-host",
            "cookie",
            "x-device-class",
            "x-client-country",
        ];
        reply(200, HOUR, names.map(text).join(" "))
    });
    let bed = Bed::with(settings, origin).await;
    let rows: [(&[(&str, &str)], &str); 6] = [
        (&[], "- shop.example - desktop XX"),
        (&[("x-tenant", "a")], "a shop.example - desktop XX"),
        (
            &[("x-forwarded-host", "x.example")],
            "- x.example - desktop XX",
        ),
        (
            &[("cookie", "sid=1; lang=de")],
            "- shop.example lang=de desktop XX",
        ),
        (
            &[("cookie", "lang=en; sid=1")],
            "- shop.example lang=en desktop XX",
        ),
        (
            &[("user-agent", "iPhone"), ("x-device-class", "bot")],
            "- shop.example - phone XX",
        ),
    ];
    for hits in [false, true] {
        for (fields, text) in rows {
            let got = bed.get_with("/a", fields).await;
            assert_eq!(got.text(), text, "{fields:?}");
            assert_eq!(got.cache_status().contains("hit"), hits, "{fields:?}");
        }
    }
    // Another session with the same language shares it.
    let got = bed
        .get_with("/a", &[("cookie", "sid=2; lang=de; x=y")])
        .await;
    assert!(got.cache_status().contains("hit"));
    let before = bed.origin.count();
    bed.purge("/a", false);
    for (fields, _) in rows {
        assert!(
            !bed.get_with("/a", fields)
                .await
                .cache_status()
                .contains("hit"),
            "{fields:?}"
        );
    }
    assert_eq!(bed.origin.count(), before + rows.len());
    // A write takes all of them along too, and keeps its cookies.
    bed.send(request(
        Method::POST,
        "/a",
        &[("cookie", "sid=1; lang=de")],
        Body::Empty,
    ))
    .await;
    assert_eq!(bed.origin.last().headers["cookie"], "sid=1; lang=de");
    // So does what the cache has no part in.
    bed.get_with("/a", &[("cookie", "sid=1; lang=de"), ("if-match", "\"x\"")])
        .await;
    assert_eq!(bed.origin.last().headers["cookie"], "sid=1; lang=de");
    for (fields, _) in rows {
        assert!(
            !bed.get_with("/a", fields)
                .await
                .cache_status()
                .contains("hit"),
            "{fields:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_rule_takes_the_bypass_back_by_method_and_field() {
    let settings = "[[rule]]\nmatch = { path = \"/a*\", header = { Cookie = \"*session=*\" } }\ncache = \"bypass\"\n[[rule]]\nmatch = { path = \"/a/public\", method = \"GET\" }\ncache = \"standard\"\n";
    let bed = Bed::with(settings, always(200, HOUR, "x")).await;
    let with = &[("cookie", "a=b; session=1")];
    for (target, bypassed) in [("/a", true), ("/a/public", false), ("/b", false)] {
        let got = bed.get_with(target, with).await;
        assert_eq!(got.cache_status().contains("bypass"), bypassed, "{target}");
        assert!(
            !bed.get(target).await.cache_status().contains("bypass"),
            "{target}"
        );
    }
    let head = bed
        .send(request(Method::HEAD, "/a/public", with, Body::Empty))
        .await;
    assert!(head.cache_status().contains("bypass"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_windows_are_those_of_the_rule() {
    let settings = "[cache]\nstale_if_error = \"0s\"\n[[rule]]\nmatch = { path = \"/kept\" }\nstale_if_error = \"1h\"\n[[rule]]\nmatch = { path = \"/while\" }\nstale_while_revalidate = \"1h\"\n";
    let fields = &[("cache-control", "max-age=0"), ("etag", "\"a\"")];
    let bed = Bed::with(settings, always(200, fields, "x")).await;
    for target in ["/kept", "/while", "/other"] {
        bed.get(target).await;
    }
    bed.origin.now_does(always(503, PLAIN, "broken"));
    assert_eq!(bed.get("/other").await.status, 503);
    let kept = bed.get("/kept").await;
    assert_eq!((kept.status, kept.text()), (StatusCode::OK, "x"));
    let stale = bed.get("/while").await;
    assert!(
        stale.cache_status().contains("hit") && stale.text() == "x",
        "{}",
        stale.cache_status()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_shown_to_those_whom_the_site_shows_it() {
    let settings = "[cache]\nstatus_key_for = [\"192.0.2.0/31\"]\nkey = { cookies = [\"lang\"] }\n[[rule]]\nmatch = { path = \"/never\" }\ncache = \"bypass\"\n";
    let bed = Bed::with(settings, always(200, HOUR, "x")).await;
    let cookie = &[("cookie", "lang=de; sid=1")];
    let shown = "; key=\"shop http shop.example /a, cookies=lang=de\"";
    for word in ["fwd=miss", "hit; ttl="] {
        let got = bed.get_with("/a", cookie).await;
        assert!(
            got.cache_status().contains(word) && got.cache_status().ends_with(shown),
            "{got:?}"
        );
    }
    let other = Client {
        address: "192.0.2.2".parse().unwrap(),
        ..client()
    };
    let got = collect(bed.open_as(other, get("/a", cookie)).await).await;
    assert!(
        got.cache_status().contains("hit") && !got.cache_status().contains("key"),
        "{got:?}"
    );
    let never = bed.get("/never").await;
    assert!(!never.cache_status().contains("key"), "{never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_by_field_that_shapes_the_request_stores_its_answers_apart() {
    let settings = "[[rule]]\nmatch = { header = { X-Beta = true } }\nhost = \"beta.example\"\n[[rule]]\nmatch = { path = \"/p\" }\nhost = \"p.example\"\n";
    let origin = script(|seen| {
        let host = seen.headers["host"].to_str().unwrap().to_owned();
        reply(200, HOUR, host)
    });
    let bed = Bed::with(settings, origin).await;
    let beta: &[(&str, &str)] = &[("x-beta", "1")];
    for hits in [false, true] {
        for (target, fields, host) in [
            ("/a", beta, "beta.example"),
            ("/a", &[][..], "shop.example"),
            ("/p", beta, "p.example"),
        ] {
            let got = bed.get_with(target, fields).await;
            assert_eq!(got.text(), host, "{target} {fields:?}");
            assert_eq!(
                got.cache_status().contains("hit"),
                hits,
                "{target} {fields:?}"
            );
        }
    }
    // One purge finds both.
    bed.purge("/a", false);
    for fields in [beta, &[]] {
        assert!(
            !bed.get_with("/a", fields)
                .await
                .cache_status()
                .contains("hit"),
            "{fields:?}"
        );
    }
}

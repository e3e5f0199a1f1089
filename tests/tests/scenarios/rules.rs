//! Rules of a site file, through `nearside serve --site FILE`.

use nearside_tests::{Got, Mode, Origin, Reply, Serve, eventually, patience, run, run_program};

use crate::stage::Stage;

async fn get(serve: &Serve, path: &str, fields: &[(&str, &str)]) -> Got {
    let mut request = serve.get(path);
    for (name, value) in fields {
        request = request.field(name, value);
    }
    request.send().await
}

/// Its sockets are open before it serves.
async fn serves(serve: &Serve) {
    eventually("serve is ready", patience(), async || {
        let said = serve.command(&["status"]).await;
        match said.stdout.contains("\"ready\": true") {
            true => Ok(()),
            false => Err(said.told()),
        }
    })
    .await;
}

/// An origin that says in the body what it was told.
async fn echo(names: &'static [&'static str], control: &'static str) -> Origin {
    let origin = Origin::start().await;
    for path in ["/a", "/b", "/a?q=1&r=2"] {
        origin.script(path, move |seen| {
            let told: Vec<String> = names
                .iter()
                .map(|name| seen.field(name).unwrap_or_else(|| "-".to_owned()))
                .collect();
            Reply::new(format!("{} {}", seen.path, told.join(" "))).cache_control(control)
        });
    }
    origin
}

#[test]
fn lifetimes_are_those_of_the_rules() {
    run(async {
        let origin = Origin::start().await;
        let settings = r#"
[cache]
negative_ttl = "1m"
ttl_max = "1h"
[[rule]]
match = { path = "/plain/*" }
ttl = "10m"
[[rule]]
match = { path = "/plain/*", status = "5xx" }
ttl = "30s"
[[rule]]
match = { content_type = "image/*" }
ttl_min = "20m"
"#;
        origin.on("/plain/a", Reply::new("a"));
        origin.on("/plain/broken", Reply::new("b").status(500));
        origin.on("/long", Reply::new("c").cache_control("max-age=999999"));
        let image = Reply::new("d").field("content-type", "image/png");
        origin.on("/image", image.cache_control("max-age=1"));
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        for (path, status, ttl_s) in [
            ("/plain/a", 200, 600),
            ("/plain/broken", 500, 30),
            ("/long", 200, 3600),
            ("/image", 200, 1200),
            ("/missing", 404, 60),
        ] {
            get(&serve, path, &[]).await;
            let got = get(&serve, path, &[]).await;
            assert_eq!(got.status, status, "{path}");
            assert!(got.is_hit(), "{path}: {}", got.cache_status());
            let said = got.cache_status();
            let (_, told) = said.split_once("ttl=").unwrap();
            let told: i64 = told.split(';').next().unwrap().parse().unwrap();
            assert!((ttl_s - 20..=ttl_s).contains(&told), "{path}: {said}");
            assert_eq!(origin.asked_for(path), 1, "{path}");
        }
    });
}

#[test]
fn what_is_in_the_key_is_what_the_origin_is_told() {
    run(async {
        let names = &[
            "x-tenant",
            "cookie",
            "x-device-class",
            "x-client-country",
            "x-original-url",
        ];
        let origin = echo(names, "max-age=3600").await;
        let settings = r#"
[[rule]]
match = { path = "/a" }
key = { headers = ["X-Tenant"], cookies = ["lang"], device = true, country = true, query_sort = true }
"#;
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        let rows: [(&[(&str, &str)], &str); 5] = [
            (&[], "/a - - desktop XX -"),
            (&[("x-tenant", "one")], "/a one - desktop XX -"),
            (
                &[("x-tenant", "two"), ("cookie", "sid=7; lang=no")],
                "/a two lang=no desktop XX -",
            ),
            (
                &[("sec-ch-ua-mobile", "?1"), ("x-device-class", "tv")],
                "/a - - phone XX -",
            ),
            (
                &[("x-client-country", "NO"), ("cookie", "lang=de")],
                "/a - lang=de desktop XX -",
            ),
        ];
        for hit in [false, true] {
            for (fields, text) in rows {
                let got = get(&serve, "/a", fields).await;
                assert_eq!(got.body, text, "{fields:?}");
                assert_eq!(got.is_hit(), hit, "{fields:?}: {}", got.cache_status());
            }
        }
        let sorted = get(&serve, "/a?r=2&q=1", &[]).await;
        assert!(sorted.body.starts_with(b"/a?q=1&r=2 "), "{:?}", sorted.body);
        // Elsewhere nothing is keyed, and nothing that is told there is taken from a client.
        let got = get(
            &serve,
            "/b",
            &[("x-device-class", "tv"), ("cookie", "sid=7")],
        )
        .await;
        assert_eq!(got.body, "/b - sid=7 - - -");
        assert!(get(&serve, "/b", &[]).await.is_hit());
    });
}

#[test]
fn a_bypass_is_for_what_the_rule_matches() {
    run(async {
        let origin = echo(&[], "max-age=3600").await;
        let settings = r#"
[cache]
client_directives = "ignore"
[[rule]]
match = { header = { Cookie = "*session=*" } }
cache = "bypass"
"#;
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        get(&serve, "/a", &[]).await;
        let with = get(&serve, "/a", &[("cookie", "a=1; session=2")]).await;
        assert!(
            with.cache_status().contains("fwd=bypass"),
            "{}",
            with.cache_status()
        );
        assert!(get(&serve, "/a", &[("cookie", "a=1")]).await.is_hit());
        assert!(
            get(&serve, "/a", &[("cache-control", "no-cache")])
                .await
                .is_hit()
        );
        assert_eq!(origin.asked_for("/a"), 2);
    });
}

#[test]
fn development_mode_ends_by_itself() {
    run(async {
        for (until, hits) in [
            ("2999-01-01T00:00:00Z", false),
            ("2001-01-01T00:00:00+02:00", true),
        ] {
            let origin = echo(&[], "max-age=3600").await;
            let settings = format!("[cache]\ndevelopment_until = {until}\n");
            let serve = Serve::site(&origin.url(), &settings, &[]).await;
            get(&serve, "/a", &[]).await;
            assert_eq!(get(&serve, "/a", &[]).await.is_hit(), hits, "{until}");
        }
    });
}

#[test]
fn a_path_may_be_stale_for_longer_than_the_site() {
    run(async {
        let origin = echo(&[], "max-age=0").await;
        for path in ["/a", "/b"] {
            let reply = Reply::new("kept").field("etag", "\"x\"");
            origin.on(path, reply.cache_control("max-age=0"));
        }
        let settings = r#"
[cache]
stale_if_error = "0s"
[[rule]]
match = { path = "/a" }
stale_if_error = "1d"
"#;
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        for path in ["/a", "/b"] {
            assert_eq!(get(&serve, path, &[]).await.status, 200);
        }
        origin.set_mode(Mode::Refusing);
        assert_eq!(get(&serve, "/a", &[]).await.body, "kept");
        let refused = get(&serve, "/b", &[]).await.status;
        assert!(matches!(refused, 502 | 504), "{refused}");
    });
}

#[test]
fn site_check_says_what_is_wrong_with_a_rule_and_what_would_be_right() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.toml");
        let head = "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:9\"\n";
        for (rule, line, words) in [
            (
                "[[rule]]\nttl_mim = \"1s\"\n",
                6,
                &["did you mean `ttl_min`?"][..],
            ),
            (
                "[[rule]]\nmatch = { status = 404 }\nkey = { device = true }\n",
                7,
                &["`key.device`", "status", "before there is an answer"],
            ),
            (
                "[[rule]]\nmatch = { content_type = \"text/*\" }\ncache = \"bypass\"\n",
                7,
                &["`cache`", "content_type"],
            ),
            (
                "[[rule]]\nkey = { headers = [\"X-Forwarded-For\"] }\n",
                6,
                &["x-forwarded-for"],
            ),
            (
                "[[rule]]\nttl_min = \"2h\"\nttl_max = \"1h\"\n",
                6,
                &["`ttl_min` is more than `ttl_max`"],
            ),
            (
                "[cache]\ndevelopment_until = 2026-11-24\n",
                6,
                &["2026-11-24", "write it like"],
            ),
        ] {
            std::fs::write(&file, format!("{head}{rule}")).unwrap();
            let said = run_program(&["site", "check", file.to_str().unwrap()]).await;
            assert_eq!(said.code, Some(1), "{}", said.told());
            assert!(
                said.stderr.contains(&format!("shop.toml:{line}: ")),
                "{}",
                said.told()
            );
            for word in words {
                assert!(said.stderr.contains(word), "{}", said.told());
            }
        }
    });
}

#[test]
fn explain_tells_what_then_happens_and_changes_nothing() {
    run(async {
        let origin = echo(&[], "max-age=1").await;
        let settings = r#"
[cache]
key = { device = true }
[[rule]]
match = { path = "/a" }
ttl_min = "1h"
[[rule]]
match = { path = "/b", method = "GET" }
cache = "bypass"
"#;
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        let url = |path: &str| format!("http://app.example{path}");
        let explain = async |path: &str, more: &[&str]| {
            let url = url(path);
            let said = serve
                .command(&[&["explain", url.as_str()], more].concat())
                .await;
            said.json()
        };
        serves(&serve).await;
        let told = explain("/a", &[]).await;
        assert_eq!(told["verdict"], "miss", "{told}");
        assert_eq!(origin.asked(), 0);
        get(&serve, "/a", &[]).await;
        let told = explain("/a", &[]).await;
        assert_eq!(told["verdict"], "hit", "{told}");
        assert_eq!(told["site"], "app");
        assert_eq!(told["purge_identity"], "app.example/a");
        assert_eq!(told["key"]["apart"][0][1], "desktop");
        assert_eq!(told["stored"]["tier"], "memory");
        assert_eq!(told["next"][0]["origin"], "origin1");
        let floor = told["in_force"].as_array().unwrap().iter();
        let floor = floor.clone().find(|key| key["key"] == "ttl_min").unwrap();
        assert_eq!(
            (&floor["rule"]["number"], &floor["rule"]["line"]),
            (&1.into(), &8.into())
        );
        let phone = explain("/a", &["--header", "Sec-CH-UA-Mobile: ?1"]).await;
        assert_eq!(phone["verdict"], "miss", "{phone}");
        let bypass = explain("/b", &[]).await;
        assert_eq!(
            (&bypass["verdict"], &bypass["key"]),
            (&"bypass".into(), &serde_json::Value::Null)
        );
        let head = explain("/b", &["--method", "HEAD", "--from", "192.0.2.7"]).await;
        assert_eq!(head["verdict"], "miss", "{head}");
        assert_eq!(origin.asked(), 1);
        // Across a restart what is stored is found on disk, and stays there.
        serve.terminate().await;
        serve.again().await;
        serves(&serve).await;
        for _ in 0..2 {
            let told = explain("/a", &[]).await;
            assert_eq!(told["stored"]["tier"], "disk", "{told}");
        }
        let said = serve.run_plain(&["explain", &url("/a")]).await;
        for word in [
            "verdict   hit: fresh for",
            "ttl_min",
            "origin    origin1",
            "on disk",
        ] {
            assert!(said.stdout.contains(word), "{}", said.told());
        }
        assert!(!said.stdout.contains("127.0.0.1"), "{}", said.told());
    });
}

#[test]
fn explain_works_on_any_node_of_a_cluster() {
    run(async {
        let stage = Stage::with("[[rule]]\nmatch = { path = \"/c/*\" }\nttl = \"1h\"\n").await;
        let path = "/c/900/page";
        stage.fetch(path).await;
        for (node, verdict) in [("lon1", "hit"), ("nyc1", "miss")] {
            let node = stage.lab.node(node);
            let told = node.run(&["explain", &stage.url(path)]).await.json();
            assert_eq!(told["verdict"], verdict, "{told}");
            assert_eq!(told["site"], stage.site.as_str());
            assert_eq!(told["in_force"][0]["rule"]["number"], 1, "{told}");
        }
        assert_eq!(stage.origin.asked(), 1);
    });
}

#[test]
fn development_mode_is_a_change_of_the_site_that_ends_by_itself() {
    run(async {
        let stage = Stage::with("[[rule]]\nmatch = { path = \"/c/*\" }\nttl = \"1h\"\n").await;
        let path = "/c/700/page";
        stage.fetch(path).await;
        assert!(stage.fetch(path).await.is_hit());
        let node = stage.lab.node("nyc1");
        let said = node
            .run_plain(&["site", "develop", &stage.site, "--for", "2h"])
            .await
            .ok();
        assert!(
            said.stdout.contains("bypasses its cache until"),
            "{}",
            said.told()
        );
        let got = stage.fetch(path).await;
        assert!(
            got.cache_status().contains("fwd=bypass"),
            "{}",
            got.cache_status()
        );
        let told = stage
            .node()
            .run(&["explain", &stage.url(path)])
            .await
            .json();
        assert_eq!(told["verdict"], "bypass", "{told}");
        let text = node
            .run_plain(&["site", "show", &stage.site])
            .await
            .ok()
            .stdout;
        assert!(text.contains("development_until = "), "{text}");
        node.run_plain(&["site", "develop", &stage.site, "--off"])
            .await
            .ok();
        assert!(stage.fetch(path).await.is_hit());
        let text = node
            .run_plain(&["site", "show", &stage.site])
            .await
            .ok()
            .stdout;
        assert!(!text.contains("development_until"), "{text}");
        let said = node.run_plain(&["site", "develop", "nobody"]).await;
        assert!(
            said.code == Some(1) && said.stderr.contains("nobody"),
            "{}",
            said.told()
        );
    });
}

//! A write through one node makes what the others hold unusable, too (RFC 9111 §4.4).

use std::time::Duration;

use http::Method;
use nearside_tests::{
    Got, Lab, Node, Origin, Plan, Reply, Request, Wire, eventually, patience, run,
};

use crate::stage::{Stage, site_file};

async fn write(node: &Node, host: &str, path: &str) -> Got {
    let got = Request::new(Method::POST, host, path)
        .to(node.http())
        .body("x")
        .send()
        .await;
    assert!(got.status < 400, "{got:?}");
    got
}

/// Counts its GETs; says in answer to others which more have changed.
fn counting(origin: &Origin, path: &str, also: &'static [(&'static str, &'static str)]) {
    let gets = std::sync::atomic::AtomicU64::new(0);
    origin.script(path, move |seen| {
        if seen.method == Method::GET {
            let number = gets.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            return Reply::new(number.to_string()).cache_control("max-age=600");
        }
        also.iter()
            .fold(Reply::new("done"), |reply, (name, value)| {
                reply.field(name, value)
            })
    });
}

/// Waits until each of these nodes has asked anew for each path.
async fn heard(nodes: &[&Node], host: &str, paths: &[&str]) {
    for node in nodes {
        for path in paths {
            eventually("the write is heard of", patience(), async || {
                let got = node.get(host, path).send().await;
                match got.is_hit() {
                    true => Err(format!("{} {path}: {}", node.name, got.cache_status())),
                    false => Ok(()),
                }
            })
            .await;
        }
    }
}

async fn fill(nodes: &[&Node], host: &str, paths: &[&str]) {
    for node in nodes {
        for path in paths {
            // News of an earlier write may still be on their way.
            eventually("it is stored", patience(), async || {
                let got = node.get(host, path).send().await;
                match got.is_hit() {
                    true => Ok(()),
                    false => Err(format!("{} {path}: {}", node.name, got.cache_status())),
                }
            })
            .await;
        }
    }
}

#[test]
fn a_write_at_one_node_is_heard_of_at_the_others() {
    run(async {
        let stage = Stage::new().await;
        let also = &[
            ("location", "/made"),
            ("content-location", "http://elsewhere.example/other"),
        ];
        counting(&stage.origin, "/page", also);
        for path in ["/made", "/other", "/bystander"] {
            counting(&stage.origin, path, &[]);
        }
        let nodes: Vec<&Node> = stage.lab.nodes().iter().map(|node| &**node).collect();
        let paths = ["/page", "/made", "/other", "/bystander"];
        fill(&nodes, &stage.host, &paths).await;
        write(nodes[0], &stage.host, "/page").await;
        // At the node itself nothing is waited for.
        for path in ["/page", "/made"] {
            let got = nodes[0].get(&stage.host, path).send().await;
            assert!(!got.is_hit(), "{path}: {}", got.cache_status());
        }
        heard(&nodes[1..], &stage.host, &["/page", "/made"]).await;
        for node in &nodes {
            for path in ["/other", "/bystander"] {
                let got = node.get(&stage.host, path).send().await;
                assert!(got.is_hit(), "{path} is not what was written");
            }
        }
        let told = nodes[0].metrics().await;
        let delivered = told["nearside_invalidations_total{event=\"delivered\"}"];
        assert!(delivered >= 2.0 * (nodes.len() - 1) as f64, "{delivered}");
        assert!(told.contains_key("nearside_invalidations_waiting"));
    });
}

#[test]
fn a_write_that_failed_or_only_reads_changes_nothing_elsewhere() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.script("/page", |seen| {
            if seen.method == Method::GET {
                Reply::new("page").cache_control("max-age=600")
            } else if seen.method == Method::POST {
                Reply::new("no").status(500)
            } else {
                Reply::new("done")
            }
        });
        counting(&stage.origin, "/last", &[]);
        let nodes: Vec<&Node> = stage.lab.nodes().iter().map(|node| &**node).collect();
        fill(&nodes, &stage.host, &["/page", "/last"]).await;
        for method in [Method::POST, Method::OPTIONS] {
            let ask = Request::new(method, &stage.host, "/page");
            ask.to(nodes[0].http()).body("x").send().await;
        }
        // Once a later write has come there, the earlier ones would have.
        write(nodes[0], &stage.host, "/last").await;
        heard(&nodes[1..], &stage.host, &["/last"]).await;
        for node in &nodes {
            assert!(node.get(&stage.host, "/page").send().await.is_hit());
        }
    });
}

#[test]
fn a_node_that_was_cut_off_hears_of_writes_once_it_is_back() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        let host = "shop.example";
        let text = site_file("shop", host, &[&origin.url()], "");
        lab.apply("site", "shop", &text).await;
        let away = lab.follower().await;
        let other = lab
            .nodes()
            .iter()
            .find(|node| node.name != away.name)
            .unwrap();
        for wire in [Wire::Silent, Wire::Refused] {
            counting(&origin, "/page", &[]);
            fill(&[away, other], host, &["/page"]).await;
            lab.isolate(away.name, wire);
            write(other, host, "/page").await;
            assert!(!other.get(host, "/page").send().await.is_hit());
            // Cut off, it serves on from what it knew.
            assert!(away.get(host, "/page").send().await.is_hit());
            lab.heal();
            heard(&[away], host, &["/page"]).await;
            write(other, host, "/page").await;
            heard(&[away], host, &["/page"]).await;
        }
        // And across its own restart: the write waits for it.
        fill(&[away], host, &["/page"]).await;
        away.terminate().await;
        write(other, host, "/page").await;
        away.start().await;
        heard(&[away], host, &["/page"]).await;
    });
}

#[test]
fn more_writes_than_can_wait_are_told_as_their_whole_site() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        for (site, host) in [("shop", "shop.example"), ("blog", "blog.example")] {
            let text = site_file(site, host, &[&origin.url()], "");
            lab.apply("site", site, &text).await;
        }
        let away = lab.follower().await;
        let other = lab
            .nodes()
            .iter()
            .find(|node| node.name != away.name)
            .unwrap();
        let kept = "/c/200000/kept";
        for host in ["shop.example", "blog.example"] {
            fill(&[away], host, &[kept]).await;
        }
        lab.isolate(away.name, Wire::Refused);
        // Long ones, as what waits is bounded in bytes, too.
        let long = "x".repeat(6000);
        for number in 0..250 {
            let path = format!("/c/10/{number}-{long}");
            write(other, "shop.example", &path).await;
        }
        let told = other.metrics().await;
        assert!(told["nearside_invalidations_total{event=\"widened\"}"] >= 1.0);
        lab.heal();
        heard(&[away], "shop.example", &[kept]).await;
        let got = away.get("blog.example", kept).send().await;
        assert!(got.is_hit(), "another site's entries stay");
        // What was never removed from the disk does not come back after a restart.
        let old = "/c/200000/old";
        lab.isolate(away.name, Wire::Refused);
        fill(&[away], "shop.example", &[old]).await;
        for number in 0..250 {
            let path = format!("/c/10/again-{number}-{long}");
            write(other, "shop.example", &path).await;
        }
        lab.heal();
        eventually(
            "the site is told as a whole again",
            patience(),
            async || match away
                .log()
                .matches("all of the site is asked for anew")
                .count()
            {
                0 | 1 => Err(away.log_end(3)),
                _ => Ok(()),
            },
        )
        .await;
        away.terminate().await;
        away.start().await;
        lab.settled().await;
        let got = away.get("shop.example", old).send().await;
        assert!(!got.is_hit(), "{}", got.cache_status());
    });
}

#[test]
fn what_is_kept_apart_under_one_url_is_all_unusable_after_a_write_and_a_restart() {
    run(async {
        let origin = Origin::start().await;
        for path in ["/page", "/kept"] {
            counting(&origin, path, &[]);
        }
        let settings = "[cache]\nkey = { cookies = [\"lang\"] }\n";
        let serve = nearside_tests::Serve::site(&origin.url(), settings, &[]).await;
        let languages = ["lang=de", "lang=fr"];
        let get =
            async |path: &str, cookie: &str| serve.get(path).field("cookie", cookie).send().await;
        for path in ["/page", "/kept"] {
            for cookie in languages {
                get(path, cookie).await;
                assert!(get(path, cookie).await.is_hit());
            }
        }
        let write = Request::new(Method::POST, "app.example", "/page");
        let got = write.to(serve.address).field("cookie", "lang=de").body("x");
        assert_eq!(got.send().await.status, 200);
        // One is asked for at once, the other only after the restart.
        assert!(!get("/page", languages[0]).await.is_hit());
        // Times are compared by the millisecond, and what was asked for within that of the write counts as older.
        eventually("it is stored anew", patience(), async || {
            let got = get("/page", languages[0]).await;
            match got.is_hit() {
                true => Ok(()),
                false => Err(got.cache_status()),
            }
        })
        .await;
        serve.terminate().await;
        serve.again().await;
        for (path, cookie, hit) in [
            ("/page", languages[0], true),
            ("/page", languages[1], false),
            ("/kept", languages[0], true),
            ("/kept", languages[1], true),
        ] {
            let got = get(path, cookie).await;
            assert_eq!(got.is_hit(), hit, "{path} {cookie}: {}", got.cache_status());
        }
    });
}

//! A purge reaches every node, says which ones it reached, and leaves nothing old behind.

use std::time::Duration;

use nearside_tests::{Lab, Load, Origin, Plan, Reply, Wire, eventually, patience, run};

use crate::stage::{Stage, site_file};

#[test]
fn a_purged_url_is_gone_on_every_node_with_all_its_variants() {
    run(async {
        let stage = Stage::new().await;
        let (path, other) = ("/page", "/c/100/other");
        let script = |version: u64| {
            move |seen: &nearside_tests::Seen| {
                let language = seen.field("accept-language").unwrap_or_default();
                Reply::new(format!("{language} {version}"))
                    .cache_control("max-age=600")
                    .field("vary", "accept-language")
            }
        };
        let check = async |version: u64, hit: bool| {
            for node in stage.lab.nodes() {
                for language in ["de", "fr"] {
                    let ask = node
                        .get(&stage.host, path)
                        .field("accept-language", language);
                    let got = ask.send().await;
                    assert_eq!(got.body, format!("{language} {version}"), "{}", node.name);
                    assert_eq!(got.is_hit(), hit, "{}: {}", node.name, got.cache_status());
                }
            }
        };
        stage.origin.script(path, script(1));
        check(1, false).await;
        check(1, true).await;
        for node in stage.lab.nodes() {
            node.fetch(&stage.host, other).await;
        }
        stage.origin.script(path, script(2));
        let said = stage
            .node()
            .run(&["purge", &stage.url(path), "--wait", "applied"])
            .await
            .ok();
        for node in stage.lab.nodes() {
            assert!(said.stdout.contains(node.name), "{}", said.told());
        }
        check(2, false).await;
        assert!(
            stage.fetch(other).await.is_hit(),
            "the purge took more than its URL"
        );
    });
}

#[test]
fn a_purge_of_a_site_takes_all_of_it_and_nothing_else() {
    run(async {
        let (stage, bystander) = (Stage::new().await, Stage::new().await);
        let paths: Vec<String> = (0..5).map(|n| format!("/c/{}/p{n}", 100 + n)).collect();
        for path in &paths {
            stage.fetch(path).await;
            bystander.fetch(path).await;
        }
        stage.origin.set_version(2);
        let said = stage
            .lab
            .node("sin1")
            .run(&["purge", "--site", &stage.site, "--all"])
            .await;
        said.ok();
        for path in &paths {
            let got = stage.fetch(path).await;
            assert_eq!((got.is_hit(), got.content_version()), (false, Some(2)));
            assert!(bystander.fetch(path).await.is_hit());
        }
    });
}

/// Pages with tags, by path: what `Cache-Tag` says of them.
const TAGGED: [(&str, &str); 3] = [
    ("/blog/1", "article-1, news"),
    ("/blog/2", "article-2, news"),
    ("/about", "static"),
];

async fn tagged() -> Stage {
    let stage = Stage::new().await;
    for (path, tags) in TAGGED {
        let reply = Reply::new(path)
            .cache_control("max-age=600")
            .field("cache-tag", tags);
        stage.origin.on(path, reply);
    }
    stage
}

/// Which of these pages each node has. They are all the same.
async fn held(stage: &Stage) -> Vec<&'static str> {
    let mut held = Vec::new();
    for node in stage.lab.nodes() {
        let mut here = Vec::new();
        for (path, _) in TAGGED {
            let got = node.get(&stage.host, path).send().await;
            assert_eq!((got.status, &got.body[..]), (200, path.as_bytes()));
            assert_eq!(got.field("cache-tag"), None, "tags are said to caches");
            if got.is_hit() {
                here.push(path);
            }
        }
        held.push(here);
    }
    assert!(held.iter().all(|here| *here == held[0]), "{held:?}");
    held.remove(0)
}

#[test]
fn a_purge_by_tag_or_prefix_takes_what_it_names_on_every_node() {
    run(async {
        let stage = tagged().await;
        let purge = async |what: &[&str]| {
            let purge = [&["purge", "--site", &stage.site, "--wait", "applied"], what].concat();
            let said = stage.lab.node("sin1").run(&purge).await.ok();
            for node in stage.lab.nodes() {
                assert!(said.stdout.contains(node.name), "{}", said.told());
            }
            said
        };
        held(&stage).await;
        assert_eq!(held(&stage).await, ["/blog/1", "/blog/2", "/about"]);
        let said = purge(&["--tag", "article-1"]).await;
        assert!(said.stdout.contains("article-1"), "{}", said.told());
        assert_eq!(held(&stage).await, ["/blog/2", "/about"]);
        purge(&["--tag", "news"]).await;
        assert_eq!(held(&stage).await, ["/about"]);
        purge(&["--tag", "nobody's"]).await;
        assert_eq!(held(&stage).await, ["/blog/1", "/blog/2", "/about"]);
        purge(&["--prefix", "/blog/"]).await;
        assert_eq!(held(&stage).await, ["/about"]);
        purge(&["--prefix", &format!("{}/a", stage.host)]).await;
        assert_eq!(held(&stage).await, ["/blog/1", "/blog/2"]);
        purge(&["--prefix", "other.example/"]).await;
        assert_eq!(held(&stage).await, ["/blog/1", "/blog/2", "/about"]);
        let refused = ["purge", "--site", &stage.site, "--prefix", "/blog/*"];
        stage.node().run(&refused).await.refused(&["/blog/"]);
    });
}

#[test]
fn a_soft_purge_by_tag_makes_stale_and_outlives_a_restart() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        let text = site_file("shop", "shop.example", &[&origin.url()], "");
        lab.apply("site", "shop", &text).await;
        let reply = Reply::new("page")
            .cache_control("max-age=600")
            .field("etag", "\"a\"")
            .field("surrogate-key", "one two");
        origin.on("/page", reply);
        let node = lab.follower().await;
        node.get("shop.example", "/page").send().await;
        // Ended in good order, so that it is on disk, with its tags.
        node.terminate().await;
        node.start().await;
        lab.settled().await;
        assert!(node.get("shop.example", "/page").send().await.is_hit());
        let purge = ["purge", "--site", "shop", "--tag", "two", "--soft"];
        node.run(&purge).await.ok();
        node.get("shop.example", "/page").send().await;
        let seen = origin.seen("/page");
        assert_eq!(
            seen.last().unwrap().field("if-none-match").unwrap(),
            "\"a\""
        );
        node.terminate().await;
        node.start().await;
        lab.settled().await;
        node.run(&["purge", "--site", "shop", "--tag", "two"])
            .await
            .ok();
        assert!(!node.get("shop.example", "/page").send().await.is_hit());
    });
}

#[test]
fn a_soft_purge_makes_stale_and_the_origin_is_asked() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/3000/page";
        stage.fetch(path).await;
        stage
            .node()
            .run(&["purge", &stage.url(path), "--soft"])
            .await
            .ok();
        eventually(
            "the origin is asked whether it changed",
            patience(),
            async || {
                stage.fetch(path).await;
                let seen = stage.origin.seen(path);
                match seen
                    .iter()
                    .any(|seen| seen.field("if-none-match").is_some())
                {
                    true => Ok(()),
                    false => Err(format!("asked {} times", seen.len())),
                }
            },
        )
        .await;
        assert_eq!(stage.fetch(path).await.content_version(), Some(1));
    });
}

#[test]
fn a_fetch_that_began_before_the_purge_is_not_served_after_it() {
    run(async {
        let stage = Stage::new().await;
        let path = "/racing";
        let slow = Reply::content(path, 1, 100_000)
            .cache_control("max-age=600")
            .in_pieces(10, Duration::from_millis(100));
        stage.origin.on(path, slow);
        let early = stage.get(path).send();
        let purge = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let new = Reply::content(path, 2, 100_000).cache_control("max-age=600");
            stage.origin.on(path, new);
            stage
                .node()
                .run(&["purge", &stage.url(path), "--wait", "applied"])
                .await
                .ok();
            // The old fill still runs: a new reader must not join it.
            stage.fetch(path).await
        };
        let (early, late) = futures_util::join!(early, purge);
        assert_eq!(early.content_fault(path), None);
        assert_eq!(late.content_version(), Some(2));
        for _ in 0..3 {
            assert_eq!(stage.fetch(path).await.content_version(), Some(2));
        }
    });
}

#[test]
fn once_a_purge_is_applied_nobody_gets_the_old_body_however_many_ask() {
    run(async {
        let stage = Stage::new().await;
        let paths: Vec<String> = (0..6).map(|n| format!("/c/{}/p{n}", 20_000 + n)).collect();
        let targets: Vec<_> = stage.lab.nodes().iter().map(|node| node.http()).collect();
        let load = Load::start(6, &targets, &stage.host, &paths, Duration::from_millis(1));
        for version in 2..=12 {
            stage.origin.set_version(version);
            let asked = &stage.lab.nodes()[version as usize % targets.len()];
            asked
                .run(&["purge", "--site", &stage.site, "--all", "--wait", "applied"])
                .await
                .ok();
            for node in stage.lab.nodes() {
                for path in &paths {
                    let got = node.fetch(&stage.host, path).await;
                    assert_eq!(
                        got.content_version(),
                        Some(version),
                        "{}: {}",
                        node.name,
                        got.cache_status()
                    );
                }
            }
        }
        let tally = load.stop().await;
        assert_eq!((tally.failed, tally.wrong), (0, 0), "{:?}", tally.words);
    });
}

#[test]
fn a_purge_that_names_nothing_known_is_refused() {
    run(async {
        let stage = Stage::new().await;
        let node = stage.node();
        node.run(&["purge", "http://nobody.example/x"])
            .await
            .refused(&["nobody.example"]);
        node.run(&["purge", "--site", "no-such-site", "--all"])
            .await
            .refused(&["no-such-site"]);
        let said = node
            .run(&["purge", &stage.url("/x"), "--wait", "fenced"])
            .await;
        assert_ne!(said.code, Some(0), "{}", said.told());
    });
}

#[test]
fn a_purge_reaches_a_node_that_was_cut_off_and_names_it_until_then() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        let path = "/c/9000/page";
        let leader = lab.leader().await;
        let away = lab
            .nodes()
            .iter()
            .rev()
            .find(|node| node.name != leader.name)
            .unwrap();
        for node in lab.nodes() {
            node.fetch("shop.example", path).await;
            assert!(node.fetch("shop.example", path).await.is_hit());
        }
        lab.isolate(away.name, Wire::Silent);
        origin.set_version(2);
        let url = format!("http://shop.example{path}");
        let said = leader
            .run(&["purge", &url, "--wait", "applied", "--timeout", "1s"])
            .await;
        assert_eq!(
            said.code,
            Some(1),
            "a live node is missing: {}",
            said.told()
        );
        assert!(said.told().contains(away.name), "{}", said.told());
        for node in lab.nodes().iter().filter(|node| node.name != away.name) {
            assert_eq!(
                node.fetch("shop.example", path).await.content_version(),
                Some(2)
            );
        }
        // Cut off, it serves on from what it knew.
        assert_eq!(
            away.fetch("shop.example", path).await.content_version(),
            Some(1)
        );
        lab.heal();
        eventually("the purge reaches it", patience(), async || {
            match away.fetch("shop.example", path).await.content_version() {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        lab.settled().await;
        let said = leader.run(&["purge", &url, "--wait", "applied"]).await.ok();
        assert!(said.stdout.contains(away.name), "{}", said.told());
    });
}

#[test]
fn a_node_that_was_down_during_a_purge_does_not_bring_the_old_body_back() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        let away = lab.follower().await;
        let paths: Vec<String> = (0..40).map(|n| format!("/c/250000/p{n}")).collect();
        for path in &paths {
            away.fetch("shop.example", path).await;
        }
        // Ended in good order, so that all of it is on disk.
        away.terminate().await;
        origin.set_version(2);
        let asked = lab.running().next().unwrap();
        eventually(
            "the purge waits for the living only",
            patience(),
            async || {
                let said = asked
                    .run(&["purge", "--site", "shop", "--all", "--timeout", "2s"])
                    .await;
                if said.code == Some(0) {
                    Ok(())
                } else {
                    Err(said.told())
                }
            },
        )
        .await;
        away.start().await;
        lab.settled().await;
        for path in &paths {
            let got = away.fetch("shop.example", path).await;
            assert_eq!(got.content_version(), Some(2), "{}", got.cache_status());
        }
    });
}

//! What is acknowledged is on disk, on a quorum, before it is acknowledged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearside_tests::{Lab, Node, Origin, Plan, eventually, hash, patience, run};

use crate::stage::site_file;

#[test]
fn a_power_cut_everywhere_loses_no_acknowledged_site_or_purge() {
    run(async {
        let plan = Plan::three_regions()
            .apart(Duration::from_millis(5))
            .witnessed();
        let lab = Lab::start(plan).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        for round in 1..=2_u64 {
            let path = format!("/c/700/page{round}");
            for node in lab.nodes() {
                node.fetch("shop.example", &path).await;
            }
            origin.set_version(round + 1);
            let asked = lab.nodes()[round as usize].clone();
            let name = format!("s{round}");
            let text = site_file(&name, &format!("{name}.example"), &[&origin.url()], "");
            lab.apply_on(&asked, "site", &name, &text).await.ok();
            let url = format!("http://shop.example{path}");
            let purged = asked
                .run(&["purge", &url, "--wait", "committed"])
                .await
                .ok();
            let index = purged.json()["index"].as_u64().unwrap();
            // The lights go out everywhere at the moment of the acknowledgement.
            lab.nodes().iter().for_each(|node| node.kill());
            let lost: Vec<_> = lab
                .nodes()
                .iter()
                .map(|node| node.drop_unsynced("data"))
                .collect();
            eprintln!("unsynced (bytes, files) of each node: {lost:?}");
            futures_util::future::join_all(lab.nodes().iter().map(|node| node.start())).await;
            lab.settled().await;
            for node in lab.nodes() {
                eventually(
                    "the node has all that was acknowledged",
                    patience(),
                    async || {
                        let status = node.status().await?;
                        let listed = node.run(&["site", "list"]).await;
                        let present = listed.stdout.contains(&format!("\"{name}\""));
                        match status.applied >= index && present {
                            true => Ok(()),
                            false => Err(format!("{index}: {status:?} {}", listed.told())),
                        }
                    },
                )
                .await;
                let got = node.fetch("shop.example", &path).await;
                assert_eq!(got.content_version(), Some(round + 1), "the purge was lost");
            }
        }
    });
}

#[test]
fn a_cache_that_lost_its_unsynced_bytes_still_serves() {
    run(async {
        let lab = Lab::start(Plan::three_regions().witnessed()).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        let node = lab.node("lon1");
        let paths: Vec<String> = (0..40).map(|n| format!("/c/300000/p{n}")).collect();
        for path in &paths {
            node.fetch("shop.example", path).await;
        }
        node.kill();
        let lost = node.drop_unsynced("cache");
        eprintln!("unsynced (bytes, files): {lost:?}");
        node.start().await;
        for path in &paths {
            eventually("it serves", patience(), async || {
                let got = node.get("shop.example", path).send().await;
                got.content_fault(path).map_or(Ok(()), Err)
            })
            .await;
        }
        assert!(
            node.fetch("shop.example", &paths[0]).await.is_hit(),
            "nothing is stored any more"
        );
    });
}

#[test]
fn data_written_by_a_newer_version_is_refused_before_anything_is_touched() {
    run(async {
        let lab = Lab::start(Plan::three_regions()).await;
        let node = lab.follower().await;
        node.terminate().await;
        let marks = files(&node.home().join("data"), &|path| path.ends_with("FORMAT"));
        assert!(
            !marks.is_empty(),
            "no file says in which format the data is"
        );
        for mark in marks.keys() {
            std::fs::write(mark, "4000000000\n").unwrap();
        }
        let data = || files(&node.home().join("data"), &|_| true);
        let before = data();
        node.spawn();
        eventually("the node refuses and ends", patience(), async || {
            if node.is_running() {
                Err("it runs".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
        let line = last_line(node);
        assert!(line.contains("newer"), "{line}");
        assert_eq!(before, data(), "something was touched");
    });
}

fn last_line(node: &Node) -> String {
    node.log()
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// Every file under `folder` that is `wanted`, with its hash.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                let bytes = std::fs::read(&path).unwrap_or_default();
                found.insert(path, hash(&bytes));
            }
        }
    }
    found
}

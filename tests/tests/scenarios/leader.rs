//! The leader dies, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use nearside_tests::{Lab, Origin, Plan, eventually, run};

use crate::stage::site_file;

/// What the issue allows between the leader's death and the next acknowledged write.
const WRITES_AGAIN_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_killed_leader_loses_no_acknowledged_write_and_writes_go_on() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        let write = async |node: &nearside_tests::Node, name: &str| {
            let text = site_file(name, &format!("{name}.example"), &[&origin.url()], "");
            lab.apply_on(node, "site", name, &text).await
        };
        let mut acknowledged = Vec::new();
        for round in 0..2 {
            let leader = lab.leader().await;
            for number in 0..5 {
                let name = format!("r{round}n{number}");
                write(leader, &name).await.ok();
                acknowledged.push(name);
            }
            leader.kill();
            let start = Instant::now();
            let survivor = lab.running().next().unwrap();
            let name = format!("after{round}");
            eventually(
                "a write is acknowledged again",
                WRITES_AGAIN_MAX,
                async || {
                    let said = write(survivor, &name).await;
                    if said.code == Some(0) {
                        Ok(())
                    } else {
                        Err(said.told())
                    }
                },
            )
            .await;
            eprintln!("writes again after {:?}", start.elapsed());
            acknowledged.push(name);
            leader.start().await;
            lab.settled().await;
        }
        for node in lab.nodes() {
            eventually(
                "every node has every acknowledged write",
                nearside_tests::patience(),
                async || {
                    let listed = node.run(&["site", "list"]).await;
                    match acknowledged
                        .iter()
                        .find(|name| !listed.stdout.contains(&format!("\"{name}\"")))
                    {
                        Some(lost) => Err(format!("{} lost {lost}: {}", node.name, listed.told())),
                        None => Ok(()),
                    }
                },
            )
            .await;
        }
    });
}

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_wakes() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        let old = lab.leader().await;
        old.pause();
        let survivor = lab.running().next().unwrap();
        let text = site_file("shop", "shop.example", &[&origin.url()], "");
        eventually(
            "a write is acknowledged again",
            WRITES_AGAIN_MAX * 2,
            async || {
                let said = lab.apply_on(survivor, "site", "shop", &text).await;
                if said.code == Some(0) {
                    Ok(())
                } else {
                    Err(said.told())
                }
            },
        )
        .await;
        old.resume();
        lab.settled().await;
        old.fetch("shop.example", "/c/100/x").await;
    });
}

#[test]
fn a_sync_stands_before_every_acknowledged_write() {
    run(async {
        let lab = Lab::shared().await;
        let syncs = async || {
            let mut all = Vec::new();
            for node in lab.nodes() {
                all.push(node.status().await.unwrap().syncs);
            }
            all
        };
        let origin = Origin::start().await;
        let name = crate::stage::fresh_name();
        let text = site_file(&name, &format!("{name}.example"), &[&origin.url()], "");
        for _ in 0..3 {
            let before = syncs().await;
            lab.apply_on(lab.node("nyc1"), "site", &name, &text)
                .await
                .ok();
            lab.apply_on(
                lab.node("nyc1"),
                "site",
                &name,
                &format!("{text}\n# again\n"),
            )
            .await
            .ok();
            let after = syncs().await;
            let synced = before
                .iter()
                .zip(&after)
                .filter(|(before, after)| after > before)
                .count();
            assert!(synced > lab.nodes().len() / 2, "{before:?} {after:?}");
        }
    });
}

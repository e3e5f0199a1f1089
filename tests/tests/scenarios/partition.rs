//! Links break, quorum is lost, and the data plane does not notice.

use std::time::Duration;

use nearside_tests::{DnsRequest, Lab, Origin, Plan, Wire, eventually, patience, run};

use crate::stage::site_file;

async fn shop() -> (Lab, Origin) {
    let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
    let origin = Origin::start().await;
    let zone = "name = \"edge.test\"\nnameservers = { ns1 = \"lon1\", ns2 = \"nyc1\" }\n";
    lab.apply("zone", "edge.test", zone).await;
    lab.apply(
        "site",
        "shop",
        &site_file("shop", "shop.edge.test", &[&origin.url()], ""),
    )
    .await;
    (lab, origin)
}

#[test]
fn a_cut_off_node_serves_from_its_last_view_across_its_own_restart() {
    run(async {
        let (lab, _origin) = shop().await;
        let away = lab.follower().await;
        let path = "/c/5000/page";
        away.fetch("shop.edge.test", path).await;
        lab.isolate(away.name, Wire::Refused);
        for wire in [Wire::Refused, Wire::Silent] {
            lab.isolate(away.name, wire);
            away.restart().await;
            eventually("it serves from its last view", patience(), async || {
                for path in [path, "/c/5000/another"] {
                    let got = away.get("shop.edge.test", path).send().await;
                    got.content_fault(path).map_or(Ok(()), Err)?;
                }
                let reply = away.resolve(&DnsRequest::a("shop.edge.test")).await?;
                if reply.addresses().is_empty() {
                    Err(format!("{:?}", reply.message))
                } else {
                    Ok(())
                }
            })
            .await;
            eventually("it says that it has no quorum", patience(), async || {
                let status = away.status().await?;
                if status.has_quorum {
                    Err(format!("{status:?}"))
                } else {
                    Ok(())
                }
            })
            .await;
        }
        lab.heal();
        lab.settled().await;
    });
}

#[test]
fn status_answers_without_quorum_and_changes_say_why_not() {
    run(async {
        let (lab, origin) = shop().await;
        let [left, one, other] = lab.nodes() else {
            panic!("three nodes")
        };
        one.kill();
        other.kill();
        eventually(
            "the survivor says that it has no quorum",
            patience(),
            async || {
                let status = left.status().await?;
                if status.has_quorum {
                    Err(format!("{status:?}"))
                } else {
                    Ok(())
                }
            },
        )
        .await;
        let told = left.run_plain(&["status"]).await.ok();
        assert!(
            told.stdout.to_lowercase().contains("quorum"),
            "{}",
            told.told()
        );
        left.run(&["status", "--check", "live"]).await.ok();
        let text = site_file("late", "late.example", &[&origin.url()], "");
        let said = lab.apply_on(left, "site", "late", &text).await;
        let said = said.refused(&["leader"]);
        assert!(said.stderr.trim().lines().count() <= 1, "{}", said.told());
        left.fetch("shop.edge.test", "/c/100/x").await;
        one.start().await;
        eventually("two of three are a quorum", patience(), async || {
            let said = lab.apply_on(left, "site", "late", &text).await;
            if said.code == Some(0) {
                Ok(())
            } else {
                Err(said.told())
            }
        })
        .await;
    });
}

#[test]
fn a_leader_cut_from_its_quorum_does_not_block_the_others() {
    run(async {
        for wire in [Wire::Silent, Wire::Refused] {
            let (lab, origin) = shop().await;
            let old = lab.leader().await;
            lab.isolate(old.name, wire);
            let text = site_file("late", "late.example", &[&origin.url()], "");
            let survivor = lab
                .nodes()
                .iter()
                .find(|node| node.name != old.name)
                .unwrap();
            eventually("the majority takes writes", patience(), async || {
                let said = lab.apply_on(survivor, "site", "late", &text).await;
                if said.code == Some(0) {
                    Ok(())
                } else {
                    Err(said.told())
                }
            })
            .await;
            lab.heal();
            lab.settled().await;
            old.fetch("late.example", "/c/100/x").await;
        }
    });
}

#[test]
fn one_broken_link_leaves_the_cluster_whole() {
    run(async {
        let (lab, origin) = shop().await;
        let leader = lab.leader().await.name;
        let others: Vec<&str> = lab
            .nodes()
            .iter()
            .map(|node| node.name)
            .filter(|n| *n != leader)
            .collect();
        lab.wire(others[0], others[1], Wire::Silent);
        for number in 0..5 {
            let name = format!("s{number}");
            let text = site_file(&name, &format!("{name}.example"), &[&origin.url()], "");
            lab.apply_on(lab.node(others[number % 2]), "site", &name, &text)
                .await
                .ok();
        }
        assert_eq!(
            lab.leader().await.name,
            leader,
            "a broken link between followers moved the lead"
        );
    });
}

#[test]
fn a_leader_without_its_quorum_acknowledges_nothing() {
    run(async {
        let (lab, origin) = shop().await;
        let old = lab.leader().await;
        lab.isolate(old.name, Wire::Silent);
        let text = site_file("ghost", "ghost.example", &[&origin.url()], "");
        let said = lab.apply_on(old, "site", "ghost", &text).await;
        assert_eq!(said.code, Some(1), "{}", said.told());
        let survivor = lab
            .nodes()
            .iter()
            .find(|node| node.name != old.name)
            .unwrap();
        let text = site_file("real", "real.example", &[&origin.url()], "");
        eventually("the majority takes writes", patience(), async || {
            let said = lab.apply_on(survivor, "site", "real", &text).await;
            if said.code == Some(0) {
                Ok(())
            } else {
                Err(said.told())
            }
        })
        .await;
        lab.heal();
        lab.settled().await;
        // What was never acknowledged may stand or not, but everywhere the same.
        let mut lists = Vec::new();
        for node in lab.nodes() {
            let listed = node.run(&["site", "list"]).await.ok().stdout;
            assert!(listed.contains("\"real\""), "{listed}");
            lists.push(listed);
        }
        lists.dedup();
        assert_eq!(lists.len(), 1, "{lists:#?}");
    });
}

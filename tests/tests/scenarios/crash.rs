//! Nodes die under load, and no client ever gets a wrong body, nor a short one that does not look broken.

use std::time::Duration;

use nearside_tests::{Lab, Load, Origin, Plan, Reply, eventually, patience, run};

use crate::stage::site_file;

#[test]
fn any_node_may_be_killed_at_any_moment_and_no_body_is_wrong() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        // Small and large, some in slow pieces, so that a kill meets fills and hits of every kind.
        let mut paths: Vec<String> = (0..60)
            .map(|n| format!("/c/{}/p{n}", 1 + n * n * 400))
            .collect();
        for number in 0..10 {
            let path = format!("/slow{number}");
            let reply = Reply::content(&path, 1, 300_000)
                .cache_control("max-age=1")
                .in_pieces(10, Duration::from_millis(15));
            origin.on(&path, reply);
            paths.push(path);
        }
        let targets: Vec<_> = lab.nodes().iter().map(|node| node.http()).collect();
        let load = Load::start(
            8,
            &targets,
            "shop.example",
            &paths,
            Duration::from_millis(2),
        );
        let served = async |more: u64| {
            let before = load.tally().sound;
            eventually("clients are served", patience(), async || {
                let now = load.tally().sound;
                if now >= before + more {
                    Ok(())
                } else {
                    Err(format!("{now} so far"))
                }
            })
            .await;
        };
        served(200).await;
        for round in 0_u64..2 {
            for node in lab.nodes() {
                node.kill();
                served(50 + 37 * round).await;
                node.start().await;
                served(50).await;
            }
        }
        let tally = load.stop().await;
        assert_eq!(tally.wrong, 0, "{:#?}", tally.words);
        assert!(tally.sound > 500, "{tally:?}");
        eprintln!(
            "{} right, {} visibly broken, none wrong",
            tally.sound, tally.failed
        );
    });
}

#[test]
fn a_rolling_restart_fails_no_request_of_the_other_nodes() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        let paths: Vec<String> = (0..200)
            .map(|n| format!("/c/{}/p{n}", 1000 + n * 100))
            .collect();
        for node in lab.nodes() {
            let others: Vec<_> = lab
                .nodes()
                .iter()
                .filter(|other| other.name != node.name)
                .map(|other| other.http())
                .collect();
            let load = Load::start(4, &others, "shop.example", &paths, Duration::from_millis(3));
            node.terminate().await;
            node.start().await;
            lab.settled().await;
            let tally = load.stop().await;
            assert_eq!((tally.failed, tally.wrong), (0, 0), "{:?}", tally.words);
            assert!(tally.sound > 50, "{tally:?}");
        }
    });
}

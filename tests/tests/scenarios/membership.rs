//! Who belongs, and how one comes to belong.

use std::time::Duration;

use nearside_tests::{Lab, Origin, Plan, eventually, patience, run};

use crate::stage::site_file;

#[test]
fn init_is_refused_where_a_join_address_answers_as_a_member() {
    run(async {
        let lab = Lab::apart(Plan::three_regions()).await;
        let (first, second) = (&lab.nodes()[0], &lab.nodes()[1]);
        first.start().await;
        first.run(&["cluster", "init"]).await.ok();
        first.run(&["cluster", "init"]).await.refused(&[]);
        second.start().await;
        second.run(&["cluster", "init"]).await.refused(&["member"]);
        lab.admit(&lab.nodes()[1..2]).await;
    });
}

#[test]
fn a_wrong_or_spent_token_lets_nobody_in() {
    run(async {
        let lab = Lab::apart(Plan::three_regions()).await;
        let [first, second, third] = lab.nodes() else {
            panic!("three nodes")
        };
        first.start().await;
        first.run(&["cluster", "init"]).await.ok();
        let said = first
            .run(&["join-token", "new", "--ttl", "1h", "--uses", "1"])
            .await
            .ok();
        let token = said.json()["token"].as_str().unwrap().to_owned();
        second.give_token(&token);
        second.start().await;
        eventually(
            "the token's one use lets a node in",
            patience(),
            async || match first.status().await?.members.len() {
                2 => Ok(()),
                other => Err(format!("{other} members")),
            },
        )
        .await;
        third.give_token(&token);
        third.spawn();
        nearside_tests::never(
            "a spent token lets a node in",
            Duration::from_secs(3),
            async || match first.status().await?.members.len() {
                2 => Ok(()),
                other => Err(format!("{other} members")),
            },
        )
        .await;
        assert!(!third.log().contains(&token), "the token is in the log");
    });
}

#[test]
fn a_restarted_node_catches_up() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        let away = lab.follower().await;
        away.kill();
        for number in 0..5 {
            let (name, host) = (format!("s{number}"), format!("s{number}.example"));
            lab.apply(
                "site",
                &name,
                &site_file(&name, &host, &[&origin.url()], ""),
            )
            .await;
        }
        away.start().await;
        eventually("it serves what it missed", patience(), async || {
            let got = away.get("s4.example", "/c/100/x").send().await;
            got.content_fault("/c/100/x").map_or(Ok(()), Err)
        })
        .await;
        // Without its token: it belongs already.
        lab.settled().await;
    });
}

#[test]
fn a_change_can_be_made_on_any_node() {
    run(async {
        let lab = Lab::shared().await;
        let origin = Origin::start().await;
        for node in lab.nodes() {
            let name = crate::stage::fresh_name();
            let host = format!("{name}.example");
            let text = site_file(&name, &host, &[&origin.url()], "");
            lab.apply_on(node, "site", &name, &text).await.ok();
            for other in lab.nodes() {
                eventually("every node serves it", patience(), async || {
                    let got = other.get(&host, "/c/100/x").send().await;
                    got.content_fault("/c/100/x").map_or(Ok(()), Err)
                })
                .await;
            }
        }
    });
}

#[test]
fn five_nodes_vote_and_the_sixth_follows() {
    run(async {
        let lab = Lab::start(six()).await;
        let origin = Origin::start().await;
        let status = lab.nodes()[0].status().await.unwrap();
        assert_eq!(
            status.members.iter().filter(|member| member.voter).count(),
            5,
            "{status:?}"
        );
        lab.apply(
            "site",
            "shop",
            &site_file("shop", "shop.example", &[&origin.url()], ""),
        )
        .await;
        let learner = status.members.iter().find(|member| !member.voter).unwrap();
        lab.node(&learner.name)
            .fetch("shop.example", "/c/100/x")
            .await;
    });
}

fn six() -> Plan {
    use nearside_tests::places::{FRANKFURT, LONDON, LOS_ANGELES, NEW_YORK, SINGAPORE, TOKYO};
    Plan::new(&[
        ("lon1", LONDON),
        ("fra1", FRANKFURT),
        ("nyc1", NEW_YORK),
        ("lax1", LOS_ANGELES),
        ("sin1", SINGAPORE),
        ("tyo1", TOKYO),
    ])
}

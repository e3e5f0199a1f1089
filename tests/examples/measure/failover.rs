//! The leader is killed, again and again: until a write is acknowledged, until no answer names it, and whether every
//! acknowledged write is still there.

use std::time::{Duration, Instant};

use nearside_tests::places::CLIENTS;
use nearside_tests::{Lab, Node, Origin, Plan, eventually, patience};

use crate::table::line;

const BAR: Duration = Duration::from_secs(5);
const ONE_WAY: Duration = Duration::from_millis(30);

/// True when every try was within the bars and nothing was lost.
pub(crate) async fn measure(tries: usize) -> bool {
    let lab = Lab::start(Plan::three_regions().apart(ONE_WAY)).await;
    let origin = Origin::start().await;
    let zone =
        "name = \"edge.test\"\nnameservers = { ns1 = \"lon1\", ns2 = \"nyc1\", ns3 = \"sin1\" }\n";
    lab.apply("zone", "edge.test", zone).await;
    lab.apply("site", "www", &site("www", &origin)).await;
    let (mut writes, mut answers, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..tries {
        let leader = lab.leader().await;
        let name = format!("before{number}");
        lab.apply_on(leader, "site", &name, &site(&name, &origin))
            .await
            .ok();
        acknowledged.push(name);
        leader.kill();
        let start = Instant::now();
        let name = format!("after{number}");
        let text = site(&name, &origin);
        let (write, answer) = futures_util::join!(
            writes_again(&lab, &name, &text, start),
            out_of_answers(&lab, leader, start)
        );
        acknowledged.push(name);
        println!(
            "try {}: writes again after {write:.2?}, out of DNS after {answer:.2?}",
            number + 1
        );
        writes.push(write);
        answers.push(answer);
        leader.start().await;
        lab.settled().await;
    }
    // A node that came back a moment ago may have some way to go; what is lost stays lost.
    let start = Instant::now();
    let mut lost = lost(&lab, &acknowledged).await;
    while !lost.is_empty() && start.elapsed() < patience() {
        lost = self::lost(&lab, &acknowledged).await;
    }
    println!(
        "acknowledged writes: {}, lost: {lost:?}",
        acknowledged.len()
    );
    let worst = |samples: &[Duration]| samples.iter().all(|sample| *sample <= BAR);
    let all = worst(&writes) && worst(&answers);
    let held = line(
        "kill -9 of the leader until a write is acknowledged",
        &writes,
        (BAR, BAR),
    );
    line(
        "kill -9 until no answer names the node",
        &answers,
        (BAR, BAR),
    ) && held
        && all
        && lost.is_empty()
}

fn site(name: &str, origin: &Origin) -> String {
    format!(
        "name = \"{name}\"\nhosts = [\"{name}.edge.test\"]\n[[origin]]\nurl = \"{}\"\n",
        origin.url()
    )
}

async fn writes_again(lab: &Lab, name: &str, text: &str, start: Instant) -> Duration {
    let survivor = lab.running().next().expect("two nodes run");
    eventually("a write is acknowledged", patience() * 2, async || {
        let said = lab.apply_on(survivor, "site", name, text).await;
        if said.code == Some(0) {
            Ok(())
        } else {
            Err(said.told())
        }
    })
    .await;
    start.elapsed()
}

async fn out_of_answers(lab: &Lab, dead: &Node, start: Instant) -> Duration {
    eventually(
        "no answer names the dead node",
        patience() * 2,
        async || {
            for node in lab.running() {
                for client in CLIENTS {
                    let found = node.steer("www.edge.test", client.ip()).await?;
                    if found.is_empty() || found.contains(&dead.address.into()) {
                        return Err(format!("{}: {found:?}", node.name));
                    }
                }
            }
            Ok(())
        },
    )
    .await;
    start.elapsed()
}

async fn lost(lab: &Lab, acknowledged: &[String]) -> Vec<String> {
    let mut lost = Vec::new();
    for node in lab.nodes() {
        let listed = node.run(&["site", "list"]).await.ok();
        let missing = acknowledged
            .iter()
            .filter(|name| !listed.stdout.contains(&format!("\"{name}\"")));
        lost.extend(missing.map(|name| format!("{name} on {}", node.name)));
    }
    lost
}

//! Purges across regions sixty milliseconds apart, submitted at the leader and elsewhere.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nearside_tests::{Lab, Node, Origin, Plan};

use crate::table::{line, percentile};

const ONE_WAY: Duration = Duration::from_millis(30);
const ALLOWANCE: Duration = Duration::from_millis(20);

/// True when every bar was held.
pub(crate) async fn measure(tries: usize) -> bool {
    let lab = Lab::start(Plan::five_nodes().apart(ONE_WAY)).await;
    let origin = Origin::start().await;
    let text = format!(
        "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    lab.apply("site", "shop", &text).await;
    let syncs = syncs(lab.folder(), tries);
    println!(
        "fsync of 4 KiB: p50 {:?}, p95 {:?}",
        percentile(&syncs, 0.5),
        percentile(&syncs, 0.95)
    );
    let leader = lab.leader().await;
    let far = lab
        .nodes()
        .iter()
        .find(|node| node.place.region != leader.place.region);
    let far = far.expect("the plan has several regions");
    let bar = |share, ways: u32| {
        quorum_round_trip(&lab, leader) + ONE_WAY * ways + percentile(&syncs, share) * 2 + ALLOWANCE
    };
    let at_leader = purges(leader, tries).await;
    let elsewhere = purges(far, tries).await;
    let held = line(
        "purge submitted at the leader",
        &at_leader,
        (bar(0.5, 1), bar(0.95, 1)),
    );
    line(
        "purge submitted in another region",
        &elsewhere,
        (bar(0.5, 3), bar(0.95, 3)),
    ) && held
}

/// The way to the farthest voter that a majority needs, and back.
fn quorum_round_trip(lab: &Lab, leader: &Node) -> Duration {
    let mut ways: Vec<Duration> = lab
        .nodes()
        .iter()
        .map(|node| {
            if node.place.region == leader.place.region {
                Duration::ZERO
            } else {
                ONE_WAY * 2
            }
        })
        .collect();
    ways.sort();
    ways[ways.len() / 2]
}

/// Until the slowest node had applied it, as the receipts say.
async fn purges(node: &Node, tries: usize) -> Vec<Duration> {
    let mut samples = Vec::new();
    for number in 0..tries {
        let url = format!("http://shop.example/p{number}");
        let said = node.run(&["purge", &url, "--wait", "applied"]).await.ok();
        let times = milliseconds(&said.json());
        assert_eq!(times.len(), 5, "a receipt of each node: {}", said.told());
        let slowest = times.into_iter().fold(0.0, f64::max);
        samples.push(Duration::from_secs_f64(slowest / 1e3));
    }
    samples
}

/// Every `ms` in the receipts, wherever it stands.
fn milliseconds(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_f64() {
                Some(ms) if name == "ms" => vec![ms],
                _ => milliseconds(value),
            })
            .collect(),
        serde_json::Value::Array(values) => values.iter().flat_map(milliseconds).collect(),
        _ => Vec::new(),
    }
}

/// What one durable write costs on this machine.
fn syncs(folder: &Path, tries: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(folder.join("sync")).expect("the folder can be written");
    (0..tries.max(20))
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 4096]).expect("the file can be written");
            file.sync_data().expect("the file can be synced");
            start.elapsed()
        })
        .collect()
}

//! The tour's second half: a node is killed, an origin is killed, a purge reaches whoever lives, and the dead come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nearside_geo::Atlas;
use serde_json::Value;

use super::client::{Web, resolve};
use super::cluster::{Demo, pause};
use super::plan::{CLIENTS, ClientPlan, HOST, NODES, ORIGINS, nearest};
use super::report::{Report, readable};
use super::tour::{NEWS, node_at, place};

/// The node that dies: it made the cluster, and the first client is its own.
const VICTIM: usize = 0;
/// The origin that dies.
const DEAD_ORIGIN: usize = 0;
/// A dead node must be out of DNS by then.
const OUT_OF_DNS_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a return.
const RETURN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long clients ask while the origin dies, and how long each rests between two requests.
const BUSY: Duration = Duration::from_secs(4);
const REST: Duration = Duration::from_millis(20);

pub(super) async fn walk(demo: &mut Demo, report: &mut Report) {
    let name = NODES[VICTIM].name;
    report.step(format_args!("kill -9 of {name}: its clients move"));
    let outcome = lose_a_node(demo, report).await;
    report.finish(outcome);

    let name = ORIGINS[DEAD_ORIGIN].name;
    report.step(format_args!(
        "kill -9 of the origin in {name}: no client notices"
    ));
    let outcome = lose_an_origin(demo, report).await;
    report.finish(outcome);

    report.step("A purge, made on one node, reaches all that live");
    let outcome = purge(demo, report).await;
    report.finish(outcome);

    let name = NODES[VICTIM].name;
    report.step(format_args!(
        "{name} comes back: it learns what it missed, and gets its clients again"
    ));
    let outcome = come_back(demo, report).await;
    report.finish(outcome);
}

/// The clients that are nearest to the victim when all is well.
fn its_clients() -> Result<Vec<(&'static ClientPlan, nearside_geo::Point)>> {
    let atlas = Atlas::embedded()?;
    let mut clients = Vec::new();
    for client in &CLIENTS {
        let (_, point) = place(&atlas, client)?;
        if nearest(point, NODES.iter()).is_some_and(|(node, _)| node.name == NODES[VICTIM].name) {
            clients.push((client, point));
        }
    }
    Ok(clients)
}

async fn lose_a_node(demo: &mut Demo, report: &mut Report) -> Result<()> {
    let victim = NODES[VICTIM];
    let clients = its_clients()?;
    let start = Instant::now();
    demo.kill_node(VICTIM).await?;

    // Out of DNS: no survivor names it to anybody.
    let survivors: Vec<usize> = demo.alive().map(|(index, _)| index).collect();
    let deadline = start + OUT_OF_DNS_MAX * 4;
    for node in &survivors {
        for (client, _) in &clients {
            while resolve(demo.dns(*node), HOST, client.address)
                .await
                .is_ok_and(|addresses| addresses.contains(&victim.address))
            {
                pause(deadline, &format!("{} to leave DNS", victim.name)).await?;
            }
        }
    }
    let took = start.elapsed();
    report.fact(
        took <= OUT_OF_DNS_MAX,
        format_args!(
            "after {} no survivor's DNS names {} any more",
            readable(took),
            victim.name
        ),
    );

    for (client, point) in &clients {
        let addresses = resolve(demo.dns(survivors[0]), HOST, client.address).await?;
        let (expected, _) =
            nearest(*point, demo.alive().map(|(_, node)| node)).context("nobody lives")?;
        let address = *addresses.first().context("DNS sends the client nowhere")?;
        let sent_to = node_at(address).map_or("nobody", |(_, node)| node.name);
        let fetched = demo.web(address)?.get(NEWS).await?;
        report.fact(
            sent_to == expected.name && fetched.status == 200,
            format_args!(
                "the client in {} now goes to {sent_to}, {:.0} km away, and gets its page ({})",
                client.country,
                point.distance_km(expected.point),
                fetched.cache_status
            ),
        );
    }
    Ok(())
}

/// What the clients saw while an origin died.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
    from_dead: AtomicU64,
    from_other: AtomicU64,
}

/// Asks for something new again and again: every request needs an origin.
async fn keep_asking(web: Web, name: &'static str, seen: Arc<Seen>) {
    for number in 0_u64.. {
        if seen.stop.load(Ordering::Relaxed) {
            return;
        }
        let answer = web.get(&format!("/busy/{name}/{number}")).await;
        seen.asked.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(fetched) if fetched.status == 200 => {
                let counter = if fetched.origin == ORIGINS[DEAD_ORIGIN].name {
                    &seen.from_dead
                } else {
                    &seen.from_other
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(REST).await;
    }
}

async fn lose_an_origin(demo: &mut Demo, report: &mut Report) -> Result<()> {
    let seen = Arc::new(Seen::default());
    let mut clients = tokio::task::JoinSet::new();
    for (_, node) in demo.alive() {
        clients.spawn(keep_asking(
            demo.web(node.address)?,
            node.name,
            Arc::clone(&seen),
        ));
    }
    tokio::time::sleep(BUSY / 4).await;
    let before = seen.from_dead.load(Ordering::Relaxed);
    let killed = demo.kill_origin(DEAD_ORIGIN).await;
    tokio::time::sleep(BUSY * 3 / 4).await;
    seen.stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    killed?;

    let (asked, failed) = (
        seen.asked.load(Ordering::Relaxed),
        seen.failed.load(Ordering::Relaxed),
    );
    let other = seen.from_other.load(Ordering::Relaxed);
    report.line(format_args!(
        "   {asked} requests for new pages on {} nodes: {} were answered by {}, {other} by {}",
        demo.alive().count(),
        seen.from_dead.load(Ordering::Relaxed),
        ORIGINS[DEAD_ORIGIN].name,
        ORIGINS[1 - DEAD_ORIGIN].name,
    ));
    report.fact(
        before > 0,
        format_args!(
            "{} was answering when it was killed",
            ORIGINS[DEAD_ORIGIN].name
        ),
    );
    report.fact(
        asked > 0 && failed == 0,
        format_args!("{failed} of {asked} requests failed"),
    );
    Ok(())
}

async fn purge(demo: &Demo, report: &mut Report) -> Result<()> {
    demo.publish_edition().await?;
    let mut old = Vec::new();
    for (_, node) in demo.alive() {
        let fetched = demo.web(node.address)?.get(NEWS).await?;
        old.push(fetched.is_hit() && fetched.text().contains("edition 1"));
    }
    report.fact(
        old.iter().all(|old| *old),
        "a new edition is published; every node still has the old one, and may",
    );

    let url = format!("https://{HOST}{NEWS}");
    let start = Instant::now();
    let receipt = demo.ask(2, &["purge", &url, "--wait", "applied"]).await?;
    let took = start.elapsed();
    let receipts = receipts(&receipt);
    for (node, ms) in &receipts {
        report.line(format_args!("   {node:<6} applied after {ms:>6.1} ms"));
    }
    let alive = demo.alive().count();
    report.fact(
        receipts.len() == alive,
        format_args!(
            "{} of {alive} live nodes applied it; the command took {}",
            receipts.len(),
            readable(took)
        ),
    );
    let mut new = 0;
    for (_, node) in demo.alive() {
        let fetched = demo.web(node.address)?.get(NEWS).await?;
        new += usize::from(fetched.status == 200 && fetched.text().contains("edition 2"));
    }
    report.fact(
        new == alive,
        format_args!("the next request got the new edition on {new} of {alive}"),
    );
    Ok(())
}

/// Who applied the purge, and after how many milliseconds.
fn receipts(answer: &Value) -> Vec<(String, f64)> {
    let listed = answer["receipts"].as_array();
    let listed = listed.map(Vec::as_slice).unwrap_or_default();
    listed
        .iter()
        .filter_map(|receipt| {
            let (node, ms) = (receipt["node"].as_str()?, receipt["ms"].as_f64()?);
            Some((node.to_owned(), ms))
        })
        .collect()
}

async fn come_back(demo: &mut Demo, report: &mut Report) -> Result<()> {
    let victim = NODES[VICTIM];
    let start = Instant::now();
    demo.start_node(VICTIM)?;
    demo.wait_ready(VICTIM).await?;
    let ready = start.elapsed();
    let fetched = demo.web(victim.address)?.get(NEWS).await?;
    report.fact(
        fetched.status == 200 && fetched.text().contains("edition 2"),
        format_args!(
            "{} was ready after {} and gives the new edition: it had missed the purge, not its effect ({})",
            victim.name,
            readable(ready),
            fetched.cache_status
        ),
    );
    let deadline = start + RETURN_TIMEOUT;
    let client = CLIENTS[0];
    loop {
        let answers = resolve(demo.dns(1), HOST, client.address).await?;
        if answers.first() == Some(&victim.address) {
            break;
        }
        pause(deadline, &format!("{} to come back into DNS", victim.name)).await?;
    }
    report.fact(
        true,
        format_args!(
            "after {} the client in {} is sent to {} again",
            readable(start.elapsed()),
            client.country,
            victim.name
        ),
    );
    Ok(())
}

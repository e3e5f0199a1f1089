//! The tour while all is well: the cluster forms, clients are sent to their nearest node, a miss, a hit, a crowd.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use nearside_geo::{Atlas, Point};

use super::client::{Web, resolve};
use super::cluster::{Demo, pause};
use super::faults;
use super::origin::FILM_BYTES;
use super::plan::{CLIENTS, ClientPlan, HOST, NODES, NodePlan, ORIGINS, SITE, ZONE, nearest};
use super::report::{Report, readable};

/// Clients that ask one node for the film at once.
const CROWD: usize = 20;
/// Hits whose median is shown.
const HITS: usize = 5;
/// Longest wait until what was applied shows in DNS.
const STEERED_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the name servers may differ about who is up.
const AGREED_TIMEOUT: Duration = Duration::from_secs(5);
/// What every node has cached when the faults begin.
pub(super) const NEWS: &str = "/news";

/// All steps. One that cannot go on does not stop the next; without a cluster there is none.
pub(super) async fn walk(demo: &mut Demo, report: &mut Report) {
    report.step("Five nodes in three regions, two origins: real processes of this program");
    let outcome = start(demo, report).await;
    let formed = outcome.is_ok();
    report.finish(outcome);
    if !formed {
        return;
    }

    report.step("DNS sends each client to its nearest node");
    let outcome = directions(demo, report).await;
    report.finish(outcome);

    report.step("A miss, then hits");
    let outcome = miss_then_hit(demo, report).await;
    report.finish(outcome);

    report.step(format_args!(
        "The same film, {CROWD} clients on each of five nodes, all at once"
    ));
    let outcome = crowd(demo, report).await;
    report.finish(outcome);

    faults::walk(demo, report).await;
}

async fn start(demo: &mut Demo, report: &mut Report) -> Result<()> {
    report.line(format_args!(
        "   All of it lies in {}. Everything runs on 127.0.0.x: there is no distance between these\n   \
         addresses, so times are the program's own; places decide who is asked, not how long it takes.",
        demo.folder().display()
    ));
    let start = Instant::now();
    demo.start_origins().await?;
    demo.form().await?;
    let members = demo.ask(2, &["members"]).await?;
    let names: Vec<&str> = members["members"]
        .as_array()
        .context("`members --json` lists nobody")?
        .iter()
        .filter_map(|member| member["name"].as_str())
        .collect();
    report.fact(
        NODES.iter().all(|node| names.contains(&node.name)),
        format_args!(
            "{} made the cluster, the others joined with its token: {} are ready after {}",
            NODES[0].name,
            names.join(", "),
            readable(start.elapsed())
        ),
    );

    let start = Instant::now();
    demo.publish().await?;
    for (node, plan) in NODES.iter().enumerate() {
        let deadline = Instant::now() + STEERED_TIMEOUT;
        while !is_steered(demo, node).await {
            pause(deadline, &format!("{} to answer for {HOST}", plan.name)).await?;
        }
    }
    report.fact(
        true,
        format_args!(
            "zone {ZONE} applied on {}, site {SITE} on {}: every node answers for both after {}",
            NODES[1].name,
            NODES[4].name,
            readable(start.elapsed())
        ),
    );
    Ok(())
}

/// True when a node answers with somebody's address.
async fn is_steered(demo: &Demo, node: usize) -> bool {
    let client = CLIENTS[node].address;
    let answer = resolve(demo.dns(node), HOST, client).await;
    answer.is_ok_and(|addresses| !addresses.is_empty())
}

/// Where the embedded databases say that a client is.
pub(super) fn place(atlas: &Atlas, client: &ClientPlan) -> Result<(String, Point)> {
    let place = atlas.locate(client.address);
    let country = place.country.map(|country| country.to_string());
    let point = place
        .point
        .with_context(|| format!("nobody knows where {} is", client.address))?;
    Ok((country.unwrap_or_default(), point))
}

async fn directions(demo: &Demo, report: &mut Report) -> Result<()> {
    let atlas = Atlas::embedded()?;
    let (mut known, mut nearest_first, mut agreed) = (0, 0, 0);
    let start = Instant::now();
    for (index, client) in CLIENTS.iter().enumerate() {
        let (code, point) = place(&atlas, client)?;
        known += usize::from(code == client.code);
        let (expected, distance_km) = nearest(point, NODES.iter()).context("no nodes")?;
        let answers = agreed_answers(demo, client, start + AGREED_TIMEOUT).await?;
        let asked = index % NODES.len();
        let sent_to = answers[asked].first().copied();
        nearest_first += usize::from(sent_to == Some(expected.address));
        agreed += usize::from(
            answers
                .iter()
                .all(|answer| answer.first().copied() == sent_to),
        );
        report.line(format_args!(
            "   {:<16}{:<15} asked {} and was sent to {:<14} {}",
            client.address.to_string(),
            client.country,
            NODES[asked].name,
            describe(sent_to),
            distance(sent_to, point, distance_km),
        ));
    }
    let all = CLIENTS.len();
    report.fact(
        known == all,
        format_args!("the embedded country database knows {known} of {all} clients' countries"),
    );
    report.fact(
        nearest_first == all,
        format_args!("{nearest_first} of {all} were sent to the nearest node by great circle"),
    );
    report.fact(
        agreed == all,
        format_args!(
            "all five name servers agree about {agreed} of {all}, after {}",
            readable(start.elapsed())
        ),
    );
    Ok(())
}

/// What each node's DNS says for a client. Who is up is gossip: two nodes may differ for a moment, and are asked again.
async fn agreed_answers(
    demo: &Demo,
    client: &ClientPlan,
    deadline: Instant,
) -> Result<Vec<Vec<Ipv4Addr>>> {
    loop {
        let asked = (0..NODES.len()).map(|node| resolve(demo.dns(node), HOST, client.address));
        let answers = try_join_all(asked).await?;
        let agreed = answers
            .iter()
            .all(|answer| answer.first() == answers[0].first());
        if agreed || pause(deadline, "agreement").await.is_err() {
            return Ok(answers);
        }
    }
}

/// The node at an address.
pub(super) fn node_at(address: Ipv4Addr) -> Option<(usize, &'static NodePlan)> {
    NODES
        .iter()
        .enumerate()
        .find(|(_, node)| node.address == address)
}

fn describe(address: Option<Ipv4Addr>) -> String {
    match address.and_then(node_at) {
        Some((_, node)) => format!("{} ({})", node.name, node.region),
        None => "nobody".to_owned(),
    }
}

fn distance(sent_to: Option<Ipv4Addr>, client: Point, nearest_km: f64) -> String {
    match sent_to.and_then(node_at) {
        Some((_, node)) => {
            let km = client.distance_km(node.point);
            format!("in {:<14}{km:>6.0} km away", node.city)
        }
        None => format!("though one is {nearest_km:.0} km away"),
    }
}

async fn miss_then_hit(demo: &Demo, report: &mut Report) -> Result<()> {
    let (mut missed, mut hit, mut same, mut near) = (0, 0, 0, 0);
    for node in &NODES {
        let web = demo.web(node.address)?;
        // Connection and TLS are made here, so that the times below compare the cache's two ways alone.
        web.get(&format!("/welcome/{}", node.name)).await?;
        let first = web.get(NEWS).await?;
        let mut again = Vec::with_capacity(HITS);
        for _ in 0..HITS {
            again.push(web.get(NEWS).await?);
        }
        again.sort_by_key(|fetched| fetched.took);
        missed += usize::from(first.status == 200 && !first.is_hit());
        hit += usize::from(
            again
                .iter()
                .all(|fetched| fetched.status == 200 && fetched.is_hit()),
        );
        same += usize::from(again.iter().all(|fetched| fetched.body == first.body));
        let nearest_origin = ORIGINS.iter().min_by(|left, right| {
            let left_km = node.point.distance_km(left.point);
            left_km.total_cmp(&node.point.distance_km(right.point))
        });
        near += usize::from(nearest_origin.is_some_and(|origin| origin.name == first.origin));
        report.line(format_args!(
            "   {:<6} miss {:>8} from the origin in {:<9} then hit {:>8}   {}",
            node.name,
            readable(first.took),
            first.origin,
            readable(again[HITS / 2].took),
            again[HITS / 2].cache_status,
        ));
    }
    let all = NODES.len();
    report.fact(
        missed == all && hit == all,
        format_args!(
            "the first request missed on {missed} of {all} nodes, the next {HITS} hit on {hit}"
        ),
    );
    report.fact(
        same == all,
        format_args!("{same} of {all} gave the same bytes each time"),
    );
    report.fact(
        near == all,
        format_args!("{near} of {all} asked the origin that is nearest to them"),
    );
    Ok(())
}

async fn crowd(demo: &Demo, report: &mut Report) -> Result<()> {
    let film = "/film/premiere";
    let mut webs: Vec<Web> = Vec::with_capacity(NODES.len() * CROWD);
    for node in &NODES {
        for _ in 0..CROWD {
            webs.push(demo.web(node.address)?);
        }
    }
    let start = Instant::now();
    let fetched = join_all(webs.iter().map(|web| web.get(film))).await;
    let took = start.elapsed();
    let whole = fetched
        .iter()
        .flatten()
        .filter(|fetched| fetched.status == 200 && fetched.body.len() == FILM_BYTES)
        .count();
    let fetches = demo.origin_requests(film).await?;
    report.fact(
        whole == webs.len(),
        format_args!(
            "{whole} of {} clients got all {FILM_BYTES} bytes, in {}",
            webs.len(),
            readable(took)
        ),
    );
    report.fact(
        (1..=NODES.len() as u64).contains(&fetches),
        format_args!(
            "the origins were asked {fetches} times: at most once per node, the other clients followed the running fill"
        ),
    );
    Ok(())
}

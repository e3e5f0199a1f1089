//! DNS sends clients to the nearest healthy node, and says so in the ways resolvers expect.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nearside_tests::places::CLIENTS;
use nearside_tests::{DnsRequest, Lab, Origin, Plan, eventually, patience, run};
use tokio::sync::OnceCell;

use crate::stage::site_file;

/// What the issue allows between a node's death and its leaving the answers.
const OUT_OF_ANSWERS_MAX: Duration = Duration::from_secs(5);

const ZONE: &str = "edge.test";
const HOST: &str = "www.edge.test";

/// The least lifetime of an answer in [`zone_file`].
const ANSWER_LIFE: Duration = Duration::from_secs(2);

fn zone_file(name: &str) -> String {
    format!(
        "name = \"{name}\"\nnameservers = {{ ns1 = \"lon1\", ns2 = \"nyc1\" }}\n\
         ttl = {{ min = \"2s\", max = \"30s\" }}\n\
         [[record]]\nname = \"@\"\ntype = \"TXT\"\nvalue = \"v=spf1 -all\"\n"
    )
}

/// The shared cluster with a zone, and a site whose host lies in it.
async fn steered() -> &'static Lab {
    static ORIGIN: OnceCell<Origin> = OnceCell::const_new();
    let lab = Lab::shared().await;
    ORIGIN
        .get_or_init(|| async {
            let origin = Origin::start().await;
            lab.apply("zone", ZONE, &zone_file(ZONE)).await;
            lab.apply(
                "site",
                "steered",
                &site_file("steered", HOST, &[&origin.url()], ""),
            )
            .await;
            origin
        })
        .await;
    lab
}

fn address_in(lab: &Lab, region: &str) -> IpAddr {
    let node = lab
        .nodes()
        .iter()
        .find(|node| node.place.region == region)
        .unwrap();
    node.address.into()
}

#[test]
fn clients_of_nine_countries_are_sent_to_their_nearest_node() {
    run(async {
        let lab = steered().await;
        for name in [HOST.to_owned(), format!("pool.{ZONE}")] {
            for client in CLIENTS {
                let request = DnsRequest::a(&name).from(client.ip());
                let nearest = address_in(lab, client.nearest);
                for node in lab.nodes() {
                    let udp = request.udp(node.dns()).await.unwrap();
                    assert_eq!(udp.code(), ResponseCode::NoError);
                    assert!(udp.message.metadata.authoritative);
                    let first = udp.addresses().first().copied();
                    assert_eq!(
                        first,
                        Some(nearest),
                        "{} asked {} for {name}",
                        client.country,
                        node.name
                    );
                }
                let tcp = request.tcp(lab.nodes()[0].dns()).await.unwrap();
                assert_eq!(tcp.addresses().first(), Some(&nearest), "over TCP");
            }
        }
    });
}

#[test]
fn an_answer_says_for_which_network_it_holds() {
    run(async {
        let lab = steered().await;
        let node = &lab.nodes()[0];
        let client = CLIENTS[1].ip();
        let reply = DnsRequest::a(HOST)
            .from(client)
            .udp(node.dns())
            .await
            .unwrap();
        let subnet = reply
            .subnet()
            .expect("an answer to a client subnet carries one");
        assert_eq!(subnet.source_prefix(), 24);
        assert!(
            (1..=24).contains(&subnet.scope_prefix()),
            "{}",
            subnet.scope_prefix()
        );
        let ttl = reply.message.answers[0].ttl;
        assert!((2..=30).contains(&ttl), "{ttl}");
        // Nobody asked for it: nothing is said.
        let reply = DnsRequest::a(HOST).udp(node.dns()).await.unwrap();
        assert!(reply.subnet().is_none() && !reply.addresses().is_empty());
        let reply = DnsRequest::a(HOST).plain().udp(node.dns()).await.unwrap();
        assert!(reply.message.edns.is_none() && reply.length <= 512);
    });
}

#[test]
fn a_zone_has_its_apex_its_servers_and_honest_negatives() {
    run(async {
        let lab = steered().await;
        let node = &lab.nodes()[1];
        let ask =
            async |name: &str, kind| DnsRequest::new(name, kind).udp(node.dns()).await.unwrap();
        let soa = ask(ZONE, RecordType::SOA).await;
        assert_eq!(soa.message.answers[0].record_type(), RecordType::SOA);
        let ns = ask(ZONE, RecordType::NS).await;
        assert_eq!(ns.message.answers.len(), 2);
        assert!(
            ns.message
                .additionals
                .iter()
                .any(|glue| glue.record_type() == RecordType::A)
        );
        let server = ask(&format!("ns1.{ZONE}"), RecordType::A).await;
        assert_eq!(server.addresses(), [IpAddr::from(lab.node("lon1").address)]);
        let txt = ask(ZONE, RecordType::TXT).await;
        assert_eq!(txt.message.answers[0].record_type(), RecordType::TXT);
        // No node has an IPv6 address: the name exists, the type does not.
        let none = ask(HOST, RecordType::AAAA).await;
        assert_eq!(
            (none.code(), none.addresses().len()),
            (ResponseCode::NoError, 0)
        );
        assert_eq!(none.message.authorities[0].record_type(), RecordType::SOA);
        let unknown = ask(&format!("nothing.{ZONE}"), RecordType::A).await;
        assert_eq!(unknown.code(), ResponseCode::NXDomain);
        assert_eq!(
            unknown.message.authorities[0].record_type(),
            RecordType::SOA
        );
        let elsewhere = ask("www.example.org", RecordType::A).await;
        assert_eq!(elsewhere.code(), ResponseCode::Refused);
    });
}

#[test]
fn route_says_what_dns_answers_and_why() {
    run(async {
        let lab = steered().await;
        for client in CLIENTS {
            let said = lab.nodes()[0].run(&["route", client.address]).await.ok();
            let nearest = lab
                .nodes()
                .iter()
                .find(|node| node.place.region == client.nearest);
            let name = nearest.unwrap().name;
            let places: Vec<Option<usize>> = lab
                .nodes()
                .iter()
                .map(|node| said.stdout.find(&format!("\"{}\"", node.name)))
                .collect();
            let first = lab
                .nodes()
                .iter()
                .zip(&places)
                .min_by_key(|(_, place)| **place)
                .unwrap()
                .0;
            assert!(places.iter().all(Option::is_some), "{}", said.told());
            assert_eq!(first.name, name, "{}: {}", client.country, said.told());
        }
    });
}

#[test]
fn an_answer_can_be_followed_to_a_node_that_serves() {
    run(async {
        let lab = steered().await;
        for client in CLIENTS {
            let found = lab.nodes()[2].steer(HOST, client.ip()).await.unwrap();
            let node = lab
                .nodes()
                .iter()
                .find(|node| IpAddr::from(node.address) == found[0]);
            let got = node.unwrap().fetch(HOST, "/c/500/followed").await;
            assert!(got.cache_status().starts_with(node.unwrap().name));
        }
    });
}

#[test]
fn a_killed_node_leaves_the_answers_and_comes_back() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply("zone", ZONE, &zone_file(ZONE)).await;
        lab.apply(
            "site",
            "steered",
            &site_file("steered", HOST, &[&origin.url()], ""),
        )
        .await;
        let german = CLIENTS[1].ip();
        let (dead, others) = (lab.node("lon1"), [lab.node("nyc1"), lab.node("sin1")]);
        for node in others {
            assert_eq!(
                node.steer(HOST, german).await.unwrap()[0],
                IpAddr::from(dead.address)
            );
        }
        dead.kill();
        let start = Instant::now();
        eventually(
            "the dead node is out of every answer",
            OUT_OF_ANSWERS_MAX,
            async || {
                for node in others {
                    let found = node.steer(HOST, german).await?;
                    if found.contains(&dead.address.into()) || found.is_empty() {
                        return Err(format!("{}: {found:?}", node.name));
                    }
                }
                Ok(())
            },
        )
        .await;
        eprintln!("out of the answers after {:?}", start.elapsed());
        for node in others {
            assert_eq!(
                node.steer(HOST, german).await.unwrap()[0],
                IpAddr::from(others[0].address)
            );
        }
        dead.start().await;
        eventually("the node is back in the answers", patience(), async || {
            for node in lab.nodes() {
                let found = node.steer(HOST, german).await?;
                if found.first() != Some(&dead.address.into()) {
                    return Err(format!("{}: {found:?}", node.name));
                }
            }
            Ok(())
        })
        .await;
    });
}

#[test]
fn a_terminated_node_leaves_the_answers_before_it_ends() {
    run(async {
        let lab = Lab::start(Plan::three_regions().apart(Duration::from_millis(5))).await;
        let origin = Origin::start().await;
        lab.apply("zone", ZONE, &zone_file(ZONE)).await;
        lab.apply(
            "site",
            "steered",
            &site_file("steered", HOST, &[&origin.url()], ""),
        )
        .await;
        let (leaving, asked) = (lab.node("lon1"), lab.node("nyc1"));
        let german = CLIENTS[1].ip();
        assert_eq!(
            asked.steer(HOST, german).await.unwrap()[0],
            IpAddr::from(leaving.address)
        );
        let asked_to_end = Instant::now();
        leaving.ask_to_end();
        eventually("it is no longer named first", patience(), async || {
            let found = asked.steer(HOST, german).await?;
            match found.first() == Some(&leaving.address.into()) {
                true => Err(format!("{found:?}")),
                false => Ok(()),
            }
        })
        .await;
        // Clients that were sent there a moment ago are still served, for as long as their answer lives.
        let got = leaving.get(HOST, "/c/500/late").send().await;
        if asked_to_end.elapsed() < ANSWER_LIFE {
            assert!(got.content_fault("/c/500/late").is_none(), "{got:?}");
        }
        eventually("it ends by itself", patience() * 3, async || {
            if leaving.is_running() {
                Err("it runs on".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    });
}

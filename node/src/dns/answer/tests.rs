//! Tables of questions, and what no question may do.

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;

use super::super::testing::*;
use super::*;

fn ask(name: &str, kind: RecordType) -> Ask {
    Ask::new(name, kind)
}

fn check(ask: &Ask, rcode: ResponseCode, records: &[&str]) {
    let reply = ask.ask(&world());
    let question = ask.message.queries[0].to_string();
    assert_eq!(reply.response_code, rcode, "{question}");
    let answers: Vec<_> = reply.answers.iter().map(ToString::to_string).collect();
    assert_eq!(answers, records, "{question}");
    assert_eq!(reply.id, 0x1234);
    assert_eq!(reply.queries, ask.message.queries);
    assert!(!reply.recursion_available);
    let ours = rcode != ResponseCode::Refused;
    assert_eq!(reply.authoritative, ours, "{question}");
    // RFC 2308: an answer without records for the name that was asked last carries the SOA.
    let empty = !reply
        .answers
        .iter()
        .any(|record| record.record_type() != RecordType::CNAME);
    let soa = reply.authorities.first();
    if let Some(soa) = soa {
        assert!(empty && soa.record_type() == RecordType::SOA);
        assert_eq!(
            (soa.ttl, soa.name.to_ascii()),
            (20, "edge.example.net.".into())
        );
    } else {
        assert!(!empty || !ours || !reply.answers.is_empty());
    }
}

#[test]
fn what_the_operator_wrote_is_answered_as_written() {
    use RecordType::*;
    let ok = ResponseCode::NoError;
    check(
        &ask("edge.example.net.", TXT),
        ok,
        &["edge.example.net. 60 IN TXT v=spf1 -all"],
    );
    check(
        &ask("edge.example.net.", MX),
        ok,
        &["edge.example.net. 60 IN MX 10 mail.example.org."],
    );
    check(
        &ask("edge.example.net.", SOA),
        ok,
        &[
            "edge.example.net. 60 IN SOA ns1.edge.example.net. hostmaster.edge.example.net. 42 3600 600 604800 20",
        ],
    );
    check(
        &ask("edge.example.net.", NS),
        ok,
        &[
            "edge.example.net. 60 IN NS ns1.edge.example.net.",
            "edge.example.net. 60 IN NS ns2.edge.example.net.",
        ],
    );
    check(
        &ask("ns1.edge.example.net.", A),
        ok,
        &["ns1.edge.example.net. 60 IN A 198.51.100.1"],
    );
    // One lifetime for the set, although only one of its records has its own; and written wins over steered.
    check(
        &ask("fixed.edge.example.net.", A),
        ok,
        &[
            "fixed.edge.example.net. 30 IN A 192.0.2.1",
            "fixed.edge.example.net. 30 IN A 192.0.2.2",
        ],
    );
    check(
        &ask("away.edge.example.net.", A),
        ok,
        &["away.edge.example.net. 60 IN CNAME www.example.org."],
    );
    check(
        &ask("alias.edge.example.net.", CNAME),
        ok,
        &["alias.edge.example.net. 60 IN CNAME pool.edge.example.net."],
    );
    // RFC 4592: names below the star's parent that are not there, however deep, and not the parent itself.
    for name in ["a.wild.edge.example.net.", "b.a.wild.edge.example.net."] {
        let answer = format!("{name} 60 IN TXT any");
        check(&ask(name, TXT), ok, &[&answer]);
        check(&ask(name, A), ok, &[]);
    }
    check(&ask("wild.edge.example.net.", TXT), ok, &[]);
    // RFC 8482.
    check(
        &ask("edge.example.net.", ANY),
        ok,
        &["edge.example.net. 20 IN HINFO RFC8482 "],
    );
}

#[test]
fn what_is_not_there_is_denied_and_what_is_not_ours_refused() {
    use RecordType::*;
    let nothing: &[&str] = &[];
    for name in [
        "none.edge.example.net.",
        "a.b.c.edge.example.net.",
        "x.pool.edge.example.net.",
    ] {
        check(&ask(name, A), ResponseCode::NXDomain, nothing);
    }
    // There, with other types; between others (RFC 8020); an alias in our own zone to nowhere (RFC 2308 §2.1).
    for (name, kind) in [
        ("pool.edge.example.net.", TXT),
        ("shop.edge.example.net.", HTTPS),
        ("below.edge.example.net.", A),
        ("apps.edge.example.net.", A),
        ("edge.example.net.", A),
    ] {
        check(&ask(name, kind), ResponseCode::NoError, nothing);
    }
    check(
        &ask("lost.edge.example.net.", A),
        ResponseCode::NXDomain,
        &["lost.edge.example.net. 60 IN CNAME nothing.edge.example.net."],
    );
    for name in [
        "example.net.",
        "net.",
        ".",
        "www.shop.example.",
        "notedge.example.net.",
    ] {
        check(&ask(name, A), ResponseCode::Refused, nothing);
    }
    check(
        &ask("edge.example.net.", AXFR).tcp(),
        ResponseCode::Refused,
        nothing,
    );
}

#[test]
fn each_client_gets_its_nearest_region_the_nearest_node_first() {
    let world = world();
    for (client, nodes) in [
        ("81.2.69.160", &[1, 2][..]),
        ("85.214.132.117", &[2, 1]),
        ("193.0.6.139", &[2, 1]),
        ("200.160.2.3", &[3, 4]),
        ("133.242.0.3", &[5]),
        ("139.130.4.5", &[5]),
        ("240b:10::1", &[5]),
        ("2a02:8071::1", &[2, 1]),
    ] {
        for name in [
            "shop.edge.example.net.",
            "pool.edge.example.net.",
            "a.apps.edge.example.net.",
        ] {
            let asked = ask(name, RecordType::A);
            let by_address = asked.clone().from(client).ask(&world);
            assert_eq!(ids(&by_address), nodes, "{name} {client}");
            assert!(by_address.answers.iter().all(|record| record.ttl == 20));
            let length = if client.contains(':') { 56 } else { 24 };
            let by_subnet = asked.subnet(client, length).ask(&world);
            assert_eq!(ids(&by_subnet), nodes, "{name} {client} by subnet");
        }
    }
    let aliased = ask("alias.edge.example.net.", RecordType::A).ask(&world);
    assert_eq!(ids(&aliased), [2, 1]);
    let sixes = ask("pool.edge.example.net.", RecordType::AAAA).ask(&world);
    assert_eq!(ids(&sixes), [2], "of those with IPv6");
}

#[test]
fn dead_nodes_leave_the_answer_and_draining_ones_wait_behind() {
    let pool = ask("pool.edge.example.net.", RecordType::A);
    assert_eq!(ids(&pool.ask(&world_of(nodes(), [1, 3, 4, 5]))), [1]);
    assert_eq!(ids(&pool.ask(&world_of(nodes(), [3, 4, 5]))), [3, 4]);

    let mut draining = nodes();
    draining[1].draining = true;
    assert_eq!(ids(&pool.ask(&world_of(draining.clone(), 1..=5))), [1]);
    assert_eq!(
        ids(&pool.ask(&world_of(draining, [2]))),
        [2],
        "better than nobody"
    );

    let reply = pool.reply(&world_of(nodes(), []));
    assert!(reply.fail_open);
    assert_eq!(
        ids(&pool.ask(&world_of(nodes(), []))),
        [2, 1, 3],
        "as if all were up"
    );
    assert_eq!(pool.ask(&world_of(vec![], [])).answers, []);
}

#[test]
fn who_has_no_place_gets_the_order_of_names() {
    let world = world();
    for client in ["127.0.0.1", "10.0.0.1", "::1", "192.0.2.55"] {
        let reply = ask("pool.edge.example.net.", RecordType::A)
            .from(client)
            .ask(&world);
        assert_eq!(ids(&reply), [2, 1], "{client}");
    }
}

#[test]
fn the_scope_is_the_prefix_that_decided() {
    let world = world();
    let pool = || ask("pool.edge.example.net.", RecordType::A).from("133.242.0.3");
    let atlas = atlas();
    for client in [
        "81.2.69.160",
        "85.214.132.117",
        "200.160.2.3",
        "2a02:8071::1",
    ] {
        let address: IpAddr = client.parse().expect("an address");
        for source in [16, 20, 24, 32] {
            let seen = ipnet::IpNet::new(address, source)
                .expect("a prefix")
                .trunc();
            let network = atlas.locate(seen.addr()).network;
            let reply = pool().subnet(client, source).ask(&world);
            assert_eq!(
                scope(&reply),
                Some(network.prefix_len()),
                "{client}/{source}"
            );
        }
    }
    let scope_of = |ask: Ask| scope(&ask.ask(&world));
    // Opted out, or a private network: the resolver's own place counts, for everyone.
    for (address, source) in [("0.0.0.0", 0), ("10.0.0.0", 8), ("192.168.1.0", 24)] {
        let reply = pool().subnet(address, source).ask(&world);
        assert_eq!(
            (ids(&reply), scope(&reply)),
            (vec![5], Some(0)),
            "{address}"
        );
    }
    // Answers that are the same for all.
    assert_eq!(
        scope_of(ask("fixed.edge.example.net.", RecordType::A).subnet("81.2.69.0", 24)),
        Some(0)
    );
    assert_eq!(
        scope_of(ask("none.edge.example.net.", RecordType::A).subnet("81.2.69.0", 24)),
        Some(0)
    );
    assert_eq!(
        scope_of(ask("example.org.", RecordType::A).subnet("81.2.69.0", 24)),
        Some(0)
    );
    assert_eq!(scope_of(pool().edns(1232)), None, "nobody asked");
    let lonely = pool().subnet("81.2.69.0", 24).ask(&world_of(nodes(), [3]));
    assert_eq!(scope(&lonely), Some(0), "no other answer there could be");
}

#[test]
fn a_malformed_subnet_is_formerr_with_an_opt_record() {
    let good = ask("pool.edge.example.net.", RecordType::A).subnet("81.2.69.0", 24);
    let mut bytes = good.bytes();
    // The last octet of the address sits at the end; one too few is left after cutting it and saying so.
    let broken = {
        bytes.pop();
        let end = bytes.len();
        bytes[end - 7] -= 1;
        bytes[end - 11] -= 1;
        bytes
    };
    let reply = answer(&broken, Transport::Udp, good.client, &world()).expect("a reply");
    assert_eq!(reply.outcome, Outcome::FormErr);
    let message = hickory_proto::op::Message::from_vec(&reply.bytes).expect("a message");
    assert_eq!(message.response_code, ResponseCode::FormErr);
    assert!(message.edns.is_some() && scope(&message).is_none());
}

#[test]
fn the_case_of_the_question_comes_back() {
    let asked = ask("PoOl.eDgE.ExAmPlE.nEt.", RecordType::A);
    let reply = asked.ask(&world());
    assert!(
        reply.queries[0]
            .name()
            .eq_case(asked.message.queries[0].name())
    );
    assert!(
        reply.answers[0]
            .name
            .eq_case(asked.message.queries[0].name())
    );
    let denied = ask("NoNe.eDgE.ExAmPlE.nEt.", RecordType::A).ask(&world());
    assert_eq!(denied.authorities[0].name.to_ascii(), "eDgE.ExAmPlE.nEt.");
}

#[test]
fn name_servers_come_with_glue() {
    let reply = ask("edge.example.net.", RecordType::NS).ask(&world());
    let glue: Vec<_> = reply
        .additionals
        .iter()
        .map(|record| record.name.to_ascii())
        .collect();
    assert_eq!(glue, ["ns1.edge.example.net.", "ns2.edge.example.net."]);

    // A member that has gone takes its name server with it.
    let without: Vec<_> = nodes()
        .into_iter()
        .filter(|node| &*node.name != "lon1")
        .collect();
    let reply = ask("edge.example.net.", RecordType::NS).ask(&world_of(without, 2..=5));
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn edns_is_answered_by_its_rules() {
    let world = world();
    let reply = ask("pool.edge.example.net.", RecordType::A)
        .edns(4096)
        .ask(&world);
    let edns = reply.edns.as_ref().expect("an OPT record");
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(
        ask("pool.edge.example.net.", RecordType::A)
            .ask(&world)
            .edns
            .is_none()
    );

    let mut newer = ask("pool.edge.example.net.", RecordType::A).edns(1232);
    let edns = newer.message.edns.as_mut().expect("set");
    edns.set_version(1).set_dnssec_ok(true);
    let reply = newer.ask(&world);
    assert_eq!(u16::from(reply.response_code), 16, "BADVERS");
    let edns = reply.edns.as_ref().expect("an OPT record");
    assert_eq!((edns.version(), edns.flags().dnssec_ok), (0, true));
    assert!(reply.answers.is_empty());
}

#[test]
fn what_does_not_fit_is_cut_and_says_so() {
    let text = format!(
        "{ZONE}\n{}",
        "[[record]]\nname = \"long\"\ntype = \"TXT\"\nvalue = \"".to_owned()
            + &"x".repeat(3000)
            + "\"\n"
    );
    let zone = crate::config::zone_file::parse(&text, "zone").expect("a zone");
    let view = crate::view::View::new(1, vec![], vec![std::sync::Arc::new(zone)], nodes());
    let mut world = world();
    world.catalog = std::sync::Arc::new(Catalog::compile(std::sync::Arc::new(view)));
    let long = ask("long.edge.example.net.", RecordType::TXT);
    for asked in [
        long.clone(),
        long.clone().edns(512),
        long.clone().edns(65_535),
    ] {
        let reply = asked.reply(&world);
        assert!(reply.truncated && reply.bytes.len() <= 1232);
        let message = asked.ask(&world);
        assert!(message.truncation && message.answers.is_empty());
    }
    let whole = long.tcp().ask(&world);
    assert!(!whole.truncation);
    let RData::TXT(text) = &whole.answers[0].data else {
        panic!("TXT")
    };
    assert_eq!(text.txt_data.len(), 12);
}

#[test]
fn headers_decide_before_anything_else() {
    let world = world();
    let client = "81.2.69.160".parse().expect("an address");
    let raw = |bytes: &[u8]| answer(bytes, Transport::Udp, client, &world);
    let good = ask("pool.edge.example.net.", RecordType::A).bytes();

    let mut response = good.clone();
    response[2] |= 0x80;
    assert!(raw(&response).is_none(), "a response is not answered");
    for short in 0..12 {
        assert!(raw(&good[..short]).is_none(), "{short} bytes are no header");
    }
    let outcome = |bytes: &[u8]| raw(bytes).map(|reply| reply.outcome);
    for short in 12..good.len() {
        assert_eq!(outcome(&good[..short]), Some(Outcome::FormErr));
    }
    for opcode in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let mut other = good.clone();
        other[2] |= u8::from(opcode) << 3;
        let reply = raw(&other).expect("a reply");
        assert_eq!(reply.outcome, Outcome::NotImp);
        assert_eq!(
            (reply.bytes.len(), reply.bytes[2] >> 3),
            (12, 0x10 | u8::from(opcode))
        );
    }
    let mut none = good.clone();
    none[5] = 0;
    assert_eq!(outcome(&none), Some(Outcome::FormErr), "no question");
    none[5] = 2;
    assert_eq!(
        outcome(&none),
        Some(Outcome::FormErr),
        "two questions (RFC 9619)"
    );
    let mut trailing = good.clone();
    trailing.push(0);
    assert_eq!(outcome(&trailing), Some(Outcome::FormErr));

    let mut chaos = good.clone();
    let end = chaos.len();
    chaos[end - 1] = 3;
    assert_eq!(outcome(&chaos), Some(Outcome::Refused));

    // Two OPT records (RFC 6891 §6.1.1).
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let mut twice = good.clone();
    twice.extend_from_slice(&opt);
    twice[11] = 1;
    assert_eq!(outcome(&twice), Some(Outcome::Answer));
    twice.extend_from_slice(&opt);
    twice[11] = 2;
    assert_eq!(outcome(&twice), Some(Outcome::FormErr));
    // An option that nobody knows is passed over; one that ends outside the record is not.
    let mut unknown = good.clone();
    unknown.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0xfd, 0xe9, 0, 2, 1, 2]);
    unknown[11] = 1;
    assert_eq!(outcome(&unknown), Some(Outcome::Answer));
    let end = unknown.len();
    unknown[end - 3] = 3;
    assert_eq!(outcome(&unknown), Some(Outcome::FormErr));
}

#[test]
fn a_ring_of_aliases_ends() {
    let reply = ask("ring1.edge.example.net.", RecordType::A).ask(&world());
    assert_eq!(reply.answers.len(), ALIASES_MAX);
    assert_eq!(reply.response_code, ResponseCode::NoError);
}

/// Bytes that are nearly a query: a good one with damage, or noise behind a header that lets it in.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "pool.edge.example.net.",
        "edge.example.net.",
        "lost.edge.example.net.",
        "x.apps.edge.example.net.",
        "example.org.",
    ]);
    let kinds = any::<u16>().prop_map(RecordType::from);
    let damaged = (
        (names, kinds, 0..=128_u8, any::<u16>()),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        prop::collection::vec(any::<u8>(), 0..24),
    );
    let damaged = damaged.prop_map(|((name, kind, source, payload), damage, tail)| {
        let asked = ask(name, kind).edns(payload);
        let mut bytes = match source {
            0..=32 => asked.subnet("81.2.69.160", source),
            _ => asked.subnet("2a02:8071::1", source),
        }
        .bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        bytes
    });
    let noise = prop::collection::vec(any::<u8>(), 0..600);
    let led = prop::collection::vec(any::<u8>(), 0..200).prop_map(|noise| {
        let mut bytes = vec![1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        bytes.extend(noise);
        bytes
    });
    prop_oneof![4 => damaged, 1 => noise, 2 => led]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// No packet ends the program, no datagram is larger than allowed, and what comes back is a message.
    #[test]
    fn any_packet_gets_a_proper_reply_or_none(packet in packets(), client in any::<u32>()) {
        let client = std::net::Ipv4Addr::from(client).into();
        let world = WORLD.clone();
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some(reply) = answer(&packet, transport, client, &world) {
                let message = hickory_proto::op::Message::from_vec(&reply.bytes);
                prop_assert!(message.is_ok(), "{:?}: {:?}", message, reply.bytes);
                prop_assert_eq!(&reply.bytes[..2], &packet[..2]);
                prop_assert!(reply.bytes[2] & 0x80 != 0);
                prop_assert!(transport == Transport::Tcp || reply.bytes.len() <= 1232);
            }
        }
    }

    /// RFC 7871: whoever is inside the scope of an answer gets the same answer.
    #[test]
    fn everyone_inside_a_scope_gets_the_same_answer(
        address in any::<u32>(), other in any::<u32>(), source in 16..=32_u8,
    ) {
        let world = WORLD.clone();
        let pool = || ask("pool.edge.example.net.", RecordType::A);
        let text = |bits: u32| std::net::Ipv4Addr::from(bits).to_string();
        let first = pool().subnet(&text(address), source).ask(&world);
        let scope_of = scope(&first).expect("a scope");
        if scope_of == 0 {
            return Ok(());
        }
        let sent = address & u32::MAX << (32 - u32::from(source));
        let inside = u32::MAX.checked_shr(scope_of.into()).unwrap_or(0);
        let neighbour = (sent & !inside) | (other & inside);
        let second = pool().subnet(&text(neighbour), 32).ask(&world);
        prop_assert_eq!(ids(&first), ids(&second));
        prop_assert_eq!(scope_of, scope(&second).expect("a scope"));
    }
}

static WORLD: std::sync::LazyLock<Snapshot> = std::sync::LazyLock::new(world);

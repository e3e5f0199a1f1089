//! Proxies before us: whose word about a client is believed, and how they say it.

use std::net::IpAddr;

use nearside_tests::places::LONDON;
use nearside_tests::{Got, Lab, Origin, Plan, Reply, Request, eventually, patience, run};

use crate::stage::{Stage, site_file};

const HOST: &str = "proxied.example";
const V1: &str = "PROXY TCP4 203.0.113.9 198.51.100.2 40000 80\r\n";

/// Version 2, command and family as given, of 203.0.113.10.
fn v2(command: u8, family: u8, values: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    let addresses = [203, 0, 113, 10, 198, 51, 100, 2, 0x9c, 0x40, 0x01, 0xbb];
    let said = [&addresses[..], values].concat();
    header.extend(u16::try_from(said.len()).unwrap().to_be_bytes());
    header.extend(said);
    header
}

#[test]
fn a_proxy_of_the_proxy_protocol_names_the_client() {
    run(async {
        let plan = Plan::new(&[("lon1", LONDON)])
            .certificate("proxied", &[HOST])
            .proxy_protocol();
        let lab = Lab::start(plan).await;
        let node = lab.node("lon1");
        let origin = Origin::start().await;
        origin.on("/seen", Reply::new("ok").cache_control("no-store"));
        let deny = "[protect]\ndeny = [\"192.0.2.0/24\"]\n";
        let site = site_file("proxied", HOST, &[&origin.url()], deny);
        lab.apply("site", "proxied", &site).await;

        let ask = || Request::get(HOST, "/seen");
        let seen = |got: &Got| {
            assert_eq!(got.status, 200, "{got:?}");
            let seen = origin.seen("/seen").pop().unwrap();
            let field = |name: &str| seen.field(name).unwrap_or_default();
            (field("x-forwarded-for"), field("x-forwarded-proto"))
        };
        let told = |address: &str, scheme: &str| (address.to_owned(), scheme.to_owned());
        let plain = |preface: &[u8]| ask().behind(preface.to_vec()).to(node.http());
        let got = plain(V1.as_bytes()).send().await;
        assert_eq!(seen(&got), told("203.0.113.9", "http"));
        let got = plain(&v2(1, 0x11, &[])).send().await;
        assert_eq!(seen(&got), told("203.0.113.10", "http"));
        // The client spoke TLS to the proxy.
        let got = plain(&v2(1, 0x11, &[0x20, 0, 5, 1, 0, 0, 0, 0]))
            .send()
            .await;
        assert_eq!(seen(&got), told("203.0.113.10", "https"));
        // The proxy's own connection, and one whose client it does not know.
        for preface in [v2(0, 0x00, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
            let got = plain(&preface).send().await;
            assert_eq!(seen(&got), told("127.0.0.1", "http"));
        }
        // Before TLS, whichever protocol is spoken in it; what the client says is not the proxy's word.
        for h2 in [false, true] {
            let request = ask().behind(V1).from("198.51.100.7".parse().unwrap());
            let request = request.to(node.https());
            let request = if h2 {
                request.h2(&lab.authority)
            } else {
                request.tls(&lab.authority)
            };
            assert_eq!(seen(&request.send().await), told("203.0.113.9", "https"));
        }

        // It is the client who is let in or not.
        let denied = V1.replace("203.0.113.9", "192.0.2.9");
        assert_eq!(plain(denied.as_bytes()).send().await.status, 403);
        eventually("the log names the client", patience(), async || {
            let log = node.log();
            let named = log.contains("203.0.113.9") && log.contains("192.0.2.9");
            if named { Ok(()) } else { Err(node.log_end(5)) }
        })
        .await;

        // No header, or a bad one, from the proxy; a header from another one.
        let asked = origin.asked();
        assert_eq!(plain(b"").send().await.status, 0);
        assert_eq!(plain(b"PROXY TCP4 me you 1 2\r\n").send().await.status, 0);
        let stranger: IpAddr = "127.0.0.77".parse().unwrap();
        let got = plain(V1.as_bytes()).source(stranger).send().await;
        assert!([0, 400].contains(&got.status), "{got:?}");
        let got = ask().behind(V1).to(node.https()).source(stranger);
        assert_eq!(got.tls(&lab.authority).send().await.status, 0);
        assert_eq!(origin.asked(), asked);
        let got = plain(b"").source(stranger).send().await;
        assert_eq!(seen(&got), told("127.0.0.77", "http"));
    });
}

#[test]
fn a_trusted_proxy_says_which_scheme_the_client_used() {
    run(async {
        let stage = Stage::with("[tls]\nredirect_http = true\n").await;
        stage
            .origin
            .on("/seen", Reply::new("ok").cache_control("no-store"));
        let got = stage.get("/seen").send().await;
        assert_eq!(got.status, 308, "{got:?}");
        let by_proxy = [
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=203.0.113.9;proto=https"),
        ];
        for (name, value) in by_proxy {
            let got = stage.get("/seen").field(name, value).send().await;
            assert_eq!(got.status, 200, "{got:?}");
            let seen = stage.origin.seen("/seen").pop().unwrap();
            assert_eq!(seen.field("x-forwarded-proto").unwrap(), "https");
            assert!(seen.field("forwarded").unwrap().contains("proto=https"));
            // Nobody else may.
            let stranger = "127.0.0.77".parse().unwrap();
            let got = stage.get("/seen").field(name, value).source(stranger);
            assert_eq!(got.send().await.status, 308);
        }
    });
}

#[test]
fn fields_that_restate_the_client_reach_no_origin() {
    run(async {
        let stage = Stage::new().await;
        stage
            .origin
            .on("/seen", Reply::new("ok").cache_control("no-store"));
        let forged = [
            "x-real-ip",
            "x_real_ip",
            "cf-connecting-ip",
            "true-client-ip",
            "fastly-client-ip",
            "x-client-ip",
            "x-forwarded-host",
            "x-forwarded-port",
            "x_forwarded_for",
            "x-original-url",
        ];
        let stranger = "127.0.0.77".parse().unwrap();
        let mut request = stage.get("/seen").source(stranger);
        for name in forged {
            request = request.field(name, "203.0.113.66");
        }
        assert_eq!(request.send().await.status, 200);
        let seen = stage.origin.seen("/seen").pop().unwrap();
        let said: Vec<_> = seen
            .headers
            .iter()
            .filter(|(_, value)| {
                value
                    .as_bytes()
                    .windows(12)
                    .any(|part| part == b"203.0.113.66")
            })
            .collect();
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(seen.field("x-forwarded-for").unwrap(), "127.0.0.77");
    });
}

use std::time::Duration;

use http::{HeaderMap, Method};

use super::*;
use crate::config::site::{Rate, SetCookie};

const SMALL: &str =
    "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:9000\"\n";

/// A real certificate of a made-up authority, so that the text is one that TLS takes.
fn authority_pem() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
    parameters.self_signed(&key).unwrap().pem()
}

#[test]
fn every_supported_key_reaches_the_site() {
    let text = format!(
        r#"
name = "shop"
hosts = ["Shop.Example", "*.shop.example"]
[[origin]]
url = "https://o1.shop.example"
region = "eu"
weight = 3
[[origin]]
url = "http://o2.shop.example:8080"
name = "far"
latitude = 40.7
longitude = -74
backup = true
host = "origin"
[origins]
host = "client"
health = {{ path = "/healthz", interval = "5s", timeout = "2s", fall = 2, rise = 3 }}
tls = {{ ca = """{}""" }}
connect_timeout = "1s"
response_timeout = "10s"
[cache]
consistency = "available"
stale_if_error = "1d"
stale_while_revalidate = "30s"
set_cookie = "strip"
body_max = "1 GiB"
tags = {{ fields = ["X-Groups", "xkey"], send = true }}
purge_from = ["10.0.0.0/8", "2001:db8::1"]
key = {{ query_drop = ["utm_*"] }}
[[rule]]
match = {{ path = "/assets/*" }}
ttl = "30d"
[[rule]]
match = {{ path = ["/cart/*", "/account/*"] }}
cache = "bypass"
[tls]
certificate = "auto"
redirect_http = true
[headers.origin.set]
X-Edge-Auth = "word"
[protect]
deny = ["198.51.100.7/24", "2001:db8::1", "country:XX"]
rate = {{ requests = "50/s", burst = 200 }}
[steering]
pins = {{}}
"#,
        authority_pem()
    );
    let site = parse(&text, "shop.toml").unwrap();
    assert_eq!(site.hosts, ["shop.example".into(), "*.shop.example".into()]);
    let (near, far) = (&site.origins[0], &site.origins[1]);
    assert_eq!(
        (&*near.name, near.tls, near.port, near.weight),
        ("origin1", true, 443, 3)
    );
    assert_eq!(near.host_header, HostHeader::Client);
    assert_eq!(near.health.as_ref().map(|check| check.rise), Some(3));
    assert!(near.tls_ca.is_some());
    assert_eq!(
        (&*far.name, far.tls, far.port, far.backup),
        ("far", false, 8080, true)
    );
    assert_eq!(far.host_header, HostHeader::Origin);
    assert!(far.point.is_some());
    assert_eq!(site.cache.set_cookie, SetCookie::Strip);
    assert_eq!(site.cache.body_max_bytes, 1 << 30);
    let from = site.cache.purge_from.iter().map(ToString::to_string);
    assert!(from.eq(["10.0.0.0/8", "2001:db8::1/128"]));
    let tags = &site.cache.tags;
    let fields = tags.fields.iter();
    let fields = fields.map(|field| (field.name.as_str(), field.by_commas));
    assert!(fields.eq([("x-groups", true), ("xkey", false)]) && tags.send);
    let policy = |path: &str| {
        let ruling = site.rules.at_request(&Method::GET, path, &HeaderMap::new());
        site.rules.policy(&ruling).clone()
    };
    assert!(policy("/cart/1").bypasses() && !policy("/assets/1").bypasses());
    let ttl = policy("/assets/1").ttl.map(|ttl| ttl.lifetime.as_secs());
    assert_eq!(ttl, Some(30 * 86_400));
    assert_eq!(
        policy("/").stale_while_revalidate,
        Some(Duration::from_secs(30))
    );
    assert!(site.tls.redirect_http && site.tls.certificate.is_none());
    assert!(policy("/").origin_headers.is_some() && !site.dresses);
    assert_eq!(site.protect.deny_networks[0].to_string(), "198.51.100.0/24");
    assert_eq!(site.protect.deny_countries, [*b"XX"]);
    assert_eq!(
        site.protect.rate,
        Some(Rate {
            per_second: 50.0,
            burst: 200
        })
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, message) in [
        (
            "name = \"shop\"\nhots = [\"shop.example\"]\n".to_owned(),
            "s.toml:2: unknown key `hots`; did you mean `hosts`?",
        ),
        (
            "hosts = [\"a.example\"]\n".to_owned(),
            "s.toml:1: `name` is missing",
        ),
        (
            SMALL.replace(
                "[\"shop.example\"]",
                "[\"shop.example\",\n\"SHOP.example\"]",
            ),
            "s.toml:3: the host shop.example is listed twice",
        ),
        (
            SMALL.replace("shop.example", "https://shop.example"),
            "s.toml:2: \"https://shop.example\" is not a host name; write the name only, without scheme and path",
        ),
        (
            SMALL.replace("shop.example", "shop.example:80"),
            "s.toml:2: \"shop.example:80\" is not a host name; write the name only, without a port",
        ),
        (
            SMALL.replace("http://127.0.0.1:9000", "127.0.0.1:9000"),
            "s.toml:4: \"127.0.0.1:9000\" is not a URL (relative URL without a base); write it like \"https://o1.shop.example\"",
        ),
        (
            SMALL.replace("127.0.0.1:9000", "169.254.169.254"),
            "s.toml:4: 169.254.169.254 cannot be an origin: link-local, unspecified and multicast addresses are never asked",
        ),
        (
            SMALL.replace("127.0.0.1:9000", "[fe80::1]"),
            "s.toml:4: fe80::1 cannot be an origin: link-local, unspecified and multicast addresses are never asked",
        ),
        (
            SMALL.replace(":9000", ":9000/app"),
            "s.toml:4: \"http://127.0.0.1:9000/app\": a path is not supported in an origin's URL, the client's is used; write it like \"https://o1.shop.example\"",
        ),
        (
            "name = \"shop\"\nhosts = [\"shop.example\"]\n".to_owned(),
            "s.toml:1: the site has no origin; add [[origin]] with url = \"https://…\"",
        ),
        (
            format!("{SMALL}weight = 0\n"),
            "s.toml:5: `weight` cannot be 0; write 1 to 1000000",
        ),
        (
            format!("{SMALL}backup = true\n"),
            "s.toml:5: every origin is a backup; at least one must not be",
        ),
        (
            format!("{SMALL}[origins]\nhealth = {{ path = \"healthz\" }}\n"),
            "s.toml:6: the health check's path \"healthz\" must begin with \"/\"",
        ),
        (
            format!("{SMALL}[origins]\ntls = {{ client_certificate = \"shop-edge\" }}\n"),
            "s.toml:6: `client_certificate` is not supported yet",
        ),
        (
            format!("{SMALL}[cache]\nconsistency = \"strict\"\n"),
            "s.toml:6: `consistency = \"strict\"` is not supported yet; write \"available\"",
        ),
        (
            format!("{SMALL}[cache]\ntags = {{ fields = [\"xkey\", \"X Tags\"] }}\n"),
            "s.toml:6: \"X Tags\" cannot carry tags; write a response field like \"Cache-Tag\"",
        ),
        (
            format!("{SMALL}[cache]\npurge_from = [\"10.0.0.0/40\"]\n"),
            "s.toml:6: \"10.0.0.0/40\" is not a network; write it like \"198.51.100.0/24\" or \"2001:db8::/32\"",
        ),
        (
            format!("{SMALL}[cache]\ntags = {{ fields = [\"xkey\", \"XKey\"] }}\n"),
            "s.toml:6: the field XKey is listed twice",
        ),
        (
            format!("{SMALL}[cache]\nset_cookie = \"stripp\"\n"),
            "s.toml:6: `cache.set_cookie` cannot be \"stripp\"; did you mean \"strip\"?",
        ),
        (
            format!("{SMALL}[[rule]]\nmatch = {{ path = \"/a\" }}\n"),
            "s.toml:5: the rule changes nothing; give it `ttl = \"…\"` or `cache = \"bypass\"`",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ pth = \"/a\" }}\n"),
            "s.toml:7: unknown key `pth` in `rule.match`; did you mean `path`?",
        ),
        (
            format!("{SMALL}[[rule]]\ncahe = \"bypass\"\n"),
            "s.toml:6: unknown key `cahe` in `rule`; did you mean `cache`?",
        ),
        (
            format!(
                "{SMALL}[[rule]]\nttl = \"1s\"\n[[rule]]\ncache = \"bypass\"\nmatch = {{ status = \"5xx\" }}\n"
            ),
            "s.toml:8: `cache` acts before there is an answer, so it cannot depend on the answer's status; match by `path`, `method` or `header`, or take `status` out",
        ),
        (
            format!(
                "{SMALL}[[rule]]\nkey = {{ query_drop = [\"a\"] }}\nmatch = {{ method = \"GET\" }}\n"
            ),
            "s.toml:6: `key.query_drop` makes the URL that purges know, so it can depend on the path only; match by `path` alone",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ status = \"5x\" }}\n"),
            "s.toml:7: `rule.match.status`: \"5x\" is not a status; write it like 404, \"5xx\" or \"500-599\"",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ status = [404, 99] }}\n"),
            "s.toml:7: `rule.match.status`: 99 is not the status of an answer; those are 200 to 599",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ method = \"get\" }}\n"),
            "s.toml:7: \"get\" is not a method; did you mean \"GET\"?",
        ),
        (
            format!(
                "{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ header = {{ Connection = true }} }}\n"
            ),
            "s.toml:7: the field connection ends at this hop, it cannot be matched",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ header = {{ X-A = 7 }} }}\n"),
            "s.toml:7: `rule.match.header.X-A`: write true, false, a pattern such as \"*json*\", or a list of patterns",
        ),
        (
            format!("{SMALL}[[rule]]\nttl = \"1s\"\nmatch = {{ path = [\"/a\", \"b\"] }}\n"),
            "s.toml:7: the path \"b\" must begin with \"/\" or \"*\"",
        ),
        (
            format!("{SMALL}[headers.origin.set]\nX-Edge-Auth = {{ secret = \"shop-edge\" }}\n"),
            "s.toml:6: x-edge-auth: `{ secret = … }` is not supported yet; write the value as a string",
        ),
        (
            format!("{SMALL}[headers.origin.set]\nVia = \"me\"\n"),
            "s.toml:6: the field via is set by the proxy itself",
        ),
        (
            format!("{SMALL}[protect]\ndeny = [\"AS64500\"]\n"),
            "s.toml:6: \"AS64500\": networks by their AS number are not supported yet",
        ),
        (
            format!("{SMALL}[protect]\nrate = {{ requests = \"fast\" }}\n"),
            "s.toml:6: `protect.rate.requests`: \"fast\" is not a rate; write it like \"50/s\" or \"600/m\"",
        ),
        (
            format!("{SMALL}[steering]\npins = {{ eu = \"lon1\" }}\n"),
            "s.toml:6: `steering.pins` is not supported yet",
        ),
    ] {
        assert_eq!(
            parse(&text, "s.toml").unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}

#[test]
fn serve_takes_a_port_for_an_origin() {
    let site = any_host(&["3000".to_owned(), "https://o.example".to_owned()]).unwrap();
    assert!(site.any_host);
    assert_eq!(
        (&*site.origins[0].host, site.origins[0].port),
        ("127.0.0.1", 3000)
    );
    assert_eq!((site.origins[1].tls, site.origins[1].port), (true, 443));
    let error = any_host(&["o.example".to_owned()]).unwrap_err().to_string();
    assert!(
        error.starts_with("--origin: \"o.example\" is not a URL"),
        "{error}"
    );
}

#[test]
fn slices_have_a_size_that_is_worth_a_request() {
    let with = |more: &str| parse(&format!("{SMALL}{more}"), "test");
    let site =
        with("[cache]\nslice = \"8 MiB\"\n[[rule]]\nmatch = { path = \"/s\" }\nslice = \"0 B\"\n");
    let site = site.unwrap();
    let size = |path: &str| {
        let ruling = site.rules.at_request(&Method::GET, path, &HeaderMap::new());
        site.rules.policy(&ruling).slice.unwrap().bytes()
    };
    assert_eq!((size("/a"), size("/s")), (8 << 20, 0));
    for size in ["1 KiB", "2 GiB"] {
        let error = with(&format!("[cache]\nslice = \"{size}\"\n")).unwrap_err();
        assert!(error.to_string().contains("64 KiB at least"), "{error}");
    }
}

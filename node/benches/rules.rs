//! What rules cost a request: how long it takes to know what is in force.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use nearside_node::config::site::Site;
use nearside_node::config::site_file;

/// A site with so many rules by path, of which `matching` at the end match.
fn site(rules: usize, matching: &str) -> Site {
    let mut text =
        "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:1\"\n"
            .to_owned();
    for index in 0..rules {
        write!(
            text,
            "[[rule]]\nmatch = {{ path = \"/section{index}/*\" }}\nttl = \"1h\"\n"
        )
        .expect("memory");
    }
    text.push_str(matching);
    site_file::parse(&text, "bench").expect("a site")
}

const ONE: &str = "[[rule]]\nmatch = { path = \"/assets/*\" }\nttl = \"1d\"\n";
const TWO: &str = "[[rule]]\nmatch = { path = \"/assets/*\" }\nttl = \"1d\"\n[[rule]]\nmatch = { path = \"*.js\" }\nttl_max = \"2h\"\n";
const FIELD: &str =
    "[[rule]]\nmatch = { header = { Cookie = \"*session=*\" } }\ncache = \"bypass\"\n";
const STATUS: &str = "[[rule]]\nmatch = { status = \"5xx\" }\nttl = \"1s\"\n";

fn rules(criterion: &mut Criterion) {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "curl/8.0"),
        ("accept", "*/*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, site) in [
        ("none", site(0, "")),
        ("one of one", site(0, ONE)),
        ("two of two", site(0, TWO)),
        ("by field, none matches", site(0, FIELD)),
        ("one of 10", site(9, ONE)),
        ("one of 100", site(99, ONE)),
        ("one of 1000", site(999, ONE)),
    ] {
        criterion.bench_function(&format!("ruling, {name}"), |bencher| {
            bencher.iter(|| {
                let path = black_box("/assets/app.js");
                let ruling = site.rules.at_request(&Method::GET, path, &headers);
                black_box(site.rules.policy(&ruling).ttl)
            });
        });
    }
    let site = site(0, STATUS);
    let ruling = site
        .rules
        .at_request(&Method::GET, "/assets/app.js", &headers);
    criterion.bench_function("ruling, at a 200 with a rule for 5xx", |bencher| {
        bencher.iter(|| {
            let late = site
                .rules
                .at_response(black_box(&ruling), StatusCode::OK, &headers);
            black_box(site.rules.policy(&late).ttl)
        });
    });
}

criterion_group!(benches, rules);
criterion_main!(benches);

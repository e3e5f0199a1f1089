//! Modules that decide and do nothing else: no clock, no random number, no file, no socket, no task.

use regex::Regex;

use crate::tree::Tree;
use crate::words::{is_test_file, lines, shipped};
use crate::{caught, none};

/// Folders and files whose code is a function of its arguments. `geo` opens database files in one place, named in
/// `EXCEPT`.
const PURE: [&str; 42] = [
    "geo/src/",
    "cluster/src/state/",
    "cluster/src/liveness/verdict.rs",
    "cache-store/src/chunk.rs",
    "node/src/config/pattern.rs",
    "node/src/config/policy.rs",
    "node/src/config/rule.rs",
    "node/src/config/site.rs",
    "node/src/config/site_file.rs",
    "node/src/config/site_file/",
    "node/src/config/zone.rs",
    "node/src/config/zone_file.rs",
    "node/src/config/restart.rs",
    "node/src/view/",
    "node/src/dns/answer.rs",
    "node/src/dns/answer/",
    "node/src/dns/name.rs",
    "node/src/dns/query.rs",
    "node/src/dns/steer.rs",
    "node/src/dns/subnet.rs",
    "node/src/dns/writer.rs",
    "node/src/protect/fences.rs",
    "node/src/protect/rates.rs",
    "node/src/proxy/apart.rs",
    "node/src/proxy/cache_control.rs",
    "node/src/proxy/cache_status.rs",
    "node/src/proxy/conditions.rs",
    "node/src/proxy/date.rs",
    "node/src/proxy/freshen.rs",
    "node/src/proxy/freshness.rs",
    "node/src/proxy/headers.rs",
    "node/src/proxy/key.rs",
    "node/src/proxy/meta.rs",
    "node/src/proxy/range.rs",
    "node/src/proxy/reuse.rs",
    "node/src/proxy/storable.rs",
    "node/src/proxy/tags.rs",
    "node/src/proxy/targeted.rs",
    "node/src/proxy/vary.rs",
    "node/src/upstream/health.rs",
    "node/src/upstream/outgoing.rs",
    "node/src/upstream/select.rs",
];

/// Files of pure folders that are the thin place where the IO is.
const EXCEPT: [&str; 1] = ["geo/src/database.rs"];

const IMPURE: &str = concat!(
    r"\bInstant::now\b|\bSystemTime::now\b|\.elapsed\(\)|\brand::|\bgetrandom\b|\bOsRng\b",
    r"|\bstd::fs\b|\bFile::open\b|\bfs::(read|write|create)\b|\bstd::env\b|\bstd::process\b|\bstd::thread\b",
    r"|\bthread::(sleep|spawn)\b|\btokio::|\b(Tcp|Udp)(Stream|Socket|Listener)\b|\bRandomState\b",
);

fn purity(tree: &Tree) -> Vec<String> {
    let pattern = Regex::new(IMPURE).expect("the pattern is a constant of this file");
    let mut complaints = Vec::new();
    for file in tree.rust("") {
        let pure = PURE.iter().any(|folder| file.path.starts_with(folder));
        if !pure || EXCEPT.contains(&file.path.as_str()) || is_test_file(&file.path) {
            continue;
        }
        for line in lines(&shipped(&file.text), &pattern) {
            complaints.push(format!("{}:{line} is not pure", file.path));
        }
    }
    complaints
}

#[test]
fn pure_modules_read_no_clock_no_random_number_and_do_no_io() {
    none("purity", purity(&Tree::of_project()));
}

/// A name in the list that stands for nothing protects nothing.
fn forgotten(tree: &Tree) -> Vec<String> {
    let named = PURE.iter().chain(&EXCEPT);
    named
        .filter(|path| !tree.holds(path))
        .map(|path| format!("{path} is called pure and does not exist"))
        .collect()
}

#[test]
fn every_module_that_is_called_pure_exists() {
    none("purity", forgotten(&Tree::of_project()));
    caught(&forgotten(&Tree::sample(&[])), PURE.len() + EXCEPT.len());
}

#[test]
fn purity_can_be_broken() {
    let bad = Tree::sample(&[
        (
            "geo/src/rank.rs",
            "let now = Instant::now();\nlet x: u8 = rand::random();\nlet d = start.elapsed();\nlet p = distance();\n",
        ),
        ("node/src/app.rs", "let now = Instant::now();\n"),
    ]);
    caught(&purity(&bad), 3);
}

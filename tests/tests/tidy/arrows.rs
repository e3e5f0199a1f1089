//! Who may name whom: between crates, between the rooms of `node`, and heavy libraries in their one place.

use std::collections::BTreeSet;

use regex::Regex;

use crate::tree::Tree;
use crate::words::{is_test_file, lines, shipped};
use crate::{caught, none};

/// Crate folder, and the crates of this workspace that it may name.
const CRATES: [(&str, &[&str]); 6] = [
    ("geo", &[]),
    ("cache-store", &[]),
    ("cluster", &[]),
    ("node", &["geo", "cache-store", "cluster"]),
    ("tests", &[]),
    // Calls the laws of the readers in `proxy`, and nothing else.
    ("tests/fuzz", &["node"]),
];

/// The crate that a file belongs to: the innermost folder.
fn crate_of(path: &str) -> Option<&'static str> {
    let folders = CRATES.iter().map(|(folder, _)| *folder);
    folders
        .filter(|folder| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|folder| folder.len())
}

/// Rooms of `node` that see the view only and speak `http` types, and what they never name.
const BLIND_ROOMS: [&str; 3] = ["proxy", "dns", "protect"];
const NEVER_IN_BLIND_ROOMS: &str =
    r"\b(nearside_cluster|openraft|hyper|hyper_util|actix|actix_web|actix_http|actix_rt)\b";

/// A library by the pattern that names it, and the folders it may be named in.
const PLACES: [(&str, &str, &[&str]); 8] = [
    ("openraft", r"\bopenraft\b", &["cluster/src/raft/"]),
    ("maxminddb", r"\bmaxminddb\b", &["geo/src/"]),
    (
        "config",
        r"(?:^|[^:\w])(?:::)?config::(?:\{|Config\b|File\b|FileFormat\b|Environment\b|Map\b)",
        &["node/src/config/"],
    ),
    (
        "hyper",
        r"\bhyper(_util)?\b",
        &["node/src/listen/", "node/src/upstream/"],
    ),
    ("h2", r"\bh2::", &["node/src/listen/", "node/src/upstream/"]),
    (
        "actix",
        r"\bactix(_web|_http|_rt|_server)?\b",
        &["node/src/admin/", "node/src/peer/"],
    ),
    (
        "hickory_resolver",
        r"\bhickory_resolver\b",
        &["node/src/upstream/"],
    ),
    (
        "hickory_proto",
        r"\bhickory_proto\b",
        &["node/src/dns/", "node/src/cli/demo/"],
    ),
];

/// One file per store: the crates that own a RocksDB.
const STORES: [&str; 2] = ["cluster/", "cache-store/"];

fn crate_arrows(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (folder, allowed) in CRATES {
        for (other, _) in CRATES {
            if other == folder || other.contains('/') || allowed.contains(&other) {
                continue;
            }
            let manifest = tree.get(&format!("{folder}/Cargo.toml"));
            let named = manifest.is_some_and(|file| {
                let pattern = format!(r"(?m)^\s*nearside-{other}\b");
                Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(&file.text))
            });
            if named {
                complaints.push(format!("{folder}/Cargo.toml depends on {other}"));
            }
            let name = format!("nearside_{}", other.replace('-', "_"));
            let pattern = pattern(&format!(r"\b{name}\b"));
            let inside = format!("{folder}/");
            let files = tree.rust(&inside);
            for file in files.filter(|file| crate_of(&file.path) == Some(folder)) {
                for line in lines(&crate::words::code_of(&file.text), &pattern) {
                    complaints.push(format!("{}:{line} names {name}", file.path));
                }
            }
        }
    }
    complaints
}

fn blind_rooms(tree: &Tree) -> Vec<String> {
    let pattern = pattern(NEVER_IN_BLIND_ROOMS);
    let mut complaints = Vec::new();
    for room in BLIND_ROOMS {
        let (folder, single) = (format!("node/src/{room}/"), format!("node/src/{room}.rs"));
        for file in tree.rust("node/src/") {
            let inside = file.path.starts_with(&folder) || file.path == single;
            if !inside || is_test_file(&file.path) {
                continue;
            }
            for line in lines(&shipped(&file.text), &pattern) {
                complaints.push(format!("{}:{line} {room} sees past the view", file.path));
            }
        }
    }
    complaints
}

fn places(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (library, named, folders) in PLACES {
        let pattern = pattern(named);
        for file in tree.rust("") {
            if is_test_file(&file.path)
                || folders.iter().any(|folder| file.path.starts_with(folder))
            {
                continue;
            }
            for line in lines(&shipped(&file.text), &pattern) {
                complaints.push(format!("{}:{line} names {library}", file.path));
            }
        }
    }
    complaints
}

fn one_file_per_store(tree: &Tree) -> Vec<String> {
    let pattern = pattern(r"\brocksdb::");
    let naming: BTreeSet<&str> = tree
        .rust("")
        .filter(|file| !is_test_file(&file.path))
        .filter(|file| !lines(&shipped(&file.text), &pattern).is_empty())
        .map(|file| file.path.as_str())
        .collect();
    let mut complaints: Vec<String> = naming
        .iter()
        .filter(|path| !STORES.iter().any(|store| path.starts_with(store)))
        .map(|path| format!("{path} names rocksdb outside the stores"))
        .collect();
    for store in STORES {
        let files: Vec<&&str> = naming
            .iter()
            .filter(|path| path.starts_with(store))
            .collect();
        if files.len() > 1 {
            complaints.push(format!("rocksdb is named in more than one file: {files:?}"));
        }
    }
    complaints
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant of this file")
}

#[test]
fn crates_name_only_what_the_arrows_allow() {
    none("arrows between crates", crate_arrows(&Tree::of_project()));
}

#[test]
fn crate_arrows_can_be_broken() {
    let bad = Tree::sample(&[
        (
            "geo/Cargo.toml",
            "[dependencies]\nnearside-cluster.workspace = true\n",
        ),
        (
            "cluster/src/lib.rs",
            "// nearside_geo in prose is fine\nuse nearside_geo::Point;\n",
        ),
        ("tests/src/lib.rs", "use nearside_node::view::View;\n"),
        ("node/src/lib.rs", "use nearside_geo::Point;\n"),
        (
            "tests/fuzz/fuzz_targets/one.rs",
            "use nearside_node::proxy;\nuse nearside_geo::Point;\n",
        ),
    ]);
    caught(&crate_arrows(&bad), 4);
}

#[test]
fn proxy_dns_and_protect_see_only_the_view() {
    none("rooms of node", blind_rooms(&Tree::of_project()));
}

#[test]
fn blind_rooms_can_be_broken() {
    let bad = Tree::sample(&[
        ("node/src/proxy/mod.rs", "use hyper::body::Incoming;\n"),
        (
            "node/src/dns/mod.rs",
            "use nearside_cluster::State;\nuse hickory_proto::op::Message;\n",
        ),
        (
            "node/src/protect.rs",
            "fn f() { actix_web::rt::spawn(x) }\n",
        ),
        ("node/src/listen/mod.rs", "use hyper::Request;\n"),
    ]);
    caught(&blind_rooms(&bad), 3);
}

#[test]
fn heavy_libraries_are_named_in_their_place() {
    none("places of libraries", places(&Tree::of_project()));
}

#[test]
fn places_can_be_broken() {
    let bad = Tree::sample(&[
        ("cluster/src/lib.rs", "use openraft::Raft;\n"),
        (
            "node/src/app.rs",
            "use hyper_util::rt::TokioIo;\nuse crate::config::settings::Settings;\n",
        ),
        (
            "node/src/cli/mod.rs",
            "let built = config::Config::builder();\n",
        ),
        ("node/src/admin/mod.rs", "use actix_web::App;\n"),
        ("node/src/upstream/mod.rs", "use actix_web::App;\n"),
    ]);
    caught(&places(&bad), 4);
}

#[test]
fn rocksdb_is_named_in_one_file_per_store() {
    none(
        "one file per store",
        one_file_per_store(&Tree::of_project()),
    );
}

#[test]
fn the_store_rule_can_be_broken() {
    let bad = Tree::sample(&[
        ("node/src/app.rs", "use rocksdb::DB;\n"),
        ("cluster/src/raft/log.rs", "use rocksdb::DB;\n"),
        ("cluster/src/raft/db.rs", "use rocksdb::DB;\n"),
        ("cache-store/src/disk/rocks.rs", "use rocksdb::DB;\n"),
    ]);
    caught(&one_file_per_store(&bad), 2);
}

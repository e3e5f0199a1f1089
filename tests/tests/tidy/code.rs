//! Limits on the code itself, and on what must not be in it.

use crate::tree::Tree;
use crate::words::code_of;
use crate::{caught, none};

const FILE_LINES_MAX: usize = 600;

fn long_files(tree: &Tree) -> Vec<String> {
    tree.rust("")
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| {
            format!(
                "{} has {lines} lines, more than {FILE_LINES_MAX}",
                file.path
            )
        })
        .collect()
}

/// A test that is written down and not run is a promise nobody keeps.
fn ignored_tests(tree: &Tree) -> Vec<String> {
    tree.rust("")
        .filter(|file| code_of(&file.text).contains("#[ignore"))
        .map(|file| format!("{} ignores a test", file.path))
        .collect()
}

/// Folders that exist only on somebody's machine.
fn machine_paths(tree: &Tree) -> Vec<String> {
    // Written in pieces, so that this file passes its own rule.
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut complaints = Vec::new();
    for file in tree.files() {
        for (number, line) in file.text.lines().enumerate() {
            for folder in folders {
                let named = line.match_indices(folder).any(|(at, _)| {
                    // `https://host/work/x` and `src/work/x` are not absolute paths.
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '.')
                });
                if named {
                    complaints.push(format!("{}:{} names {folder}", file.path, number + 1));
                }
            }
        }
    }
    complaints
}

/// Every crate comes from the public registry, under its public name.
fn foreign_registries(tree: &Tree) -> Vec<String> {
    let public = "registry+https://github.com/rust-lang/crates.io-index";
    let lock = tree.get("Cargo.lock").map_or("", |file| file.text.as_str());
    let mut complaints: Vec<String> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = \"")?.strip_suffix('"'))
        .filter(|source| *source != public)
        .map(|source| format!("Cargo.lock takes a crate from {source}"))
        .collect();
    complaints.sort();
    complaints.dedup();
    for host in configured_hosts() {
        for file in tree.files().filter(|file| file.text.contains(&host)) {
            complaints.push(format!(
                "{} names a package host of this machine",
                file.path
            ));
        }
    }
    complaints
}

/// Hosts of package mirrors that this machine is set up with: they belong to it, not to the project.
fn configured_hosts() -> Vec<String> {
    let texts = std::env::vars()
        .filter(|(name, _)| {
            let name = name.to_uppercase();
            ["INDEX", "REGISTR", "MIRROR", "GOPROXY"]
                .iter()
                .any(|part| name.contains(part))
        })
        .map(|(_, value)| value);
    let files = ["CARGO_HOME", "HOME"]
        .iter()
        .filter_map(std::env::var_os)
        .flat_map(|home| {
            let home = std::path::PathBuf::from(home);
            [
                "config.toml",
                ".cargo/config.toml",
                ".npmrc",
                ".config/pip/pip.conf",
            ]
            .map(|name| std::fs::read_to_string(home.join(name)).unwrap_or_default())
        });
    texts
        .chain(files)
        .flat_map(|text| hosts(&text))
        // The lock file names these two on every machine.
        .filter(|host| host != "github.com" && !host.ends_with("crates.io"))
        .collect()
}

fn hosts(text: &str) -> Vec<String> {
    text.split("://")
        .skip(1)
        .filter_map(|rest| {
            let authority = rest.split(['/', '"', '\'', ' ', '\n', ',']).next()?;
            let host = authority.rsplit('@').next()?.split(':').next()?;
            host.contains('.').then(|| host.to_owned())
        })
        .collect()
}

#[test]
fn no_source_file_is_longer_than_the_limit() {
    none("length of files", long_files(&Tree::of_project()));
}

#[test]
fn no_test_is_ignored() {
    none("ignored tests", ignored_tests(&Tree::of_project()));
}

#[test]
fn no_file_names_a_path_of_the_machine() {
    none("paths of the machine", machine_paths(&Tree::of_project()));
}

#[test]
fn every_crate_comes_from_the_public_registry() {
    none("registries", foreign_registries(&Tree::of_project()));
}

#[test]
fn the_code_rules_can_be_broken() {
    let long = "fn f() {}\n".repeat(FILE_LINES_MAX + 1);
    let ignored = concat!("#[ign", "ore]\nfn later() {}\n");
    let path = concat!(
        "data = \"/ro",
        "ot/x\"\n# https://example.org/wo",
        "rk/y is fine\n"
    );
    let lock = "source = \"registry+https://crates.invalid/index\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    let bad = Tree::sample(&[
        ("node/src/long.rs", &long),
        ("node/src/ignored.rs", ignored),
        ("deploy/node.toml", path),
        ("Cargo.lock", lock),
    ]);
    caught(&long_files(&bad), 1);
    caught(&ignored_tests(&bad), 1);
    caught(&machine_paths(&bad), 1);
    caught(&foreign_registries(&bad), 1);
    assert_eq!(
        hosts("a = \"sparse+https://u:p@crates.invalid:8/index/\""),
        ["crates.invalid"]
    );
}

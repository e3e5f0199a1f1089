//! The rules of the house, as tests. Each rule is a function from files to complaints; each has a twin test that
//! feeds it a bad sample, so that a rule which can no longer fail is noticed.

mod arrows;
mod code;
mod docs;
mod program;
mod purity;
mod tree;
mod words;

use tree::Tree;

/// Fails with every complaint at once, one per line.
#[track_caller]
fn none(rule: &str, complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "{rule}: {} complaint(s)\n  {}",
        complaints.len(),
        complaints.join("\n  ")
    );
}

/// Fails unless the rule finds exactly `count` things wrong with the bad sample.
#[track_caller]
fn caught(complaints: &[String], count: usize) {
    assert_eq!(
        complaints.len(),
        count,
        "the rule missed or invented something: {complaints:#?}"
    );
}

#[test]
fn the_tree_is_the_whole_project() {
    let tree = Tree::of_project();
    for path in ["Cargo.toml", "node/src/lib.rs", "tests/tests/tidy/main.rs"] {
        assert!(tree.get(path).is_some(), "{path} is not in the tree");
    }
}

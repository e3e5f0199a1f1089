//! Links between pages lead somewhere.

use regex::Regex;

use crate::tree::{File, Tree};
use crate::{caught, none};

fn broken_links(tree: &Tree) -> Vec<String> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").expect("the pattern is a constant of this file");
    let mut complaints = Vec::new();
    for page in tree.files().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(&page.text) {
            for found in link.captures_iter(line) {
                let target = &found[1];
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                if let Some(fault) = fault(tree, page, target) {
                    complaints.push(format!("{}:{number} {target}: {fault}", page.path));
                }
            }
        }
    }
    complaints
}

/// Lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((number + 1, line))
    })
}

fn fault(tree: &Tree, page: &File, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if path.is_empty() {
        page.path.clone()
    } else {
        match resolve(&page.path, path) {
            Some(resolved) => resolved,
            None => return Some("leads out of the project".to_owned()),
        }
    };
    if !tree.holds(&resolved) {
        return Some("leads nowhere".to_owned());
    }
    let target_page = tree.get(&resolved)?;
    let known = heading.is_empty()
        || !resolved.ends_with(".md")
        || prose(&target_page.text)
            .filter_map(|(_, line)| line.strip_prefix('#'))
            .any(|line| slug(line.trim_start_matches('#')) == heading);
    (!known).then(|| format!("no heading {heading}"))
}

fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = if path.starts_with('/') {
        Vec::new()
    } else {
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        parts
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A heading's anchor, as the forges make it.
fn slug(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            letter if letter.is_alphanumeric() => Some(letter),
            _ => None,
        })
        .collect()
}

#[test]
fn links_in_pages_lead_somewhere() {
    none("links", broken_links(&Tree::of_project()));
}

#[test]
fn the_link_rule_can_be_broken() {
    let bad = Tree::sample(&[
        (
            "docs/a.md",
            "[gone](b.md) [up](../README.md#the-way) [out](../../x) [no](../README.md#nothing)\n[web](https://example.org/x)\n```\n[code](nowhere.md)\n```\n[folder](../docs)\n",
        ),
        ("README.md", "# The way!\n"),
    ]);
    caught(&broken_links(&bad), 3);
}

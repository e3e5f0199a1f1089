//! What the program prints and what the pages say are the same text, and what is linked into it is what was meant.
//!
//! `UPDATE_REFERENCE=1 cargo test --release -p nearside-tests --test tidy` writes the pages anew.

use std::process::Command;

use nearside_tests::Binary;

use crate::tree::root;
use crate::{caught, none};

/// Crates that must not be linked, by name.
const UNWELCOME: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

/// The page that holds every command's `--help`.
const COMMANDS_PAGE: &str = "docs/reference/commands.md";
/// The commented default node file, as `config default` prints it.
const DEFAULTS_PAGE: &str = "docs/reference/default.toml";

const COMMANDS_HEAD: &str = "# Commands\n\nWhat `nearside --help` and `nearside COMMAND --help` print. A test keeps this page equal to the program.\n";

fn unwelcome(listing: &str) -> Vec<String> {
    let mut found: Vec<String> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| UNWELCOME.contains(name))
        .map(|name| format!("{name} is linked"))
        .collect();
    found.dedup();
    found
}

/// Every command with its help, depth first, as one page.
fn commands_page(help: &dyn Fn(&[&str]) -> String) -> String {
    fn walk(help: &dyn Fn(&[&str]) -> String, path: &[&str], page: &mut String) {
        let text = help(path);
        let title = ["nearside"]
            .iter()
            .chain(path)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        page.push_str(&format!(
            "\n## {title}\n\n```text\n{}\n```\n",
            trimmed(&text)
        ));
        for name in subcommands(&text) {
            let deeper: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            walk(help, &deeper, page);
        }
    }
    let mut page = COMMANDS_HEAD.to_owned();
    walk(help, &[], &mut page);
    page
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| line.trim() != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Compares a page with what the program says; with `UPDATE_REFERENCE` set it writes the page first.
fn same(path: &str, print: impl FnOnce() -> String) -> Vec<String> {
    let file = root().join(path);
    let printed = print();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        let folder = file.parent().expect("a page stands in a folder");
        std::fs::create_dir_all(folder).expect("the docs folder can be made");
        std::fs::write(&file, &printed).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    differs(path, &written, &printed)
}

fn differs(path: &str, written: &str, printed: &str) -> Vec<String> {
    if written == printed {
        return Vec::new();
    }
    let mut lines = written.lines().zip(printed.lines()).enumerate();
    let first = lines.find(|(_, (left, right))| left != right);
    let at = first.map_or_else(
        || written.lines().count().min(printed.lines().count()) + 1,
        |(number, _)| number + 1,
    );
    vec![format!(
        "{path}:{at} is not what the program prints; UPDATE_REFERENCE=1 writes it anew"
    )]
}

fn printed(arguments: &[&str]) -> String {
    let binary =
        Binary::find().expect("the program is built: cargo build --release -p nearside-node");
    let output = Command::new(binary.path())
        .args(arguments)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "nearside {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the program prints text")
}

#[test]
fn neither_ring_nor_openssl_is_linked() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Cargo.lock lists what weak features could ask for; the tree lists what is built.
    let output = Command::new(cargo)
        .current_dir(root())
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--prefix",
            "none",
        ])
        .args(["--edges", "normal,build,dev"])
        .output()
        .expect("cargo runs");
    let listing = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && listing.contains("aws-lc-rs"),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    none("linked libraries", unwelcome(&listing));
}

#[test]
fn the_commands_page_says_what_the_program_prints() {
    let page = || {
        commands_page(&|path| {
            let arguments: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
            printed(&arguments)
        })
    };
    none("commands page", same(COMMANDS_PAGE, page));
}

#[test]
fn the_default_config_page_says_what_the_program_prints() {
    let page = || printed(&["config", "default"]);
    none("default config", same(DEFAULTS_PAGE, page));
}

#[test]
fn the_program_rules_can_be_broken() {
    caught(
        &unwelcome("ring v0.17.14\nbytes v1.0.0\nopenssl v0.10.0\n"),
        2,
    );
    let help = |path: &[&str]| match path {
        [] => "A CDN\n\nCommands:\n  purge  Make unusable\n  help   Help\n\nOptions:\n  -h\n"
            .to_owned(),
        _ => "Make unusable\n".to_owned(),
    };
    let page = commands_page(&help);
    assert!(
        page.contains("## nearside purge\n") && !page.contains("nearside help"),
        "{page}"
    );
    caught(
        &differs("x.md", &page, &page.replace("unusable", "usable")),
        1,
    );
    caught(&differs("x.md", &page, &page), 0);
}

use clap::Parser as _;

use super::arguments::{Command, Program};

fn parsed(line: &str) -> Result<Program, clap::Error> {
    Program::try_parse_from(std::iter::once("nearside").chain(line.split_whitespace()))
}

#[test]
fn the_command_tree_is_sound() {
    super::tree().debug_assert();
}

#[test]
fn what_the_contract_promises_can_be_typed() {
    for line in [
        "serve --origin 3000",
        "serve --origin http://a:1 --origin http://b:2 --listen 127.0.0.1:0 --data /tmp/x",
        "serve --site shop.toml",
        "node --config n.toml",
        "node --config n.toml --token-file t",
        "cluster init",
        "join-token new --ttl 1h --uses 4",
        "join-token list",
        "join-token revoke abc",
        "status",
        "status --check live",
        "status --check ready",
        "status --check healthy --json",
        "members",
        "drain lon1",
        "undrain lon1",
        "remove lon1",
        "remove lon1 --force",
        "site apply a.toml b.toml --dry-run",
        "site list",
        "site show shop",
        "site remove shop",
        "site check a.toml b.toml",
        "zone apply z.toml",
        "zone list",
        "zone show edge.example.net",
        "zone remove edge.example.net",
        "zone check z.toml",
        "purge https://shop.example/a",
        "purge https://shop.example/a --soft --wait committed --timeout 5s",
        "purge --site shop --all --json",
        "purge --site shop --tag article-7 --soft",
        "purge --site shop --prefix /blog/",
        "prefetch --site shop https://shop.example/a list.txt - --concurrency 64",
        "route 81.2.69.160",
        "route 81.2.69.0/24 --host shop.example",
        "route - --nodes nodes.csv --json",
        "config default",
        "config check n.toml",
        "geo lookup 81.2.69.160",
        "completions bash",
        "--admin unix:/tmp/a.sock --json status",
        "status --admin 127.0.0.1:9000 --token-file t",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for line in [
        "",
        "serve",
        "serve --origin 1 --site s.toml",
        "node",
        "purge",
        "purge --site shop",
        "purge --all",
        "purge https://a/ --site shop --all",
        "purge https://a/ --tag x",
        "purge --tag x",
        "prefetch https://shop.example/a",
        "prefetch --site shop",
        "prefetch --site shop - --concurrency 0",
        "purge --site shop --tag x --prefix /",
        "purge --site shop --tag x --all",
        "purge https://a/ --wait fenced",
        "join-token new --ttl soon",
        "status --check alive",
        "route - --nodes n.csv --host a.example",
        "site apply",
        "frobnicate",
    ] {
        let error = parsed(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn serve_keeps_everything_in_one_folder() {
    let program = parsed("serve --origin 3000 --listen 127.0.0.1:9090 --data /tmp/x").unwrap();
    let Command::Serve(arguments) = program.command else {
        panic!("not serve");
    };
    let settings = super::serve::settings(&arguments).unwrap();
    assert_eq!(settings.listen.http, ["127.0.0.1:9090".parse().unwrap()]);
    assert!(settings.listen.https.is_empty() && settings.listen.dns.is_empty());
    assert!(settings.listen.peer.is_empty() && settings.listen.metrics.is_empty());
    assert!(settings.cache.dir.starts_with("/tmp/x") && settings.data_dir.starts_with("/tmp/x"));
}

//! What an operator says, and what comes of a mistake: one clear line, and nothing half-applied.

use std::time::Duration;

use nearside_tests::{Lab, Plan, Reply, Request, run, run_program};

use crate::stage::{Stage, fresh_name, site_file};

#[test]
fn an_apply_with_one_error_changes_nothing() {
    run(async {
        let lab = Lab::shared().await;
        let (good, bad) = (fresh_name(), fresh_name());
        let folder = lab.folder();
        let origin = ["http://127.0.0.1:1"];
        let (one, two) = (folder.join("one.toml"), folder.join("two.toml"));
        std::fs::write(
            &one,
            site_file(&good, &format!("{good}.example"), &origin, ""),
        )
        .unwrap();
        let text = site_file(
            &bad,
            &format!("{bad}.example"),
            &origin,
            "[cache]\nstale_if_eror = \"1d\"",
        );
        std::fs::write(&two, text).unwrap();
        let files = [one.to_string_lossy(), two.to_string_lossy()];
        let said = lab
            .node("nyc1")
            .run_plain(&["site", "apply", &files[0], &files[1]])
            .await;
        // File, line, what is wrong and what would be right.
        let said = said.refused(&["two.toml", "stale_if_eror", "stale_if_error"]);
        assert!(
            said.stderr.contains(":6") || said.stderr.contains("line 6"),
            "{}",
            said.told()
        );
        let listed = lab.node("lon1").run(&["site", "list"]).await.ok();
        assert!(
            !listed.stdout.contains(&good) && !listed.stdout.contains(&bad),
            "{}",
            listed.told()
        );
    });
}

#[test]
fn check_and_dry_run_change_nothing() {
    run(async {
        let lab = Lab::shared().await;
        let name = fresh_name();
        let file = lab.folder().join(format!("{name}.toml"));
        std::fs::write(
            &file,
            site_file(
                &name,
                &format!("{name}.example"),
                &["http://127.0.0.1:1"],
                "",
            ),
        )
        .unwrap();
        let file = file.to_string_lossy();
        let node = lab.node("lon1");
        node.run(&["site", "check", &file]).await.ok();
        node.run(&["site", "apply", "--dry-run", &file]).await.ok();
        let listed = node.run(&["site", "list"]).await.ok();
        assert!(!listed.stdout.contains(&name), "{}", listed.told());
    });
}

#[test]
fn two_sites_cannot_have_one_host() {
    run(async {
        let stage = Stage::new().await;
        let thief = fresh_name();
        let text = site_file(&thief, &stage.host, &["http://127.0.0.1:1"], "");
        let said = stage
            .lab
            .apply_on(stage.lab.node("sin1"), "site", &thief, &text)
            .await;
        said.refused(&[&stage.host]);
        stage.fetch("/c/100/still-mine").await;
    });
}

#[test]
fn a_site_is_shown_listed_and_removed_on_any_node() {
    run(async {
        let stage = Stage::new().await;
        stage.fetch("/c/100/x").await;
        for node in stage.lab.nodes() {
            let shown = node.run(&["site", "show", &stage.site]).await.ok();
            assert!(shown.stdout.contains(&stage.host), "{}", shown.told());
            let listed = node.run(&["site", "list"]).await.ok();
            assert!(listed.stdout.contains(&stage.site), "{}", listed.told());
        }
        stage
            .lab
            .node("sin1")
            .run(&["site", "remove", &stage.site])
            .await
            .ok();
        nearside_tests::eventually(
            "no node serves it",
            nearside_tests::patience(),
            async || {
                for node in stage.lab.nodes() {
                    let status = node.get(&stage.host, "/c/100/x").send().await.status;
                    if status != 421 {
                        return Err(format!("{}: {status}", node.name));
                    }
                }
                Ok(())
            },
        )
        .await;
        stage
            .node()
            .run(&["site", "show", &stage.site])
            .await
            .refused(&[&stage.site]);
    });
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    run(async {
        for arguments in [
            &["purgee"][..],
            &["site"][..],
            &["purge", "--soft"][..],
            &["status", "--nope"][..],
        ] {
            let said = run_program(arguments).await;
            assert_eq!(said.code, Some(2), "{}", said.told());
            assert!(!said.stderr.is_empty());
        }
        let said = run_program(&["--admin", "unix:/nowhere/admin.sock", "status"]).await;
        let said = said.refused(&["/nowhere/admin.sock"]);
        assert_eq!(said.stderr.trim().lines().count(), 1, "{}", said.told());
    });
}

#[test]
fn the_default_config_is_one_that_the_program_accepts() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        let printed = run_program(&["config", "default"]).await.ok();
        std::fs::write(
            &file,
            printed.stdout.replace("name = \"\"", "name = \"n1\""),
        )
        .unwrap();
        run_program(&["config", "check", &file.to_string_lossy()])
            .await
            .ok();
        std::fs::write(&file, "[listen]\nhttpp = [\"127.0.0.1:1\"]\n").unwrap();
        let said = run_program(&["config", "check", &file.to_string_lossy()]).await;
        let said = said.refused(&["node.toml", "httpp", "http"]);
        assert!(
            said.stderr.contains(":2") || said.stderr.contains("line 2"),
            "{}",
            said.told()
        );
    });
}

#[test]
fn an_address_can_be_looked_up_and_completions_printed() {
    run(async {
        let node = Lab::shared().await.node("lon1");
        let said = node.run(&["geo", "lookup", "91.10.0.1"]).await.ok();
        assert!(said.stdout.contains("DE"), "{}", said.told());
        for shell in ["bash", "zsh", "fish"] {
            let said = run_program(&["completions", shell]).await.ok();
            assert!(said.stdout.contains("nearside"), "{shell}");
        }
        let said = run_program(&["--version"]).await.ok();
        assert!(said.stdout.starts_with("nearside "), "{}", said.told());
    });
}

#[test]
fn status_and_members_say_who_is_there() {
    run(async {
        let lab = Lab::shared().await;
        for node in lab.nodes() {
            for verb in ["status", "members"] {
                let (json, plain) = (
                    node.run(&[verb]).await.ok(),
                    node.run_plain(&[verb]).await.ok(),
                );
                for other in lab.nodes() {
                    assert!(json.stdout.contains(other.name), "{}", json.told());
                    assert!(plain.stdout.contains(other.name), "{}", plain.told());
                }
                assert!(
                    !plain.stdout.contains('\u{1b}'),
                    "colour without a terminal"
                );
            }
            for check in ["live", "ready", "healthy"] {
                node.run(&["status", "--check", check]).await.ok();
            }
        }
    });
}

#[test]
fn metrics_count_what_happened() {
    run(async {
        let stage = Stage::new().await;
        stage.fetch("/c/100/x").await;
        stage.fetch("/c/100/x").await;
        let metrics = stage.node().metrics().await;
        assert!(metrics.keys().all(|name| {
            name.starts_with("nearside_")
                || name.starts_with("process_")
                || name.starts_with("target_info")
        }));
        let of_site = |outcome: &str| {
            metrics
                .iter()
                .filter(|(name, _)| name.contains("requests_total"))
                .filter(|(name, _)| {
                    name.contains(&format!("\"{}\"", stage.site)) && name.contains(outcome)
                })
                .map(|(_, value)| value)
                .sum::<f64>()
        };
        assert!(
            of_site("hit") >= 1.0 && of_site("miss") >= 1.0,
            "{:#?}",
            metrics.keys()
        );
        for part in ["raft", "dns", "origin", "connections"] {
            assert!(
                metrics.keys().any(|name| name.contains(part)),
                "nothing about {part}"
            );
        }
        let text = format!("{:?}", metrics.keys());
        assert!(!text.contains("/c/100/x"), "a label holds a URL");
    });
}

#[test]
fn a_terminated_node_finishes_the_requests_it_has() {
    run(async {
        let origin = nearside_tests::Origin::start().await;
        let serve = nearside_tests::Serve::start(&[&origin.url()], &[]).await;
        let path = "/long";
        let slow = Reply::content(path, 1, 200_000).in_pieces(20, Duration::from_millis(75));
        origin.on(path, slow);
        // Its sockets are open before it serves: one answer says that it does.
        serve.get("/c/1/first").send().await.sound("/c/1/first");
        let ask = Request::get("app.example", path).to(serve.address).send();
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            serve.terminate().await;
        };
        let (got, ()) = futures_util::join!(ask, end);
        got.sound(path);
    });
}

#[test]
fn the_log_holds_no_credentials() {
    run(async {
        let stage = Stage::new().await;
        stage.origin.on(
            "/login",
            Reply::new("ok").field("set-cookie", "session=SECRETCOOKIE"),
        );
        let got = stage
            .get("/login")
            .field("authorization", "Bearer SECRETTOKEN")
            .field("cookie", "session=SECRETCOOKIE")
            .send()
            .await;
        assert_eq!(got.status, 200);
        nearside_tests::eventually(
            "the request is in the log",
            nearside_tests::patience(),
            async || {
                let log = stage.node().log();
                if log.contains("/login") {
                    Ok(())
                } else {
                    Err("not yet".to_owned())
                }
            },
        )
        .await;
        let log = stage.node().log();
        assert!(!log.contains("SECRETTOKEN") && !log.contains("SECRETCOOKIE"));
    });
}

#[test]
fn the_admin_api_over_tcp_wants_its_token() {
    run(async {
        let lab = Lab::apart(Plan::new(&[("lon1", nearside_tests::places::LONDON)])).await;
        let node = lab.node("lon1");
        let token = lab.folder().join("admin.token");
        std::fs::write(&token, "a-token-of-some-length-that-nobody-guesses").unwrap();
        let free = std::net::TcpListener::bind((node.address, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let text = std::fs::read_to_string(node.config()).unwrap();
        let text = text.replace("admin = [", &format!("admin = [\"{address}\", "));
        let text = format!("{text}\n[admin]\ntoken_file = \"{}\"\n", token.display());
        std::fs::write(node.config(), text).unwrap();
        node.start().await;
        let admin = address.to_string();
        let said = run_program(&["--admin", &admin, "status"]).await;
        assert_eq!(said.code, Some(1), "{}", said.told());
        let file = token.to_string_lossy();
        run_program(&["--admin", &admin, "--token-file", &file, "status"])
            .await
            .ok();
        for (path, status) in [("/healthz", 200), ("/api/v1/status", 401)] {
            let got = Request::get(&admin, path).to(address).send().await;
            assert_eq!(got.status, status, "{path}: {got:?}");
        }
        // A web page that a browser was lured to cannot reach it, with or without a token.
        let got = Request::get("evil.example", "/api/v1/status")
            .to(address)
            .send()
            .await;
        assert!((400..=499).contains(&got.status), "{got:?}");
    });
}

#[test]
fn sighup_takes_what_can_change_and_names_what_cannot() {
    run(async {
        let lab = Lab::apart(Plan::new(&[("lon1", nearside_tests::places::LONDON)])).await;
        let node = lab.node("lon1");
        node.start().await;
        node.run(&["cluster", "init"]).await.ok();
        nearside_tests::eventually("it serves", nearside_tests::patience(), async || {
            let said = node.run(&["status", "--check", "ready"]).await;
            if said.code == Some(0) {
                Ok(())
            } else {
                Err(said.told())
            }
        })
        .await;
        let text = std::fs::read_to_string(node.config()).unwrap();
        std::fs::write(
            node.config(),
            text.replace("region = \"eu\"", "region = \"mars\""),
        )
        .unwrap();
        node.ask_to_reload();
        nearside_tests::eventually(
            "the log names what cannot change",
            nearside_tests::patience(),
            async || {
                let log = node.log();
                if log.contains("node.region") {
                    Ok(())
                } else {
                    Err(node.log_end(5))
                }
            },
        )
        .await;
        assert!(node.is_running());
        std::fs::write(node.config(), "nonsense = 1").unwrap();
        node.ask_to_reload();
        nearside_tests::eventually(
            "the log says what is wrong",
            nearside_tests::patience(),
            async || {
                let log = node.log();
                if log.contains("nonsense") {
                    Ok(())
                } else {
                    Err(node.log_end(5))
                }
            },
        )
        .await;
        assert!(node.is_running(), "a bad file ended a running node");
    });
}

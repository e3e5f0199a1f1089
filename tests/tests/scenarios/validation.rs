//! Validators, both ways, and what may answer when it is stale.

use std::time::Duration;

use nearside_tests::{Mode, Reply, eventually, patience, run};

use crate::stage::Stage;

#[test]
fn a_client_that_has_it_gets_304() {
    run(async {
        let stage = Stage::new().await;
        let path = "/c/4000/page";
        let tag = stage.fetch(path).await.field("etag").unwrap();
        let got = stage.get(path).field("if-none-match", &tag).send().await;
        assert_eq!((got.status, got.body.len()), (304, 0));
        assert_eq!(got.field("etag").unwrap(), tag);
        let got = stage
            .get(path)
            .field("if-none-match", "\"another\"")
            .send()
            .await;
        assert_eq!(got.content_fault(path), None);
        assert_eq!(stage.origin.asked_for(path), 1);
    });
}

#[test]
fn a_stale_entry_is_asked_about_and_kept_when_unchanged() {
    run(async {
        let stage = Stage::new().await;
        let path = "/short";
        let reply = Reply::content(path, 1, 9000)
            .cache_control("max-age=1")
            .field("etag", "\"v1\"");
        stage.origin.on(path, reply);
        assert!(!stage.fetch(path).await.is_hit());
        eventually(
            "the origin is asked whether it changed",
            patience(),
            async || {
                let got = stage.fetch(path).await;
                let asked = stage.origin.seen(path);
                match asked.iter().find_map(|seen| seen.field("if-none-match")) {
                    Some(tag) if tag == "\"v1\"" => Ok(()),
                    other => Err(format!("{other:?}, {}", got.cache_status())),
                }
            },
        )
        .await;
        assert!(
            stage.fetch(path).await.is_hit(),
            "the 304 made it fresh again"
        );
    });
}

#[test]
fn a_changed_entry_is_replaced() {
    run(async {
        let stage = Stage::new().await;
        let path = "/changing";
        let reply = |version: u64| {
            Reply::content(path, version, 9000)
                .cache_control("max-age=1")
                .field("etag", &format!("\"v{version}\""))
        };
        stage.origin.on(path, reply(1));
        assert_eq!(stage.fetch(path).await.content_version(), Some(1));
        stage.origin.on(path, reply(2));
        eventually(
            "the new version is served",
            patience(),
            async || match stage.fetch(path).await.content_version() {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
    });
}

#[test]
fn a_stale_entry_answers_while_every_origin_is_down() {
    run(async {
        let stage = Stage::with("[cache]\nstale_if_error = \"1d\"\n").await;
        let path = "/fragile";
        stage.origin.on(
            path,
            Reply::content(path, 1, 9000).cache_control("max-age=1"),
        );
        stage.fetch(path).await;
        stage.origin.set_mode(Mode::Refusing);
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(2500) {
            // Fresh at first, then stale: never an error, always the right bytes.
            let got = stage.fetch(path).await;
            assert!(got.cache_status().contains("lon1"), "{got:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let got = stage.get("/c/100/never-seen").send().await;
        assert!((502..=504).contains(&got.status), "{got:?}");
        stage.origin.on(
            path,
            Reply::content(path, 2, 9000).cache_control("max-age=1"),
        );
        stage.origin.set_mode(Mode::Up);
        eventually(
            "the origin is asked again",
            patience(),
            async || match stage.fetch(path).await.content_version() {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
    });
}

#[test]
fn an_entry_that_must_be_revalidated_is_no_answer_for_a_broken_origin() {
    run(async {
        let stage = Stage::with("[cache]\nstale_if_error = \"1d\"\n").await;
        let path = "/strict";
        let reply = Reply::content(path, 1, 100).cache_control("max-age=1, must-revalidate");
        stage.origin.on(path, reply);
        stage.fetch(path).await;
        stage.origin.set_mode(Mode::Refusing);
        eventually("the stale entry is refused", patience(), async || {
            let got = stage.get(path).send().await;
            if (502..=504).contains(&got.status) {
                Ok(())
            } else {
                Err(format!("{} {}", got.status, got.cache_status()))
            }
        })
        .await;
    });
}

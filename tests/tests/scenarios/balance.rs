//! How requests are shared among origins: by load, by a hash, by a cookie, and within what each may have at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nearside_tests::{Got, Lab, Origin, Reply, Request, eventually, patience, run};

use crate::stage::{fresh_name, site_file};

/// A site with these origins on the shared cluster, each of which says its number at `/who`.
struct Site {
    lab: &'static Lab,
    origins: Vec<Arc<Origin>>,
    host: String,
}

impl Site {
    async fn with(count: usize, more: &str) -> Self {
        let lab = Lab::shared().await;
        let mut origins = Vec::new();
        for number in 0..count {
            let origin = Origin::start().await;
            let who = Reply::new(number.to_string());
            origin.on("/who", who.clone().cache_control("private, no-store"));
            origin.on("/shared", who.cache_control("public, max-age=600"));
            origins.push(Arc::new(origin));
        }
        let name = fresh_name();
        let host = format!("{name}.example");
        let urls: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        lab.apply("site", &name, &site_file(&name, &host, &urls, more))
            .await;
        Self { lab, origins, host }
    }

    fn get(&self, node: &str, path: &str) -> Request {
        self.lab.node(node).get(&self.host, path)
    }

    /// What a client with these fields gets at `/who` from a node.
    async fn who(&self, node: &str, fields: &[(&str, &str)]) -> Got {
        let mut request = self.get(node, "/who");
        for (name, value) in fields {
            request = request.field(name, value);
        }
        let got = request.send().await;
        assert_eq!(got.status, 200, "{got:?}");
        got
    }
}

#[test]
fn a_cookie_leads_a_client_to_its_origin_on_every_node() {
    run(async {
        let site = Site::with(3, "[origins]\nsticky_cookie = \"lb\"\n").await;
        let first = site.who("lon1", &[]).await;
        let cookie = first.field("set-cookie").unwrap();
        let pair = cookie.split(';').next().unwrap().to_owned();
        assert!(
            pair.starts_with("lb=") && cookie.contains("HttpOnly"),
            "{cookie}"
        );
        for node in ["lon1", "nyc1", "sin1"].into_iter().cycle().take(12) {
            let again = site.who(node, &[("cookie", &format!("a=1; {pair}"))]).await;
            assert_eq!(again.body, first.body, "{node}");
            assert_eq!(again.field("set-cookie"), None);
        }
        // The origin does not see it.
        let home: usize = String::from_utf8(first.body.to_vec())
            .unwrap()
            .parse()
            .unwrap();
        let seen = site.origins[home].seen("/who");
        assert_eq!(seen.last().unwrap().field("cookie").unwrap(), "a=1");
        // What others may keep carries none, stored or on its way there.
        for _ in 0..2 {
            let shared = site.get("lon1", "/shared").send().await;
            assert_eq!((shared.status, shared.field("set-cookie")), (200, None));
        }
        // When its origin dies the client belongs to another.
        site.origins[home].set_mode(nearside_tests::Mode::Refusing);
        let moved = site.who("lon1", &[("cookie", &pair)]).await;
        assert_ne!(moved.body, first.body);
        assert!(moved.field("set-cookie").is_some());
    });
}

#[test]
fn a_hashed_field_leads_to_one_origin() {
    run(async {
        let more = "[origins]\nbalance = \"hash\"\nhash_by = \"header:X-Tenant\"\n";
        let site = Site::with(3, more).await;
        let mut used = HashSet::new();
        for tenant in 0..12 {
            let tenant = format!("tenant-{tenant}");
            let first = site.who("lon1", &[("x-tenant", &tenant)]).await;
            for node in ["lon1", "nyc1"] {
                let again = site.who(node, &[("x-tenant", &tenant)]).await;
                assert_eq!(again.body, first.body, "{tenant} on {node}");
            }
            used.insert(first.body);
        }
        assert!(used.len() > 1, "all went to one");
    });
}

#[test]
fn an_origin_gets_no_more_at_once_than_it_may_have() {
    run(async {
        let more = "[origins]\nrequests_max = 2\nqueue_max = 2\nqueue_timeout = \"15s\"\n";
        let site = Site::with(1, more).await;
        let origin = Arc::clone(&site.origins[0]);
        // Known to be for one client each: nobody waits for another's.
        site.who("lon1", &[]).await;
        let before = origin.asked();
        origin.set_mode(nearside_tests::Mode::Hanging);
        let asking: Vec<_> = (0..4)
            .map(|_| tokio::spawn(site.get("lon1", "/who").send()))
            .collect();
        eventually("two are at it", patience(), async || {
            match origin.asked() - before {
                2 => Ok(()),
                asked => Err(format!("{asked}")),
            }
        })
        .await;
        let turned = std::sync::Mutex::new(None);
        eventually("the queue is full", patience(), async || {
            let got = site
                .get("lon1", "/who")
                .patience(Duration::from_millis(500))
                .send()
                .await;
            match got.status {
                503 => {
                    *turned.lock().unwrap() = Some(got);
                    Ok(())
                }
                status => Err(format!("{status}")),
            }
        })
        .await;
        assert_eq!(
            turned
                .into_inner()
                .unwrap()
                .unwrap()
                .field("retry-after")
                .unwrap(),
            "1"
        );
        assert_eq!(origin.asked(), before + 2);
        origin.set_mode(nearside_tests::Mode::Up);
        for asked in asking {
            assert_eq!(asked.await.unwrap().status, 200);
        }
    });
}

#[test]
fn a_busy_origin_is_asked_less_than_an_idle_one() {
    run(async {
        let site = Site::with(2, "[origins]\nbalance = \"least_connections\"\n").await;
        let (slow, quick) = (&site.origins[0], &site.origins[1]);
        slow.on(
            "/who",
            Reply::new("0")
                .cache_control("no-store")
                .head_after(Duration::from_secs(8)),
        );
        site.who("lon1", &[]).await;
        // One after the other, until one hangs at the slow origin.
        let before = slow.asked_for("/who");
        let mut hanging = Vec::new();
        while slow.asked_for("/who") == before {
            let mut asked = tokio::spawn(site.get("lon1", "/who").send());
            let quickly = Duration::from_millis(300);
            if tokio::time::timeout(quickly, &mut asked).await.is_err() {
                hanging.push(asked);
            }
        }
        let before = slow.asked_for("/who");
        for _ in 0..15 {
            site.who("lon1", &[]).await;
        }
        assert_eq!(slow.asked_for("/who"), before);
        assert!(quick.asked_for("/who") >= 15);
    });
}

#[test]
fn keys_that_would_do_nothing_are_refused() {
    run(async {
        let lab = Lab::shared().await;
        let node = lab.node("lon1");
        for (more, says) in [
            ("[origins]\nhash_by = \"client\"\n", "hash_by"),
            (
                "[origins]\nbalance = \"hash\"\nhash_by = \"moon\"\n",
                "client",
            ),
            ("[origins]\nsticky_cookie = \"a b\"\n", "sticky_cookie"),
            ("[origins]\nqueue_max = 5\n", "requests_max"),
            ("[origins]\nrequests_max = 0\n", "at least 1"),
        ] {
            let name = fresh_name();
            let text = site_file(&name, "x.example", &["http://127.0.0.1:9"], more);
            lab.apply_on(node, "site", &name, &text)
                .await
                .refused(&[says]);
        }
    });
}

//! `PURGE` requests, as plugins of content systems send them.

use http::Method;
use nearside_tests::{Got, Origin, Reply, Request, Serve, eventually, patience, run};

use crate::stage::Stage;

fn purge(host: &str, path: &str) -> Request {
    Request::new(Method::from_bytes(b"PURGE").unwrap(), host, path)
}

fn json(got: &Got) -> serde_json::Value {
    assert_eq!(got.field("content-type").unwrap(), "application/json");
    assert_eq!(got.field("cache-control").unwrap(), "no-store");
    serde_json::from_slice(&got.body).unwrap()
}

fn pages(origin: &Origin) {
    for (path, tags) in [
        ("/blog/1", "one, blog"),
        ("/blog/2", "blog"),
        ("/", "front"),
    ] {
        let reply = Reply::new(path)
            .cache_control("max-age=600")
            .field("etag", "\"a\"")
            .field("cache-tag", tags);
        origin.on(path, reply);
    }
}

#[test]
fn a_purge_request_from_the_list_is_done_on_every_node() {
    run(async {
        let stage = Stage::with("[cache]\npurge_from = [\"192.0.2.0/24\", \"127.0.0.1\"]\n").await;
        pages(&stage.origin);
        let fill = async || {
            for node in stage.lab.nodes() {
                for path in ["/blog/1", "/blog/2", "/"] {
                    node.get(&stage.host, path).send().await;
                }
            }
        };
        // At the node that was asked at once, at the others as soon as they know.
        let gone = async |paths: &[&str], kept: &[&str]| {
            for node in stage.lab.nodes() {
                for path in paths {
                    eventually("the purge comes there", patience(), async || {
                        let got = node.get(&stage.host, path).send().await;
                        match got.is_hit() {
                            true => Err(format!("{} {path}", node.name)),
                            false => Ok(()),
                        }
                    })
                    .await;
                }
                for path in kept {
                    let got = node.get(&stage.host, path).send().await;
                    assert!(got.is_hit(), "{} {path}", node.name);
                }
            }
            fill().await;
        };
        let node = stage.node();
        let ask = |path| purge(&stage.host, path).to(node.http());
        fill().await;

        let got = ask("/x/../blog/1").send().await;
        assert_eq!(got.status, 200, "{got:?}");
        let said = json(&got);
        let url = format!("{}/blog/1", stage.host);
        assert_eq!(said["purged"][0]["url"], url, "{said}");
        assert!(said["purged"][0]["index"].as_u64() > Some(0) && said["soft"] == false);
        assert!(!node.get(&stage.host, "/blog/1").send().await.is_hit());
        fill().await;
        ask("/blog/1").send().await;
        gone(&["/blog/1"], &["/blog/2", "/"]).await;

        let got = ask("/blog/*").send().await;
        assert_eq!(
            json(&got)["purged"][0]["prefix"],
            format!("{}/blog/", stage.host)
        );
        gone(&["/blog/1", "/blog/2"], &["/"]).await;

        let regex = ask("/.*").field("x-purge-method", "regex").send().await;
        assert_eq!(regex.status, 200, "{regex:?}");
        gone(&["/blog/1", "/blog/2", "/"], &[]).await;

        let tags = ask("/").field("cache-tag", "one, front").send().await;
        assert_eq!(json(&tags)["purged"].as_array().unwrap().len(), 2);
        gone(&["/blog/1", "/"], &["/blog/2"]).await;

        let trusted = ask("/blog/2").from("192.0.2.7".parse().unwrap());
        let got = trusted.field("x-soft-purge", "1").send().await;
        assert_eq!(json(&got)["soft"], true, "{got:?}");
        node.get(&stage.host, "/blog/2").send().await;
        let seen = stage.origin.seen("/blog/2");
        assert!(seen.last().unwrap().field("if-none-match").is_some());

        let got = ask("/(a|b).*")
            .field("x-purge-method", "regex")
            .send()
            .await;
        assert_eq!(got.status, 400, "{got:?}");
        assert!(json(&got)["error"].as_str().unwrap().contains(".*"));
        let all = [
            "/blog/1",
            "/blog/2",
            "/",
            "/blog/*",
            "/.*",
            "/x/../blog/1",
            "/(a|b).*",
        ];
        for seen in all.iter().flat_map(|path| stage.origin.seen(path)) {
            assert_eq!(seen.method, Method::GET, "the origin was asked to purge");
        }
    });
}

#[test]
fn others_may_not_purge_and_the_origin_is_not_asked() {
    run(async {
        let open = Stage::with("[cache]\npurge_from = [\"192.0.2.0/24\"]\n").await;
        let closed = Stage::new().await;
        for (stage, status) in [(&open, 403), (&closed, 405)] {
            pages(&stage.origin);
            stage.get("/").send().await;
            // What a client says of its way is not believed but from a trusted proxy.
            let got = purge(&stage.host, "/")
                .to(stage.node().http())
                .source("127.0.0.9".parse().unwrap())
                .from("192.0.2.7".parse().unwrap())
                .send()
                .await;
            assert_eq!(got.status, status, "{got:?}");
            assert!(json(&got)["error"].is_string());
            assert_eq!(got.field("allow").is_some(), status == 405);
            assert!(stage.get("/").send().await.is_hit());
            assert!(
                stage
                    .origin
                    .seen("/")
                    .iter()
                    .all(|seen| seen.method == Method::GET)
            );
        }
    });
}

#[test]
fn serve_takes_purge_requests_too() {
    run(async {
        let origin = Origin::start().await;
        pages(&origin);
        let settings = "[cache]\npurge_from = [\"127.0.0.1\"]\n";
        let serve = Serve::site(&origin.url(), settings, &[]).await;
        serve.get("/blog/1").send().await;
        assert!(serve.get("/blog/1").send().await.is_hit());
        let host = "app.example";
        let got = purge(host, "/blog/1").to(serve.address).send().await;
        assert_eq!(got.status, 200, "{got:?}");
        assert!(!serve.get("/blog/1").send().await.is_hit());
        assert!(serve.get("/blog/1").send().await.is_hit());
        let got = purge(host, "/").to(serve.address).field("xkey", "blog");
        assert_eq!(got.send().await.status, 200);
        assert!(!serve.get("/blog/1").send().await.is_hit());
    });
}

//! Which origin answers a miss, and what clients notice when one does not: nothing.

use std::time::Duration;

use nearside_tests::{Lab, Load, Mode, Origin, Reply, eventually, patience, run};

use crate::stage::{Stage, fresh_name};

/// Two origins far apart, checked twice a second.
async fn two_origins() -> (&'static Lab, Origin, Origin, String) {
    let lab = Lab::shared().await;
    let (europe, america) = (Origin::start().await, Origin::start().await);
    for origin in [&europe, &america] {
        origin.on("/healthz", Reply::new("ok"));
    }
    let name = fresh_name();
    let host = format!("{name}.example");
    let text = format!(
        "name = \"{name}\"\nhosts = [\"{host}\"]\n\
         [[origin]]\nurl = \"{}\"\nregion = \"eu\"\nlatitude = 50.1\nlongitude = 8.7\n\
         [[origin]]\nurl = \"{}\"\nregion = \"us\"\nlatitude = 40.7\nlongitude = -74.0\n\
         [origins]\nconnect_timeout = \"1s\"\nresponse_timeout = \"2s\"\n\
         health = {{ path = \"/healthz\", interval = \"500ms\", timeout = \"500ms\", fall = 2, rise = 2 }}\n",
        europe.url(),
        america.url(),
    );
    lab.apply("site", &name, &text).await;
    (lab, europe, america, host)
}

#[test]
fn each_node_asks_its_nearest_healthy_origin() {
    run(async {
        let (lab, europe, america, host) = two_origins().await;
        eventually(
            "every node asks the origin that is near",
            patience(),
            async || {
                for (node, near) in [("lon1", &europe), ("nyc1", &america)] {
                    let path = format!("/c/100/{}", rand::random::<u32>());
                    lab.node(node).fetch(&host, &path).await;
                    if near.asked_for(&path) != 1 {
                        return Err(format!("{node} asked the far one"));
                    }
                }
                Ok(())
            },
        )
        .await;
    });
}

#[test]
fn an_origin_dies_and_no_client_notices() {
    run(async {
        let (lab, europe, america, host) = two_origins().await;
        let paths: Vec<String> = (0..2000).map(|n| format!("/c/2000/{n}")).collect();
        let targets: Vec<_> = lab.nodes().iter().map(|node| node.http()).collect();
        let load = Load::start(6, &targets, &host, &paths, Duration::from_millis(5));
        let asked = async |origin: &Origin| {
            let before = origin.asked();
            eventually("it is asked", patience(), async || {
                if origin.asked() > before + 20 {
                    Ok(())
                } else {
                    Err("no".to_owned())
                }
            })
            .await;
        };
        asked(&europe).await;
        europe.set_mode(Mode::Refusing);
        tokio::time::sleep(Duration::from_secs(2)).await;
        asked(&america).await;
        europe.set_mode(Mode::Up);
        eventually(
            "the origin that came back is used again",
            patience(),
            async || {
                let seen = europe.seen("/healthz").len();
                let path = format!("/c/100/{}", rand::random::<u32>());
                lab.node("lon1").fetch(&host, &path).await;
                match europe.asked_for(&path) {
                    0 => Err(format!("{seen} checks so far")),
                    _ => Ok(()),
                }
            },
        )
        .await;
        let tally = load.stop().await;
        assert_eq!((tally.failed, tally.wrong), (0, 0), "{tally:?}");
        assert!(tally.sound > 100, "{tally:?}");
    });
}

#[test]
fn an_origin_hangs_and_the_next_one_answers() {
    run(async {
        let (lab, europe, _america, host) = two_origins().await;
        let node = lab.node("lon1");
        node.fetch(&host, "/c/100/before").await;
        europe.set_mode(Mode::Hanging);
        let got = node.fetch(&host, "/c/100/while").await;
        assert!(got.took < Duration::from_secs(6), "{:?}", got.took);
        eventually("it is no longer waited for", patience(), async || {
            let path = format!("/c/100/{}", rand::random::<u32>());
            let got = node.fetch(&host, &path).await;
            if got.took < Duration::from_millis(500) {
                Ok(())
            } else {
                Err(format!("{:?}", got.took))
            }
        })
        .await;
    });
}

#[test]
fn an_unsafe_request_is_not_sent_twice() {
    run(async {
        let (lab, europe, america, host) = two_origins().await;
        // It read the request and broke off: whether it acted on it nobody knows.
        for origin in [&europe, &america] {
            origin.script("/order", |_| {
                Reply::new(vec![0; 1000])
                    .head_after(Duration::from_millis(10))
                    .status(200)
                    .break_after(0)
            });
        }
        let request = nearside_tests::Request::new(http::Method::POST, &host, "/order");
        let got = request.to(lab.node("lon1").http()).body("one").send().await;
        assert!(got.broken.is_some() || got.status >= 500, "{got:?}");
        let orders = europe.asked_for("/order") + america.asked_for("/order");
        assert_eq!(orders, 1);
    });
}

#[test]
fn no_response_of_ours_names_an_origin() {
    run(async {
        let stage = Stage::new().await;
        let (address, port) = (
            stage.origin.address.to_string(),
            stage.origin.address.port(),
        );
        let check = |got: &nearside_tests::Got| {
            let text = format!("{:?} {}", got.headers, String::from_utf8_lossy(&got.body));
            assert!(
                !text.contains(&address) && !text.contains(&format!(":{port}")),
                "{text}"
            );
        };
        check(&stage.get("/c/100/good").send().await);
        stage.origin.on("/broken", Reply::new("x").break_after(0));
        check(&stage.get("/broken").send().await);
        stage.origin.set_mode(Mode::Refusing);
        let got = stage.get("/c/100/dead").send().await;
        assert!((502..=504).contains(&got.status), "{got:?}");
        assert!(got.body.len() < 4096, "an error page of ours is small");
        check(&got);
    });
}

#[test]
fn no_origin_may_be_link_local_or_our_own_listener() {
    run(async {
        let lab = Lab::shared().await;
        let node = lab.node("lon1");
        let site = |url: &str| {
            let name = fresh_name();
            let text = crate::stage::site_file(&name, &format!("{name}.example"), &[url], "");
            (name, text)
        };
        for url in ["http://169.254.169.254", "http://[fe80::1]:80"] {
            let (name, text) = site(url);
            lab.apply_on(node, "site", &name, &text).await.refused(&[]);
        }
        // Our own listener is refused when the site is applied, or at the latest when a request would go there.
        let (name, text) = site(&format!("http://{}", node.http()));
        if lab.apply_on(node, "site", &name, &text).await.code == Some(0) {
            let got = node.get(&format!("{name}.example"), "/").send().await;
            assert!((500..=599).contains(&got.status), "{got:?}");
            assert!(
                got.took < Duration::from_secs(5),
                "it went round in a circle: {:?}",
                got.took
            );
            node.run(&["site", "remove", &name]).await.ok();
        }
    });
}

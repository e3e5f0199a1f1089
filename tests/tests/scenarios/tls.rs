//! TLS on both sides: who we are to clients, and whom we believe behind us.

use nearside_tests::{Authority, Lab, Origin, Reply, Request, run};
use tokio::sync::OnceCell;

use crate::stage::{fresh_name, site_file};

/// The shared cluster has certificates for these hosts; they belong to one site each, applied once.
async fn secure() -> (&'static Lab, &'static Origin) {
    static ORIGIN: OnceCell<Origin> = OnceCell::const_new();
    let lab = Lab::shared().await;
    let origin = ORIGIN
        .get_or_init(|| async {
            let origin = Origin::start().await;
            let text = format!(
                "name = \"web\"\nhosts = [\"web.example\", \"www.web.example\"]\n[[origin]]\nurl = \"{}\"\n",
                origin.url()
            );
            lab.apply("site", "web", &text).await;
            lab.apply("site", "other", &site_file("other", "other.example", &[&origin.url()], "")).await;
            origin
        })
        .await;
    (lab, origin)
}

fn get(lab: &Lab, host: &str, path: &str) -> Request {
    Request::get(host, path).to(lab.node("lon1").https())
}

#[test]
fn http2_and_http1_over_tls_choose_the_certificate_by_sni() {
    run(async {
        let (lab, _) = secure().await;
        for host in ["web.example", "www.web.example", "other.example"] {
            let path = "/c/5000/secure";
            let got = get(lab, host, path)
                .h2(&lab.authority)
                .send()
                .await
                .sound(path);
            assert_eq!(got.version, http::Version::HTTP_2);
            let got = get(lab, host, path)
                .tls(&lab.authority)
                .send()
                .await
                .sound(path);
            assert_eq!(got.version, http::Version::HTTP_11);
            assert!(got.is_hit(), "{}", got.cache_status());
        }
    });
}

#[test]
fn a_host_that_does_not_belong_to_the_sni_is_misdirected() {
    run(async {
        let (lab, _) = secure().await;
        let path = "/c/100/x";
        let got = get(lab, "other.example", path)
            .h2(&lab.authority)
            .server_name("web.example")
            .send()
            .await;
        assert_eq!(got.status, 421, "{got:?}");
        // Two names of one site share a connection.
        let got = get(lab, "www.web.example", path)
            .h2(&lab.authority)
            .server_name("web.example")
            .send()
            .await;
        got.sound(path);
    });
}

#[test]
fn a_large_body_comes_whole_over_http2() {
    run(async {
        let (lab, _) = secure().await;
        let path = "/c/5000000/large";
        for _ in 0..2 {
            let got = get(lab, "web.example", path)
                .h2(&lab.authority)
                .send()
                .await;
            got.sound(path);
        }
    });
}

#[test]
fn an_origin_is_believed_only_with_the_right_certificate() {
    run(async {
        let lab = Lab::shared().await;
        let (good, bad) = (Authority::new(), Authority::new());
        let name = fresh_name();
        let host = format!("{name}.example");
        let right = Origin::start_tls(&good, &[&host]).await;
        let forged = Origin::start_tls(&bad, &[&host]).await;
        let misnamed = Origin::start_tls(&good, &["elsewhere.example"]).await;
        for origin in [&right, &forged, &misnamed] {
            origin.on("/x", Reply::new("truth").cache_control("no-store"));
        }
        let trust = format!(
            "[origins]\nhost = \"client\"\ntls = {{ ca = '''\n{}''' }}\n",
            good.pem()
        );
        let node = lab.node("lon1");
        for (origin, believed) in [(&right, true), (&forged, false), (&misnamed, false)] {
            lab.apply(
                "site",
                &name,
                &site_file(&name, &host, &[&origin.url()], &trust),
            )
            .await;
            nearside_tests::eventually("the verdict", nearside_tests::patience(), async || {
                let got = node.get(&host, "/x").send().await;
                match (got.status == 200, got.status >= 500) == (believed, !believed) {
                    true => Ok(()),
                    false => Err(format!("{got:?}")),
                }
            })
            .await;
        }
        let seen = &right.seen("/x")[0];
        assert_eq!(
            seen.server_name.as_deref(),
            Some(&*host),
            "SNI is the client's host"
        );
        assert_eq!(seen.field("host").as_deref(), Some(&*host));
        assert_eq!(
            forged.asked() + misnamed.asked(),
            0,
            "a request reached a stranger"
        );
    });
}

#[test]
fn sni_and_host_towards_an_origin_are_what_the_site_says() {
    run(async {
        let lab = Lab::shared().await;
        let authority = Authority::new();
        let name = fresh_name();
        let host = format!("{name}.example");
        let origin = Origin::start_tls(&authority, &["inner.example"]).await;
        origin.on("/x", Reply::new("truth").cache_control("no-store"));
        let more = format!(
            "[origins]\nhost = \"inner.example\"\ntls = {{ ca = '''\n{}''' }}\n",
            authority.pem()
        );
        lab.apply(
            "site",
            &name,
            &site_file(&name, &host, &[&origin.url()], &more),
        )
        .await;
        let got = lab.node("lon1").get(&host, "/x").send().await;
        assert_eq!(got.status, 200, "{got:?}");
        let seen = &origin.seen("/x")[0];
        assert_eq!(seen.field("host").as_deref(), Some("inner.example"));
        assert_eq!(seen.server_name.as_deref(), Some("inner.example"));
    });
}

#[test]
fn plain_http_is_redirected_where_the_site_says_so() {
    run(async {
        let stage = crate::stage::Stage::with("[tls]\nredirect_http = true\n").await;
        let got = stage.get("/a?b=c").send().await;
        assert!([301, 308].contains(&got.status), "{got:?}");
        // Not 443, so the port is said.
        let port = stage.node().https().port();
        let location = format!("https://{}:{port}/a?b=c", stage.host);
        assert_eq!(got.field("location").unwrap(), location);
    });
}

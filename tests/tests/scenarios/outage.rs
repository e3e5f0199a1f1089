//! What clients get while an origin is broken: what is stored, for as long as it may be (RFC 5861 §4).

use nearside_tests::{Got, Mode, Origin, Reply, Serve, eventually, patience, run};

/// A node before one origin that answers in time or is given up after a second, with something stored and stale.
struct Outage {
    origin: Origin,
    serve: Serve,
    _file: tempfile::NamedTempFile,
}

impl Outage {
    async fn of(url: impl Fn(&Origin) -> String) -> Self {
        let origin = Origin::start().await;
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "name = \"app\"\nhosts = [\"app.example\"]\n[[origin]]\nurl = \"{}\"\n\
             connect_timeout = \"1s\"\nresponse_timeout = \"1s\"\n",
            url(&origin)
        );
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let serve = Serve::start(&[], &["--site", &path]).await;
        let page = Reply::new("page").cache_control("max-age=1, stale-if-error=600");
        origin.on("/page", page);
        origin.on("/fresh", Reply::new("x").cache_control("no-store"));
        let outage = Self {
            origin,
            serve,
            _file: file,
        };
        let got = outage.get().await;
        assert_eq!((got.status, &got.body[..]), (200, &b"page"[..]), "{got:?}");
        outage
    }

    async fn get(&self) -> Got {
        self.serve.get("/page").send().await
    }

    /// The stale page is sent, and what is not stored is an error with `status`.
    async fn covers(&self, status: u16) {
        eventually(
            "it is stale and covers the origin",
            patience(),
            async || {
                let got = self.get().await;
                assert_eq!((got.status, &got.body[..]), (200, &b"page"[..]), "{got:?}");
                let said = got.cache_status();
                let age: u64 = got.field("age").map_or(0, |age| age.parse().unwrap());
                // Stale, and the origin was asked for it: RFC 9211 has no word for why it was sent all the same.
                match said.contains("fwd=stale") && age >= 1 {
                    true => Ok(()),
                    false => Err(said),
                }
            },
        )
        .await;
        let got = self.serve.get("/fresh").send().await;
        assert_eq!(got.status, status, "{got:?}");
    }
}

fn direct(origin: &Origin) -> String {
    origin.url()
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_covered() {
    run(async {
        let outage = Outage::of(direct).await;
        outage.origin.set_mode(Mode::Hanging);
        outage.covers(504).await;
    });
}

#[test]
fn an_origin_that_refuses_connections_is_covered() {
    run(async {
        let outage = Outage::of(direct).await;
        outage.origin.set_mode(Mode::Refusing);
        outage.covers(502).await;
    });
}

#[test]
fn an_origin_that_breaks_connections_is_covered() {
    run(async {
        let outage = Outage::of(direct).await;
        // It reads the request and closes without a word.
        for path in ["/page", "/fresh"] {
            outage.origin.on(path, Reply::new("").reset());
        }
        outage.covers(502).await;
    });
}

#[test]
fn a_head_that_comes_and_content_that_does_not_is_covered() {
    run(async {
        let outage = Outage::of(direct).await;
        outage.origin.on(
            "/page",
            Reply::new("new!")
                .cache_control("max-age=60")
                .break_after(0),
        );
        outage.origin.on("/fresh", Reply::new("").reset());
        outage.covers(502).await;
    });
}

#[test]
fn an_origin_whose_statuses_say_that_it_is_broken_is_covered() {
    run(async {
        for status in [500, 502, 503, 504] {
            let outage = Outage::of(direct).await;
            for path in ["/page", "/fresh"] {
                outage.origin.on(path, Reply::new("oh").status(status));
            }
            outage.covers(status).await;
        }
    });
}

#[test]
fn a_word_against_stale_answers_counts_more_than_an_outage() {
    run(async {
        let outage = Outage::of(direct).await;
        let strict = Reply::new("page").cache_control("max-age=1, must-revalidate");
        outage.origin.on("/strict", strict);
        let ask = async || outage.serve.get("/strict").send().await;
        assert_eq!(ask().await.status, 200);
        outage.origin.set_mode(Mode::Refusing);
        eventually(
            "it is stale, and not sent",
            patience(),
            async || match ask().await.status {
                504 => Ok(()),
                status => Err(status.to_string()),
            },
        )
        .await;
    });
}

#[test]
fn an_origin_whose_name_does_not_resolve_is_covered() {
    run(async {
        let stage = crate::stage::Stage::new().await;
        let page = Reply::new("page").cache_control("max-age=1, stale-if-error=600");
        stage.origin.on("/page", page);
        assert_eq!(stage.get("/page").send().await.status, 200);
        let (name, host) = (&stage.site, &stage.host);
        let nowhere = crate::stage::site_file(name, host, &["http://nowhere.invalid:81"], "");
        stage.lab.apply("site", name, &nowhere).await;
        eventually(
            "it is stale and covers the origin",
            patience(),
            async || {
                let got = stage.get("/page").send().await;
                match (got.status, got.cache_status().contains("fwd=stale")) {
                    (200, true) => Ok(()),
                    (200, false) => Err(got.cache_status()),
                    (status, _) => panic!("{status}: {got:?}"),
                }
            },
        )
        .await;
        let got = stage.get("/other").send().await;
        assert_eq!(got.status, 502, "{got:?}");
    });
}

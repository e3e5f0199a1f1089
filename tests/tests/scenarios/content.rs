//! What a site's file makes of content, through a real `nearside serve --site FILE`.

use std::io::{Read as _, Write as _};

use http::Method;
use nearside_tests::{
    Got, Mode, Origin, Reply, Request, Serve, eventually, patience, run, run_program,
};

/// A serve that runs a site of one origin.
struct Site {
    origin: Origin,
    serve: Serve,
    secrets: tempfile::TempDir,
    _file: tempfile::NamedTempFile,
}

/// A site's file: name, host and origin, and what follows them.
fn file(origin: &Origin, settings: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let head = "name = \"shop\"\nhosts = [\"app.example\"]\n";
    let url = origin.url();
    write!(file, "{head}[[origin]]\nurl = \"{url}\"\n{settings}").unwrap();
    file
}

impl Site {
    async fn start(settings: &str) -> Self {
        Self::with_secrets(settings, &[]).await
    }

    async fn with_secrets(settings: &str, secrets: &[(&str, &str)]) -> Self {
        let origin = Origin::start().await;
        let file = file(&origin, settings);
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in secrets {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let path = file.path().display().to_string();
        let dir = folder.path().display().to_string();
        let serve = Serve::start(&[], &["--site", &path, "--secrets", &dir]).await;
        Self {
            origin,
            serve,
            secrets: folder,
            _file: file,
        }
    }

    async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Got {
        self.ask(Method::GET, path, fields).await
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Got {
        let request = Request::new(method, "app.example", path).to(self.serve.address);
        let fields = fields.iter();
        let request = fields.fold(request, |request, (name, value)| request.field(name, value));
        request.send().await
    }
}

/// A body as its reader sees it.
fn decoded(got: &Got) -> String {
    let bytes = &got.body[..];
    let mut out = Vec::new();
    match got.field("content-encoding").as_deref() {
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        Some("br") => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        Some("zstd") => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut out),
        Some(other) => panic!("{other}"),
        None => (&mut &bytes[..]).read_to_end(&mut out),
    }
    .unwrap();
    String::from_utf8(out).unwrap()
}

fn page() -> String {
    "<p>the same words over and over</p>\n".repeat(200)
}

fn html() -> Reply {
    Reply::new(page())
        .field("content-type", "text/html")
        .field("etag", "\"v1\"")
        .cache_control("max-age=600")
}

#[test]
fn every_coding_is_made_once_and_served_from_the_cache() {
    run(async {
        let site = Site::start("[compression]\nlevels = { br = 9 }\n").await;
        site.origin.on("/page", html());
        site.origin.on(
            "/slow",
            html()
                .in_pieces(5, std::time::Duration::from_millis(5))
                .chunked(),
        );
        for path in ["/page", "/slow"] {
            for (accepted, coding) in [
                ("gzip, deflate, br, zstd", Some("zstd")),
                ("gzip, deflate, br", Some("br")),
                ("gzip;q=0.5, br;q=0.1", Some("gzip")),
                ("zstd;q=0", None),
            ] {
                let fields = [("accept-encoding", accepted)];
                for _ in 0..2 {
                    let got = site.get(path, &fields).await;
                    assert_eq!(
                        got.field("content-encoding").as_deref(),
                        coding,
                        "{accepted}"
                    );
                    assert_eq!(got.field("vary").as_deref(), Some("Accept-Encoding"));
                    assert_eq!(decoded(&got), page());
                }
                let got = site.get(path, &fields).await;
                assert!(got.is_hit(), "{}", got.cache_status());
                let length = got.body.len().to_string();
                assert_eq!(got.field("content-length"), Some(length), "{accepted}");
                let tag = got.field("etag").unwrap();
                assert_eq!(
                    tag,
                    if coding.is_some() {
                        "W/\"v1\""
                    } else {
                        "\"v1\""
                    }
                );
                let again = [("accept-encoding", accepted), ("if-none-match", &tag)];
                assert_eq!(site.get(path, &again).await.status, 304);
                let head = site.ask(Method::HEAD, path, &fields).await;
                for name in ["content-encoding", "content-length", "etag", "vary"] {
                    assert_eq!(head.field(name), got.field(name), "{accepted} {name}");
                }
            }
            assert_eq!(site.origin.asked_for(path), 1);
        }
    });
}

#[test]
fn a_rule_says_what_is_compressed() {
    run(async {
        let site = Site::start(
            "[compression]\ncodings = [\"gzip\"]\nmin_size = \"1 kB\"\ntypes = [\"text/*\"]\n\
             [[rule]]\nmatch = { path = \"/raw/*\" }\ncompression = false\n\
             [[rule]]\nmatch = { content_type = \"text/csv\" }\ncompression = [\"br\"]\n",
        )
        .await;
        let of = |kind: &str| {
            Reply::new(page())
                .field("content-type", kind)
                .cache_control("max-age=600")
        };
        let small = Reply::new("a".repeat(999)).field("content-type", "text/html");
        for (path, reply, coding) in [
            ("/page", of("text/html"), Some("gzip")),
            ("/raw/page", of("text/html"), None),
            ("/table", of("text/csv"), Some("br")),
            ("/data", of("application/json"), None),
            ("/small", small.cache_control("max-age=600"), None),
            ("/ours", of("text/html").cache_control("no-transform"), None),
        ] {
            site.origin.on(path, reply);
            for _ in 0..2 {
                let got = site.get(path, &[("accept-encoding", "gzip, br")]).await;
                assert_eq!(got.field("content-encoding").as_deref(), coding, "{path}");
            }
        }
    });
}

#[test]
fn a_site_changes_fields_paths_and_errors() {
    run(async {
        let site = Site::start(
            r#"[headers.client]
set = { X-Frame-Options = "DENY" }
remove = ["Server"]
[headers.origin]
set = { X-Edge-Auth = "letmein" }
[error_pages]
"502-504" = { body = "<h1>soon {request_id}</h1>" }
[[rule]]
match = { path = "/old/*" }
redirect = { from = "^/old/(.*)$", to = "https://new.example/$1", status = 308 }
[[rule]]
match = { path = "/app/*" }
rewrite = { strip_prefix = "/app" }
"#,
        )
        .await;
        site.origin.on("/page", html().field("server", "old"));
        for _ in 0..2 {
            let got = site.get("/app/page", &[]).await;
            assert_eq!((got.status, decoded(&got)), (200, page()));
            assert_eq!(got.field("x-frame-options").as_deref(), Some("DENY"));
            assert_eq!(got.field("server"), None);
        }
        let seen = site.origin.seen("/page");
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].field("x-edge-auth").as_deref(), Some("letmein"));
        let got = site.get("/old/a?b=c", &[]).await;
        assert_eq!(got.status, 308);
        let location = got.field("location");
        assert_eq!(location.as_deref(), Some("https://new.example/a?b=c"));
        site.origin.set_mode(Mode::Refusing);
        let got = site.get("/elsewhere", &[]).await;
        assert_eq!(got.status, 502);
        let text = decoded(&got);
        assert!(text.starts_with("<h1>soon "), "{text}");
        assert_eq!(
            got.field("content-type").as_deref(),
            Some("text/html; charset=utf-8")
        );
    });
}

#[test]
fn what_a_site_may_not_change_is_refused_with_its_line() {
    run(async {
        let origin = Origin::start().await;
        for (settings, words) in [
            (
                "[headers.client.set]\nTransfer-Encoding = \"gzip\"\n",
                &[":6: ", "transfer-encoding frames the message"],
            ),
            (
                "[[rule]]\nredirect = { from = \"^/(.*)\", to = \"https://$1\" }\n",
                &[":6: ", "choose the host"],
            ),
        ] {
            let file = file(&origin, settings);
            let path = file.path().display().to_string();
            run_program(&["site", "check", &path]).await.refused(words);
        }
    });
}

#[test]
fn a_signed_url_opens_what_a_site_keeps_closed() {
    run(async {
        let site = Site::with_secrets(
            "[auth.signed]\nkeys = { k1 = \"url-key\" }\n[[rule]]\nmatch = { path = \"/page\" }\nauth = \"signed\"\n",
            &[("url-key", "a key of more than sixteen bytes\n")],
        )
        .await;
        site.origin.on("/page", html());
        assert_eq!(site.get("/page", &[]).await.status, 403);
        let file = site.secrets.path().join("url-key").display().to_string();
        let sign = async |url: &str, lasting: &str| {
            let said = run_program(&[
                "sign",
                url,
                "--key",
                "k1",
                "--key-file",
                &file,
                "--for",
                lasting,
            ])
            .await
            .ok();
            let url = said.stdout.trim().to_owned();
            url.strip_prefix("http://app.example").unwrap().to_owned()
        };
        let path = sign("http://app.example/page", "1h").await;
        for _ in 0..2 {
            let got = site.get(&path, &[]).await;
            assert_eq!((got.status, decoded(&got)), (200, page()), "{path}");
        }
        assert_eq!(site.origin.asked_for("/page"), 1);
        let late = sign("http://app.example/page", "0s").await;
        let other = sign("http://app.example/other", "1h")
            .await
            .replace("/other", "/page");
        for path in [late, other, path.replace("ns-sig=", "ns-sig=x")] {
            assert_eq!(site.get(&path, &[]).await.status, 403, "{path}");
        }
    });
}

#[test]
fn users_are_asked_for_their_passwords() {
    run(async {
        // The password is "secret".
        let users = "ann:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        let site = Site::with_secrets(
            "[auth]\nrequire = \"basic\"\n[auth.basic]\nrealm = \"staging\"\nusers = \"users\"\n\
             [protect]\ndeception = \"refuse\"\n",
            &[("users", users)],
        )
        .await;
        site.origin.on("/page", html());
        site.origin.on("/page/x.css", html());
        let got = site.get("/page", &[]).await;
        assert_eq!(got.status, 401);
        let challenge = got.field("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Basic realm=\"staging\""),
            "{challenge}"
        );
        // ann:secret, then ann:guess
        let right = [("authorization", "Basic YW5uOnNlY3JldA==")];
        let wrong = [("authorization", "Basic YW5uOmd1ZXNz")];
        for _ in 0..2 {
            assert_eq!(decoded(&site.get("/page", &right).await), page());
            assert_eq!(site.get("/page", &wrong).await.status, 401);
        }
        let seen = site.origin.seen("/page");
        assert_eq!((seen.len(), seen[0].field("authorization")), (1, None));
        for _ in 0..2 {
            let got = site.get("/page/x.css", &right).await;
            assert!(
                got.cache_status().ends_with("detail=deception"),
                "{}",
                got.cache_status()
            );
        }
    });
}

#[test]
fn a_server_decides_who_comes_in() {
    run(async {
        let server = Origin::start().await;
        server.script("/check", |seen| match seen.field("cookie").as_deref() {
            Some("user=ann") => Reply::new("").field("x-user", "ann"),
            _ => Reply::new("who are you?")
                .status(401)
                .field("www-authenticate", "Cookie"),
        });
        let settings = format!(
            "[auth]\nrequire = \"forward\"\n[auth.forward]\nurl = \"{}/check\"\ncopy = \"X-User\"\n",
            server.url()
        );
        let site = Site::start(&settings).await;
        site.origin.script("/page", |seen| {
            Reply::new(seen.field("x-user").unwrap_or_default()).cache_control("max-age=600")
        });
        let ann = [("cookie", "user=ann"), ("x-user", "root")];
        for _ in 0..2 {
            let got = site.get("/page", &ann).await;
            assert_eq!((got.status, decoded(&got)), (200, "ann".to_owned()));
        }
        assert_eq!(site.origin.asked_for("/page"), 1);
        let got = site.get("/page", &[]).await;
        assert_eq!(
            (got.status, decoded(&got)),
            (401, "who are you?".to_owned())
        );
        server.set_mode(Mode::Refusing);
        assert_eq!(site.get("/page", &ann).await.status, 503);
    });
}

#[test]
fn explain_names_the_rule_that_sends_a_client_elsewhere() {
    run(async {
        let site = Site::start(
            "[[rule]]\nmatch = { path = \"/old\" }\nredirect = { to = \"/new\" }\n\
             [[rule]]\nmatch = { path = \"/app/*\" }\nrewrite = { strip_prefix = \"/app\" }\nheaders = { client = { set = { X-A = \"1\" } } }\n",
        )
        .await;
        let socket = format!("unix:{}", site.serve.data().join("admin.sock").display());
        let explain = async |path: &str| {
            let url = format!("http://app.example{path}");
            // The admin socket may come a moment later than the listener.
            eventually("the node explains", patience(), async || {
                let said = run_program(&["explain", &url, "--admin", &socket]).await;
                match said.code {
                    Some(0) => Ok(said.stdout),
                    _ => Err(said.told()),
                }
            })
            .await
        };
        let told = explain("/old").await;
        assert!(
            told.contains("redirect") && told.contains("302 /new"),
            "{told}"
        );
        let told = explain("/app/x").await;
        for word in ["rewrite", "/app/ to /", "headers.client", "set x-a"] {
            assert!(told.contains(word), "{word} in {told}");
        }
    });
}

//! Ranges, parts of objects and how they are completed, through the program itself.

use http::Method;
use nearside_tests::{Got, Origin, Reply, Request, Serve, content, eventually, patience, run};

/// An origin that serves `path` in ranges, as version `version`, with a strong tag.
fn ranged(origin: &Origin, path: &'static str, version: u64, length: usize) {
    origin.script(path, move |seen| {
        let tag = format!("\"v{version}\"");
        let whole = content(path, version, length);
        let same = seen.field("if-range").is_none_or(|asked| asked == tag);
        let range = seen
            .field("range")
            .filter(|_| same)
            .and_then(|range| bytes_of(&range, length));
        let reply = match range {
            None => Reply::content(path, version, length),
            Some((first, last)) => Reply::new(whole.slice(first..=last))
                .status(206)
                .field("content-range", &format!("bytes {first}-{last}/{length}")),
        };
        reply
            .cache_control("public, max-age=600")
            .field("etag", &tag)
            .field("accept-ranges", "bytes")
    });
}

fn bytes_of(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => Some((first, last.min(length - 1))),
        (Ok(first), Err(_)) => Some((first, length - 1)),
        (Err(_), Ok(count)) => Some((length.saturating_sub(count), length - 1)),
        _ => None,
    }
}

async fn range(serve: &Serve, path: &str, range: &str) -> Got {
    serve.get(path).field("range", range).send().await
}

#[test]
fn ranges_of_every_kind_come_from_the_stored_object() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let path = "/c/10000/film";
        let whole = serve.get(path).send().await.sound(path).body;
        for (asked, bytes, said) in [
            ("bytes=0-99", 0..100, "bytes 0-99/10000"),
            ("bytes=9990-", 9990..10_000, "bytes 9990-9999/10000"),
            ("bytes=-1", 9999..10_000, "bytes 9999-9999/10000"),
            (
                "bytes=5-99999999999999999999",
                5..10_000,
                "bytes 5-9999/10000",
            ),
            ("bytes=7-7,10000-", 7..8, "bytes 7-7/10000"),
        ] {
            let got = range(&serve, path, asked).await;
            assert_eq!(
                (got.status, got.field("content-range").as_deref()),
                (206, Some(said))
            );
            assert_eq!(got.body, whole.slice(bytes), "{asked}");
        }
        let several = range(&serve, path, "bytes=-2, 0-1").await;
        let kind = several.field("content-type").unwrap();
        assert!(
            kind.starts_with("multipart/byteranges; boundary="),
            "{kind}"
        );
        assert_eq!(several.status, 206);
        for asked in ["bytes=10000-", "bytes=-0"] {
            let got = range(&serve, path, asked).await;
            assert_eq!(got.status, 416);
            assert_eq!(got.field("content-range").unwrap(), "bytes */10000");
        }
        let bomb = format!("bytes=0-{}", ",0-".repeat(500));
        for ignored in ["lines=0-1", "bytes=5-2", "bytes=x", "bytes=0-5,3-9", &bomb] {
            range(&serve, path, ignored).await.sound(path);
        }
        let tag = serve.get(path).send().await.field("etag").unwrap();
        let conditional = |name: &'static str, value: String| {
            let request = serve.get(path).field("range", "bytes=0-1");
            request.field(name, &value).send()
        };
        assert_eq!(conditional("if-range", tag.clone()).await.status, 206);
        assert_eq!(
            conditional("if-range", format!("W/{tag}")).await.status,
            200
        );
        assert_eq!(
            conditional("if-range", "\"other\"".to_owned()).await.status,
            200
        );
        assert_eq!(conditional("if-none-match", tag).await.status, 304);
        let head = Request::new(Method::HEAD, "app.example", path);
        let got = head
            .field("range", "bytes=0-1")
            .to(serve.address)
            .send()
            .await;
        assert_eq!(
            (got.status, got.field("content-length").unwrap()),
            (200, "10000".to_owned())
        );
        let seen = origin.seen(path);
        assert_eq!(seen.len(), 1, "{seen:#?}");
    });
}

#[test]
fn what_is_stored_in_part_is_completed_and_not_fetched_again() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let (path, length) = ("/film", 3_000_000);
        ranged(&origin, path, 1, length);
        let whole = content(path, 1, length);
        let got = range(&serve, path, "bytes=2000000-2999999").await;
        assert_eq!((got.status, got.body), (206, whole.slice(2_000_000..)));
        eventually("the part answers", patience(), async || {
            let got = range(&serve, path, "bytes=2500000-2500009").await;
            assert_eq!(got.body, whole.slice(2_500_000..2_500_010));
            if got.is_hit() {
                Ok(())
            } else {
                Err(got.cache_status())
            }
        })
        .await;
        let got = serve.get(path).send().await;
        assert_eq!((got.status, got.body.len()), (200, length));
        assert_eq!(got.body, whole);
        assert!(got.cache_status().contains("fwd-status=206"), "{got:?}");
        let asked = origin.seen(path);
        let last = asked.last().unwrap();
        assert_eq!(last.field("range").unwrap(), "bytes=0-1999999");
        assert_eq!(last.field("if-range").unwrap(), "\"v1\"");
        assert!(serve.get(path).send().await.is_hit());
    });
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_ended() {
    run(async {
        let origin = Origin::start().await;
        let serve = Serve::start(&[&origin.url()], &[]).await;
        let (path, length) = ("/package", 900_000);
        let torn = Reply::content(path, 1, length)
            .cache_control("max-age=600")
            .field("etag", "\"v1\"")
            .in_pieces(9, std::time::Duration::from_millis(5))
            .break_after(600_000);
        origin.on(path, torn);
        let got = serve.get(path).send().await;
        assert!(got.broken.is_some() || got.status >= 500, "{got:?}");
        ranged(&origin, path, 1, length);
        eventually("its beginning is kept", patience(), async || {
            let got = range(&serve, path, "bytes=0-9").await;
            if got.is_hit() {
                Ok(())
            } else {
                Err(got.cache_status())
            }
        })
        .await;
        let got = serve.get(path).send().await;
        assert_eq!(got.body, content(path, 1, length));
    });
}

#[test]
fn a_large_object_is_fetched_in_slices_by_rule() {
    run(async {
        let origin = Origin::start().await;
        let rule = "[[rule]]\nmatch = { path = \"/films/*\" }\nslice = \"256 KiB\"\n";
        let serve = Serve::site(&origin.url(), rule, &[]).await;
        let (path, length) = ("/films/a", 3_000_000);
        ranged(&origin, path, 1, length);
        let whole = content(path, 1, length);
        let got = range(&serve, path, "bytes=1000000-1000099").await;
        assert_eq!(
            (got.status, got.body),
            (206, whole.slice(1_000_000..1_000_100))
        );
        assert_eq!(
            origin.seen(path)[0].field("range").unwrap(),
            "bytes=786432-1048575"
        );
        let readers = (0..10).map(|_| serve.get(path).send());
        for got in futures_util::future::join_all(readers).await {
            assert_eq!((got.status, got.broken.clone()), (200, None));
            assert_eq!(got.body, whole);
        }
        // Twelve slices, the last of them short; each was fetched once.
        assert_eq!(origin.asked_for(path), 12);
        let got = serve.get(path).send().await;
        assert!(got.is_hit() && got.body == whole, "{}", got.cache_status());
        serve.terminate().await;
        serve.again().await;
        let got = serve.get(path).send().await;
        assert_eq!(got.body, whole, "slices are there after a restart");
        assert_eq!(origin.asked_for(path), 12);
    });
}

#[test]
fn a_query_is_cached_by_its_content() {
    run(async {
        let (first, second) = (Origin::start().await, Origin::start().await);
        let serve = Serve::start(&[&first.url(), &second.url()], &[]).await;
        for origin in [&first, &second] {
            origin.script("/search", |seen| {
                let said = format!("{} {}", seen.method, String::from_utf8_lossy(&seen.body));
                Reply::new(said).cache_control("max-age=600")
            });
        }
        let ask = |content: &'static str| {
            let method = Method::from_bytes(b"QUERY").unwrap();
            let request = Request::new(method, "app.example", "/search").to(serve.address);
            request
                .field("content-type", "text/plain")
                .body(content)
                .send()
        };
        for (content, hit) in [("a", false), ("a", true), ("b", false), ("b", true)] {
            let got = ask(content).await;
            assert_eq!(got.body, format!("QUERY {content}"), "{got:?}");
            assert_eq!(got.is_hit(), hit, "{}", got.cache_status());
        }
        let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
        for _ in 0..2 {
            let got = ask(long).await;
            assert_eq!(got.body.len(), "QUERY ".len() + long.len());
            assert!(got.cache_status().contains("detail=content"), "{got:?}");
        }
        // Its content is still there for another origin.
        first.set_mode(nearside_tests::Mode::Refusing);
        for content in ["c", "d", "e"] {
            assert_eq!(ask(content).await.body, format!("QUERY {content}"));
        }
    });
}

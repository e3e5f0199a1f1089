//! Parts of objects: what they answer, how they are completed, and what becomes of them when the object changes
//! (RFC 9111 §3.3, §3.4). The origin here is a model: an object with versions, served in whole and in ranges.

use std::ops::Range;

use super::*;

/// What the origin does.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// The object's version, which its tag names.
    pub(super) version: u8,
    pub(super) length: usize,
    pub(super) cache_control: &'static str,
    pub(super) vary: Option<&'static str>,
    pub(super) ranges: Ranges,
    /// Bodies break off after so many bytes.
    pub(super) breaks_after: Option<usize>,
    pub(super) is_down: bool,
}

/// How ranges are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// As asked.
    Honoured,
    /// With the whole.
    Ignored,
    /// With 206, but without saying of what length the object is.
    OfUnknownLength,
    /// As asked, with a weak tag.
    WeaklyTagged,
    /// One byte shorter than asked, where that is possible.
    Shortened,
}

impl Default for World {
    fn default() -> Self {
        Self {
            version: 1,
            length: 10,
            cache_control: "max-age=60",
            vary: None,
            ranges: Ranges::Honoured,
            breaks_after: None,
            is_down: false,
        }
    }
}

/// The bytes of a version.
pub(super) fn object(version: u8, length: usize) -> Vec<u8> {
    let byte = |at: usize| b'a' + ((at + 3 * usize::from(version)) % 26) as u8;
    (0..length).map(byte).collect()
}

fn asked(seen: &Seen, length: usize) -> Option<Range<usize>> {
    let text = seen.headers.get("range")?.to_str().unwrap();
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if last.contains(',') {
        return None;
    }
    let range = match (first, last) {
        ("", count) => length.saturating_sub(count.parse().unwrap())..length,
        (first, "") => first.parse().unwrap()..length,
        (first, last) => {
            first.parse().unwrap()..last.parse::<usize>().unwrap().saturating_add(1).min(length)
        }
    };
    Some(range)
}

pub(super) fn serve(world: &World, seen: &Seen) -> Response<Body> {
    if world.is_down {
        return reply(503, &[], "down");
    }
    let weak = world.ranges == Ranges::WeaklyTagged;
    let tag = format!("{}\"{}\"", if weak { "W/" } else { "" }, world.version);
    let field = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
    let mut fields = vec![
        ("cache-control", world.cache_control.to_owned()),
        ("etag", tag.clone()),
    ];
    fields.extend(world.vary.map(|vary| ("vary", vary.to_owned())));
    let whole = object(world.version, world.length);
    let range = asked(seen, world.length)
        .filter(|_| world.ranges != Ranges::Ignored)
        .filter(|_| field("if-range").is_none_or(|condition| condition == tag));
    let (status, body) = match range {
        _ if field("if-none-match") == Some(&tag) => (304, Vec::new()),
        None => (200, whole),
        Some(range) if range.is_empty() || range.start >= world.length => {
            fields.push(("content-range", format!("bytes */{}", world.length)));
            (416, Vec::new())
        }
        Some(mut range) => {
            if world.ranges == Ranges::Shortened && range.len() > 1 {
                range.end -= 1;
            }
            let total = match world.ranges {
                Ranges::OfUnknownLength => "*".to_owned(),
                _ => world.length.to_string(),
            };
            let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            fields.push(("content-range", text));
            (206, whole[range].to_vec())
        }
    };
    let length = body.len();
    let mut response = match world.breaks_after {
        Some(after) if after < length => {
            let (pieces, stream) = by_hand();
            pieces.send(Ok(body[..after].to_vec().into())).unwrap();
            // A moment later, or the connection ends before its first byte has left.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                drop(pieces.send(Err(BodyError::Upstream("torn".to_owned()))));
            });
            let mut response = reply(status, &[], stream);
            response
                .headers_mut()
                .insert("content-length", length.into());
            response
        }
        _ => reply(status, &[], Bytes::from(body)),
    };
    for (name, value) in fields {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

pub(super) struct Model {
    pub(super) bed: Bed,
    pub(super) world: Arc<Mutex<World>>,
}

impl Model {
    pub(super) async fn start(world: World) -> Self {
        Self::with("", world).await
    }

    pub(super) async fn with(settings: &str, world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let seen_by_origin = Arc::clone(&world);
        let answer = script(move |seen| serve(&seen_by_origin.lock().clone(), seen));
        let bed = Bed::with(settings, answer).await;
        Self { bed, world }
    }

    /// Waits until nothing is being fetched.
    pub(super) async fn quiet(&self) {
        let tasks = &self.bed.proxy.fill_tasks;
        eventually("every fill's end", || tasks.is_empty()).await;
    }

    pub(super) fn now(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock());
    }

    pub(super) async fn ask(&self, fields: &[(&'static str, &str)]) -> Got {
        let mut request = get("/a", &[]);
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        self.bed.send(request).await
    }

    /// The bytes of a range, which must be what the model has, and the range they say they are.
    pub(super) async fn range(&self, range: &str) -> Got {
        let got = self.ask(&[("range", range)]).await;
        check(&got, self.world.lock().length);
        got
    }

    /// Waits until so many parts are listed.
    async fn lists(&self, parts: usize) {
        let asked = ask_of(&self.bed, get("/a", &[]));
        let primary = self.bed.store.key(asked.primary());
        let begin = std::time::Instant::now();
        loop {
            let listed = self.bed.proxy.directory(&primary).await.parts.len();
            if listed == parts {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{listed} parts, not {parts}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn asked(&self) -> (usize, String) {
        let last = self.bed.origin.last();
        let range = last.headers.get("range");
        let text = range.map_or("", |range| range.to_str().unwrap());
        (self.bed.origin.count(), text.to_owned())
    }
}

fn ask_of(bed: &Bed, request: Request<Body>) -> crate::proxy::admit::Ask {
    let (parts, _) = request.into_parts();
    let times = (std::time::Instant::now(), std::time::SystemTime::now());
    let view = bed.proxy.views.load();
    bed.proxy
        .admit(&view, Arc::new(client()), parts, times)
        .unwrap()
}

/// Whatever came whole must be bytes of the version that its tag names, of the range that it says.
pub(super) fn check(got: &Got, length: usize) {
    let Ok(body) = &got.body else { return };
    let version = || got.field("etag").trim_matches('"').parse().unwrap();
    match got.status.as_u16() {
        200 => assert_eq!(body, &object(version(), length), "{got:?}"),
        206 if got.field("content-type").starts_with("multipart") => {}
        206 => {
            let text = got.field("content-range").strip_prefix("bytes ").unwrap();
            let (range, total) = text.split_once('/').unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            assert!(total == "*" || total == length.to_string(), "{got:?}");
            let tag = got.field("etag").trim_start_matches("W/").trim_matches('"');
            let whole = object(tag.parse().unwrap(), length);
            assert_eq!(body, &whole[first..=last], "{got:?}");
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_answers_what_it_holds() {
    let model = Model::start(World::default()).await;
    for (range, text, content_range, hit) in [
        ("bytes=-4", "jklm", "bytes 6-9/10", false),
        ("bytes=-2", "lm", "bytes 8-9/10", true),
        ("bytes=7-8", "kl", "bytes 7-8/10", true),
        ("bytes=-7", "ghijklm", "bytes 3-9/10", false),
        ("bytes=4-8", "hijkl", "bytes 4-8/10", true),
        ("bytes=-10", "defghijklm", "bytes 0-9/10", false),
        ("bytes=0-0", "d", "bytes 0-0/10", true),
    ] {
        let got = model.range(range).await;
        assert_eq!(
            (got.status, got.text()),
            (StatusCode::PARTIAL_CONTENT, text)
        );
        assert_eq!(got.field("content-range"), content_range);
        assert_eq!(got.field("content-length"), text.len().to_string());
        assert_eq!(got.cache_status().contains("hit"), hit, "{range}: {got:?}");
        // What has come is listed a moment after its last byte was sent.
        match range {
            "bytes=-4" => model.lists(1).await,
            "bytes=-7" => model.lists(1).await,
            "bytes=-10" => model.lists(0).await,
            _ => {}
        }
    }
    assert_eq!(model.asked(), (3, "bytes=0-2".to_owned()));
    model.bed.purge("/a", false);
    assert!(!model.range("bytes=-2").await.cache_status().contains("hit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_all_there_is_become_the_object() {
    let public = World {
        cache_control: "public, max-age=60",
        ..World::default()
    };
    let model = Model::start(public).await;
    // Credentials go alone, so the range is asked for as it is.
    let first = model
        .ask(&[("range", "bytes=0-5"), ("authorization", "Basic x")])
        .await;
    assert_eq!(first.text(), "defghi");
    model.lists(1).await;
    model.range("bytes=-4").await;
    model.lists(0).await;
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
    assert!(got.cache_status().contains("hit"), "{got:?}");
    assert!(!got.headers.contains_key("content-range"));
    assert_eq!(model.asked(), (2, "bytes=-4".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_is_completed_by_asking_for_what_is_missing() {
    let model = Model::start(World::default()).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
    assert_eq!(got.field("content-length"), "10");
    assert!(!got.headers.contains_key("content-range"));
    assert!(
        got.cache_status()
            .ends_with("fwd=partial; fwd-status=206; stored"),
        "{}",
        got.cache_status()
    );
    assert_eq!(model.asked(), (2, "bytes=0-5".to_owned()));
    assert_eq!(model.bed.origin.last().headers["if-range"], "\"1\"");
    let hit = model.ask(&[]).await;
    assert!(hit.cache_status().contains("hit"), "{hit:?}");
    model.lists(0).await;
    assert_eq!(model.asked().0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_touch_are_kept_and_the_holes_asked_for() {
    let far = 3 << 20;
    let model = Model::start(World {
        length: far,
        ..World::default()
    })
    .await;
    for range in ["bytes=1048576-1048579", "bytes=2000000-2000009"] {
        assert_eq!(model.range(range).await.status, StatusCode::PARTIAL_CONTENT);
    }
    model.lists(2).await;
    let got = model.range("bytes=1048577-1048578").await;
    assert!(got.cache_status().contains("hit"), "{got:?}");
    // What touches one is answered out of it, and of what is missing beside it.
    assert_eq!(
        model.range("bytes=1999990-2000020").await.status,
        StatusCode::PARTIAL_CONTENT
    );
    assert_eq!(
        model.bed.origin.seen.lock()[2].headers["range"],
        "bytes=1999990-1999999"
    );
    assert_eq!(model.asked(), (4, "bytes=2000010-2000020".to_owned()));
    model.lists(2).await;
    let several = model.range("bytes=1048576-1048577, 2000020-2000020").await;
    assert!(several.cache_status().contains("hit"), "{several:?}");
    assert!(
        several
            .field("content-type")
            .starts_with("multipart/byteranges")
    );
    let whole = model.ask(&[]).await;
    check(&whole, far);
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(model.asked(), (7, "bytes=2000021-3145727".to_owned()));
    model.lists(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_part_is_asked_about_and_kept() {
    let stale = World {
        cache_control: "max-age=0",
        ..World::default()
    };
    let model = Model::start(stale).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    model.now(|world| world.cache_control = "max-age=60");
    let got = model.range("bytes=-2").await;
    assert_eq!(
        (got.status, got.text()),
        (StatusCode::PARTIAL_CONTENT, "lm")
    );
    assert!(
        got.cache_status().contains("fwd=stale; fwd-status=304"),
        "{got:?}"
    );
    assert_eq!(model.bed.origin.last().headers["if-none-match"], "\"1\"");
    let hit = model.range("bytes=-3").await;
    assert!(hit.cache_status().contains("hit"), "{hit:?}");
    assert_eq!(model.asked().0, 2);
    // The client's own condition is answered from the part.
    let had = model
        .ask(&[("range", "bytes=-3"), ("if-none-match", "\"1\"")])
        .await;
    assert_eq!(had.status, StatusCode::NOT_MODIFIED);
    assert_eq!(model.asked().0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_takes_the_place_of_the_parts() {
    let model = Model::start(World::default()).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    model.now(|world| world.version = 2);
    // Asked for the rest, the origin says that it is another object by now.
    let got = model.ask(&[]).await;
    check(&got, 10);
    assert_eq!((got.status, got.field("etag")), (StatusCode::OK, "\"2\""));
    model.lists(0).await;
    assert_eq!(model.asked().0, 2);
    // A part of another version is the only one then.
    let model = Model::start(World {
        length: 3 << 20,
        ..World::default()
    })
    .await;
    model.range("bytes=2000000-2000009").await;
    model.lists(1).await;
    model.now(|world| world.version = 2);
    model.range("bytes=-5").await;
    model.lists(1).await;
    assert_eq!(
        model.range("bytes=2000000-2000009").await.field("etag"),
        "\"2\""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_beginning_of_a_body_that_broke_off_is_completed() {
    let torn = World {
        breaks_after: Some(4),
        ..World::default()
    };
    let model = Model::start(torn).await;
    let broken = |got: Got| got.status == StatusCode::BAD_GATEWAY || got.body.is_err();
    assert!(broken(model.ask(&[]).await));
    model.lists(1).await;
    model.now(|world| world.breaks_after = None);
    let got = model.range("bytes=1-2").await;
    assert_eq!(
        (got.status, got.text()),
        (StatusCode::PARTIAL_CONTENT, "ef")
    );
    assert!(got.cache_status().contains("hit"), "{got:?}");
    assert_eq!(model.asked().0, 1);
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
    assert_eq!(model.asked(), (2, "bytes=4-9".to_owned()));
    // Without a name nothing of it is kept.
    let untagged = World {
        ranges: Ranges::WeaklyTagged,
        breaks_after: Some(4),
        ..World::default()
    };
    let model = Model::start(untagged).await;
    assert!(broken(model.ask(&[]).await));
    model.now(|world| world.breaks_after = None);
    assert_eq!(model.ask(&[]).await.text(), "defghijklm");
    assert_eq!(model.asked(), (2, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_part_is_passed_on_and_not_kept() {
    for ranges in [Ranges::OfUnknownLength, Ranges::WeaklyTagged] {
        let model = Model::start(World {
            ranges,
            ..World::default()
        })
        .await;
        for _ in 0..2 {
            let got = model.range("bytes=-4").await;
            assert_eq!(
                (got.status, got.text()),
                (StatusCode::PARTIAL_CONTENT, "jklm")
            );
            assert!(got.cache_status().ends_with("detail=status"), "{got:?}");
        }
        assert_eq!(model.asked().0, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_gives_another_range_than_asked_is_asked_for_all() {
    let model = Model::start(World::default()).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    model.now(|world| world.ranges = Ranges::Shortened);
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
    assert_eq!(model.asked(), (3, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_variants_stand_side_by_side() {
    let varying = World {
        vary: Some("accept-language"),
        ..World::default()
    };
    let model = Model::start(varying).await;
    for language in ["de", "en"] {
        for hit in [false, true] {
            let got = model
                .ask(&[("range", "bytes=-4"), ("accept-language", language)])
                .await;
            check(&got, 10);
            assert_eq!(
                got.cache_status().contains("hit"),
                hit,
                "{language}: {got:?}"
            );
            model.lists(if language == "de" { 1 } else { 2 }).await;
        }
    }
    let got = model.ask(&[("accept-language", "de")]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
    assert_eq!(model.asked(), (3, "bytes=0-5".to_owned()));
    model.lists(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_does_not_exist_is_no_answer_for_others() {
    let model = Model::start(World::default()).await;
    let got = model.range("bytes=2000000-").await;
    assert_eq!(got.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "defghijklm"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_makes_parts_unusable() {
    let model = Model::start(World::default()).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    model
        .bed
        .send(request(Method::POST, "/a", &[], Body::Empty))
        .await;
    let got = model.range("bytes=-4").await;
    assert!(got.cache_status().contains("fwd=miss"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_do_not_complete_what_was_stored_without() {
    let model = Model::start(World::default()).await;
    model.range("bytes=-4").await;
    model.lists(1).await;
    let got = model.ask(&[("authorization", "Basic x")]).await;
    assert_eq!(got.text(), "defghijklm");
    assert!(!model.bed.origin.last().headers.contains_key("if-range"));
}

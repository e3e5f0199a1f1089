//! Large objects in slices.

use super::parts::{Model, Ranges, World, check, object};
use super::*;

const SLICE: usize = 64 << 10;
const LENGTH: usize = 5 * SLICE + 100;
const SLICED: &str = "[cache]\nslice = \"64 KiB\"\n";

async fn sliced(world: World) -> Model {
    Model::with(SLICED, world).await
}

fn film() -> World {
    World {
        length: LENGTH,
        ..World::default()
    }
}

/// The ranges that the origin was asked for, sorted, in numbers of slices.
fn slices_asked(model: &Model) -> Vec<usize> {
    let seen = model.bed.origin.seen.lock();
    let mut asked: Vec<usize> = seen
        .iter()
        .map(|seen| {
            let range = seen.headers["range"].to_str().unwrap();
            let (first, last) = range[6..].split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(first % SLICE, 0, "{range}");
            // What is known to be the last one is as short as it is.
            assert!([first + SLICE - 1, LENGTH - 1].contains(&last), "{range}");
            first / SLICE
        })
        .collect();
    asked.sort_unstable();
    asked
}

async fn stored(model: &Model, fills: u64) {
    eventually("the slices are stored", || {
        model.bed.store.stats().fills_stored >= fills
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_costs_the_slices_that_it_lies_in() {
    let model = sliced(film()).await;
    let got = model.range("bytes=70000-140000").await;
    assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        got.field("content-range"),
        format!("bytes 70000-140000/{LENGTH}")
    );
    assert!(
        got.cache_status()
            .contains("fwd=miss; fwd-status=206; stored"),
        "{got:?}"
    );
    assert_eq!(slices_asked(&model), [1, 2]);
    // What is known of the object, and two slices.
    stored(&model, 3).await;
    let got = model.range("bytes=65536-131072").await;
    assert!(got.cache_status().contains("hit"), "{got:?}");
    assert_eq!(got.field("content-length"), "65537");
    let last = model.range("bytes=-50").await;
    assert!(
        last.cache_status().contains("fwd=partial; fwd-status=206"),
        "{last:?}"
    );
    assert_eq!(slices_asked(&model), [1, 2, 5]);
    stored(&model, 4).await;
    let several = model.range("bytes=65536-65540, -2").await;
    assert!(
        several
            .field("content-type")
            .starts_with("multipart/byteranges")
    );
    assert!(several.cache_status().contains("hit"), "{several:?}");
    let whole = model.ask(&[]).await;
    check(&whole, LENGTH);
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(whole.field("content-length"), LENGTH.to_string());
    assert_eq!(whole.field("etag"), "\"1\"");
    assert!(!whole.headers.contains_key("content-range"));
    assert_eq!(slices_asked(&model), [0, 1, 2, 3, 4, 5]);
    let beyond = model.range(&format!("bytes={LENGTH}-")).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let had = model.ask(&[("if-none-match", "\"1\"")]).await;
    assert_eq!(had.status, StatusCode::NOT_MODIFIED);
    let head = model
        .bed
        .send(request(Method::HEAD, "/a", &[], Body::Empty))
        .await;
    assert_eq!(head.field("content-length"), LENGTH.to_string());
    assert_eq!(model.bed.origin.count(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_make_one_fetch_per_slice() {
    let model = sliced(film()).await;
    let readers = (0..20).map(|_| model.ask(&[]));
    for got in futures_util::future::join_all(readers).await {
        assert_eq!(got.status, StatusCode::OK);
        check(&got, LENGTH);
    }
    assert_eq!(slices_asked(&model), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_takes_all_slices() {
    let model = sliced(film()).await;
    model.ask(&[]).await;
    stored(&model, 7).await;
    model.bed.purge("/a", false);
    model.now(|world| world.version = 2);
    let got = model.ask(&[]).await;
    check(&got, LENGTH);
    assert_eq!(got.field("etag"), "\"2\"");
    assert_eq!(model.bed.origin.count(), 12);
    // Also where the new object has the name of the old one: what came before is not used.
    model.bed.purge("/a", false);
    model.range("bytes=200000-200001").await;
    assert_eq!(model.bed.origin.count(), 13);
    model
        .bed
        .send(request(Method::POST, "/a", &[], Body::Empty))
        .await;
    let got = model.range("bytes=200000-200001").await;
    assert!(got.cache_status().contains("fwd=miss"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_slices_are_asked_about_once_for_all() {
    let model = sliced(World {
        cache_control: "max-age=0",
        ..film()
    })
    .await;
    model.ask(&[]).await;
    stored(&model, 7).await;
    let before = model.bed.origin.count();
    model.now(|world| world.cache_control = "max-age=60");
    let got = model.ask(&[]).await;
    check(&got, LENGTH);
    assert!(
        got.cache_status().contains("fwd=stale; fwd-status=304"),
        "{got:?}"
    );
    assert_eq!(model.bed.origin.count(), before + 1);
    assert_eq!(model.bed.origin.last().headers["if-none-match"], "\"1\"");
    assert!(model.range("bytes=-9").await.cache_status().contains("hit"));
    assert_eq!(model.bed.origin.count(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_changes_breaks_the_answer_off_and_the_next_is_of_the_new_one() {
    let model = sliced(film()).await;
    model.range("bytes=0-9").await;
    stored(&model, 2).await;
    model.now(|world| world.version = 2);
    let got = model.ask(&[]).await;
    assert_eq!((got.status, got.field("etag")), (StatusCode::OK, "\"1\""));
    assert!(got.body.is_err(), "{got:?}");
    let got = model.ask(&[]).await;
    check(&got, LENGTH);
    assert_eq!((got.body.is_ok(), got.field("etag")), (true, "\"2\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_without_ranges_gives_the_whole() {
    for ranges in [
        Ranges::Ignored,
        Ranges::WeaklyTagged,
        Ranges::OfUnknownLength,
    ] {
        let model = sliced(World { ranges, ..film() }).await;
        let first = model.ask(&[]).await;
        assert_eq!(first.body.as_ref().unwrap(), &object(1, LENGTH));
        if ranges == Ranges::Ignored {
            assert!(
                first.cache_status().contains("detail=not-sliced"),
                "{first:?}"
            );
        }
        eventually("the whole is stored", || {
            model.bed.store.stats().fills_stored == 1
        })
        .await;
        let hit = model.range("bytes=70000-70009").await;
        assert_eq!(
            hit.body.as_ref().unwrap(),
            &object(1, LENGTH)[70_000..70_010]
        );
        assert!(hit.cache_status().contains("hit"), "{hit:?}");
        let fetches = if ranges == Ranges::Ignored { 1 } else { 2 };
        assert_eq!(model.bed.origin.count(), fetches, "{ranges:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fits_into_one_slice_is_stored_whole() {
    for length in [0, 10, SLICE] {
        let model = sliced(World {
            length,
            ..World::default()
        })
        .await;
        let got = model.ask(&[]).await;
        assert_eq!(got.status, StatusCode::OK);
        check(&got, length);
        eventually("it is stored", || model.bed.store.stats().fills_stored == 1).await;
        let hit = model.ask(&[]).await;
        assert!(hit.cache_status().contains("hit"), "{length}: {hit:?}");
        // An empty object has no range that could be asked for.
        assert_eq!(model.bed.origin.count(), if length == 0 { 2 } else { 1 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_that_are_there_stand_in_for_a_broken_origin() {
    let model = sliced(World {
        cache_control: "max-age=0",
        ..film()
    })
    .await;
    model.ask(&[]).await;
    stored(&model, 7).await;
    model.now(|world| world.is_down = true);
    let got = model.ask(&[]).await;
    check(&got, LENGTH);
    assert_eq!(got.status, StatusCode::OK);
    assert!(
        got.cache_status().contains("detail=stale-if-error"),
        "{got:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_says_what_is_sliced() {
    let rule = "[[rule]]\nmatch = { path = \"/b*\" }\nslice = \"64 KiB\"\n";
    let model = Model::with(rule, film()).await;
    model.ask(&[]).await;
    assert!(!model.bed.origin.last().headers.contains_key("range"));
    let got = model.bed.get("/b").await;
    check(&got, LENGTH);
    assert!(model.bed.origin.last().headers.contains_key("range"));
}

//! The law of parts: whatever was stored, completed, broken off and changed before, combined ranges equal the whole.

use proptest::prelude::*;

use super::parts::{Model, Ranges, World, check, object};
use super::*;

/// What happens in the law below.
#[derive(Clone, Debug)]
enum Happens {
    Get(Option<(usize, usize)>),
    Suffix(usize),
    NewVersion,
    Ranges(Ranges),
    Tears(Option<usize>),
    Down(bool),
    Purge(bool),
}

fn happens(length: usize) -> impl Strategy<Value = Happens> {
    let at = 0..length + 2;
    prop_oneof![
        2 => Just(Happens::Get(None)),
        6 => (at.clone(), at).prop_map(|(a, b)| Happens::Get(Some((a.min(b), a.max(b))))),
        4 => (1..length + 2).prop_map(Happens::Suffix),
        1 => Just(Happens::NewVersion),
        1 => prop_oneof![
            4 => Just(Ranges::Honoured),
            1 => Just(Ranges::Ignored),
            1 => Just(Ranges::OfUnknownLength),
            1 => Just(Ranges::WeaklyTagged),
            1 => Just(Ranges::Shortened),
        ].prop_map(Happens::Ranges),
        1 => proptest::option::of(0..length).prop_map(Happens::Tears),
        1 => any::<bool>().prop_map(Happens::Down),
        1 => any::<bool>().prop_map(Happens::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Whatever was stored, completed, broken off and changed before: bytes are those of one version of the object, of
    /// the range that the answer says; and where nothing may be used without asking, of the version that the origin has.
    #[test]
    fn combined_ranges_equal_the_whole(
        fresh in any::<bool>(),
        story in proptest::collection::vec(happens(40), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache_control = if fresh { "max-age=60" } else { "max-age=0, must-revalidate" };
            let model = Model::start(World { length: 40, cache_control, ..World::default() }).await;
            for event in story {
                if !matches!(event, Happens::Get(_) | Happens::Suffix(_) | Happens::Purge(_)) {
                    // A fill may outlive the range that began it; whoever joins it gets the origin of before.
                    model.quiet().await;
                }
                let got = match event {
                    Happens::Get(None) => model.ask(&[]).await,
                    Happens::Get(Some((first, last))) => {
                        model.ask(&[("range", &format!("bytes={first}-{last}"))]).await
                    }
                    Happens::Suffix(count) => model.ask(&[("range", &format!("bytes=-{count}"))]).await,
                    Happens::NewVersion => { model.now(|world| world.version += 1); continue }
                    Happens::Ranges(ranges) => { model.now(|world| world.ranges = ranges); continue }
                    Happens::Tears(after) => { model.now(|world| world.breaks_after = after); continue }
                    Happens::Down(is_down) => { model.now(|world| world.is_down = is_down); continue }
                    Happens::Purge(soft) => { model.bed.purge("/a", soft); continue }
                };
                let world = model.world.lock().clone();
                check_any(&got, world.length);
                let (down, torn) = (world.is_down, world.breaks_after.is_some());
                match got.status.as_u16() {
                    200 | 206 | 416 => {
                        assert!(got.body.is_ok() || torn, "{got:?}");
                        if !fresh && !down && got.status != StatusCode::RANGE_NOT_SATISFIABLE {
                            let tag = got.field("etag").trim_start_matches("W/").to_owned();
                            assert_eq!(tag, format!("\"{}\"", world.version), "{got:?}");
                        }
                    }
                    502 => assert!(torn, "{got:?}"),
                    503 => assert!(down, "{got:?}"),
                    other => panic!("{other}: {got:?}"),
                }
            }
        });
    }
}

/// As [`check`], where tags may be weak.
fn check_any(got: &Got, length: usize) {
    let Ok(body) = &got.body else { return };
    if got.status == StatusCode::OK {
        let tag = got.field("etag").trim_start_matches("W/").trim_matches('"');
        assert_eq!(body, &object(tag.parse().unwrap(), length), "{got:?}");
    } else {
        check(got, length);
    }
}

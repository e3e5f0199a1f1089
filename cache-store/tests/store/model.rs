//! Random interleavings of what the node does, against a plain map.
//!
//! A cache may forget, so a miss is always allowed where the model has an entry; what is never allowed is an entry that
//! the model does not have, or other bytes or metadata than the model's.

use std::collections::HashMap;

use bytes::Bytes;
use nearside_cache_store::Store;
use proptest::prelude::*;

use crate::world::{Note, body, eventually, lead, open, read_all};

#[derive(Clone, Debug)]
enum Step {
    Fill {
        key: u8,
        size: usize,
        piece: usize,
        known: bool,
    },
    FailedFill {
        key: u8,
        size: usize,
    },
    Read {
        key: u8,
        from: u64,
        length: u64,
    },
    Touch {
        key: u8,
    },
    Remove {
        key: u8,
    },
    SetDirectory {
        key: u8,
    },
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u8..6;
    let size = prop_oneof![0_usize..2000, 200_000_usize..900_000, Just(262_144)];
    prop_oneof![
        6 => (key.clone(), size.clone(), 1_usize..300_000, any::<bool>())
            .prop_map(|(key, size, piece, known)| Step::Fill { key, size, piece: piece.max(size / 50), known }),
        1 => (key.clone(), size).prop_map(|(key, size)| Step::FailedFill { key, size }),
        8 => (key.clone(), 0_u64..900_000, 0_u64..600_000)
            .prop_map(|(key, from, length)| Step::Read { key, from, length }),
        2 => key.clone().prop_map(|key| Step::Touch { key }),
        2 => key.clone().prop_map(|key| Step::Remove { key }),
        2 => key.prop_map(|key| Step::SetDirectory { key }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

struct Model {
    entries: HashMap<u8, (String, Bytes)>,
    directories: HashMap<u8, Vec<u8>>,
    /// Every body and note gets a number of its own.
    next: u64,
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store: Store<Note> = open(dir.path(), 32, 64);
    let mut model = Model {
        entries: HashMap::new(),
        directories: HashMap::new(),
        next: 0,
    };
    for step in steps {
        model.next += 1;
        match step {
            Step::Reopen => {
                store.close();
                store = open(dir.path(), 32, 64);
            }
            Step::Flush => store.flush().await,
            step => apply(&store, &mut model, step).await,
        }
    }
    store.close();
    let store = open(dir.path(), 32, 64);
    for key in 0..6 {
        check(&store, &model, key, 0..u64::MAX).await;
    }
}

async fn apply(store: &Store<Note>, model: &mut Model, step: Step) {
    let number = model.next;
    match step {
        Step::Fill {
            key,
            size,
            piece,
            known,
        } => {
            let (note, body) = (format!("note {number}"), body(number, size));
            let mut writer = lead(store, &store.key(vec![key]));
            let mut follower = writer.reader();
            writer.head(Note(note.clone()), known.then_some(size as u64));
            let mut followed = Vec::new();
            for piece in body.chunks(piece) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
                followed.extend_from_slice(&follower.next().await.unwrap().unwrap());
            }
            writer.finish().unwrap();
            while let Some(piece) = follower.next().await {
                followed.extend_from_slice(&piece.unwrap());
            }
            assert!(followed == body);
            // A body that only the disk holds is there when its last chunk is.
            eventually("the fill has ended", async || {
                store.stats().fills_running == 0
            })
            .await;
            model.entries.insert(key, (note, body));
        }
        Step::FailedFill { key, size } => {
            let mut writer = lead(store, &store.key(vec![key]));
            writer.head(Note("never".into()), Some(size as u64 + 1));
            writer.write(body(number, size)).await.unwrap();
            assert!(writer.finish().is_err());
        }
        Step::Read { key, from, length } => check(store, model, key, from..from + length).await,
        Step::Touch { key } => {
            if let Some(entry) = store.lookup(&store.key(vec![key])).await {
                store.touch(&entry, Note(format!("touch {number}")), number);
                model.entries.get_mut(&key).unwrap().0 = format!("touch {number}");
            }
        }
        Step::Remove { key } => {
            store.remove(&store.key(vec![key]));
            model.entries.remove(&key);
        }
        Step::SetDirectory { key } => {
            let name = store.key(vec![key]);
            let current = store.directory(&name).await;
            assert_eq!(
                current.as_deref(),
                model.directories.get(&key).map(Vec::as_slice)
            );
            assert!(store.set_directory(&name, current.as_deref(), number.to_string().into()));
            model.directories.insert(key, number.to_string().into());
        }
        Step::Flush | Step::Reopen => unreachable!("done by the caller"),
    }
}

async fn check(store: &Store<Note>, model: &Model, key: u8, range: std::ops::Range<u64>) {
    let Some(entry) = store.lookup(&store.key(vec![key])).await else {
        return;
    };
    let (note, body) = model
        .entries
        .get(&key)
        .expect("only what was stored is found");
    assert_eq!(entry.meta().0, *note);
    assert_eq!(entry.body_bytes(), body.len() as u64);
    let end = range.end.min(body.len() as u64) as usize;
    let start = (range.start as usize).min(end);
    let part = read_all(store, &entry, range).await.unwrap();
    assert!(part == body[start..end]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_never_says_what_the_model_does_not(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

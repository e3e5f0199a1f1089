//! What survives, and what is a miss.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nearside_cache_store::{Directory, OpenError, Store};

use crate::world::{MIB, Note, STAMP, body, get, open, options, put, read_all};

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 128);
    let sizes = [0, 1, 5000, 262_144, 262_145, 3 * MIB as usize];
    for (seed, size) in sizes.into_iter().enumerate() {
        let key = store.key(format!("key {seed}"));
        put(
            &store,
            &key,
            &format!("note {seed}"),
            &body(seed as u64, size),
        )
        .await;
    }
    store.close();
    let store = open(dir.path(), 32, 128);
    for (seed, size) in sizes.into_iter().enumerate() {
        let key = store.key(format!("key {seed}"));
        assert!(store.peek(&key).is_none());
        let entry = store.lookup(&key).await.expect("it was stored");
        assert_eq!(entry.meta().0, format!("note {seed}"));
        assert_eq!(entry.body_bytes(), size as u64);
        assert!(
            store.peek(&key).is_some(),
            "the lookup brought it into memory"
        );
        let whole = read_all(&store, &entry, 0..u64::MAX).await.unwrap();
        assert!(whole == body(seed as u64, size), "{size} bytes");
    }
    assert!(store.lookup(&store.key("another")).await.is_none());
    let stats = store.stats();
    assert_eq!((stats.disk_hits, stats.disk_damaged), (6, 0), "{stats:?}");
}

#[tokio::test]
async fn a_removed_entry_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    let (gone, kept) = (store.key("gone"), store.key("kept"));
    put(&store, &gone, "x", &body(1, 10_000)).await;
    put(&store, &kept, "x", &body(2, 10_000)).await;
    store.remove(&gone);
    assert!(
        store.lookup(&gone).await.is_none(),
        "also before the disk knows"
    );
    store.flush().await;
    assert!(store.lookup(&gone).await.is_none());
    store.close();
    let store = open(dir.path(), 32, 64);
    assert!(store.lookup(&store.key("gone")).await.is_none());
    assert!(get(&store, &store.key("kept")).await.is_some());
}

#[tokio::test]
async fn another_history_is_all_misses_and_the_own_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    put(&store, &store.key("a"), "x", &body(1, 10_000)).await;
    store.close();
    let store: Store<Note> = Store::open(options(dir.path(), 32, 64), [8; 24]).unwrap();
    assert!(store.lookup(&store.key("a")).await.is_none());
    put(&store, &store.key("a"), "y", &body(2, 10_000)).await;
    drop(store);
    let store: Store<Note> = Store::open(options(dir.path(), 32, 64), [8; 24]).unwrap();
    assert_eq!(get(&store, &store.key("a")).await.unwrap(), body(2, 10_000));
}

#[tokio::test]
async fn a_folder_in_use_and_a_newer_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    let refused = Store::<Note>::open(options(dir.path(), 32, 64), STAMP);
    assert!(matches!(refused, Err(OpenError::InUse { .. })));
    put(&store, &store.key("a"), "x", &body(1, 10)).await;
    store.close();
    let identity = dir.path().join("identity");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(
        &identity,
        text.replace("nearside-cache 1", "nearside-cache 9"),
    )
    .unwrap();
    let refused = Store::<Note>::open(options(dir.path(), 32, 64), STAMP);
    assert!(matches!(refused, Err(OpenError::Newer { found: 9, .. })));
    fs::write(&identity, text).unwrap();
    let store = open(dir.path(), 32, 64);
    assert!(
        get(&store, &store.key("a")).await.is_some(),
        "nothing was touched"
    );
}

fn blob_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("bodies.rocksdb"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "blob")
        })
        .collect();
    files.sort();
    files
}

/// Each kind of damage to a blob file: no wrong byte, and what is hit is a miss.
#[tokio::test]
async fn damaged_blob_files_are_misses_never_wrong_bytes() {
    for damage in ["flip", "cut", "missing"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), 32, 64);
        for seed in 0..20 {
            let key = store.key(format!("{seed}"));
            put(&store, &key, "x", &body(seed, 100_000)).await;
        }
        put(
            &store,
            &store.key("large"),
            "x",
            &body(99, 2 * MIB as usize),
        )
        .await;
        store.close();
        for path in blob_files(dir.path()) {
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "flip" => {
                    for at in (50_000..bytes.len()).step_by(200_000) {
                        bytes[at] ^= 0x40;
                    }
                    fs::write(&path, bytes).unwrap();
                }
                "cut" => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
        }
        let store = open(dir.path(), 32, 64);
        let mut hits = 0;
        for seed in 0..20 {
            let key = store.key(format!("{seed}"));
            if let Some(whole) = get(&store, &key).await {
                assert!(whole == body(seed, 100_000), "{damage}: wrong bytes");
                hits += 1;
            } else {
                assert!(store.peek(&key).is_none());
            }
        }
        assert!(hits < 20, "{damage}: something was hit");
        if let Some(whole) = get(&store, &store.key("large")).await {
            assert!(whole == body(99, 2 * MIB as usize));
        }
        // It goes on working.
        put(&store, &store.key("0"), "again", &body(500, 100_000)).await;
        store.flush().await;
        assert_eq!(
            get(&store, &store.key("0")).await.unwrap(),
            body(500, 100_000)
        );
    }
}

/// A large body whose later chunk is damaged: the first is good, so the response is promised; then it breaks visibly.
#[tokio::test]
async fn a_body_that_breaks_in_the_middle_is_an_error_and_then_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    let whole = body(1, 2 * MIB as usize);
    put(&store, &store.key("large"), "x", &whole).await;
    store.close();
    for path in blob_files(dir.path()) {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() * 3 / 4;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let store = open(dir.path(), 32, 64);
    let key = store.key("large");
    let entry = store.lookup(&key).await.unwrap();
    let mut reader = store.read(&entry, 0..u64::MAX).await.unwrap();
    let mut at = 0;
    let error = loop {
        match reader.next().await.expect("it breaks before its end") {
            Ok(piece) => {
                assert!(whole[at..].starts_with(&piece));
                at += piece.len();
            }
            Err(error) => break error,
        }
    };
    assert!(at >= MIB as usize, "{error}");
    assert!(reader.next().await.is_none());
    assert!(store.peek(&key).is_none());
    assert!(store.lookup(&key).await.is_none());
}

#[tokio::test]
async fn a_wrecked_database_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    put(&store, &store.key("a"), "x", &body(1, 10_000)).await;
    store.close();
    for part in ["entries.rocksdb", "bodies.rocksdb"] {
        fs::write(dir.path().join(part).join("CURRENT"), "nonsense").unwrap();
        let store = open(dir.path(), 32, 64);
        assert!(store.lookup(&store.key("a")).await.is_none());
        put(&store, &store.key("a"), "x", &body(1, 10_000)).await;
        store.close();
        let store = open(dir.path(), 32, 64);
        assert!(get(&store, &store.key("a")).await.is_some());
        store.close();
    }
}

#[tokio::test]
async fn directories_are_replaced_by_compare_and_set_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    let key = store.key("primary");
    assert_eq!(store.peek_directory(&key), Directory::NotInMemory);
    assert!(!store.set_directory(&key, None, b"blind".to_vec()));
    assert_eq!(store.directory(&key).await, None);
    assert_eq!(store.peek_directory(&key), Directory::Absent);
    assert!(store.set_directory(&key, None, b"one".to_vec()));
    assert!(!store.set_directory(&key, None, b"other".to_vec()));
    assert!(!store.set_directory(&key, Some(b"zero"), b"other".to_vec()));
    assert!(store.set_directory(&key, Some(b"one"), b"two".to_vec()));
    put(&store, &key, "an entry under the same key", &body(1, 10)).await;
    store.close();
    let store = open(dir.path(), 32, 64);
    let key = store.key("primary");
    assert_eq!(store.directory(&key).await.as_deref(), Some(&b"two"[..]));
    assert!(get(&store, &key).await.is_some());
}

/// What is asked for again and again and never stored costs the disk one look; what is stored after that is found, on
/// disk alone too, and so it is known when it is gone.
#[tokio::test]
async fn absence_is_remembered_until_something_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    for (name, length) in [("small", 10_000_usize), ("large", 12 << 20)] {
        let key = store.key(name);
        let before = store.stats().disk_lookups;
        for _ in 0..5 {
            assert!(store.lookup(&key).await.is_none());
        }
        assert_eq!(store.stats().disk_lookups, before + 1, "{name}");
        for round in 1..=3 {
            let content = body(round, length);
            put(&store, &key, "x", &content).await;
            store.flush().await;
            assert!(
                get(&store, &key).await.as_deref() == Some(&content[..]),
                "{name}"
            );
            store.remove(&key);
            store.flush().await;
            for _ in 0..3 {
                assert!(store.lookup(&key).await.is_none(), "{name}");
            }
        }
        put(&store, &key, "x", &body(9, length)).await;
    }
    store.close();
    // Another store knows nothing of it, and finds what there is.
    let store = open(dir.path(), 32, 64);
    for name in ["small", "large"] {
        assert!(get(&store, &store.key(name)).await.is_some(), "{name}");
    }
}

#[tokio::test]
async fn bodies_without_a_declared_length_and_in_odd_pieces_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    for (seed, length) in [(1, 1_usize), (2, 300_001), (3, 1_500_007)] {
        let key = store.key(format!("{seed}"));
        let mut writer = crate::world::lead(&store, &key);
        writer.head(Note("x".into()), None);
        for piece in body(seed, length).chunks(7_919) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().unwrap();
    }
    store.close();
    let store = open(dir.path(), 32, 64);
    for (seed, length) in [(1, 1_usize), (2, 300_001), (3, 1_500_007)] {
        let whole = get(&store, &store.key(format!("{seed}"))).await.unwrap();
        assert!(whole == body(seed, length), "{length} bytes");
    }
}

/// What the bound on disk and the room for others do not allow is not stored; it is served all the same.
#[tokio::test]
async fn a_disk_short_of_free_room_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = options(dir.path(), 32, 64);
    short.disk_free_min_bytes = u64::MAX;
    let store: Store<Note> = Store::open(short, STAMP).unwrap();
    store.flush().await;
    put(&store, &store.key("a"), "x", &body(1, 10_000)).await;
    assert_eq!(get(&store, &store.key("a")).await.unwrap(), body(1, 10_000));
    let stats = store.stats();
    assert_eq!(
        (stats.fills_without_disk, stats.disk_chunks_written),
        (1, 0)
    );
    store.close();
    let store = open(dir.path(), 32, 64);
    assert!(store.lookup(&store.key("a")).await.is_none());
}

/// An object that is stored in memory only must not leave an older one of its key to be found on disk.
#[tokio::test]
async fn an_older_body_on_disk_does_not_outlive_a_newer_one_that_skipped_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    put(&store, &store.key("a"), "old", &body(1, 10_000)).await;
    store.close();
    let mut short = options(dir.path(), 32, 64);
    short.disk_free_min_bytes = u64::MAX;
    let store: Store<Note> = Store::open(short, STAMP).unwrap();
    store.flush().await;
    put(&store, &store.key("a"), "new", &body(2, 10_000)).await;
    store.close();
    let store = open(dir.path(), 32, 64);
    assert!(store.lookup(&store.key("a")).await.is_none());
}

/// After its end a store serves what memory has, and misses otherwise; nothing waits for threads that are gone.
#[tokio::test]
async fn a_closed_store_goes_on_with_memory_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    put(&store, &store.key("a"), "x", &body(1, 10_000)).await;
    store.clone().close();
    assert!(get(&store, &store.key("a")).await.is_some());
    assert!(store.lookup(&store.key("b")).await.is_none());
    put(&store, &store.key("b"), "x", &body(2, 10_000)).await;
    assert!(get(&store, &store.key("b")).await.is_some());
    store.remove(&store.key("b"));
    store.flush().await;
    assert!(store.lookup(&store.key("b")).await.is_none());
    drop(open(dir.path(), 32, 64));
}

//! Many objects through small bounds.

use std::path::Path;

use crate::world::{MIB, body, get, open, put};

fn folder_bytes(path: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(path) else {
        return 0;
    };
    files
        .filter_map(|file| {
            let file = file.ok()?;
            let metadata = file.metadata().ok()?;
            Some(if metadata.is_dir() {
                folder_bytes(&file.path())
            } else {
                std::os::unix::fs::MetadataExt::blocks(&metadata) * 512
            })
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_objects_stay_within_a_small_disk_and_a_small_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (memory_max, disk_max) = (32 * MIB, 64 * MIB);
    let store = open(dir.path(), 32, 64);
    // 1 to 200 KiB, 100 KiB in the mean: three times the disk's bound.
    let size = |seed: u64| 1024 + usize::try_from(seed * 7919 % (199 * 1024)).unwrap();
    let mut most = 0;
    for seed in 0..2000_u64 {
        put(
            &store,
            &store.key(format!("object {seed}")),
            "note",
            &body(seed, size(seed)),
        )
        .await;
        if seed % 10 == 0 {
            most = most.max(folder_bytes(dir.path()));
            let stats = store.stats();
            assert!(stats.memory_bytes <= stats.memory_max_bytes, "{stats:?}");
            assert!(stats.memory_max_bytes <= memory_max, "{stats:?}");
        }
    }
    store.flush().await;
    most = most.max(folder_bytes(dir.path()));
    // Two memtables of the least size over, as the smallest bounds allow.
    assert!(most <= disk_max + 8 * MIB, "{} MiB on disk", most / MIB);
    let mut hits = [0; 2];
    for seed in 0..2000_u64 {
        if let Some(whole) = get(&store, &store.key(format!("object {seed}"))).await {
            assert!(whole == body(seed, size(seed)), "object {seed}");
            hits[usize::from(seed >= 1800)] += 1;
        }
    }
    assert_eq!(hits[1], 200, "the newest are all there: {hits:?}");
    assert!(hits[0] < 1000, "the oldest are not: {hits:?}");
    let stats = store.stats();
    assert!(
        stats.memory_evictions > 0 && stats.disk_hits > 0,
        "{stats:?}"
    );
    store.close();

    // Metadata follows the bodies that were dropped.
    let store = open(dir.path(), 32, 64);
    crate::world::eventually("old metadata is forgotten", async || {
        store.flush().await;
        store.stats().disk_forgotten > 500 || store.stats().disk_entries < 1500
    })
    .await;
    // Half the disk: it goes down as soon as new files are written.
    store.close();
    let store = open(dir.path(), 32, 32);
    for seed in 5000..5300_u64 {
        put(
            &store,
            &store.key(format!("object {seed}")),
            "note",
            &body(seed, 100_000),
        )
        .await;
    }
    store.flush().await;
    crate::world::eventually("a lower bound holds", async || {
        folder_bytes(dir.path()) <= 40 * MIB
    })
    .await;
}

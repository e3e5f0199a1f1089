use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::{Applied, LogStore, MachineStore, Store, StoreError, StoreHooks, TypeConfig};
use crate::observer::Observer;
use crate::state::{Change, State};

struct Nobody;

impl Observer for Nobody {
    fn restored(&self, _: &Arc<State>) {}
    fn applied(&self, _: u64, _: Option<&Change>, _: &Arc<State>) {}
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, MachineStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreHooks::default()).unwrap();
        let machine =
            MachineStore::restore(store.clone(), Applied::new(), Arc::new(Nobody)).unwrap();
        Ok((dir, LogStore::new(store), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_storage_suite_passes_on_the_real_store() {
    Suite::test_all(Builder).await.unwrap();
}

#[test]
fn a_newer_format_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), StoreHooks::default()).unwrap());
    std::fs::write(dir.path().join("FORMAT"), "2\n").unwrap();
    let listing = |dir: &std::path::Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name(),
                    entry.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        names.sort();
        names
    };
    let before = listing(&dir.path().join("db"));
    match Store::open(dir.path(), StoreHooks::default()) {
        Err(StoreError::Newer {
            found: 2, known: 1, ..
        }) => {}
        Err(other) => panic!("wrong error: {other}"),
        Ok(_) => panic!("a newer format was opened"),
    }
    assert_eq!(before, listing(&dir.path().join("db")));
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync_and_none_is_told_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let synced = Arc::new(AtomicUsize::new(0));
    let hooks = StoreHooks {
        before_sync: None,
        after_sync: Some({
            let synced = Arc::clone(&synced);
            Arc::new(move |_| {
                synced.fetch_add(1, Ordering::SeqCst);
            })
        }),
    };
    let store = Store::open(dir.path(), hooks).unwrap();
    for index in 0..100 {
        let before = synced.load(Ordering::SeqCst);
        store
            .append(std::iter::once(Ok((index, vec![0; 10]))))
            .unwrap();
        store.synced().await.unwrap();
        assert!(synced.load(Ordering::SeqCst) > before);
    }
    assert_eq!(store.syncs(), synced.load(Ordering::SeqCst) as u64);
}

//! What a power loss leaves: the files as of the last sync, cut to what was in them when it began.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::lab::{Node, QUICK, Web, eventually, purge, site, token};
use crate::raft::StoreHooks;

/// Keeps, for one store, a copy of what is durable. At each sync the sizes of the log files are noted before it
/// begins; once it has succeeded, the files are copied, the logs cut to those sizes: whatever was written meanwhile
/// is dropped, as it would be.
struct Durable {
    sizes: Mutex<BTreeMap<PathBuf, u64>>,
    image: TempDir,
    taking: Mutex<bool>,
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

impl Durable {
    fn hooks() -> (Arc<Self>, StoreHooks) {
        let durable = Arc::new(Self {
            sizes: Mutex::default(),
            image: tempfile::tempdir().unwrap(),
            taking: Mutex::new(true),
        });
        let (before, after) = (Arc::clone(&durable), Arc::clone(&durable));
        let hooks = StoreHooks {
            before_sync: Some(Arc::new(move |db: &Path| before.note(db))),
            after_sync: Some(Arc::new(move |db: &Path| after.take(db))),
        };
        (durable, hooks)
    }

    fn note(&self, db: &Path) {
        let mut sizes = self.sizes.lock();
        sizes.clear();
        for entry in fs::read_dir(db).unwrap() {
            let path = entry.unwrap().path();
            if is_log(&path) {
                let length = fs::metadata(&path).unwrap().len();
                sizes.insert(path, length);
            }
        }
    }

    fn take(&self, db: &Path) {
        if !*self.taking.lock() {
            return;
        }
        let sizes = self.sizes.lock();
        let image = self.image.path().join("db");
        if image.exists() {
            fs::remove_dir_all(&image).unwrap();
        }
        fs::create_dir_all(&image).unwrap();
        for entry in fs::read_dir(db).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            let Ok(mut bytes) = fs::read(&path) else {
                continue;
            };
            if is_log(&path) {
                let durable = sizes.get(&path).copied().unwrap_or(0);
                bytes.truncate(usize::try_from(durable).unwrap());
            }
            if name != "LOCK" {
                fs::write(image.join(name), bytes).unwrap();
            }
        }
    }

    /// From here on nothing reaches the disk: the power is gone.
    fn freeze(&self) {
        *self.taking.lock() = false;
    }

    /// Puts the durable files in the place of a node's.
    fn restore_into(&self, dir: &Path) {
        let db = dir.join("raft").join("db");
        fs::remove_dir_all(&db).unwrap();
        fs::create_dir_all(&db).unwrap();
        for entry in fs::read_dir(self.image.path().join("db")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, db.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_all_unsynced_data_dropped_at_the_kill_no_acknowledged_change_is_lost() {
    let web = Web::default();
    let mut nodes = Vec::new();
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        let (durable, hooks) = Durable::hooks();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let node = Node::start(&web, name, dir, QUICK, hooks).await;
        if nodes.is_empty() {
            node.cluster.init().await.unwrap();
        } else {
            let token = token(&nodes[0]).await;
            node.cluster.join(&token).await.unwrap();
        }
        nodes.push(node);
        disks.push(durable);
    }
    eventually("three voters", || {
        let state = nodes[2].cluster.state();
        state.members.values().filter(|member| member.voter).count() == 3
    })
    .await;
    nodes[0].cluster.propose(site("shop")).await.unwrap();

    let mut acknowledged = 0;
    let syncs_before: u64 = nodes.iter().map(|node| node.cluster.status().syncs).sum();
    for number in 0..40 {
        let node = &nodes[number % 3];
        let change = if number % 2 == 0 {
            site(&format!("site{number}"))
        } else {
            purge("shop", &format!("shop.example/{number}"))
        };
        node.cluster.propose(change).await.unwrap();
        acknowledged += 1;
    }
    // The power goes at once after the last acknowledgement, while followers may still be writing.
    for disk in &disks {
        disk.freeze();
    }
    // The control: what comes after must be gone, or the simulation drops nothing.
    nodes[0].cluster.propose(site("too-late")).await.unwrap();
    let syncs: u64 = nodes.iter().map(|node| node.cluster.status().syncs).sum();
    assert!(
        syncs - syncs_before >= 2 * acknowledged,
        "{} syncs for {acknowledged} acknowledged changes on a quorum of two",
        syncs - syncs_before
    );
    println!(
        "{acknowledged} changes, {} syncs on three nodes",
        syncs - syncs_before
    );

    for node in &nodes {
        node.kill().await;
    }
    let mut reborn = Vec::new();
    for (node, disk) in nodes.into_iter().zip(&disks) {
        disk.restore_into(node.dir.path());
        reborn.push(node.restart().await);
    }
    eventually("everything acknowledged is there", || {
        reborn.iter().all(|node| {
            let state = node.cluster.state();
            let has_sites = (0..40)
                .step_by(2)
                .all(|number| state.sites.contains_key(&format!("site{number}")));
            let purges = state.purges.get("shop");
            let has_purges = (1..40).step_by(2).all(|number| {
                purges.is_some_and(|purges| {
                    purges.urls.contains_key(&format!("shop.example/{number}"))
                })
            });
            has_sites && has_purges
        })
    })
    .await;
    for node in &reborn {
        assert!(!node.cluster.state().sites.contains_key("too-late"));
    }
}

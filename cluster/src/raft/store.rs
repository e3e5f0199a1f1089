//! The Raft store: one RocksDB instance of its own. The only file of this crate that names rocksdb.
//!
//! Writes go to the write-ahead log at once and are synced by one thread: whoever needs durability waits for its
//! next round, so that appends arriving together share one sync. Nothing is acknowledged before it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rocksdb::{ColumnFamilyDescriptor, DB, DBRecoveryMode, IteratorMode, Options, WriteBatch};

/// The format this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Says the format; read before anything else is touched.
const FORMAT_FILE: &str = "FORMAT";
/// RocksDB's folder inside the store's.
const DB_FOLDER: &str = "db";
const META: &str = "default";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
/// Raft's writes are small; a larger memtable would only lengthen recovery.
const MEMTABLE_BYTES: usize = 4 << 20;
/// Syncs waiting at most; appenders wait beyond.
const SYNC_QUEUE_MAX: usize = 4096;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder was written by a newer version of the program. Nothing was touched.
    #[error(
        "{path} was written in format {found} by a newer version; this one reads up to {known}. Nothing was changed"
    )]
    Newer {
        /// The folder.
        path: String,
        /// Its format.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// What is stored cannot be read.
    #[error("the raft store is damaged: {0}")]
    Damaged(String),
    /// The system or RocksDB failed.
    #[error("the raft store failed: {0}")]
    Io(#[from] io::Error),
}

/// Given the database's folder.
type Hook = Arc<dyn Fn(&Path) + Send + Sync>;

/// Called by the sync thread, for tests that drop what was not synced.
#[derive(Clone, Default)]
pub(crate) struct StoreHooks {
    /// Before each sync: what is in the files now is about to be durable.
    pub(crate) before_sync: Option<Hook>,
    /// After each sync, before anybody is told.
    pub(crate) after_sync: Option<Hook>,
}

/// Told once what was written before the request is durable, or why not.
pub(crate) type OnSynced = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Keys and values with a durable log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: Arc<DB>,
    /// Dropped first, which ends the thread after its last round.
    sync: Mutex<Option<mpsc::SyncSender<OnSynced>>>,
    syncer: Mutex<Option<JoinHandle<()>>>,
    syncs: Arc<AtomicU64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.sync.get_mut().take());
        if let Some(syncer) = self.syncer.get_mut().take()
            && syncer.join().is_err()
        {
            tracing::error!("the raft store's sync thread panicked");
        }
    }
}

/// Refuses a folder of a newer format; says the format of a new one.
fn check_format(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let found = text
                .trim()
                .parse()
                .map_err(|_| StoreError::Damaged(format!("{} is unreadable", path.display())))?;
            if found > FORMAT {
                return Err(StoreError::Newer {
                    path: dir.display().to_string(),
                    found,
                    known: FORMAT,
                });
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join(DB_FOLDER).exists() {
                return Err(StoreError::Damaged(format!("{} is gone", path.display())));
            }
            fs::create_dir_all(dir)?;
            let mut file = fs::File::create(&path)?;
            writeln!(file, "{FORMAT}")?;
            file.sync_all()?;
            fs::File::open(dir)?.sync_all()?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn io_error(error: &rocksdb::Error) -> io::Error {
    io::Error::other(error.to_string())
}

impl Store {
    /// Opens the store in `dir`, making it if there is none.
    pub(crate) fn open(dir: &Path, hooks: StoreHooks) -> Result<Self, StoreError> {
        check_format(dir)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_max_total_wal_size(4 * MEMTABLE_BYTES as u64);
        options.set_keep_log_file_num(2);
        // A torn last record is what a crash leaves, and was never acknowledged.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        let families =
            [META, LOG, SNAPSHOT].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let path = dir.join(DB_FOLDER);
        let db = DB::open_cf_descriptors(&options, &path, families)
            .map_err(|error| StoreError::Io(io_error(&error)))?;
        let db = Arc::new(db);
        let syncs = Arc::new(AtomicU64::new(0));
        let (sync, requests) = mpsc::sync_channel(SYNC_QUEUE_MAX);
        let syncer = {
            let (db, syncs) = (Arc::clone(&db), Arc::clone(&syncs));
            std::thread::Builder::new()
                .name("raft-sync".into())
                .spawn(move || sync_rounds(&db, &path, &requests, &syncs, &hooks))?
        };
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                sync: Mutex::new(Some(sync)),
                syncer: Mutex::new(Some(syncer)),
                syncs,
            }),
        })
    }

    /// How many syncs reached the disk since the store was opened.
    pub(crate) fn syncs(&self) -> u64 {
        self.inner.syncs.load(Ordering::Acquire)
    }

    /// True when this is the last handle: once it is dropped, the folder can be opened again.
    pub(crate) fn is_last_handle(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    /// Calls back once everything written before this call is durable.
    pub(crate) fn sync(&self, done: OnSynced) {
        let sender = self.inner.sync.lock().clone();
        let refused = match sender {
            Some(sender) => sender.send(done).err().map(|error| error.0),
            None => Some(done),
        };
        if let Some(done) = refused {
            done(Err(io::Error::other("the raft store is closed")));
        }
    }

    /// Waits until everything written before this call is durable.
    pub(crate) async fn synced(&self) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.sync(Box::new(move |result| {
            // The asker may have been cancelled; there is nobody to tell then.
            drop(sender.send(result));
        }));
        receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the raft store is closed")))
    }

    fn family(&self, name: &str) -> io::Result<&rocksdb::ColumnFamily> {
        self.inner
            .db
            .cf_handle(name)
            .ok_or_else(|| io::Error::other(format!("the raft store has no family {name}")))
    }

    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.inner.db.write(batch).map_err(|error| io_error(&error))
    }

    /// Reads one of the few named values.
    pub(crate) fn meta(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.db.get(key).map_err(|error| io_error(&error))
    }

    /// Writes one of the few named values; durable after the next sync.
    pub(crate) fn set_meta(&self, key: &str, value: &[u8]) -> io::Result<()> {
        self.inner
            .db
            .put(key, value)
            .map_err(|error| io_error(&error))
    }

    /// Appends entries, each with its index; durable after the next sync.
    pub(crate) fn append(
        &self,
        entries: impl Iterator<Item = io::Result<(u64, Vec<u8>)>>,
    ) -> io::Result<()> {
        let log = self.family(LOG)?;
        let mut batch = WriteBatch::default();
        for entry in entries {
            let (index, bytes) = entry?;
            batch.put_cf(log, index.to_be_bytes(), bytes);
        }
        self.write(batch)
    }

    /// Entries from `start` to before `end`, as long as they follow each other.
    pub(crate) fn entries(&self, start: u64, end: u64) -> io::Result<Vec<Vec<u8>>> {
        let log = self.family(LOG)?;
        let mut read = rocksdb::ReadOptions::default();
        read.set_iterate_lower_bound(start.to_be_bytes());
        read.set_iterate_upper_bound(end.to_be_bytes());
        let mut entries = Vec::new();
        for item in self
            .inner
            .db
            .iterator_cf_opt(log, read, IteratorMode::Start)
        {
            let (_, value) = item.map_err(|error| io_error(&error))?;
            entries.push(value.into_vec());
        }
        Ok(entries)
    }

    /// The last entry of the log.
    pub(crate) fn last_entry(&self) -> io::Result<Option<Vec<u8>>> {
        let log = self.family(LOG)?;
        match self.inner.db.iterator_cf(log, IteratorMode::End).next() {
            Some(Ok((_, value))) => Ok(Some(value.into_vec())),
            Some(Err(error)) => Err(io_error(&error)),
            None => Ok(None),
        }
    }

    /// Removes every entry from `start` on; durable after the next sync.
    pub(crate) fn truncate(&self, start: u64) -> io::Result<()> {
        self.remove_range(start.to_be_bytes().to_vec(), vec![0xff; 9], None)
    }

    /// Removes every entry up to and with `last`, and notes a value in the same write.
    pub(crate) fn purge(&self, last: u64, key: &str, value: &[u8]) -> io::Result<()> {
        let end = last.saturating_add(1).to_be_bytes().to_vec();
        self.remove_range(Vec::new(), end, Some((key, value)))
    }

    fn remove_range(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        note: Option<(&str, &[u8])>,
    ) -> io::Result<()> {
        let log = self.family(LOG)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(log, start, end);
        if let Some((key, value)) = note {
            batch.put(key, value);
        }
        self.write(batch)
    }

    /// The snapshot's description and data.
    pub(crate) fn snapshot(&self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let family = self.family(SNAPSHOT)?;
        let get = |key: &str| {
            self.inner
                .db
                .get_cf(family, key)
                .map_err(|error| io_error(&error))
        };
        Ok(get("meta")?.zip(get("data")?))
    }

    /// Replaces the snapshot, both parts or none; durable after the next sync.
    pub(crate) fn set_snapshot(&self, meta: &[u8], data: &[u8]) -> io::Result<()> {
        let family = self.family(SNAPSHOT)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(family, "meta", meta);
        batch.put_cf(family, "data", data);
        self.write(batch)
    }
}

/// The sync thread: one sync for all that asked since the last.
fn sync_rounds(
    db: &DB,
    path: &Path,
    requests: &mpsc::Receiver<OnSynced>,
    syncs: &AtomicU64,
    hooks: &StoreHooks,
) {
    while let Ok(first) = requests.recv() {
        let mut waiting = vec![first];
        waiting.extend(requests.try_iter());
        if let Some(before) = &hooks.before_sync {
            before(path);
        }
        let result = db.flush_wal(true).map_err(|error| io_error(&error));
        if result.is_ok() {
            syncs.fetch_add(1, Ordering::AcqRel);
            if let Some(after) = &hooks.after_sync {
                after(path);
            }
        }
        for done in waiting {
            done(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::other(error.to_string())),
            });
        }
    }
}

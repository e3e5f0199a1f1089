//! The disk tier: RocksDB behind the store's own threads.
//!
//! Nothing here blocks a caller. Reads and writes are jobs in bounded queues; a caller waits for the answer of a read, up
//! to a deadline, and for room to hand over a chunk, up to another. All changes of one key go through one writing thread
//! in order, so a body's chunks are written before its metadata without any of them being waited for.
//!
//! * [`folder`]: whose data it is; [`record`]: what metadata looks like; [`rocks`]: RocksDB.
//! * [`queue`], [`pending`]: what waits for the threads, and what is not to be believed meanwhile.
//! * [`writing`], [`reading`]: the jobs themselves.
//! * [`upkeep`]: the thread that flushes, keeps the bounds and forgets.

mod folder;
mod pending;
mod queue;
mod reading;
mod record;
mod rocks;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::key::KeySecret;
use crate::options::Options;
use crate::stats::{DiskCounts, Stats};
use crate::store::OpenError;
use folder::Folder;
use pending::{Owed, Pending};
use queue::{Queue, Taken};
pub(crate) use reading::{Found, Looked, Place};
pub(crate) use record::EntryRecord;
use rocks::{Rocks, Table};
use upkeep::Upkeep;
pub(crate) use writing::WriteRoom;

const READERS: usize = 4;
const WRITERS: usize = 2;
/// Reads that may wait; each is a caller that waits too.
const READS_MAX: usize = 1024;
/// Writes that may wait for one thread, whatever their size.
const WRITES_MAX: usize = 16 * 1024;
/// A thread without work looks this often for what it owes.
const IDLE: Duration = Duration::from_millis(500);
/// After the disk failed or would not take a chunk in time, fills leave it alone for so long.
const REST: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&Rocks) + Send>;

struct Writing {
    queue: Queue<Job>,
    pending: Pending,
}

/// What callers and threads share. It does not own RocksDB: the threads do, so that joining them closes it.
pub(crate) struct Disk {
    options: Options,
    reads: Queue<Job>,
    writes: Vec<Writing>,
    read_slots: Arc<Semaphore>,
    /// In KiB.
    write_room: Arc<Semaphore>,
    counts: DiskCounts,
    began: Instant,
    /// Milliseconds since `began` until which fills leave the disk alone.
    rests_until_ms: AtomicU64,
    upkeep: Upkeep,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// Opens the folder and starts the threads.
    pub(crate) fn open(
        options: Options,
        stamp: [u8; 24],
    ) -> Result<(Arc<Self>, KeySecret), OpenError> {
        let budget = options.budget();
        let folder = Folder::open(&options.dir, stamp)?;
        let secret = folder.secret().clone();
        let rocks = match Rocks::open(&folder.entries(), &folder.bodies(), &budget) {
            Ok(rocks) => rocks,
            Err(error) => {
                tracing::warn!(%error, dir = %folder.path().display(), "cache cannot be opened, starting empty");
                folder.empty()?;
                Rocks::open(&folder.entries(), &folder.bodies(), &budget)
                    .map_err(|error| OpenError::Database(error.to_string()))?
            }
        };
        let room_kib =
            usize::try_from(budget.writes_bytes / 1024).unwrap_or(Semaphore::MAX_PERMITS);
        let disk = Arc::new(Self {
            reads: Queue::new(READS_MAX),
            writes: (0..WRITERS)
                .map(|_| Writing {
                    queue: Queue::new(WRITES_MAX),
                    pending: Pending::default(),
                })
                .collect(),
            read_slots: Arc::new(Semaphore::new(READS_MAX)),
            write_room: Arc::new(Semaphore::new(room_kib)),
            counts: DiskCounts::default(),
            began: Instant::now(),
            rests_until_ms: AtomicU64::new(0),
            upkeep: Upkeep::new(budget, options.disk_free_min_bytes),
            threads: Mutex::new(Vec::new()),
            options,
        });
        if let Err(source) = disk.start(rocks, folder) {
            disk.shut_down();
            let path = disk.options.dir.clone();
            return Err(OpenError::Folder { path, source });
        }
        Ok((disk, secret))
    }

    fn start(self: &Arc<Self>, rocks: Rocks, folder: Folder) -> std::io::Result<()> {
        let rocks = Arc::new(rocks);
        let mut threads = self.threads.lock();
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name).spawn(work)
        };
        for writer in 0..WRITERS {
            let (disk, rocks) = (self.clone(), rocks.clone());
            let work = Box::new(move || disk.write_on(writer, &rocks));
            threads.push(spawn(format!("cache-write-{writer}"), work)?);
        }
        for reader in 0..READERS {
            let (disk, rocks) = (self.clone(), rocks.clone());
            let work = Box::new(move || disk.read_on(&rocks));
            threads.push(spawn(format!("cache-read-{reader}"), work)?);
        }
        let disk = self.clone();
        // Joined last: it flushes, closes RocksDB and then lets go of the folder.
        let work = Box::new(move || {
            disk.upkeep.run(&disk.counts, &rocks, folder.path());
            drop(rocks);
            drop(folder);
        });
        threads.push(spawn("cache-upkeep".to_owned(), work)?);
        Ok(())
    }

    fn read_on(&self, rocks: &Rocks) {
        loop {
            match self.reads.take(IDLE) {
                Taken::Job(job) => job(rocks),
                Taken::Idle => {}
                Taken::Closed => return,
            }
        }
    }

    fn write_on(&self, writer: usize, rocks: &Rocks) {
        let Writing { queue, pending } = &self.writes[writer];
        loop {
            match queue.take(IDLE) {
                Taken::Job(job) => job(rocks),
                Taken::Idle => {}
                Taken::Closed => return self.pay(pending, &pending.owed(), rocks),
            }
            // Only when nothing has been queued before: an older job must not write after its key's record was removed.
            let owed = pending.owed();
            if owed != Owed::Nothing && queue.is_empty() {
                self.pay(pending, &owed, rocks);
            }
        }
    }

    /// Removes what could not be changed when it should have been.
    fn pay(&self, pending: &Pending, owed: &Owed, rocks: &Rocks) {
        let paid = match owed {
            Owed::Nothing => return,
            Owed::Everything => rocks.remove_all_records(),
            Owed::Keys(hashes) => hashes.iter().try_for_each(|hash| {
                rocks.remove_record(Table::Entries, *hash)?;
                rocks.remove_record(Table::Directories, *hash)
            }),
        };
        match paid {
            Ok(()) => pending.paid(owed),
            Err(error) => self.failing(&error),
        }
    }

    fn failing(&self, error: &dyn std::fmt::Display) {
        self.counts.errors.add(1);
        if self.rest() {
            tracing::warn!(%error, "cache disk fails, serving on without storing");
        }
    }

    /// Leaves the disk alone for a while; says whether it was in use until now.
    fn rest(&self) -> bool {
        let now = self.now_ms();
        let until = now + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        self.rests_until_ms.fetch_max(until, Ordering::Relaxed) <= now
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// True while fills may write.
    pub(crate) fn accepts(&self) -> bool {
        !self.upkeep.short_of_room() && self.now_ms() >= self.rests_until_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self, stats: &mut Stats) {
        self.counts.report(stats);
        stats.disk_queued = self
            .writes
            .iter()
            .map(|writing| writing.queue.len() as u64)
            .sum();
        let (bytes, bodies_max_bytes, entries) = self.upkeep.sizes();
        stats.disk_bytes = bytes;
        stats.disk_bodies_max_bytes = bodies_max_bytes;
        stats.disk_entries = entries;
    }

    /// Waits until all that is queued now is written, then until RocksDB has put it into files.
    pub(crate) async fn flush(self: &Arc<Self>) {
        for writing in &self.writes {
            let (done, written) = oneshot::channel::<()>();
            let barrier: Job = Box::new(move |_| drop(done));
            if writing.queue.push(barrier).is_ok() {
                // It is only ever dropped: that is the signal.
                drop(written.await);
            }
        }
        let disk = self.clone();
        let flushed = self.ask(Duration::from_secs(60), move |rocks| {
            if let Err(error) = rocks.flush() {
                disk.failing(&error);
            }
            disk.upkeep.look(&disk.counts, rocks, &disk.options.dir);
        });
        flushed.await;
    }

    /// Finishes what is queued, flushes and closes RocksDB. Blocks for that long; later calls find nothing to do.
    pub(crate) fn shut_down(&self) {
        for writing in &self.writes {
            writing.queue.close();
        }
        self.reads.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let (upkeep, workers): (Vec<_>, Vec<_>) = threads
            .into_iter()
            .partition(|thread| thread.thread().name() == Some("cache-upkeep"));
        for thread in workers {
            join(thread);
        }
        self.upkeep.stop();
        upkeep.into_iter().for_each(join);
    }
}

/// The last owner may go on one of the store's own threads, which cannot wait for itself.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
        tracing::error!("a thread of the cache panicked");
    }
}

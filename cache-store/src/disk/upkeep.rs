//! The thread that looks after the disk tier: flushes, keeps the bounds, forgets.
//!
//! Bodies are dropped by RocksDB, oldest file first. Metadata follows: what is older than the oldest fill that any body
//! file still holds can lead to nothing, and goes. The bodies' bound gives way to the metadata as it grows, so that both
//! together stay within what the operator allows.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::rocks::{Rocks, RocksError};
use super::usage;
use crate::key::FillId;
use crate::options::Budget;
use crate::stats::DiskCounts;

/// How often the thread looks.
const LOOK: Duration = Duration::from_secs(1);
/// Chunks are in files after this long, full memtable or not.
const FLUSH_AFTER: Duration = Duration::from_secs(60);
/// Records forgotten at one look.
const FORGET_MAX: usize = 20_000;

pub(crate) struct Upkeep {
    budget: Budget,
    disk_free_min_bytes: u64,
    stopping: Mutex<bool>,
    wake: Condvar,
    short_of_room: AtomicBool,
    /// Set by a write, cleared by a flush.
    unflushed: AtomicBool,
    progress: Mutex<Progress>,
    disk_bytes: AtomicU64,
    bodies_bound_bytes: AtomicU64,
    entries: AtomicU64,
}

struct Progress {
    unflushed_since: Option<Instant>,
    /// Ages before this one are forgotten already.
    forgotten_to: Option<FillId>,
    bound_bytes: u64,
}

impl Upkeep {
    pub(crate) fn new(budget: Budget, disk_free_min_bytes: u64) -> Self {
        Self {
            disk_free_min_bytes,
            stopping: Mutex::new(false),
            wake: Condvar::new(),
            short_of_room: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                unflushed_since: None,
                forgotten_to: None,
                bound_bytes: budget.bodies_bound_bytes,
            }),
            disk_bytes: AtomicU64::new(0),
            bodies_bound_bytes: AtomicU64::new(budget.bodies_bound_bytes),
            entries: AtomicU64::new(0),
            budget,
        }
    }

    /// A chunk was written.
    pub(crate) fn wrote(&self) {
        self.unflushed.store(true, Ordering::Relaxed);
    }

    /// True while less is free on the file system than has to stay free.
    pub(crate) fn short_of_room(&self) -> bool {
        self.short_of_room.load(Ordering::Relaxed)
    }

    /// Bytes of the folder at the last look, the bodies' bound, and how many entries there are.
    pub(crate) fn sizes(&self) -> (u64, u64, u64) {
        (
            self.disk_bytes.load(Ordering::Relaxed),
            self.bodies_bound_bytes.load(Ordering::Relaxed),
            self.entries.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn stop(&self) {
        *self.stopping.lock() = true;
        self.wake.notify_all();
    }

    /// Looks again and again until told to stop; then flushes.
    pub(crate) fn run(&self, counts: &DiskCounts, rocks: &Rocks, dir: &Path) {
        loop {
            self.look(counts, rocks, dir);
            let mut stopping = self.stopping.lock();
            if !*stopping {
                self.wake.wait_for(&mut stopping, LOOK);
            }
            if *stopping {
                break;
            }
        }
        if let Err(error) = rocks.flush() {
            tracing::warn!(%error, "cache could not be flushed at its end");
        }
    }

    /// One look: everything that is due.
    pub(crate) fn look(&self, counts: &DiskCounts, rocks: &Rocks, dir: &Path) {
        let mut progress = self.progress.lock();
        self.keep_free(dir);
        let steps = [
            self.flush_when_due(&mut progress, rocks),
            self.keep_bounds(&mut progress, counts, rocks, dir),
            self.forget(&mut progress, counts, rocks),
        ];
        for error in steps.into_iter().filter_map(Result::err) {
            counts.errors.add(1);
            tracing::warn!(%error, "cache upkeep failed");
        }
        self.entries
            .store(rocks.entries_estimate(), Ordering::Relaxed);
    }

    fn keep_free(&self, dir: &Path) {
        let short = usage::free_bytes(dir).is_some_and(|free| free < self.disk_free_min_bytes);
        if self.short_of_room.swap(short, Ordering::Relaxed) != short {
            if short {
                tracing::warn!("cache disk is short of free room, serving on without storing");
            } else {
                tracing::info!("cache disk has free room again");
            }
        }
    }

    fn flush_when_due(&self, progress: &mut Progress, rocks: &Rocks) -> Result<(), RocksError> {
        if self.unflushed.swap(false, Ordering::Relaxed) && progress.unflushed_since.is_none() {
            progress.unflushed_since = Some(Instant::now());
        }
        if progress
            .unflushed_since
            .is_some_and(|since| since.elapsed() >= FLUSH_AFTER)
        {
            progress.unflushed_since = None;
            if rocks.unflushed_bytes() > 0 {
                rocks.flush_bodies()?;
            }
        }
        Ok(())
    }

    fn keep_bounds(
        &self,
        progress: &mut Progress,
        counts: &DiskCounts,
        rocks: &Rocks,
        dir: &Path,
    ) -> Result<(), RocksError> {
        let all = usage::folder_bytes(dir);
        let bodies = usage::files_bytes(&dir.join("bodies.rocksdb"), &[".blob", ".sst"]);
        let other = all.saturating_sub(bodies);
        self.disk_bytes.store(all, Ordering::Relaxed);
        let bound = self.budget.bodies_bound(other);
        // Small moves are not worth a write of RocksDB's options file.
        if bound.abs_diff(progress.bound_bytes) > self.budget.disk_max_bytes / 64 {
            rocks.set_bodies_bound(bound)?;
            progress.bound_bytes = bound;
            self.bodies_bound_bytes.store(bound, Ordering::Relaxed);
        }
        if other > self.budget.entries_bound()
            && let Some(horizon) = rocks.nth_age(progress.forgotten_to, FORGET_MAX)?
        {
            self.forget_to(progress, counts, rocks, horizon)?;
        }
        Ok(())
    }

    /// Forgets metadata that is older than every body.
    fn forget(
        &self,
        progress: &mut Progress,
        counts: &DiskCounts,
        rocks: &Rocks,
    ) -> Result<(), RocksError> {
        // To the second: a fill of the same second may be in no file yet.
        match rocks.oldest_fill()?.map(|oldest| oldest.second()) {
            Some(horizon) if progress.forgotten_to.is_none_or(|to| to < horizon) => {
                self.forget_to(progress, counts, rocks, horizon)
            }
            _ => Ok(()),
        }
    }

    fn forget_to(
        &self,
        progress: &mut Progress,
        counts: &DiskCounts,
        rocks: &Rocks,
        horizon: FillId,
    ) -> Result<(), RocksError> {
        let forgotten = rocks.forget_before(progress.forgotten_to, horizon, FORGET_MAX)?;
        progress.forgotten_to = Some(forgotten.next.unwrap_or(horizon));
        counts.forgotten.add(forgotten.records);
        Ok(())
    }
}

//! RocksDB: the one file of this crate that names it.
//!
//! Two instances. *entries* holds the metadata: levelled, with a write-ahead log that is never synced, so that a killed
//! process loses nothing and a power cut costs some misses. *bodies* holds the chunks: FIFO with blob files, no log, no
//! compaction, so that every byte is written once and the oldest file is dropped whole when the bound is reached.
//!
//! RocksDB remembers none of what matters here: every option, above all the bound, is set at every open.
//!
//! All calls block; only the store's own threads make them.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, DB, Direction, FlushOptions, IteratorMode, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::record::age_of;
use crate::key::FillId;
use crate::options::Budget;

/// RocksDB said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RocksError(String);

impl From<rocksdb::Error> for RocksError {
    fn from(error: rocksdb::Error) -> Self {
        Self(error.to_string())
    }
}

type Result<T> = std::result::Result<T, RocksError>;

/// Which table of the metadata a record is in. The number is part of the format of the table of ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Entries = 1,
    Directories = 2,
}

const ENTRIES: &str = "entries";
const DIRECTORIES: &str = "directories";
/// Age → table and hash, so that what is as old as the dropped bodies is found without a scan.
const AGES: &str = "ages";

/// Smaller chunks stay in the table files; a blob record of their own would cost more than it saves.
const BLOB_MIN_BYTES: usize = 4096;

/// Both instances.
pub(crate) struct Rocks {
    entries: DB,
    bodies: DB,
    unlogged: WriteOptions,
}

/// How far forgetting got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) records: u64,
    /// The first age that was not looked at; none when there is nothing older than the horizon any more.
    pub(crate) next: Option<FillId>,
}

/// Options that both instances share: few and small log files, nothing allocated ahead, so that `du` and the bound mean
/// the same.
fn common(options: &mut Options) {
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(512 << 10);
    options.set_stats_dump_period_sec(0);
    options.set_max_background_jobs(2);
    options.set_max_open_files(-1);
}

const COMMON: &str = "allow_fallocate=false;compression=kNoCompression;info_log_level=WARN_LEVEL;";

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table
}

/// The chunk's key: fill, then number, so that a body's chunks lie together.
fn chunk_key(fill: &FillId, number: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(fill.as_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Rocks {
    pub(crate) fn open(entries: &Path, bodies: &Path, budget: &Budget) -> Result<Self> {
        let cache = Cache::new_lru_cache(to_usize(budget.block_cache_bytes));
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(Self {
            entries: open_entries(entries, budget, &cache)?,
            bodies: open_bodies(bodies, budget, &cache)?,
            unlogged,
        })
    }

    pub(crate) fn chunk(&self, fill: &FillId, number: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.bodies.get(chunk_key(fill, number))?)
    }

    pub(crate) fn put_chunk(&self, fill: &FillId, number: u32, framed: &[u8]) -> Result<()> {
        Ok(self
            .bodies
            .put_opt(chunk_key(fill, number), framed, &self.unlogged)?)
    }

    fn table(&self, table: Table) -> &ColumnFamily {
        self.family(match table {
            Table::Entries => ENTRIES,
            Table::Directories => DIRECTORIES,
        })
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.entries
            .cf_handle(name)
            .expect("every column family is made when the store is opened")
    }

    pub(crate) fn record(&self, table: Table, hash: u128) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.get_cf(self.table(table), hash.to_be_bytes())?)
    }

    /// Puts a record that carries `age`, and notes the age.
    pub(crate) fn put_record(
        &self,
        table: Table,
        hash: u128,
        age: &FillId,
        record: &[u8],
    ) -> Result<()> {
        let mut batch = WriteBatch::default();
        let hash = hash.to_be_bytes();
        batch.put_cf(self.table(table), hash, record);
        let mut place = [0; 17];
        place[0] = table as u8;
        place[1..].copy_from_slice(&hash);
        batch.put_cf(self.family(AGES), age.as_bytes(), place);
        Ok(self.entries.write(batch)?)
    }

    /// Replaces a record whose age stays.
    pub(crate) fn replace_record(&self, table: Table, hash: u128, record: &[u8]) -> Result<()> {
        Ok(self
            .entries
            .put_cf(self.table(table), hash.to_be_bytes(), record)?)
    }

    pub(crate) fn remove_record(&self, table: Table, hash: u128) -> Result<()> {
        Ok(self
            .entries
            .delete_cf(self.table(table), hash.to_be_bytes())?)
    }

    /// Removes all records. Bodies stay until their files are dropped; nothing leads to them any more.
    pub(crate) fn remove_all_records(&self) -> Result<()> {
        for name in [ENTRIES, DIRECTORIES, AGES] {
            self.entries.delete_range_cf(
                self.family(name),
                [0_u8; 16].as_slice(),
                [0xff_u8; 17].as_slice(),
            )?;
        }
        Ok(())
    }

    /// The smallest fill that any body file still holds; none while no file was written.
    pub(crate) fn oldest_fill(&self) -> Result<Option<FillId>> {
        let oldest = self
            .bodies
            .live_files()?
            .into_iter()
            .filter_map(|file| FillId::from_slice(file.start_key?.get(..FillId::BYTES)?))
            .min();
        Ok(oldest)
    }

    /// Forgets up to `records_max` records that are older than `horizon`, from `from` on.
    pub(crate) fn forget_before(
        &self,
        from: Option<FillId>,
        horizon: FillId,
        records_max: usize,
    ) -> Result<Forgotten> {
        let mut reads = ReadOptions::default();
        reads.fill_cache(false);
        reads.set_iterate_upper_bound(horizon.as_bytes().to_vec());
        let begin = from.unwrap_or(FillId::from_bytes([0; 16]));
        let mode = IteratorMode::From(begin.as_bytes(), Direction::Forward);
        let mut batch = WriteBatch::default();
        let mut forgotten = Forgotten::default();
        for item in self.entries.iterator_cf_opt(self.family(AGES), reads, mode) {
            let (age, place) = item?;
            let Some(age) = FillId::from_slice(&age) else {
                continue;
            };
            if forgotten.records >= records_max as u64 {
                forgotten.next = Some(age);
                break;
            }
            forgotten.records += 1;
            self.forget_one(&mut batch, &age, &place)?;
        }
        let end = forgotten.next.unwrap_or(horizon);
        if begin < end {
            batch.delete_range_cf(self.family(AGES), begin.as_bytes(), end.as_bytes());
        }
        self.entries.write(batch)?;
        Ok(forgotten)
    }

    /// A record goes only if the age is still its own: a newer fill of the same key has another.
    fn forget_one(&self, batch: &mut WriteBatch, age: &FillId, place: &[u8]) -> Result<()> {
        let Some((&table, hash)) = place.split_first() else {
            return Ok(());
        };
        let family = match table {
            1 => self.family(ENTRIES),
            2 => self.family(DIRECTORIES),
            _ => return Ok(()),
        };
        if let Some(record) = self.entries.get_pinned_cf(family, hash)?
            && age_of(&record) == Some(*age)
        {
            batch.delete_cf(family, hash);
        }
        Ok(())
    }

    /// The age of the n-th oldest record, as far as ages are noted.
    pub(crate) fn nth_age(&self, from: Option<FillId>, n: usize) -> Result<Option<FillId>> {
        let mut reads = ReadOptions::default();
        reads.fill_cache(false);
        let begin = from.unwrap_or(FillId::from_bytes([0; 16]));
        let mode = IteratorMode::From(begin.as_bytes(), Direction::Forward);
        match self
            .entries
            .iterator_cf_opt(self.family(AGES), reads, mode)
            .nth(n)
        {
            Some(item) => Ok(FillId::from_slice(&item?.0)),
            None => Ok(None),
        }
    }

    /// Sets the bound of the bodies' files; what is over it goes with the next file that is written.
    pub(crate) fn set_bodies_bound(&self, bytes: u64) -> Result<()> {
        let value = format!("{{max_data_files_size={bytes}}}");
        Ok(self
            .bodies
            .set_options(&[("compaction_options_fifo", &value)])?)
    }

    pub(crate) fn flush_bodies(&self) -> Result<()> {
        Ok(self.bodies.flush()?)
    }

    /// Flushes both instances and waits for it.
    pub(crate) fn flush(&self) -> Result<()> {
        self.bodies.flush()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families: Vec<_> = [ENTRIES, DIRECTORIES, AGES]
            .map(|name| self.family(name))
            .into();
        Ok(self.entries.flush_cfs_opt(&families, &options)?)
    }

    /// Chunk bytes that no file holds yet: what a kill would lose.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        let name = "rocksdb.cur-size-all-mem-tables";
        self.bodies
            .property_int_value(name)
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    /// How many entries there are, as RocksDB estimates it.
    pub(crate) fn entries_estimate(&self) -> u64 {
        self.entries
            .property_int_value_cf(self.family(ENTRIES), "rocksdb.estimate-num-keys")
            .ok()
            .flatten()
            .unwrap_or(0)
    }
}

fn open_entries(path: &Path, budget: &Budget, cache: &Cache) -> Result<DB> {
    let mut base = Options::default();
    common(&mut base);
    let memtable = budget.entries_memtable_bytes;
    let mut options = base.get_options_from_string(format!(
        "{COMMON}write_buffer_size={memtable};max_write_buffer_number=2;db_write_buffer_size={total};\
         max_total_wal_size={total};target_file_size_base={file};max_bytes_for_level_base={level};max_manifest_file_size=1048576;",
        total = 2 * memtable,
        file = (2 * memtable).max(2 << 20),
        level = (8 * memtable).max(8 << 20),
    ))?;
    options.set_block_based_table_factory(&table_options(cache));
    let families = [ENTRIES, DIRECTORIES, AGES].map(|name| (name, options.clone()));
    let default = ("default", options.clone());
    Ok(DB::open_cf_with_opts(
        &options,
        path,
        families.into_iter().chain([default]),
    )?)
}

fn open_bodies(path: &Path, budget: &Budget, cache: &Cache) -> Result<DB> {
    let mut base = Options::default();
    common(&mut base);
    let mut options = base.get_options_from_string(format!(
        "{COMMON}compaction_style=kCompactionStyleFIFO;ttl=0;enable_blob_files=true;min_blob_size={BLOB_MIN_BYTES};\
         blob_file_size=268435456;blob_compression_type=kNoCompression;write_buffer_size={memtable};\
         max_write_buffer_number=3;bytes_per_sync=1048576;max_manifest_file_size=1048576;\
         compaction_options_fifo={{max_table_files_size={bound};max_data_files_size={bound};allow_compaction=false;}};",
        memtable = budget.bodies_memtable_bytes,
        bound = budget.bodies_bound_bytes,
    ))?;
    options.set_block_based_table_factory(&table_options(cache));
    Ok(DB::open(&options, path)?)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Drop for Rocks {
    fn drop(&mut self) {
        self.bodies.cancel_all_background_work(true);
        self.entries.cancel_all_background_work(true);
    }
}

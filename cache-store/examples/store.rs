//! Measures the store on this machine: `cargo run --release -p nearside-cache-store --example store [GIB] [BOUND_MIB]`.
//!
//! Mixed bodies (60 % to 32 KiB, 30 % to 256 KiB, 10 % 1 MiB) through a bound on disk: speed, bytes written over bytes
//! put, what is on disk at most, resident memory. Then hits from memory on two threads, and reads from disk.
#![expect(clippy::print_stdout, reason = "a measurement prints what it measured")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use nearside_cache_store::{DecodeError, Fill, Meta, Options, Store};

struct Head(Vec<u8>);

impl Meta for Head {
    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(bytes.to_vec()))
    }

    fn weigh(&self) -> usize {
        self.0.len()
    }
}

const MIB: u64 = 1 << 20;

fn size_of(seed: u64) -> usize {
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let size = match random % 10 {
        0..6 => 4096 + (random >> 8) % (28 << 10),
        6..9 => 4096 + (random >> 8) % (252 << 10),
        _ => MIB,
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn proc_value(file: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn folder_bytes(path: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(path) else {
        return 0;
    };
    let sizes = files.filter_map(|file| {
        let file = file.ok()?;
        let metadata = file.metadata().ok()?;
        Some(match metadata.is_dir() {
            true => folder_bytes(&file.path()),
            false => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        })
    });
    sizes.sum()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let total = (arguments.next().map_or(Ok(2.0), |gib| gib.parse::<f64>())? * 1024.0) as u64 * MIB;
    let bound = arguments.next().map_or(Ok(512), |mib| mib.parse::<u64>())? * MIB;
    let dir = tempfile::tempdir()?;
    let memory = 256 * MIB;
    let store: Store<Head> = Store::open(Options::new(dir.path(), memory, bound), [1; 24])?;

    let random: Bytes = (0..2 * MIB)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8)
        .collect::<Vec<_>>()
        .into();
    let written_before = proc_value("/proc/self/io", "write_bytes:")?;
    let (mut put, mut seed, mut most) = (0, 0, 0);
    let mut waits = Vec::new();
    let began = Instant::now();
    while put < total {
        let size = size_of(seed);
        let body = random.slice(seed as usize % 4096..).slice(..size);
        let key = store.key(format!("https://shop.example/object/{seed}"));
        let Fill::Lead(mut writer) = store.fill(&key, None, |_| false, 1) else {
            bail!("led by nobody else")
        };
        let one = Instant::now();
        writer.head(Head(vec![7; 300]), Some(size as u64));
        writer.write(body).await?;
        writer.finish()?;
        waits.push(one.elapsed());
        put += size as u64;
        seed += 1;
        if seed % 500 == 0 {
            most = most.max(folder_bytes(dir.path()));
        }
    }
    let took = began.elapsed();
    store.flush().await;
    most = most.max(folder_bytes(dir.path()));
    waits.sort();
    let quantile = |q: f64| waits[((waits.len() - 1) as f64 * q) as usize];
    let written = proc_value("/proc/self/io", "write_bytes:")? - written_before;
    let stats = store.stats();
    println!(
        "put            {} MiB in {seed} bodies: {:.0} MB/s",
        put / MIB,
        put as f64 / took.as_secs_f64() / 1e6
    );
    println!(
        "put time       p50 {:?}, p99 {:?}, most {:?}",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
    println!(
        "written        {:.3} of what was put; {} bodies skipped the disk",
        written as f64 / put as f64,
        stats.fills_without_disk
    );
    println!(
        "on disk        most {:.1} % of the bound",
        most as f64 / bound as f64 * 100.0
    );
    println!(
        "resident       {} MiB with a bound of {}",
        proc_value("/proc/self/status", "VmRSS:")? / 1024,
        memory / MIB
    );

    hits(&store, seed);
    from_disk(&store, seed).await?;
    let began = Instant::now();
    store.close();
    println!("close          {:?}", began.elapsed());
    let began = Instant::now();
    let store: Store<Head> = Store::open(Options::new(dir.path(), memory, bound), [1; 24])?;
    println!("open           {:?}", began.elapsed());
    from_disk(&store, seed).await
}

/// Hits per second from memory, on two threads.
fn hits(store: &Store<Head>, seed: u64) {
    let keys: Vec<_> = (0..seed)
        .map(|seed| store.key(format!("https://shop.example/object/{seed}")))
        .filter(|key| store.peek(key).is_some())
        .collect();
    let keys = Arc::new(keys);
    let threads = [1, 7].map(|step| {
        let (store, keys) = (store.clone(), keys.clone());
        std::thread::spawn(move || {
            let began = Instant::now();
            let mut found = 0_u64;
            while began.elapsed() < Duration::from_secs(1) {
                for index in 0..1000 {
                    found += u64::from(store.peek(&keys[index * step % keys.len()]).is_some());
                }
            }
            found
        })
    });
    let found: u64 = threads
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .sum();
    println!(
        "memory hits    {:.1} million a second on two threads ({} entries)",
        found as f64 / 1e6,
        keys.len()
    );
}

async fn from_disk(store: &Store<Head>, seed: u64) -> anyhow::Result<()> {
    let (mut bytes, mut found, mut waits) = (0, 0_u64, Vec::new());
    let began = Instant::now();
    for seed in (0..seed).rev().step_by(3) {
        let key = store.key(format!("https://shop.example/object/{seed}"));
        if store.peek(&key).is_some() {
            continue;
        }
        let one = Instant::now();
        let Some(entry) = store.lookup(&key).await else {
            continue;
        };
        let Ok(mut reader) = store.read(&entry, 0..u64::MAX).await else {
            continue;
        };
        waits.push(one.elapsed());
        while let Some(piece) = reader.next().await {
            bytes += piece?.len() as u64;
        }
        found += 1;
        if began.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    waits.sort();
    let quantile = |q: f64| {
        waits
            .get((waits.len().saturating_sub(1) as f64 * q) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "disk reads     {:.0} a second, {:.0} MB/s, first piece p50 {:?}, p99 {:?}",
        found as f64 / began.elapsed().as_secs_f64(),
        bytes as f64 / began.elapsed().as_secs_f64() / 1e6,
        quantile(0.5),
        quantile(0.99),
    );
    Ok(())
}

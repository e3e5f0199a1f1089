//! One writer, many followers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearside_cache_store::{Fill, FillEnd, Finished, Store, WriteError};

use crate::world::{MIB, Note, body, follow_all, get, lead, open, options, put, read_all};

fn memory_only() -> Store<Note> {
    open(std::path::Path::new("unused"), 64, 0)
}

#[tokio::test]
async fn followers_get_bytes_as_they_arrive_and_the_entry_stays() {
    let store = memory_only();
    let key = store.key("a");
    let mut writer = lead(&store, &key);
    let Fill::Follow(mut follower) = store.fill(&key, None, |tag| tag == 1, 2) else {
        panic!("the fill runs");
    };
    writer.head(Note("head".into()), None);
    assert_eq!(follower.head().await.unwrap().0, "head");
    for piece in ["one ", "two ", "three"] {
        writer
            .write(Bytes::from_static(piece.as_bytes()))
            .await
            .unwrap();
        assert_eq!(follower.next().await.unwrap().unwrap(), piece);
    }
    assert!(matches!(writer.finish(), Ok(Finished::InMemory(_))));
    assert!(follower.next().await.is_none());
    let entry = store.peek(&key).unwrap();
    assert_eq!(
        entry.body().unwrap(),
        [Bytes::from_static(b"one two three")]
    );
    assert_eq!((entry.tag(), entry.body_bytes()), (1, 13));
    assert_eq!(read_all(&store, &entry, 4..7).await.unwrap(), b"two");
    assert_eq!(read_all(&store, &entry, 8..99).await.unwrap(), b"three");
    assert_eq!(store.stats().fills_running, 0);
}

#[tokio::test]
async fn a_reader_joins_only_a_fill_whose_tag_it_accepts() {
    let store = memory_only();
    let key = store.key("a");
    let first = lead(&store, &key);
    let Fill::Lead(second) = store.fill(&key, None, |tag| tag >= 5, 5) else {
        panic!("the first fill began too early for this reader");
    };
    let Fill::Follow(follower) = store.fill(&key, None, |tag| tag >= 5, 6) else {
        panic!("the second fill is the one to join");
    };
    assert_eq!(follower.tag(), 5);
    drop(first);
    assert!(matches!(
        store.fill(&key, None, |tag| tag >= 5, 7),
        Fill::Follow(_)
    ));
    drop(second);
    assert!(matches!(store.fill(&key, None, |_| true, 8), Fill::Lead(_)));
}

#[tokio::test]
async fn a_fill_that_ended_between_lookup_and_fill_is_found() {
    let store = memory_only();
    let key = store.key("a");
    let seen = store.lookup(&key).await;
    put(&store, &key, "x", &body(1, 100)).await;
    let Fill::Stored(entry) = store.fill(&key, seen.as_ref(), |_| true, 2) else {
        panic!("it is there");
    };
    assert!(matches!(
        store.fill(&key, Some(&entry), |_| true, 2),
        Fill::Lead(_)
    ));
    assert!(matches!(
        store.fill(&key, None, |tag| tag > 1, 2),
        Fill::Lead(_)
    ));
}

#[tokio::test]
async fn declined_failed_and_abandoned_fills_release_their_followers() {
    let store = memory_only();
    let key = store.key("a");
    let writer = lead(&store, &key);
    let mut follower = writer.reader();
    let waiting = tokio::spawn(async move { follower.head().await.map(|_| ()) });
    tokio::task::yield_now().await;
    writer.decline();
    assert_eq!(waiting.await.unwrap(), Err(FillEnd::Declined));

    let mut writer = lead(&store, &key);
    let mut follower = writer.reader();
    writer.head(Note("x".into()), Some(10));
    writer.write(Bytes::from_static(b"12345")).await.unwrap();
    writer.fail("the origin went away");
    assert_eq!(
        follow_all(&mut follower).await,
        Err(FillEnd::Failed("the origin went away".into()))
    );

    let mut writer = lead(&store, &key);
    let mut follower = writer.reader();
    writer.head(Note("x".into()), None);
    drop(writer);
    assert_eq!(
        follower.next().await,
        Some(Err(FillEnd::Failed("abandoned".into())))
    );
    assert_eq!(follower.next().await, None);
    assert!(store.peek(&key).is_none());
    assert_eq!(store.stats().fills_running, 0);
}

#[tokio::test]
async fn a_body_of_the_wrong_length_is_never_complete() {
    let store = memory_only();
    let key = store.key("a");
    let mut writer = lead(&store, &key);
    let mut follower = writer.reader();
    writer.head(Note("x".into()), Some(10));
    writer.write(Bytes::from_static(b"12345")).await.unwrap();
    let short = WriteError::Length {
        declared_bytes: 10,
        written_bytes: 5,
    };
    assert_eq!(writer.finish().unwrap_err(), short);
    assert!(follow_all(&mut follower).await.is_err());

    let mut writer = lead(&store, &key);
    writer.head(Note("x".into()), Some(3));
    assert!(matches!(
        writer.write(Bytes::from_static(b"12345")).await,
        Err(WriteError::Length { .. })
    ));
    assert!(store.peek(&key).is_none());
}

/// A body far larger than memory: some read at full speed, some slowly, one begins late, one in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_a_large_fill_read_at_their_own_pace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 1024);
    let key = store.key("large");
    let whole = Arc::new(body(3, 96 * MIB as usize));
    let mut writer = lead(&store, &key);
    writer.head(Note("large".into()), Some(whole.len() as u64));
    let mut tasks = Vec::new();
    for pace in 0..6_u32 {
        let mut follower = writer.reader();
        let whole = whole.clone();
        tasks.push(tokio::spawn(async move {
            let from = if pace == 5 { 50 * MIB + 123 } else { 0 };
            follower.skip_to(from);
            let mut at = from as usize;
            while let Some(piece) = follower.next().await {
                let piece = piece.unwrap();
                assert!(whole[at..].starts_with(&piece), "at {at}");
                at += piece.len();
                if pace % 3 == 1 {
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            }
            assert_eq!(at, whole.len());
        }));
    }
    let mut largest = 0;
    for (index, piece) in whole.chunks(100_000).enumerate() {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        largest = largest.max(store.stats().fills_running_bytes);
        if index == 500 {
            let Fill::Follow(mut late) = store.fill(&key, None, |_| true, 2) else {
                panic!("it can still be joined from its first byte");
            };
            let whole = whole.clone();
            tasks.push(tokio::spawn(async move {
                assert!(follow_all(&mut late).await.unwrap() == whole[..]);
            }));
        }
    }
    assert!(matches!(writer.finish().unwrap(), Finished::OnDisk));
    assert!(largest <= 2 * MIB, "the window held {largest} bytes");
    for task in tasks {
        task.await.unwrap();
    }
    crate::world::eventually("the entry is there", async || store.peek(&key).is_some()).await;
    let entry = store.lookup(&key).await.unwrap();
    assert!(entry.body().is_none(), "it is too large for memory");
    assert!(read_all(&store, &entry, 0..u64::MAX).await.unwrap() == whole[..]);
    let middle = read_all(&store, &entry, 262_143..262_146).await.unwrap();
    assert_eq!(middle, whole[262_143..262_146]);
}

/// Neither tier has room for it: it passes through a window, said or unsaid how long it is, and is stored nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_larger_than_the_disk_streams_through_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 32, 64);
    let piece = body(5, 100_000);
    for known in [true, false] {
        let key = store.key("huge");
        let mut writer = lead(&store, &key);
        let mut reader = writer.reader();
        let length = 2000 * piece.len() as u64;
        writer.head(Note("huge".into()), known.then_some(length));
        let reading = tokio::spawn(async move {
            let mut read = 0_usize;
            while let Some(part) = reader.next().await {
                for byte in part.unwrap() {
                    assert_eq!(byte, body_at(read));
                    read += 1;
                }
            }
            read as u64
        });
        let mut largest = 0;
        for _ in 0..2000 {
            writer.write(piece.clone()).await.unwrap();
            largest = largest.max(store.stats().fills_running_bytes);
        }
        assert!(matches!(writer.finish().unwrap(), Finished::Nowhere));
        assert_eq!(reading.await.unwrap(), length);
        assert!(largest <= 2 * MIB, "{largest} bytes held");
        assert!(store.lookup(&key).await.is_none());
    }
}

fn body_at(offset: usize) -> u8 {
    static PIECE: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| body(5, 100_000));
    PIECE[offset % PIECE.len()]
}

/// Without a disk a large body is only passed on: the writer goes at the pace of the slowest, and one that stands still
/// while another waits is failed.
#[tokio::test]
async fn a_follower_that_holds_others_back_is_failed_visibly() {
    let mut options = options(std::path::Path::new("unused"), 32, 0);
    options.laggard_patience = Duration::from_millis(100);
    let store: Store<Note> = Store::open(options, [0; 24]).unwrap();
    let mut writer = lead(&store, &store.key("large"));
    let mut stuck = writer.reader();
    let mut reader = writer.reader();
    let whole = body(4, 20 * MIB as usize);
    writer.head(Note("x".into()), Some(whole.len() as u64));
    let reading = tokio::spawn(async move { follow_all(&mut reader).await });
    for piece in whole.chunks(64 << 10) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert!(matches!(writer.finish().unwrap(), Finished::Nowhere));
    assert!(reading.await.unwrap().unwrap() == whole[..]);
    assert!(matches!(stuck.next().await, Some(Err(FillEnd::Failed(_)))));
    assert_eq!(store.stats().fills_laggards_failed, 1);
}

#[tokio::test]
async fn a_fill_that_nobody_reads_and_nothing_stores_ends() {
    let store = memory_only();
    let mut writer = lead(&store, &store.key("large"));
    let reader = writer.reader();
    writer.head(Note("x".into()), None);
    drop(reader);
    let piece = Bytes::from(vec![0; 1 << 20]);
    let mut written = 0;
    let error = loop {
        match writer.write(piece.clone()).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 64);
    };
    assert_eq!(error, WriteError::Unwanted);
}

#[tokio::test]
async fn a_later_fill_takes_the_place_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 64, 64);
    let key = store.key("a");
    put(&store, &key, "old", &body(1, 1000)).await;
    put(&store, &key, "new", &body(2, 2000)).await;
    assert_eq!(get(&store, &key).await.unwrap(), body(2, 2000));
    let entry = store.peek(&key).unwrap();
    let touched = store.touch(&entry, Note("fresher".into()), 9);
    assert_eq!((touched.meta().0.as_str(), touched.tag()), ("fresher", 9));
    assert!(Arc::ptr_eq(&store.peek(&key).unwrap(), &touched));
    store.close();
    let store = open(dir.path(), 64, 64);
    let entry = store.lookup(&store.key("a")).await.unwrap();
    assert_eq!((entry.meta().0.as_str(), entry.tag()), ("fresher", 9));
    assert_eq!(entry.body().unwrap()[0], body(2, 2000));
}

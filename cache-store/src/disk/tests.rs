//! A disk that stands still: its threads are held, and nobody else is.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::chunk::Assembler;
use crate::key::{FillId, Key};
use crate::stats::Stats;

fn disk(dir: &std::path::Path, deadline: Duration) -> Arc<Disk> {
    let mut options = Options::new(dir, 64 << 20, 64 << 20);
    options.lookup_deadline = deadline;
    options.write_deadline = deadline;
    Disk::open(options, [1; 24]).unwrap().0
}

/// Keeps all threads of some queues busy until the sender goes.
fn hold<'a>(queues: impl Iterator<Item = (&'a Queue<Job>, usize)>) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    for (queue, threads) in queues {
        for _ in 0..threads {
            let (held, (begun, begins)) = (held.clone(), mpsc::channel());
            let job: Job = Box::new(move |_| {
                begun.send(()).unwrap();
                // An error: everyone is released.
                held.lock().recv().unwrap_err();
            });
            assert!(queue.push(job).is_ok());
            // The first holds the lock, the others wait for it.
            begins.recv().unwrap();
        }
    }
    release
}

fn counted(disk: &Disk) -> Stats {
    let mut stats = Stats::default();
    disk.report(&mut stats);
    stats
}

#[tokio::test]
async fn a_lookup_that_is_not_answered_in_time_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path(), Duration::from_millis(30));
    let key = Key::new(&KeySecret::new([1; 16]), "a");
    let release = hold([(&disk.reads, READERS)].into_iter());
    assert!(!matches!(disk.lookup(&key, 1000).await, Looked::Found(_)));
    assert_eq!(
        disk.directory(&key).await,
        Err(crate::read::ReadError::Slow)
    );
    assert_eq!(counted(&disk).disk_deadlines, 2);
    drop(release);
    disk.shut_down();
}

#[tokio::test]
async fn fills_skip_a_disk_that_stands_still_and_come_back_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path(), Duration::from_millis(30));
    let release = hold(disk.writes.iter().map(|writing| (&writing.queue, 1)));
    let all = disk.try_room(4 << 20).expect("nothing is queued");
    assert!(disk.try_room(1).is_none());
    assert!(disk.accepts());
    assert!(disk.room(1).await.is_none(), "waited for in vain");
    assert!(!disk.accepts(), "the next fills do not even wait");
    drop(all);
    assert!(disk.room(1).await.is_some());
    drop(release);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !disk.accepts() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    disk.shut_down();
}

#[tokio::test]
async fn what_a_queued_change_will_replace_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path(), Duration::from_secs(20));
    let key = Key::new(&KeySecret::new([1; 16]), "a");
    let fill = FillId::random();
    let mut assembler = Assembler::new(fill, Some(5));
    assembler.push(b"hello");
    let sealed = assembler.seal().unwrap();
    let record = EntryRecord {
        fill,
        tag: 1,
        length: 5,
        chunk_bytes: 1000,
        meta: Vec::new(),
    };
    assert!(disk.put_chunk(key.hash(), fill, sealed, None, |written| assert!(written)));
    let encoded = record.encode(&key);
    assert!(disk.commit(&key, fill, || Some(encoded), |_| {}));
    disk.flush().await;
    let Looked::Found(found) = disk.lookup(&key, 1000).await else {
        panic!("it was committed");
    };
    assert_eq!(
        (found.record, found.body.unwrap()),
        (record, vec!["hello".into()])
    );

    let release = hold(disk.writes.iter().map(|writing| (&writing.queue, 1)));
    assert!(disk.remove(&key));
    assert!(
        !matches!(disk.lookup(&key, 1000).await, Looked::Found(_)),
        "also while the removal waits"
    );
    drop(release);
    disk.shut_down();
}

//! A process killed with SIGKILL while it fills: what comes back is right, and what was in files comes back.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::world::{body, get, open, put};

const FOLDER: &str = "NEARSIDE_STORE_CRASH_FOLDER";

fn size(seed: u64) -> usize {
    usize::try_from(1000 + seed * 104_729 % 700_000).unwrap()
}

/// The other side: a process of its own that fills until it is killed. Without its folder it has nothing to do.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = open(dir.as_ref(), 32, 128);
    for seed in 0.. {
        put(
            &store,
            &store.key(format!("{seed}")),
            "note",
            &body(seed, size(seed)),
        )
        .await;
        if seed == 30 {
            store.flush().await;
            eprintln!("flushed");
        }
        if seed == 60 {
            eprintln!("filling");
        }
    }
}

#[tokio::test]
async fn a_kill_loses_only_what_was_not_flushed_and_no_body_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::the_process_that_is_killed",
            "--nocapture",
        ])
        .env(FOLDER, dir.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reached = lines.map_while(Result::ok).any(|line| line == "filling");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached, "the process filled until it was killed");

    let store = open(dir.path(), 32, 128);
    for seed in 0..=30 {
        let whole = get(&store, &store.key(format!("{seed}"))).await;
        assert!(
            whole.is_some_and(|whole| whole == body(seed, size(seed))),
            "object {seed}"
        );
    }
    for seed in 31..200 {
        if let Some(whole) = get(&store, &store.key(format!("{seed}"))).await {
            assert!(whole == body(seed, size(seed)), "object {seed}");
        }
    }
}

/// A copy of the folder taken while it is written to is what a machine that lost power may find: any mixture.
#[tokio::test]
async fn a_copy_taken_while_filling_serves_no_wrong_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let store = open(&live, 32, 128);
    for seed in 0..40 {
        put(
            &store,
            &store.key(format!("{seed}")),
            "note",
            &body(seed, size(seed)),
        )
        .await;
        if seed == 20 {
            store.flush().await;
        }
    }
    copy_folder(&live, &copy);
    let store = open(&copy, 32, 128);
    let mut hits = 0;
    for seed in 0..40 {
        if let Some(whole) = get(&store, &store.key(format!("{seed}"))).await {
            assert!(whole == body(seed, size(seed)), "object {seed}");
            hits += 1;
        }
    }
    assert!(hits > 0);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            copy_folder(&file.path(), &target);
        } else if let Err(error) = std::fs::copy(file.path(), target) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

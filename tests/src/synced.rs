//! A power cut, at file level: everything that was written and never synced is gone.
//!
//! A small library preloaded into the node (`shim/synced.c`) keeps a journal of successful syncs. After the node is
//! killed, each of its files is cut to the size it had at its last sync, and a file that was never synced is emptied.
//! The size is read after the sync, so bytes appended meanwhile by another thread may survive that a real cut would
//! take; the store under test appends from one thread at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the journal to the preloaded library.
pub(crate) const JOURNAL_VARIABLE: &str = "LAB_SYNCED";

/// Builds the library with the system's C compiler.
///
/// # Panics
/// When there is none: building RocksDB needs one, too.
pub(crate) fn build_witness(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/synced.c");
    let library = folder.join("synced.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .expect("a C compiler is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

/// Takes every unsynced byte from the files under `folder`; gives how many bytes and files that were.
pub(crate) fn drop_unsynced(journal: &Path, folder: &Path) -> (u64, usize) {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let durable = replay(&text);
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() {
                let kept = durable.get(&path).copied().unwrap_or(0);
                if about.len() > kept {
                    let file = std::fs::OpenOptions::new().write(true).open(&path);
                    let cut = file.and_then(|file| file.set_len(kept));
                    cut.expect("a file of the lab's folder can be cut");
                    bytes += about.len() - kept;
                    files += 1;
                }
            }
        }
    }
    (bytes, files)
}

/// Path → size at its last sync.
fn replay(journal: &str) -> HashMap<PathBuf, u64> {
    let mut durable = HashMap::new();
    for line in journal.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["synced", path, size] => {
                durable.insert(PathBuf::from(path), size.parse().unwrap_or(0));
            }
            ["renamed", from, to] => {
                let size = durable.remove(Path::new(from)).unwrap_or(0);
                durable.insert(PathBuf::from(to), size);
            }
            _ => {}
        }
    }
    durable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_stays_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (witness, data) = (build_witness(folder.path()), folder.path().join("data"));
        let journal = folder.path().join("journal");
        std::fs::create_dir(&data).unwrap();
        // dd's `conv=fsync` syncs once at the end; the shell's append after it does not.
        let script = "dd if=/dev/zero of=new bs=100 count=3 conv=fsync && mv new kept \
            && printf lost >> kept && printf never > never";
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(&data)
            .env("LD_PRELOAD", &witness)
            .env(JOURNAL_VARIABLE, &journal)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let size = |name: &str| data.join(name).metadata().unwrap().len();
        assert_eq!((size("kept"), size("never")), (304, 5));
        let journal_text = std::fs::read_to_string(&journal).unwrap();
        // `mv` renames by another call of the C library than the one that is watched.
        let renamed = format!("{journal_text}renamed\t{0}/new\t{0}/kept\n", data.display());
        std::fs::write(&journal, renamed).unwrap();
        assert_eq!(drop_unsynced(&journal, &data), (9, 2));
        assert_eq!((size("kept"), size("never")), (300, 0));
    }
}

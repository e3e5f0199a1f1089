//! What the file system says.

use std::fs;
use std::path::Path;

/// Bytes under a folder as `du` counts them. Files that go while we look count nothing.
pub(crate) fn folder_bytes(path: &Path) -> u64 {
    let Ok(files) = fs::read_dir(path) else {
        return 0;
    };
    files
        .filter_map(|file| {
            let file = file.ok()?;
            let metadata = file.metadata().ok()?;
            Some(if metadata.is_dir() {
                folder_bytes(&file.path())
            } else {
                blocks_bytes(&metadata)
            })
        })
        .sum()
}

/// Bytes of the files of a folder whose names end in one of these.
pub(crate) fn files_bytes(path: &Path, endings: &[&str]) -> u64 {
    let Ok(files) = fs::read_dir(path) else {
        return 0;
    };
    files
        .filter_map(|file| {
            let file = file.ok()?;
            let name = file.file_name();
            let name = name.to_str()?;
            endings
                .iter()
                .any(|ending| name.ends_with(ending))
                .then(|| file.metadata().ok().map(|metadata| blocks_bytes(&metadata)))?
        })
        .sum()
}

#[cfg(unix)]
fn blocks_bytes(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn blocks_bytes(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Bytes that are free for us on the file system of a folder; none where it does not say.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

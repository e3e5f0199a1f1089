//! The store's folder: who it belongs to, and that only one process has it open.
//!
//! ```text
//! identity            text: format, stamp, secret; mode 0600, replaced by renaming
//! lock                held while the store is open
//! entries.rocksdb/    metadata and directories
//! bodies.rocksdb/     chunks
//! ```
//!
//! `identity` is read before anything is made, opened or removed, so that a newer store's data stays as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::key::KeySecret;
use crate::store::OpenError;

/// Newest layout of the folder that this program knows.
pub(crate) const FORMAT: u32 = 1;

const FIRST_LINE: &str = "nearside-cache ";

/// An open folder; dropping it lets others in.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    secret: KeySecret,
    _lock: File,
}

#[derive(Debug, Clone)]
struct Identity {
    stamp: [u8; 24],
    secret: KeySecret,
}

enum Found {
    Nothing,
    Unreadable,
    Ours(Identity),
}

impl Folder {
    /// Opens the folder and empties it if it belongs to another history.
    pub(crate) fn open(dir: &Path, stamp: [u8; 24]) -> Result<Self, OpenError> {
        let identity_path = dir.join("identity");
        let found = read_identity(dir, &identity_path)?;
        fs::create_dir_all(dir).map_err(|source| folder_error(dir, source))?;
        let lock = take_lock(dir)?;
        let kept = match found {
            Found::Ours(identity) => Some(identity),
            Found::Unreadable => {
                tracing::warn!(path = %identity_path.display(), "cache identity is unreadable, starting empty");
                None
            }
            Found::Nothing => None,
        };
        let folder = Self {
            dir: dir.to_owned(),
            secret: kept
                .as_ref()
                .map_or_else(KeySecret::random, |identity| identity.secret.clone()),
            _lock: lock,
        };
        if kept.as_ref().is_none_or(|identity| identity.stamp != stamp) {
            if kept.is_some() {
                tracing::info!(dir = %dir.display(), "cache belongs to another history, starting empty");
            }
            folder.empty()?;
            folder.write_identity(stamp)?;
        }
        Ok(folder)
    }

    pub(crate) fn secret(&self) -> &KeySecret {
        &self.secret
    }

    pub(crate) fn entries(&self) -> PathBuf {
        self.dir.join("entries.rocksdb")
    }

    pub(crate) fn bodies(&self) -> PathBuf {
        self.dir.join("bodies.rocksdb")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes all entries and bodies.
    pub(crate) fn empty(&self) -> Result<(), OpenError> {
        for path in [self.entries(), self.bodies()] {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(folder_error(&path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write_identity(&self, stamp: [u8; 24]) -> Result<(), OpenError> {
        let (path, new) = (self.dir.join("identity"), self.dir.join("identity.new"));
        let text = format!(
            "{FIRST_LINE}{FORMAT}\nstamp {}\nsecret {}\n",
            to_hex(&stamp),
            to_hex(self.secret.as_bytes())
        );
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| folder_error(&path, source))
    }
}

fn folder_error(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Folder {
        path: path.to_owned(),
        source,
    }
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| folder_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse {
            dir: dir.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(folder_error(&path, source)),
    }
}

fn read_identity(dir: &Path, path: &Path) -> Result<Found, OpenError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(Found::Unreadable),
        Err(source) => return Err(folder_error(path, source)),
    };
    let mut lines = text.lines();
    let Some(format) = lines
        .next()
        .and_then(|line| line.strip_prefix(FIRST_LINE))
        .and_then(|format| format.parse::<u32>().ok())
    else {
        return Ok(Found::Unreadable);
    };
    if format > FORMAT {
        return Err(OpenError::Newer {
            dir: dir.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    let stamp = lines
        .next()
        .and_then(|line| from_hex(line.strip_prefix("stamp ")?));
    let secret = lines
        .next()
        .and_then(|line| from_hex(line.strip_prefix("secret ")?));
    Ok(match (stamp, secret) {
        (Some(stamp), Some(secret)) => Found::Ours(Identity {
            stamp,
            secret: KeySecret::new(secret),
        }),
        _ => Found::Unreadable,
    })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_stays_and_another_stamp_empties_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let folder = Folder::open(&dir, [1; 24]).unwrap();
        let secret = *folder.secret().as_bytes();
        fs::create_dir(folder.bodies()).unwrap();
        assert!(matches!(
            Folder::open(&dir, [1; 24]),
            Err(OpenError::InUse { .. })
        ));
        drop(folder);
        let folder = Folder::open(&dir, [1; 24]).unwrap();
        assert!(folder.bodies().exists());
        drop(folder);
        let folder = Folder::open(&dir, [2; 24]).unwrap();
        assert_eq!(*folder.secret().as_bytes(), secret);
        assert!(!folder.bodies().exists());
    }

    #[test]
    fn a_newer_folder_is_refused_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("identity"),
            "nearside-cache 2\nwhatever comes\n",
        )
        .unwrap();
        fs::create_dir(dir.path().join("bodies.rocksdb")).unwrap();
        let error = Folder::open(dir.path(), [1; 24]).unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert!(dir.path().join("bodies.rocksdb").exists());
        assert!(!dir.path().join("lock").exists());
    }

    #[test]
    fn the_golden_identity_is_read_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("identity"),
            include_str!("../golden/identity.v1"),
        )
        .unwrap();
        fs::create_dir(dir.path().join("bodies.rocksdb")).unwrap();
        let folder = Folder::open(dir.path(), *b"cluster 16 bytes\x07\0\0\0\0\0\0\0").unwrap();
        assert!(
            folder.bodies().exists(),
            "the stamp is the one that was written"
        );
        assert_eq!(folder.secret().as_bytes(), b"0123456789abcdef");
    }

    #[test]
    fn a_garbled_identity_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("identity"), b"\xff\x00nonsense").unwrap();
        fs::create_dir(dir.path().join("bodies.rocksdb")).unwrap();
        let folder = Folder::open(dir.path(), [1; 24]).unwrap();
        assert!(!folder.bodies().exists());
    }
}

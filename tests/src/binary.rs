//! The program under test: found by an explicit path, and never yesterday's.
//!
//! Cargo writes beside a binary the list of sources it was built from (`nearside.d`). A binary that is older than one
//! of them, or that was built from another checkout, is refused: the same rule by which cargo itself decides to build
//! again, so no build script has to stamp anything into the program.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where the program is, if not in the target folder.
const PATH_VARIABLE: &str = "NEARSIDE_BIN";

/// A `nearside` that is what the sources say.
#[derive(Clone, Debug)]
pub struct Binary(PathBuf);

/// Why there is no program to test.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// Nobody has built it.
    #[error(
        "no nearside at {0:?}: run `cargo build --release -p nearside-node`, or set NEARSIDE_BIN"
    )]
    Missing(Vec<PathBuf>),
    /// A source has changed since.
    #[error("{binary} is older than {source_file}: run `cargo build --release -p nearside-node`")]
    Stale {
        /// The program.
        binary: PathBuf,
        /// The file that is newer.
        source_file: PathBuf,
    },
    /// It belongs to other sources.
    #[error("{binary} was not built from {root}: set NEARSIDE_BIN to the one that was")]
    Foreign {
        /// The program.
        binary: PathBuf,
        /// The top of this checkout.
        root: PathBuf,
    },
}

impl Binary {
    /// Finds the program: `NEARSIDE_BIN`, else the target folder of this build.
    ///
    /// # Errors
    /// When there is none, or it is not what the sources say.
    pub fn find() -> Result<Self, BinaryError> {
        let told = std::env::var_os(PATH_VARIABLE).map(PathBuf::from);
        // Somebody who names a program may mean another checkout's; yesterday's of that one is refused all the same.
        let root = told.is_none().then(root);
        let candidates = told.map_or_else(usual_places, |path| vec![path]);
        let Some(binary) = candidates.iter().find(|path| path.is_file()) else {
            return Err(BinaryError::Missing(candidates));
        };
        check(binary, root.as_deref())?;
        Ok(Self(binary.clone()))
    }

    /// The path to start it by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        places.push(PathBuf::from(target).join("release/nearside"));
    }
    places.push(root().join("target/release/nearside"));
    // This test stands in `release/deps/`.
    if let Some(folder) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        places.extend(folder.parent().map(|release| release.join("nearside")));
    }
    places
}

/// Without a list of sources (an installed program) the operator's word is taken.
fn check(binary: &Path, root: Option<&Path>) -> Result<(), BinaryError> {
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else {
        return Ok(());
    };
    let built = modified(binary);
    let sources = sources_in(&list);
    if let Some(root) = root
        && !sources.iter().any(|source| source.starts_with(root))
    {
        return Err(BinaryError::Foreign {
            binary: binary.to_path_buf(),
            root: root.to_path_buf(),
        });
    }
    for source_file in sources {
        if modified(&source_file) > built {
            return Err(BinaryError::Stale {
                binary: binary.to_path_buf(),
                source_file,
            });
        }
    }
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// `binary: source source…`, as make would read it: a space in a name is `\ `.
fn sources_in(list: &str) -> Vec<PathBuf> {
    let Some((_, sources)) = list.split_once(": ") else {
        return Vec::new();
    };
    sources
        .trim_end()
        .replace("\\ ", "\0")
        .split(' ')
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_older_than_a_source_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, source) = (folder.path().join("nearside"), folder.path().join("a b.rs"));
        std::fs::write(&binary, "").unwrap();
        let listed = source.display().to_string().replace(' ', "\\ ");
        std::fs::write(folder.path().join("nearside.d"), format!("x: {listed}\n")).unwrap();
        std::fs::write(&source, "").unwrap();
        let age = |path: &Path, seconds| {
            let time = SystemTime::now() - std::time::Duration::from_secs(seconds);
            std::fs::File::open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        age(&source, 20);
        age(&binary, 10);
        assert!(check(&binary, Some(folder.path())).is_ok());
        assert!(check(&binary, None).is_ok());
        let elsewhere = check(&binary, Some(Path::new("/nowhere")));
        assert!(matches!(elsewhere, Err(BinaryError::Foreign { .. })));
        age(&source, 5);
        let stale = check(&binary, None);
        assert!(matches!(stale, Err(BinaryError::Stale { .. })));
    }
}

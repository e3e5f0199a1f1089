//! Sites of which everything was told to be unusable, and when: kept on disk, as for them nothing was removed from the
//! cache. Else a restart would bring back what the node was told to forget.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

/// Site → milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Floors {
    file: PathBuf,
    sites: BTreeMap<Box<str>, u64>,
}

impl Floors {
    /// What is remembered in this folder. A file that cannot be read is an error: to go on without it would bring old
    /// entries back.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("told-sites.json");
        let sites = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be understood", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        Ok(Self { file, sites })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, SystemTime)> {
        self.sites
            .iter()
            .map(|(site, ms)| (&**site, UNIX_EPOCH + Duration::from_millis(*ms)))
    }

    /// Remembers these, and returns when it is on disk.
    pub(super) fn raise(&mut self, sites: &[Box<str>], at: SystemTime) -> std::io::Result<()> {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rounded up: what was asked within this millisecond goes, too.
        let ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX) + 1;
        for site in sites {
            let mark = self.sites.entry(site.clone()).or_default();
            *mark = ms.max(*mark);
        }
        let bytes = serde_json::to_vec(&self.sites)?;
        let new = self.file.with_extension("new");
        let mut written = std::fs::File::create(&new)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        std::fs::rename(&new, &self.file)?;
        if let Some(folder) = self.file.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_remembered_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut floors = Floors::open(folder.path()).unwrap();
        assert_eq!(floors.all().count(), 0);
        floors.raise(&["shop".into(), "blog".into()], at).unwrap();
        floors
            .raise(&["blog".into()], at - Duration::from_secs(9))
            .unwrap();
        let again = Floors::open(folder.path()).unwrap();
        let later = at + Duration::from_millis(1);
        assert!(again.all().eq([("blog", later), ("shop", later)]));
        std::fs::write(folder.path().join("told-sites.json"), "{").unwrap();
        assert!(Floors::open(folder.path()).is_err());
    }
}

//! One database file: opened checked, then only read.
//!
//! A file that would fail later fails here, with one line that says what is wrong: everything the search tree points at
//! is decoded once through the very code that answers queries. That costs a second or two for a large city file, at
//! start and when a file is replaced, and buys that a lookup has nothing left to report.

mod record;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Serialize;

use self::record::Record;
use crate::place::{Place, PlaceSource};
use crate::special::trunc;
use crate::{OpenError, country};

/// A database in memory.
pub(crate) struct Database {
    reader: Reader<Vec<u8>>,
    about: About,
}

/// What a database is, for people and for metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// The file's path, or `embedded`.
    pub name: String,
    /// What the file calls itself.
    pub kind: String,
    /// When it was built, seconds since 1970.
    pub built: u64,
    /// Does it have coordinates, or only countries?
    pub coordinates: bool,
    /// False for a file that holds IPv4 only.
    pub ipv6: bool,
    /// Size in memory.
    pub bytes: u64,
}

impl Database {
    /// Reads and checks a file.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let bytes = std::fs::read(path).map_err(|source| OpenError::Read {
            file: path.to_owned(),
            source,
        })?;
        let refused = |why| OpenError::Refused {
            file: path.to_owned(),
            why,
        };
        let database = Self::from_bytes(path.display().to_string(), bytes);
        let mut database = database.map_err(|error| refused(error.to_string()))?;
        database.check().map_err(refused)?;
        Ok(database)
    }

    /// Takes bytes that are known to be good: the embedded file, which a test checks.
    pub(crate) fn from_bytes(name: String, bytes: Vec<u8>) -> Result<Self, MaxMindDbError> {
        let size = bytes.len() as u64;
        let reader = Reader::from_source(bytes)?;
        let metadata = reader.metadata();
        let about = About {
            name,
            kind: metadata.database_type.clone(),
            built: metadata.build_epoch,
            coordinates: false,
            ipv6: metadata.ip_version == 6,
            bytes: size,
        };
        Ok(Self { reader, about })
    }

    /// Walks the whole tree and decodes each distinct record; the answer is what is wrong, in words.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        if let Err(error) = self.reader.verify()
            && !only_untitled(&error)
        {
            return Err(error.to_string());
        }
        // A tree of n nodes has at most n + 1 leaves; more means that it runs in a circle.
        let leaves_max = u64::from(self.reader.metadata().node_count) + 1;
        let mut seen = HashSet::new();
        let (mut leaves, mut places) = (0_u64, 0_u64);
        let whole_tree = WithinOptions::default().include_networks_without_data();
        for leaf in self.reader.networks(whole_tree).map_err(text)? {
            let leaf = leaf.map_err(text)?;
            leaves += 1;
            if leaves > leaves_max {
                return Err("its search tree runs in a circle".into());
            }
            let Some(offset) = leaf.offset() else {
                continue;
            };
            if !seen.insert(offset) {
                continue;
            }
            let record = leaf.decode::<Record>().map_err(text)?.unwrap_or_default();
            self.about.coordinates |= record.point().is_some();
            places += u64::from(record.point().is_some() || record.country().is_some());
        }
        if places == 0 {
            let kind = &self.about.kind;
            return Err(format!(
                "it holds no country and no coordinates (it calls itself {kind:?})"
            ));
        }
        Ok(())
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// What this database (the one at `database` in its atlas) knows of an address. The network of the place is the
    /// database's own, whether or not there is an answer.
    pub(crate) fn locate(&self, address: IpAddr, database: usize) -> Place {
        let whole = Place::unknown(Place::everything(address));
        if address.is_ipv6() && !self.about.ipv6 {
            return whole;
        }
        let Ok(found) = self.reader.lookup(address) else {
            return whole;
        };
        let network = match found.network() {
            Ok(network) if network.is_ipv4() == address.is_ipv4() => {
                trunc(address, network.prefix())
            }
            // A file without an IPv4 half says so with a network of the other family.
            _ => whole.network,
        };
        match found.decode::<Record>() {
            Ok(Some(record)) => place(&record, network, database),
            Ok(None) | Err(_) => Place::unknown(network),
        }
    }
}

fn place(record: &Record, network: IpNet, database: usize) -> Place {
    let country = record.country();
    let centre = country.and_then(country::centre);
    let known = Place {
        country,
        ..Place::unknown(network)
    };
    if let Some(point) = record.point() {
        Place {
            point: Some(point),
            accuracy_km: record.accuracy_km(),
            source: PlaceSource::Coordinates { database },
            ..known
        }
    } else if let Some(centre) = centre {
        Place {
            point: Some(centre.point),
            accuracy_km: Some(centre.typical_km),
            source: PlaceSource::CountryCentre { database },
            ..known
        }
    } else if country.is_some() {
        Place {
            source: PlaceSource::Country { database },
            ..known
        }
    } else {
        known
    }
}

/// The library's check also wants a title and a description, which the files of ip-location-db lack. It looks at them
/// after the metadata and before the tree; the walk of the tree below covers what it then has not looked at.
fn only_untitled(error: &MaxMindDbError) -> bool {
    matches!(error, MaxMindDbError::InvalidDatabase { message, .. }
        if message.starts_with("description - ") || message.starts_with("database_type - "))
}

fn text(error: MaxMindDbError) -> String {
    error.to_string()
}

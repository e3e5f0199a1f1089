//! All databases together, asked in order.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::database::{About, Database};
use crate::special::{Unwrapped, carve, special};
use crate::{OpenError, Place, PlaceSource};

/// The open country database that is part of the program; see `geo/data/README.md` for its origin and licence.
const EMBEDDED: &[u8] = include_bytes!("../data/open-country.mmdb.zst");

/// Upper bound of the embedded file, decompressed.
const EMBEDDED_BYTES_MAX: usize = 64 << 20;

/// Most files that may be named at once: each is held in memory and asked for every address.
const DATABASES_MAX: usize = 8;

/// An immutable set of databases. Made once, shared in an `Arc`, replaced whole.
pub struct Atlas {
    databases: Vec<Database>,
}

impl Atlas {
    /// The database that the program brings along.
    ///
    /// # Errors
    /// Only if the program was built from a damaged file.
    pub fn embedded() -> Result<Self, OpenError> {
        let bytes = zstd::bulk::decompress(EMBEDDED, EMBEDDED_BYTES_MAX);
        let bytes = bytes.map_err(|source| OpenError::Embedded(source.to_string()))?;
        let database = Database::from_bytes("embedded".into(), bytes)
            .map_err(|error| OpenError::Embedded(error.to_string()))?;
        Ok(Self {
            databases: vec![database],
        })
    }

    /// The operator's files, the first asked first; none named: the embedded one.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or holds no places. Nothing is kept then: it is all or none.
    pub fn open(files: &[PathBuf]) -> Result<Self, OpenError> {
        if files.is_empty() {
            return Self::embedded();
        }
        if files.len() > DATABASES_MAX {
            return Err(OpenError::TooMany {
                named: files.len(),
                most: DATABASES_MAX,
            });
        }
        let databases = files.iter().map(|file| Database::open(file));
        Ok(Self {
            databases: databases.collect::<Result<_, _>>()?,
        })
    }

    /// Where an address is. Never fails: what is not known is said so in the place.
    ///
    /// The first database with coordinates wins; without any, the first with a country. `network` is the smallest that
    /// any database which was asked has for the address, so that everything in it gets the same answer.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Place {
        let unwrapped = Unwrapped::new(address);
        let mut place = self.locate_plain(unwrapped.address);
        place.network = unwrapped.wrap(place.network);
        place
    }

    fn locate_plain(&self, address: IpAddr) -> Place {
        if let Some((range, network)) = special(address) {
            return Place::special(range, network);
        }
        let mut best = Place::unknown(Place::everything(address));
        for (index, database) in self.databases.iter().enumerate() {
            let found = database.locate(address, index);
            let network = longer(best.network, found.network);
            if precision(&found) > precision(&best) {
                best = found;
            }
            best.network = network;
            if matches!(best.source, PlaceSource::Coordinates { .. }) {
                break;
            }
        }
        best.network = carve(address, best.network);
        best
    }

    /// What the databases are, in the order in which they are asked.
    pub fn databases(&self) -> impl Iterator<Item = &About> {
        self.databases.iter().map(Database::about)
    }

    /// The database that a [`PlaceSource`] names.
    #[must_use]
    pub fn database(&self, index: usize) -> Option<&About> {
        self.databases.get(index).map(Database::about)
    }

    /// One line for a log: names, kinds and sizes.
    #[must_use]
    pub fn description(&self) -> String {
        let one = |about: &About| {
            let what = if about.coordinates {
                "coordinates"
            } else {
                "countries"
            };
            format!("{} ({}, {what})", about.name, about.kind)
        };
        let all: Vec<_> = self.databases().map(one).collect();
        all.join(", ")
    }
}

impl std::fmt::Debug for Atlas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.databases()).finish()
    }
}

/// Of two networks around one address, the smaller.
fn longer(a: ipnet::IpNet, b: ipnet::IpNet) -> ipnet::IpNet {
    if b.prefix_len() > a.prefix_len() {
        b
    } else {
        a
    }
}

fn precision(place: &Place) -> u8 {
    match place.source {
        PlaceSource::Coordinates { .. } | PlaceSource::Given => 3,
        PlaceSource::CountryCentre { .. } => 2,
        PlaceSource::Country { .. } => 1,
        PlaceSource::Special { .. } | PlaceSource::Unknown => 0,
    }
}

#[cfg(test)]
mod tests;

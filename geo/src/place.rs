//! What is known of where an address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::Serialize;

use crate::special::{Special, trunc};
use crate::{Country, Point};

/// Where an address is, as far as anyone knows. Small and `Copy`: a lookup allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The country, if known.
    pub country: Option<Country>,
    /// Where on the globe, if known; a country's address-weighted centre when only the country is.
    pub point: Option<Point>,
    /// How far the truth typically is from `point`, km; none: the source does not say.
    pub accuracy_km: Option<f32>,
    /// Every address in here has this same answer; holds the address that was asked for.
    pub network: IpNet,
    /// Who says so.
    pub source: PlaceSource,
}

/// Who knows the place, and how well. `database` is an index for [`crate::Atlas::database`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum PlaceSource {
    /// A database that has coordinates for it.
    Coordinates {
        /// Which database.
        database: usize,
    },
    /// A database that has its country; the point is the country's address-weighted centre.
    CountryCentre {
        /// Which database.
        database: usize,
    },
    /// A database that has its country, whose centre is not known.
    Country {
        /// Which database.
        database: usize,
    },
    /// The range means no place.
    Special {
        /// Which kind of range.
        range: Special,
    },
    /// The caller knew: a node's own place.
    Given,
    /// No database has an answer.
    Unknown,
}

impl Place {
    /// A place that needs no lookup: where a node stands by its own settings.
    #[must_use]
    pub fn at(point: Option<Point>) -> Self {
        let source = match point {
            Some(_) => PlaceSource::Given,
            None => PlaceSource::Unknown,
        };
        Self {
            point,
            source,
            ..Self::unknown(trunc(Ipv4Addr::UNSPECIFIED.into(), 0))
        }
    }

    /// Nothing is known of this network.
    #[must_use]
    pub fn unknown(network: IpNet) -> Self {
        Self {
            country: None,
            point: None,
            accuracy_km: None,
            network,
            source: PlaceSource::Unknown,
        }
    }

    pub(crate) fn special(range: Special, network: IpNet) -> Self {
        Self {
            source: PlaceSource::Special { range },
            ..Self::unknown(network)
        }
    }

    /// The whole of an address's family, as a network around it.
    pub(crate) fn everything(address: IpAddr) -> IpNet {
        trunc(address, 0)
    }
}

impl fmt::Display for PlaceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinates { .. } => f.write_str("by coordinates"),
            Self::CountryCentre { .. } => f.write_str("by country"),
            Self::Country { .. } => f.write_str("by country, centre unknown"),
            Self::Special { range } => write!(f, "{range} address, no place"),
            Self::Given => f.write_str("by its own settings"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Place {
    /// `GB, 51.5 -0.1, by coordinates, ±10 km`; what is not known is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(country) = self.country {
            write!(f, "{country}, ")?;
        }
        if let Some(Point {
            latitude,
            longitude,
        }) = self.point
        {
            write!(f, "{latitude:.2} {longitude:.2}, ")?;
        }
        write!(f, "{}", self.source)?;
        if let Some(km) = self.accuracy_km {
            write!(f, ", ±{km:.0} km")?;
        }
        Ok(())
    }
}

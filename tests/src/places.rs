//! Where nodes stand and where clients come from.

use std::net::IpAddr;

/// A point on the map with the region it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Region's name in node files.
    pub region: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

const fn place(region: &'static str, latitude: f64, longitude: f64) -> Place {
    Place {
        region,
        latitude,
        longitude,
    }
}

/// Europe.
pub const LONDON: Place = place("eu", 51.5, -0.1);
/// Europe.
pub const FRANKFURT: Place = place("eu", 50.1, 8.7);
/// North America.
pub const NEW_YORK: Place = place("us", 40.7, -74.0);
/// North America.
pub const LOS_ANGELES: Place = place("us", 34.1, -118.2);
/// Asia.
pub const SINGAPORE: Place = place("ap", 1.35, 103.8);
/// Asia.
pub const TOKYO: Place = place("ap", 35.7, 139.7);

/// A client's country, an address that the open country database places there, and the nearest of London, New York
/// and Singapore.
#[derive(Clone, Copy, Debug)]
pub struct ClientPlace {
    /// ISO 3166.
    pub country: &'static str,
    /// An address of it.
    pub address: &'static str,
    /// The nearest of the lab's three usual regions.
    pub nearest: &'static str,
}

impl ClientPlace {
    /// The address, parsed.
    ///
    /// # Panics
    /// When the table below is wrong.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.parse().expect("the table holds addresses")
    }
}

/// Clients in nine countries, and where the nearest of London, New York and Singapore is for each.
pub const CLIENTS: [ClientPlace; 9] = [
    client("GB", "81.2.69.142", "eu"),
    client("DE", "91.10.0.1", "eu"),
    client("FR", "90.1.0.1", "eu"),
    client("US", "8.8.8.8", "us"),
    client("CA", "24.48.0.1", "us"),
    client("BR", "200.147.3.1", "us"),
    client("JP", "133.11.0.1", "ap"),
    client("IN", "49.44.0.1", "ap"),
    client("AU", "1.128.0.1", "ap"),
];

const fn client(
    country: &'static str,
    address: &'static str,
    nearest: &'static str,
) -> ClientPlace {
    ClientPlace {
        country,
        address,
        nearest,
    }
}

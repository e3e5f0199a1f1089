//! Countries, and where in them their addresses are.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Point;

/// An ISO 3166-1 alpha-2 code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// A code from two letters of any case. `ZZ` and `XX`, which databases write for "don't know", are none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let [a, b] = *text.as_bytes() else {
            return None;
        };
        let code = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
        let letters = code.iter().all(u8::is_ascii_uppercase);
        (letters && code != *b"ZZ" && code != *b"XX").then_some(Self(code))
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // `parse` is the only maker, and it lets only ASCII letters through.
        std::str::from_utf8(&self.0).unwrap_or("??")
    }

    /// Place in the table of all two-letter codes.
    fn slot(self) -> usize {
        usize::from(self.0[0] - b'A') * 26 + usize::from(self.0[1] - b'A')
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom("a country is two letters, as in ISO 3166"))
    }
}

/// The middle of a country's addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Centre {
    /// Address-weighted centre.
    pub point: Point,
    /// Median distance of the country's addresses from it, km: how little a country-level answer says.
    pub typical_km: f32,
}

const CENTROIDS: &str = include_str!("../data/country-centroids.csv");

/// Indexed by [`Country::slot`], so that a lookup costs one read.
static CENTRES: LazyLock<Vec<Option<Centre>>> = LazyLock::new(|| {
    let mut table = vec![None; 26 * 26];
    for line in CENTROIDS.lines().skip(1) {
        if let Some((country, centre)) = centroid(line) {
            table[country.slot()] = Some(centre);
        }
    }
    table
});

/// One line of the table: `country,latitude,longitude,median_distance_km`.
fn centroid(line: &str) -> Option<(Country, Centre)> {
    let mut fields = line.trim_end().split(',');
    let country = Country::parse(fields.next()?)?;
    let point = Point::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)?;
    let typical_km = fields.next()?.parse().ok()?;
    Some((country, Centre { point, typical_km }))
}

/// Where a country's addresses are, if the table knows the country.
#[must_use]
pub fn centre(country: Country) -> Option<Centre> {
    CENTRES[country.slot()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = CENTROIDS.lines().skip(1).count();
        assert_eq!(CENTRES.iter().flatten().count(), lines);
        let germany = centre(Country::parse("de").expect("a code")).expect("in the table");
        assert!((50.0..52.0).contains(&germany.point.latitude));
        assert!(germany.typical_km > 50.0);
    }

    #[test]
    fn what_is_no_country_is_none() {
        for text in ["", "D", "DEU", "D1", "??", "ZZ", "xx", "Ä"] {
            assert_eq!(Country::parse(text), None, "{text}");
        }
        assert_eq!(
            Country::parse("fr").map(|c| c.to_string()),
            Some("FR".into())
        );
    }
}

//! One record of a database, whichever of the schemas in use it follows.
//!
//! MaxMind and DB-IP nest (`country.iso_code`, `location.latitude`, `location.accuracy_radius`), ip-location-db is flat
//! (`country_code`, `latitude`, `longitude`), IPinfo is flat with other names (`country`, `lat` and `lng`, or `loc`) and
//! writes numbers as text. The names do not collide, so one reader takes them all, and a file need not say what it is.
//! A field of a type that none of them uses is an error: such a file is refused when it is opened.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{Country, Point};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    country: Code,
    country_code: Code,
    registered_country: Code,
    location: Location,
    latitude: Number,
    longitude: Number,
    lat: Number,
    lng: Number,
    loc: Pair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Number,
    longitude: Number,
    accuracy_radius: Number,
}

impl Record {
    /// The country where the address is used; where that is not known, the one it is registered in.
    pub(super) fn country(&self) -> Option<Country> {
        self.country
            .0
            .or(self.country_code.0)
            .or(self.registered_country.0)
    }

    /// The point, unless it is 0°N 0°E, which databases write where they know nothing.
    pub(super) fn point(&self) -> Option<Point> {
        let (latitude, longitude) = self
            .pair(&self.location.latitude, &self.location.longitude)
            .or_else(|| self.pair(&self.latitude, &self.longitude))
            .or_else(|| self.pair(&self.lat, &self.lng))
            .or(self.loc.0)?;
        let nowhere = latitude == 0.0 && longitude == 0.0;
        Point::new(latitude, longitude).filter(|_| !nowhere)
    }

    /// How far off the point may be, km.
    pub(super) fn accuracy_km(&self) -> Option<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "km to a metre are plenty")]
        self.location.accuracy_radius.0.map(|km| km as f32)
    }

    fn pair(&self, latitude: &Number, longitude: &Number) -> Option<(f64, f64)> {
        latitude.0.zip(longitude.0)
    }
}

/// `"DE"`, or `{ iso_code: "DE", … }`. IPinfo's country names in full are no code, and `country_code` stands beside them.
#[derive(Debug, Default)]
struct Code(Option<Country>);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CodeVisitor)
    }
}

struct CodeVisitor;

impl<'de> Visitor<'de> for CodeVisitor {
    type Value = Code;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a country code, or a map with an iso_code")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Code, E> {
        Ok(Code(Country::parse(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Code, A::Error> {
        let mut code = Code(None);
        while let Some(key) = map.next_key::<&str>()? {
            if key == "iso_code" {
                code = Code(Country::parse(map.next_value::<&str>()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(code)
    }
}

/// A number, as a number or as text; empty text is none.
#[derive(Debug, Default)]
struct Number(Option<f64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
        let number = i32::try_from(number).map_err(E::custom)?;
        Ok(Number(Some(number.into())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
        let number = u32::try_from(number).map_err(E::custom)?;
        Ok(Number(Some(number.into())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
        match text.trim() {
            "" => Ok(Number(None)),
            text => text
                .parse()
                .map(|number| Number(Some(number)))
                .map_err(E::custom),
        }
    }
}

/// `"51.5,-0.1"`; empty text is none.
#[derive(Debug, Default)]
struct Pair(Option<(f64, f64)>);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let (latitude, longitude) = text
            .split_once(',')
            .ok_or_else(|| de::Error::custom("loc is not \"latitude,longitude\""))?;
        let number = |text: &str| text.trim().parse::<f64>().map_err(de::Error::custom);
        Ok(Self(Some((number(latitude)?, number(longitude)?))))
    }
}

#[cfg(test)]
mod tests;

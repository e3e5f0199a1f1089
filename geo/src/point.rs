//! A point on the globe, and how far it is to another.

use serde::{Deserialize, Serialize};

/// A place on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// North of the equator, −90 to 90.
    pub latitude: f64,
    /// East of Greenwich, −180 to 180.
    pub longitude: f64,
}

/// Mean radius of the Earth, km (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

impl Point {
    /// A point, when both numbers are on the globe.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let good = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        good.then_some(Self {
            latitude,
            longitude,
        })
    }

    /// Great-circle distance in km (haversine).
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let (lat1, lat2) = (self.latitude.to_radians(), other.latitude.to_radians());
        let (dlat, dlon) = (lat2 - lat1, (other.longitude - self.longitude).to_radians());
        let h = (dlat / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (dlon / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn london_to_new_york_is_5570_km() {
        let london = Point::new(51.5074, -0.1278).expect("on the globe");
        let new_york = Point::new(40.7128, -74.0060).expect("on the globe");
        assert!((london.distance_km(new_york) - 5570.0).abs() < 5.0);
        assert_eq!(Point::new(91.0, 0.0), None);
    }
}

//! Place → order of candidates, with a reason for each.
//!
//! Pure: health > drain > distance > name. Operator's overrides, pins, capacity and measured round trips will stand
//! before distance; each will be a [`Reason`].

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use crate::{Place, Point};

/// Something that can be chosen: a node, or an origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<'a> {
    /// Its name, the last tie-breaker.
    pub name: &'a str,
    /// Its region.
    pub region: &'a str,
    /// Where it stands, if known.
    pub point: Option<Point>,
    /// Believed to be up.
    pub healthy: bool,
    /// Being emptied.
    pub draining: bool,
}

/// A candidate in its place of the order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Index into the candidates as they were given.
    pub index: usize,
    /// Great-circle distance from the place, km, when both points are known.
    pub distance_km: Option<f64>,
    /// Why it stands here.
    pub reason: Reason,
}

/// Why a candidate stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Up, and nobody who is up is nearer.
    Nearest,
    /// Up, and farther than those before it.
    Farther,
    /// Up, but where it stands is not known: after all whose distance is.
    NoPoint,
    /// Up, and the place is not known: the default order, by name.
    PlaceUnknown,
    /// Being emptied: after all that are up.
    Draining,
    /// Not believed to be up: last.
    Unhealthy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nearest => "nearest healthy",
            Self::Farther => "healthy, farther",
            Self::NoPoint => "healthy, its own place unknown",
            Self::PlaceUnknown => "healthy, client's place unknown: by name",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// Orders the candidates for a place, best first. The answer is a permutation of `candidates`.
#[must_use]
pub fn rank(place: &Place, candidates: &[Candidate<'_>]) -> Vec<Ranked> {
    let mut order = Vec::with_capacity(candidates.len());
    rank_into(place, candidates, &mut order);
    order
}

/// [`rank`] into a vector that is used again; allocates nothing once it is large enough.
pub fn rank_into(place: &Place, candidates: &[Candidate<'_>], order: &mut Vec<Ranked>) {
    order.clear();
    order.extend(candidates.iter().enumerate().map(|(index, candidate)| {
        let distance_km = place
            .point
            .zip(candidate.point)
            .map(|(from, to)| from.distance_km(to));
        Ranked {
            index,
            distance_km,
            reason: reason(place, candidate),
        }
    }));
    order.sort_unstable_by(|a, b| {
        let (one, other) = (&candidates[a.index], &candidates[b.index]);
        (other.healthy.cmp(&one.healthy))
            .then_with(|| one.draining.cmp(&other.draining))
            .then_with(|| nearer(a.distance_km, b.distance_km))
            .then_with(|| one.name.cmp(other.name))
            .then_with(|| a.index.cmp(&b.index))
    });
    if let Some(first) = order.first_mut()
        && first.reason == Reason::Farther
    {
        first.reason = Reason::Nearest;
    }
}

/// The reason before it is known who comes first.
fn reason(place: &Place, candidate: &Candidate<'_>) -> Reason {
    if !candidate.healthy {
        Reason::Unhealthy
    } else if candidate.draining {
        Reason::Draining
    } else if place.point.is_none() {
        Reason::PlaceUnknown
    } else if candidate.point.is_none() {
        Reason::NoPoint
    } else {
        Reason::Farther
    }
}

/// A known distance comes before an unknown one.
fn nearer(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests;

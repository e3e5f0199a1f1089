//! The laws of the order, and a few plain cases.

use proptest::prelude::*;

use super::*;

const LONDON: (f64, f64) = (51.5, -0.1);

fn point((latitude, longitude): (f64, f64)) -> Option<Point> {
    Point::new(latitude, longitude)
}

fn node(name: &str, at: (f64, f64)) -> Candidate<'_> {
    Candidate {
        name,
        region: "",
        point: point(at),
        healthy: true,
        draining: false,
    }
}

fn names<'a>(place: &Place, candidates: &[Candidate<'a>]) -> Vec<(&'a str, Reason)> {
    let order = rank(place, candidates);
    order
        .iter()
        .map(|ranked| (candidates[ranked.index].name, ranked.reason))
        .collect()
}

#[test]
fn the_nearest_comes_first_and_the_dead_last() {
    let mut nodes = [
        node("nyc", (40.7, -74.0)),
        node("par", (48.9, 2.4)),
        node("fra", (50.1, 8.7)),
        node("sgp", (1.35, 103.8)),
    ];
    nodes[1].healthy = false;
    nodes[2].draining = true;
    assert_eq!(
        names(&Place::at(point(LONDON)), &nodes),
        [
            ("nyc", Reason::Nearest),
            ("sgp", Reason::Farther),
            ("fra", Reason::Draining),
            ("par", Reason::Unhealthy),
        ]
    );
}

#[test]
fn an_unknown_place_gets_the_order_of_names_and_not_the_gulf_of_guinea() {
    let nodes = [
        node("sgp", (1.35, 103.8)),
        node("accra", (5.6, -0.2)),
        node("b", (0.0, 0.0)),
    ];
    let reason = Reason::PlaceUnknown;
    assert_eq!(
        names(&Place::at(None), &nodes),
        [("accra", reason), ("b", reason), ("sgp", reason)]
    );
}

#[test]
fn equal_distance_is_decided_by_name_and_no_point_comes_after_any() {
    let mut nodes = [node("b", LONDON), node("a", LONDON), node("0", LONDON)];
    nodes[2].point = None;
    assert_eq!(
        names(&Place::at(point(LONDON)), &nodes),
        [
            ("a", Reason::Nearest),
            ("b", Reason::Farther),
            ("0", Reason::NoPoint)
        ]
    );
}

type Made = (String, Option<(f64, f64)>, bool, bool);

fn made() -> impl Strategy<Value = Vec<Made>> {
    let at = proptest::option::of((-90.0..=90.0, -180.0..=180.0));
    let one = ("[a-d]{1,2}", at, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 0..24)
}

proptest! {
    #[test]
    fn an_order_is_a_permutation_that_keeps_every_rule(
        made in made(),
        at in proptest::option::of((-90.0..=90.0, -180.0..=180.0)),
    ) {
        let place = Place::at(at.and_then(point));
        let candidates: Vec<_> = made.iter().map(|(name, at, healthy, draining)| Candidate {
            name,
            region: "",
            point: at.and_then(point),
            healthy: *healthy,
            draining: *draining,
        }).collect();
        let order = rank(&place, &candidates);

        let mut indices: Vec<_> = order.iter().map(|ranked| ranked.index).collect();
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..candidates.len()).collect::<Vec<_>>());

        for pair in order.windows(2) {
            let (a, b) = (&candidates[pair[0].index], &candidates[pair[1].index]);
            prop_assert!(a.healthy >= b.healthy, "healthy before unhealthy");
            if a.healthy != b.healthy { continue; }
            prop_assert!(a.draining <= b.draining, "draining after the rest");
            if a.draining != b.draining { continue; }
            match (pair[0].distance_km, pair[1].distance_km) {
                (Some(near), Some(far)) => prop_assert!(near < far || (near == far && a.name <= b.name)),
                (None, Some(_)) => prop_assert!(false, "an unknown distance before a known one"),
                (Some(_), None) => {}
                (None, None) => prop_assert!(a.name <= b.name),
            }
        }
        let nearest = order.iter().filter(|ranked| ranked.reason == Reason::Nearest).count();
        prop_assert!(nearest <= 1);

        // The same candidates in another order: the same answer, name by name and distance by distance.
        let reversed: Vec<_> = candidates.iter().rev().copied().collect();
        let again = rank(&place, &reversed);
        for (a, b) in order.iter().zip(&again) {
            prop_assert_eq!(candidates[a.index].name, reversed[b.index].name);
            prop_assert_eq!(a.distance_km, b.distance_km);
        }
    }
}

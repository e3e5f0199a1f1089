//! Which origin is asked next. Pure: health, place and dice come in.

use nearside_geo::Point;

/// Origins whose distances differ by less than this are equally near.
const EQUALLY_NEAR_KM: f64 = 100.0;

/// An origin that could be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) region: Option<&'a str>,
    pub(super) point: Option<Point>,
    pub(super) weight: u32,
    pub(super) backup: bool,
    pub(super) healthy: bool,
    /// One more request would wait.
    pub(super) full: bool,
    /// Asked already for this request.
    pub(super) tried: bool,
    /// Requests that are under way.
    pub(super) open: usize,
    /// How much it is the one for what the site hashes.
    pub(super) rank: f64,
}

/// How one of the equals is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// By chance, in proportion to weights.
    Chance,
    /// The fewest open requests for its weight; among those, by chance.
    LeastOpen,
    /// The greatest rank.
    Rank,
}

/// Where this node stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub(super) region: &'a str,
    pub(super) point: Option<Point>,
}

/// The next origin: healthy before not, with room before full, primary before backup, near before far; then as `among`
/// says, with `dice` uniform over u64. A region's place is where its nodes stand. An origin of which no place is known comes after those
/// of which one is.
pub(super) fn choose(
    choices: &[Choice<'_>],
    here: Here<'_>,
    region_point: impl Fn(&str) -> Option<Point>,
    (among, dice): (Among, u64),
) -> Option<usize> {
    let standing = |choice: &Choice<'_>| {
        let class = (!choice.healthy, choice.full, choice.backup);
        (class, nearness(choice, here, &region_point))
    };
    let open = || {
        choices
            .iter()
            .enumerate()
            .filter(|(_, choice)| !choice.tried)
    };
    let best = open().map(|(_, choice)| standing(choice)).min()?;
    let near = || open().filter(|(_, choice)| standing(choice) == best);
    // Both sides times the other's weight: no division, no rounding.
    let lighter = |a: &Choice<'_>, b: &Choice<'_>| {
        let load =
            |a: &Choice<'_>, b: &Choice<'_>| (a.open as u128 + 1) * u128::from(b.weight.max(1));
        load(a, b).cmp(&load(b, a))
    };
    let least = match among {
        Among::Rank => {
            let ranked = near().max_by(|(_, a), (_, b)| a.rank.total_cmp(&b.rank));
            return ranked.map(|(index, _)| index);
        }
        Among::LeastOpen => near()
            .map(|(_, choice)| choice)
            .min_by(|a, b| lighter(a, b)),
        Among::Chance => None,
    };
    let equals =
        || near().filter(|(_, choice)| least.is_none_or(|least| lighter(choice, least).is_eq()));
    let total: u64 = equals()
        .map(|(_, choice)| u64::from(choice.weight.max(1)))
        .sum();
    // Scales the dice without the bias of a remainder.
    let mut ticket = ((u128::from(dice) * u128::from(total)) >> 64) as u64;
    for (index, choice) in equals() {
        let weight = u64::from(choice.weight.max(1));
        if ticket < weight {
            return Some(index);
        }
        ticket -= weight;
    }
    None
}

/// Smaller is nearer; equal is equally near.
fn nearness(
    choice: &Choice<'_>,
    here: Here<'_>,
    region_point: &impl Fn(&str) -> Option<Point>,
) -> u32 {
    if choice.region == Some(here.region) {
        return 0;
    }
    let point = choice.point.or_else(|| region_point(choice.region?));
    match (point, here.point.or_else(|| region_point(here.region))) {
        (Some(point), Some(own)) => (own.distance_km(point) / EQUALLY_NEAR_KM) as u32 + 1,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EU: Choice<'_> = Choice {
        region: Some("eu"),
        point: None,
        weight: 1,
        backup: false,
        healthy: true,
        full: false,
        tried: false,
        open: 0,
        rank: 0.0,
    };
    const US: Choice<'_> = Choice {
        region: Some("us"),
        ..EU
    };
    const NOWHERE: Choice<'_> = Choice { region: None, ..EU };

    fn pick(choices: &[Choice<'_>], region: &str, dice: u64) -> Option<usize> {
        let place = |region: &str| match region {
            "eu" => Point::new(50.0, 8.0),
            "us" => Point::new(40.0, -75.0),
            "sa" => Point::new(-23.0, -46.0),
            _ => None,
        };
        let point = None;
        choose(
            choices,
            Here { region, point },
            place,
            (Among::Chance, dice),
        )
    }

    #[test]
    fn the_nearest_healthy_primary_is_asked_first() {
        assert_eq!(pick(&[US, EU], "eu", 0), Some(1));
        assert_eq!(pick(&[EU, US], "sa", 0), Some(1));
        assert_eq!(pick(&[NOWHERE, US], "eu", 0), Some(1));
        let eu = |change: fn(&mut Choice<'_>)| {
            let mut choice = EU;
            change(&mut choice);
            choice
        };
        assert_eq!(pick(&[eu(|c| c.healthy = false), US], "eu", 0), Some(1));
        assert_eq!(pick(&[eu(|c| c.backup = true), US], "eu", 0), Some(1));
        assert_eq!(pick(&[eu(|c| c.tried = true), US], "eu", 0), Some(1));
        // A healthy backup before an unhealthy primary; none healthy: the primary all the same.
        let backup = eu(|c| c.backup = true);
        let ill = eu(|c| c.healthy = false);
        let ill_backup = eu(|c| (c.backup, c.healthy) = (true, false));
        assert_eq!(pick(&[ill, backup], "eu", 0), Some(1));
        assert_eq!(pick(&[ill_backup, ill], "eu", 0), Some(1));
        assert_eq!(pick(&[eu(|c| c.tried = true)], "eu", 0), None);
    }

    #[test]
    fn equally_near_origins_share_by_weight() {
        let heavy = Choice { weight: 3, ..EU };
        let picked = |dice: u64| pick(&[EU, heavy], "eu", dice);
        let step = u64::MAX / 100 + 1;
        let heavy_picks = (0..100).filter(|n| picked(n * step) == Some(1)).count();
        assert_eq!(heavy_picks, 75);
        assert_eq!(picked(u64::MAX), Some(1));
    }

    #[test]
    fn the_least_loaded_for_its_weight_and_the_ranked_are_chosen() {
        let choose = |choices: &[Choice<'_>], among, dice| {
            let (region, point) = ("eu", None);
            choose(choices, Here { region, point }, |_| None, (among, dice))
        };
        let loaded = |open, weight| Choice { open, weight, ..EU };
        let choices = [loaded(3, 1), loaded(5, 3), loaded(2, 1)];
        assert_eq!(choose(&choices, Among::LeastOpen, 0), Some(1));
        // Equals share by chance.
        let choices = [loaded(2, 1), loaded(9, 1), loaded(2, 1)];
        assert_eq!(choose(&choices, Among::LeastOpen, 0), Some(0));
        assert_eq!(choose(&choices, Among::LeastOpen, u64::MAX), Some(2));
        let ranked = |rank| Choice { rank, ..EU };
        let choices = [ranked(1.0), ranked(7.0), ranked(3.0)];
        assert_eq!(choose(&choices, Among::Rank, 0), Some(1));
        let tried = Choice {
            tried: true,
            ..choices[1]
        };
        assert_eq!(
            choose(&[choices[0], tried, choices[2]], Among::Rank, 0),
            Some(2)
        );
    }

    #[test]
    fn a_full_origin_comes_after_those_with_room_and_before_ill_ones() {
        let full = Choice { full: true, ..EU };
        assert_eq!(pick(&[full, US], "eu", 0), Some(1));
        let backup = Choice { backup: true, ..US };
        assert_eq!(pick(&[full, backup], "eu", 0), Some(1));
        let ill = Choice {
            healthy: false,
            ..EU
        };
        assert_eq!(pick(&[ill, full], "eu", 0), Some(1));
    }
}

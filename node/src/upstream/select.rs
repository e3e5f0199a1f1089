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
    /// Asked already for this request.
    pub(super) tried: bool,
}

/// Where this node stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub(super) region: &'a str,
    pub(super) point: Option<Point>,
}

/// The next origin: healthy before not, primary before backup, near before far; among equals by weight, with `dice`
/// uniform over u64. A region's place is where its nodes stand. An origin of which no place is known comes after those
/// of which one is.
pub(super) fn choose(
    choices: &[Choice<'_>],
    here: Here<'_>,
    region_point: impl Fn(&str) -> Option<Point>,
    dice: u64,
) -> Option<usize> {
    let standing = |choice: &Choice<'_>| {
        let class = match (choice.healthy, choice.backup) {
            (true, false) => 0,
            (true, true) => 1,
            (false, false) => 2,
            (false, true) => 3,
        };
        (class, nearness(choice, here, &region_point))
    };
    let open = || {
        choices
            .iter()
            .enumerate()
            .filter(|(_, choice)| !choice.tried)
    };
    let best = open().map(|(_, choice)| standing(choice)).min()?;
    let equals = || open().filter(|(_, choice)| standing(choice) == best);
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
        tried: false,
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
        choose(choices, Here { region, point }, place, dice)
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
}

//! Which nodes an answer names: policy over `geo`'s order.

use std::collections::BTreeSet;

use nearside_geo::{Candidate, Place, Ranked, rank};

use crate::view::{NodeView, View};

/// Most addresses in one steered answer.
///
/// Clients take whichever they like of several addresses, so every one beyond the first must be nearly as good: only
/// nodes of the nearest one's region are added. They are what a client falls back to before health and TTL have done
/// their part.
const ADDRESSES_MAX: usize = 3;

/// Nodes in order, and how many of them are the answer.
#[derive(Debug)]
pub(super) struct Choice {
    /// Indices into the view's nodes, the best first.
    pub(super) order: Vec<Ranked>,
    /// Indices into the view's nodes: the answer.
    pub(super) answered: Vec<usize>,
    /// Would another place have got another answer? If not, the answer is everyone's.
    pub(super) place_matters: bool,
    /// Nobody is believed to be up, so all are answered as if they were: a wrong belief must not take a site away.
    pub(super) fail_open: bool,
}

/// Orders those nodes that `can` answer for a place.
pub(super) fn choose(
    view: &View,
    healthy: &BTreeSet<u64>,
    place: &Place,
    can: impl Fn(&NodeView) -> bool,
) -> Choice {
    let able = || view.nodes.iter().enumerate().filter(|(_, node)| can(node));
    let candidates: Vec<_> = able()
        .map(|(_, node)| Candidate {
            name: &node.name,
            region: &node.region,
            point: node.point,
            healthy: healthy.contains(&node.id),
            draining: node.draining,
        })
        .collect();
    let mut order = rank(place, &candidates);
    let tier = |ranked: &Ranked| {
        let candidate = &candidates[ranked.index];
        (candidate.healthy, candidate.draining)
    };
    let equals = order
        .iter()
        .take_while(|ranked| tier(ranked) == tier(&order[0]));
    let fail_open = order.first().is_some_and(|first| !tier(first).0);
    let near = |ranked: &&Ranked| {
        fail_open || candidates[ranked.index].region == candidates[order[0].index].region
    };
    let place_matters = equals.clone().nth(1).is_some();
    let mut answered: Vec<_> = equals
        .filter(near)
        .take(ADDRESSES_MAX)
        .map(|r| r.index)
        .collect();
    // From indices into the candidates to indices into the nodes.
    let nodes: Vec<_> = able().map(|(index, _)| index).collect();
    for index in order
        .iter_mut()
        .map(|ranked| &mut ranked.index)
        .chain(&mut answered)
    {
        *index = nodes[*index];
    }
    Choice {
        order,
        answered,
        place_matters,
        fail_open,
    }
}

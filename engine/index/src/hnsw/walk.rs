//! The two ways through a layer: greedily to one near node, and best-first with a frontier.

use super::frontier::Frontier;
use super::layers::{LayerRef, Layers, Link, NONE};
use super::points::Distances;
use super::scratch::Scratch;
use crate::index::SearchStats;
use crate::kernels::prefetch;
use crate::neighbor::Neighbor;

/// From the entry of the graph greedily down to the base: a near base node with its distance; `None` in an empty graph.
pub(crate) fn descend(
    layers: &Layers,
    scorer: &impl Distances,
    scratch: &mut Scratch,
    stats: &mut SearchStats,
) -> Option<Neighbor> {
    if layers.entry == NONE {
        return None;
    }
    let mut node = if layers.upper.is_empty() { layers.entry } else { 0 };
    for index in (0..layers.upper.len()).rev() {
        let (view, layer) = (layers.upper(index)?, layers.upper.get(index)?);
        let start = Neighbor {
            distance: scorer.one(view.row(node)),
            row: node,
        };
        let near = greedy(view, scorer, start, scratch, stats);
        node = *layer.down.get(near.row as usize)?;
    }
    stats.distances += 1;
    Some(Neighbor {
        distance: scorer.one(node),
        row: node,
    })
}

/// Moves from `start` to the best neighbour as long as that is better. Nodes are given and returned in `row`.
pub(crate) fn greedy<L: Link>(
    layer: LayerRef<'_, L>,
    scorer: &impl Distances,
    start: Neighbor,
    scratch: &mut Scratch,
    stats: &mut SearchStats,
) -> Neighbor {
    let mut best = start;
    loop {
        scratch.nodes.clear();
        scratch.nodes.extend(layer.neighbors(best.row));
        score(layer, scorer, scratch, stats);
        let scored = scratch.nodes.iter().zip(&scratch.distances);
        let nearest = scored
            .map(|(&node, &distance)| Neighbor { distance, row: node })
            .min();
        match nearest {
            Some(nearest) if nearest.distance < best.distance => best = nearest,
            _ => return best,
        }
    }
}

/// Walks `layer` best-first from `entries` until every node of the frontier is expanded. `seen` hears of every scored
/// node.
pub(crate) fn walk<L: Link, F: Frontier>(
    layer: LayerRef<'_, L>,
    scorer: &impl Distances,
    entries: &[Neighbor],
    scratch: &mut Scratch,
    frontier: &mut F,
    stats: &mut SearchStats,
    mut seen: impl FnMut(u32, f32),
) {
    scratch.visited.start();
    for entry in entries {
        if scratch.visited.first_visit(entry.row) {
            seen(entry.row, entry.distance);
            frontier.push(entry.distance, entry.row);
        }
    }
    while let Some(node) = frontier.pop() {
        let next = frontier.next();
        if let Some(next) = next {
            prefetch(layer.room(next));
        }
        scratch.nodes.clear();
        for neighbor in layer.neighbors(node) {
            if scratch.visited.first_visit(neighbor) {
                scorer.ask_for(layer.row(neighbor));
                scratch.nodes.push(neighbor);
            }
        }
        // What is to be read a hop later is on its way while this one's distances are computed.
        if let Some(next) = next {
            for neighbor in layer.neighbors(next) {
                if scratch.visited.is_new(neighbor) {
                    scorer.ask_for(layer.row(neighbor));
                }
            }
        }
        score(layer, scorer, scratch, stats);
        for (&neighbor, &distance) in scratch.nodes.iter().zip(&scratch.distances) {
            seen(neighbor, distance);
            frontier.push(distance, neighbor);
        }
    }
}

/// Fills `scratch.distances` for `scratch.nodes` and counts the hop.
#[inline]
fn score<L: Link>(
    layer: LayerRef<'_, L>,
    scorer: &impl Distances,
    scratch: &mut Scratch,
    stats: &mut SearchStats,
) {
    stats.hops += 1;
    stats.distances += scratch.nodes.len() as u64;
    scratch.distances.resize(scratch.nodes.len(), 0.0);
    if layer.rows.is_some() {
        scratch.rows.clear();
        scratch
            .rows
            .extend(scratch.nodes.iter().map(|&node| layer.row(node)));
        scorer.gather(&scratch.rows, &mut scratch.distances);
    } else {
        scorer.gather(&scratch.nodes, &mut scratch.distances);
    }
}

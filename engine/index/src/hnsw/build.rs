//! Parallel construction that gives the same graph for any number of threads.
//!
//! Rows enter in batches, as in ParlayANN (Manohar and others, 2024): all rows of a batch search the graph as it was before
//! the batch, in parallel, then all links are written at once.
//!
//! ```text
//!   order: seeded shuffle of the rows          levels: drawn from (seed, row)
//!   for each batch (at most 2 % of the graph so far):
//!     1. in parallel, per row: descend, walk its layers with efConstruction on the frozen graph,
//!        add the other rows of the batch as candidates, select M neighbours
//!     2. write the rows' own links
//!     3. turn the links around, sort them by target; in parallel, per target: append,
//!        or select again among old and new when its room is full
//! ```
//!
//! Nothing depends on which thread does what: every step reads what the previous one finished, and writes to nodes of
//! its own. A batch is small against the graph, so its rows see almost the graph that one-by-one insertion would show
//! them; what they would miss, each other, step 1 adds.

use std::sync::atomic::AtomicU32;

use rayon::prelude::*;

use super::copies::link_copies;
use super::earlier::Earlier;
use super::frontier::{Frontier, HeapFrontier, SortedFrontier};
use super::layers::{GrowingLayer, LayerRef, Layers, Link, Upper};
use super::plan::{Item, Plan};
use super::points::{Companions, Distances, Points};
use super::scratch::{Scratch, ScratchPool};
use super::select::select;
use super::walk::{greedy, walk};
use super::walkers::Walkers;
use crate::bitset::Bitset;
use crate::blob::Array;
use crate::error::BuildError;
use crate::index::SearchStats;
use crate::kernels::TILE;
use crate::neighbor::Neighbor;
use crate::progress::Progress;

/// A batch is at most this part of the graph so far.
const BATCH_DIVISOR: usize = 50;
/// And at most this long: keeps the distances within a batch cheap, and cancellation prompt.
const MAX_BATCH: usize = 1024;

/// What the graph should be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) form: Form,
    pub(crate) ef_construction: usize,
    pub(crate) seed: u64,
}

/// Layers or one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// HNSW with `m` links per node above the base and twice as many on it.
    Hierarchy { m: usize },
    /// Vamana (Subramanya et al., DiskANN, 2019): one layer with at most `degree` links per node, entered at the row
    /// `entry`. Its distances are not negative.
    Flat { degree: usize, entry: u32 },
}

/// How much nearer to a kept neighbour a candidate of a flat graph must be to be left out.
const FLAT_ALPHA: f32 = 1.2;

impl Form {
    /// Links that a node chooses when it enters.
    pub(super) fn chosen(self) -> usize {
        match self {
            Self::Hierarchy { m } => m,
            Self::Flat { degree, .. } => degree,
        }
    }

    /// Most links of a node on the base of the finished graph.
    pub(super) fn kept(self) -> usize {
        match self {
            Self::Hierarchy { m } => 2 * m,
            Self::Flat { degree, .. } => degree,
        }
    }

    /// Most links while building. A flat graph has some to spare, so that not every link back makes a node choose anew.
    pub(super) fn room(self) -> usize {
        match self {
            Self::Hierarchy { m } => 2 * m,
            Self::Flat { degree, .. } => degree + degree / 3 + 1,
        }
    }

    pub(super) fn alpha(self) -> f32 {
        match self {
            Self::Hierarchy { .. } => 1.0,
            Self::Flat { .. } => FLAT_ALPHA,
        }
    }
}

/// Builds the graph over `members`, rows of `points`, which walk by `walkers`; out of graphs over some of them, where there
/// are any. Runs on the current thread pool.
pub(crate) fn build<P: Points, W: Walkers>(
    points: &P,
    walkers: &W,
    members: Vec<u32>,
    earlier: Option<&Earlier<'_>>,
    settings: Settings,
    progress: &dyn Progress,
) -> Result<Layers, BuildError> {
    let rows = points.len();
    let plan = Plan::new(members, earlier, settings);
    let total = plan.order.len();
    let mut graph = Graph {
        points,
        walkers,
        ef: settings.ef_construction.min(total.max(1)),
        form: settings.form,
        layers: plan.layers(rows, settings.form),
        down: plan.down(),
        entry: plan.order.first().copied().unwrap_or(super::layers::NONE),
        earlier,
        entered: Bitset::new(if earlier.is_some() { rows } else { 0 }),
    };
    let scratch = ScratchPool::new(rows);
    if let Some(earlier) = earlier {
        graph.take_over(earlier, progress)?;
    }
    let mut done = plan.taken;
    let mut inserted = plan.taken_slots();
    while done < total {
        if progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let size = (done / BATCH_DIVISOR).clamp(1, MAX_BATCH).min(total - done);
        let top = inserted.iter().take_while(|&&count| count > 0).count();
        let batch = plan.batch(done..done + size, &mut inserted);
        graph.insert(&batch, if done == 0 { None } else { Some(top) }, &scratch);
        if earlier.is_some() {
            batch.iter().for_each(|item| graph.entered.set(item.row as usize));
        }
        done += size;
        progress.advance(done as u64, total as u64);
    }
    graph.trim();
    if let Some(base) = graph.layers.first() {
        link_copies(points, base, settings.form.kept().min(base.stride));
    }
    Ok(graph.freeze())
}

/// The neighbours that a row chose: per layer from the base up.
pub(super) type Chosen = Vec<Vec<Neighbor>>;

/// A link that leads from `target` back to `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackLink {
    pub(super) target: u32,
    pub(super) source: Neighbor,
}

pub(super) struct Graph<'a, P, W> {
    pub(super) points: &'a P,
    pub(super) walkers: &'a W,
    pub(super) ef: usize,
    pub(super) form: Form,
    /// From the base up.
    pub(super) layers: Vec<GrowingLayer>,
    /// Per upper layer.
    down: Vec<Vec<u32>>,
    /// First row inserted.
    entry: u32,
    pub(super) earlier: Option<&'a Earlier<'a>>,
    /// Rows inserted, where there are earlier graphs; none that were taken over.
    pub(super) entered: Bitset,
}

impl<P: Points, W: Walkers> Graph<'_, P, W> {
    /// Inserts a batch. `top` is the highest layer with nodes, `None` while the graph is empty.
    fn insert(&self, batch: &[Item], top: Option<usize>, scratch: &ScratchPool) {
        let rows: Vec<u32> = batch.iter().map(|item| item.row).collect();
        let companions = self.points.companions(&rows);
        let choose = |first: usize| -> Vec<Chosen> {
            let distances = companions.distances(first);
            let mut memory = scratch.take();
            let of_batch = distances.chunks_exact(batch.len());
            let chosen = (first..).zip(of_batch).map(|(index, distances)| {
                let candidates = OfBatch {
                    batch,
                    index,
                    distances,
                };
                self.choose(&candidates, top, &mut memory)
            });
            let chosen = chosen.collect();
            scratch.give_back(memory);
            chosen
        };
        let chosen: Vec<Chosen> = if batch.len() <= TILE {
            choose(0)
        } else {
            let starts: Vec<usize> = (0..batch.len()).step_by(TILE).collect();
            starts.into_par_iter().flat_map_iter(choose).collect()
        };
        for (item, lists) in batch.iter().zip(&chosen) {
            for ((layer, list), &node) in self.layers.iter().zip(lists).zip(&item.nodes) {
                layer.set(node, list.iter().map(|neighbor| neighbor.row));
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            self.link_back(index, layer, turned(index, batch, &chosen));
        }
    }

    /// Neighbours of a row of the batch on each of its layers.
    fn choose(&self, candidates: &OfBatch<'_>, top: Option<usize>, scratch: &mut Scratch) -> Chosen {
        let Some(item) = candidates.item() else {
            return Vec::new();
        };
        let level = item.nodes.len() - 1;
        if level == 0
            && let Some(chosen) = self.choose_led(candidates, item, scratch)
        {
            return chosen;
        }
        let (scorer, walker) = (self.points.row(item.row), self.walkers.walker(item.row));
        let mut chosen = vec![Vec::new(); level + 1];
        let (mut near, mut scored) = (Vec::new(), Vec::new());
        if let Some(entry_layer) = top {
            let node = if entry_layer == 0 { self.entry } else { 0 };
            let row = self
                .layers
                .get(entry_layer)
                .map_or(self.entry, |layer| layer.view().row(node));
            near.push(Neighbor {
                distance: walker.one(row),
                row: node,
            });
        }
        for (index, layer) in self.layers.iter().map(GrowingLayer::view).enumerate().rev() {
            // Layers that only rows of this batch reach have nothing to walk yet.
            let walkable = top.is_some_and(|top| index <= top);
            if walkable && index <= level {
                approach(layer, &walker, self.ef, &mut near, scratch);
            } else if walkable {
                for neighbor in &mut near {
                    *neighbor = greedy(layer, &walker, *neighbor, scratch, &mut SearchStats::default());
                }
            }
            if let Some(list) = chosen.get_mut(index) {
                let walked = match (walkable, W::EXACT) {
                    (false, _) => &[],
                    (true, true) => near.as_slice(),
                    (true, false) => {
                        score_again(layer, &scorer, &near, &mut scored);
                        scored.as_slice()
                    }
                };
                let all = candidates.merge(walked, index, self.ef, &scorer);
                let (max, alpha) = (self.form.chosen(), self.form.alpha());
                select(self.points, layer, item.row, &all, max, alpha, list);
            }
            if walkable && let Some(down) = index.checked_sub(1).and_then(|below| self.down.get(below)) {
                for neighbor in &mut near {
                    neighbor.row = down.get(neighbor.row as usize).copied().unwrap_or(self.entry);
                }
            }
        }
        chosen
    }

    /// Writes links back to the rows that chose a node, on one layer.
    pub(super) fn link_back(&self, index: usize, layer: &GrowingLayer, mut links: Vec<BackLink>) {
        links.par_sort_unstable();
        let targets: Vec<&[BackLink]> = links.chunk_by(|a, b| a.target == b.target).collect();
        targets
            .into_par_iter()
            .with_min_len(16)
            .for_each(|links| self.link_one_back(index, layer, links));
    }

    /// Adds the sources of `links`, which all have the same target, to its list.
    fn link_one_back(&self, index: usize, layer: &GrowingLayer, links: &[BackLink]) {
        let Some(&BackLink { target, .. }) = links.first() else {
            return;
        };
        let view = layer.view();
        let existing: Vec<u32> = view.neighbors(target).collect();
        // Rows of one batch may have chosen each other.
        let sources = links.iter().map(|link| link.source);
        let fresh: Vec<Neighbor> = sources.filter(|source| !existing.contains(&source.row)).collect();
        if existing.len() + fresh.len() <= layer.stride {
            layer.set(
                target,
                existing
                    .iter()
                    .copied()
                    .chain(fresh.iter().map(|source| source.row)),
            );
            return;
        }
        let max = if index == 0 {
            self.form.kept().min(layer.stride)
        } else {
            layer.stride
        };
        self.choose_anew(layer, target, &existing, fresh, max);
    }

    /// Replaces the `existing` links of a node by at most `max` of them and of `candidates`.
    fn choose_anew(
        &self,
        layer: &GrowingLayer,
        target: u32,
        existing: &[u32],
        mut candidates: Vec<Neighbor>,
        max: usize,
    ) {
        let view = layer.view();
        let row = view.row(target);
        let existing_rows: Vec<u32> = existing.iter().map(|&node| view.row(node)).collect();
        let mut distances = vec![0.0; existing.len()];
        self.points.row(row).gather(&existing_rows, &mut distances);
        candidates.extend(
            existing
                .iter()
                .zip(&distances)
                .map(|(&node, &distance)| Neighbor { distance, row: node }),
        );
        candidates.sort_unstable();
        let mut kept = Vec::with_capacity(max);
        select(
            self.points,
            view,
            row,
            &candidates,
            max,
            self.form.alpha(),
            &mut kept,
        );
        layer.set(target, kept.iter().map(|neighbor| neighbor.row));
    }

    /// Takes from the base what nodes have beyond the links they may keep.
    fn trim(&self) {
        let (Some(base), max) = (self.layers.first(), self.form.kept()) else {
            return;
        };
        if base.stride <= max {
            return;
        }
        let rows = self.points.len() as u32;
        (0..rows).into_par_iter().with_min_len(64).for_each(|node| {
            let existing: Vec<u32> = base.view().neighbors(node).collect();
            if existing.len() > max {
                self.choose_anew(base, node, &existing, Vec::new(), max);
            }
        });
    }

    fn freeze(self) -> Layers {
        let mut layers = self.layers.into_iter().map(GrowingLayer::freeze);
        let (base, stride, _) = layers.next().unwrap_or_default();
        let upper = layers.zip(self.down).map(|((links, stride, rows), down)| Upper {
            rows: Array::Owned(rows),
            down: Array::Owned(down),
            links: Array::Owned(links),
            stride,
        });
        Layers {
            base: Array::Owned(base),
            stride,
            upper: upper.collect(),
            entry: self.entry,
        }
    }
}

/// Moves `near` to the `ef` nodes of `layer` nearest to what `scorer` scores, best first.
pub(super) fn approach(
    layer: LayerRef<'_, AtomicU32>,
    scorer: &impl Distances,
    ef: usize,
    near: &mut Vec<Neighbor>,
    scratch: &mut Scratch,
) {
    let mut stats = SearchStats::default();
    if ef <= SortedFrontier::MAX {
        let mut frontier = std::mem::take(&mut scratch.sorted);
        frontier.reset(ef);
        walk(layer, scorer, near, scratch, &mut frontier, &mut stats, |_, _| {});
        near.clear();
        frontier.best(ef, near);
        scratch.sorted = frontier;
    } else {
        let mut frontier = HeapFrontier::new(ef);
        walk(layer, scorer, near, scratch, &mut frontier, &mut stats, |_, _| {});
        near.clear();
        frontier.best(ef, near);
    }
}

/// Writes to `scored` the nodes of `layer` in `near` with their exact distances, best first.
pub(super) fn score_again<L: Link>(
    layer: LayerRef<'_, L>,
    scorer: &impl Distances,
    near: &[Neighbor],
    scored: &mut Vec<Neighbor>,
) {
    let rows: Vec<u32> = near.iter().map(|neighbor| layer.row(neighbor.row)).collect();
    let mut distances = vec![0.0; rows.len()];
    scorer.gather(&rows, &mut distances);
    scored.clear();
    let nodes = near.iter().map(|neighbor| neighbor.row).zip(distances);
    scored.extend(nodes.map(|(row, distance)| Neighbor { distance, row }));
    scored.sort_unstable();
}

/// The links of a batch on one layer, turned around.
fn turned(index: usize, batch: &[Item], chosen: &[Chosen]) -> Vec<BackLink> {
    let mut links: Vec<BackLink> = Vec::new();
    for (item, lists) in batch.iter().zip(chosen) {
        if let (Some(&source), Some(list)) = (item.nodes.get(index), lists.get(index)) {
            links.extend(list.iter().map(|neighbor| BackLink {
                target: neighbor.row,
                source: Neighbor {
                    distance: neighbor.distance,
                    row: source,
                },
            }));
        }
    }
    links
}

/// The batch as seen by one of its rows: candidates next to those of the graph.
pub(super) struct OfBatch<'a> {
    batch: &'a [Item],
    /// The row's own place.
    index: usize,
    /// To every row of the batch.
    distances: &'a [f32],
}

impl OfBatch<'_> {
    fn item(&self) -> Option<&Item> {
        self.batch.get(self.index)
    }

    /// The best `ef` of `walked` (best first) and the rows of the batch on layer `layer`, best first.
    pub(super) fn merge(
        &self,
        walked: &[Neighbor],
        layer: usize,
        ef: usize,
        scorer: &impl Distances,
    ) -> Vec<Neighbor> {
        let mut all = walked.to_vec();
        let bound = if walked.len() < ef {
            f32::INFINITY
        } else {
            walked.last().map_or(f32::INFINITY, |n| n.distance)
        };
        for (index, (other, &distance)) in self.batch.iter().zip(self.distances).enumerate() {
            if distance <= bound
                && index != self.index
                && let Some(&node) = other.nodes.get(layer)
            {
                all.push(Neighbor {
                    distance: scorer.one(other.row),
                    row: node,
                });
            }
        }
        if all.len() > walked.len() {
            all.sort_unstable();
            all.truncate(ef);
        }
        all
    }
}

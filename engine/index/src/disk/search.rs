//! Beam search (Subramanya et al., DiskANN, 2019, section 3.3): estimates say where to go next, and what is read on the way
//! says how far it really is.
//!
//! ```text
//!   the best L by estimate ──> the first W that were not read ──> one batch of reads ──> their vectors: exact distances
//!           ^                                                                             their links: estimates ──┐
//!           └──────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rows of the answer are rows that were read, so a filter or a window of distances is asked then, and costs nothing before.

use std::collections::HashSet;
use std::io;

use super::DiskIndex;
use super::codes::NodeScorer;
use super::pages::Pages;
use crate::bitset::Bitset;
use crate::hnsw::{Allowed, Distances, Frontier, HeapFrontier, Scratch, SortedFrontier};
use crate::index::SearchStats;
use crate::neighbor::{Neighbor, TopK};
use crate::params::SearchParams;
use crate::strategy::{GraphPlan, GraphQuery, Strategy, WIDEN, plan_graph};
use crate::typed::{ElementType, Scorer, VectorRef};

/// Exact distances of the query to vectors as they lie in a block.
struct Exact<'a> {
    scorer: Scorer<'a>,
    element: ElementType,
    floats: Vec<f32>,
    bits: Vec<u16>,
}

impl Exact<'_> {
    fn distance(&mut self, vector: &[u8]) -> f32 {
        let row = if self.element == ElementType::Float {
            let (numbers, _) = vector.as_chunks();
            self.floats.clear();
            self.floats
                .extend(numbers.iter().map(|&number| f32::from_le_bytes(number)));
            VectorRef::Floats(&self.floats)
        } else {
            let (numbers, _) = vector.as_chunks();
            self.bits.clear();
            self.bits
                .extend(numbers.iter().map(|&number| u16::from_le_bytes(number)));
            if self.element == ElementType::Half {
                VectorRef::Halves(&self.bits)
            } else {
                VectorRef::BFloat16s(&self.bits)
            }
        };
        self.scorer.distance(row).unwrap_or(f32::INFINITY)
    }
}

/// Rows of fewer dimensions are scanned: they are short, and have so few codes that estimates say little.
const MIN_DIM: usize = 8;

/// One query on its way.
struct Walk<'a> {
    index: &'a DiskIndex,
    estimate: NodeScorer<'a>,
    exact: Exact<'a>,
    allow: Option<&'a Bitset>,
    beam: usize,
    scratch: Scratch,
    pages: Pages,
}

/// What a walk found, and how far it has looked around.
struct Found {
    rows: Vec<Neighbor>,
    /// Nearer than this, hardly a row was missed.
    reach: f32,
}

impl Found {
    fn within_reach(&self) -> usize {
        self.rows
            .partition_point(|neighbor| neighbor.distance <= self.reach)
    }
}

/// The first of each row: a file may say that several nodes are of one.
fn distinct(mut rows: Vec<Neighbor>) -> Vec<Neighbor> {
    let mut seen = HashSet::with_capacity(rows.len());
    rows.retain(|neighbor| seen.insert(neighbor.row));
    rows
}

impl DiskIndex {
    /// The rows nearest to `query`, with exact distances; `None` when they should be scanned instead, or could not be read.
    /// `wide` is the query as 32-bit floats.
    pub(super) fn walk(
        &self,
        query: VectorRef<'_>,
        wide: Vec<f32>,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        if self.dim < MIN_DIM {
            return None;
        }
        let mut plan = GraphQuery {
            rows: self.valid.count(),
            allowed: allowed.count,
            k,
            ef: params.search_list_for(k, allowed.count.is_some()),
            degree: self.layout.degree(),
        };
        let GraphPlan::Walk { ef } = plan_graph(plan) else {
            return None;
        };
        let mut walk = Walk {
            index: self,
            estimate: self.codes.scorer(wide),
            exact: Exact {
                scorer: Scorer::new(self.metric.into(), query).ok()?,
                element: self.element,
                floats: Vec::new(),
                bits: Vec::new(),
            },
            allow: allowed.filter,
            beam: params.disk.beam(),
            scratch: self.scratch.take(),
            pages: self.blocks.take(),
        };
        let found = if params.within.is_open() {
            walk.nearest(ef, k, allowed, stats)
        } else {
            walk.nearest_within(ef, &mut plan, params, stats)
        };
        self.scratch.give_back(walk.scratch);
        self.blocks.give_back(walk.pages);
        match found {
            Ok(found) => {
                if found.is_some() {
                    stats.strategy = match allowed.filter {
                        Some(_) => Strategy::GraphFiltered,
                        None => Strategy::Graph,
                    };
                }
                found
            }
            Err(error) => {
                tracing::error!(%error, "nodes of a DISKANN index cannot be read; its rows are scanned");
                None
            }
        }
    }
}

impl Walk<'_> {
    fn nearest(
        &mut self,
        ef: usize,
        k: usize,
        allowed: Allowed<'_>,
        stats: &mut SearchStats,
    ) -> io::Result<Option<Vec<Neighbor>>> {
        let Some(found) = self.run(ef, TopK::new(k, self.index.len), stats)? else {
            return Ok(None);
        };
        let wanted = k.min(allowed.count.unwrap_or(self.index.valid.count()));
        // As in a graph in memory: rows out of reach are there by chance, and with a filter most may be.
        let by_chance = allowed.filter.is_some() && found.within_reach() * 2 < k;
        Ok((found.rows.len() >= wanted && !by_chance).then_some(found.rows))
    }

    /// Walks with longer and longer candidate lists, until one reaches past the end of the window or past `k` rows of it.
    fn nearest_within(
        &mut self,
        mut ef: usize,
        plan: &mut GraphQuery,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> io::Result<Option<Vec<Neighbor>>> {
        loop {
            let top = TopK::within(params.within, plan.k, self.index.len);
            let Some(found) = self.run(ef, top, stats)? else {
                return Ok(None);
            };
            if found.within_reach() >= plan.k || found.reach > params.within.last() {
                return Ok(Some(found.rows));
            }
            plan.ef = plan.ef.saturating_mul(WIDEN);
            match plan_graph(*plan) {
                GraphPlan::Walk { ef: wider } => ef = wider,
                GraphPlan::Scan => return Ok(None),
            }
        }
    }

    /// `None` where estimates say nothing: they overflow.
    fn run(&mut self, ef: usize, top: TopK, stats: &mut SearchStats) -> io::Result<Option<Found>> {
        if ef <= SortedFrontier::MAX {
            let mut frontier = std::mem::take(&mut self.scratch.sorted);
            frontier.reset(ef);
            let found = self.follow(ef, &mut frontier, top, stats);
            self.scratch.sorted = frontier;
            found
        } else {
            self.follow(ef, &mut HeapFrontier::new(ef), top, stats)
        }
    }

    fn follow<F: Frontier>(
        &mut self,
        ef: usize,
        frontier: &mut F,
        mut top: TopK,
        stats: &mut SearchStats,
    ) -> io::Result<Option<Found>> {
        let mut read = Vec::new();
        let mut beam = Vec::with_capacity(self.beam);
        self.scratch.visited.start();
        if self.scratch.visited.first_visit(0) {
            frontier.push(self.estimate.one(0), 0);
        }
        loop {
            beam.clear();
            beam.extend(std::iter::from_fn(|| frontier.pop()).take(self.beam));
            if beam.is_empty() {
                break;
            }
            self.expand(&beam, &mut top, &mut read, stats)?;
            let Scratch { nodes, distances, .. } = &mut self.scratch;
            distances.resize(nodes.len(), 0.0);
            self.estimate.gather(nodes, distances);
            stats.distances += nodes.len() as u64;
            for (&node, &distance) in nodes.iter().zip(distances.iter()) {
                if !distance.is_finite() {
                    return Ok(None);
                }
                frontier.push(distance, node);
            }
        }
        let is_full = frontier.reach() < f32::INFINITY;
        let half = ef / 2;
        let reach = if is_full && half < read.len() {
            // Estimates may have kept some of the farther half from being read.
            *read.select_nth_unstable_by(half, f32::total_cmp).1
        } else {
            f32::INFINITY
        };
        Ok(Some(Found {
            rows: distinct(top.into_sorted()),
            reach,
        }))
    }

    /// Reads the nodes of a beam: offers their rows, adds their distances to `read`, and leaves those of their links that
    /// were not met before in `scratch.nodes`.
    fn expand(
        &mut self,
        beam: &[u32],
        top: &mut TopK,
        read: &mut Vec<f32>,
        stats: &mut SearchStats,
    ) -> io::Result<()> {
        let (index, layout) = (self.index, self.index.layout);
        let mut wanted: Vec<usize> = Vec::with_capacity(beam.len());
        for &position in beam {
            let (block, _) = layout.place(position);
            if index.blocks.kept(block).is_none() && !wanted.contains(&block) {
                wanted.push(block);
            }
        }
        index.blocks.fetch(&wanted, &mut self.pages)?;
        stats.reads += wanted.len() as u64;
        stats.hops += beam.len() as u64;
        stats.distances += beam.len() as u64;
        self.scratch.nodes.clear();
        for &position in beam {
            let (block, place) = layout.place(position);
            let content = index.blocks.kept(block).or_else(|| {
                let slot = wanted.iter().position(|&wanted| wanted == block)?;
                let start = slot * layout.block_bytes();
                self.pages.bytes().get(start..start + layout.block_bytes())
            });
            let node = content.and_then(|content| layout.node(content, place));
            let Some(node) = node.filter(|node| index.has(node.row)) else {
                let text = format!("block {block} holds no node {position}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            let distance = self.exact.distance(node.vector);
            read.push(distance);
            if self.allow.is_none_or(|allow| allow.get(node.row as usize)) {
                top.push(distance, node.row);
            }
            for link in node.links() {
                if self.scratch.visited.first_visit(link) {
                    self.scratch.nodes.push(link);
                }
            }
        }
        Ok(())
    }
}

//! Walks through a graph in plain Rust, step by step as the kernel takes them. Where several walks serve one query they follow
//! each other here, which is one of the orders in which a device may run them.

use std::collections::HashSet;

use super::backend::{Comparison, GraphOf, NO_ROW, WalkOf};
use super::error::GpuError;
use super::twin::outside;
use super::twin_units::compared;
use crate::neighbor::Neighbor;

/// What the walks of a query tell each other.
#[derive(Default)]
struct Shared {
    /// Nodes that one of them has scored.
    known: HashSet<u32>,
    /// Nodes whose links one of them follows.
    taken: HashSet<u32>,
}

/// One walk.
struct Walker<'a> {
    comparison: Comparison,
    graph: &'a GraphOf<'a, Vec<u32>>,
    query: &'a [u32],
    query_term: u32,
    walk: WalkOf,
    shared: &'a mut Shared,
    seen: HashSet<u32>,
    /// Nodes that were compared.
    scored: u32,
    /// Keys of the nodes that are kept: distance, twice the node, and 1 when its links were followed.
    list: Vec<u64>,
}

/// All walks of a query. Hands out what they find; gives how many nodes were compared.
pub(super) fn walk_query(
    comparison: Comparison,
    graph: &GraphOf<'_, Vec<u32>>,
    (query, query_term): (&[u32], u32),
    walk: WalkOf,
    found: &mut impl FnMut(f32, u32) -> Result<(), GpuError>,
) -> Result<u32, GpuError> {
    let mut shared = Shared::default();
    let mut scored = 0;
    for number in 0..walk.walks {
        let mut walker = Walker {
            comparison,
            graph,
            query,
            query_term,
            walk,
            shared: &mut shared,
            seen: HashSet::new(),
            scored: 0,
            list: Vec::new(),
        };
        walker.walk(number, found)?;
        scored += walker.scored;
    }
    Ok(scored)
}

/// The `at`th of `count` nodes to start with: one out of each of as many ranges of nodes.
fn start_of(at: u32, count: u32, nodes: u32) -> u32 {
    let end_of = |at: u32| (u64::from(at) * u64::from(nodes) / u64::from(count)) as u32;
    let (first, length) = (end_of(at), end_of(at + 1) - end_of(at));
    let draw = (at + 1).wrapping_mul(0x9e37_79b1);
    first + (draw >> 8) % length.max(1)
}

impl Walker<'_> {
    fn several(&self) -> bool {
        self.walk.walks > 1
    }

    fn walk(
        &mut self,
        number: u32,
        found: &mut impl FnMut(f32, u32) -> Result<(), GpuError>,
    ) -> Result<(), GpuError> {
        let (list, walks) = (self.walk.list, self.walk.walks);
        let start = |at| start_of(at * walks + number, list * walks, self.graph.nodes);
        let mut fresh: Vec<u32> = (0..list).map(start).collect();
        for _ in 0..=self.walk.rounds {
            for node in fresh {
                self.score(node, found)?;
            }
            self.list.sort_unstable();
            self.list.truncate(list as usize);
            let parents = self.parents(found)?;
            if parents.is_empty() {
                break;
            }
            let degree = self.graph.degree as usize;
            let links = |&node: &usize| self.graph.links.get(node * degree..(node + 1) * degree);
            fresh = parents
                .iter()
                .flat_map(|node| links(node).unwrap_or(&[]))
                .copied()
                .filter(|&node| node != NO_ROW)
                .collect();
        }
        if self.graph.allow.is_none() {
            for &key in &self.list {
                let node = key as u32 >> 1;
                if !self.several() || (key & 1 == 0 && self.shared.taken.insert(node)) {
                    found(Neighbor::from_key(key).distance, self.number(node)?)?;
                }
            }
        }
        Ok(())
    }

    /// The nodes whose links are followed next. What other walks have taken leaves the list.
    fn parents(
        &mut self,
        found: &mut impl FnMut(f32, u32) -> Result<(), GpuError>,
    ) -> Result<Vec<usize>, GpuError> {
        let mut parents = Vec::new();
        let mut kept = Vec::with_capacity(self.list.len());
        for key in std::mem::take(&mut self.list) {
            let node = key as u32 >> 1;
            if key & 1 == 1 || parents.len() == self.walk.width as usize {
                kept.push(key);
                continue;
            }
            if self.several() && !self.shared.taken.insert(node) {
                continue;
            }
            kept.push(key | 1);
            parents.push(node as usize);
            if self.several() && self.graph.allow.is_none() {
                found(Neighbor::from_key(key).distance, self.number(node)?)?;
            }
        }
        self.list = kept;
        Ok(parents)
    }

    fn number(&self, node: u32) -> Result<u32, GpuError> {
        let number = self.graph.numbers.get(node as usize);
        number.copied().ok_or_else(|| outside("walk_graph"))
    }

    fn score(
        &mut self,
        node: u32,
        found: &mut impl FnMut(f32, u32) -> Result<(), GpuError>,
    ) -> Result<(), GpuError> {
        if self.shared.taken.contains(&node) && self.several() || !self.seen.insert(node) {
            return Ok(());
        }
        let element = self.graph.element;
        let words = element.row_words(self.query.len());
        let start = node as usize * words;
        let row = self.graph.data.get(start..start + words);
        let row = row.ok_or_else(|| outside("walk_graph"))?;
        let each = element.is_exact() || self.comparison == Comparison::Cosine;
        let place = if each { node } else { 0 };
        let term = self.graph.terms.get(place as usize).copied().unwrap_or(u32::MAX);
        let of_query = (self.query, self.query_term);
        let distance = compared((element, self.comparison), of_query, (row, term));
        let neighbor = Neighbor {
            distance,
            row: node << 1,
        };
        self.list.push(neighbor.key());
        let Some(allow) = self.graph.allow else {
            self.scored += 1;
            return Ok(());
        };
        if self.several() && !self.shared.known.insert(node) {
            return Ok(());
        }
        self.scored += 1;
        let number = self.number(node)?;
        let word = allow.get(number as usize / 32);
        if word.is_some_and(|word| word >> (number % 32) & 1 == 1) {
            found(distance, number)?;
        }
        Ok(())
    }
}

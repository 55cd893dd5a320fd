//! The walk through a graph in plain Rust, step by step as the kernel takes it.

use std::collections::HashSet;

use super::backend::{Comparison, GraphOf, NO_ROW, WalkOf, Word};
use super::error::GpuError;
use super::twin::{distance, dot, outside, squared_differences};
use crate::metric::Metric;
use crate::neighbor::Neighbor;

/// A walk for one query.
pub(super) struct Walker<'a> {
    metric: Metric,
    graph: &'a GraphOf<'a, Vec<u32>>,
    query: &'a [u32],
    query_term: f32,
    walk: WalkOf,
    seen: HashSet<u32>,
    /// Keys of the nodes that are kept: distance, twice the node, and 1 when its links were followed.
    list: Vec<u64>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        metric: Metric,
        graph: &'a GraphOf<'a, Vec<u32>>,
        (query, query_term): (&'a [u32], f32),
        walk: WalkOf,
    ) -> Self {
        Self {
            metric,
            graph,
            query,
            query_term,
            walk,
            seen: HashSet::new(),
            list: Vec::new(),
        }
    }

    /// Hands out what is found; gives how many nodes were compared.
    pub(super) fn walk(
        &mut self,
        found: &mut impl FnMut(f32, u32) -> Result<(), GpuError>,
    ) -> Result<u32, GpuError> {
        let (list, nodes, degree) = (self.walk.list, self.graph.nodes, self.graph.degree as usize);
        let mut fresh: Vec<u32> = (0..list)
            .map(|at| (u64::from(at) * u64::from(nodes) / u64::from(list)) as u32)
            .collect();
        for _ in 0..=self.walk.rounds {
            for node in fresh {
                self.score(node, found)?;
            }
            self.list.sort_unstable();
            self.list.truncate(list as usize);
            let open = self.list.iter_mut().filter(|key| **key & 1 == 0);
            let parents: Vec<usize> = open
                .take(self.walk.width as usize)
                .map(|key| {
                    *key |= 1;
                    (*key as u32 >> 1) as usize
                })
                .collect();
            if parents.is_empty() {
                break;
            }
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
                let neighbor = Neighbor::from_key(key);
                found(neighbor.distance, self.number(neighbor.row >> 1)?)?;
            }
        }
        Ok(self.seen.len() as u32)
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
        if !self.seen.insert(node) {
            return Ok(());
        }
        let start = node as usize * self.query.len();
        let row = self.graph.data.get(start..start + self.query.len());
        let row = row.ok_or_else(|| outside("walk_graph"))?;
        let sum = match self.metric {
            Metric::L2 => squared_differences(self.query, row),
            Metric::Ip | Metric::Cosine => dot(self.query, row),
        };
        let place = if self.metric == Metric::Cosine { node } else { 0 };
        let term = self.graph.terms.get(place as usize).copied().unwrap_or(u32::MAX);
        let comparison = Comparison::new(self.metric, true);
        let distance = distance(comparison, sum, self.query_term, f32::from_word(term));
        let neighbor = Neighbor {
            distance,
            row: node << 1,
        };
        self.list.push(neighbor.key());
        let number = self.number(node)?;
        let is_allowed = self.graph.allow.is_some_and(|allow| {
            let word = allow.get(number as usize / 32);
            word.is_some_and(|word| word >> (number % 32) & 1 == 1)
        });
        if is_allowed {
            found(distance, number)?;
        }
        Ok(())
    }
}

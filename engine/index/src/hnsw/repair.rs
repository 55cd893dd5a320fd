//! A graph taken over without the rows that are gone.
//!
//! A node that loses a neighbour looks behind it: the neighbours of that neighbour, and so on through nodes that are gone, are
//! candidates for its place. Those that lie in a direction where the node has no link left are linked, both ways (after Singh
//! et al., FreshDiskANN, 2021, algorithm 4; there all links are chosen anew).

use std::collections::HashMap;

use rayon::prelude::*;

use super::build::{BackLink, Graph};
use super::earlier::Earlier;
use super::layers::{GrowingLayer, LayerRef, NONE};
use super::points::{Distances, Points};
use super::select;
use super::walkers::Walkers;
use crate::error::BuildError;
use crate::neighbor::Neighbor;
use crate::progress::Progress;

/// Nodes between two looks at the cancel flag.
const TASK: usize = 16_384;
/// A node looks behind lost neighbours through as many of them, one after the other, until it has met as many nodes as it
/// has room for links.
const DEPTH: usize = 4;

/// A layer as it was, and what its nodes are now.
struct Old<'a> {
    layer: LayerRef<'a, u32>,
    /// [`NONE`]: gone.
    nodes: &'a [u32],
}

impl Old<'_> {
    fn now(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).copied().unwrap_or(NONE)
    }

    /// The neighbours of a node that are left, and those that are gone.
    fn neighbors(&self, node: u32) -> (Vec<u32>, Vec<u32>) {
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        for other in self.layer.neighbors(node) {
            match self.now(other) {
                NONE => gone.push(other),
                now => left.push(now),
            }
        }
        (left, gone)
    }

    /// Nodes behind those in `gone`, at least `wanted` if there are as many near.
    fn behind(&self, mut gone: Vec<u32>, wanted: usize) -> Vec<u32> {
        let mut found = Vec::new();
        let (mut from, mut depth) = (0, 0);
        while from < gone.len() && found.len() < wanted && depth < DEPTH {
            let to = gone.len();
            for index in from..to {
                let Some(&node) = gone.get(index) else { break };
                for other in self.layer.neighbors(node) {
                    match self.now(other) {
                        NONE if !gone.contains(&other) => gone.push(other),
                        NONE => {}
                        now => found.push(now),
                    }
                }
            }
            found.sort_unstable();
            found.dedup();
            (from, depth) = (to, depth + 1);
        }
        found
    }
}

impl<P: Points, W: Walkers> Graph<'_, P, W> {
    /// Fills the layers with the links of the graph that is taken over.
    pub(super) fn take_over(&self, earlier: &Earlier<'_>, progress: &dyn Progress) -> Result<(), BuildError> {
        let Some((layers, places)) = earlier.base() else {
            return Ok(());
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let Some(below) = index.checked_sub(1) else {
                let (layer_before, nodes) = (layers.base(), places);
                let old = Old {
                    layer: layer_before,
                    nodes,
                };
                self.repair(index, layer, &old, progress)?;
                continue;
            };
            let (Some(before), Some(rows)) = (layers.upper(below), layer.view().rows) else {
                break;
            };
            let slots: HashMap<u32, u32> = rows.iter().copied().zip(0..).collect();
            let now = |row: &u32| {
                let place = places.get(*row as usize).copied().unwrap_or(NONE);
                slots.get(&place).copied().unwrap_or(NONE)
            };
            let nodes: Vec<u32> = before.rows.unwrap_or(&[]).iter().map(now).collect();
            let old = Old {
                layer: before,
                nodes: &nodes,
            };
            self.repair(index, layer, &old, progress)?;
        }
        Ok(())
    }

    /// Fills one layer. Links that replace lost ones are turned around once all nodes have theirs.
    fn repair(
        &self,
        index: usize,
        layer: &GrowingLayer,
        old: &Old<'_>,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let most = if index == 0 {
            self.form.kept()
        } else {
            self.form.chosen()
        };
        let most = most.min(layer.stride);
        let tasks: Vec<&[u32]> = old.nodes.chunks(TASK).collect();
        let nodes_of = |task: usize| {
            let first = (task * TASK) as u32;
            let nodes = tasks.get(task).copied().unwrap_or(&[]);
            (first..)
                .zip(nodes.iter().copied())
                .filter(|&(_, now)| now != NONE)
        };
        for task in 0..tasks.len() {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let nodes: Vec<(u32, u32)> = nodes_of(task).collect();
            nodes.into_par_iter().with_min_len(64).for_each(|(node, now)| {
                let (left, gone) = old.neighbors(node);
                if gone.is_empty() {
                    layer.set(now, left.into_iter());
                } else {
                    self.replace(layer, now, &left, &old.behind(gone, most), most);
                }
            });
        }
        for task in 0..tasks.len() {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let nodes: Vec<(u32, u32)> = nodes_of(task).collect();
            let links = nodes
                .into_par_iter()
                .with_min_len(64)
                .flat_map_iter(|(node, now)| {
                    let (left, gone) = old.neighbors(node);
                    if gone.is_empty() {
                        Vec::new()
                    } else {
                        self.new_links(layer, now, &left)
                    }
                });
            let links: Vec<BackLink> = links.collect();
            self.link_back(index, layer, links);
        }
        Ok(())
    }

    /// Gives `node` the links that are `left` and some of `candidates`.
    fn replace(&self, layer: &GrowingLayer, node: u32, left: &[u32], candidates: &[u32], most: usize) {
        let view = layer.view();
        let row = view.row(node);
        let mut kept = self.scored(layer, row, left.iter().copied());
        let fresh = candidates.iter().copied();
        let mut fresh = self.scored(
            layer,
            row,
            fresh.filter(|&other| other != node && !left.contains(&other)),
        );
        fresh.sort_unstable();
        select::add(self.points, view, row, &fresh, most, self.form.alpha(), &mut kept);
        layer.set(node, kept.iter().map(|neighbor| neighbor.row));
    }

    /// Nodes with their distances from a row.
    fn scored(&self, layer: &GrowingLayer, row: u32, nodes: impl Iterator<Item = u32>) -> Vec<Neighbor> {
        let nodes: Vec<u32> = nodes.collect();
        let rows: Vec<u32> = nodes.iter().map(|&node| layer.view().row(node)).collect();
        let mut distances = vec![0.0; rows.len()];
        self.points.row(row).gather(&rows, &mut distances);
        let scored = nodes.into_iter().zip(distances);
        scored.map(|(row, distance)| Neighbor { distance, row }).collect()
    }

    /// Links of `node` to others than those that were `left`, turned around.
    fn new_links(&self, layer: &GrowingLayer, node: u32, left: &[u32]) -> Vec<BackLink> {
        let row = layer.view().row(node);
        let fresh = layer.view().neighbors(node).filter(|other| !left.contains(other));
        let turned = |neighbor: Neighbor| BackLink {
            target: neighbor.row,
            source: Neighbor {
                distance: neighbor.distance,
                row: node,
            },
        };
        self.scored(layer, row, fresh).into_iter().map(turned).collect()
    }
}

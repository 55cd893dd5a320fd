//! Graphs over some of the rows of a new one: what segments had before they were merged.
//!
//! ```text
//!   the part with the most rows left          taken over: its links, with those to rows that are gone repaired (`repair`)
//!   rows of the other parts                    inserted from where their own neighbours already are (`lead`)
//!   rows of no graph, and those above the base inserted as ever
//! ```

use super::graph::Graph;
use super::layers::{LayerRef, Layers, NONE};
use crate::bitset::Bitset;

/// A part of which less is left is not used: what is repaired finds less from there on than a new graph.
const LEAST_LEFT: f64 = 0.3;

/// The graph in an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexGraph<'a> {
    pub(crate) graph: &'a Graph,
    /// Its rows with a vector, all when `None`.
    pub(crate) valid: Option<&'a Bitset>,
}

/// A graph, and where its rows are now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) of: IndexGraph<'a>,
    /// For each of its rows the row that it is now, [`NONE`] when it is gone.
    pub(crate) rows: &'a [u32],
}

/// Graphs over some of the rows.
#[derive(Debug)]
pub(crate) struct Earlier<'a> {
    /// That with the most rows left comes first.
    parts: Vec<Placed<'a>>,
    /// For each row its part and its row there.
    origins: Vec<Option<(u32, u32)>>,
}

#[derive(Debug)]
struct Placed<'a> {
    layers: &'a Layers,
    /// For each of its rows the row that it is now, [`NONE`] when it is gone.
    places: Vec<u32>,
    left: usize,
}

impl<'a> Earlier<'a> {
    /// What can be used of `parts` in a graph over `members`, of `rows` rows; `None` when that is nothing.
    pub(crate) fn new(parts: &[Part<'a>], members: &[u32], rows: usize) -> Option<Self> {
        let mut free = Bitset::new(rows);
        for &row in members {
            free.set(row as usize);
        }
        let mut placed: Vec<Placed<'a>> = Vec::new();
        for part in parts {
            let mut left = 0;
            let place = |(row, &now): (usize, &u32)| {
                let has = part.of.valid.is_none_or(|valid| valid.get(row));
                if !has || !free.get(now as usize) {
                    return NONE;
                }
                free.clear(now as usize);
                left += 1;
                now
            };
            let places: Vec<u32> = part.rows.iter().enumerate().map(place).collect();
            if left > 0 && left as f64 >= LEAST_LEFT * part.of.graph.nodes() as f64 {
                let layers = part.of.graph.layers();
                placed.push(Placed { layers, places, left });
            }
        }
        // The sort is stable: equal parts in the order given.
        placed.sort_by_key(|part| std::cmp::Reverse(part.left));
        let mut origins = vec![None; rows];
        for (number, part) in (0u32..).zip(&placed) {
            for (row, &now) in (0u32..).zip(&part.places) {
                if let Some(origin) = origins.get_mut(now as usize) {
                    *origin = Some((number, row));
                }
            }
        }
        (!placed.is_empty()).then_some(Self {
            parts: placed,
            origins,
        })
    }

    /// Rows that have links to start with.
    pub(crate) fn left(&self) -> usize {
        self.parts.iter().map(|part| part.left).sum()
    }

    /// The graph whose links are taken over, and where its rows are.
    pub(super) fn base(&self) -> Option<(&'a Layers, &[u32])> {
        let first = self.parts.first()?;
        Some((first.layers, &first.places))
    }

    /// Whether the links of `row` are taken over.
    pub(super) fn is_taken(&self, row: u32) -> bool {
        matches!(self.origins.get(row as usize), Some(Some((0, _))))
    }

    /// The rows whose links are taken over, ascending, with their levels.
    pub(super) fn taken(&self) -> Vec<(u32, u8)> {
        let Some((layers, places)) = self.base() else {
            return Vec::new();
        };
        let mut levels = vec![0u8; self.origins.len()];
        for (level, layer) in (1u8..).zip(&layers.upper) {
            for &row in &*layer.rows {
                let place = places.get(row as usize).copied().unwrap_or(NONE);
                if let Some(of_row) = levels.get_mut(place as usize) {
                    *of_row = level;
                }
            }
        }
        let rows = (0u32..).zip(levels);
        rows.filter(|&(row, _)| self.is_taken(row)).collect()
    }

    /// Where the neighbours are now that `row` had in a graph which is not taken over.
    pub(super) fn neighbors(&self, row: u32) -> impl Iterator<Item = u32> {
        let origin = self.origins.get(row as usize).copied().flatten();
        let part = origin.filter(|&(part, _)| part > 0).and_then(|(part, row)| {
            let part = self.parts.get(part as usize)?;
            Some((part, row))
        });
        part.into_iter().flat_map(|(part, row)| {
            let base: LayerRef<'_, u32> = part.layers.base();
            let places = base.neighbors(row).map(|other| part.places.get(other as usize));
            places.flatten().copied().filter(|&place| place != NONE)
        })
    }
}

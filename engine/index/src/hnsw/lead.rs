//! Rows that enter where their neighbours already are.
//!
//! A row that was linked in a graph of its own starts its walk at those of its neighbours that have entered before it. It needs
//! no way down through the layers, and a shorter list: the neighbours it had are good links already, what the walk looks
//! for are nearer ones among the rows of other graphs.

use super::build::{Chosen, Graph, OfBatch, approach, score_again};
use super::plan::Item;
use super::points::{Distances, Points};
use super::scratch::Scratch;
use super::select::select;
use super::walkers::Walkers;
use crate::neighbor::Neighbor;

/// The list of such a walk is this part of `efConstruction`,
const LIST_DIVISOR: usize = 2;
/// and at least this many times the links that a row chooses.
const LEAST_LIST: usize = 2;

impl<P: Points, W: Walkers> Graph<'_, P, W> {
    /// Neighbours of a row of the base that had some before; `None` when none of them is in the graph yet.
    pub(super) fn choose_led(
        &self,
        candidates: &OfBatch<'_>,
        item: &Item,
        scratch: &mut Scratch,
    ) -> Option<Chosen> {
        let (earlier, base) = (self.earlier?, self.layers.first()?);
        let before = earlier.neighbors(item.row);
        let before: Vec<u32> = before.filter(|&row| self.entered.get(row as usize)).collect();
        if before.is_empty() {
            return None;
        }
        let (scorer, walker) = (self.points.row(item.row), self.walkers.walker(item.row));
        let ef = (self.ef / LIST_DIVISOR)
            .max(LEAST_LIST * self.form.chosen())
            .min(self.ef);
        let mut near = neighbors(&before, &walker);
        approach(base.view(), &walker, ef, &mut near, scratch);
        let mut scored = Vec::new();
        if !W::EXACT {
            score_again(base.view(), &scorer, &near, &mut scored);
            near = scored;
        }
        let mut all = candidates.merge(&near, 0, ef, &scorer);
        let is_new = |row: &u32| all.iter().all(|neighbor| neighbor.row != *row);
        let before: Vec<u32> = before.iter().copied().filter(is_new).collect();
        all.extend(neighbors(&before, &scorer));
        all.sort_unstable();
        let mut chosen = Vec::new();
        let (max, alpha) = (self.form.chosen(), self.form.alpha());
        select(self.points, base.view(), item.row, &all, max, alpha, &mut chosen);
        Some(vec![chosen])
    }
}

/// Rows with their distances.
fn neighbors(rows: &[u32], scorer: &impl Distances) -> Vec<Neighbor> {
    let mut distances = vec![0.0; rows.len()];
    scorer.gather(rows, &mut distances);
    let scored = rows.iter().zip(distances);
    scored
        .map(|(&row, distance)| Neighbor { distance, row })
        .collect()
}

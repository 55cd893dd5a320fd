//! The order of insertion and the levels of all rows.

use super::build::{Form, Settings};
use super::earlier::Earlier;
use super::layers::{GrowingLayer, MAX_UPPER};
use crate::rng::Rng;

/// Order and levels of all rows, fixed before the first insertion.
pub(super) struct Plan {
    /// Rows in order of insertion; first those that are taken over from a graph, with their levels there.
    pub(super) order: Vec<u32>,
    /// How many are taken over.
    pub(super) taken: usize,
    /// Highest layer of each, parallel to `order`; 0 is the base.
    levels: Vec<u8>,
    /// Rows of each upper layer in order of insertion, lowest layer first.
    pub(super) upper_rows: Vec<Vec<u32>>,
}

/// A row on its way into the graph.
pub(super) struct Item {
    pub(super) row: u32,
    /// Its node on every layer from the base up to its level.
    pub(super) nodes: Vec<u32>,
}

impl Plan {
    pub(super) fn new(members: Vec<u32>, earlier: Option<&Earlier<'_>>, settings: Settings) -> Self {
        let (mut taken, mut order) = (Vec::new(), members);
        if let Some(earlier) = earlier {
            taken = earlier.taken();
            order.retain(|&row| !earlier.is_taken(row));
        }
        let mut rng = Rng::new(settings.seed);
        rng.shuffle(&mut order);
        let drawn: Vec<u8> = match settings.form {
            Form::Hierarchy { m } => {
                // Each layer holds 1/M of the one below (paper, section 4.1).
                let scale = 1.0 / (m as f64).ln();
                let level = |_: &u32| ((-rng.unit().ln() * scale) as usize).min(MAX_UPPER) as u8;
                order.iter().map(level).collect()
            }
            Form::Flat { entry, .. } => {
                if let Some(place) = order.iter().position(|&row| row == entry) {
                    order.swap(0, place);
                }
                vec![0; order.len()]
            }
        };
        let (mut all, mut levels): (Vec<u32>, Vec<u8>) = taken.into_iter().unzip();
        let taken = all.len();
        all.append(&mut order);
        levels.extend(drawn);
        let order = all;
        let top = levels.iter().copied().max().unwrap_or(0);
        let members = |layer: u8| {
            order
                .iter()
                .zip(&levels)
                .filter(move |&(_, &level)| level >= layer)
        };
        let upper_rows = (1..=top)
            .map(|layer| members(layer).map(|(&row, _)| row).collect())
            .collect();
        Self {
            order,
            taken,
            levels,
            upper_rows,
        }
    }

    /// Nodes of each upper layer that are taken over.
    pub(super) fn taken_slots(&self) -> Vec<u32> {
        let levels = self.levels.get(..self.taken).unwrap_or(&[]);
        let above = |layer: usize| levels.iter().filter(|&&level| usize::from(level) > layer).count();
        (0..self.upper_rows.len())
            .map(|layer| above(layer) as u32)
            .collect()
    }

    pub(super) fn layers(&self, rows: usize, form: Form) -> Vec<GrowingLayer> {
        let room = |max: usize, nodes: usize| max.min(nodes.saturating_sub(1)).max(1);
        let base = GrowingLayer::new(rows, room(form.room(), self.order.len()), None);
        let upper = self
            .upper_rows
            .iter()
            .map(|rows| GrowingLayer::new(0, room(form.chosen(), rows.len()), Some(rows.clone())));
        std::iter::once(base).chain(upper).collect()
    }

    /// Per upper layer, the node one layer below of each of its slots.
    pub(super) fn down(&self) -> Vec<Vec<u32>> {
        let mut down = vec![Vec::new(); self.upper_rows.len()];
        let mut slots = vec![0u32; self.upper_rows.len()];
        for item in self.batch(0..self.order.len(), &mut slots) {
            for (layer, &below) in down.iter_mut().zip(&item.nodes).take(item.nodes.len() - 1) {
                layer.push(below);
            }
        }
        down
    }

    /// The rows at `range` of the order; `slots` counts the nodes of each upper layer so far.
    pub(super) fn batch(&self, range: std::ops::Range<usize>, slots: &mut [u32]) -> Vec<Item> {
        let rows = self
            .order
            .iter()
            .zip(&self.levels)
            .skip(range.start)
            .take(range.len());
        rows.map(|(&row, &level)| {
            let mut nodes = vec![row];
            for slot in slots.iter_mut().take(usize::from(level)) {
                nodes.push(*slot);
                *slot += 1;
            }
            Item { row, nodes }
        })
        .collect()
    }
}

//! The rows of a batch and their distances to each other.

use super::points::{Companions, Distances, Points};
use crate::kernels::TILE;
use crate::scorer::Space;
use crate::vectors::Vectors;

/// Rows of 32-bit floats side by side, so that a tile kernel takes several of them at once.
pub(crate) struct FloatCompanions<'a> {
    space: &'a Space<'a>,
    data: Vec<f32>,
    inverse_norms: Vec<f32>,
}

impl<'a> FloatCompanions<'a> {
    pub(crate) fn new(space: &'a Space<'a>, rows: &[u32]) -> Self {
        let data = rows
            .iter()
            .flat_map(|&row| space.vectors.row(row as usize).iter().copied())
            .collect();
        let norm = |&row: &u32| space.row_scorer(row).inverse_query();
        Self {
            space,
            data,
            inverse_norms: rows.iter().map(norm).collect(),
        }
    }
}

impl Companions for FloatCompanions<'_> {
    fn distances(&self, first: usize) -> Vec<f32> {
        let Ok(vectors) = Vectors::new(&self.data, self.space.vectors.dim()) else {
            return Vec::new();
        };
        let space = Space::new(self.space.metric, vectors, Some(&self.inverse_norms));
        let (rows, count) = (vectors.len(), TILE.min(vectors.len() - first));
        let mut out = vec![0.0; count * rows];
        if count == TILE {
            let inverse = self.inverse_norms.get(first..first + TILE).unwrap_or(&[]);
            space.tile(vectors.rows(first, TILE), inverse, 0, rows, &mut out);
        } else {
            for (index, out) in (first..).zip(out.chunks_exact_mut(rows)) {
                space.row_scorer(index as u32).block(0, out);
            }
        }
        out
    }
}

/// Rows of any points, where they lie.
pub(crate) struct GatheredCompanions<'a, P> {
    points: &'a P,
    rows: Vec<u32>,
}

impl<'a, P> GatheredCompanions<'a, P> {
    pub(crate) fn new(points: &'a P, rows: &[u32]) -> Self {
        Self {
            points,
            rows: rows.to_vec(),
        }
    }
}

impl<P: Points> Companions for GatheredCompanions<'_, P> {
    fn distances(&self, first: usize) -> Vec<f32> {
        let some = self.rows.iter().skip(first).take(TILE);
        let mut out = vec![0.0; some.len() * self.rows.len()];
        for (&row, out) in some.zip(out.chunks_exact_mut(self.rows.len())) {
            self.points.row(row).gather(&self.rows, out);
        }
        out
    }
}

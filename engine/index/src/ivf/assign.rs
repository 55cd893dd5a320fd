//! Nearest centroid of many rows: by codes where there are many centroids, otherwise tiles of four rows against blocks of
//! centroids that stay in cache.

use rayon::prelude::*;

use super::coarse::Coarse;
use super::grouping;
use crate::error::BuildError;
use crate::kernels::TILE;
use crate::neighbor::Neighbor;
use crate::progress::Progress;
use crate::scorer::Space;
use crate::vectors::Vectors;

/// Floats of a block of centroids.
const BLOCK_FLOATS: usize = 64 * 1024;
/// Row-centroid pairs between two looks at the cancel flag: a fraction of a second.
const SLAB_PAIRS: usize = 1 << 26;
/// Tiles that one task works on.
const TASK_TILES: usize = 16;

/// Rows, and the centroids to sort them by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assigner<'a> {
    pub(super) space: &'a Space<'a>,
    /// Lists x dim, row-major.
    pub(super) centroids: &'a [f32],
    pub(super) lists: usize,
}

impl Assigner<'_> {
    /// The nearest centroid (`row`) of each of `rows`, with its distance. Reports rows done when `total` is given.
    pub(super) fn assign(
        &self,
        rows: &[u32],
        progress: &dyn Progress,
        total: Option<usize>,
    ) -> Result<Vec<Neighbor>, BuildError> {
        let task_rows = TILE * TASK_TILES;
        let coarse = Coarse::new(
            grouping(self.space.metric),
            self.centroids,
            self.space.vectors.dim(),
        );
        let slab = (SLAB_PAIRS / self.lists.max(1))
            .max(1)
            .next_multiple_of(task_rows);
        let mut assigned = Vec::with_capacity(rows.len());
        for rows in rows.chunks(slab) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            assigned.par_extend(rows.par_chunks(task_rows).flat_map_iter(|rows| match &coarse {
                Some(coarse) => self.assign_by_codes(coarse, rows),
                None => self.assign_some(rows),
            }));
            if let Some(total) = total {
                progress.advance(assigned.len() as u64, total as u64);
            }
        }
        Ok(assigned)
    }

    /// As [`Assigner::assign_some`], with exact distances to those centroids only that are nearest by their codes: a quarter
    /// of the bytes, and integers.
    fn assign_by_codes(&self, coarse: &Coarse, rows: &[u32]) -> Vec<Neighbor> {
        let Ok(centroids) = Vectors::new(self.centroids, self.space.vectors.dim()) else {
            return Vec::new();
        };
        let centroid_space = Space::new(grouping(self.space.metric), centroids, None);
        let nearest = |row: &u32| {
            let query = self.space.vectors.row(*row as usize);
            let keys = coarse.nearest(&centroid_space, query, 1);
            let key = keys.as_ref().and_then(|keys| keys.first());
            match key {
                Some(&key) => Some(Neighbor::from_key(key)),
                // Values that codes cannot hold.
                None => self.assign_some(&[*row]).first().copied(),
            }
        };
        rows.iter().filter_map(nearest).collect()
    }

    fn assign_some(&self, rows: &[u32]) -> Vec<Neighbor> {
        let dim = self.space.vectors.dim();
        let Ok(centroids) = Vectors::new(self.centroids, dim) else {
            return Vec::new();
        };
        let centroid_space = Space::new(grouping(self.space.metric), centroids, None);
        let block = (BLOCK_FLOATS / dim).max(TILE);
        let mut out = vec![0.0f32; TILE * block];
        let mut queries = vec![0.0f32; TILE * dim];
        let mut best = vec![
            Neighbor {
                distance: f32::INFINITY,
                row: 0
            };
            rows.len().next_multiple_of(TILE)
        ];
        for (rows, best) in rows.chunks(TILE).zip(best.chunks_exact_mut(TILE)) {
            // A short last tile keeps what the previous one left in the unused queries; their results are cut off below.
            for (query, &row) in queries.chunks_exact_mut(dim).zip(rows) {
                query.copy_from_slice(self.space.vectors.row(row as usize));
            }
            for first in (0..self.lists).step_by(block) {
                let count = block.min(self.lists - first);
                let Some(out) = out.get_mut(..TILE * count) else {
                    continue;
                };
                centroid_space.tile(&queries, &[], first, count, out);
                for (best, distances) in best.iter_mut().zip(out.chunks_exact(count)) {
                    for (list, &distance) in (first as u32..).zip(distances) {
                        if distance < best.distance {
                            *best = Neighbor { distance, row: list };
                        }
                    }
                }
            }
        }
        best.truncate(rows.len());
        best
    }
}

/// Sorts `rows` by their list, keeping the order within one: `(offsets, members)`, list `i` being
/// `members[offsets[i]..offsets[i + 1]]`.
pub(crate) fn group(rows: &[u32], assigned: &[Neighbor], lists: usize) -> (Vec<u32>, Vec<u32>) {
    let mut counts = vec![0u32; lists];
    for list in assigned {
        if let Some(count) = counts.get_mut(list.row as usize) {
            *count += 1;
        }
    }
    let mut offsets = vec![0u32];
    offsets.extend(counts.iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    }));
    let mut next = offsets.clone();
    let mut members = vec![0u32; rows.len()];
    for (&row, list) in rows.iter().zip(assigned) {
        if let Some(place) = next.get_mut(list.row as usize) {
            if let Some(slot) = members.get_mut(*place as usize) {
                *slot = row;
            }
            *place += 1;
        }
    }
    (offsets, members)
}

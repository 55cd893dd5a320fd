//! The kernels in plain Rust: what they are tested against, and a device for tests of everything above them.

use super::backend::{Backend, Comparison, ListsOf, QueriesOf, RowsOf, Word};
use super::error::GpuError;
use crate::neighbor::Neighbor;

/// Squared lengths below this have lost digits.
const LEAST_SQUARE: f32 = 1e-30;

/// Stands in for a device.
#[derive(Debug, Default)]
pub struct Twin {
    _private: (),
}

impl Twin {
    /// A twin.
    pub fn new() -> Self {
        Self::default()
    }
}

fn outside(what: &'static str) -> GpuError {
    GpuError::Driver {
        what,
        reason: "a range leaves its buffer".to_owned(),
    }
}

fn dot(a: &[u32], b: &[u32]) -> f32 {
    let products = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| f32::from_word(a) * f32::from_word(b));
    products.sum()
}

fn squared_differences(a: &[u32], b: &[u32]) -> f32 {
    let differences = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| f32::from_word(a) - f32::from_word(b));
    differences.map(|difference| difference * difference).sum()
}

/// A distance from what was summed over the dimensions; what is no number counts as nearest.
fn distance(comparison: Comparison, sum: f32, query_term: f32, row_term: f32) -> f32 {
    let distance = match comparison {
        Comparison::L2 => (query_term + row_term) - 2.0 * sum,
        Comparison::Ip => 0.0 - sum,
        Comparison::Cosine => 0.0 - sum * query_term * row_term,
        Comparison::L2Direct => sum,
    };
    if distance.is_nan() {
        f32::NEG_INFINITY
    } else {
        distance
    }
}

impl Backend for Twin {
    type Buffer = Vec<u32>;

    fn allocate(&self, words: usize) -> Result<Vec<u32>, GpuError> {
        // No number, and no row: what is read before it is written shows.
        Ok(vec![u32::MAX; words])
    }

    fn write<W: Word>(&self, to: &mut Vec<u32>, at: usize, values: &[W]) -> Result<(), GpuError> {
        let room = to
            .get_mut(at..at + values.len())
            .ok_or_else(|| outside("write"))?;
        for (word, value) in room.iter_mut().zip(values) {
            *word = value.to_word();
        }
        Ok(())
    }

    fn read<W: Word>(&self, from: &Vec<u32>, values: &mut [W]) -> Result<(), GpuError> {
        let words = from.get(..values.len()).ok_or_else(|| outside("read"))?;
        for (value, &word) in values.iter_mut().zip(words) {
            *value = W::from_word(word);
        }
        Ok(())
    }

    fn copy(&self, from: &Vec<u32>, to: &mut Vec<u32>) -> Result<(), GpuError> {
        if from.len() != to.len() {
            return Err(outside("copy"));
        }
        to.copy_from_slice(from);
        Ok(())
    }

    fn row_terms(
        &self,
        comparison: Comparison,
        rows: &Vec<u32>,
        count: u32,
        stride: u32,
        terms: &mut Vec<u32>,
        largest: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let largest = largest.first_mut().ok_or_else(|| outside("row_terms"))?;
        let rows = rows.chunks_exact(stride as usize).take(count as usize);
        for (row, term) in rows.zip(terms.iter_mut()) {
            let square = dot(row, row);
            *largest = (*largest).max(square.to_bits() & 0x7fff_ffff);
            let inverse = if row.iter().all(|&word| f32::from_word(word) == 0.0) {
                0.0
            } else if square >= LEAST_SQUARE {
                1.0 / square.sqrt()
            } else {
                f32::NAN
            };
            let of_row = if comparison == Comparison::Cosine {
                inverse
            } else {
                square
            };
            *term = of_row.to_word();
        }
        Ok(())
    }

    fn candidates(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, Vec<u32>>,
        first: u32,
        count: u32,
        queries: &QueriesOf<'_, Vec<u32>>,
        lists: &mut ListsOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        let stride = queries.stride as usize;
        for query in 0..queries.count as usize {
            let vector = queries.data.get(query * stride..(query + 1) * stride);
            let vector = vector.ok_or_else(|| outside("candidates"))?;
            let term = |terms: &[u32], at: usize| f32::from_word(terms.get(at).copied().unwrap_or(u32::MAX));
            let bound = term(queries.bounds, query);
            for row in first as usize..(first + count) as usize {
                let allowed = |allow: &Vec<u32>| {
                    allow
                        .get(row / 32)
                        .is_some_and(|word| word >> (row % 32) & 1 == 1)
                };
                if !rows.allow.is_none_or(allowed) {
                    continue;
                }
                let stored = rows.data.get(row * stride..(row + 1) * stride);
                let stored = stored.ok_or_else(|| outside("candidates"))?;
                let sum = match comparison {
                    Comparison::L2Direct => squared_differences(vector, stored),
                    Comparison::L2 | Comparison::Ip | Comparison::Cosine => dot(vector, stored),
                };
                let found = distance(comparison, sum, term(queries.terms, query), term(rows.terms, row));
                if found <= bound {
                    append(lists, query, found, rows.base + row as u32)?;
                }
            }
        }
        Ok(())
    }

    fn select(
        &self,
        lists: &ListsOf<Vec<u32>>,
        queries: u32,
        k: u32,
        best: &mut ListsOf<Vec<u32>>,
        bounds: &mut Vec<u32>,
        overflow: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let room = lists.room as usize;
        for query in 0..queries as usize {
            let count = lists.counts.get(query).copied().unwrap_or(0) as usize;
            if count > room
                && let Some(overflow) = overflow.first_mut()
            {
                *overflow = 1;
            }
            let held = query * room..query * room + count.min(room);
            let (distances, rows) = (lists.distances.get(held.clone()), lists.rows.get(held));
            let (distances, rows) = distances.zip(rows).ok_or_else(|| outside("select"))?;
            let pairs = distances.iter().zip(rows);
            let mut all: Vec<Neighbor> = pairs
                .map(|(&distance, &row)| Neighbor {
                    distance: f32::from_word(distance),
                    row,
                })
                .collect();
            all.sort();
            all.truncate(k as usize);
            let full = all.len() == k as usize;
            let worst = all
                .last()
                .filter(|_| full)
                .map_or(f32::INFINITY, |last| last.distance);
            let (counts, bounds) = (best.counts.get_mut(query), bounds.get_mut(query));
            let (count, bound) = counts.zip(bounds).ok_or_else(|| outside("select"))?;
            *count = 0;
            *bound = worst.to_word();
            for neighbor in all {
                append(best, query, neighbor.distance, neighbor.row)?;
            }
        }
        Ok(())
    }
}

fn append(lists: &mut ListsOf<Vec<u32>>, query: usize, distance: f32, row: u32) -> Result<(), GpuError> {
    let room = lists.room as usize;
    let count = lists.counts.get_mut(query).ok_or_else(|| outside("append"))?;
    let place = *count as usize;
    *count += 1;
    if place < room {
        let at = query * room + place;
        let places = lists.distances.get_mut(at).zip(lists.rows.get_mut(at));
        let (to_distance, to_row) = places.ok_or_else(|| outside("append"))?;
        (*to_distance, *to_row) = (distance.to_word(), row);
    }
    Ok(())
}

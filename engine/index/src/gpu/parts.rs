//! Rows on the device: all of them for good, or part by part for one search.

use std::sync::Arc;

use super::backend::{Backend, ElementType};
use super::brute::{BruteForce, Task};
use super::budget::Reservation;
use super::error::GpuError;
use super::units::packed;
use crate::bitset::Bitset;
use crate::typed::VectorsRef;

/// Rows of a part are a multiple of this, so that bits of the filter start at a word.
const PART_ROWS: usize = 128;
/// Most bytes of a part that is uploaded for one search: nothing is compared while the first is on its way.
const MOST_BYTES: usize = 1 << 30;
/// Words that are padded and copied at a time.
pub(super) const COPY_WORDS: usize = 1 << 22;

/// Rows on the device.
#[derive(Debug)]
pub(super) struct Part<B: Backend> {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) data: B::Buffer,
    pub(super) terms: B::Buffer,
    pub(super) largest: f32,
    pub(super) held: Reservation,
}

/// Floats of a row on the device.
pub(super) fn stride_of(dim: usize) -> usize {
    ElementType::Float.stride(dim)
}

impl<B: Backend> BruteForce<B> {
    /// The rows on the device; `None` when they are uploaded for every search.
    pub(super) fn resident(&self, task: &Task<'_>) -> Result<Option<Arc<Part<B>>>, GpuError> {
        let mut resident = self.resident.lock();
        if let Some(part) = resident.as_ref() {
            return Ok(Some(Arc::clone(part)));
        }
        let rows = task.sides.vectors.len();
        let bytes = 4 * rows.saturating_mul(task.row_words() + 1);
        // A third of what is free stays free for searches.
        if self.tuning.part_rows.is_some() || bytes > self.device.budget.free() / 3 * 2 {
            return Ok(None);
        }
        let part = Arc::new(self.upload(task, 0, rows)?);
        *resident = Some(Arc::clone(&part));
        Ok(Some(part))
    }

    /// Rows of a part that is uploaded for one search, and how many parts have room at the same time: one or two.
    pub(super) fn part_rows(&self, task: &Task<'_>) -> Result<(usize, usize), GpuError> {
        let row_bytes = 4 * (task.row_words() + 1) + 1;
        let fitting = self.device.budget.free() / row_bytes;
        let most = self.tuning.part_rows.unwrap_or(MOST_BYTES / row_bytes);
        let (rows, parts) = cut(fitting, most);
        if rows == 0 {
            return Err(GpuError::Memory {
                what: "a part of the rows of an index",
                needed: PART_ROWS * row_bytes,
                free: self.device.budget.free(),
                limit: self.device.budget.limit(),
            });
        }
        Ok((rows, parts))
    }

    pub(super) fn upload(&self, task: &Task<'_>, first: usize, count: usize) -> Result<Part<B>, GpuError> {
        let backend = &self.device.backend;
        let (stride, row_words) = (task.sides.stride(), task.row_words());
        let held = self
            .device
            .budget
            .reserve("rows of an index", 4 * count * (row_words + 1))?;
        let mut data = backend.allocate(count * row_words)?;
        copy_rows(task, first, count, |at, rows| match rows {
            Packed::Floats(values) => backend.write(&mut data, at, values),
            Packed::Words(words) => backend.write(&mut data, at, words),
        })?;
        let mut terms = backend.allocate(count)?;
        let mut largest = backend.allocate(1)?;
        backend.write(&mut largest, 0, &[0u32])?;
        backend.row_terms(
            (task.sides.element, task.sides.comparison),
            &data,
            count as u32,
            stride as u32,
            &mut terms,
            &mut largest,
        )?;
        let mut bits = [0.0f32];
        backend.read(&largest, &mut bits)?;
        Ok(Part {
            first,
            count,
            data,
            terms,
            largest: bits[0],
            held,
        })
    }
}

/// Rows of a part, and how many parts there are room for, out of `fitting` rows.
fn cut(fitting: usize, most: usize) -> (usize, usize) {
    let most = most.max(PART_ROWS);
    let rows_of = |rows: usize| rows.min(most) / PART_ROWS * PART_ROWS;
    match rows_of(fitting / 2) {
        0 => (rows_of(fitting), 1),
        half => (half, 2),
    }
}

/// Rows as they lie on the device.
pub(super) enum Packed<'a> {
    /// 32-bit floats without padding.
    Floats(&'a [f32]),
    /// Anything else.
    Words(&'a [u32]),
}

/// Hands `write` rows as they lie on the device, and from which word on.
pub(super) fn copy_rows(
    task: &Task<'_>,
    first: usize,
    count: usize,
    mut write: impl FnMut(usize, Packed<'_>) -> Result<(), GpuError>,
) -> Result<(), GpuError> {
    let row_words = task.row_words();
    if let VectorsRef::Floats(vectors) = task.sides.vectors
        && vectors.dim() == row_words
    {
        return write(0, Packed::Floats(vectors.rows(first, count)));
    }
    let rows_at_once = (COPY_WORDS / row_words).max(1);
    for from in (0..count).step_by(rows_at_once) {
        let some = rows_at_once.min(count - from);
        let words = packed(task.sides.vectors, first + from, some, row_words);
        write(from * row_words, Packed::Words(&words))?;
    }
    Ok(())
}

/// Rows one after the other, with zeros up to `stride`.
pub(super) fn padded<'a>(rows: impl Iterator<Item = &'a [f32]>, stride: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in rows {
        out.extend_from_slice(row);
        out.resize(out.len().next_multiple_of(stride), 0.0);
    }
    out
}

/// The bits of `count` rows from `first`, a multiple of 64, on.
pub(super) fn filter_words(allow: &Bitset, first: usize, count: usize) -> Vec<u32> {
    let words = allow.words().get(first / 64..).unwrap_or(&[]);
    let halves = words.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]);
    halves
        .chain(std::iter::repeat(0))
        .take(count.div_ceil(32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_share_the_room_unless_there_is_room_for_one_only() {
        assert_eq!(cut(1_000, usize::MAX), (384, 2));
        assert_eq!(cut(1_000, 300), (256, 2));
        assert_eq!(cut(1_000, 1), (128, 2));
        assert_eq!(cut(256, usize::MAX), (128, 2));
        assert_eq!(cut(255, usize::MAX), (128, 1));
        assert_eq!(cut(127, usize::MAX), (0, 1));
    }
}

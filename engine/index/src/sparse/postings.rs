//! Postings: for every term the rows that have it, with the values, in blocks with their maxima.
//!
//! ```text
//!   terms    3            17                     term i has postings starts[i]..starts[i + 1]
//!            |            |
//!   rows     0  4  9      1  2  4  7  8          ascending within a term
//!   values   .5 2  1      1  1  3  .2 1
//!            `------'     `------'  `--'         blocks of a fixed number of postings; the last one may be shorter
//!   maxima   2            3         1            largest |value| of each block
//! ```
//!
//! For BM25 a value is a count, `lengths` has the sum of counts of every row, and `shortest` the smallest such sum among
//! the rows of a block: with the largest count it bounds the score for any `k1`, `b` and mean length.

use rayon::prelude::*;

use crate::blob::{Array, Reader, Writer};
use crate::error::{BuildError, OpenError};
use crate::progress::Progress;
use crate::typed::SparseVectors;

/// Rows between two looks at whether the build is still wanted.
const PROGRESS_ROWS: usize = 4_096;

#[derive(Debug)]
pub(super) struct Postings {
    /// Postings of a block.
    block: usize,
    terms: Array<u32>,
    starts: Array<u32>,
    rows: Array<u32>,
    values: Array<f32>,
    /// Blocks of term `i` are `block_starts[i]..block_starts[i + 1]`.
    block_starts: Array<u32>,
    maxima: Array<f32>,
    lengths: Array<f32>,
    shortest: Array<f32>,
}

/// The postings of one term.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    pub rows: &'a [u32],
    pub values: &'a [f32],
    pub maxima: &'a [f32],
    /// Empty unless for BM25.
    pub shortest: &'a [f32],
    pub block: usize,
}

impl Postings {
    /// Arrays that [`Postings::put`] adds to a blob.
    const ARRAYS: usize = 8;

    /// Postings of the rows of `vectors` that `numbers` names, ascending.
    pub fn build(
        vectors: SparseVectors<'_>,
        numbers: &[u32],
        block: usize,
        with_lengths: bool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let elements = |row: &u32| {
            let vector = vectors.row(*row as usize);
            let pairs = vector
                .indices()
                .iter()
                .copied()
                .zip(vector.values().iter().copied());
            pairs.filter(|(_, value)| *value != 0.0)
        };
        let finite = |row: &&u32| elements(row).all(|(_, value)| value.is_finite());
        if let Some(row) = numbers.iter().find(|row| !finite(row)) {
            return Err(BuildError::NotFinite { row: *row as usize });
        }
        let mut all: Vec<u32> = numbers
            .iter()
            .flat_map(|row| elements(row).map(|(term, _)| term))
            .collect();
        all.par_sort_unstable();
        let (mut terms, mut starts) = (Vec::new(), Vec::new());
        for (place, term) in all.iter().enumerate() {
            if terms.last() != Some(term) {
                terms.push(*term);
                starts.push(place as u32);
            }
        }
        starts.push(all.len() as u32);
        let (mut rows, mut values) = (vec![0u32; all.len()], vec![0.0f32; all.len()]);
        drop(all);

        let mut next = starts.clone();
        let mut lengths = vec![0.0f32; if with_lengths { vectors.len() } else { 0 }];
        for (done, row) in numbers.iter().enumerate() {
            if done % PROGRESS_ROWS == 0 {
                if progress.cancelled() {
                    return Err(BuildError::Cancelled);
                }
                progress.advance(done as u64, numbers.len() as u64);
            }
            let mut sum = 0.0f64;
            for (term, value) in elements(row) {
                sum += f64::from(value);
                let slot = terms
                    .binary_search(&term)
                    .ok()
                    .and_then(|term| next.get_mut(term));
                let Some(slot) = slot else { continue };
                if let (Some(place), Some(number)) =
                    (values.get_mut(*slot as usize), rows.get_mut(*slot as usize))
                {
                    (*place, *number) = (value, *row);
                }
                *slot += 1;
            }
            if let Some(length) = lengths.get_mut(*row as usize) {
                *length = sum as f32;
            }
        }
        progress.advance(numbers.len() as u64, numbers.len() as u64);
        let mut postings = Self {
            block,
            terms: Array::Owned(terms),
            starts: Array::Owned(starts),
            rows: Array::Owned(rows),
            values: Array::Owned(values),
            block_starts: Array::Owned(Vec::new()),
            maxima: Array::Owned(Vec::new()),
            lengths: Array::Owned(lengths),
            shortest: Array::Owned(Vec::new()),
        };
        let (block_starts, maxima, shortest) = postings.blocks();
        postings.block_starts = Array::Owned(block_starts);
        postings.maxima = Array::Owned(maxima);
        postings.shortest = Array::Owned(shortest);
        Ok(postings)
    }

    /// Starts, largest values and shortest rows of all blocks, from the postings.
    fn blocks(&self) -> (Vec<u32>, Vec<f32>, Vec<f32>) {
        let (mut starts, mut maxima, mut shortest) = (vec![0u32], Vec::new(), Vec::new());
        for bounds in self.starts.windows(2) {
            let &[start, end] = bounds else { continue };
            let range = start as usize..end as usize;
            let values = self.values.get(range.clone()).unwrap_or_default();
            maxima.extend(values.chunks(self.block).map(|values| {
                let sizes = values.iter().map(|value| value.abs());
                sizes.fold(0.0f32, f32::max)
            }));
            if !self.lengths.is_empty() {
                let rows = self.rows.get(range).unwrap_or_default();
                shortest.extend(rows.chunks(self.block).map(|rows| {
                    let lengths = rows.iter().filter_map(|row| self.lengths.get(*row as usize));
                    lengths.copied().fold(f32::INFINITY, f32::min)
                }));
            }
            starts.push(maxima.len() as u32);
        }
        (starts, maxima, shortest)
    }

    /// Adds the arrays to a blob.
    pub fn put<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.terms);
        writer.put(&*self.starts);
        writer.put(&*self.rows);
        writer.put(&*self.values);
        writer.put(&*self.block_starts);
        writer.put(&*self.maxima);
        writer.put(&*self.lengths);
        writer.put(&*self.shortest);
    }

    /// Reads the arrays from the one numbered `first` on; everything that a search relies on is checked.
    pub fn open(
        reader: &Reader,
        first: usize,
        rows: usize,
        block: usize,
        with_lengths: bool,
    ) -> Result<Self, OpenError> {
        if reader.arrays() != first + Self::ARRAYS {
            return Err(OpenError::corrupt(format!("{} arrays", reader.arrays())));
        }
        let terms = reader.array::<u32>(first, "terms")?;
        let starts = reader.array_of::<u32>(first + 1, terms.len() + 1, "starts of postings")?;
        let numbers = reader.array::<u32>(first + 2, "rows of postings")?;
        let lengths = if with_lengths { rows } else { 0 };
        let opened = Self {
            block,
            values: reader.array_of(first + 3, numbers.len(), "values of postings")?,
            block_starts: reader.array_of(first + 4, terms.len() + 1, "starts of blocks")?,
            maxima: reader.array(first + 5, "maxima of blocks")?,
            lengths: reader.array_of(first + 6, lengths, "lengths of rows")?,
            shortest: reader.array(first + 7, "shortest rows of blocks")?,
            rows: numbers,
            terms,
            starts,
        };
        opened.check(rows)?;
        Ok(opened)
    }

    fn check(&self, rows: usize) -> Result<(), OpenError> {
        let ascends = |numbers: &[u32]| numbers.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = (
            self.starts.first().copied(),
            self.starts.last().map(|&end| end as usize),
        );
        // Every term has a posting, so starts ascend strictly.
        if !ascends(&self.terms) || !ascends(&self.starts) || ends != (Some(0), Some(self.rows.len())) {
            return Err(OpenError::corrupt(format!(
                "starts do not divide {} postings among {} terms",
                self.rows.len(),
                self.terms.len()
            )));
        }
        for bounds in self.starts.windows(2) {
            let &[start, end] = bounds else { continue };
            let list = self.rows.get(start as usize..end as usize).unwrap_or_default();
            if !ascends(list) || list.last().is_some_and(|&last| last as usize >= rows) {
                return Err(OpenError::corrupt(
                    "rows of a term do not ascend, or leave the segment",
                ));
            }
        }
        let finite = |numbers: &[f32]| numbers.iter().all(|number| number.is_finite());
        if !finite(&self.values) || !finite(&self.lengths) {
            return Err(OpenError::corrupt("a value that is not finite"));
        }
        let (starts, maxima, shortest) = self.blocks();
        if *starts != *self.block_starts || *maxima != *self.maxima || *shortest != *self.shortest {
            return Err(OpenError::corrupt("blocks do not fit their postings"));
        }
        Ok(())
    }

    /// The postings of a term.
    pub fn list(&self, term: u32) -> Option<List<'_>> {
        let at = self.terms.binary_search(&term).ok()?;
        let bounds = |starts: &[u32]| Some(*starts.get(at)? as usize..*starts.get(at + 1)? as usize);
        let (postings, blocks) = (bounds(&self.starts)?, bounds(&self.block_starts)?);
        Some(List {
            rows: self.rows.get(postings.clone())?,
            values: self.values.get(postings)?,
            maxima: self.maxima.get(blocks.clone())?,
            shortest: self.shortest.get(blocks).unwrap_or_default(),
            block: self.block,
        })
    }

    /// Sum of counts of every row; empty unless for BM25.
    pub fn lengths(&self) -> &[f32] {
        &self.lengths
    }

    pub fn memory_bytes(&self) -> usize {
        let numbers = [&self.terms, &self.starts, &self.rows, &self.block_starts];
        let floats = [&self.values, &self.maxima, &self.lengths, &self.shortest];
        let numbers: usize = numbers.iter().map(|array| array.bytes()).sum();
        numbers + floats.iter().map(|array| array.bytes()).sum::<usize>()
    }
}

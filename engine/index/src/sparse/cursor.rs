//! Reading the postings of one term of a query in row order, and what its unread part can still add to a score.

use super::postings::List;
use crate::typed::Bm25;

/// Bounds are this much larger than the product they come from, so that its rounding never makes them too small.
const ROUNDED_UP: f64 = 1.0 + 1e-6;

/// What a posting adds to the score of its row.
pub(super) trait Impact: Copy {
    /// For a term of this weight in `row`.
    fn of(&self, weight: f32, row: u32, value: f32) -> f32;

    /// No less than what any row with values up to `max` and a length of at least `shortest` gets.
    fn bound(&self, weight: f32, max: f32, shortest: Option<f32>) -> f32;
}

/// Inner product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product;

impl Impact for Product {
    #[inline]
    fn of(&self, weight: f32, _row: u32, value: f32) -> f32 {
        weight * value
    }

    #[inline]
    fn bound(&self, weight: f32, max: f32, _shortest: Option<f32>) -> f32 {
        (f64::from(weight.abs()) * f64::from(max) * ROUNDED_UP) as f32
    }
}

/// BM25 over rows of these lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saturated<'a> {
    pub bm25: Bm25,
    pub lengths: &'a [f32],
}

impl Impact for Saturated<'_> {
    #[inline]
    fn of(&self, weight: f32, row: u32, value: f32) -> f32 {
        let length = self.lengths.get(row as usize).copied().unwrap_or(0.0);
        let norm = self.bm25.norm(f64::from(length));
        (f64::from(weight) * self.bm25.saturated(f64::from(value), norm)) as f32
    }

    #[inline]
    fn bound(&self, weight: f32, max: f32, shortest: Option<f32>) -> f32 {
        // More of a term counts more, a longer row less.
        let norm = self.bm25.norm(f64::from(shortest.unwrap_or(0.0)));
        let most = f64::from(weight.abs()) * self.bm25.saturated(f64::from(max), norm);
        (most * ROUNDED_UP) as f32
    }
}

/// A place in the postings of a term.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub weight: f32,
    /// Most that the term adds to any row.
    pub bound: f32,
    /// Most that the term adds to a row of the window that is being searched.
    pub window_bound: f32,
    /// Factor on every bound: below 1 rows are given up that might have been found.
    scale: f32,
    list: List<'a>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(weight: f32, list: List<'a>, scale: f32, impact: impl Impact) -> Self {
        let mut cursor = Self {
            weight,
            bound: 0.0,
            window_bound: 0.0,
            scale,
            list,
            at: 0,
        };
        let blocks = (0..list.maxima.len()).map(|block| cursor.block_bound(block, impact));
        cursor.bound = blocks.fold(0.0, f32::max);
        cursor
    }

    /// The row it stands at; none behind the last one.
    #[inline]
    pub fn row(&self) -> Option<u32> {
        self.list.rows.get(self.at).copied()
    }

    /// What the term adds to the row that the cursor stands at.
    #[inline]
    pub fn impact(&self, impact: impl Impact) -> f32 {
        match (self.list.rows.get(self.at), self.list.values.get(self.at)) {
            (Some(row), Some(value)) => impact.of(self.weight, *row, *value),
            _ => 0.0,
        }
    }

    /// Goes one posting further.
    #[inline]
    pub fn step(&mut self) {
        self.at += 1;
    }

    /// Goes to the first posting of a row that is `row` or a later one.
    pub fn seek(&mut self, row: u32) {
        let rest = self.list.rows.get(self.at..).unwrap_or_default();
        // Most seeks are short: double the reach until it is far enough.
        let mut reach = 1;
        while rest.get(reach - 1).is_some_and(|found| *found < row) {
            reach *= 2;
        }
        let near = rest.get(reach / 2..reach.min(rest.len())).unwrap_or_default();
        self.at += (reach / 2).min(rest.len()) + near.partition_point(|found| *found < row);
    }

    /// The postings of rows before `end`, which are behind the cursor afterwards.
    pub fn take_until(&mut self, end: u32) -> impl Iterator<Item = (u32, f32)> + use<'a> {
        let start = self.at;
        self.seek(end);
        let rows = self.list.rows.get(start..self.at).unwrap_or_default();
        let values = self.list.values.get(start..self.at).unwrap_or_default();
        rows.iter().copied().zip(values.iter().copied())
    }

    fn block_bound(&self, block: usize, impact: impl Impact) -> f32 {
        let Some(max) = self.list.maxima.get(block) else {
            return 0.0;
        };
        impact.bound(self.weight, *max, self.list.shortest.get(block).copied()) * self.scale
    }

    /// Most that the term adds to a row before `end`, from the blocks that may have one.
    pub fn bound_until(&self, end: u32, impact: impl Impact) -> f32 {
        let size = self.list.block;
        let mut bound = 0.0f32;
        for block in self.at / size..self.list.maxima.len() {
            let first = self.list.rows.get((block * size).max(self.at));
            if first.is_none_or(|first| *first >= end) {
                break;
            }
            bound = bound.max(self.block_bound(block, impact));
        }
        bound
    }

    /// Most that the term adds to the rows from `row` to the last one of its block, and that last row. None when the
    /// postings end before `row`.
    pub fn block_at(&self, row: u32, impact: impl Impact) -> Option<(f32, u32)> {
        let (size, rows) = (self.list.block, self.list.rows);
        let last = |block: usize| {
            rows.get((block * size + size).min(rows.len()).wrapping_sub(1))
                .copied()
        };
        let first = self.at / size;
        (first..self.list.maxima.len())
            .map_while(|block| Some((block, last(block)?)))
            .find(|(_, last)| *last >= row)
            .map(|(block, last)| (self.block_bound(block, impact), last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_finds_the_first_row_that_is_not_before() {
        let rows: Vec<u32> = (0..100).map(|i| i * 3).collect();
        let values = vec![1.0; 100];
        let maxima = vec![1.0; 25];
        let list = List {
            rows: &rows,
            values: &values,
            maxima: &maxima,
            shortest: &[],
            block: 4,
        };
        for from in [0, 1, 50, 297] {
            for to in 0..310 {
                let mut cursor = Cursor::new(1.0, list, 1.0, Product);
                cursor.seek(from);
                cursor.seek(to);
                let expected = rows.iter().copied().find(|row| *row >= to.max(from));
                assert_eq!(cursor.row(), expected, "from {from} to {to}");
                let block = cursor.block_at(to, Product).map(|(_, last)| last);
                let expected = expected.map(|row| rows[(row as usize / 3 / 4) * 4 + 3]);
                assert_eq!(block, expected);
            }
        }
    }
}

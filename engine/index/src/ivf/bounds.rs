//! Codes that leave nothing out: how far a row's distance can be from what its code says, and the rows that may be among the
//! best by that.
//!
//! A row is `x = base + r̂ + δ`, where `r̂` is what the code stands for and `|δ|` is known not to pass `e` in a list. The
//! scan's `t` differs from `<q, r̂>` by the rounding of the query's weights, `sum of ρ_i (c_i - 127.5)`, which by Cauchy's
//! inequality is at most `|ρ|` times the length of the code's levels around the middle. So
//!
//! ```text
//!   L2            sqrt(estimate - m) - e  <=  |q - x|  <=  sqrt(estimate + m) + e
//!   IP, COSINE    estimate - m            <=  -<q, x>  <=  estimate + m                  m includes |q| e
//! ```
//!
//! Rows whose lower end is above the `k`-th smallest upper end cannot be results. The others are scored from the stored
//! vectors, so the answer is that of a scan of the vectors.

use super::coded::Keep;
use crate::metric::Metric;
use crate::neighbor::TopK;
use crate::window::Window;

/// Numbers of a list: `e`, the length of levels around the middle, the largest term of a row, and the length of the longest
/// residual under L2, else of the longest row.
pub(super) const BOUNDS: usize = 4;
/// Held rows are looked through again when there are more than so many per result, and at least so many.
const SPARE: usize = 8;
const LEAST: usize = 256;
/// More than is lost where numbers are too small to be rounded by a part of themselves.
const LEAST_ERROR: f32 = f32::MIN_POSITIVE;
/// More than the rounding of a few operations.
const UP: f32 = 1.0 + 1e-5;
const DOWN: f32 = 1.0 - 1e-5;

/// What is known of a query's rounding.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryBounds {
    /// `|ρ|`
    pub(super) rounding: f32,
    /// Largest error of the sums of an estimate, as floats are added.
    pub(super) sums: f32,
    /// Length of the query.
    pub(super) length: f32,
}

/// Rows that may be among the best `k`.
#[derive(Debug)]
pub(super) struct Bounded<'a> {
    metric: Metric,
    bounds: &'a [f32],
    query: QueryBounds,
    /// Relative error of an exact distance.
    exact: f32,
    uppers: TopK,
    k: usize,
    /// Lower ends and rows.
    kept: Vec<(f32, u32)>,
    enough: usize,
    /// Most rows held.
    most: usize,
    gave_up: bool,
    e: f32,
    m: f32,
    limit: f32,
}

impl<'a> Bounded<'a> {
    /// Rows that are held for `k` results, whatever they are.
    pub(super) fn held(k: usize) -> usize {
        k.saturating_mul(SPARE).max(LEAST)
    }

    /// For `k` of at most `rows` rows of `dim` dimensions.
    pub(super) fn new(
        metric: Metric,
        bounds: &'a [f32],
        query: QueryBounds,
        dim: usize,
        k: usize,
        rows: usize,
    ) -> Self {
        let enough = Self::held(k);
        Self {
            metric,
            bounds,
            query,
            exact: (dim / 8 + 32) as f32 * f32::EPSILON,
            uppers: TopK::within(Window::default(), k, rows),
            k,
            kept: Vec::with_capacity(enough.min(rows)),
            enough,
            most: usize::MAX,
            gave_up: false,
            e: 0.0,
            m: 0.0,
            limit: f32::INFINITY,
        }
    }

    /// Holds `most` rows, if that is enough for `k`, and gives up when half of them may still be results.
    pub(super) fn at_most(mut self, most: usize) -> Self {
        self.most = most.max(2 * self.enough);
        self
    }

    /// Whether too many rows might have been results: none are held then.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn upper(&self, estimate: f32) -> f32 {
        match self.metric {
            Metric::L2 => {
                let root = (estimate + self.m).max(0.0).sqrt() + self.e;
                root * root * UP
            }
            Metric::Ip | Metric::Cosine => estimate + self.m,
        }
    }

    fn lower(&self, estimate: f32) -> f32 {
        match self.metric {
            Metric::L2 => {
                let root = ((estimate - self.m).max(0.0).sqrt() * DOWN - self.e).max(0.0);
                root * root * DOWN
            }
            Metric::Ip | Metric::Cosine => estimate - self.m,
        }
    }

    /// Estimates of the list above this are of rows that are no results.
    fn set_limit(&mut self) {
        let upper = self.uppers.bound();
        let limit = match self.metric {
            Metric::L2 => {
                let root = (upper.max(0.0).sqrt() + self.e) * UP;
                root * root * UP + self.m
            }
            Metric::Ip | Metric::Cosine => upper + self.m,
        };
        self.limit = limit.next_up();
    }

    /// Throws out what can no longer be a result.
    fn shrink(&mut self) {
        let upper = self.uppers.bound();
        self.kept.retain(|&(lower, _)| lower <= upper);
    }

    /// Throws out what can no longer be a result, and everything where that leaves too much.
    fn make_room(&mut self) {
        self.shrink();
        self.enough = (self.kept.len() * 2).max(Self::held(self.k));
        if self.enough > self.most {
            (self.kept, self.gave_up) = (Vec::new(), true);
            self.limit = f32::NEG_INFINITY;
        }
    }

    /// The rows that may be results, those that may be the nearest first, with the lower ends of their distances: times the
    /// length of the query under COSINE.
    pub(super) fn into_rows(mut self) -> Vec<(f32, u32)> {
        self.shrink();
        self.kept
            .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.kept
    }
}

impl Keep for Bounded<'_> {
    fn enter(&mut self, index: u32, distance: f32) {
        if self.gave_up {
            return;
        }
        let start = index as usize * BOUNDS;
        let Some(&[error, spread, add, longest]) = self.bounds.get(start..start + BOUNDS) else {
            // No list: nothing can be ruled out.
            self.limit = f32::INFINITY;
            return;
        };
        let QueryBounds {
            rounding,
            sums,
            length,
        } = self.query;
        (self.e, self.m) = match self.metric {
            Metric::L2 => {
                let size = 2.0 * distance.abs() + add + 2.0 * longest * longest;
                (
                    error * UP,
                    2.0 * rounding * spread * UP + self.exact * size + sums,
                )
            }
            Metric::Ip | Metric::Cosine => {
                let size = distance.abs() + length * longest;
                let m = rounding * spread + length * error;
                (0.0, m * UP + self.exact * size + sums + LEAST_ERROR)
            }
        };
        self.set_limit();
    }

    #[inline]
    fn bound(&self) -> f32 {
        self.limit
    }

    fn push(&mut self, estimate: f32, row: u32) {
        if estimate >= self.limit {
            return;
        }
        self.kept.push((self.lower(estimate), row));
        let upper = self.upper(estimate);
        if upper < self.uppers.bound() {
            self.uppers.push(upper, row);
            self.set_limit();
        } else {
            self.uppers.push(upper, row);
        }
        if self.kept.len() >= self.enough {
            self.make_room();
        }
    }

    fn len(&self) -> usize {
        self.uppers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are all as near as each other.
    fn equals(rows: u32, most: usize) -> Bounded<'static> {
        let query = QueryBounds {
            rounding: 0.1,
            sums: 0.0,
            length: 1.0,
        };
        let mut bounded =
            Bounded::new(Metric::Ip, &[0.1, 1.0, 0.0, 1.0], query, 8, 10, 100_000).at_most(most);
        bounded.enter(0, 0.0);
        (0..rows).for_each(|row| bounded.push(-0.5, row));
        bounded
    }

    #[test]
    fn rows_that_cannot_be_told_apart_are_held_up_to_a_bound() {
        for rows in [100, 1_000, 2_047] {
            let bounded = equals(rows, 4_096);
            assert!(!bounded.gave_up());
            assert_eq!(bounded.into_rows().len(), rows as usize);
        }
        let bounded = equals(5_000, 4_096);
        assert!(bounded.gave_up());
        assert!(bounded.into_rows().is_empty());
        assert!(!equals(5_000, usize::MAX).gave_up());
    }
}

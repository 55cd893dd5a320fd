//! Batches of queries over rows by number, as a blocked matrix product: panels of queries against groups of rows, and only
//! the pairs that may enter a query's heap are scored, by the exact kernel.
//!
//! With `s = q . x`, `e` the largest relative rounding error of such a sum and `b` the heap's bound, a pair is passed over
//! only if
//!
//! | metric | distance | surely above `b` when |
//! |---|---|---|
//! | L2 | `q² + x² - 2s` | `s < ((1 - e) q² - b) / 2 + (1 - e) x² / 2` |
//! | L2, far from the origin | `-t` for `t = -|q - x|²` | `t < -b (1 + e)` |
//! | IP | `-s` | `s < -b - e |q| |x|` |
//! | COSINE | `-s / (|q| |x|)` | `s < (-b - e) |q| |x|` |
//!
//! which is one number for the query plus another times one of the row: what [`Limits`] holds.

use crate::kernels::panel::{Limits, PANEL_QUERIES, PANEL_ROWS, Panel, PanelSum};
use crate::kernels::{Kernels, kernels, prefetch};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::vectors::Vectors;

/// Rows that are looked at to choose the form of L2.
pub(crate) const SAMPLE_ROWS: usize = 64;
/// How many times longer than their differences rows are when squared lengths lose too much of a distance.
const FAR: f32 = 256.0;
/// Squares below this can be added, and multiplied under a root, without overflow.
const LARGE: f32 = 1e37;

/// A batch of queries.
pub(crate) struct Panels<'a> {
    metric: Metric,
    kernels: &'static Kernels,
    queries: Vectors<'a>,
    /// Squared length of every query under L2, its length otherwise.
    sizes: Vec<f32>,
    sum: PanelSum,
    /// Largest relative error of a sum.
    error: f32,
}

/// Some queries of a batch, side by side.
pub(crate) struct Group {
    /// Their numbers in the batch.
    pub(crate) queries: Vec<u32>,
    panel: Panel,
}

impl<'a> Panels<'a> {
    /// `sample` are some of the rows, by which the form of L2 is chosen.
    pub(crate) fn new(metric: Metric, sample: Vectors<'_>, queries: Vectors<'a>) -> Self {
        let kernels = kernels();
        let size = |index| {
            let square = kernels.dot(queries.row(index), queries.row(index));
            match metric {
                Metric::L2 => tame(square),
                Metric::Ip | Metric::Cosine => length(square),
            }
        };
        let dim = queries.dim();
        Self {
            metric,
            kernels,
            queries,
            sizes: (0..queries.len()).map(size).collect(),
            sum: if metric == Metric::L2 && lie_far_out(sample) {
                PanelSum::NegatedL2
            } else {
                PanelSum::Product
            },
            // Half an ulp for each of the `dim` roundings of the sum, as many of the exact kernel and of the squared lengths
            // at most, and some for what is made of them.
            error: (dim + 64) as f32 * f32::EPSILON,
        }
    }

    /// Most queries of a group.
    pub(crate) fn group_queries(&self) -> usize {
        self.kernels.panel_queries()
    }

    /// With fewer queries than this, each by itself is as quick.
    pub(crate) fn least_queries(&self) -> usize {
        self.kernels.panel_lanes() / 4
    }

    /// Puts queries by number side by side, [`Panels::group_queries`] at most.
    pub(crate) fn group(&self, queries: &[u32]) -> Group {
        let rows = queries.iter().map(|&query| self.queries.row(query as usize));
        Group {
            queries: queries.to_vec(),
            panel: Panel::new(self.kernels, self.queries.dim(), rows),
        }
    }

    /// What [`Panels::scan`] needs of `rows` of `vectors` besides the rows.
    pub(crate) fn terms(&self, vectors: Vectors<'_>, rows: &[u32], out: &mut Vec<f32>) {
        out.clear();
        if self.sum == PanelSum::NegatedL2 {
            out.resize(rows.len(), 0.0);
            return;
        }
        let square = |row: u32| {
            let row = vectors.row(row as usize);
            self.kernels.dot(row, row)
        };
        for (index, &row) in rows.iter().enumerate() {
            if let Some(&later) = rows.get(index + 4) {
                prefetch(vectors.row(later as usize));
            }
            out.push(match self.metric {
                Metric::L2 => tame(square(row)) * (0.5 - self.error / 2.0),
                Metric::Ip | Metric::Cosine => length(square(row)),
            });
        }
    }

    /// Offers `rows` of `vectors` to the heaps of a group's queries, `tops[i]` being that of `group.queries[i]`. `exact` gives
    /// what is offered for a query and a row.
    pub(crate) fn scan(
        &self,
        vectors: Vectors<'_>,
        group: &Group,
        (rows, terms): (&[u32], &[f32]),
        tops: &mut [TopK],
        exact: impl Fn(u32, u32) -> Neighbor,
    ) {
        let mut limits = Limits {
            offsets: [f32::INFINITY; PANEL_QUERIES],
            slopes: [0.0; PANEL_QUERIES],
        };
        for (lane, (&query, top)) in group.queries.iter().zip(tops.iter()).enumerate() {
            self.limit(&mut limits, lane, query, top.bound());
        }
        for (rows, terms) in rows.chunks(PANEL_ROWS).zip(terms.chunks(PANEL_ROWS)) {
            let masks = self
                .kernels
                .panel(self.sum, &group.panel, vectors, rows, &limits, terms);
            for (&mask, &row) in masks.iter().zip(rows) {
                let mut mask = mask;
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let (Some(&query), Some(top)) = (group.queries.get(lane), tops.get_mut(lane)) else {
                        break;
                    };
                    let bound = top.bound();
                    let offered = exact(query, row);
                    top.push(offered.distance, offered.row);
                    if top.bound() < bound {
                        self.limit(&mut limits, lane, query, top.bound());
                    }
                }
            }
        }
    }

    /// The limit of a query whose heap takes distances up to `bound`.
    fn limit(&self, limits: &mut Limits, lane: usize, query: u32, bound: f32) {
        let (Some(offset), Some(slope)) = (limits.offsets.get_mut(lane), limits.slopes.get_mut(lane)) else {
            return;
        };
        let size = self.sizes.get(query as usize).copied().unwrap_or(f32::NAN);
        // What is smaller than the smallest normal number is rounded by more than a part of itself.
        let least = f32::MIN_POSITIVE;
        (*offset, *slope) = match (self.metric, self.sum) {
            (Metric::L2, PanelSum::NegatedL2) => (-bound * (1.0 + self.error) - least, 0.0),
            (Metric::L2, PanelSum::Product) => ((size * (1.0 - self.error) - bound) / 2.0 - least, 1.0),
            (Metric::Ip, _) => (-bound - least, -self.error * size),
            (Metric::Cosine, _) => (-least, (-bound - self.error) * size),
        };
    }
}

/// A squared length; no number, which passes every limit, where products with others may overflow on the way.
fn tame(square: f32) -> f32 {
    if square < LARGE { square } else { f32::NAN }
}

/// A length from its square; no number where it is too small to tell, or too large.
fn length(square: f32) -> f32 {
    if square < f32::MIN_POSITIVE {
        f32::NAN
    } else {
        tame(square).sqrt()
    }
}

/// Whether rows are much longer than their differences.
pub(crate) fn lie_far_out(vectors: Vectors<'_>) -> bool {
    let kernels = kernels();
    let step = (vectors.len() / SAMPLE_ROWS).max(1);
    let sample = (0..vectors.len()).step_by(step).take(SAMPLE_ROWS);
    let mut mean = vec![0.0f32; vectors.dim()];
    let mut count = 0.0f32;
    for row in sample.clone() {
        count += 1.0;
        for (mean, &value) in mean.iter_mut().zip(vectors.row(row)) {
            *mean += (value - *mean) / count;
        }
    }
    let spread: f32 = sample.map(|row| kernels.l2(vectors.row(row), &mean)).sum();
    // Written so that what overflows counts as far.
    let near = kernels.dot(&mean, &mean) * count <= FAR * spread;
    !near
}

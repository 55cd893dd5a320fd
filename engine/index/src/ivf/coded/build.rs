//! Building codes of what rows differ by from their list's base, list by list.

use rayon::prelude::*;

use super::list_codes::{ListCodes, base_of, units_of};
use super::quantizer::{Kept, Quantizer, used_code};
use crate::blob::Array;
use crate::codes::product::ProductQuantizer;
use crate::error::BuildError;
use crate::ivf::bounds::BOUNDS;
use crate::ivf::lists::Lists;
use crate::ivf::params::Code;
use crate::metric::Metric;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::scorer::Space;

/// Seeds that draws of codes start from, so that they differ from those of the lists.
const SEED: u64 = 0x0c0d_e5ee_d000_0001;
/// Lengths that can be squared and added.
const LARGE: f32 = 1e15;
/// Rows between two looks at the cancel flag.
const SLAB_ROWS: usize = 16_384;

/// One half of a build reports as if it were the whole.
pub(in crate::ivf) struct Half<'a> {
    progress: &'a dyn Progress,
    second: bool,
}

impl<'a> Half<'a> {
    pub(in crate::ivf) fn first(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            second: false,
        }
    }

    pub(in crate::ivf) fn second(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            second: true,
        }
    }
}

impl Progress for Half<'_> {
    fn advance(&self, rows_done: u64, rows_total: u64) {
        let done = if self.second {
            rows_total + rows_done
        } else {
            rows_done
        };
        self.progress.advance(done / 2, rows_total);
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}

/// The codes of one list.
#[derive(Default)]
struct Encoded {
    codes: Vec<u8>,
    adds: Vec<f32>,
    muls: Vec<f32>,
    errs: Vec<f32>,
    planes: Vec<u8>,
    full: Vec<f32>,
}

/// Who looks for codewords, if it is not the processor.
pub(crate) trait Coder {
    /// The nearest codeword of each group of `residuals`, rows of as many floats as the quantizer has dimensions: as many bytes
    /// for each row as there are groups, those of [`ProductQuantizer::encode`].
    fn codes(&mut self, quantizer: &ProductQuantizer, residuals: &[f32]) -> Result<Vec<u8>, BuildError>;
}

impl ListCodes {
    /// Trains a code on the rows in `lists`, and encodes them.
    pub(in crate::ivf) fn build(
        code: Code,
        space: &Space<'_>,
        lists: &Lists,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        Self::build_by(None, code, space, lists, seed, progress)
    }

    /// [`ListCodes::build`] with somebody who looks for codewords.
    pub(super) fn build_by(
        mut coder: Option<&mut dyn Coder>,
        code: Code,
        space: &Space<'_>,
        lists: &Lists,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (metric, dim) = (space.metric, space.vectors.dim());
        let code = used_code(code, lists.rows());
        let bases = match metric {
            Metric::L2 => Vec::new(),
            Metric::Ip | Metric::Cosine => means(lists, space),
        };
        let source = Source {
            space,
            lists,
            bases: &bases,
        };
        let mean = source.mean();
        let seed = seed ^ SEED;
        let sample = source.sample(Quantizer::sample_rows(code, dim), seed);
        let quantizer = Quantizer::train(code, dim, &sample, seed, progress)?;
        drop(sample);
        let mut all = Encoded::default();
        let total = lists.rows() as u64;
        let mut first = 0;
        while first < lists.count() {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            // Whole lists, about as many rows as a slab has.
            let start = lists.span(first as u32).start;
            let mut last = first + 1;
            while last < lists.count() && lists.span(last as u32).end - start <= SLAB_ROWS {
                last += 1;
            }
            let given = match (&mut coder, &quantizer) {
                (Some(coder), Quantizer::Product(quantizer)) => {
                    let codes = coder.codes(quantizer, &source.residuals(first..last))?;
                    Some((codes, quantizer.parts()))
                }
                _ => None,
            };
            let encoded: Vec<Encoded> = (first..last)
                .into_par_iter()
                .map(|list| {
                    let span = lists.span(list as u32);
                    let of_list = given.as_ref().and_then(|(codes, parts)| {
                        codes.get((span.start - start) * parts..(span.end - start) * parts)
                    });
                    source.encode(&quantizer, &mean, list as u32, of_list)
                })
                .collect();
            for list in encoded {
                all.codes.extend(list.codes);
                all.adds.extend(list.adds);
                all.muls.extend(list.muls);
                all.errs.extend(list.errs);
                all.planes.extend(list.planes);
                all.full.extend(list.full);
            }
            first = last;
            progress.advance(lists.span(last as u32 - 1).end as u64, total);
        }
        if total == 0 {
            progress.advance(0, 0);
        }
        Ok(Self {
            metric,
            dim,
            units: units_of(lists, quantizer.packing()),
            quantizer,
            bases: Array::Owned(bases),
            mean: Array::Owned(mean),
            codes: Array::Owned(all.codes),
            adds: Array::Owned(all.adds),
            muls: Array::Owned(all.muls),
            errs: Array::Owned(all.errs),
            planes: Array::Owned(all.planes),
            full: Array::Owned(all.full),
        })
    }

    /// Bounds of the errors of every list's codes; `None` unless they are levels, and every number is finite.
    pub(in crate::ivf) fn bounds(&self, space: &Space<'_>, lists: &Lists) -> Option<Vec<f32>> {
        let Quantizer::Scalar(quantizer) = &self.quantizer else {
            return None;
        };
        let source = Source {
            space,
            lists,
            bases: &self.bases,
        };
        let of_list = |list: usize| {
            let base = source.base(list as u32);
            let [mut error, mut spread, mut longest] = [0.0f64; 3];
            let (mut residual, mut code, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
            let mut row_of = Vec::new();
            for &row in lists.list(list as u32) {
                source.residual(row, base, &mut residual);
                quantizer.encode(&residual, &mut code);
                quantizer.decode(&code, &mut decoded);
                let values = match self.metric {
                    Metric::L2 => &residual,
                    Metric::Ip | Metric::Cosine => {
                        row_of.clear();
                        row_of.extend(residual.iter().zip(base).map(|(residual, base)| residual + base));
                        &row_of
                    }
                };
                let square = values
                    .iter()
                    .map(|&value| f64::from(value) * f64::from(value))
                    .sum();
                longest = longest.max(square);
                let differences = residual.iter().zip(&decoded).map(|(r, d)| f64::from(r - d));
                error = error.max(differences.map(|difference| difference * difference).sum());
                let levels = code.iter().map(|&level| f64::from(level) - 127.5);
                spread = spread.max(levels.map(|level| level * level).sum());
            }
            let adds = self.adds.get(self.places(list)).unwrap_or(&[]);
            let add = adds.iter().fold(0.0f32, |most, add| most.max(add.abs()));
            let [error, spread, longest] =
                [error, spread, longest].map(|square| square.sqrt() as f32 * (1.0 + 1e-6));
            [error, spread, add, longest]
        };
        let all: Vec<[f32; BOUNDS]> = (0..lists.count()).into_par_iter().map(of_list).collect();
        let finite = all.iter().flatten().all(|number| *number < LARGE);
        finite.then(|| all.into_iter().flatten().collect())
    }

    /// Places of the units of a list.
    fn places(&self, list: usize) -> std::ops::Range<usize> {
        let unit = self.quantizer.packing().unit();
        match *self.units.get(list..).unwrap_or(&[]) {
            [start, end, ..] => start as usize * unit..end as usize * unit,
            _ => 0..0,
        }
    }
}

/// The mean of every list's rows, by direction under COSINE.
fn means(lists: &Lists, space: &Space<'_>) -> Vec<f32> {
    let mut means = vec![0.0f32; lists.count() * space.vectors.dim()];
    means
        .par_chunks_exact_mut(space.vectors.dim())
        .enumerate()
        .for_each(|(list, mean)| {
            let members = lists.list(list as u32);
            let mut sums = vec![0.0f64; mean.len()];
            for &row in members {
                let weight = weight(space, row);
                for (sum, &value) in sums.iter_mut().zip(space.vectors.row(row as usize)) {
                    *sum += f64::from(value * weight);
                }
            }
            for (value, sum) in mean.iter_mut().zip(sums) {
                *value = (sum / members.len().max(1) as f64) as f32;
            }
        });
    means
}

/// What a stored row is multiplied by before it is encoded: under COSINE rows have unit length.
fn weight(space: &Space<'_>, row: u32) -> f32 {
    match space.metric {
        Metric::L2 | Metric::Ip => 1.0,
        Metric::Cosine => space.row_scorer(row).inverse_query(),
    }
}

/// Rows, and what codes of them are relative to.
struct Source<'a> {
    space: &'a Space<'a>,
    lists: &'a Lists,
    bases: &'a [f32],
}

impl Source<'_> {
    fn base(&self, list: u32) -> &[f32] {
        base_of(self.lists, self.bases, self.space.vectors.dim(), list)
    }

    fn residual(&self, row: u32, base: &[f32], out: &mut Vec<f32>) {
        let weight = weight(self.space, row);
        out.clear();
        let values = self.space.vectors.row(row as usize).iter();
        out.extend(values.zip(base).map(|(&value, &base)| value * weight - base));
    }

    /// The mean of the centroids under L2: how far all rows lie from the origin says nothing about their distances, but
    /// would be rounded with them.
    fn mean(&self) -> Vec<f32> {
        if self.space.metric != Metric::L2 {
            return Vec::new();
        }
        let mut sums = vec![0.0f64; self.space.vectors.dim()];
        for list in 0..self.lists.count() {
            for (sum, &value) in sums.iter_mut().zip(self.base(list as u32)) {
                *sum += f64::from(value);
            }
        }
        let count = self.lists.count().max(1) as f64;
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }

    /// Residuals of at most `count` rows, in random order.
    fn sample(&self, count: usize, seed: u64) -> Vec<f32> {
        let rows = self.lists.rows();
        let count = count.min(rows);
        let mut rng = Rng::new(seed);
        // Places among the members, list after list.
        let mut places: Vec<u32> = (0..rows as u32).collect();
        for place in 0..count {
            let other = place + rng.below(rows - place);
            places.swap(place, other);
        }
        let mut list_of = vec![0u32; rows];
        for list in 0..self.lists.count() as u32 {
            if let Some(slots) = list_of.get_mut(self.lists.span(list)) {
                slots.fill(list);
            }
        }
        let mut sample = Vec::with_capacity(count * self.space.vectors.dim());
        let mut residual = Vec::new();
        for &place in places.iter().take(count) {
            let Some(&list) = list_of.get(place as usize) else {
                continue;
            };
            let within = place as usize - self.lists.span(list).start;
            if let Some(&row) = self.lists.list(list).get(within) {
                self.residual(row, self.base(list), &mut residual);
                sample.extend_from_slice(&residual);
            }
        }
        sample
    }

    /// Residuals of all rows of some lists.
    fn residuals(&self, lists: std::ops::Range<usize>) -> Vec<f32> {
        let of_list = |list: usize| {
            let base = self.base(list as u32);
            let (mut all, mut residual) = (Vec::new(), Vec::new());
            for &row in self.lists.list(list as u32) {
                self.residual(row, base, &mut residual);
                all.extend_from_slice(&residual);
            }
            all
        };
        let all: Vec<Vec<f32>> = lists.into_par_iter().map(of_list).collect();
        all.concat()
    }

    /// Encodes a list, or takes the codes that are `given` for its rows.
    fn encode(&self, quantizer: &Quantizer, mean: &[f32], list: u32, given: Option<&[u8]>) -> Encoded {
        let (base, members) = (self.base(list), self.lists.list(list));
        let centred: Vec<f32> = base.iter().zip(mean).map(|(base, mean)| base - mean).collect();
        let metric = self.space.metric;
        let Kept { adds, muls, planes } = quantizer.kept(metric);
        let packing = quantizer.packing();
        let (unit, unit_bytes) = (packing.unit(), packing.unit_bytes());
        let units = members.len().div_ceil(unit);
        let places = |kept: bool| vec![0.0; if kept { units * unit } else { 0 }];
        let mut out = Encoded {
            codes: vec![0; units * unit_bytes],
            adds: places(adds),
            muls: places(muls),
            errs: places(planes > 0),
            planes: Vec::with_capacity(members.len() * planes),
            full: Vec::new(),
        };
        let mut encoder = quantizer.encoder(metric, &centred);
        let (mut residual, mut code) = (Vec::new(), Vec::new());
        for (place, &row) in members.iter().enumerate() {
            let of_row = given.and_then(|codes| {
                codes
                    .chunks_exact((codes.len() / members.len()).max(1))
                    .nth(place)
            });
            let kept = if let Some(of_row) = of_row {
                code.clear();
                code.extend_from_slice(of_row);
                encoder.of_code(of_row)
            } else {
                self.residual(row, base, &mut residual);
                encoder.encode(&residual, &mut code, &mut out.planes)
            };
            let start = place / unit * unit_bytes;
            if let Some(bytes) = out.codes.get_mut(start..start + unit_bytes) {
                packing.put(bytes, place % unit, &code);
            }
            for (slots, value) in [
                (&mut out.adds, kept.add),
                (&mut out.muls, kept.mul),
                (&mut out.errs, kept.err),
            ] {
                if let Some(slot) = slots.get_mut(place) {
                    *slot = value;
                }
            }
            if planes > 0 {
                out.full.extend(kept.full);
            }
        }
        out
    }
}

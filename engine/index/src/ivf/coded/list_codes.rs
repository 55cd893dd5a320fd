//! Codes of the rows of all lists, and what is kept beside them.

use super::quantizer::{Kept, Prepared, Quantizer, used_code};
use crate::blob::{Array, Number, Reader, Writer};
use crate::codes::level::Level;
use crate::codes::packing::Packing;
use crate::error::OpenError;
use crate::ivf::bounds::QueryBounds;
use crate::ivf::lists::Lists;
use crate::ivf::params::Code;
use crate::kernels::kernels;
use crate::metric::Metric;
use crate::vectors::Vectors;

/// Lengths that can be squared and added.
const LARGE: f32 = 1e15;
/// The square of the rounding of a weight of this scale is still a normal number.
const SMALL: f32 = 1e-16;

/// Codes, list after list.
#[derive(Debug)]
pub(in crate::ivf) struct ListCodes {
    pub(super) metric: Metric,
    pub(super) dim: usize,
    pub(super) quantizer: Quantizer,
    /// Lists x dim; empty under L2, where centroids are the bases.
    pub(super) bases: Array<f32>,
    /// What is taken from queries and bases under L2, see [`super::quantizer::Encoder::encode`]; else empty.
    pub(super) mean: Array<f32>,
    /// First unit of every list.
    pub(super) units: Vec<u32>,
    /// Units of all lists.
    pub(super) codes: Array<u8>,
    /// Of every place of a unit, or empty.
    pub(super) adds: Array<f32>,
    pub(super) muls: Array<f32>,
    pub(super) errs: Array<f32>,
    /// Of every member, or empty: bits after the first, and add and mul by all bits.
    pub(super) planes: Array<u8>,
    pub(super) full: Array<f32>,
}

fn bytes_of<T: Number>(arrays: &[&Array<T>]) -> usize {
    arrays.iter().map(|array| array.bytes()).sum()
}

/// First unit of every list, and the end.
pub(super) fn units_of(lists: &Lists, packing: Packing) -> Vec<u32> {
    let mut end = 0;
    let mut units = vec![0];
    units.extend((0..lists.count() as u32).map(|list| {
        end += lists.span(list).len().div_ceil(packing.unit()) as u32;
        end
    }));
    units
}

/// The base of a list.
pub(super) fn base_of<'a>(lists: &'a Lists, bases: &'a [f32], dim: usize, list: u32) -> &'a [f32] {
    if bases.is_empty() {
        return lists.centroid(list);
    }
    let start = list as usize * dim;
    bases.get(start..start + dim).unwrap_or(&[])
}

impl ListCodes {
    /// Arrays of a blob that [`ListCodes::write`] puts.
    pub(in crate::ivf) const ARRAYS: usize = 8 + Quantizer::ARRAYS;

    /// Reads what [`ListCodes::write`] put as array `first` and the next.
    pub(in crate::ivf) fn open(
        reader: &Reader,
        first: usize,
        code: Code,
        metric: Metric,
        dim: usize,
        lists: &Lists,
    ) -> Result<Self, OpenError> {
        let at = first + 2 + Quantizer::ARRAYS;
        let is_l2 = metric == Metric::L2;
        let base_floats = if is_l2 { 0 } else { lists.count() * dim };
        let bases = reader.array_of(first, base_floats, "base floats")?;
        let mean = reader.array_of(first + 1, if is_l2 { dim } else { 0 }, "mean floats")?;
        let code = used_code(code, lists.rows());
        let quantizer = Quantizer::open(reader, first + 2, code, dim)?;
        let packing = quantizer.packing();
        let units = units_of(lists, packing);
        let Kept { adds, muls, planes } = quantizer.kept(metric);
        let total = units.last().map_or(0, |&end| end as usize);
        let code_bytes = total
            .checked_mul(packing.unit_bytes())
            .ok_or_else(|| OpenError::corrupt(format!("{total} units of codes")))?;
        let places = |kept: bool| if kept { total * packing.unit() } else { 0 };
        let members = |bytes: usize| lists.rows().saturating_mul(bytes);
        let full = members(if planes > 0 { 2 } else { 0 });
        Ok(Self {
            metric,
            dim,
            codes: reader.array_of(at, code_bytes, "code bytes")?,
            adds: reader.array_of(at + 1, places(adds), "terms of rows")?,
            muls: reader.array_of(at + 2, places(muls), "factors of rows")?,
            errs: reader.array_of(at + 3, places(planes > 0), "errors of rows")?,
            planes: reader.array_of(at + 4, members(planes), "bytes of bits")?,
            full: reader.array_of(at + 5, full, "numbers of rows")?,
            quantizer,
            bases,
            mean,
            units,
        })
    }

    pub(in crate::ivf) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.bases);
        writer.put(&*self.mean);
        self.quantizer.write(writer);
        writer.put(&*self.codes);
        writer.put(&*self.adds);
        writer.put(&*self.muls);
        writer.put(&*self.errs);
        writer.put(&*self.planes);
        writer.put(&*self.full);
    }

    pub(in crate::ivf) fn memory_bytes(&self) -> usize {
        let terms = bytes_of(&[
            &self.adds,
            &self.muls,
            &self.errs,
            &self.full,
            &self.bases,
            &self.mean,
        ]);
        let codes = bytes_of(&[&self.codes, &self.planes]) + size_of_val(self.units.as_slice());
        self.quantizer.memory_bytes() + terms + codes
    }

    /// Bytes of a row's code that a scan reads.
    pub(in crate::ivf) fn row_bytes(&self) -> usize {
        let packing = self.quantizer.packing();
        packing.unit_bytes() / packing.unit()
    }

    /// Whether rows are estimated again, by all bits, if what the first say is below the bound of the moment.
    pub(in crate::ivf) fn refines(&self) -> bool {
        self.quantizer.kept(self.metric).planes > 0
    }

    pub(super) fn base<'a>(&'a self, lists: &'a Lists, list: u32) -> &'a [f32] {
        base_of(lists, &self.bases, self.dim, list)
    }

    /// Distance of `query` from the base of list `list`, whose centroid is `centroid` away.
    pub(super) fn base_distance(&self, lists: &Lists, list: u32, query: &[f32], centroid: f32) -> f32 {
        match self.metric {
            Metric::L2 => centroid,
            Metric::Ip | Metric::Cosine => -kernels().dot(query, self.base(lists, list)),
        }
    }

    /// [`ListCodes::base_distance`] of the rows `numbers` of `queries`, in the place of the distances of the centroid.
    pub(in crate::ivf) fn base_distances(
        &self,
        lists: &Lists,
        list: u32,
        queries: Vectors<'_>,
        numbers: &[u32],
        distances: &mut [f32],
    ) {
        if self.metric != Metric::L2 {
            let base = self.base(lists, list);
            kernels().dot_gather(base, queries, numbers, distances);
            for distance in distances {
                *distance = -*distance;
            }
        }
    }

    /// Whether codes are read once for several queries.
    pub(in crate::ivf) fn shares(&self) -> bool {
        self.quantizer.packing().shares(Level::best())
    }

    /// What a row of a list costs to scan, in distances of a scan of vectors: about its part of the bytes.
    pub(in crate::ivf) fn row_cost(&self) -> f64 {
        let packing = self.quantizer.packing();
        let Kept { adds, muls, planes } = self.quantizer.kept(self.metric);
        let kept = u8::from(adds) + u8::from(muls) + u8::from(planes > 0);
        let bytes = packing.unit_bytes() as f64 / packing.unit() as f64 + 4.0 * f64::from(kept);
        if let Packing::Wide { bytes: of_codes } = packing {
            // Not summed up side by side: each number is a lookup somewhere else, which costs about what four floats do.
            return of_codes as f64 * 2.0 / self.dim as f64;
        }
        bytes / (4 * self.dim) as f64
    }

    /// `query` less the mean of all rows, which codes are relative to under L2.
    pub(super) fn centred(&self, query: &[f32]) -> Vec<f32> {
        if self.mean.is_empty() {
            return query.to_vec();
        }
        query
            .iter()
            .zip(self.mean.iter())
            .map(|(q, mean)| q - mean)
            .collect()
    }

    /// `query` as a scan takes it; `query_bits` are those of RaBitQ.
    pub(in crate::ivf) fn prepare(&self, query: &[f32], query_bits: u32) -> Prepared {
        self.quantizer
            .prepare(self.metric, &self.centred(query), query_bits)
    }

    /// What bounds of distances need of a query, prepared; `None` where the codes are no levels, or numbers are too
    /// large or too small.
    pub(in crate::ivf) fn query_bounds(&self, query: &[f32], prepared: &Prepared) -> Option<QueryBounds> {
        let Quantizer::Scalar(quantizer) = &self.quantizer else {
            return None;
        };
        let (kernels, [lows, steps]) = (kernels(), quantizer.arrays());
        let centred = self.centred(query);
        let exact: Vec<f32> = centred.iter().zip(steps).map(|(q, step)| q * step).collect();
        let weights = prepared.operand.bytes.iter();
        let rounded: Vec<f32> = weights
            .map(|weight| prepared.operand.scale * f32::from(weight.cast_signed()))
            .collect();
        let length = |values: &[f32]| kernels.dot(values, values).sqrt();
        let levels = length(lows) + 255.0 * length(steps);
        let found = QueryBounds {
            rounding: kernels.l2(&exact, &rounded).sqrt() * (1.0 + 1e-3),
            sums: 2e-6 * length(&centred) * levels,
            length: length(query),
        };
        let scale = prepared.operand.scale;
        let large = found.rounding >= LARGE || found.sums >= LARGE || found.length >= LARGE;
        let small = scale > 0.0 && scale < SMALL;
        // Written so that what is no number is not sound.
        let sound = [found.rounding, found.sums, found.length, scale]
            .iter()
            .all(|number| number.is_finite());
        (sound && !large && !small).then_some(found)
    }
}

//! Rows of every type that a device searches.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::{Backend, Device};
use elanus_index::{
    AnyMetric, BitMetric, Bitset, Metric, Rows, SearchStats, Vectors, VectorsRef, Window, exact_search_any,
};
use rayon::prelude::*;

use crate::data::normals;

/// Dimensions that are checked: of bits these times eight.
const DIMENSIONS: [usize; 3] = [3, 40, 256];
/// Queries that are checked, more than a large tile has.
const QUERIES: usize = 150;

/// Type of the elements of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    /// 32-bit floats.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Upper halves of 32-bit floats.
    Bf16,
    /// Signed 8-bit integers.
    Int8,
    /// Bits; the dimension is a multiple of 8.
    Bit,
}

/// Random vectors of one type.
pub struct Drawn {
    dim: usize,
    values: Values,
}

enum Values {
    Floats(Vec<f32>),
    Halves(Vec<u16>),
    BFloat16s(Vec<u16>),
    Int8s(Vec<i8>),
    Bits(Vec<u8>),
}

impl Type {
    /// Bits of an element.
    pub fn bits(self) -> usize {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Int8 => 8,
            Self::Bit => 1,
        }
    }

    /// Whether sums are of floats, which the ceiling of matrix products is measured for.
    pub fn is_float(self) -> bool {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => true,
            Self::Int8 | Self::Bit => false,
        }
    }

    /// The metrics it has, the usual one first.
    pub fn metrics(self) -> Vec<AnyMetric> {
        match self {
            Self::Bit => vec![BitMetric::Hamming.into(), BitMetric::Jaccard.into()],
            Self::F32 | Self::F16 | Self::Bf16 | Self::Int8 => [Metric::L2, Metric::Ip, Metric::Cosine]
                .map(AnyMetric::from)
                .to_vec(),
        }
    }
}

impl Drawn {
    /// Rows of about normal distribution: integers are 40 times as large, and bits are set where a number is positive.
    pub fn new(of: Type, rows: usize, dim: usize, seed: u64) -> Self {
        Self::of(of, dim, normals(rows * dim, seed))
    }

    /// Vectors of these numbers, in the same way.
    pub fn of(of: Type, dim: usize, floats: Vec<f32>) -> Self {
        let values = match of {
            Type::F32 => Values::Floats(floats),
            Type::F16 => Values::Halves(floats.par_iter().map(|&value| half(value)).collect()),
            Type::Bf16 => Values::BFloat16s(
                floats
                    .par_iter()
                    .map(|value| (value.to_bits() >> 16) as u16)
                    .collect(),
            ),
            Type::Int8 => Values::Int8s(floats.par_iter().map(|value| (value * 40.0) as i8).collect()),
            Type::Bit => {
                let byte = |some: &[f32]| {
                    let places = some.iter().enumerate();
                    places.fold(0u8, |byte, (at, &value)| byte | u8::from(value > 0.0) << at)
                };
                Values::Bits(floats.par_chunks(8).map(byte).collect())
            }
        };
        Self { dim, values }
    }

    /// The rows.
    ///
    /// # Errors
    /// When the dimension does not divide them.
    pub fn view(&self) -> Result<VectorsRef<'_>> {
        Ok(match &self.values {
            Values::Floats(values) => VectorsRef::Floats(Vectors::new(values, self.dim)?),
            Values::Halves(bits) => VectorsRef::Halves(Rows::new(bits, self.dim)?),
            Values::BFloat16s(bits) => VectorsRef::BFloat16s(Rows::new(bits, self.dim)?),
            Values::Int8s(values) => VectorsRef::Int8s(Rows::new(values, self.dim)?),
            Values::Bits(bytes) => VectorsRef::Bits(Rows::new(bytes, self.dim / 8)?),
        })
    }
}

/// The rows from `from` to before `to`.
fn part(rows: VectorsRef<'_>, from: usize, to: usize) -> Result<VectorsRef<'_>> {
    fn of<T: Copy>(rows: Rows<'_, T>, from: usize, to: usize) -> Result<Rows<'_, T>> {
        let values = rows.data().get(from * rows.width()..to * rows.width());
        Ok(Rows::new(values.unwrap_or(&[]), rows.width())?)
    }
    Ok(match rows {
        VectorsRef::Floats(rows) => {
            let values = rows.data().get(from * rows.dim()..to * rows.dim());
            VectorsRef::Floats(Vectors::new(values.unwrap_or(&[]), rows.dim())?)
        }
        VectorsRef::Halves(rows) => VectorsRef::Halves(of(rows, from, to)?),
        VectorsRef::BFloat16s(rows) => VectorsRef::BFloat16s(of(rows, from, to)?),
        VectorsRef::Int8s(rows) => VectorsRef::Int8s(of(rows, from, to)?),
        VectorsRef::Bits(rows) => VectorsRef::Bits(of(rows, from, to)?),
        VectorsRef::Sparse(_) | VectorsRef::Lists(_) => bail!("not drawn here"),
    })
}

/// The half next to a number towards zero; zero for what is below the normal ones.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = (bits & 0x7fff_ffff).saturating_sub(112 << 23) >> 13;
    if magnitude < 1 << 10 {
        return sign;
    }
    sign | magnitude.min(0x7bff) as u16
}

/// Searches of every metric of a type, with and without a filter, by batches that take each of the kernels: the answers must be
/// those of exact search on the processor, to the last bit.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend>(device: &Arc<Device<B>>, of: Type, rows: usize, k: usize, seed: u64) -> Result<()> {
    println!(
        "{:>6} {:>6} {:>7} {:>9} {:>9} {:>8} {:>6}",
        "type", "dim", "metric", "filter", "queries", "again", "exact"
    );
    for dim in DIMENSIONS.map(|dim| if of == Type::Bit { 8 * dim } else { dim }) {
        let (base, queries) = (
            Drawn::new(of, rows, dim, seed),
            Drawn::new(of, QUERIES, dim, !seed),
        );
        let base = base.view()?;
        let queries = queries.view()?;
        for metric in of.metrics() {
            let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
            for allow in [None, Some(Bitset::from_fn(rows, |row| row % 7 < 2))] {
                let mut rounds = Rounds::default();
                // One for each kernel: 1, 4, 32 and 113 queries.
                for (from, to) in [(0, 1), (1, 5), (5, 37), (37, QUERIES)] {
                    let some = part(queries, from, to)?;
                    let stats = &mut SearchStats::default();
                    let found = search.search(base, some, k, allow.as_ref(), stats, &mut rounds)?;
                    let exact = |query: usize| {
                        let (query, stats) = (some.row(query), &mut SearchStats::default());
                        exact_search_any(metric, base, query, k, Window::default(), allow.as_ref(), stats)
                    };
                    let expected = (0..some.len()).into_par_iter().map(exact);
                    let expected = expected.collect::<Result<Vec<_>, _>>()?;
                    ensure!(found == expected, "{of:?} {metric}: an answer is wrong");
                }
                println!(
                    "{:>6} {dim:>6} {metric:>7} {:>9} {QUERIES:>9} {:>8} {:>6}",
                    format!("{of:?}"),
                    allow.as_ref().map_or("-", |_| "2 of 7"),
                    rounds.repeated,
                    rounds.exact,
                );
            }
        }
    }
    Ok(())
}

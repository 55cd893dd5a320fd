//! What the benchmark of the kernels calls of the parts that are not public: the loops of searches over one block of rows,
//! without a selection. No interface: it changes with what it measures.

use crate::any_metric::{AnyMetric, BitMetric};
use crate::codes::level::Level;
use crate::codes::packing::Packing;
use crate::codes::planes;
use crate::error::PairError;
use crate::kernels::bits::{self, BitKernels};
use crate::metric::Metric;
use crate::scorer::Space;
use crate::typed::{Scorer, VectorRef, VectorsRef};
use crate::vectors::Vectors;

/// Distances of `query` to the rows, as an exact search of 32-bit floats takes them; `inverse_norms`, one for each row, are
/// those that an index keeps for COSINE.
pub fn float_block(
    metric: Metric,
    query: &[f32],
    vectors: Vectors<'_>,
    inverse_norms: Option<&[f32]>,
    out: &mut [f32],
) {
    let space = Space::new(metric, vectors, inverse_norms);
    space.scorer(query).block(0, out);
}

/// `1 / |row|` for every row.
pub fn inverse_norms(vectors: Vectors<'_>) -> Vec<f32> {
    crate::scorer::inverse_norms(vectors)
}

/// One query and some rows, as an exact search of any type scores them.
#[derive(Debug)]
pub struct Block<'a> {
    scorer: Scorer<'a>,
    vectors: VectorsRef<'a>,
    rows: Vec<u32>,
}

impl<'a> Block<'a> {
    /// All rows of `vectors`, which are like the query.
    ///
    /// # Errors
    /// [`PairError`] when vectors of this type do not have the metric.
    pub fn new(metric: AnyMetric, query: VectorRef<'a>, vectors: VectorsRef<'a>) -> Result<Self, PairError> {
        Ok(Self {
            scorer: Scorer::new(metric, query)?,
            vectors,
            rows: (0..vectors.len() as u32).collect(),
        })
    }

    /// The same rows from the last to the first, as a graph or a list has them in no order.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.rows.reverse();
        self
    }

    /// One distance for each row.
    pub fn distances(&self, out: &mut [f32]) {
        self.scorer.gather(self.vectors, &self.rows, out);
    }
}

/// The kernels of bits of one instruction set.
#[derive(Debug, Clone, Copy)]
pub struct Bits(&'static BitKernels);

impl Bits {
    /// Those of this machine, fastest first.
    pub fn available() -> Vec<Self> {
        bits::available().into_iter().map(Self).collect()
    }

    /// The name of the instruction set.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Distances to rows of `data` by number.
    pub fn gather(self, metric: BitMetric, query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        match metric {
            BitMetric::Hamming => self.0.differing_gather(query, data, rows, out),
            BitMetric::Jaccard => self.0.jaccard_gather(query, data, rows, out),
            BitMetric::MinHash(metric) => metric.gather(query, data, rows, out),
        }
    }

    /// The distance of two vectors.
    pub fn pair(self, metric: BitMetric, a: &[u8], b: &[u8]) -> f32 {
        match metric {
            BitMetric::Hamming => self.0.differing(a, b) as f32,
            BitMetric::Jaccard => self.0.meeting(a, b).jaccard(),
            BitMetric::MinHash(metric) => metric.distance(a, b),
        }
    }
}

/// What a scan of codes reads for each row.
#[derive(Debug, Clone, Copy)]
pub enum Code {
    /// A number of 4, 6 or 8 bits for each dimension, against a query of 8-bit weights.
    Levels(u32),
    /// A number of 8 bits for each part of the vector, which is looked up in a table of 256 entries.
    Bytes,
    /// A number of 4 bits for each part of the vector, which is looked up in a table of 16 entries: 4-bit fast scan, and the first
    /// bits of RaBitQ, four to a number.
    Nibbles,
}

/// Codes of some rows and a query, with one instruction set.
#[derive(Debug)]
pub struct Scan {
    packing: Packing,
    level: Level,
    codes: Vec<u8>,
    operand: Vec<u8>,
}

impl Scan {
    /// `rows` codes, whole units of 64, of `numbers` numbers each; one scan for every instruction set of this machine, fastest
    /// first.
    pub fn available(code: Code, numbers: usize, rows: usize) -> Vec<Self> {
        let packing = match code {
            Code::Levels(bits) => Packing::Levels { bits, dim: numbers },
            Code::Bytes => Packing::Bytes { parts: numbers },
            Code::Nibbles => Packing::Nibbles { parts: numbers },
        };
        let scan = |level| Self {
            packing,
            level,
            codes: pattern(rows / packing.unit() * packing.unit_bytes()),
            operand: pattern(packing.operand_bytes()),
        };
        Level::available().into_iter().map(scan).collect()
    }

    /// The name of the instruction set.
    pub fn name(&self) -> String {
        format!("{:?}", self.level).to_lowercase()
    }

    /// One integer sum for each row.
    pub fn sums(&self, out: &mut [i32]) {
        self.packing.sums(self.level, &self.codes, &self.operand, out);
    }
}

/// The bits of RaBitQ codes after the first, which are multiplied with a query of 32-bit floats.
#[derive(Debug)]
pub struct Planes {
    level: Level,
    planes: Vec<u8>,
    query: Vec<f32>,
    row_bytes: usize,
}

impl Planes {
    /// `rows` codes of `bits` more bits for each of `dim` dimensions, a multiple of 16; one for every instruction set of this
    /// machine, fastest first.
    pub fn available(bits: usize, dim: usize, rows: usize) -> Vec<Self> {
        let row_bytes = bits * dim / 8;
        let planes = |level| Self {
            level,
            planes: pattern(rows * row_bytes),
            query: pattern(dim).into_iter().map(f32::from).collect(),
            row_bytes,
        };
        Level::available().into_iter().map(planes).collect()
    }

    /// The name of the instruction set.
    pub fn name(&self) -> String {
        format!("{:?}", self.level).to_lowercase()
    }

    /// One inner product for each row.
    pub fn products(&self, out: &mut [f32]) {
        for (row, slot) in self.planes.chunks_exact(self.row_bytes.max(1)).zip(out) {
            *slot = planes::dot(self.level, row, &self.query);
        }
    }
}

/// Bytes of all values.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 37 % 251) as u8).collect()
}

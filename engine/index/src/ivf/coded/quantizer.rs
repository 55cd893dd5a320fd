//! The codes that lists may have, behind one face: train, encode a row of a list, prepare a query, store.

use crate::blob::{Array, Reader, Writer};
use crate::codes::Operand;
use crate::codes::estimate::Line;
use crate::codes::packing::Packing;
use crate::codes::product::{self, ProductQuantizer};
use crate::codes::rabitq::{Rabitq, RabitqQuery};
use crate::codes::rotation::Rotation;
use crate::codes::scalar::ScalarQuantizer;
use crate::codes::wide::{WideQuery, used_bits};
use crate::error::{BuildError, OpenError};
use crate::ivf::params::Code;
use crate::metric::Metric;
use crate::progress::Progress;

/// Rows that ranges of values and the like are taken from.
const SAMPLE: usize = 32_768;

/// How residuals are written.
#[derive(Debug)]
pub(super) enum Quantizer {
    Scalar(ScalarQuantizer),
    Product(ProductQuantizer),
    Rabitq(Rabitq),
}

/// What is kept of a row besides its packed code; which of them, [`Kept`] says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) add: f32,
    pub(super) mul: f32,
    pub(super) err: f32,
    /// Add and mul by all bits.
    pub(super) full: [f32; 2],
}

/// What a code keeps per row besides the packed code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) adds: bool,
    pub(super) muls: bool,
    /// Errors, planes and factors by all bits.
    pub(super) planes: usize,
}

/// A query as the scan of any list takes it.
#[derive(Debug)]
pub(in crate::ivf) struct Prepared {
    pub(super) operand: Operand,
    /// Scale and bias with the factor of the metric, for codes without one per row.
    pub(super) line: Line,
    /// For estimates by all bits.
    pub(super) rabitq: Option<RabitqQuery>,
    /// For numbers of more than a byte.
    pub(super) wide: Option<WideQuery>,
}

/// The code that is used of the one asked for when it is learnt from so many rows.
pub(super) fn used_code(code: Code, rows: usize) -> Code {
    match code {
        Code::Product { m, nbits } => Code::Product {
            m,
            nbits: used_bits(nbits, rows),
        },
        Code::Scalar { .. } | Code::Rabitq { .. } | Code::Scann { .. } => code,
    }
}

/// `m` and `nbits` of a product quantizer.
fn groups(code: Code, dim: usize) -> Option<(usize, u32)> {
    match code {
        Code::Product { m, nbits } => Some((m as usize, nbits)),
        Code::Scann { sub_dim } => Some((dim / sub_dim.max(1) as usize, 4)),
        Code::Scalar { .. } | Code::Rabitq { .. } => None,
    }
}

impl Quantizer {
    /// Rows to train a code on.
    pub(super) fn sample_rows(code: Code, dim: usize) -> usize {
        match (code, groups(code, dim)) {
            (_, Some((_, bits))) => product::sample_rows(bits).max(4096),
            (Code::Rabitq { .. }, None) => 0,
            (_, None) => SAMPLE,
        }
    }

    /// Trains on residuals of `dim` floats in random order.
    pub(super) fn train(
        code: Code,
        dim: usize,
        sample: &[f32],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        match (code, groups(code, dim)) {
            (_, Some((parts, bits))) => {
                let quantizer = ProductQuantizer::train(dim, parts, bits, sample, seed, progress)?;
                Ok(Self::Product(quantizer))
            }
            (Code::Rabitq { bits, .. }, None) => Ok(Self::Rabitq(Rabitq::new(dim, bits, seed))),
            (Code::Scalar { bits }, None) => Ok(Self::Scalar(ScalarQuantizer::train(bits, dim, sample))),
            (Code::Product { .. } | Code::Scann { .. }, None) => {
                Ok(Self::Scalar(ScalarQuantizer::train(8, dim, sample)))
            }
        }
    }

    /// Arrays of a blob that [`Quantizer::write`] puts.
    pub(super) const ARRAYS: usize = 2;

    pub(super) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        match self {
            Self::Scalar(quantizer) => quantizer.arrays().into_iter().for_each(|array| writer.put(array)),
            Self::Product(quantizer) => {
                writer.put(quantizer.books());
                writer.put(&[0.0f32; 0][..]);
            }
            Self::Rabitq(quantizer) => {
                writer.put(quantizer.rotation().signs());
                writer.put(&[0.0f32; 0][..]);
            }
        }
    }

    /// Reads what [`Quantizer::write`] put as arrays `first` and the next.
    pub(super) fn open(reader: &Reader, first: usize, code: Code, dim: usize) -> Result<Self, OpenError> {
        match (code, groups(code, dim)) {
            (_, Some((parts, bits))) => {
                let floats = dim << bits;
                let books = reader.array_of(first, floats, "codebook floats")?;
                Ok(Self::Product(ProductQuantizer::stored(dim, parts, bits, books)))
            }
            (Code::Rabitq { bits, .. }, None) => {
                let words = Rotation::words(Rabitq::padded(dim));
                let signs = reader.array_of(first, words, "words of signs")?;
                Ok(Self::Rabitq(Rabitq::stored(dim, bits, signs)))
            }
            (Code::Scalar { .. } | Code::Product { .. } | Code::Scann { .. }, None) => {
                let bits = match code {
                    Code::Scalar { bits } => bits,
                    Code::Product { .. } | Code::Scann { .. } | Code::Rabitq { .. } => 8,
                };
                let lows = reader.array_of(first, dim, "smallest values")?;
                let steps = reader.array_of(first + 1, dim, "distances of levels")?;
                Ok(Self::Scalar(ScalarQuantizer::stored(bits, lows, steps)))
            }
        }
    }

    pub(super) fn packing(&self) -> Packing {
        match self {
            Self::Scalar(quantizer) => quantizer.packing(),
            Self::Product(quantizer) => quantizer.packing(),
            Self::Rabitq(quantizer) => quantizer.packing(),
        }
    }

    pub(super) fn kept(&self, metric: Metric) -> Kept {
        let planes = match self {
            Self::Scalar(_) | Self::Product(_) => 0,
            Self::Rabitq(quantizer) => quantizer.plane_bytes(),
        };
        Kept {
            adds: metric == Metric::L2,
            muls: matches!(self, Self::Rabitq(_)),
            planes,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Scalar(quantizer) => quantizer.arrays().into_iter().map(size_of_val::<[f32]>).sum(),
            Self::Product(quantizer) => quantizer.memory_bytes(),
            Self::Rabitq(quantizer) => quantizer.rotation().memory_bytes(),
        }
    }

    /// Encodes residuals of one list, whose base (less the mean of all rows) is `base`.
    pub(super) fn encoder<'a>(&'a self, metric: Metric, base: &'a [f32]) -> Encoder<'a> {
        let mut rotated = Vec::new();
        if let Self::Rabitq(quantizer) = self {
            quantizer.rotation().apply(base, &mut rotated);
        }
        Encoder {
            quantizer: self,
            metric,
            base,
            rotated_base: rotated,
            decoded: Vec::new(),
        }
    }

    /// `query`, less the mean of all rows under L2. `query_bits` are those of RaBitQ.
    pub(super) fn prepare(&self, metric: Metric, query: &[f32], query_bits: u32) -> Prepared {
        let mut wide = None;
        let (operand, times, rabitq) = match self {
            Self::Scalar(quantizer) => (quantizer.operand(query), sign(metric), None),
            Self::Product(quantizer) => {
                wide = WideQuery::new(quantizer, query);
                let operand = match wide {
                    Some(_) => Operand {
                        scale: 1.0,
                        ..Operand::default()
                    },
                    None => quantizer.operand(query),
                };
                (operand, sign(metric), None)
            }
            Self::Rabitq(quantizer) => {
                let prepared = quantizer.query(query, query_bits);
                (prepared.operand.clone(), 1.0, Some(prepared))
            }
        };
        let line = Line {
            list: 0.0,
            scale: operand.scale * times,
            bias: operand.bias * times,
            spread: 0.0,
        };
        Prepared {
            operand,
            line,
            rabitq,
            wide,
        }
    }
}

/// What an inner product with a residual counts in a distance.
fn sign(metric: Metric) -> f32 {
    match metric {
        Metric::L2 => -2.0,
        Metric::Ip | Metric::Cosine => -1.0,
    }
}

/// Encodes the rows of one list.
pub(super) struct Encoder<'a> {
    quantizer: &'a Quantizer,
    metric: Metric,
    base: &'a [f32],
    rotated_base: Vec<f32>,
    decoded: Vec<f32>,
}

impl Encoder<'_> {
    /// Writes the numbers to pack to `code` and further bits to the end of `planes`.
    ///
    /// Under L2 a row's distance is `|q - base|² + add - 2 <q, x̂>` with `add = |x̂|² + 2 <base, x̂>`, where `q` and `base` in
    /// the products may both be less the mean of all rows.
    pub(super) fn encode(&mut self, residual: &[f32], code: &mut Vec<u8>, planes: &mut Vec<u8>) -> Row {
        match self.quantizer {
            Quantizer::Scalar(quantizer) => {
                quantizer.encode(residual, code);
                if self.metric == Metric::L2 {
                    quantizer.decode(code, &mut self.decoded);
                }
            }
            Quantizer::Product(quantizer) => {
                quantizer.encode(residual, code);
                if self.metric == Metric::L2 {
                    quantizer.decode(code, &mut self.decoded);
                }
            }
            Quantizer::Rabitq(quantizer) => return self.encode_rabitq(quantizer, residual, code, planes),
        }
        self.row_of_decoded()
    }

    /// What is kept of a row with a product code that is known.
    pub(super) fn of_code(&mut self, code: &[u8]) -> Row {
        if let (Quantizer::Product(quantizer), Metric::L2) = (self.quantizer, self.metric) {
            quantizer.decode(code, &mut self.decoded);
        }
        self.row_of_decoded()
    }

    fn row_of_decoded(&self) -> Row {
        let pairs = self.decoded.iter().zip(self.base);
        let add: f64 = pairs
            .map(|(&value, &base)| f64::from(value) * (f64::from(value) + 2.0 * f64::from(base)))
            .sum();
        Row {
            add: add as f32,
            ..Row::default()
        }
    }

    fn encode_rabitq(
        &mut self,
        quantizer: &Rabitq,
        residual: &[f32],
        code: &mut Vec<u8>,
        planes: &mut Vec<u8>,
    ) -> Row {
        quantizer.rotation().apply(residual, &mut self.decoded);
        let factors = quantizer.encode(&self.decoded, &self.rotated_base, code, planes);
        let times = sign(self.metric);
        let add = |base: f32| match self.metric {
            Metric::L2 => factors.square - times * base,
            Metric::Ip | Metric::Cosine => 0.0,
        };
        Row {
            add: add(factors.base),
            mul: times * factors.f,
            err: -times * factors.err,
            full: [add(factors.full[0]), times * factors.full[1]],
        }
    }
}

/// A row's estimate by all bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refiner<'a> {
    pub(super) quantizer: &'a Rabitq,
    pub(super) query: &'a RabitqQuery,
    /// Bytes of a row's planes.
    pub(super) bytes: usize,
    /// Of all rows, list after list.
    pub(super) planes: &'a Array<u8>,
    /// Add and mul by all bits, of all rows.
    pub(super) full: &'a Array<f32>,
}

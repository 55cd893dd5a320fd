//! Codes that are read row by row, in any order: what a graph is walked by.
//!
//! ```text
//!   row ──(less the mean under L2, of unit length under COSINE)──> code        kept beside the row's term |x̂|² under L2
//!   L2      |q - x|²  ~  |q|² + |x̂|² - 2 <q, x̂>        both less the mean: a common offset is not rounded
//!   others  -<q, x>   ~  -<q, x̂>                       q of unit length under COSINE
//! ```
//!
//! Floats of 16 bits need none of that: their distances are taken as they are.
//!
//! | file | part |
//! |---|---|
//! | `records` | rows in memory, and distances of some of them |
//! | `levels` | 4, 6 or 8 bits per dimension |
//! | `avx2`, `avx512`, `neon` | sums of those in registers |
//! | `words` | codewords for groups of dimensions |
//! | `narrow` | floats rounded to 16 bits |
//! | `train` | what codes are made of: samples, levels, codebooks |
//! | `scorer` | a query against the codes |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod levels;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;
mod records;
mod scorer;
mod train;
mod words;

use crate::blob::{Array, Reader, Writer};
use crate::codes::product::ProductQuantizer;
use crate::codes::scalar::ScalarQuantizer;
use crate::error::OpenError;
use crate::hnsw::params::{GraphCode, ScalarFormat};
use crate::huge_pages;
use crate::metric::Metric;
use levels::Levels;

pub(crate) use records::{Line, Records};
pub(crate) use scorer::CodeScorer;
pub(crate) use train::{RowSource, normalize};
pub(crate) use words::Words;

/// Bytes of a row's term.
const TERM: usize = 4;

/// How rows are written.
#[derive(Debug)]
pub(crate) enum RowQuantizer {
    Levels(ScalarQuantizer),
    /// One quantizer for each codeword of a group; every one of what those before it leave.
    Words(Vec<ProductQuantizer>),
    Half,
    BFloat16,
}

/// Codes of all rows of a segment.
#[derive(Debug)]
pub(crate) struct RowCodes {
    metric: Metric,
    dim: usize,
    quantizer: RowQuantizer,
    /// What is taken from rows and queries under L2; else empty.
    mean: Array<f32>,
    /// Records of levels and words, else empty.
    records: Array<u8>,
    /// Rows of 16-bit floats, else empty.
    floats: Array<u16>,
}

/// Bits of a level's number.
fn level_bits(format: ScalarFormat) -> Option<u32> {
    match format {
        ScalarFormat::Sq4u => Some(4),
        ScalarFormat::Sq6 => Some(6),
        ScalarFormat::Sq8 => Some(8),
        ScalarFormat::Bf16 | ScalarFormat::Fp16 => None,
    }
}

impl RowQuantizer {
    /// Bytes of a code in a record; 0 for 16-bit floats, which are not in one.
    fn code_bytes(&self, dim: usize) -> usize {
        match self {
            Self::Levels(quantizer) => levels_of(quantizer, dim).bytes(),
            Self::Words(stages) => words_of(stages).bytes(),
            Self::Half | Self::BFloat16 => 0,
        }
    }
}

fn levels_of(quantizer: &ScalarQuantizer, dim: usize) -> Levels {
    Levels {
        bits: quantizer.bits(),
        dim,
    }
}

fn words_of(stages: &[ProductQuantizer]) -> Words {
    let places = stages.iter().map(ProductQuantizer::parts).sum();
    Words {
        places,
        bits: stages.first().map_or(8, ProductQuantizer::bits),
    }
}

/// Bytes of a term: only L2 has one.
fn head_of(metric: Metric) -> usize {
    match metric {
        Metric::L2 => TERM,
        Metric::Ip | Metric::Cosine => 0,
    }
}

impl RowCodes {
    /// Arrays of a blob that [`RowCodes::write`] puts.
    pub(crate) const ARRAYS: usize = 5;

    /// Adds the arrays to a blob: mean, levels' smallest values or codebooks, levels' distances, records, floats.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.mean);
        match &self.quantizer {
            RowQuantizer::Levels(quantizer) => {
                quantizer.arrays().into_iter().for_each(|array| writer.put(array));
            }
            RowQuantizer::Words(stages) => {
                writer.put(
                    stages
                        .iter()
                        .flat_map(|stage| stage.books().iter().copied())
                        .collect::<Vec<f32>>(),
                );
                writer.put(&[0.0f32; 0][..]);
            }
            RowQuantizer::Half | RowQuantizer::BFloat16 => {
                writer.put(&[0.0f32; 0][..]);
                writer.put(&[0.0f32; 0][..]);
            }
        }
        writer.put(&*self.records);
        writer.put(&*self.floats);
    }

    /// Opens what [`RowCodes::write`] put as arrays `first` and following, of rows of `dim` numbers, `nodes` of them with a vector.
    pub(crate) fn open(
        reader: &Reader,
        first: usize,
        code: GraphCode,
        metric: Metric,
        dim: usize,
        nodes: usize,
    ) -> Result<Self, OpenError> {
        let code = code.used(nodes);
        let rows = reader.header().rows;
        let quantizer = match code {
            GraphCode::Scalar(ScalarFormat::Fp16) => RowQuantizer::Half,
            GraphCode::Scalar(ScalarFormat::Bf16) => RowQuantizer::BFloat16,
            GraphCode::Scalar(format) => {
                let lows = reader.array_of(first + 1, dim, "smallest values")?;
                let steps = reader.array_of(first + 2, dim, "distances of levels")?;
                RowQuantizer::Levels(ScalarQuantizer::stored(
                    level_bits(format).unwrap_or(8),
                    lows,
                    steps,
                ))
            }
            GraphCode::Product { m, nbits } | GraphCode::Residual { m, nbits, .. } => {
                let stages = code.words().map_or(1, |(_, stages, _)| stages);
                let of_stage = dim << nbits;
                let books =
                    reader.array_of::<f32>(first + 1, of_stage.saturating_mul(stages), "codebook floats")?;
                let stored = |book: &[f32]| {
                    ProductQuantizer::stored(dim, m as usize, nbits, Array::Owned(book.to_vec()))
                };
                RowQuantizer::Words(books.chunks_exact(of_stage.max(1)).map(stored).collect())
            }
        };
        let mean = reader.array_of(first, if metric == Metric::L2 { dim } else { 0 }, "mean floats")?;
        let bytes = match quantizer.code_bytes(dim) {
            0 => 0,
            bytes => rows.saturating_mul(bytes + head_of(metric)),
        };
        let floats = match quantizer {
            RowQuantizer::Half | RowQuantizer::BFloat16 => rows.saturating_mul(dim),
            RowQuantizer::Levels(_) | RowQuantizer::Words(_) => 0,
        };
        let codes = Self {
            metric,
            dim,
            quantizer,
            mean,
            records: reader.array_of(first + 3, bytes, "bytes of codes")?,
            floats: reader.array_of(first + 4, floats, "16-bit floats")?,
        };
        huge_pages::hint(&codes.records);
        huge_pages::hint(&codes.floats);
        Ok(codes)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let quantizer = match &self.quantizer {
            RowQuantizer::Levels(quantizer) => quantizer
                .arrays()
                .into_iter()
                .map(size_of_val::<[f32]>)
                .sum::<usize>(),
            RowQuantizer::Words(stages) => stages.iter().map(ProductQuantizer::memory_bytes).sum(),
            RowQuantizer::Half | RowQuantizer::BFloat16 => 0,
        };
        quantizer + self.mean.bytes() + self.records.bytes() + self.floats.bytes()
    }

    fn records(&self) -> Records<'_> {
        let head = head_of(self.metric);
        Records {
            bytes: &self.records,
            stride: self.quantizer.code_bytes(self.dim) + head,
            head,
        }
    }
}

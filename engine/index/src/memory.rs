//! How much memory a build takes at a time, so that whoever runs many can keep within a budget.
//!
//! A build reads the vectors where they are. What it takes besides is at most
//!
//! ```text
//!   2 x the finished index       links and codes while they are made, and their serialized form; 3 x of lists of vectors, whose
//!                                index is serialized within another one
//!   + samples                    rows that centroids and codewords are learnt from, as 32-bit floats
//!   + a copy as 32-bit floats    lists, and links of GPU_CAGRA, of other types are made of the widened rows
//!   + marks of each thread       the rows that a walk has seen
//! ```
//!
//! which is an upper bound, and not many times what is taken (`tests/memory`).

use std::num::NonZero;

use crate::codes::packing::MAX_UNIT;
use crate::codes::product;
use crate::codes::wide::used_bits;
use crate::disk::layout::Layout;
use crate::hnsw::params::{GraphCode, ScalarFormat};
use crate::ivf::params::Code;
use crate::minhash::bands_of;
use crate::params::BuildParams;
use crate::typed::VectorsRef;

/// What every build may take, however few the rows: rooms of threads.
const ALWAYS: usize = 2 << 20;
/// Rows that codewords are learnt from at least, if there are so many.
const LEAST_SAMPLE: usize = 4096;
/// Rows that levels of numbers are learnt from at most.
const SAMPLE: usize = 32_768;

/// The most bytes that [`crate::AnyIndex::build`] and [`crate::AnyIndex::serialize`] take at a time besides `vectors`, on so many
/// threads; 0 means one per core.
pub fn build_bytes(params: &BuildParams, vectors: VectorsRef<'_>, threads: usize) -> usize {
    let rows = vectors.len();
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        given => given,
    };
    let (dim, row_bytes) = match vectors {
        VectorsRef::Floats(rows) => (rows.dim(), 4 * rows.dim()),
        VectorsRef::Halves(rows) | VectorsRef::BFloat16s(rows) => (rows.width(), 2 * rows.width()),
        VectorsRef::Int8s(rows) => (rows.width(), rows.width()),
        VectorsRef::Bits(rows) => (rows.width().div_ceil(4), rows.width()),
        // Postings of every element that is not zero, sorted.
        VectorsRef::Sparse(vectors) => {
            let elements = rows.saturating_mul(vectors.mean_len() + 1);
            return elements.saturating_mul(32).saturating_add(ALWAYS);
        }
        VectorsRef::Lists(lists) => {
            let of_elements = build_bytes(params, lists.elements().vectors(), threads);
            return (of_elements / 2)
                .saturating_mul(3)
                .saturating_add(rows.saturating_mul(16));
        }
    };
    let is_wide = matches!(vectors, VectorsRef::Floats(_));
    let floats = |rows: usize| rows.saturating_mul(4 * dim);
    let graph = |m: u32| rows.saturating_mul(8 * m as usize + 24);
    let index = match *params {
        BuildParams::Flat | BuildParams::GpuBruteForce => rows.saturating_mul(8),
        BuildParams::Hnsw { m, .. } if is_wide => {
            twice(graph(m) + rows * (dim + 8)) + floats(rows.min(SAMPLE))
        }
        BuildParams::Hnsw { m, .. } => twice(graph(m)),
        BuildParams::HnswCoded(params) => {
            let (code, words, sample) = match params.code.used(rows) {
                GraphCode::Scalar(ScalarFormat::Sq4u) => (dim.div_ceil(2), 0, SAMPLE),
                GraphCode::Scalar(ScalarFormat::Sq6 | ScalarFormat::Sq8) => (dim, 0, SAMPLE),
                GraphCode::Scalar(ScalarFormat::Bf16 | ScalarFormat::Fp16) => (2 * dim, 0, SAMPLE),
                GraphCode::Product { m, nbits } => product_bytes(m, nbits, dim),
                GraphCode::Residual { m, nrq, nbits } => {
                    let (code, words, sample) = product_bytes(m, nbits, dim);
                    (code * nrq as usize, words * nrq as usize, sample)
                }
            };
            let sample = floats(rows.min(sample.max(SAMPLE)));
            twice(graph(params.m) + rows * (code + 8) + words) + sample / 2 * 5
        }
        BuildParams::IvfFlat { nlist } | BuildParams::GpuIvfFlat { nlist } => {
            lists(rows, dim, nlist, dim, 16) + floats(rows.min(SAMPLE))
        }
        BuildParams::IvfCoded(params) => {
            let unit = match params.code {
                Code::Scalar { .. } => 16,
                Code::Rabitq { .. } | Code::Scann { .. } => 32,
                Code::Product { .. } => MAX_UNIT,
            };
            let (code, words, sample) = match params.code {
                Code::Scalar { bits } => ((dim * bits as usize).div_ceil(8), 0, SAMPLE),
                Code::Rabitq { bits, .. } => ((dim * bits as usize).div_ceil(8) + 8, dim * 32, 0),
                Code::Scann { sub_dim } => product_bytes((dim as u32).div_ceil(sub_dim.max(1)), 4, dim),
                Code::Product { m, nbits } => product_bytes(m, used_bits(nbits, rows), dim),
            };
            lists(rows, dim, params.nlist, code, unit) + twice(words) + floats(rows.min(sample)) / 2 * 5
        }
        BuildParams::GpuIvfPq(params) => {
            let (code, words, sample) = product_bytes(params.m, params.nbits, dim);
            lists(rows, dim, params.nlist, code, MAX_UNIT) + twice(words) + floats(rows.min(sample))
        }
        BuildParams::GpuCagra(params) => {
            twice(rows.saturating_mul(4 * (params.degree + params.intermediate_degree) as usize + 16))
                + floats(rows)
        }
        // The file is laid out in memory, rows beside their links, in whole pages, while the graph is still there.
        BuildParams::Disk(params) => {
            let degree = rows.min(params.max_degree as usize);
            let (code, words, sample) = product_bytes(params.code_bytes(row_bytes) as u32, 8, dim);
            let blocks = Layout::new(row_bytes, degree).map_or(usize::MAX, |layout| {
                layout.blocks(rows).saturating_mul(layout.block_bytes())
            });
            let held = rows.saturating_mul(code + 8).saturating_add(words);
            twice(blocks.saturating_add(held))
                .saturating_add(rows.saturating_mul(8 * degree + 8))
                .saturating_add(floats(rows.min(sample)).saturating_mul(2))
        }
        BuildParams::MinHash(params) => {
            let bands = bands_of(params, dim.saturating_mul(4));
            twice(rows.saturating_mul(12 * bands.count + 8))
        }
        BuildParams::Sparse(_) => 0,
    };
    let is_of_lists = matches!(
        params,
        BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_)
            | BuildParams::GpuCagra(_)
    );
    let copy = if is_of_lists && !is_wide { floats(rows) } else { 0 };
    let is_walked = matches!(
        params,
        BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) | BuildParams::Disk(_)
    );
    let marks = if is_walked {
        rows.saturating_mul(2 * threads)
    } else {
        0
    };
    index
        .saturating_add(copy)
        .saturating_add(marks)
        .saturating_add(ALWAYS)
}

fn twice(bytes: usize) -> usize {
    bytes.saturating_mul(2)
}

/// Row numbers, codes, what an estimate needs besides, and centroids, which are learnt from the rows where they lie. A list ends
/// with a whole unit of `unit` rows.
fn lists(rows: usize, dim: usize, nlist: u32, code: usize, unit: usize) -> usize {
    let lists = rows.min(nlist as usize);
    let held = (rows + lists * (unit - 1)).saturating_mul(code + 20) + lists.saturating_mul(20 * dim);
    twice(held)
}

/// Bytes of a code of `m` numbers and of their codewords, and the rows that those are learnt from.
fn product_bytes(m: u32, nbits: u32, dim: usize) -> (usize, usize, usize) {
    let code = (m as usize * nbits as usize).div_ceil(8).max(m as usize);
    let words = (4 * dim).saturating_mul(1 << nbits.min(24));
    (code, words, product::sample_rows(nbits).max(LEAST_SAMPLE))
}

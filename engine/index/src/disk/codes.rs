//! What the graph is walked by: product-quantised codes of all nodes, in memory, in the order of the nodes on disk.
//!
//! ```text
//!   L2      |q - x̂|²  =  |q|² + sum over groups of (|w|² - 2 <q's group, w>)      both less the mean
//!   others  -<q, x̂>   =         sum over groups of -<q's group, w>                of unit length under COSINE
//! ```
//!
//! The tables hold all that depends on the codeword `w`, so a code is nothing but the numbers of its codewords, one byte
//! each. Groups are of equal size; the last one is filled up with zeros.

use rayon::prelude::*;

use crate::blob::{Array, Reader, Writer};
use crate::codes::product::{ProductQuantizer, SAMPLE_PER_WORD};
use crate::codes::rows::{Line, Records, RowSource, Words, normalize};
use crate::error::{BuildError, OpenError};
use crate::hnsw::Distances;
use crate::metric::Metric;
use crate::progress::Progress;
use crate::rng::Rng;

const BITS: u32 = 8;
const WORDS: usize = 1 << BITS;
/// Seeds that draws of codes start from, so that they differ from those of the graph.
const SEED: u64 = 0x0d15_ca22_c0de_0003;
/// Nodes that one task writes, and tasks between two looks at the cancel flag.
const TASK_ROWS: usize = 512;
const TASKS: usize = 32;

/// Codes of all nodes.
#[derive(Debug)]
pub(crate) struct Codes {
    metric: Metric,
    /// Numbers of all groups.
    padded: usize,
    quantizer: ProductQuantizer,
    /// Under L2, else empty.
    mean: Array<f32>,
    /// One byte for each group of each node.
    records: Array<u8>,
}

/// Groups of `dim` numbers, at most `bytes` of them, and numbers of all groups, those filled up included.
fn groups(dim: usize, bytes: usize) -> (usize, usize) {
    let width = dim.div_ceil(bytes.clamp(1, dim.max(1))).max(1);
    let count = dim.div_ceil(width);
    (count, count * width)
}

impl Codes {
    /// Arrays that [`Codes::write`] puts.
    pub(crate) const ARRAYS: usize = 3;

    /// Codes of at most `bytes` for the rows `order`. Runs on the current thread pool.
    pub(crate) fn build(
        metric: Metric,
        source: &impl RowSource,
        order: &[u32],
        bytes: usize,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (parts, padded) = groups(source.dim(), bytes);
        let mut prepare = Preparation {
            metric,
            padded,
            mean: Vec::new(),
        };
        let mut sample = prepare.sample(source, order, seed ^ SEED);
        prepare.centre(&mut sample);
        let quantizer = ProductQuantizer::train(padded, parts, BITS, &sample, seed ^ SEED, progress)?;
        drop(sample);
        let mut records = Vec::with_capacity(order.len() * parts);
        for slab in order.chunks(TASK_ROWS * TASKS) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let encode = |rows: &[u32]| {
                let (mut row, mut code) = (Vec::new(), Vec::new());
                let mut out = Vec::with_capacity(rows.len() * parts);
                for &number in rows {
                    source.read(number, &mut row);
                    prepare.apply(&mut row);
                    quantizer.encode(&row, &mut code);
                    out.extend_from_slice(&code);
                }
                out
            };
            let written: Vec<Vec<u8>> = slab.par_chunks(TASK_ROWS).map(encode).collect();
            records.extend(written.into_iter().flatten());
        }
        Ok(Self {
            metric,
            padded,
            quantizer,
            mean: Array::Owned(prepare.mean),
            records: Array::Owned(records),
        })
    }

    /// Adds the arrays to a blob: mean, codebooks, codes.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.mean);
        writer.put(self.quantizer.books());
        writer.put(&*self.records);
    }

    /// Opens what [`Codes::write`] put as arrays `first` and following.
    pub(crate) fn open(
        reader: &Reader,
        first: usize,
        metric: Metric,
        nodes: usize,
        bytes: usize,
    ) -> Result<Self, OpenError> {
        let (parts, padded) = groups(reader.header().dim, bytes);
        let mean = if metric == Metric::L2 { padded } else { 0 };
        let mean = reader.array_of(first, mean, "mean floats")?;
        let books = reader.array_of(first + 1, padded.saturating_mul(WORDS), "codebook floats")?;
        Ok(Self {
            metric,
            padded,
            quantizer: ProductQuantizer::stored(padded, parts, BITS, books),
            mean,
            records: reader.array_of(first + 2, nodes.saturating_mul(parts), "bytes of codes")?,
        })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.quantizer.memory_bytes() + self.mean.bytes() + self.records.bytes()
    }

    /// Scores `query`, which has the dimension of the rows, against nodes by position.
    pub(crate) fn scorer(&self, mut query: Vec<f32>) -> NodeScorer<'_> {
        prepare(self.metric, self.padded, &self.mean, &mut query);
        let words = Words {
            places: self.quantizer.parts(),
            bits: BITS,
        };
        let mut tables = vec![0.0; words.places * WORDS];
        self.quantizer.tables(&query, WORDS, &mut tables);
        let add = match self.metric {
            Metric::L2 => {
                for (entry, norm) in tables.iter_mut().zip(self.quantizer.norms()) {
                    *entry = norm - 2.0 * *entry;
                }
                let squares = query.iter().map(|&value| f64::from(value) * f64::from(value));
                squares.sum::<f64>() as f32
            }
            Metric::Ip | Metric::Cosine => {
                tables.iter_mut().for_each(|entry| *entry = -*entry);
                0.0
            }
        };
        NodeScorer {
            words,
            records: Records {
                bytes: &self.records,
                stride: words.places,
                head: 0,
            },
            tables,
            line: Line { add, mul: 1.0 },
        }
    }
}

/// Estimates of the distances of one query to nodes.
#[derive(Debug)]
pub(crate) struct NodeScorer<'a> {
    words: Words,
    records: Records<'a>,
    tables: Vec<f32>,
    line: Line,
}

impl Distances for NodeScorer<'_> {
    fn one(&self, node: u32) -> f32 {
        let mut out = [f32::INFINITY];
        self.gather(&[node], &mut out);
        out[0]
    }

    fn gather(&self, nodes: &[u32], out: &mut [f32]) {
        self.words
            .gather(self.records, &self.tables, self.line, nodes, out);
    }
}

/// Fills a row up, takes the mean from it under L2, and gives it unit length under COSINE.
fn prepare(metric: Metric, padded: usize, mean: &[f32], row: &mut Vec<f32>) {
    row.resize(padded, 0.0);
    match metric {
        Metric::L2 => row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean),
        Metric::Ip => {}
        Metric::Cosine => normalize(row),
    }
}

/// What is done to rows before they are written.
struct Preparation {
    metric: Metric,
    padded: usize,
    mean: Vec<f32>,
}

impl Preparation {
    fn apply(&self, row: &mut Vec<f32>) {
        prepare(self.metric, self.padded, &self.mean, row);
    }

    /// Rows in random order.
    fn sample(&self, source: &impl RowSource, order: &[u32], seed: u64) -> Vec<f32> {
        let mut numbers = order.to_vec();
        Rng::new(seed).shuffle(&mut numbers);
        numbers.truncate(SAMPLE_PER_WORD * WORDS);
        let mut sample = Vec::with_capacity(numbers.len() * self.padded);
        let mut row = Vec::new();
        for number in numbers {
            source.read(number, &mut row);
            self.apply(&mut row);
            sample.extend_from_slice(&row);
        }
        sample
    }

    /// Takes the mean of the sample from it, and from every row that is prepared later.
    fn centre(&mut self, sample: &mut [f32]) {
        if self.metric != Metric::L2 {
            return;
        }
        let mut sums = vec![0.0f64; self.padded];
        for row in sample.chunks_exact(self.padded.max(1)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let count = (sample.len() / self.padded.max(1)).max(1) as f64;
        self.mean = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        for row in sample.chunks_exact_mut(self.padded.max(1)) {
            row.iter_mut()
                .zip(&self.mean)
                .for_each(|(value, mean)| *value -= mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::Space;
    use crate::vectors::Vectors;

    #[test]
    fn groups_take_at_most_the_bytes_given() {
        for (dim, bytes, expected) in [
            (128, 32, (32, 128)),
            (128, 28, (26, 130)),
            (3, 0, (1, 3)),
            (3, 9, (3, 3)),
            (1, 1, (1, 1)),
        ] {
            assert_eq!(groups(dim, bytes), expected, "{dim} in {bytes}");
        }
    }

    #[test]
    fn estimates_are_near_the_distances() {
        let (rows, dim) = (700, 26);
        let mut rng = Rng::new(7);
        let centred: Vec<f32> = (0..rows * dim).map(|_| rng.normal()).collect();
        let far: Vec<f32> = centred.iter().map(|value| value + 50.0).collect();
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let data = if metric == Metric::L2 { &far } else { &centred };
            let vectors = Vectors::new(data, dim).unwrap();
            let space = Space::new(metric, vectors, None);
            let order: Vec<u32> = (0..rows as u32).rev().collect();
            let query: Vec<f32> = vectors.row(3).iter().map(|value| value * 1.01).collect();
            let exact: Vec<f32> = order.iter().map(|&row| space.scorer(&query).one(row)).collect();
            let mean = exact.iter().sum::<f32>() / rows as f32;
            let spread = exact.iter().map(|d| f64::from((d - mean).abs())).sum::<f64>();
            // 26 numbers in 9 groups of 3.
            let codes = Codes::build(metric, &space, &order, 11, 1, &()).unwrap();
            assert_eq!(codes.records.len(), rows * 9);
            let scorer = codes.scorer(query);
            let positions: Vec<u32> = (0..rows as u32).collect();
            let mut out = vec![0.0; rows];
            scorer.gather(&positions, &mut out);
            let errors = out.iter().zip(&exact).map(|(a, b)| f64::from((a - b).abs()));
            let off = errors.sum::<f64>() / spread;
            assert!(off < 0.3, "{metric}: {off} of the spread");
            assert_eq!(scorer.one(rows as u32), f32::INFINITY);
        }
    }
}

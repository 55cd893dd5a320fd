//! Making codes: a sample, what is learnt from it, and every row written.

use rayon::prelude::*;

use super::narrow::{bfloat16, half};
use super::{RowCodes, RowQuantizer, head_of, levels_of, words_of};
use crate::blob::{Array, Number};
use crate::codes::product::{self, ProductQuantizer};
use crate::codes::scalar::ScalarQuantizer;
use crate::error::BuildError;
use crate::hnsw::params::{GraphCode, ScalarFormat};
use crate::huge_pages;
use crate::metric::{Metric, inverse_norm};
use crate::progress::Progress;
use crate::rng::Rng;

/// Seeds that draws of codes start from, so that they differ from those of the graph.
const SEED: u64 = 0x0c0d_e5ee_d000_0002;
/// Rows that ranges of values are taken from.
const SAMPLE: usize = 32_768;
/// Least rows that codewords are learnt from, where there are as many.
const LEAST_SAMPLE: usize = 4096;
/// Rows that one task writes, and tasks between two looks at the cancel flag.
const TASK_ROWS: usize = 512;
const TASKS: usize = 32;

/// Stored rows, as 32-bit floats.
pub(crate) trait RowSource: Sync {
    /// Floats of a row.
    fn dim(&self) -> usize;
    /// Number of rows.
    fn len(&self) -> usize;
    /// Replaces `out` by the row.
    fn read(&self, row: u32, out: &mut Vec<f32>);
}

impl RowCodes {
    /// Writes the rows given by number. Runs on the current thread pool.
    pub(crate) fn build(
        code: GraphCode,
        metric: Metric,
        source: &impl RowSource,
        members: &[u32],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (code, seed) = (code.used(members.len()), seed ^ SEED);
        let mut prepare = Preparation {
            metric,
            mean: Vec::new(),
        };
        let mut sample = prepare.sample(source, members, sample_rows(code), seed);
        prepare.centre(source.dim(), &mut sample);
        let quantizer = train(code, source.dim(), sample, seed, progress)?;
        let mut codes = Self {
            metric,
            dim: source.dim(),
            quantizer,
            mean: Array::Owned(Vec::new()),
            records: Array::Owned(Vec::new()),
            floats: Array::Owned(Vec::new()),
        };
        match codes.quantizer {
            RowQuantizer::Half => codes.floats = floats(source, &prepare, members, half, progress)?,
            RowQuantizer::BFloat16 => codes.floats = floats(source, &prepare, members, bfloat16, progress)?,
            RowQuantizer::Levels(_) | RowQuantizer::Words(_) => {
                codes.records = codes.write_records(source, &prepare, members, progress)?;
            }
        }
        codes.mean = Array::Owned(prepare.mean);
        huge_pages::collapse(&codes.records);
        huge_pages::collapse(&codes.floats);
        Ok(codes)
    }

    fn write_records(
        &self,
        source: &impl RowSource,
        prepare: &Preparation,
        members: &[u32],
        progress: &dyn Progress,
    ) -> Result<Array<u8>, BuildError> {
        let stride = self.records().stride;
        write_rows(source, prepare, members, stride, progress, || {
            let (mut code, mut decoded) = (Vec::new(), Vec::new());
            move |row: &[f32], out: &mut Vec<u8>| {
                self.encode(row, &mut code, &mut decoded);
                if head_of(self.metric) > 0 {
                    let square: f64 = decoded
                        .iter()
                        .map(|&value| f64::from(value) * f64::from(value))
                        .sum();
                    out.extend_from_slice(&(square as f32).to_le_bytes());
                }
                match &self.quantizer {
                    RowQuantizer::Levels(quantizer) => levels_of(quantizer, self.dim).append(&code, out),
                    RowQuantizer::Words(stages) => words_of(stages).append(&code, out),
                    RowQuantizer::Half | RowQuantizer::BFloat16 => {}
                }
            }
        })
    }

    /// The numbers of a row, and the vector that they stand for.
    fn encode(&self, row: &[f32], code: &mut Vec<u8>, decoded: &mut Vec<f32>) {
        match &self.quantizer {
            RowQuantizer::Levels(quantizer) => {
                quantizer.encode(row, code);
                quantizer.decode(code, decoded);
            }
            RowQuantizer::Words(stages) => encode_words(stages, row, code, decoded),
            RowQuantizer::Half | RowQuantizer::BFloat16 => {}
        }
    }
}

/// The codewords of a row, stage after stage: each is the nearest to what those before it leave.
fn encode_words(stages: &[ProductQuantizer], row: &[f32], code: &mut Vec<u8>, decoded: &mut Vec<f32>) {
    let (mut rest, mut of_stage, mut word) = (row.to_vec(), Vec::new(), Vec::new());
    code.clear();
    decoded.clear();
    decoded.resize(row.len(), 0.0);
    for stage in stages {
        stage.encode(&rest, &mut of_stage);
        stage.decode(&of_stage, &mut word);
        for ((rest, sum), &value) in rest.iter_mut().zip(decoded.iter_mut()).zip(&word) {
            *rest -= value;
            *sum += value;
        }
        code.extend_from_slice(&of_stage);
    }
}

/// Rows to learn a code from.
fn sample_rows(code: GraphCode) -> usize {
    match code.words() {
        Some((_, _, bits)) => product::sample_rows(bits).max(LEAST_SAMPLE),
        None => SAMPLE,
    }
}

/// Learns from rows of `dim` floats in random order.
fn train(
    code: GraphCode,
    dim: usize,
    mut sample: Vec<f32>,
    seed: u64,
    progress: &dyn Progress,
) -> Result<RowQuantizer, BuildError> {
    let (parts, stages, bits) = match code {
        GraphCode::Scalar(format) => return Ok(train_scalar(format, dim, &sample)),
        GraphCode::Product { m, nbits } => (m as usize, 1, nbits),
        GraphCode::Residual { m, nrq, nbits } => (m as usize, nrq as u64, nbits),
    };
    let mut trained = Vec::new();
    for stage in 0..stages {
        let quantizer =
            ProductQuantizer::train(dim, parts, bits, &sample, seed.wrapping_add(stage), progress)?;
        if stage + 1 < stages {
            sample.par_chunks_exact_mut(dim.max(1)).for_each(|row| {
                let (mut code, mut word) = (Vec::new(), Vec::new());
                quantizer.encode(row, &mut code);
                quantizer.decode(&code, &mut word);
                row.iter_mut().zip(&word).for_each(|(rest, value)| *rest -= value);
            });
        }
        trained.push(quantizer);
    }
    Ok(RowQuantizer::Words(trained))
}

fn train_scalar(format: ScalarFormat, dim: usize, sample: &[f32]) -> RowQuantizer {
    match format {
        ScalarFormat::Fp16 => RowQuantizer::Half,
        ScalarFormat::Bf16 => RowQuantizer::BFloat16,
        ScalarFormat::Sq4u => RowQuantizer::Levels(ScalarQuantizer::train(4, dim, sample).uniform()),
        ScalarFormat::Sq6 => RowQuantizer::Levels(ScalarQuantizer::train(6, dim, sample)),
        ScalarFormat::Sq8 => RowQuantizer::Levels(ScalarQuantizer::train(8, dim, sample)),
    }
}

/// What is done to rows before they are written.
struct Preparation {
    metric: Metric,
    mean: Vec<f32>,
}

impl Preparation {
    fn read(&self, source: &impl RowSource, row: u32, out: &mut Vec<f32>) {
        source.read(row, out);
        match self.metric {
            Metric::L2 => out
                .iter_mut()
                .zip(&self.mean)
                .for_each(|(value, mean)| *value -= mean),
            Metric::Ip => {}
            Metric::Cosine => normalize(out),
        }
    }

    /// At most `count` rows in random order.
    fn sample(&self, source: &impl RowSource, members: &[u32], count: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed);
        let count = count.min(members.len());
        let mut members = members.to_vec();
        for place in 0..count {
            let other = place + rng.below(members.len() - place);
            members.swap(place, other);
        }
        members.truncate(count);
        let mut sample = Vec::with_capacity(count * source.dim());
        let mut row = Vec::new();
        for number in members {
            self.read(source, number, &mut row);
            sample.extend_from_slice(&row);
        }
        sample
    }

    /// Takes the mean of the sample from it, and from every row that is read later.
    fn centre(&mut self, dim: usize, sample: &mut [f32]) {
        if self.metric != Metric::L2 {
            return;
        }
        let mut sums = vec![0.0f64; dim];
        for row in sample.chunks_exact(dim.max(1)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let count = (sample.len() / dim.max(1)).max(1) as f64;
        self.mean = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        for row in sample.chunks_exact_mut(dim.max(1)) {
            row.iter_mut()
                .zip(&self.mean)
                .for_each(|(value, mean)| *value -= mean);
        }
    }
}

/// Gives a vector unit length; the zero vector stays.
pub(crate) fn normalize(vector: &mut [f32]) {
    let square: f64 = vector
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum();
    let inverse = inverse_norm(square as f32);
    vector.iter_mut().for_each(|value| *value *= inverse);
}

/// Rows of 16-bit floats.
fn floats(
    source: &impl RowSource,
    prepare: &Preparation,
    members: &[u32],
    round: fn(f32) -> u16,
    progress: &dyn Progress,
) -> Result<Array<u16>, BuildError> {
    write_rows(source, prepare, members, source.dim(), progress, || {
        move |row: &[f32], out: &mut Vec<u16>| out.extend(row.iter().map(|&value| round(value)))
    })
}

/// `width` numbers for every row, as `writer` appends them; zeros for rows that are not given.
fn write_rows<T: Number + Default, W: FnMut(&[f32], &mut Vec<T>)>(
    source: &impl RowSource,
    prepare: &Preparation,
    members: &[u32],
    width: usize,
    progress: &dyn Progress,
    writer: impl Fn() -> W + Sync,
) -> Result<Array<T>, BuildError> {
    let mut all = vec![T::default(); source.len() * width];
    for slab in members.chunks(TASK_ROWS * TASKS) {
        if progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let written: Vec<Vec<T>> = slab
            .par_chunks(TASK_ROWS)
            .map(|rows| {
                let (mut write, mut row) = (writer(), Vec::new());
                let mut out = Vec::with_capacity(rows.len() * width);
                for &number in rows {
                    prepare.read(source, number, &mut row);
                    write(&row, &mut out);
                }
                out
            })
            .collect();
        for (rows, written) in slab.chunks(TASK_ROWS).zip(written) {
            for (&row, record) in rows.iter().zip(written.chunks_exact(width.max(1))) {
                let start = row as usize * width;
                if let Some(slots) = all.get_mut(start..start + width) {
                    slots.copy_from_slice(record);
                }
            }
        }
    }
    Ok(Array::Owned(all))
}

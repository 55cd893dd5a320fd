//! A query against the codes: distances by estimate, as a graph asks for them.

use super::records::{Line, Records, gather_rows};
use super::train::normalize;
use super::{Levels, RowCodes, RowQuantizer, Words, levels_of, words_of};
use crate::codes::level::Level;
use crate::codes::product::ProductQuantizer;
use crate::codes::wide::WideQuery;
use crate::hnsw::Distances;
use crate::kernels::narrow::{self, BFloat16, Half, Single};
use crate::kernels::prefetch;
use crate::metric::{Metric, ip_distance};

/// Distances of one query to rows, estimated by their codes. One that no number holds is infinite.
#[derive(Debug)]
pub(crate) enum CodeScorer<'a> {
    /// Weights of the dimensions.
    Levels {
        levels: Levels,
        records: Records<'a>,
        weights: Vec<i8>,
        line: Line,
    },
    /// Tables of the places.
    Words {
        words: Words,
        records: Records<'a>,
        tables: Vec<f32>,
        line: Line,
    },
    /// The query for each stage, where numbers take more than a byte.
    Wide {
        stages: Vec<(&'a ProductQuantizer, WideQuery)>,
        records: Records<'a>,
        line: Line,
    },
    /// The query as it is compared with floats of 16 bits.
    Floats { codes: &'a RowCodes, query: Vec<f32> },
}

impl RowCodes {
    /// Scores `query`, which has the dimension of the rows.
    pub(crate) fn scorer(&self, mut query: Vec<f32>) -> CodeScorer<'_> {
        match self.metric {
            Metric::L2 => query
                .iter_mut()
                .zip(self.mean.iter())
                .for_each(|(value, mean)| *value -= mean),
            Metric::Ip => {}
            Metric::Cosine => normalize(&mut query),
        }
        let (add, times) = match self.metric {
            Metric::L2 => {
                let square: f64 = query
                    .iter()
                    .map(|&value| f64::from(value) * f64::from(value))
                    .sum();
                (square as f32, -2.0)
            }
            Metric::Ip | Metric::Cosine => (0.0, -1.0),
        };
        let records = self.records();
        match &self.quantizer {
            RowQuantizer::Levels(quantizer) => {
                let levels = levels_of(quantizer, self.dim);
                let (mut weights, scale, bias) = quantizer.weights(&query);
                levels.pad(&mut weights);
                CodeScorer::Levels {
                    levels,
                    records,
                    weights,
                    line: Line {
                        add: add + times * bias,
                        mul: times * scale,
                    },
                }
            }
            RowQuantizer::Words(stages) => {
                let words = words_of(stages);
                if words.is_wide() {
                    let wide = |stage| Some((stage, WideQuery::new(stage, &query)?));
                    return CodeScorer::Wide {
                        stages: stages.iter().filter_map(wide).collect(),
                        records,
                        line: Line { add, mul: times },
                    };
                }
                let mut tables = vec![0.0; words.places * words.entries()];
                let mut rest = tables.as_mut_slice();
                for stage in stages {
                    let (own, later) = rest.split_at_mut((stage.parts() * words.entries()).min(rest.len()));
                    stage.tables(&query, words.entries(), own);
                    rest = later;
                }
                CodeScorer::Words {
                    words,
                    records,
                    tables,
                    line: Line { add, mul: times },
                }
            }
            RowQuantizer::Half | RowQuantizer::BFloat16 => CodeScorer::Floats { codes: self, query },
        }
    }

    /// Distances to rows of 16-bit floats.
    fn gather_floats(&self, query: &[f32], rows: &[u32], out: &mut [f32]) {
        let (is_l2, is_half) = (
            self.metric == Metric::L2,
            matches!(self.quantizer, RowQuantizer::Half),
        );
        match (is_l2, is_half) {
            (true, true) => narrow::l2_gather::<Single, Half>(query, &self.floats, rows, out),
            (true, false) => narrow::l2_gather::<Single, BFloat16>(query, &self.floats, rows, out),
            (false, true) => narrow::dot_gather::<Single, Half>(query, &self.floats, rows, out),
            (false, false) => narrow::dot_gather::<Single, BFloat16>(query, &self.floats, rows, out),
        }
        for (slot, &row) in out.iter_mut().zip(rows) {
            let there = (row as usize) < self.floats.len() / self.dim.max(1);
            *slot = match (there, is_l2) {
                (true, false) => ip_distance(*slot),
                (true, true) if !slot.is_nan() => *slot,
                _ => f32::INFINITY,
            };
        }
    }
}

impl Distances for CodeScorer<'_> {
    fn one(&self, row: u32) -> f32 {
        let mut out = [f32::INFINITY];
        self.gather(&[row], &mut out);
        out[0]
    }

    #[inline]
    fn gather(&self, rows: &[u32], out: &mut [f32]) {
        match self {
            Self::Levels {
                levels,
                records,
                weights,
                line,
            } => levels.gather(Level::best(), *records, weights, *line, rows, out),
            Self::Words {
                words,
                records,
                tables,
                line,
            } => words.gather(*records, tables, *line, rows, out),
            Self::Wide {
                stages,
                records,
                line,
            } => {
                let bytes = (records.code_bytes() / stages.len().max(1)).max(1);
                gather_rows(*records, *line, rows, out, |code| {
                    let stages = stages.iter().zip(code.chunks_exact(bytes));
                    stages
                        .map(|((quantizer, query), code)| query.product(quantizer, code))
                        .sum()
                });
            }
            Self::Floats { codes, query } => codes.gather_floats(query, rows, out),
        }
    }

    #[inline]
    fn ask_for(&self, row: u32) {
        match self {
            Self::Levels { records, .. } | Self::Words { records, .. } | Self::Wide { records, .. } => {
                records.prefetch(row);
            }
            Self::Floats { codes, .. } => {
                let start = row as usize * codes.dim;
                prefetch(codes.floats.get(start..start + codes.dim).unwrap_or(&[]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RowSource;
    use super::*;
    use crate::hnsw::params::{GraphCode, ScalarFormat};
    use crate::rng::Rng;
    use crate::scorer::Space;
    use crate::vectors::Vectors;

    const ROWS: usize = 600;

    /// How far estimates may be off on average, in parts of the spread of the distances.
    fn codes() -> Vec<(GraphCode, f64)> {
        let mut codes: Vec<(GraphCode, f64)> = [0.2, 0.06, 0.03, 0.01, 0.003]
            .into_iter()
            .zip(ScalarFormat::ALL)
            .map(|(off, (format, _))| (GraphCode::Scalar(format), off))
            .collect();
        codes.extend([
            (GraphCode::Product { m: 12, nbits: 8 }, 0.3),
            (GraphCode::Product { m: 24, nbits: 4 }, 0.3),
            (GraphCode::Product { m: 6, nbits: 9 }, 0.3),
            (
                GraphCode::Residual {
                    m: 6,
                    nrq: 3,
                    nbits: 8,
                },
                0.3,
            ),
            (
                GraphCode::Residual {
                    m: 3,
                    nrq: 2,
                    nbits: 9,
                },
                0.3,
            ),
        ]);
        codes
    }

    #[test]
    fn estimates_are_near_the_distances() {
        let dim = 24;
        let mut rng = Rng::new(7);
        // An offset of all rows, which no code may round.
        let data: Vec<f32> = (0..ROWS * dim).map(|_| 50.0 + rng.normal()).collect();
        let centred: Vec<f32> = data.iter().map(|value| value - 50.0).collect();
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let data = if metric == Metric::L2 { &data } else { &centred };
            let vectors = Vectors::new(data, dim).unwrap();
            let space = Space::new(metric, vectors, None);
            let members: Vec<u32> = (0..ROWS as u32).collect();
            let query: Vec<f32> = vectors.row(3).iter().map(|value| value * 1.1 - 0.01).collect();
            let exact: Vec<f32> = members.iter().map(|&row| space.scorer(&query).one(row)).collect();
            let mean = exact.iter().sum::<f32>() / ROWS as f32;
            let spread = exact.iter().map(|d| f64::from((d - mean).abs())).sum::<f64>() / ROWS as f64;
            for (code, allowed) in codes() {
                let codes = RowCodes::build(code, metric, &space, &members, 1, &()).unwrap();
                let scorer = codes.scorer(query.clone());
                let mut out = vec![0.0; ROWS];
                scorer.gather(&members, &mut out);
                let errors = out.iter().zip(&exact).map(|(a, b)| f64::from((a - b).abs()));
                let off = errors.sum::<f64>() / ROWS as f64 / spread;
                assert!(off <= allowed, "{code:?} {metric}: {off} of the spread");
                assert_eq!(scorer.one(9), out[9]);
                assert_eq!(scorer.one(ROWS as u32), f32::INFINITY, "{code:?}: no such row");
            }
        }
    }

    #[test]
    fn rows_that_are_no_members_are_not_read() {
        struct Some;
        impl RowSource for Some {
            fn dim(&self) -> usize {
                2
            }
            fn len(&self) -> usize {
                10
            }
            fn read(&self, row: u32, out: &mut Vec<f32>) {
                assert_eq!(row % 2, 0);
                *out = vec![row as f32, 1.0];
            }
        }
        for (code, _) in codes().into_iter().take(5) {
            let codes = RowCodes::build(code, Metric::L2, &Some, &[0, 2, 4], 1, &()).unwrap();
            assert!(codes.scorer(vec![2.0, 1.0]).one(2) < 0.5);
        }
    }
}

//! Fusion: the hits of several searches over the same rows become one list.
//!
//! ```text
//!   dense   a b c        RRF, k = 60:   b  1/62 + 1/61
//!   sparse  b d                         a  1/61
//!                                       d  1/62 ..
//! ```
//!
//! Pure functions of hits; `operators::fuse` and the hybrid request call them. A fused hit carries its place in the new order
//! as its distance (smaller is better, as everywhere in the engine); [`Scoring`] turns it back into the score.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::fmt;

use elanus_index::{AnyMetric, BitMetric, Metric};

use crate::error::{QueryError, Result};
use crate::search::Hit;

/// Upper end, not included, of the constant of reciprocal rank fusion.
const MAX_RRF_K: f32 = 16_384.0;

/// How hits of several searches become one list.
#[derive(Debug, Clone, PartialEq)]
pub enum Fusion {
    /// Reciprocal rank fusion (Cormack et al., 2009): `sum of w / (k + rank)`, ranks from 1.
    Rrf {
        /// Above 0 and below 16,384; the larger, the less the first ranks matter.
        k: f32,
        /// Weight of each search in `[0, 1]`; all 1 when there are none.
        weights: Option<Vec<f32>>,
    },
    /// `sum of w * score`.
    Weighted {
        /// Weight of each search, in `[0, 1]`.
        weights: Vec<f32>,
        /// Whether scores are brought to `[0, 1]` before. If not, scores of searches that agree about whether larger is
        /// better are added as they are; where they do not agree, distances become similarities.
        normalize: bool,
    },
    /// One score out of those that a row has.
    Combined {
        /// Which one.
        mode: ScoreMode,
        /// As in [`Fusion::Weighted`]; distances always become similarities.
        normalize: bool,
    },
}

impl fmt::Display for Fusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rrf { k, weights: None } => write!(f, "rrf(k={k})"),
            Self::Rrf {
                k,
                weights: Some(weights),
            } => write!(f, "rrf(k={k}, weights={weights:?})"),
            Self::Weighted { weights, normalize } => {
                write!(f, "weighted(weights={weights:?}, normalize={normalize})")
            }
            Self::Combined { mode, normalize } => write!(f, "{mode}(normalize={normalize})"),
        }
    }
}

/// One score out of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreMode {
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
}

impl fmt::Display for ScoreMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Avg => "avg",
        })
    }
}

/// How the distance of a hit is shown as a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scoring {
    /// As a metric shows it.
    Metric(AnyMetric),
    /// The distance negated: a score of which more is better.
    Larger,
    /// The distance itself: a score of which less is better.
    Smaller,
}

impl Scoring {
    /// The score of a distance; also the distance of a score.
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Metric(metric) => metric.score(distance),
            // Not `-d`: a score of zero is never shown as `-0`.
            Self::Larger => 0.0 - distance,
            Self::Smaller => distance,
        }
    }

    /// Whether a larger score is better.
    pub fn larger_is_better(self) -> bool {
        match self {
            Self::Metric(metric) => metric.larger_is_better(),
            Self::Larger => true,
            Self::Smaller => false,
        }
    }
}

/// A score as one of which larger is better, in `[0, 1]` when it is to be `normalized` (Milvus' formulas).
pub(crate) fn similarity(metric: AnyMetric, score: f32, normalized: bool) -> f64 {
    let given = score;
    let score = f64::from(score);
    match metric {
        AnyMetric::Numbers(Metric::L2) | AnyMetric::Bits(BitMetric::Hamming | BitMetric::Jaccard) => {
            1.0 - 2.0 * score.atan() / PI
        }
        AnyMetric::Numbers(Metric::Ip | Metric::Cosine) | AnyMetric::Bm25 if !normalized => score,
        AnyMetric::Bm25 => 2.0 * score.atan() / PI,
        // It lies between 0 and 1.
        AnyMetric::Bits(BitMetric::MinHash(_)) => score,
        AnyMetric::Numbers(Metric::Cosine) => (1.0 + score) * 0.5,
        AnyMetric::Numbers(Metric::Ip) => 0.5 + score.atan() / PI,
        // A sum of similarities has no largest one, as an inner product has none.
        AnyMetric::MaxSim(of) if of.of_vectors().larger_is_better() => {
            similarity(Metric::Ip.into(), given, normalized)
        }
        AnyMetric::MaxSim(of) => similarity(of.of_vectors(), given, normalized),
    }
}

impl Fusion {
    /// # Errors
    /// [`QueryError::InvalidParameter`] for a parameter out of range, or not one weight for each of `arms` searches.
    pub(crate) fn check(&self, arms: usize) -> Result<()> {
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        let weights = match self {
            Self::Rrf { k, weights } => {
                if !(*k > 0.0 && *k < MAX_RRF_K) {
                    return invalid(format!(
                        "the rank params k should be in range (0, {MAX_RRF_K}), got {k}"
                    ));
                }
                weights.as_deref()
            }
            Self::Weighted { weights, .. } => Some(weights.as_slice()),
            Self::Combined { .. } => None,
        };
        let Some(weights) = weights else { return Ok(()) };
        if weights.len() != arms {
            return invalid(format!(
                "the length of weights param mismatch with ann search requests: invalid parameter[expected={arms}][actual={}]",
                weights.len()
            ));
        }
        match weights.iter().find(|weight| !(0.0..=1.0).contains(*weight)) {
            Some(weight) => invalid(format!(
                "rank param weight should be in range [0, 1], got {weight}"
            )),
            None => Ok(()),
        }
    }

    /// What the distances of fused hits mean, for searches with these metrics.
    pub(crate) fn scoring(&self, metrics: &[AnyMetric]) -> Scoring {
        match self {
            Self::Weighted { normalize: false, .. }
                if !metrics.iter().any(|metric| metric.larger_is_better()) =>
            {
                Scoring::Smaller
            }
            Self::Rrf { .. } | Self::Weighted { .. } | Self::Combined { .. } => Scoring::Larger,
        }
    }

    /// One list, best first, of the hits that several searches have for one query; equal scores are in no order.
    /// `arms` are the hits of each search, best first, `metrics` their metrics.
    pub(crate) fn fuse(&self, metrics: &[AnyMetric], arms: &[&[Hit]]) -> Vec<Hit> {
        let smaller = metrics.iter().any(|metric| !metric.larger_is_better());
        let mixed = smaller && metrics.iter().any(|metric| metric.larger_is_better());
        let mut fused: HashMap<(u32, u32, Option<u32>), Score> = HashMap::new();
        for (arm, (hits, metric)) in arms.iter().zip(metrics).enumerate() {
            for (hit, rank) in hits.iter().zip(1_u32..) {
                let score = metric.score(hit.distance.unwrap_or(f32::NAN));
                let part = match self {
                    Self::Rrf { k, weights } => {
                        let weight = weights.as_ref().map_or(1.0, |weights| weight_of(weights, arm));
                        weight / (f64::from(*k) + f64::from(rank))
                    }
                    Self::Weighted { weights, normalize } => {
                        let score = if *normalize || mixed {
                            similarity(*metric, score, *normalize)
                        } else {
                            f64::from(score)
                        };
                        weight_of(weights, arm) * score
                    }
                    Self::Combined { normalize, .. } => similarity(*metric, score, *normalize),
                };
                fused
                    .entry((hit.unit, hit.row, hit.element))
                    .or_default()
                    .add(part);
            }
        }
        let scoring = self.scoring(metrics);
        let mut hits: Vec<Hit> = fused
            .into_iter()
            .map(|((unit, row, element), score)| {
                #[expect(clippy::cast_possible_truncation, reason = "a score is a float")]
                let value = match self {
                    Self::Rrf { .. } | Self::Weighted { .. } => score.sum,
                    Self::Combined { mode, .. } => score.by(*mode),
                } as f32;
                let distance = Some(scoring.score(value));
                Hit {
                    unit,
                    row,
                    element,
                    distance,
                }
            })
            .collect();
        hits.sort_unstable_by(Hit::total);
        hits
    }
}

fn weight_of(weights: &[f32], arm: usize) -> f64 {
    weights.get(arm).copied().map_or(0.0, f64::from)
}

/// The scores of one row, added up.
#[derive(Debug, Default)]
struct Score {
    sum: f64,
    largest: f64,
    count: u32,
}

impl Score {
    fn add(&mut self, score: f64) {
        self.sum += score;
        self.largest = if self.count == 0 {
            score
        } else {
            self.largest.max(score)
        };
        self.count += 1;
    }

    fn by(&self, mode: ScoreMode) -> f64 {
        match mode {
            ScoreMode::Max => self.largest,
            ScoreMode::Sum => self.sum,
            ScoreMode::Avg => self.sum / f64::from(self.count.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: AnyMetric = AnyMetric::Numbers(Metric::Ip);
    const L2: AnyMetric = AnyMetric::Numbers(Metric::L2);
    const COSINE: AnyMetric = AnyMetric::Numbers(Metric::Cosine);

    /// Hits with these scores of `metric`, in rows of the first unit.
    fn hits(metric: AnyMetric, scores: &[(u32, f32)]) -> Vec<Hit> {
        let hit = |(row, score): &(u32, f32)| Hit {
            unit: 0,
            row: *row,
            element: None,
            distance: Some(metric.score(*score)),
        };
        scores.iter().map(hit).collect()
    }

    fn fused(fusion: &Fusion, arms: &[(AnyMetric, &[(u32, f32)])]) -> Vec<(u32, f32)> {
        let metrics: Vec<AnyMetric> = arms.iter().map(|(metric, _)| *metric).collect();
        let lists: Vec<Vec<Hit>> = arms
            .iter()
            .map(|(metric, scores)| hits(*metric, scores))
            .collect();
        let lists: Vec<&[Hit]> = lists.iter().map(Vec::as_slice).collect();
        fusion.check(arms.len()).unwrap();
        let scoring = fusion.scoring(&metrics);
        fusion
            .fuse(&metrics, &lists)
            .into_iter()
            .map(|hit| (hit.row, scoring.score(hit.distance.unwrap())))
            .collect()
    }

    fn near(found: &[(u32, f32)], expected: &[(u32, f64)]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((row, score), (expected_row, expected_score)) in found.iter().zip(expected) {
            assert_eq!(row, expected_row, "{found:?}");
            assert!(
                (f64::from(*score) - expected_score).abs() < 1e-6,
                "{found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn ranks_count_and_scores_do_not() {
        let arms: [(AnyMetric, &[(u32, f32)]); 2] = [
            (L2, &[(1, 0.5), (2, 7.0), (3, 8.0)]),
            (IP, &[(2, 100.0), (4, 1.0)]),
        ];
        let rrf = Fusion::Rrf {
            k: 60.0,
            weights: None,
        };
        let expected = [
            (2, 1.0 / 62.0 + 1.0 / 61.0),
            (1, 1.0 / 61.0),
            (4, 1.0 / 62.0),
            (3, 1.0 / 63.0),
        ];
        near(&fused(&rrf, &arms), &expected);
        let weighted = Fusion::Rrf {
            k: 1.0,
            weights: Some(vec![1.0, 0.0]),
        };
        near(
            &fused(&weighted, &arms),
            &[(1, 0.5), (2, 1.0 / 3.0), (3, 0.25), (4, 0.0)],
        );
    }

    #[test]
    fn raw_scores_of_one_direction_are_added() {
        let weighted = |weights: &[f32]| Fusion::Weighted {
            weights: weights.to_vec(),
            normalize: false,
        };
        // Distances stay distances: less is better.
        let found = fused(
            &weighted(&[0.5, 1.0]),
            &[(L2, &[(1, 4.0), (2, 6.0)]), (L2, &[(2, 1.0), (3, 0.5)])],
        );
        near(&found, &[(3, 0.5), (1, 2.0), (2, 4.0)]);
        let found = fused(
            &weighted(&[0.5, 1.0]),
            &[(IP, &[(1, 4.0), (2, 2.0)]), (COSINE, &[(2, 0.5)])],
        );
        near(&found, &[(1, 2.0), (2, 1.5)]);
    }

    #[test]
    fn distances_beside_similarities_become_similarities() {
        let weighted = Fusion::Weighted {
            weights: vec![1.0, 1.0],
            normalize: false,
        };
        let found = fused(&weighted, &[(L2, &[(1, 1.0)]), (IP, &[(1, 3.0), (2, 3.1)])]);
        near(&found, &[(1, 3.5), (2, f64::from(3.1_f32))]);
    }

    #[test]
    fn normalized_scores_follow_their_metric() {
        let weighted = Fusion::Weighted {
            weights: vec![1.0, 0.5, 0.25],
            normalize: true,
        };
        let found = fused(
            &weighted,
            &[(COSINE, &[(1, 0.5)]), (IP, &[(1, 2.0)]), (L2, &[(1, 3.0)])],
        );
        let expected = 0.75 + 0.5 * (0.5 + 2.0_f64.atan() / PI) + 0.25 * (1.0 - 2.0 * 3.0_f64.atan() / PI);
        near(&found, &[(1, expected)]);
    }

    #[test]
    fn one_score_out_of_several() {
        let arms: [(AnyMetric, &[(u32, f32)]); 2] = [(IP, &[(1, 4.0), (2, 3.0)]), (IP, &[(1, 1.0)])];
        let combined = |mode| Fusion::Combined {
            mode,
            normalize: false,
        };
        near(&fused(&combined(ScoreMode::Max), &arms), &[(1, 4.0), (2, 3.0)]);
        near(&fused(&combined(ScoreMode::Sum), &arms), &[(1, 5.0), (2, 3.0)]);
        near(&fused(&combined(ScoreMode::Avg), &arms), &[(2, 3.0), (1, 2.5)]);
    }

    #[test]
    fn parameters_are_checked() {
        let reason = |fusion: Fusion| fusion.check(2).unwrap_err().to_string();
        let rrf = |k| Fusion::Rrf { k, weights: None };
        for k in [0.0, -1.0, 16_384.0, f32::NAN] {
            assert!(reason(rrf(k)).contains("should be in range (0, 16384)"));
        }
        let weighted = |weights: &[f32]| Fusion::Weighted {
            weights: weights.to_vec(),
            normalize: true,
        };
        assert!(reason(weighted(&[1.0])).contains("[expected=2][actual=1]"));
        assert!(reason(weighted(&[1.0, 1.5])).contains("should be in range [0, 1], got 1.5"));
        assert!(reason(weighted(&[1.0, f32::NAN])).contains("got NaN"));
    }
}

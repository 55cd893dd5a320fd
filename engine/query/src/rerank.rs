//! Reranking: new scores for the hits of a search, out of columns of their rows.
//!
//! ```text
//!   hits, best first -> columns of these rows -> factor of each row -> new scores -> best first again
//! ```
//!
//! A reranker sees the hits that a search has found (its limit and offset together), and no others: it changes their order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use datafusion::error::DataFusionError;
use elanus_collection::{CollectionSchema, DataType, Unit};

use crate::chain::Chain;
use crate::error::{QueryError, Result};
use crate::fusion::{Scoring, similarity};
use crate::plugins::{PluginRerank, ReadyPlugin, Searched};
use crate::predicate::Predicate;
use crate::request::FilterText;
use crate::search::{Hit, order_equals, take_rows};

/// How hits get new scores.
#[derive(Debug, Clone)]
pub enum Rerank {
    /// Scores fade with the distance of a column's value from a wanted one.
    Decay(Decay),
    /// Scores of rows that pass filters are raised or lowered.
    Boost(Boost),
    /// Steps that compute scores and say in which order the hits come, and how many; one chain on what another leaves.
    Chains(Vec<Chain>),
    /// A plugin of a user says in which order the hits come.
    Plugin(PluginRerank),
}

impl Rerank {
    /// How many hits it is to see when `wanted` are wanted.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] when it cannot see as many.
    pub(crate) fn candidates(&self, wanted: usize) -> Result<usize> {
        match self {
            Self::Plugin(plugin) => plugin.candidates_for(wanted),
            Self::Decay(_) | Self::Boost(_) | Self::Chains(_) => Ok(wanted),
        }
    }
}

/// The shape of a [`Decay`], for a value `d` beyond the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecayCurve {
    /// `exp(d^2 ln(decay) / scale^2)`.
    Gauss,
    /// `exp(d ln(decay) / scale)`.
    Exp,
    /// `1 - d (1 - decay) / scale`, never below `decay`.
    Linear,
}

/// Multiplies scores by a factor in `[0, 1]`: 1 where the value is at most `offset` away from `origin`, `decay` where it is
/// `scale` further away, 0 where it is NULL. Distances become similarities before.
#[derive(Debug, Clone, PartialEq)]
pub struct Decay {
    /// The curve.
    pub curve: DecayCurve,
    /// Numeric column.
    pub field: String,
    /// The wanted value.
    pub origin: f64,
    /// Above 0.
    pub scale: f64,
    /// At least 0.
    pub offset: f64,
    /// The factor at `scale`, in `[0.001, 0.999]`.
    pub decay: f64,
    /// Whether scores are brought to `[0, 1]` before.
    pub normalize: bool,
}

/// How several numbers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Their product.
    Multiply,
    /// Their sum.
    Sum,
}

impl Combine {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Multiply => a * b,
            Self::Sum => a + b,
        }
    }
}

/// Changes the scores of rows by the boosts whose filter they pass.
#[derive(Debug, Clone)]
pub struct Boost {
    /// The boosts.
    pub boosts: Vec<BoostBy>,
    /// How the boosts of a row become one.
    pub of_boosts: Combine,
    /// How that changes the score.
    pub with_score: Combine,
}

/// One boost.
#[derive(Debug, Clone)]
pub struct BoostBy {
    /// Rows that it is for; `None`: every row.
    pub filter: Option<FilterText>,
    /// The boost.
    pub weight: f64,
    /// Whether the boost is multiplied by a random number.
    pub random: Option<RandomScore>,
}

/// A random number in `[0, 1)` for each row, the same for the same seed and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomScore {
    /// Other seeds give other numbers.
    pub seed: i64,
    /// Integer column whose values the numbers are drawn by; `None`: the primary key.
    pub field: Option<String>,
}

impl Decay {
    /// # Errors
    /// [`QueryError::InvalidParameter`] for a number out of range.
    pub(crate) fn check_numbers(&self) -> Result<()> {
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        let Self {
            origin,
            scale,
            offset,
            decay,
            ..
        } = self;
        if !origin.is_finite() {
            return invalid(format!(
                "decay function param origin must be a finite number, got {origin}"
            ));
        }
        if !(*scale > 0.0 && scale.is_finite()) {
            return invalid(format!(
                "decay function param scale must be greater than 0, got {scale}"
            ));
        }
        if !(*offset >= 0.0 && offset.is_finite()) {
            return invalid(format!(
                "decay function param offset must be 0 or greater, got {offset}"
            ));
        }
        if !(0.001..=0.999).contains(decay) {
            return invalid(format!(
                "decay function param decay must be in range [0.001, 0.999], got {decay}"
            ));
        }
        Ok(())
    }

    fn check(&self, schema: &CollectionSchema) -> Result<()> {
        self.check_numbers()?;
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        let field = &self.field;
        let known = schema.field(field);
        let Some(known) = known else {
            return invalid(format!("decay function input field '{field}' not found"));
        };
        match known.data_type {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::TimestampTz => Ok(()),
            _ => invalid(format!(
                "decay function input field '{field}' is {}, it must be a number or TIMESTAMPTZ",
                known.data_type.name()
            )),
        }
    }

    /// The factor of a value.
    pub fn factor(&self, value: f64) -> f64 {
        let beyond = ((value - self.origin).abs() - self.offset).max(0.0);
        let share = beyond / self.scale;
        match self.curve {
            DecayCurve::Gauss => (share * share * self.decay.ln()).exp(),
            DecayCurve::Exp => (share * self.decay.ln()).exp(),
            DecayCurve::Linear => (1.0 - share * (1.0 - self.decay)).max(self.decay),
        }
    }
}

/// A [`Rerank`] made ready for one collection.
#[derive(Debug, Clone)]
pub(crate) enum Reranker {
    Decay(Decay),
    Boost {
        boosts: Vec<ReadyBoost>,
        of_boosts: Combine,
        with_score: Combine,
    },
    Chains(Vec<Chain>),
    Plugin(Box<ReadyPlugin>),
}

/// A [`BoostBy`] with its filter compiled.
#[derive(Debug, Clone)]
pub(crate) struct ReadyBoost {
    predicates: Vec<Arc<Predicate>>,
    weight: f64,
    random: Option<(i64, String)>,
}

impl Reranker {
    /// Checks `rerank`, for a search with `nq` queries of what is `searched`, and compiles its filters with `compile`.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for values out of range and columns of another kind, and what `compile` says.
    pub fn new(
        rerank: &Rerank,
        schema: &CollectionSchema,
        nq: usize,
        searched: impl FnOnce() -> Searched,
        compile: impl Fn(&FilterText) -> Result<Vec<Arc<Predicate>>>,
    ) -> Result<Self> {
        let boost = match rerank {
            Rerank::Decay(decay) => {
                decay.check(schema)?;
                return Ok(Self::Decay(decay.clone()));
            }
            Rerank::Chains(chains) => {
                chains.iter().try_for_each(|chain| chain.check(schema, nq))?;
                return Ok(Self::Chains(chains.clone()));
            }
            Rerank::Plugin(plugin) => {
                let ready = ReadyPlugin::new(plugin, schema, nq, searched())?;
                return Ok(Self::Plugin(Box::new(ready)));
            }
            Rerank::Boost(boost) => boost,
        };
        let ready = |by: &BoostBy| {
            if !by.weight.is_finite() {
                return Err(QueryError::InvalidParameter(format!(
                    "boost weight must be a finite number, got {}",
                    by.weight
                )));
            }
            Ok(ReadyBoost {
                predicates: by.filter.as_ref().map(&compile).transpose()?.unwrap_or_default(),
                weight: by.weight,
                random: by
                    .random
                    .as_ref()
                    .map(|random| random_column(random, schema))
                    .transpose()?,
            })
        };
        Ok(Self::Boost {
            boosts: boost.boosts.iter().map(ready).collect::<Result<_>>()?,
            of_boosts: boost.of_boosts,
            with_score: boost.with_score,
        })
    }

    /// What the distances of reranked hits mean, when those before meant `before`.
    pub fn scoring(&self, before: Scoring) -> Scoring {
        match self {
            Self::Decay(_) | Self::Plugin(_) => Scoring::Larger,
            Self::Chains(chains) => chains.iter().fold(before, |before, chain| chain.scoring(before)),
            Self::Boost { .. } => before,
        }
    }

    /// Whether its hits come best first; if not, they come in the order that they are to have.
    pub fn sorts_by_score(&self) -> bool {
        match self {
            Self::Decay(_) | Self::Boost { .. } => true,
            Self::Chains(chains) => chains.iter().all(|chain| chain.best_first),
            Self::Plugin(_) => false,
        }
    }

    /// The name, for plans.
    pub fn name(&self) -> String {
        match self {
            Self::Decay(decay) => format!("{:?}({})", decay.curve, decay.field).to_lowercase(),
            Self::Boost { boosts, .. } => format!("boost({})", boosts.len()),
            Self::Chains(chains) => chains.iter().map(Chain::name).collect::<Vec<_>>().join(", "),
            Self::Plugin(plugin) => plugin.name(),
        }
    }

    /// The hits of the query with number `query` with new distances, in the order that they are to have, equal ones by
    /// the primary key `key`. `before` is what their distances meant.
    pub async fn rerank(
        &self,
        units: &[Arc<Unit>],
        key: &str,
        before: Scoring,
        query: usize,
        mut hits: Vec<Hit>,
    ) -> Result<Vec<Hit>, DataFusionError> {
        if hits.is_empty() {
            return Ok(hits);
        }
        let scores: Vec<f32> = hits
            .iter()
            .map(|hit| before.score(hit.distance.unwrap_or(f32::NAN)))
            .collect();
        let changed = match self {
            Self::Decay(decay) => decayed(decay, units, before, &hits, &scores).await?,
            Self::Boost {
                boosts,
                of_boosts,
                with_score,
            } => boosted(boosts, *of_boosts, *with_score, units, &hits, &scores).await?,
            Self::Plugin(plugin) => {
                order_equals(units, key, &mut hits).await?;
                return Ok(plugin.rerank(units, key, query, hits).await?.0);
            }
            Self::Chains(chains) => {
                order_equals(units, key, &mut hits).await?;
                let mut before = before;
                for chain in chains {
                    hits = chain.run(units, key, before, query, hits).await?;
                    before = chain.scoring(before);
                }
                return Ok(hits);
            }
        };
        let after = self.scoring(before);
        for (hit, score) in hits.iter_mut().zip(changed) {
            #[expect(clippy::cast_possible_truncation, reason = "a score is a float")]
            let score = score as f32;
            hit.distance = Some(after.score(score));
        }
        hits.sort_unstable_by(Hit::total);
        order_equals(units, key, &mut hits).await?;
        Ok(hits)
    }
}

async fn decayed(
    decay: &Decay,
    units: &[Arc<Unit>],
    before: Scoring,
    hits: &[Hit],
    scores: &[f32],
) -> Result<Vec<f64>, DataFusionError> {
    let column = column(units, &decay.field, hits).await?;
    let values = numbers(&column)?;
    let scaled = |score: f32| match before {
        Scoring::Metric(metric) => similarity(metric, score, decay.normalize),
        Scoring::Larger | Scoring::Smaller => f64::from(score),
    };
    Ok((0..hits.len().min(scores.len()))
        .zip(scores)
        .map(|(row, score)| {
            let factor = if values.is_valid(row) {
                decay.factor(values.value(row))
            } else {
                0.0
            };
            scaled(*score) * factor
        })
        .collect())
}

async fn boosted(
    boosts: &[ReadyBoost],
    of_boosts: Combine,
    with_score: Combine,
    units: &[Arc<Unit>],
    hits: &[Hit],
    scores: &[f32],
) -> Result<Vec<f64>, DataFusionError> {
    let mut combined: Vec<Option<f64>> = vec![None; hits.len()];
    for boost in boosts {
        let mut passed = vec![true; hits.len()];
        for predicate in &boost.predicates {
            let batch = take_rows(units, &predicate.columns(), None, hits).await?;
            let bits = predicate.evaluate(&batch)?;
            for (passed, bit) in passed.iter_mut().zip(bits.iter()) {
                *passed &= bit;
            }
        }
        let drawn = match &boost.random {
            Some((seed, field)) => random_numbers(*seed, &column(units, field, hits).await?)?,
            None => vec![1.0; hits.len()],
        };
        for ((combined, passed), drawn) in combined.iter_mut().zip(passed).zip(drawn) {
            if passed {
                let value = boost.weight * drawn;
                *combined = Some(combined.map_or(value, |others| of_boosts.of(others, value)));
            }
        }
    }
    let changed = |(score, boost): (&f32, Option<f64>)| {
        let score = f64::from(*score);
        boost.map_or(score, |boost| with_score.of(score, boost))
    };
    Ok(scores.iter().zip(combined).map(changed).collect())
}

async fn column(units: &[Arc<Unit>], name: &str, hits: &[Hit]) -> Result<ArrayRef, DataFusionError> {
    let rows = take_rows(units, &[name], None, hits).await?;
    rows.columns()
        .first()
        .cloned()
        .ok_or_else(|| DataFusionError::Internal(format!("column '{name}' was not read")))
}

/// A column as numbers; instants as microseconds.
pub(crate) fn numbers(column: &ArrayRef) -> Result<Float64Array, DataFusionError> {
    let options = CastOptions::default();
    let integers = match column.data_type() {
        ArrowType::Timestamp(..) => cast_with_options(column, &ArrowType::Int64, &options)?,
        _ => Arc::clone(column),
    };
    let floats = cast_with_options(&integers, &ArrowType::Float64, &options)?;
    let floats = floats.as_primitive_opt().cloned();
    floats.ok_or_else(|| DataFusionError::Internal("a column of numbers was expected".into()))
}

fn random_column(random: &RandomScore, schema: &CollectionSchema) -> Result<(i64, String)> {
    let key = schema.primary_key()?;
    let Some(name) = &random.field else {
        return Ok((random.seed, key.name.clone()));
    };
    match schema.field(name).map(|field| &field.data_type) {
        Some(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            Ok((random.seed, name.clone()))
        }
        Some(DataType::VarChar { .. }) if *name == key.name => Ok((random.seed, name.clone())),
        Some(other) => Err(QueryError::InvalidParameter(format!(
            "random_score field '{name}' is {}, it must be an integer field or the primary key",
            other.name()
        ))),
        None => Err(QueryError::InvalidParameter(format!(
            "random_score field '{name}' not found"
        ))),
    }
}

/// A number in `[0, 1)` for each value, out of a hash of it and the seed (FNV-1a, then the finish of SplitMix64).
fn random_numbers(seed: i64, column: &ArrayRef) -> Result<Vec<f64>, DataFusionError> {
    let hash = |bytes: &[u8]| {
        let start = 0xcbf2_9ce4_8422_2325_u64;
        let all = seed.to_le_bytes();
        let mut mixed = all.iter().chain(bytes).fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float has")]
        let number = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        number
    };
    if let Some(texts) = column.as_string_opt::<i32>() {
        let drawn = texts.iter().map(|text| hash(text.unwrap_or_default().as_bytes()));
        return Ok(drawn.collect());
    }
    let integers = cast_with_options(column, &ArrowType::Int64, &CastOptions::default())?;
    let integers = integers.as_primitive_opt::<Int64Type>();
    let integers = integers.ok_or_else(|| DataFusionError::Internal("integers were expected".into()))?;
    Ok(integers
        .iter()
        .map(|value| hash(&value.unwrap_or_default().to_le_bytes()))
        .collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn decay(curve: DecayCurve) -> Decay {
        Decay {
            curve,
            field: "n".into(),
            origin: 10.0,
            scale: 4.0,
            offset: 1.0,
            decay: 0.25,
            normalize: false,
        }
    }

    #[test]
    fn curves_are_one_near_the_origin_and_the_decay_at_the_scale() {
        for curve in [DecayCurve::Gauss, DecayCurve::Exp, DecayCurve::Linear] {
            let decay = decay(curve);
            for value in [9.0, 10.0, 10.5, 11.0] {
                assert!((decay.factor(value) - 1.0).abs() < 1e-12, "{curve:?} at {value}");
            }
            for value in [5.0, 15.0] {
                assert!((decay.factor(value) - 0.25).abs() < 1e-12, "{curve:?} at {value}");
            }
        }
        assert!((decay(DecayCurve::Gauss).factor(13.0) - 0.25_f64.powf(0.25)).abs() < 1e-12);
        assert!((decay(DecayCurve::Exp).factor(13.0) - 0.5).abs() < 1e-12);
        assert!((decay(DecayCurve::Linear).factor(13.0) - 0.625).abs() < 1e-12);
        // the line ends at the decay, the curves go on
        assert!((decay(DecayCurve::Linear).factor(1_000.0) - 0.25).abs() < 1e-12);
        assert!(decay(DecayCurve::Exp).factor(1_000.0) < 1e-12);
    }

    #[test]
    fn random_numbers_depend_on_seed_and_value_alone() {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1_000));
        let drawn = random_numbers(7, &column).unwrap();
        assert_eq!(drawn, random_numbers(7, &column).unwrap());
        assert_ne!(drawn, random_numbers(8, &column).unwrap());
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = drawn.iter().sum::<f64>() / 1_000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
        let drawn = random_numbers(7, &texts).unwrap();
        assert!(drawn[0] == drawn[2] && drawn[0] != drawn[1]);
    }
}

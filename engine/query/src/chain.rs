//! Function chains: scores computed step by step out of columns, and an order that says itself what comes first.
//!
//! ```text
//!   hits with $score, $id and the columns that are named
//!     map    fresh  = decay(published)
//!     map    $score = num_combine($score, fresh)
//!     sort   $score descending, $id
//!     limit  10
//!   the hits that are left, in the order in which they are, with the last $score
//! ```
//!
//! Several chains run one after the other, each on the hits of the one before; the names that one writes end with it.
//!
//! Numbers are 64-bit floats on the way. NULL is unknown: what is made of it is NULL too, it sorts last, and a score that is
//! NULL in the end is 0.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use arrow::datatypes::Float64Type;
use datafusion::error::DataFusionError;
use elanus_collection::{CollectionSchema, DataType, Unit};
use elanus_services::{ServiceError, TextScorer};
use elanus_trees::Forest;

use crate::error::{QueryError, Result, did_you_mean, external};
use crate::fusion::Scoring;
use crate::rerank::{Decay, numbers};
use crate::search::{Hit, order_equals, take_rows};

/// Most decimal places that a number is rounded to.
const MAX_DECIMALS: u32 = 6;

/// Steps that change scores, order and number of hits.
#[derive(Debug, Clone)]
pub struct Chain {
    /// One after the other.
    pub steps: Vec<ChainStep>,
    /// Whether the hits come best first afterwards, by the meaning that scores had before; if not, they stay in the
    /// order in which the steps leave them, and of their scores larger ones are better.
    pub best_first: bool,
}

/// A step of a [`Chain`].
#[derive(Debug, Clone)]
pub enum ChainStep {
    /// Gives every hit a number under a name, which may be new.
    Map {
        /// The name.
        output: ChainColumn,
        /// What is computed.
        expr: ChainExpr,
    },
    /// Sorts by a column and, where that is equal, by another; what is equal in both stays as it is.
    Sort {
        /// The column.
        by: ChainColumn,
        /// Whether large values come first.
        descending: bool,
        /// The other column, small values first.
        tie: Option<ChainColumn>,
    },
    /// Leaves `limit` hits behind the first `offset`.
    Limit {
        /// At least 1.
        limit: usize,
        /// Hits that are dropped before.
        offset: usize,
    },
}

/// Something that a step reads or writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChainColumn {
    /// The score, as it is shown; what the hits have in the end.
    Score,
    /// The primary key, which is only read.
    Key,
    /// A column of the collection, or what a step before has written.
    Named(String),
}

/// A number of each hit.
#[derive(Debug, Clone)]
pub enum ChainExpr {
    /// A factor that fades with the distance of a value from a wanted one; `field` and `normalize` are not looked at.
    Decay {
        /// The value.
        input: ChainColumn,
        /// How it fades.
        decay: Decay,
    },
    /// One number of several.
    Combine {
        /// At least two.
        inputs: Vec<ChainColumn>,
        /// How.
        mode: CombineMode,
        /// What becomes of NULL.
        nulls: NullPolicy,
    },
    /// Rounded to so many decimal places, at most 6.
    Round {
        /// The number.
        input: ChainColumn,
        /// Places.
        decimals: u32,
    },
    /// What boosted trees say of the columns; NULL is a missing value.
    Trees {
        /// The features of the model, in its order.
        inputs: Vec<ChainColumn>,
        /// The model.
        model: Arc<Forest>,
        /// The sum of the trees, instead of what the model was trained to answer.
        margin: bool,
    },
    /// How well a text answers the query of a search, by a service. NULL is a text of no words.
    TextScore {
        /// The text.
        input: ChainColumn,
        /// The query of each search, in words.
        queries: Vec<String>,
        /// The service.
        scorer: Box<TextScorer>,
    },
}

/// How several numbers become one.
#[derive(Debug, Clone, PartialEq)]
pub enum CombineMode {
    /// Their product.
    Multiply,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their mean.
    Avg,
    /// The sum of each times its weight.
    Weighted(Vec<f64>),
}

/// What [`ChainExpr::Combine`] makes of NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullPolicy {
    /// Of a NULL among them the result is NULL.
    Propagate,
    /// It is 0.
    AsZero,
    /// It is left out; of nothing but NULL the result is NULL.
    Skip,
}

impl Chain {
    /// Checks names, types and numbers, for a search with `nq` queries.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] that says what is wrong in which step.
    pub(crate) fn check(&self, schema: &CollectionSchema, nq: usize) -> Result<()> {
        // Names written on the way, which are numbers.
        let mut written: Vec<&str> = Vec::new();
        for step in &self.steps {
            match step {
                ChainStep::Map { output, expr } => {
                    for input in expr.inputs() {
                        readable(input, &written, schema, expr.takes())?;
                    }
                    expr.check(nq)?;
                    match output {
                        ChainColumn::Score => {}
                        ChainColumn::Key => {
                            return invalid("system output \"$id\" is not writable".into());
                        }
                        ChainColumn::Named(name) if name.starts_with('$') => {
                            return invalid(format!("system output \"{name}\" is not writable"));
                        }
                        ChainColumn::Named(name) => written.push(name),
                    }
                }
                ChainStep::Sort { by, tie, .. } => {
                    for input in std::iter::once(by).chain(tie) {
                        readable(input, &written, schema, Taken::Ordered)?;
                    }
                }
                ChainStep::Limit { limit: 0, .. } => {
                    return invalid("a function chain limits to at least 1 hit, got 0".into());
                }
                ChainStep::Limit { .. } => {}
            }
        }
        Ok(())
    }

    /// The names of the steps, for plans.
    pub(crate) fn name(&self) -> String {
        let steps = self.steps.iter().map(|step| match step {
            ChainStep::Map { .. } => "map",
            ChainStep::Sort { .. } => "sort",
            ChainStep::Limit { .. } => "limit",
        });
        format!("chain({})", steps.collect::<Vec<_>>().join(", "))
    }

    /// What the distances of its hits mean, when those before meant `before`.
    pub(crate) fn scoring(&self, before: Scoring) -> Scoring {
        if self.best_first { before } else { Scoring::Larger }
    }

    /// The hits of the search with number `query` that are left, in their order, their distances such that
    /// [`Chain::scoring`] shows the last score.
    pub(crate) async fn run(
        &self,
        units: &[Arc<Unit>],
        key: &str,
        before: Scoring,
        query: usize,
        hits: Vec<Hit>,
    ) -> Result<Vec<Hit>, DataFusionError> {
        let after = self.scoring(before);
        let scores = hits.iter().map(|hit| {
            let score = before.score(hit.distance.unwrap_or(f32::NAN));
            f64::from(score)
        });
        let mut table = Table {
            columns: HashMap::new(),
            rows: (0..u32::try_from(hits.len()).unwrap_or(u32::MAX)).collect(),
        };
        table.put(
            ChainColumn::Score,
            Arc::new(Float64Array::from_iter_values(scores)),
        );
        for column in self.fields() {
            let name = match &column {
                ChainColumn::Named(name) => name,
                ChainColumn::Key | ChainColumn::Score => key,
            };
            let values = take_rows(units, &[name], None, &hits).await?;
            if let Some(values) = values.columns().first() {
                table.put(column, Arc::clone(values));
            }
        }
        for step in &self.steps {
            table.apply(step, query).await?;
        }
        let scores = table.numbers(&ChainColumn::Score)?;
        let hit = |(place, row): (usize, &u32)| {
            let mut hit = *hits.get(*row as usize)?;
            let score = if scores.is_valid(place) {
                scores.value(place)
            } else {
                0.0
            };
            #[expect(clippy::cast_possible_truncation, reason = "a score is a float")]
            let score = score as f32;
            hit.distance = Some(after.score(score));
            Some(hit)
        };
        let mut left: Vec<Hit> = table.rows.iter().enumerate().filter_map(hit).collect();
        if self.best_first {
            left.sort_unstable_by(Hit::total);
            order_equals(units, key, &mut left).await?;
        }
        Ok(left)
    }

    /// The columns that are read before a step writes them, the key among them.
    fn fields(&self) -> Vec<ChainColumn> {
        let (mut fields, mut written): (Vec<ChainColumn>, Vec<&ChainColumn>) = (Vec::new(), Vec::new());
        for step in &self.steps {
            let inputs: Vec<&ChainColumn> = match step {
                ChainStep::Map { expr, .. } => expr.inputs(),
                ChainStep::Sort { by, tie, .. } => std::iter::once(by).chain(tie).collect(),
                ChainStep::Limit { .. } => Vec::new(),
            };
            for input in inputs {
                if *input != ChainColumn::Score && !written.contains(&input) && !fields.contains(input) {
                    fields.push(input.clone());
                }
            }
            if let ChainStep::Map { output, .. } = step {
                written.push(output);
            }
        }
        fields
    }
}

fn invalid(reason: String) -> Result<()> {
    Err(QueryError::InvalidParameter(reason))
}

/// What a step takes of a column of the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// A number.
    Number,
    /// Whatever has an order.
    Ordered,
    /// A text.
    Text,
}

impl Taken {
    fn allowed(self) -> &'static str {
        match self {
            Self::Number => "a number or TIMESTAMPTZ",
            Self::Ordered => "a number, BOOL, VARCHAR or TIMESTAMPTZ",
            Self::Text => "VARCHAR or TEXT",
        }
    }
}

/// Whether a step may read this column. What steps have written are numbers.
fn readable(column: &ChainColumn, written: &[&str], schema: &CollectionSchema, taken: Taken) -> Result<()> {
    let refused = |name: &str, what: &str| {
        invalid(format!(
            "function chain input '{name}' is {what}, it must be {}",
            taken.allowed()
        ))
    };
    let (name, field) = match column {
        ChainColumn::Score if taken == Taken::Text => return refused("$score", "a number"),
        ChainColumn::Score => return Ok(()),
        ChainColumn::Key => ("$id", Some(schema.primary_key()?)),
        ChainColumn::Named(name) if written.contains(&name.as_str()) => {
            return match taken {
                Taken::Text => refused(name, "a number"),
                Taken::Number | Taken::Ordered => Ok(()),
            };
        }
        ChainColumn::Named(name) if name.starts_with('$') => {
            return invalid(format!("system input \"{name}\" is not readable"));
        }
        ChainColumn::Named(name) => (name.as_str(), schema.field(name)),
    };
    let Some(field) = field else {
        let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        let known = did_you_mean(name, &known, "fields");
        return invalid(format!("function chain input '{name}' not found{known}"));
    };
    match (&field.data_type, taken) {
        (
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::TimestampTz,
            Taken::Number | Taken::Ordered,
        )
        | (DataType::Bool, Taken::Ordered)
        | (DataType::VarChar { .. } | DataType::Text, Taken::Ordered | Taken::Text) => Ok(()),
        (other, _) => refused(name, other.name()),
    }
}

impl ChainExpr {
    fn inputs(&self) -> Vec<&ChainColumn> {
        match self {
            Self::Decay { input, .. } | Self::Round { input, .. } | Self::TextScore { input, .. } => {
                vec![input]
            }
            Self::Combine { inputs, .. } | Self::Trees { inputs, .. } => inputs.iter().collect(),
        }
    }

    fn takes(&self) -> Taken {
        match self {
            Self::TextScore { .. } => Taken::Text,
            Self::Decay { .. } | Self::Combine { .. } | Self::Round { .. } | Self::Trees { .. } => {
                Taken::Number
            }
        }
    }

    fn check(&self, nq: usize) -> Result<()> {
        match self {
            Self::Decay { decay, .. } => decay.check_numbers(),
            Self::Round { decimals, .. } if *decimals > MAX_DECIMALS => invalid(format!(
                "round_decimal decimal must be 0 to {MAX_DECIMALS}, got {decimals}"
            )),
            Self::Round { .. } => Ok(()),
            Self::Trees { inputs, model, .. } if inputs.len() != model.features() => invalid(format!(
                "xgboost has {} columns, its model {} features",
                inputs.len(),
                model.features()
            )),
            Self::TextScore { queries, .. } if queries.len() != nq => invalid(format!(
                "nq must equal to queries size, but got nq [{nq}], queries size [{}]",
                queries.len()
            )),
            Self::Trees { .. } | Self::TextScore { .. } => Ok(()),
            Self::Combine { inputs, mode, .. } => match mode {
                _ if inputs.len() < 2 => invalid(format!(
                    "num_combine requires at least two columns, got {}",
                    inputs.len()
                )),
                CombineMode::Weighted(weights) if weights.len() != inputs.len() => invalid(format!(
                    "num_combine has {} weights for {} columns",
                    weights.len(),
                    inputs.len()
                )),
                CombineMode::Weighted(weights) if weights.iter().any(|weight| !weight.is_finite()) => {
                    invalid("num_combine weights must be finite numbers".into())
                }
                _ => Ok(()),
            },
        }
    }
}

impl CombineMode {
    /// One number of these, each with its place among the inputs; none of none.
    fn of(&self, values: &[(usize, f64)]) -> Option<f64> {
        let numbers = values.iter().map(|(_, value)| *value);
        #[expect(clippy::cast_precision_loss, reason = "the number of inputs of a function")]
        let count = values.len() as f64;
        match self {
            _ if values.is_empty() => None,
            Self::Multiply => Some(numbers.product()),
            Self::Sum => Some(numbers.sum()),
            Self::Max => numbers.reduce(f64::max),
            Self::Min => numbers.reduce(f64::min),
            Self::Avg => Some(numbers.sum::<f64>() / count),
            Self::Weighted(weights) => Some(
                values
                    .iter()
                    .filter_map(|(place, value)| weights.get(*place).map(|weight| weight * value))
                    .sum(),
            ),
        }
    }
}

/// Columns of the hits that are left.
struct Table {
    columns: HashMap<ChainColumn, ArrayRef>,
    /// Which hits they are.
    rows: Vec<u32>,
}

impl Table {
    fn put(&mut self, name: ChainColumn, values: ArrayRef) {
        self.columns.insert(name, values);
    }

    fn column(&self, name: &ChainColumn) -> Result<&ArrayRef, DataFusionError> {
        let found = self.columns.get(name);
        found.ok_or_else(|| DataFusionError::Internal(format!("a function chain lacks the column {name:?}")))
    }

    fn numbers(&self, name: &ChainColumn) -> Result<Float64Array, DataFusionError> {
        let column = self.column(name)?;
        match column.as_primitive_opt::<Float64Type>() {
            Some(numbers) => Ok(numbers.clone()),
            None => numbers(column),
        }
    }

    fn columns(&self, names: &[ChainColumn]) -> Result<Vec<Float64Array>, DataFusionError> {
        names.iter().map(|name| self.numbers(name)).collect()
    }

    async fn apply(&mut self, step: &ChainStep, query: usize) -> Result<(), DataFusionError> {
        match step {
            ChainStep::Map { output, expr } => {
                let values = self.evaluate(expr, query).await?;
                self.put(output.clone(), Arc::new(values));
                Ok(())
            }
            ChainStep::Sort { by, descending, tie } => {
                let key = |name: &ChainColumn, descending| {
                    Ok::<_, DataFusionError>(SortColumn {
                        values: Arc::clone(self.column(name)?),
                        options: Some(SortOptions {
                            descending,
                            nulls_first: false,
                        }),
                    })
                };
                let mut keys = vec![key(by, *descending)?];
                if let Some(tie) = tie {
                    keys.push(key(tie, false)?);
                }
                let places: ArrayRef =
                    Arc::new(UInt32Array::from_iter_values((0_u32..).take(self.rows.len())));
                keys.push(SortColumn {
                    values: places,
                    options: None,
                });
                let order = lexsort_to_indices(&keys, None)?;
                self.keep(&order)
            }
            ChainStep::Limit { limit, offset } => {
                let places = (0_u32..).take(self.rows.len()).skip(*offset).take(*limit);
                let order = UInt32Array::from_iter_values(places);
                self.keep(&order)
            }
        }
    }

    fn keep(&mut self, order: &UInt32Array) -> Result<(), DataFusionError> {
        for values in self.columns.values_mut() {
            *values = take(values, order, None)?;
        }
        let row = |place: &u32| self.rows.get(*place as usize).copied();
        self.rows = order.values().iter().filter_map(row).collect();
        Ok(())
    }

    async fn evaluate(&self, expr: &ChainExpr, query: usize) -> Result<Float64Array, DataFusionError> {
        Ok(match expr {
            ChainExpr::Decay { input, decay } => {
                let values = self.numbers(input)?;
                values
                    .iter()
                    .map(|value| value.map(|value| decay.factor(value)))
                    .collect()
            }
            ChainExpr::Round { input, decimals } => {
                let scale = 10.0_f64.powf(f64::from(*decimals));
                let values = self.numbers(input)?;
                let round = |value: f64| (value * scale).round() / scale;
                values.iter().map(|value| value.map(round)).collect()
            }
            ChainExpr::Combine { inputs, mode, nulls } => {
                let columns = self.columns(inputs)?;
                let mut given = Vec::with_capacity(columns.len());
                let combined = (0..self.rows.len()).map(|row| {
                    given.clear();
                    for (place, column) in columns.iter().enumerate() {
                        match (column.is_valid(row), nulls) {
                            (true, _) => given.push((place, column.value(row))),
                            (false, NullPolicy::AsZero) => given.push((place, 0.0)),
                            (false, NullPolicy::Skip) => {}
                            (false, NullPolicy::Propagate) => return None,
                        }
                    }
                    mode.of(&given)
                });
                combined.collect()
            }
            ChainExpr::Trees {
                inputs,
                model,
                margin,
            } => {
                let columns = self.columns(inputs)?;
                let mut features = Vec::with_capacity(columns.len());
                let scores = (0..self.rows.len()).map(|row| {
                    features.clear();
                    #[expect(clippy::cast_possible_truncation, reason = "models are of 32-bit floats")]
                    features.extend(columns.iter().map(|column| {
                        if column.is_valid(row) {
                            column.value(row) as f32
                        } else {
                            f32::NAN
                        }
                    }));
                    f64::from(if *margin {
                        model.margin(&features)
                    } else {
                        model.predict(&features)
                    })
                });
                Float64Array::from_iter_values(scores)
            }
            ChainExpr::TextScore {
                input,
                queries,
                scorer,
            } => {
                let texts = texts(self.column(input)?)?;
                let query = queries.get(query).map_or("", String::as_str);
                let scores = scorer.scores(query, &texts).await;
                let scores = scores.map_err(|error| match error {
                    ServiceError::Refused(what) => external(QueryError::InvalidParameter(what)),
                    ServiceError::Failed(what) => external(QueryError::Execution(what)),
                })?;
                scores.into_iter().map(f64::from).map(Some).collect()
            }
        })
    }
}

/// The texts of a column; NULL is an empty one.
fn texts(column: &ArrayRef) -> Result<Vec<&str>, DataFusionError> {
    let Some(texts) = column.as_string_opt::<i32>() else {
        return Err(DataFusionError::Internal(format!(
            "a function chain takes {} for texts",
            column.data_type()
        )));
    };
    Ok(texts.iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::rerank::DecayCurve;

    fn named(name: &str) -> ChainColumn {
        ChainColumn::Named(name.into())
    }

    fn table() -> Table {
        let mut table = Table {
            columns: HashMap::new(),
            rows: vec![0, 1, 2, 3],
        };
        table.put(
            ChainColumn::Score,
            Arc::new(Float64Array::from(vec![0.5, 0.25, 0.5, 0.125])),
        );
        table.put(
            named("n"),
            Arc::new(Int64Array::from(vec![Some(4), None, Some(2), Some(8)])),
        );
        table
    }

    /// What a step gives that waits for nothing.
    fn now<T>(step: impl Future<Output = Result<T, DataFusionError>>) -> T {
        futures::FutureExt::now_or_never(step).unwrap().unwrap()
    }

    fn combine(mode: CombineMode, nulls: NullPolicy) -> Vec<Option<f64>> {
        let expr = ChainExpr::Combine {
            inputs: vec![ChainColumn::Score, named("n")],
            mode,
            nulls,
        };
        now(table().evaluate(&expr, 0)).iter().collect()
    }

    #[test]
    fn numbers_are_combined_and_null_is_what_the_policy_says() {
        use CombineMode::{Avg, Max, Min, Multiply, Sum, Weighted};
        use NullPolicy::{AsZero, Propagate, Skip};
        let all = |a: f64, b: f64, c: f64, d: f64| vec![Some(a), Some(b), Some(c), Some(d)];
        assert_eq!(combine(Sum, Propagate), [Some(4.5), None, Some(2.5), Some(8.125)]);
        assert_eq!(combine(Sum, AsZero), all(4.5, 0.25, 2.5, 8.125));
        assert_eq!(combine(Multiply, AsZero), all(2.0, 0.0, 1.0, 1.0));
        assert_eq!(combine(Multiply, Skip), all(2.0, 0.25, 1.0, 1.0));
        assert_eq!(combine(Max, Skip), all(4.0, 0.25, 2.0, 8.0));
        assert_eq!(combine(Min, AsZero), all(0.5, 0.0, 0.5, 0.125));
        assert_eq!(combine(Avg, Skip), all(2.25, 0.25, 1.25, 4.0625));
        assert_eq!(combine(Weighted(vec![2.0, 0.5]), Skip), all(3.0, 0.5, 2.0, 4.25));
    }

    #[test]
    fn steps_write_names_sort_and_cut() {
        let mut table = table();
        let decay = Decay {
            curve: DecayCurve::Linear,
            field: String::new(),
            origin: 2.0,
            scale: 4.0,
            offset: 0.0,
            decay: 0.5,
            normalize: false,
        };
        for step in [
            ChainStep::Map {
                output: named("fresh"),
                expr: ChainExpr::Decay {
                    input: named("n"),
                    decay,
                },
            },
            ChainStep::Sort {
                by: named("fresh"),
                descending: true,
                tie: None,
            },
        ] {
            now(table.apply(&step, 0));
        }
        // NULL comes last.
        assert_eq!(table.rows, [2, 0, 3, 1]);
        let fresh: Vec<_> = table.numbers(&named("fresh")).unwrap().iter().collect();
        assert_eq!(fresh, [Some(1.0), Some(0.75), Some(0.5), None]);
        let sort = ChainStep::Sort {
            by: ChainColumn::Score,
            descending: true,
            tie: Some(named("n")),
        };
        now(table.apply(&sort, 0));
        assert_eq!(table.rows, [2, 0, 1, 3]);
        now(table.apply(&ChainStep::Limit { limit: 2, offset: 1 }, 0));
        assert_eq!(table.rows, [0, 1]);
        let round = ChainExpr::Round {
            input: ChainColumn::Score,
            decimals: 1,
        };
        let rounded: Vec<_> = now(table.evaluate(&round, 0)).iter().collect();
        assert_eq!(rounded, [Some(0.5), Some(0.3)]);
    }
}

//! Reranking by a plugin: hits and columns of their rows go in, a new order with scores comes out.
//!
//! ```text
//!   hits, best first, at most so many -> keys, distances, the columns that the plugin asks for, vectors -> flat slices
//!                                     -> one call for each query -> hits in the plugin's order, with its scores
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Int64Type};
use datafusion::common::{exec_err, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{CollectionSchema, DataType, Unit};
use elanus_index::VectorRef;
use elanus_plugins::{
    CallStats, Candidates, ColumnData, ColumnKind, Keys, Parameters, PluginError, Ranking, Request, Reranker,
    Value, VectorData,
};
use elanus_udfs::vector::VectorKind;

use super::columns::{FlatColumn, has_numbers, reads};
use super::{failure, sql_name};
use crate::error::{QueryError, Result, did_you_mean, external};
use crate::fusion::Scoring;
use crate::operators::ann_search::QuerySource;
use crate::operators::constant;
use crate::query_vectors::QueryVectors;
use crate::search::{Hit, MAX_NEIGHBOURS, take_rows};
use crate::sql::types::type_name;

/// A plugin that reranks, with its parameters.
#[derive(Debug, Clone)]
pub struct PluginRerank {
    name: String,
    plugin: Arc<Reranker>,
    parameters: Parameters,
    /// How many hits the plugin gets; `None`: ten times as many as are wanted, at least 100, at most 1,000.
    pub candidates: Option<usize>,
    /// The text of each query; none when the searches have no texts.
    pub texts: Vec<String>,
}

impl PluginRerank {
    /// The plugin that is registered as `name`, with parameters out of the JSON object `parameters`. The plugin itself is
    /// not asked yet what it thinks of them.
    ///
    /// # Errors
    /// No JSON object, parameters that the plugin has not, and values of other types.
    pub(crate) fn new(name: &str, plugin: Arc<Reranker>, parameters: Option<&str>) -> Result<Self> {
        let given = parameters.map_or_else(|| Ok(Vec::new()), values)?;
        let parameters = plugin.parameters(&given).map_err(failure)?;
        Ok(Self {
            name: name.to_owned(),
            plugin,
            parameters,
            candidates: None,
            texts: Vec::new(),
        })
    }

    /// Whether the plugin has just taken these parameters, for another search: they need not be looked at again.
    pub(crate) fn is_configured(&self) -> bool {
        self.plugin.is_configured(&self.parameters)
    }

    /// Lets the plugin look at its parameters, unless it has. Takes up to its limit of time, of this thread.
    ///
    /// # Errors
    /// What it refuses.
    pub(crate) fn configure(&self) -> Result<()> {
        if self.is_configured() {
            return Ok(());
        }
        self.plugin
            .configure(&self.parameters)
            .map(|_| ())
            .map_err(failure)
    }

    /// How many hits it gets when `wanted` are wanted.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for fewer than are wanted, and more than the plugin takes.
    pub(crate) fn candidates_for(&self, wanted: usize) -> Result<usize> {
        let most = match self.plugin.descriptor().max_candidates {
            0 => MAX_NEIGHBOURS,
            declared => usize::try_from(declared)
                .unwrap_or(usize::MAX)
                .min(MAX_NEIGHBOURS),
        };
        if wanted > most {
            return Err(QueryError::InvalidParameter(format!(
                "{wanted} rows are wanted, and reranker '{}' takes at most {most} candidates",
                self.name
            )));
        }
        match self.candidates {
            None => Ok(wanted.saturating_mul(10).clamp(100, 1_000).max(wanted).min(most)),
            Some(given) if (wanted..=most).contains(&given) => Ok(given),
            Some(given) => Err(QueryError::InvalidParameter(format!(
                "rerank_k is {given}: for {wanted} rows of reranker '{}' allowed are {wanted} to {most}",
                self.name
            ))),
        }
    }

    /// All that tells one from another.
    pub(crate) fn identity(&self) -> String {
        format!(
            "{} {} {:?} {:?} {:?}",
            self.name,
            self.plugin.digest(),
            self.parameters,
            self.candidates,
            self.texts
        )
    }

    /// The name and the version, for plans.
    pub(crate) fn shown(&self) -> String {
        format!("{}({})", self.name, self.plugin.descriptor().version)
    }
}

/// Parameters out of a JSON object.
fn values(text: &str) -> Result<Vec<(String, Value)>> {
    let wrong = |what: &str| {
        QueryError::InvalidParameter(format!(
            "rerank_params is a JSON object, such as {{\"weight\": 0.5}}: {what}"
        ))
    };
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let serde_json::Value::Object(object) = parsed else {
        return Err(wrong("it is something else"));
    };
    let values = object.iter().map(|(name, json)| match Value::from_json(json) {
        Some(value) => Ok((name.clone(), value)),
        None => Err(wrong(&format!("'{name}' is {json}"))),
    });
    values.collect()
}

/// What is searched, as far as a plugin may see it.
#[derive(Debug, Clone)]
pub(crate) struct Searched {
    /// Searched columns and what they are searched for, one for each search.
    pub arms: Vec<(String, DataType, QuerySource)>,
    /// Gives the text of the one query, in place of those that are known already.
    pub text: Option<Arc<dyn PhysicalExpr>>,
    /// Hits that are wanted in the end.
    pub limit: usize,
}

/// A [`PluginRerank`] made ready for one collection and one search.
#[derive(Debug, Clone)]
pub(crate) struct ReadyPlugin {
    rerank: PluginRerank,
    columns: Arc<[(String, ColumnKind, Option<VectorKind>)]>,
    /// The vector column that is searched, the first of several with numbers in it.
    vectors: Option<(String, VectorKind)>,
    searched: Searched,
    candidates: usize,
}

/// One query as a plugin sees it.
struct Queries {
    dim: u32,
    /// Query vectors, row-major.
    vectors: Vec<f32>,
    text: Option<String>,
}

impl ReadyPlugin {
    /// Checks `rerank` against the collection, for a search with `nq` queries.
    ///
    /// # Errors
    /// Columns that are not there or of another type, no vectors or no text where the plugin needs them, numbers of
    /// candidates out of range.
    pub fn new(
        rerank: &PluginRerank,
        schema: &CollectionSchema,
        nq: usize,
        searched: Searched,
    ) -> Result<Self> {
        let invalid =
            |what: String| QueryError::InvalidParameter(format!("reranker '{}' {what}", rerank.name));
        let descriptor = rerank.plugin.descriptor();
        let needed = descriptor
            .columns_for(&rerank.parameters)
            .map_err(|error| invalid(error.to_string()))?;
        let mut columns = Vec::with_capacity(needed.len());
        for (name, kind) in needed {
            let Some(field) = schema.field(&name) else {
                let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
                let known = did_you_mean(&name, &known, "columns");
                return Err(invalid(format!(
                    "needs the column '{name}', which there is not{known}"
                )));
            };
            if !reads(&kind, &field.data_type) {
                return Err(invalid(format!(
                    "needs the column '{name}' as {}, it is {}",
                    sql_name(&kind),
                    type_name(&field.data_type)
                )));
            }
            columns.push((name, kind, VectorKind::of(&field.to_arrow())));
        }
        let of_numbers = searched
            .arms
            .iter()
            .find(|(_, data_type, _)| has_numbers(data_type));
        let vectors = of_numbers.and_then(|(name, ..)| {
            let kind = VectorKind::of(&schema.field(name)?.to_arrow())?;
            Some((name.clone(), kind))
        });
        if descriptor.needs_vectors && vectors.is_none() {
            return Err(invalid(
                "needs vectors of numbers, and none of the searched columns has them".to_owned(),
            ));
        }
        let texts = rerank.texts.len();
        if descriptor.needs_query_text && texts == 0 && searched.text.is_none() {
            return Err(invalid(
                "needs the text of the query, and there is none".to_owned(),
            ));
        }
        if texts != 0 && texts != nq {
            return Err(invalid(format!("got {texts} texts for {nq} queries")));
        }
        let candidates = rerank.candidates_for(searched.limit)?;
        Ok(Self {
            rerank: rerank.clone(),
            columns: columns.into(),
            vectors,
            searched,
            candidates,
        })
    }

    /// The name, for plans.
    pub fn name(&self) -> String {
        format!("{}, candidates={}", self.rerank.shown(), self.candidates)
    }

    /// The expressions that it computes when it runs.
    pub fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        let arms = self
            .searched
            .arms
            .iter()
            .filter_map(|(_, _, source)| match source {
                QuerySource::Expr(expr) => Some(expr),
                QuerySource::Vectors { .. } => None,
            });
        arms.chain(&self.searched.text)
    }

    /// The hits of the query with number `query` in the plugin's order, with its scores as distances of
    /// [`Scoring::Larger`].
    pub async fn rerank(
        &self,
        units: &[Arc<Unit>],
        key: &str,
        query: usize,
        mut hits: Vec<Hit>,
    ) -> Result<(Vec<Hit>, CallStats), DataFusionError> {
        hits.retain(|hit| hit.distance.is_some_and(|distance| !distance.is_nan()));
        hits.truncate(self.candidates);
        if hits.is_empty() {
            return Ok((hits, CallStats::default()));
        }
        let mut names = vec![key];
        names.extend(self.columns.iter().map(|(name, ..)| name.as_str()));
        let needs_vectors = self.rerank.plugin.descriptor().needs_vectors;
        let vectors = self.vectors.as_ref().filter(|_| needs_vectors);
        names.extend(vectors.map(|(name, _)| name.as_str()));
        names.sort_unstable();
        names.dedup();
        let rows = take_rows(units, &names, None, &hits).await?;
        let column = |name: &str| {
            rows.column_by_name(name)
                .cloned()
                .ok_or_else(|| internal_datafusion_err!("rows have no column {name}"))
        };
        let columns = self.columns.iter().map(|(name, kind, vector)| {
            let flat = FlatColumn::new(kind, &column(name)?, *vector)?;
            Ok((name.clone(), flat))
        });
        let given = Given {
            keys: keys(&column(key)?)?,
            distances: hits.iter().map(|hit| hit.distance.unwrap_or_default()).collect(),
            columns: columns.collect::<Result<_, DataFusionError>>()?,
            vectors: match vectors {
                Some((name, kind)) => {
                    let any = ColumnKind::Vectors(0);
                    Some(FlatColumn::new(&any, &column(name)?, Some(*kind))?)
                }
                None => None,
            },
            queries: self.queries(query)?,
            limit: u32::try_from(self.searched.limit).unwrap_or(u32::MAX),
        };
        let rerank = self.rerank.clone();
        // A plugin may take its time; the threads that it would take it of have others to serve.
        let called = tokio::task::spawn_blocking(move || given.call(&rerank)).await;
        let called = called.map_err(|error| internal_datafusion_err!("a reranker stopped: {error}"))?;
        let (ranking, stats) = called.map_err(|error| external(failure(error)))?;
        let places = ranking.order.iter().zip(&ranking.scores);
        let ranked = places.filter_map(|(place, score)| {
            let hit = hits.get(*place as usize)?;
            Some(Hit {
                distance: Some(Scoring::Larger.score(*score)),
                ..*hit
            })
        });
        Ok((ranked.collect(), stats))
    }

    /// What is searched for in the query with this number.
    fn queries(&self, query: usize) -> Result<Queries, DataFusionError> {
        let (mut dim, mut vectors) = (0, Vec::new());
        for (name, data_type, source) in &self.searched.arms {
            let is_ours = self.vectors.as_ref().is_some_and(|(ours, _)| ours == name);
            if !is_ours {
                continue;
            }
            let of_arm = source.vectors(name, data_type)?;
            dim = data_type.dim().unwrap_or_default();
            vectors.extend(floats(&of_arm, query, dim)?);
        }
        let text = match &self.searched.text {
            Some(expr) => {
                let value = constant(expr)?;
                match value.try_as_str() {
                    Some(Some(text)) => Some(text.to_owned()),
                    _ if value.is_null() => None,
                    _ => return exec_err!("rerank_text is a text, got {}", value.data_type()),
                }
            }
            None => self.rerank.texts.get(query).cloned(),
        };
        Ok(Queries { dim, vectors, text })
    }
}

/// Everything that one call is given.
struct Given {
    keys: FlatColumn,
    distances: Vec<f32>,
    columns: Vec<(String, FlatColumn)>,
    vectors: Option<FlatColumn>,
    queries: Queries,
    limit: u32,
}

impl Given {
    fn call(&self, rerank: &PluginRerank) -> Result<(Ranking, CallStats), PluginError> {
        let keys = match self.keys.view().data {
            ColumnData::S64s(keys) => Keys::Integers(keys),
            ColumnData::Text(keys) => Keys::Texts(keys),
            // Keys are of these two types: the call is refused for having none.
            _ => Keys::Integers(&[]),
        };
        let columns = self.columns.iter();
        let columns: Vec<_> = columns
            .map(|(name, column)| (name.as_str(), column.view()))
            .collect();
        let request = Request {
            query_vectors: VectorData {
                dim: self.queries.dim,
                values: &self.queries.vectors,
            },
            query_text: self.queries.text.as_deref(),
            limit: self.limit,
        };
        let candidates = Candidates {
            keys,
            distances: &self.distances,
            columns: &columns,
            vectors: self.vectors.as_ref().and_then(FlatColumn::vectors),
        };
        rerank.plugin.rerank(&rerank.parameters, &request, &candidates)
    }
}

fn keys(column: &ArrayRef) -> Result<FlatColumn, DataFusionError> {
    let kind = match column.as_primitive_opt::<Int64Type>() {
        Some(_) => ColumnKind::S64s,
        None => ColumnKind::Text,
    };
    FlatColumn::new(&kind, column, None)
}

/// A 16-bit float.
type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The vector of the query with this number, as floats; nothing for none.
fn floats(vectors: &QueryVectors, query: usize, dim: u32) -> Result<Vec<f32>> {
    let all = vectors.all()?;
    Ok(match all.get(query).copied().flatten() {
        None => Vec::new(),
        Some(VectorRef::Floats(values)) => values.to_vec(),
        Some(VectorRef::Halves(bits)) => bits.iter().map(|bits| Half::from_bits(*bits).to_f32()).collect(),
        Some(VectorRef::BFloat16s(bits)) => bits
            .iter()
            .map(|bits| f32::from_bits(u32::from(*bits) << 16))
            .collect(),
        Some(VectorRef::Int8s(values)) => values.iter().map(|value| f32::from(*value)).collect(),
        Some(
            other @ (VectorRef::Bits(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_)),
        ) => {
            return Err(QueryError::Internal(format!(
                "a query of type {} for vectors of {dim} numbers",
                other.kind()
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_an_object_of_values() {
        let given = values(r#"{"weight": 0.5, "n": 3, "on": true, "model": {"trees": []}}"#).unwrap();
        let expected = [
            ("weight", Value::Number(0.5)),
            ("n", Value::Integer(3)),
            ("on", Value::Boolean(true)),
            ("model", Value::Text(r#"{"trees":[]}"#.to_owned())),
        ];
        assert_eq!(given, expected.map(|(name, value)| (name.to_owned(), value)));
        for (text, what) in [
            ("", "EOF"),
            ("[1]", "something else"),
            (r#"{"a": null}"#, "'a' is null"),
        ] {
            let error = values(text).unwrap_err().to_string();
            assert!(
                error.contains("rerank_params is a JSON object") && error.contains(what),
                "{error}"
            );
        }
    }
}

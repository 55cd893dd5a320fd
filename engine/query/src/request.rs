//! What the doors ask for, and what they get: typed requests without any wire format.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use elanus_collection::{Collection, CollectionSchema, DataType, Field, Keys, Snapshot};
use elanus_filter::Templates;
use elanus_index::{AnyMetric, Window};

use crate::collapse::Collapse;
use crate::error::{QueryError, Result, did_you_mean};
use crate::fusion::{Fusion, ScoreMode, Scoring};
use crate::ordering::OrderBy;
use crate::rerank::Rerank;
use crate::value_path::{JsonCast, ValuePath};

/// Name of the score column that [`SearchResponse::rows`] ends with.
pub const SCORE_COLUMN: &str = "_score";

/// Name of the column before it, of the places of vectors in their lists, where these are searched one by one.
pub const ELEMENT_COLUMN: &str = "_element";

/// A Milvus boolean expression and the values of its `{name}` templates.
#[derive(Debug, Clone, Default)]
pub struct FilterText {
    /// The expression; empty text matches every row.
    pub text: String,
    /// Values of the templates in `text`.
    pub templates: Templates,
    /// Zone of timestamps without an offset; `None`: UTC.
    pub zone: Option<Tz>,
}

/// The query vectors of a search, of the type of the searched field.
#[derive(Debug, Clone)]
pub enum Queries {
    /// 32-bit floats: `nq x dim`, row-major.
    Floats(Vec<f32>),
    /// A vector in each row, in the Arrow form of the field's type.
    Column(ArrayRef),
    /// Texts, for a field that a function fills.
    Texts {
        /// One for each query.
        texts: Vec<String>,
        /// Name of the analyzer, of a field that has several.
        analyzer: Option<String>,
    },
}

impl From<Vec<f32>> for Queries {
    fn from(values: Vec<f32>) -> Self {
        Self::Floats(values)
    }
}

/// Scores that a search may find, in Milvus' terms; by default every score.
///
/// Where a larger score is better (IP, COSINE, MHJACCARD): `radius < score <= range_filter`. Where a smaller one is (L2, HAMMING,
/// JACCARD): `range_filter <= score < radius`. Signatures that share nothing (MHJACCARD) are in no range, not even that of
/// every score. So `radius` is the far end, which is not in the range, and `range_filter`
/// the near end, which is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScoreRange {
    /// Far end; `None`: as far as there are rows.
    pub radius: Option<f32>,
    /// Near end; `None`: from the best row on.
    pub range_filter: Option<f32>,
}

impl ScoreRange {
    /// The range as distances.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] when an end is not a number or the ends are in the wrong order.
    pub(crate) fn window(self, metric: AnyMetric) -> Result<Window> {
        let Self { radius, range_filter } = self;
        if [radius, range_filter].into_iter().flatten().any(f32::is_nan) {
            return Err(QueryError::InvalidParameter(
                "radius and range_filter must be numbers, not NaN".into(),
            ));
        }
        if let (Some(far), Some(near)) = (radius, range_filter) {
            let (ordered, word) = if metric.larger_is_better() {
                (near > far, "greater")
            } else {
                (near < far, "less")
            };
            if !ordered {
                return Err(QueryError::InvalidParameter(format!(
                    "range_filter({near}) must be {word} than radius({far}) for metric {metric}"
                )));
            }
        }
        // A score is its distance, negated where larger is better, and so the other way round.
        let distance = |score: f32| metric.score(score);
        let far = radius.map(distance);
        let far = match metric.minhash() {
            Some(_) => Some(far.map_or(0.0, |far| far.min(0.0))),
            None => far,
        };
        Ok(Window::new(range_filter.map(distance), far))
    }
}

/// Groups of rows instead of rows.
///
/// A group is as near as its nearest row. The search goes on until there are as many groups as wanted, or every row that
/// may be found was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// Columns whose values together tell groups apart (booleans, integers, texts, instants), and paths into JSON; NULL
    /// is a value, too.
    pub by: Vec<String>,
    /// What the values at paths into JSON are read as.
    pub json: JsonCast,
    /// Most rows of a group, at least 1.
    pub size: usize,
    /// Whether the search also goes on until each group has `size` rows or all that there are. If not, a group has the
    /// rows met on the way, at least one.
    pub fill: bool,
}

impl Grouping {
    /// What tells groups apart.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for columns that are not there or cannot tell groups apart.
    pub fn keys(&self, schema: &CollectionSchema) -> Result<Vec<GroupKey>> {
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        if self.by.is_empty() || self.size == 0 {
            return invalid("grouping needs at least one field and a group size of at least 1".into());
        }
        let mut keys = Vec::with_capacity(self.by.len());
        for name in &self.by {
            let Some(path) = ValuePath::of(name, schema) else {
                let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
                let known = did_you_mean(name, &known, "fields");
                return invalid(format!("group by field '{name}' not found{known}"));
            };
            let json = schema.field(path.column()).filter(|_| path.is_json());
            let data_type = match (json, schema.field(name)) {
                (None, Some(field)) => &field.data_type,
                _ => &self.json.to,
            };
            if !is_group_key(data_type) {
                return invalid(format!(
                    "group by field '{name}' is {}: unsupported data type for group by, allowed are BOOL, INT8, INT16, INT32, INT64, VARCHAR, TIMESTAMPTZ and paths into JSON",
                    data_type.name()
                ));
            }
            keys.push(GroupKey {
                path,
                json: self.json.clone(),
            });
        }
        Ok(keys)
    }
}

/// What tells groups apart: a column, or a place in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    path: ValuePath,
    json: JsonCast,
}

impl GroupKey {
    /// Where the values are.
    pub fn path(&self) -> &ValuePath {
        &self.path
    }

    /// The values as a field: that of the collection, or one of its own for a place in JSON.
    ///
    /// # Errors
    /// A collection that is not the one of the key.
    pub fn field(&self, schema: &CollectionSchema) -> Result<Field> {
        if self.path.is_json() {
            return Ok(Field {
                nullable: true,
                ..Field::new(self.path.text(), self.json.to.clone())
            });
        }
        let field = schema.field(self.path.column()).cloned();
        field.ok_or_else(|| QueryError::Internal(format!("there is no field {}", self.path.column())))
    }

    /// The values of rows whose values of the column of [`GroupKey::path`] are these.
    ///
    /// # Errors
    /// A column that is not the one of the path.
    pub fn values(&self, column: &ArrayRef) -> Result<ArrayRef> {
        Ok(self.path.values(column, &self.json)?)
    }
}

/// Whether values of a type can tell groups apart.
pub(crate) fn is_group_key(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::VarChar { .. }
            | DataType::Text
            | DataType::TimestampTz
    )
}

/// A nearest-neighbour search of one vector field for `nq` queries.
///
/// The parts act in this order: filter and range choose the rows, `group` makes groups of them, `limit` and `offset` count
/// what is left (rows, or groups), `rerank` gives the found ones new scores before the offset is skipped, `order` sorts
/// what is returned.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is searched.
    pub collection: Arc<Collection>,
    /// Name of the vector field.
    pub field: String,
    /// Query vectors.
    pub queries: Queries,
    /// Number of query vectors, at least 1.
    pub nq: usize,
    /// Neighbours wanted of each query, at least 1.
    pub limit: usize,
    /// Neighbours skipped of each query before the first one returned.
    pub offset: usize,
    /// Metric; `None` means the one of the field's index.
    pub metric: Option<AnyMetric>,
    /// Search parameters under their Milvus names (`ef`, `nprobe`).
    pub params: BTreeMap<String, String>,
    /// Only rows with a score in this range are found; limit and offset count these.
    pub range: ScoreRange,
    /// Only rows for which this is true are found.
    pub filter: Option<FilterText>,
    /// Names of the partitions searched; empty means all.
    pub partitions: Vec<String>,
    /// Columns of the collection's Arrow schema to return.
    pub output: Vec<String>,
    /// Whether rows that are not in a sealed segment yet are left out.
    pub ignore_growing: bool,
    /// Groups of rows instead of rows; each group's rows come together. Not with `rerank` or `order`.
    pub group: Option<Grouping>,
    /// New scores for what was found. Not with `order`.
    pub rerank: Option<Rerank>,
    /// How the elements that a search of a hybrid one finds become rows; `None`: by the best, where they have to.
    pub collapse: Option<Collapse>,
    /// Order of the rows of each query, instead of best first; rows that it does not tell apart stay best first.
    pub order: Vec<OrderBy>,
    /// The rows as they were when this was taken; `None`: as they are now.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// Several searches of one collection, fused into one answer.
#[derive(Debug, Clone)]
pub struct HybridRequest {
    /// What is searched, the same in every arm.
    pub collection: Arc<Collection>,
    /// The searches, each with its own field, queries, limit, range, filter and parameters. All have the same number of
    /// queries. Their output, offset, order, rerank and snapshot are not looked at.
    pub arms: Vec<SearchRequest>,
    /// How their hits become one list.
    pub fusion: Fusion,
    /// New scores for the fused list.
    pub rerank: Option<Rerank>,
    /// Groups of the fused rows; `limit` and `offset` count them.
    pub group: Option<Grouping>,
    /// The score of a group out of its rows.
    pub group_score: ScoreMode,
    /// Rows or groups wanted of each query, at least 1.
    pub limit: usize,
    /// Rows or groups skipped of each query.
    pub offset: usize,
    /// Columns of the collection's Arrow schema to return.
    pub output: Vec<String>,
    /// The rows as they were when this was taken; `None`: as they are now.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// The neighbours of all queries, one query after the other.
#[derive(Debug, Clone)]
pub struct SearchResponse {
    /// Rows of each query, in the order of the queries; they sum up to the rows of `rows`.
    pub counts: Vec<usize>,
    /// The asked output columns and [`SCORE_COLUMN`] (Float32), before it [`ELEMENT_COLUMN`] (UInt32) when the hits are elements,
    /// best first within a query (groups: best group first,
    /// then best first within it); equal scores by ascending primary key.
    pub rows: RecordBatch,
    /// What the scores are.
    pub scoring: Scoring,
}

/// Rows by filter and/or primary keys, in primary key order.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// What is read.
    pub collection: Arc<Collection>,
    /// Only rows for which this is true.
    pub filter: Option<FilterText>,
    /// Only rows with these primary keys.
    pub keys: Option<Keys>,
    /// Names of the partitions read; empty means all.
    pub partitions: Vec<String>,
    /// Columns of the collection's Arrow schema to return.
    pub output: Vec<String>,
    /// At most so many rows; `None` means all.
    pub limit: Option<usize>,
    /// Rows skipped before the first one returned.
    pub offset: usize,
    /// Whether rows that are not in a sealed segment yet are left out.
    pub ignore_growing: bool,
    /// Order of the rows instead of that of their primary keys; rows that it does not tell apart stay in that one.
    pub order: Vec<OrderBy>,
    /// The rows as they were when this was taken; `None`: as they are now.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// Numbers out of rows.
#[derive(Debug, Clone)]
pub struct AggregateRequest {
    /// Which rows; its output and order are not looked at, its limit and offset count groups.
    pub rows: QueryRequest,
    /// Columns whose values together tell groups apart; NULL is a value, too. None: all rows are one group.
    pub group_by: Vec<String>,
    /// What is computed of each group.
    pub aggregates: Vec<Aggregate>,
}

/// One number of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Which one.
    pub kind: AggregateKind,
    /// Column whose values count, NULL left out; `None`: rows are counted.
    pub column: Option<String>,
    /// Name of the column in the answer.
    pub name: String,
}

/// The aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateKind {
    /// How many: INT64.
    Count,
    /// Of integers INT64, of floats DOUBLE; NULL of no values.
    Sum,
    /// DOUBLE; NULL of no values.
    Avg,
    /// The column's type; NULL of no values.
    Min,
    /// As [`AggregateKind::Min`].
    Max,
}

/// The answer to one SQL statement.
#[derive(Debug, Clone)]
pub struct SqlOutput {
    /// Schema of `batches`; empty for statements without a result set.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Rows written, for statements that write.
    pub affected: Option<u64>,
}

impl SqlOutput {
    /// The answer to a statement without a result set.
    pub fn done() -> Self {
        Self {
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            batches: Vec::new(),
            affected: None,
        }
    }

    /// The answer that is these rows.
    pub fn rows(rows: RecordBatch) -> Self {
        Self {
            schema: rows.schema(),
            batches: vec![rows],
            affected: None,
        }
    }

    /// The answer to a statement that wrote `rows` rows.
    pub fn affected(rows: u64) -> Self {
        Self {
            affected: Some(rows),
            ..Self::done()
        }
    }
}

#[cfg(test)]
mod tests {
    use elanus_index::{BitMetric, Metric};

    use super::*;

    fn window(
        metric: impl Into<AnyMetric>,
        radius: Option<f32>,
        range_filter: Option<f32>,
    ) -> Result<Window> {
        ScoreRange { radius, range_filter }.window(metric.into())
    }

    #[test]
    fn the_far_end_is_open_and_the_near_end_closed_in_every_metric() {
        for metric in [
            AnyMetric::from(Metric::L2),
            BitMetric::Hamming.into(),
            BitMetric::Jaccard.into(),
        ] {
            let range = window(metric, Some(2.0), Some(1.0)).unwrap();
            assert!(range.contains(1.0) && !range.contains(2.0) && range.contains(1.5));
        }
        for metric in [Metric::Ip, Metric::Cosine] {
            // distances of similarities are negative
            let range = window(metric, Some(0.25), Some(0.5)).unwrap();
            assert!(range.contains(-0.5) && !range.contains(-0.25) && range.contains(-0.3));
        }
        assert!(window(Metric::L2, None, None).unwrap().is_open());
    }

    #[test]
    fn ends_in_the_wrong_order_are_refused() {
        let reason =
            |metric: Metric, far, near| window(metric, Some(far), Some(near)).unwrap_err().to_string();
        assert!(
            reason(Metric::L2, 1.0, 2.0)
                .contains("range_filter(2) must be less than radius(1) for metric L2")
        );
        assert!(reason(Metric::L2, 1.0, 1.0).contains("must be less"));
        assert!(
            reason(Metric::Ip, 2.0, 1.0)
                .contains("range_filter(1) must be greater than radius(2) for metric IP")
        );
        assert!(reason(Metric::Ip, f32::NAN, 1.0).contains("not NaN"));
    }
}

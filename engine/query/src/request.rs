//! What the doors ask for, and what they get: typed requests without any wire format.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use elanus_collection::{Collection, Keys};
use elanus_filter::Templates;
use elanus_index::{AnyMetric, Window};

use crate::error::{QueryError, Result};

/// Name of the score column that [`SearchResponse::rows`] ends with.
pub const SCORE_COLUMN: &str = "_score";

/// A Milvus boolean expression and the values of its `{name}` templates.
#[derive(Debug, Clone, Default)]
pub struct FilterText {
    /// The expression; empty text matches every row.
    pub text: String,
    /// Values of the templates in `text`.
    pub templates: Templates,
}

/// The query vectors of a search, of the type of the searched field.
#[derive(Debug, Clone)]
pub enum Queries {
    /// 32-bit floats: `nq x dim`, row-major.
    Floats(Vec<f32>),
    /// A vector in each row, in the Arrow form of the field's type.
    Column(ArrayRef),
}

impl From<Vec<f32>> for Queries {
    fn from(values: Vec<f32>) -> Self {
        Self::Floats(values)
    }
}

/// Scores that a search may find, in Milvus' terms; by default every score.
///
/// Where a larger score is better (IP, COSINE): `radius < score <= range_filter`. Where a smaller one is (L2, HAMMING,
/// JACCARD): `range_filter <= score < radius`. So `radius` is the far end, which is not in the range, and `range_filter`
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
        Ok(Window::new(range_filter.map(distance), radius.map(distance)))
    }
}

/// A nearest-neighbour search of one vector field for `nq` queries.
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
}

/// The neighbours of all queries, one query after the other.
#[derive(Debug, Clone)]
pub struct SearchResponse {
    /// Rows of each query, in the order of the queries; they sum up to the rows of `rows`.
    pub counts: Vec<usize>,
    /// The asked output columns and [`SCORE_COLUMN`] (Float32), best first within a query;
    /// equal scores by ascending primary key.
    pub rows: RecordBatch,
    /// The metric that the scores are of.
    pub metric: AnyMetric,
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

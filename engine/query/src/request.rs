//! What the doors ask for, and what they get: typed requests without any wire format.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use elanus_collection::{Collection, Keys};
use elanus_filter::Templates;
use elanus_index::AnyMetric;

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

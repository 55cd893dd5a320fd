//! The physical operators over collections. One operator, one file.
//!
//! ```text
//!   ORDER BY v <-> q LIMIT k              SELECT .. WHERE ..      INSERT        DELETE
//!
//!        TakeRowsExec                     CollectionScanExec      DataSinkExec  ChangeRowsExec
//!             |                                                    (CollectionSink)    |
//!   SortPreservingMergeExec fetch=k                                    |         CollectionScanExec
//!   (TopKPerQueryExec when nq > 1)                                   source
//!             |
//!       AnnSearchExec  (a partition per group of units)
//! ```
//!
//! Between merge and rows, hybrid searches have `FuseExec` (hits of several searches) and reranked ones `RerankExec`.

mod allowed_rows;
pub(crate) mod ann_search;
pub(crate) mod change_rows;
pub(crate) mod collection_scan;
pub(crate) mod fuse;
pub(crate) mod insert_sink;
pub(crate) mod matching;
pub(crate) mod pause;
pub(crate) mod rerank;
pub(crate) mod take_rows;
pub(crate) mod top_k_per_query;
pub(crate) mod vector_join;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Float32Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, UInt32Type};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr, SendableRecordBatchStream};
use elanus_collection::Unit;
use futures::stream;

use crate::search::Hit;

/// Position of the query among the queries searched together.
pub(crate) const QUERY: &str = "_query";
/// Position of the unit in the snapshot.
pub(crate) const UNIT: &str = "_unit";
/// Row in the unit.
pub(crate) const ROW: &str = "_row";
/// Place in the list of the row, where elements are searched.
pub(crate) const ELEMENT: &str = "_element";
/// Distance, smaller is better; NULL when the row has no vector.
pub(crate) const DISTANCE: &str = "_distance";

/// What flows between the search operators: row addresses with their distance.
static HIT_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(QUERY, DataType::UInt32, false),
        Field::new(UNIT, DataType::UInt32, false),
        Field::new(ROW, DataType::UInt32, false),
        Field::new(DISTANCE, DataType::Float32, true),
        Field::new(ELEMENT, DataType::UInt32, true),
    ]))
});

/// The schema of hits.
pub(crate) fn hit_schema() -> SchemaRef {
    Arc::clone(&HIT_SCHEMA)
}

/// The order of hits: by query when there are several, then best first.
pub(crate) fn hit_ordering(several_queries: bool) -> Option<LexOrdering> {
    let ascending = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let by = |name: &str, index: usize| PhysicalSortExpr::new(Arc::new(Column::new(name, index)), ascending);
    let distance = by(DISTANCE, 3);
    LexOrdering::new(if several_queries {
        vec![by(QUERY, 0), distance]
    } else {
        vec![distance]
    })
}

/// Hits of each query as one batch, query after query.
pub(crate) fn hits_to_batch(hits: &[Vec<Hit>]) -> Result<RecordBatch> {
    let mut queries = Vec::new();
    for (query, hits) in hits.iter().enumerate() {
        queries.extend(std::iter::repeat_n(
            u32::try_from(query).unwrap_or(u32::MAX),
            hits.len(),
        ));
    }
    let all = || hits.iter().flatten();
    Ok(RecordBatch::try_new(
        hit_schema(),
        vec![
            Arc::new(UInt32Array::from(queries)),
            Arc::new(all().map(|hit| hit.unit).collect::<UInt32Array>()),
            Arc::new(all().map(|hit| hit.row).collect::<UInt32Array>()),
            Arc::new(all().map(|hit| hit.distance).collect::<Float32Array>()),
            Arc::new(all().map(|hit| hit.element).collect::<UInt32Array>()),
        ],
    )?)
}

/// Reads hits back: the query of each, and the hit.
pub(crate) fn batch_to_hits(batch: &RecordBatch) -> Result<Vec<(u32, Hit)>> {
    let numbers = |name: &str| {
        batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<UInt32Type>())
            .ok_or_else(|| DataFusionError::Internal(format!("hits have no column {name}")))
    };
    let (queries, units, rows) = (numbers(QUERY)?, numbers(UNIT)?, numbers(ROW)?);
    let elements = numbers(ELEMENT)?;
    let distances = batch
        .column_by_name(DISTANCE)
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .ok_or_else(|| DataFusionError::Internal(format!("hits have no column {DISTANCE}")))?;
    Ok((0..batch.num_rows())
        .map(|i| {
            let distance = distances.is_valid(i).then(|| distances.value(i));
            (
                queries.value(i),
                Hit {
                    unit: units.value(i),
                    row: rows.value(i),
                    element: elements.is_valid(i).then(|| elements.value(i)),
                    distance,
                },
            )
        })
        .collect())
}

/// Hits of batches for each of `nq` queries.
pub(crate) fn hits_of_queries(batches: &[RecordBatch], nq: usize) -> Result<Vec<Vec<Hit>>> {
    let mut queries = vec![Vec::new(); nq];
    for batch in batches {
        for (query, hit) in batch_to_hits(batch)? {
            match queries.get_mut(query as usize) {
                Some(hits) => hits.push(hit),
                None => return internal_err!("hit of query {query}, there are {nq}"),
            }
        }
    }
    Ok(queries)
}

/// Spreads units over at most `partitions` groups of about equal rows; units keep their numbers.
pub(crate) fn group_units(units: &[Arc<Unit>], partitions: usize) -> Vec<Vec<u32>> {
    let mut numbered: Vec<(u64, u32)> = units
        .iter()
        .enumerate()
        .filter(|(_, unit)| unit.live_rows() > 0)
        .map(|(number, unit)| (unit.live_rows(), u32::try_from(number).unwrap_or(u32::MAX)))
        .collect();
    let count = partitions.clamp(1, numbered.len().max(1));
    numbered.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut groups: Vec<(u64, Vec<u32>)> = vec![(0, Vec::new()); count];
    for (rows, number) in numbered {
        if let Some((load, group)) = groups.iter_mut().min_by_key(|(load, _)| *load) {
            *load += rows;
            group.push(number);
        }
    }
    let mut groups: Vec<Vec<u32>> = groups.into_iter().map(|(_, group)| group).collect();
    for group in &mut groups {
        group.sort_unstable();
    }
    groups
}

/// A stream of the one batch that `work` gives.
pub(crate) fn one_batch(
    schema: SchemaRef,
    work: impl Future<Output = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(work)))
}

/// The only child of an operator.
pub(crate) fn only_child(
    mut children: Vec<Arc<dyn ExecutionPlan>>,
    operator: &str,
) -> Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => internal_err!("{operator} has one child"),
    }
}

/// What an operator says of itself: `Name: key=value, key=value`, or in a tree one fact on each line.
pub(crate) fn write_facts(
    format: DisplayFormatType,
    f: &mut fmt::Formatter<'_>,
    name: &str,
    facts: &[(&str, String)],
) -> fmt::Result {
    match format {
        DisplayFormatType::Default | DisplayFormatType::Verbose => {
            write!(f, "{name}")?;
            for (place, (key, value)) in facts.iter().enumerate() {
                write!(f, "{}{key}={value}", if place == 0 { ": " } else { ", " })?;
            }
            Ok(())
        }
        // The name is the title of the box.
        DisplayFormatType::TreeRender => facts
            .iter()
            .try_for_each(|(key, value)| writeln!(f, "{key}={value}")),
    }
}

/// The value of an expression that reads no column.
pub(crate) fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    ScalarValue::try_from_array(&expr.evaluate(&row)?.into_array(1)?, 0)
}

/// The names of the columns, in their order.
pub(crate) fn column_names(schema: &Schema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}

/// The filter of an operator as one text, or `None` without one.
pub(crate) fn filter_text(predicates: &[Arc<crate::predicate::Predicate>]) -> Option<String> {
    (!predicates.is_empty()).then(|| {
        predicates
            .iter()
            .map(|predicate| predicate.text())
            .collect::<Vec<_>>()
            .join(" AND ")
    })
}

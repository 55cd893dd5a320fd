//! Units in which a filter is true nowhere, told from the bounds of their values (zone maps) instead of from the values.
//!
//! A filter is brought once into a condition on bounds (`price < 10` into `min(price) < 10`), by DataFusion's rewrite; each
//! sealed unit has the bounds of each group of its rows in the footer of its file, which is read once and kept.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{SegmentStatistics, Unit};

use crate::error::external;

/// A filter as a condition on the bounds of a unit's values.
#[derive(Debug)]
pub(crate) struct UnitPruning {
    predicate: Arc<PruningPredicate>,
    columns: Vec<String>,
}

impl UnitPruning {
    /// The condition for `filter` over `schema`; `None` when bounds say nothing about it.
    pub fn of(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Option<Self> {
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
        let predicate = builder.build(Arc::clone(filter))?;
        let columns = schema.fields().iter().map(|field| field.name().clone());
        Some(Self {
            predicate,
            columns: columns.collect(),
        })
    }

    /// Whether the filter is true for no row of a unit. False when that cannot be told.
    ///
    /// # Errors
    /// When the bounds cannot be read.
    pub async fn leaves_out(&self, unit: &Unit) -> Result<bool, DataFusionError> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let Some(statistics) = unit.statistics(&columns).await.map_err(external)? else {
            return Ok(false);
        };
        if statistics.columns.is_empty() {
            return Ok(false);
        }
        // A condition that fails on bounds (a cast out of range) tells nothing of the values between them.
        let may_be_true = self.predicate.prune(&Bounds(statistics));
        Ok(may_be_true.is_ok_and(|groups| !groups.contains(&true)))
    }
}

/// The groups of rows of a unit, as DataFusion wants them.
struct Bounds(SegmentStatistics);

impl PruningStatistics for Bounds {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.0.columns.get(&column.name)?;
        Some(Arc::clone(&column.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.0.columns.get(&column.name)?;
        Some(Arc::clone(&column.max))
    }

    fn num_containers(&self) -> usize {
        self.0.rows.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.0.columns.get(&column.name)?;
        Some(Arc::new(column.nulls.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.rows.clone()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

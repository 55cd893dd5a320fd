//! Units in which a filter is true nowhere, told from the bounds of their values (zone maps) instead of from the values.
//!
//! A filter is brought once into a condition on bounds (`price < 10` into `min(price) < 10`), by DataFusion's rewrite; each
//! sealed unit has the bounds of each group of its rows in the footer of its file, which is read once and kept.
//!
//! Where the bounds leave it open, and the filter wants one of some values of a column (`id = 5`, `name IN ('a', 'b')`), the
//! column's Bloom filters are asked, if it has any: they are read then, once, and kept too.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::utils::Guarantee;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{BloomValue, ColumnBlooms, SegmentStatistics, Unit};

use crate::error::external;

/// A filter as a condition on the bounds of a unit's values.
#[derive(Debug)]
pub(crate) struct UnitPruning {
    predicate: Arc<PruningPredicate>,
    columns: Vec<String>,
    /// Columns that must have one of some values for the filter to be true.
    pinned: BTreeSet<String>,
}

impl UnitPruning {
    /// The condition for `filter` over `schema`; `None` when bounds say nothing about it.
    pub fn of(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Option<Self> {
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
        let predicate = builder.build(Arc::clone(filter))?;
        let columns = schema.fields().iter().map(|field| field.name().clone());
        let guarantees = predicate.literal_guarantees().iter();
        let pinned = guarantees
            .filter(|guarantee| guarantee.guarantee == Guarantee::In)
            .filter(|guarantee| {
                guarantee
                    .literals
                    .iter()
                    .all(|value| bloom_value(value).is_some())
            })
            .map(|guarantee| guarantee.column.name.clone())
            .collect();
        Some(Self {
            predicate,
            columns: columns.collect(),
            pinned,
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
        let mut known = Known {
            statistics,
            blooms: HashMap::new(),
        };
        if self.is_true_nowhere(&known) {
            return Ok(true);
        }
        for column in &self.pinned {
            if let Some(blooms) = unit.blooms(column).await.map_err(external)? {
                known.blooms.insert(column.clone(), blooms);
            }
        }
        Ok(!known.blooms.is_empty() && self.is_true_nowhere(&known))
    }

    fn is_true_nowhere(&self, known: &Known) -> bool {
        // A condition that fails on bounds (a cast out of range) tells nothing of the values between them.
        let may_be_true = self.predicate.prune(known);
        may_be_true.is_ok_and(|groups| !groups.contains(&true))
    }
}

/// A value as Bloom filters know it; of other types there are none.
fn bloom_value(value: &ScalarValue) -> Option<BloomValue<'_>> {
    match value {
        ScalarValue::Int64(Some(number)) => Some(BloomValue::Int64(*number)),
        text => text.try_as_str().flatten().map(BloomValue::Text),
    }
}

/// What is known of the groups of rows of a unit, as DataFusion wants it.
struct Known {
    statistics: SegmentStatistics,
    blooms: HashMap<String, Arc<ColumnBlooms>>,
}

impl PruningStatistics for Known {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.statistics.columns.get(&column.name)?;
        Some(Arc::clone(&column.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.statistics.columns.get(&column.name)?;
        Some(Arc::clone(&column.max))
    }

    fn num_containers(&self) -> usize {
        self.statistics.rows.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.statistics.columns.get(&column.name)?;
        Some(Arc::new(column.nulls.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.statistics.rows.clone()))
    }

    /// False where the group has none of the values; no filter knows that it has one.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let blooms = self.blooms.get(&column.name)?;
        let mut may_have = vec![false; self.num_containers()];
        for value in values {
            let in_groups = blooms.may_have(bloom_value(value)?);
            for (may, here) in may_have.iter_mut().zip(in_groups) {
                *may |= here;
            }
        }
        Some(may_have.into_iter().map(|may| (!may).then_some(false)).collect())
    }
}

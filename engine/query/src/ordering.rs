//! Rows in the order of columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use datafusion::error::DataFusionError;
use elanus_collection::{CollectionSchema, DataType, Unit};

use crate::compute::{Compute, Wanted};
use crate::error::{QueryError, Result, did_you_mean, external};
use crate::grouping::Groups;
use crate::search::{Hit, order_equals, order_equals_of_each};
use crate::value_path::{ValuePath, columns_of};

/// Elementary steps that a value to be sorted is reckoned at.
const STEPS_PER_VALUE: u64 = 20;

/// A column that rows are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// Column of booleans, numbers, texts or instants, or a path into JSON: of that, numbers come before texts and these
    /// before truth values, and all else counts as NULL.
    pub column: String,
    /// Whether large values come first.
    pub descending: bool,
    /// Whether NULL comes before all values.
    pub nulls_first: bool,
}

/// An [`OrderBy`] that has been checked.
#[derive(Debug, Clone)]
pub(crate) struct SortKey {
    path: ValuePath,
    options: SortOptions,
}

impl OrderBy {
    /// # Errors
    /// [`QueryError::InvalidParameter`] for a column that is not there or has no order.
    pub(crate) fn key(&self, schema: &CollectionSchema) -> Result<SortKey> {
        let name = &self.column;
        let Some(path) = ValuePath::of(name, schema) else {
            let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
            let known = did_you_mean(name, &known, "fields");
            return Err(QueryError::InvalidParameter(format!(
                "order by field '{name}' not found{known}"
            )));
        };
        let options = SortOptions {
            descending: self.descending,
            nulls_first: self.nulls_first,
        };
        let Some(field) = schema.field(name).filter(|_| !path.is_json()) else {
            return Ok(SortKey { path, options });
        };
        match &field.data_type {
            DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::VarChar { .. }
            | DataType::Text
            | DataType::TimestampTz => Ok(SortKey { path, options }),
            other => Err(QueryError::InvalidParameter(format!(
                "order by field '{name}' is {}: allowed are BOOL, INT8, INT16, INT32, INT64, FLOAT, DOUBLE, VARCHAR, TIMESTAMPTZ and paths into JSON",
                other.name()
            ))),
        }
    }
}

/// Groups in which hits of equal distance are in primary key order, as are groups whose first hits are equally far.
pub(crate) async fn order_equal_groups(
    units: &[Arc<Unit>],
    primary_key: &str,
    mut groups: Groups,
) -> Result<Groups, DataFusionError> {
    order_equals_of_each(units, primary_key, &mut groups).await?;
    let mut firsts: Vec<Hit> = groups.iter().filter_map(|group| group.first().copied()).collect();
    order_equals(units, primary_key, &mut firsts).await?;
    Ok(by_firsts(groups, &firsts))
}

/// Groups in the order of their first hits.
fn by_firsts(groups: Groups, firsts: &[Hit]) -> Groups {
    let address = |hit: &Hit| (hit.unit, hit.row, hit.element);
    let mut by_first: HashMap<_, Vec<Hit>> = HashMap::with_capacity(groups.len());
    for group in groups {
        if let Some(first) = group.first() {
            by_first.insert(address(first), group);
        }
    }
    let group_of = |first: &Hit| by_first.remove(&address(first));
    firsts.iter().filter_map(group_of).collect()
}

/// Groups of hits in the order of columns of the first hit of each; what these do not tell apart keeps its order.
pub(crate) async fn order_groups(
    units: &[Arc<Unit>],
    order: &[SortKey],
    groups: Groups,
    compute: &Compute,
) -> Result<Groups, DataFusionError> {
    if order.is_empty() {
        return Ok(groups);
    }
    let first = |group: &Vec<Hit>| group.first().copied();
    let firsts = order_hits(
        units,
        order,
        groups.iter().filter_map(first).collect(),
        None,
        compute,
    )
    .await?;
    Ok(by_firsts(groups, &firsts))
}

/// The first `limit` of `hits` in the order of columns; what these do not tell apart keeps its order.
pub(crate) async fn order_hits(
    units: &[Arc<Unit>],
    order: &[SortKey],
    hits: Vec<Hit>,
    limit: Option<usize>,
    compute: &Compute,
) -> Result<Vec<Hit>, DataFusionError> {
    if order.is_empty() || hits.is_empty() {
        return Ok(hits);
    }
    let values = columns_of(units, order.iter().map(|key| &key.path), &hits).await?;
    let mut columns: Vec<SortColumn> = Vec::new();
    for (values, key) in values.iter().zip(order) {
        let keys = key.path.order_keys(values)?.into_iter();
        columns.extend(keys.map(|values| SortColumn {
            values,
            options: Some(key.options),
        }));
    }
    let places: ArrayRef = Arc::new(UInt32Array::from_iter_values((0_u32..).take(hits.len())));
    columns.push(SortColumn {
        values: places,
        options: None,
    });
    let steps = (hits.len() * columns.len()) as u64 * STEPS_PER_VALUE;
    let sort = move |_: Wanted<'_>| lexsort_to_indices(&columns, limit);
    let sorted = compute.run(steps, sort).await.map_err(external)??;
    let hit = |place: &u32| hits.get(*place as usize).copied();
    Ok(sorted.values().iter().filter_map(hit).collect())
}

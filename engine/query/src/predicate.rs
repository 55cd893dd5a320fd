//! A filter made ready to run on units: the physical expression over just the columns it reads.
//!
//! A filter that pins the primary key (`id = 5`, `id in [1, 2]`, alone or in a conjunction) also
//! knows those keys, so that a unit answers from its key index instead of reading columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{Collection, Keys};
use elanus_udfs::membership;

use crate::error::{Result, external};
use crate::index_filter::IndexFilter;
use crate::pruning::UnitPruning;
use crate::selection::{ElementFilter, FilterName, SelectionCache};

/// Bits of a filter with a longer text are not kept.
const MAX_NAMED_TEXT: usize = 8 << 10;

/// A boolean expression over columns of one collection.
#[derive(Debug)]
pub(crate) struct Predicate {
    expr: Arc<dyn PhysicalExpr>,
    /// Schema of the columns that `expr` reads, in the order of its column indexes.
    schema: SchemaRef,
    keys: Option<Keys>,
    /// What scalar indexes may answer of it.
    index: Option<IndexFilter>,
    /// What the bounds of a unit's values may tell of it.
    pruning: Option<UnitPruning>,
    /// What it says of elements, where these are searched one by one.
    elements: Option<ElementFilter>,
    /// Names the predicate in the cache; `None` when its bits are not kept.
    cache_key: Option<FilterName>,
    text: String,
}

impl Predicate {
    /// Compiles `filter`, whose columns are plain names of `collection`. `cache` gives it a name;
    /// `physical` turns the expression into its physical form over the schema it is given.
    pub fn new(
        filter: &Expr,
        collection: &Collection,
        cache: &SelectionCache,
        physical: impl Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError>,
    ) -> Result<Self, DataFusionError> {
        let names: BTreeSet<&str> = filter
            .column_refs()
            .into_iter()
            .map(|column| column.name.as_str())
            .collect();
        let fields: Vec<_> = collection
            .arrow_schema()
            .fields()
            .iter()
            .filter(|field| names.contains(field.name().as_str()))
            .cloned()
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let expr = physical(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
        let primary_key = &collection.schema().primary_key().map_err(external)?.name;
        let keys = keys_of(filter, primary_key);
        let text = filter.to_string();
        // Rows found by key need no bits, a volatile filter may give others the next time, and the
        // cache remembers each filter in whole.
        let is_kept = keys.is_none()
            && !filter.is_volatile()
            && text.len() <= MAX_NAMED_TEXT
            && !membership::holds_set(filter);
        let cache_key = is_kept.then(|| cache.name((collection.id(), collection.schema_version()), filter));
        let index = IndexFilter::of(filter, &schema, &physical);
        Ok(Self {
            pruning: UnitPruning::of(&expr, &schema),
            expr,
            schema,
            keys,
            index,
            elements: ElementFilter::of(filter, collection),
            cache_key,
            text,
        })
    }

    /// A predicate from a physical expression over `input`, for filters that hold a scalar subquery:
    /// its value may differ the next time, so the bits are not kept.
    pub fn from_physical(
        expr: Arc<dyn PhysicalExpr>,
        input: &Schema,
        text: String,
    ) -> Result<Self, DataFusionError> {
        let names: BTreeSet<String> = collect_columns(&expr)
            .iter()
            .map(|column| column.name().to_string())
            .collect();
        let fields: Vec<_> = input
            .fields()
            .iter()
            .filter(|field| names.contains(field.name()))
            .cloned()
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let expr = reassign_expr_columns(expr, &schema)?;
        Ok(Self {
            pruning: UnitPruning::of(&expr, &schema),
            expr,
            schema,
            keys: None,
            index: None,
            elements: None,
            cache_key: None,
            text,
        })
    }

    /// The physical expression.
    pub fn expr(&self) -> &Arc<dyn PhysicalExpr> {
        &self.expr
    }

    /// Names of the columns read, in the order [`Predicate::evaluate`] wants them.
    pub fn columns(&self) -> Vec<&str> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }

    /// Primary keys that every matching row has one of, when the filter says so.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// What scalar indexes may answer of the filter, if anything.
    pub fn index(&self) -> Option<&IndexFilter> {
        self.index.as_ref()
    }

    /// What the bounds of a unit's values may tell of the filter, if anything.
    pub fn pruning(&self) -> Option<&UnitPruning> {
        self.pruning.as_ref()
    }

    /// What the filter says of elements, when it has an `element_filter`.
    pub fn elements(&self) -> Option<&ElementFilter> {
        self.elements.as_ref()
    }

    /// Names the predicate in the cache, when its bits are kept.
    pub fn cache_key(&self) -> Option<FilterName> {
        self.cache_key
    }

    /// The filter as text, for plans.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which rows of `batch` (the columns of [`Predicate::columns`]) are true; NULL is not true.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer, DataFusionError> {
        // Units name their columns with the collection's full metadata; indexes are what counts here.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)?;
        let result = self.expr.evaluate(&batch)?.into_array(batch.num_rows())?;
        let Some(result) = result.as_any().downcast_ref::<BooleanArray>() else {
            // A filter that is NULL for every row has the null type.
            if result.null_count() == result.len() || result.data_type() == &arrow::datatypes::DataType::Null
            {
                return Ok(BooleanBuffer::new_unset(batch.num_rows()));
            }
            return Err(external(crate::QueryError::Plan(format!(
                "filter must be boolean, '{}' is {}",
                self.text,
                result.data_type()
            ))));
        };
        Ok(match result.nulls() {
            Some(nulls) => result.values() & nulls.inner(),
            None => result.values().clone(),
        })
    }
}

/// Keys that every row matching `filter` must have one of.
fn keys_of(filter: &Expr, primary_key: &str) -> Option<Keys> {
    let values = key_values(filter, primary_key)?;
    let mut ints = Vec::new();
    let mut texts = Vec::new();
    for value in &values {
        match value {
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)) => {
                texts.push(text.clone());
            }
            ScalarValue::Int64(Some(number)) => ints.push(*number),
            other => match other.cast_to(&arrow::datatypes::DataType::Int64) {
                Ok(ScalarValue::Int64(Some(number))) if other.data_type().is_integer() => ints.push(number),
                _ => return None,
            },
        }
    }
    match (ints.is_empty(), texts.is_empty()) {
        (_, true) => Some(Keys::Int64(ints)),
        (true, false) => Some(Keys::VarChar(texts)),
        (false, false) => None,
    }
}

fn key_values(filter: &Expr, primary_key: &str) -> Option<Vec<ScalarValue>> {
    let is_key = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == primary_key);
    let literal = |expr: &Expr| match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Eq if is_key(left) => literal(right).map(|value| vec![value]),
            Operator::Eq if is_key(right) => literal(left).map(|value| vec![value]),
            Operator::And => key_values(left, primary_key).or_else(|| key_values(right, primary_key)),
            Operator::Or => {
                let mut values = key_values(left, primary_key)?;
                values.extend(key_values(right, primary_key)?);
                Some(values)
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated && is_key(&list.expr) => list.list.iter().map(literal).collect(),
        Expr::Alias(alias) => key_values(&alias.expr, primary_key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn ints(filter: &Expr) -> Option<Vec<i64>> {
        match keys_of(filter, "id")? {
            Keys::Int64(keys) => Some(keys),
            Keys::VarChar(_) => None,
        }
    }

    #[test]
    fn keys_are_found_in_equalities_lists_and_conjunctions() {
        assert_eq!(ints(&col("id").eq(lit(5i64))), Some(vec![5]));
        assert_eq!(
            ints(&lit(5i32).eq(col("id")).and(col("a").gt(lit(1)))),
            Some(vec![5])
        );
        assert_eq!(
            ints(&col("id").in_list(vec![lit(1i64), lit(2i64)], false)),
            Some(vec![1, 2])
        );
        assert_eq!(
            ints(&col("id").eq(lit(1i64)).or(col("id").eq(lit(2i64)))),
            Some(vec![1, 2])
        );
    }

    #[test]
    fn filters_that_leave_the_key_open_have_no_keys() {
        assert_eq!(ints(&col("id").gt(lit(5i64))), None);
        assert_eq!(ints(&col("id").eq(lit(1i64)).or(col("a").eq(lit(2i64)))), None);
        assert_eq!(ints(&col("id").in_list(vec![lit(1i64)], true)), None);
        assert_eq!(ints(&col("id").eq(lit(1.5f64))), None);
    }
}

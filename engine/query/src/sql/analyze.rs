//! `ANALYZE [t [(a, b)]]`: reads tables, and says how many values, NULLs and distinct values their columns have.
//!
//! The planner knows the exact number of rows of a table at any time. What it does not know are the values: this
//! statement counts them, keeps the numbers in memory for the planner (as estimates, since rows change) until the table is
//! analyzed again or the process ends, and shows them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int64Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use elanus_collection::{Collection, DataType, Field};
use parking_lot::RwLock;
use sqlparser::ast::{Analyze, Ident};

use super::Router;
use super::create_table::normalized;
use super::threads::SqlThreads;
use crate::error::{QueryError, Result, did_you_mean};
use crate::memory::task_context;
use crate::request::SqlOutput;

/// What ANALYZE found: statistics of columns by their names, by collection.
#[derive(Debug, Default)]
pub(crate) struct AnalyzedTables(RwLock<HashMap<i64, Arc<HashMap<String, ColumnStatistics>>>>);

impl AnalyzedTables {
    /// The statistics of a table; `None` when it was not analyzed.
    pub fn of(&self, collection: i64) -> Option<Arc<HashMap<String, ColumnStatistics>>> {
        self.0.read().get(&collection).cloned()
    }

    /// Keeps statistics of some columns; those of others stay.
    fn keep(&self, collection: i64, found: HashMap<String, ColumnStatistics>) {
        let mut all = self.0.write();
        let slot = all.entry(collection).or_default();
        let mut columns = slot.as_ref().clone();
        columns.extend(found);
        *slot = Arc::new(columns);
    }
}

/// A row for each column.
pub(super) fn schema() -> SchemaRef {
    let text = |name: &str, nullable| ArrowField::new(name, ArrowType::Utf8, nullable);
    let count = |name: &str, nullable| ArrowField::new(name, ArrowType::UInt64, nullable);
    Arc::new(Schema::new(vec![
        text("table", false),
        text("column", false),
        count("rows", false),
        count("nulls", false),
        count("distinct_values", true),
        text("min", true),
        text("max", true),
    ]))
}

/// Whether values of the type are ordered and counted.
fn is_scalar(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::VarChar { .. }
            | DataType::Text
            | DataType::TimestampTz
    )
}

impl Router<'_> {
    /// Analyzes one table, or every table of the database.
    pub(super) async fn analyze(&self, analyze: &Analyze, threads: &SqlThreads) -> Result<SqlOutput> {
        let refused = [
            (analyze.partitions.is_some(), "PARTITION"),
            (analyze.cache_metadata, "CACHE METADATA"),
            (analyze.noscan, "NOSCAN"),
        ];
        if let Some((_, clause)) = refused.iter().find(|(given, _)| *given) {
            return Err(QueryError::Unsupported(format!("ANALYZE with {clause}")));
        }
        let mut shown = Shown::default();
        for collection in self.one_or_all(analyze.table_name.as_ref())? {
            let fields = wanted(&collection, &analyze.columns)?;
            let counted = self.count_values(&collection, &fields, threads).await?;
            let mut found = HashMap::new();
            for (place, field) in fields.iter().enumerate() {
                let statistics = shown.add(&collection, field, &counted, place)?;
                found.insert(field.name.clone(), statistics);
            }
            self.resources.analyzed.keep(collection.id(), found);
        }
        shown.finish()
    }

    /// One row: the number of rows, then for each field its values, and of scalars the distinct ones, least and greatest.
    async fn count_values(
        &self,
        collection: &Collection,
        fields: &[Field],
        threads: &SqlThreads,
    ) -> Result<RecordBatch> {
        let mut columns = vec!["count(*) AS c".to_string()];
        for (place, field) in fields.iter().enumerate() {
            let name = Ident::with_quote('"', &field.name);
            columns.push(format!("count({name}) AS n{place}"));
            if is_scalar(&field.data_type) {
                columns.push(format!("count(DISTINCT {name}) AS d{place}"));
            }
            // Booleans have two values and no order.
            if is_scalar(&field.data_type) && field.data_type != DataType::Bool {
                columns.push(format!("min({name}) AS l{place}, max({name}) AS g{place}"));
            }
        }
        let (database, name) = (collection.database(), collection.name());
        let query = format!(
            "SELECT {} FROM {}.{}",
            columns.join(", "),
            Ident::with_quote('"', database),
            Ident::with_quote('"', name)
        );
        let plan = self.plan(self.text(&query)?).await?;
        let session = self.session.clone();
        let counted = async move {
            let physical = session.state().create_physical_plan(&plan).await?;
            datafusion::physical_plan::collect(physical, task_context(&session)).await
        };
        let rows = threads.run(counted).await??;
        rows.into_iter()
            .find(|batch| batch.num_rows() == 1)
            .ok_or_else(|| QueryError::Internal("a count has no row".into()))
    }
}

fn wanted(collection: &Collection, columns: &[Ident]) -> Result<Vec<Field>> {
    let schema = collection.schema();
    if columns.is_empty() {
        return Ok(schema.fields.clone());
    }
    columns
        .iter()
        .map(|column| {
            let name = normalized(column);
            schema.field(&name).cloned().ok_or_else(|| {
                let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
                let near = did_you_mean(&name, &known, "columns");
                QueryError::Plan(format!(
                    "column '{name}' not found in table '{}'{near}",
                    collection.name()
                ))
            })
        })
        .collect()
}

#[derive(Default)]
struct Shown {
    tables: StringBuilder,
    columns: StringBuilder,
    rows: UInt64Builder,
    nulls: UInt64Builder,
    distinct: UInt64Builder,
    least: StringBuilder,
    greatest: StringBuilder,
}

impl Shown {
    /// Adds a column, and gives what the planner is told of it.
    fn add(
        &mut self,
        collection: &Collection,
        field: &Field,
        counted: &RecordBatch,
        place: usize,
    ) -> Result<ColumnStatistics> {
        let number = |name: String| -> Option<u64> {
            let column = counted.column_by_name(&name)?.as_primitive_opt::<Int64Type>()?;
            u64::try_from(column.value(0)).ok()
        };
        let rows = number("c".into()).unwrap_or_default();
        let nulls = rows - number(format!("n{place}")).unwrap_or_default();
        let distinct = number(format!("d{place}"));
        let value = |name: String| counted.column_by_name(&name).filter(|column| column.is_valid(0));
        let (least, greatest) = (value(format!("l{place}")), value(format!("g{place}")));
        let options = FormatOptions::default();
        let text = |column: Option<&ArrayRef>| -> Result<Option<String>> {
            let Some(column) = column else { return Ok(None) };
            let formatter = ArrayFormatter::try_new(column, &options)?;
            Ok(Some(formatter.value(0).try_to_string()?))
        };
        let bound = |column: Option<&ArrayRef>| -> Result<Precision<ScalarValue>> {
            match column {
                Some(column) => Ok(Precision::Inexact(ScalarValue::try_from_array(column, 0)?)),
                None => Ok(Precision::Absent),
            }
        };
        self.tables.append_value(collection.name());
        self.columns.append_value(&field.name);
        self.rows.append_value(rows);
        self.nulls.append_value(nulls);
        self.distinct.append_option(distinct);
        self.least.append_option(text(least)?);
        self.greatest.append_option(text(greatest)?);
        let about = |count: u64| Precision::Inexact(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(ColumnStatistics {
            null_count: about(nulls),
            distinct_count: distinct.map_or(Precision::Absent, about),
            min_value: bound(least)?,
            max_value: bound(greatest)?,
            ..ColumnStatistics::new_unknown()
        })
    }

    fn finish(mut self) -> Result<SqlOutput> {
        let rows = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(self.tables.finish()),
                Arc::new(self.columns.finish()),
                Arc::new(self.rows.finish()),
                Arc::new(self.nulls.finish()),
                Arc::new(self.distinct.finish()),
                Arc::new(self.least.finish()),
                Arc::new(self.greatest.finish()),
            ],
        )?;
        Ok(SqlOutput::rows(rows))
    }
}

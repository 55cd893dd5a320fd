//! Parameters of a statement: which there are, of what types, and their values in a plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ParamValues, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::expr::{Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Values, Volatility, WriteOp,
};
use elanus_udfs::vector::{VectorKind, to_vectors};

use super::input_schema;
use crate::error::{QueryError, Result};
use crate::sql::vector_text::vector_of_scalar;

/// The parameters of one plan, in the order in which values are given.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Name with its `$`, and a field of its type when it is known and one.
    fields: Vec<(String, Option<FieldRef>)>,
    numbered: bool,
}

/// The values of one run.
pub(super) struct Row<'a> {
    parameters: &'a Parameters,
    values: Vec<ScalarValue>,
}

impl Parameters {
    /// Finds the parameters of `plan`, and gives those in a distance their type.
    ///
    /// # Errors
    /// One parameter of two types, or numbers with gaps.
    pub fn infer(plan: LogicalPlan) -> Result<(LogicalPlan, Self)> {
        let names = plan.get_parameter_names()?;
        if names.is_empty() {
            let fields = Vec::new();
            return Ok((
                plan,
                Self {
                    fields,
                    numbered: true,
                },
            ));
        }
        let plan = with_inferred_types(plan)?;
        let mut known = types_in(&plan)?;
        let numbers: Option<BTreeMap<usize, &String>> =
            names.iter().map(|name| Some((number(name)?, name))).collect();
        let Some(numbers) = numbers else {
            let names: BTreeSet<&String> = names.iter().collect();
            let fields = names
                .into_iter()
                .map(|name| (name.clone(), known.remove(name).flatten()))
                .collect();
            return Ok((
                plan,
                Self {
                    fields,
                    numbered: false,
                },
            ));
        };
        let highest = numbers.keys().next_back().copied().unwrap_or_default();
        if highest > MAX_PARAMETERS {
            return Err(QueryError::Plan(format!(
                "parameter ${highest} is out of range: allowed are $1 to ${MAX_PARAMETERS}"
            )));
        }
        let fields = (1..=highest)
            .map(|number| {
                let name = format!("${number}");
                let data_type = known.remove(&name).flatten();
                (name, data_type)
            })
            .collect();
        Ok((
            plan,
            Self {
                fields,
                numbered: true,
            },
        ))
    }

    /// The parameters as a schema.
    pub fn schema(&self) -> Schema {
        let fields = self.fields.iter().map(|(name, field)| match field {
            // Whether bytes are bits or bfloat16s the type does not say.
            Some(field) => match VectorKind::of(field) {
                Some(kind) => kind.field(name).as_ref().clone(),
                None => Field::new(name, field.data_type().clone(), true),
            },
            None => Field::new(name, DataType::Null, true),
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// Whether the types of the parameters are all that optimizing `plan` needs of them.
    pub fn fixed_by_types(&self, plan: &LogicalPlan) -> Result<bool> {
        if self.fields.iter().any(|(_, field)| field.is_none()) {
            return Ok(false);
        }
        // The rules read a LIMIT's number, and put the time of now() in.
        let mut fixed = true;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                fixed &= !expr.exists(|expr| Ok(is_of_the_moment(expr)))?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            if let LogicalPlan::Limit(limit) = node {
                let mut numbers = limit.skip.iter().chain(&limit.fetch);
                fixed &= numbers.all(|number| matches!(number.as_ref(), Expr::Literal(..)));
            }
            if matches!(node, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) {
                fixed = false;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(fixed)
    }

    /// `rows` when their number of columns fits; `None` for a statement without parameters.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] saying how many values are missing or too many.
    pub fn check(&self, rows: Option<RecordBatch>) -> Result<Option<RecordBatch>> {
        let given = rows.as_ref().map_or(0, RecordBatch::num_columns);
        if given != self.fields.len() {
            let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
            return Err(QueryError::InvalidParameter(format!(
                "the statement has {} parameters{}, {given} values are given",
                self.fields.len(),
                if names.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", names.join(", "))
                }
            )));
        }
        if let (Some(rows), false) = (&rows, self.numbered) {
            let schema = rows.schema();
            let (found, missing): (Vec<_>, Vec<_>) = self
                .fields
                .iter()
                .map(|(name, _)| name.trim_start_matches('$'))
                .partition(|name| schema.index_of(name).is_ok());
            if !found.is_empty() && !missing.is_empty() {
                return Err(QueryError::InvalidParameter(format!(
                    "no value is given for {}, though for {}",
                    missing.join(", "),
                    found.join(", ")
                )));
            }
        }
        Ok(rows.filter(|_| given > 0))
    }

    /// The values in one row of `rows`.
    pub fn row(&self, rows: &RecordBatch, row: usize) -> Result<Row<'_>> {
        let values = (0..self.fields.len())
            .map(|index| ScalarValue::try_from_array(rows.column(self.column(rows, index)), row))
            .collect::<datafusion::error::Result<_>>()?;
        Ok(Row {
            parameters: self,
            values,
        })
    }

    /// Where in `rows` the parameter is: by position, or by name when the columns have the names.
    pub fn column(&self, rows: &RecordBatch, index: usize) -> usize {
        let name = self
            .fields
            .get(index)
            .map(|(name, _)| name.trim_start_matches('$'));
        match name {
            Some(name) if !self.numbered => rows.schema().index_of(name).unwrap_or(index),
            Some(_) | None => index,
        }
    }

    /// `INSERT .. VALUES ($1, f($2))` as an INSERT from the table of all parameter rows, so that many
    /// rows are one write; `None` when the plan is of another form.
    pub fn as_table(&self, plan: &LogicalPlan, rows: &RecordBatch) -> Result<Option<LogicalPlan>> {
        let LogicalPlan::Dml(insert) = plan else {
            return Ok(None);
        };
        if !matches!(insert.op, WriteOp::Insert(_)) || !is_values_of_one_row(&insert.input) {
            return Ok(None);
        }
        let mut elsewhere = false;
        plan.apply_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Values(_)) {
                node.apply_expressions(|expr| {
                    elsewhere |= has_placeholder(expr)?;
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if elsewhere {
            return Ok(None);
        }
        let bulk = plan.clone().transform_down(|node| match &node {
            LogicalPlan::Values(values) => {
                let table = self.parameter_table(values, rows)?;
                Ok(Transformed::new(table, true, TreeNodeRecursion::Jump))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(Some(bulk.data))
    }

    fn parameter_table(&self, values: &Values, rows: &RecordBatch) -> datafusion::error::Result<LogicalPlan> {
        let scan = self.table(rows)?;
        let columns = Arc::clone(scan.schema());
        let cells = values.values.first().map(Vec::as_slice).unwrap_or_default();
        let mut outputs = Vec::with_capacity(cells.len());
        for (cell, field) in cells.iter().zip(values.schema.fields()) {
            outputs.push(self.with_columns(cell.clone(), &columns)?.alias(field.name()));
        }
        LogicalPlanBuilder::from(scan).project(outputs)?.build()
    }

    /// All rows of parameters as a table, with a column for each parameter.
    pub fn table(&self, rows: &RecordBatch) -> datafusion::error::Result<LogicalPlan> {
        let columns = (0..self.fields.len()).map(|index| Arc::clone(rows.column(self.column(rows, index))));
        let columns: Vec<_> = columns.collect();
        let schema: Schema = self
            .fields
            .iter()
            .zip(&columns)
            .map(|((name, _), column)| Field::new(name, column.data_type().clone(), true))
            .collect::<Vec<_>>()
            .into_schema();
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns)?;
        let table = MemTable::try_new(Arc::new(schema), vec![vec![batch]])?;
        LogicalPlanBuilder::scan(TABLE, provider_as_source(Arc::new(table)), None)?.build()
    }

    /// `expr` with the columns of [`Parameters::table`] for its parameters.
    pub fn with_columns(&self, expr: Expr, columns: &DFSchema) -> datafusion::error::Result<Expr> {
        let replaced = expr.transform_up(|expr| {
            let Expr::Placeholder(Placeholder { id, field }) = &expr else {
                return Ok(Transformed::no(expr));
            };
            let column = Expr::Column(Column::new(Some(TABLE), id));
            Ok(Transformed::yes(match field {
                Some(field) if field.data_type() != &column.get_type(columns)? => {
                    Expr::Cast(Cast::new_from_field(Box::new(column), Arc::clone(field)))
                }
                Some(_) | None => column,
            }))
        })?;
        Ok(replaced.data)
    }

    /// Which parameter has the name.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.fields.iter().position(|(name, _)| name == id)
    }
}

/// Name of the table of parameters.
const TABLE: &str = "__elanus_parameters";

/// Most parameters of a statement, as in PostgreSQL.
const MAX_PARAMETERS: usize = 65_535;

trait IntoSchema {
    fn into_schema(self) -> Schema;
}

impl IntoSchema for Vec<Field> {
    fn into_schema(self) -> Schema {
        Schema::new(self)
    }
}

impl Row<'_> {
    /// The values in the inferred types; `None` when one of them would change by the conversion.
    pub fn exact(&self) -> Option<ParamValues> {
        let fields = self.parameters.fields.iter();
        let values = fields.zip(&self.values).map(|((_, field), value)| {
            let field = field.as_ref()?;
            Some(described(lossless(value, field)?, field))
        });
        Some(self.named(values.collect::<Option<_>>()?))
    }

    /// The values in the types in which they came.
    pub fn as_given(&self) -> ParamValues {
        self.named(self.values.iter().cloned().map(ScalarAndMetadata::from).collect())
    }

    fn named(&self, values: Vec<ScalarAndMetadata>) -> ParamValues {
        if self.parameters.numbered {
            return ParamValues::List(values);
        }
        let names = self.parameters.fields.iter().map(|(name, _)| name);
        let named: HashMap<String, ScalarAndMetadata> = names
            .zip(values)
            .map(|(name, value)| (name.trim_start_matches('$').to_string(), value))
            .collect();
        ParamValues::Map(named)
    }
}

/// `value` with what tells bfloat16s from bits, which are the same bytes to Arrow.
fn described(value: ScalarValue, field: &Field) -> ScalarAndMetadata {
    match VectorKind::of(field) {
        Some(kind @ VectorKind::BFloat16(_)) => {
            ScalarAndMetadata::new(value, Some(FieldMetadata::new_from_field(&kind.field(""))))
        }
        Some(_) | None => ScalarAndMetadata::from(value),
    }
}

/// `value` as `wanted`, when it means the same there.
fn lossless(value: &ScalarValue, wanted: &Field) -> Option<ScalarValue> {
    let kind = VectorKind::of(wanted);
    let wanted = wanted.data_type();
    let given = value.data_type();
    if &given == wanted {
        return Some(value.clone());
    }
    if value.is_null() {
        return ScalarValue::try_from(wanted).ok();
    }
    match kind {
        Some(VectorKind::Float(_)) => return as_vector(value, wanted),
        Some(kind) => {
            let given = value.to_array().ok()?;
            let from = VectorKind::of_type(given.data_type());
            let vector = to_vectors(kind, from, &given, false).ok()?;
            return ScalarValue::try_from_array(&vector, 0).ok();
        }
        None => {}
    }
    let there = value.cast_to(wanted).ok().filter(|there| !there.is_null())?;
    (there.cast_to(&given).ok()? == *value).then_some(there)
}

fn as_vector(value: &ScalarValue, wanted: &DataType) -> Option<ScalarValue> {
    let DataType::FixedSizeList(item, dim) = wanted else {
        return None;
    };
    let floats = vector_of_scalar(value, "", usize::try_from(*dim).ok()?).ok()??;
    let values = Arc::new(arrow::array::Float32Array::from(floats));
    let list = arrow::array::FixedSizeListArray::try_new(Arc::clone(item), *dim, values, None).ok()?;
    Some(ScalarValue::FixedSizeList(Arc::new(list)))
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

/// Types that DataFusion does not infer: `distance(v, $1)` is of a vector like `v`, `CAST($1 AS t)` is of a `t`.
fn with_inferred_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    let typed = plan.transform_up_with_subqueries(|node| {
        let schema = input_schema(&node)?;
        node.map_expressions(|expr| expr.transform_up(|expr| infer(expr, &schema)))
    })?;
    Ok(typed.data)
}

fn infer(expr: Expr, schema: &DFSchema) -> datafusion::error::Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(call) => {
            let vector = call.args.iter().find_map(|arg| {
                let (_, field) = arg.to_field(schema).ok()?;
                VectorKind::of(&field).map(|kind| kind.field(""))
            });
            let (Some(vector), true) = (vector, call.args.iter().any(is_untyped)) else {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            };
            let args = call.args.into_iter().map(|arg| typed(arg, &vector)).collect();
            let call = ScalarFunction::new_udf(call.func, args);
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::Cast(mut cast) if is_untyped(&cast.expr) => {
            *cast.expr = typed(*cast.expr, &cast.field);
            Ok(Transformed::yes(Expr::Cast(cast)))
        }
        expr => Ok(Transformed::no(expr)),
    }
}

fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

/// A parameter without a type as one of the type of `of`; anything else as it is.
fn typed(expr: Expr, of: &FieldRef) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => Expr::Placeholder(Placeholder {
            id,
            field: Some(Arc::clone(of)),
        }),
        expr => expr,
    }
}

fn has_placeholder(expr: &Expr) -> datafusion::error::Result<bool> {
    expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))
}

/// `VALUES` of one row under projections: what `INSERT .. VALUES (..)` is planned as.
fn is_values_of_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_values_of_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_values_of_one_row(&alias.input),
        LogicalPlan::Values(values) => values.values.len() == 1,
        _ => false,
    }
}

/// A call such as `now()`, with one value in a statement and another one in the next.
fn is_of_the_moment(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Stable)
}

/// The type of each parameter; none when it is not known, or differs from place to place.
fn types_in(plan: &LogicalPlan) -> Result<HashMap<String, Option<FieldRef>>> {
    let mut types: HashMap<String, Option<FieldRef>> = HashMap::new();
    let like =
        |a: &FieldRef, b: &FieldRef| a.data_type() == b.data_type() && VectorKind::of(a) == VectorKind::of(b);
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(Placeholder { id, field }) = expr {
                    let known = types.entry(id.clone()).or_insert_with(|| field.clone());
                    let same = match (known.as_ref(), field) {
                        (Some(known), Some(here)) => like(known, here),
                        (None, None) => true,
                        (Some(_), None) | (None, Some(_)) => false,
                    };
                    if !same {
                        *known = None;
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// For a statement that takes none.
///
/// # Errors
/// [`QueryError::InvalidParameter`] when there are some.
pub(super) fn refuse(rows: Option<&RecordBatch>) -> Result<()> {
    match rows.map_or(0, RecordBatch::num_columns) {
        0 => Ok(()),
        given => Err(QueryError::InvalidParameter(format!(
            "the statement has no parameters, {given} values are given"
        ))),
    }
}

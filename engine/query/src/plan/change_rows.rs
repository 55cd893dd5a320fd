//! `DELETE`, `UPDATE` and `MERGE` as a plan of our own: [`ChangeRows`] over the rows that a query finds.
//!
//! ```text
//!   Dml: op=[Update] table=[docs]                UpdateRows: table=docs, columns=[price]
//!     Projection: id, price + 1 AS price   =>      Projection: 2 AS action, docs.id, docs.__elanus_ts, price + 1
//!       Filter: id IN (<subquery>)                   Filter: id IN (<subquery>)
//!         TableScan: docs                              TableScan: docs, with row versions
//! ```
//!
//! DataFusion hands `DELETE` and `UPDATE` to a table as a list of filters and drops what it cannot express as one (a
//! subquery that has become a join), which would change too much. As a query every condition that SELECT understands
//! works, and the optimizer sees it. The version that is read with each row names that state of the row: the write is
//! refused, and the statement run again, when another write came in between.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, Result, TableReference, internal_err, not_impl_err, plan_err,
};
use datafusion::config::ConfigOptions;
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::logical_expr::conditional_expressions::CaseBuilder;
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable, Extension, JoinType, LogicalPlan, LogicalPlanBuilder,
    UserDefinedLogicalNodeCore, WriteOp, case, cast, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use elanus_collection::{Collection, CollectionSchema, TIMESTAMP_COLUMN};

use crate::error::external;
use crate::table::CollectionTable;

/// What happens to a row of the input, by the value of its first column.
pub(crate) mod action {
    /// A new row.
    pub(crate) const INSERT: i32 = 1;
    /// New values for a row that is there.
    pub(crate) const UPDATE: i32 = 2;
    /// The row goes.
    pub(crate) const DELETE: i32 = 3;
}

/// Number of the columns before the values: action, key, version.
pub(crate) const VALUES_FROM: usize = 3;

const CLAUSE: &str = "__elanus_clause";
const FROM_SOURCE: &str = "__elanus_source";

/// How the rows of a [`ChangeRows`] are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Effect {
    /// Name of the node.
    pub node: &'static str,
    /// Name of the operator.
    pub operator: &'static str,
    /// Names of the value columns.
    pub columns: Vec<String>,
    /// Those of them that an update changes in place; `None`: an update writes the whole row anew.
    pub in_place: Option<Vec<String>>,
    /// What happens when a new row's key is there or comes twice.
    pub keys: NewKeys,
}

/// What happens when the key of a new row is not new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum NewKeys {
    /// What the collection says.
    Any,
    /// The first row of a key is taken, the others are left out (`ON CONFLICT DO NOTHING`).
    First,
    /// Two rows of one key are an error (`ON CONFLICT DO UPDATE`).
    Distinct,
}

/// Changes rows of a collection; one row with their number comes out.
#[derive(Clone)]
pub(crate) struct ChangeRows {
    /// Gives action, key and version (NULL for a new row), and values.
    pub input: Arc<LogicalPlan>,
    /// What is changed.
    pub collection: Arc<Collection>,
    /// How.
    pub effect: Arc<Effect>,
    table: TableReference,
    schema: DFSchemaRef,
}

impl fmt::Debug for ChangeRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_for_explain(f)
    }
}

// A collection has no order; its table's name stands for it.
impl PartialEq for ChangeRows {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table && self.effect == other.effect && self.input == other.input
    }
}

impl Eq for ChangeRows {}

impl PartialOrd for ChangeRows {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (&self.table, &self.effect).partial_cmp(&(&other.table, &other.effect))
    }
}

impl std::hash::Hash for ChangeRows {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.table.hash(state);
        self.effect.hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for ChangeRows {
    fn name(&self) -> &str {
        self.effect.node
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: table={}", self.effect.node, self.table)?;
        match self.effect.writes() {
            Some(columns) => write!(f, ", columns={columns}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter();
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return internal_err!("{} has one input", self.effect.node);
        };
        Ok(Self {
            input: Arc::new(input),
            ..self.clone()
        })
    }
}

impl Effect {
    /// The columns that an update writes, to be shown; `None` when there are no updates.
    pub fn writes(&self) -> Option<String> {
        match &self.in_place {
            Some(columns) if columns.is_empty() => None,
            Some(columns) => Some(format!("[{}]", columns.join(", "))),
            None => Some("all".into()),
        }
    }
}

/// Turns every `DELETE`, `UPDATE` and `MERGE` on a collection into a [`ChangeRows`].
#[derive(Debug, Default)]
pub(crate) struct ChangeRule;

impl AnalyzerRule for ChangeRule {
    fn name(&self) -> &str {
        "change_rows_by_version"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up(|plan| {
            let LogicalPlan::Dml(dml) = &plan else {
                return Ok(Transformed::no(plan));
            };
            let Some(table) = table_of(dml) else {
                return Ok(Transformed::no(plan));
            };
            let target = Target { dml, table };
            match &dml.op {
                WriteOp::Delete => target.delete().map(Transformed::yes),
                WriteOp::Update => target.update().map(Transformed::yes),
                WriteOp::MergeInto(merge) => target.merge(merge).map(Transformed::yes),
                _ => Ok(Transformed::no(plan)),
            }
        })
        .map(|transformed| transformed.data)
    }
}

fn table_of(dml: &DmlStatement) -> Option<&CollectionTable> {
    let source = dml.target.downcast_ref::<DefaultTableSource>()?;
    source.table_provider.downcast_ref::<CollectionTable>()
}

/// The table that a statement changes.
struct Target<'a> {
    dml: &'a DmlStatement,
    table: &'a CollectionTable,
}

impl Target<'_> {
    fn delete(&self) -> Result<LogicalPlan> {
        let input = self.with_versions(&self.dml.input)?;
        let [key, version] = self.row_columns(&input)?;
        let rows = LogicalPlanBuilder::from(input)
            .project([lit(action::DELETE).alias("action"), key, version])?
            .build()?;
        let effect = Effect {
            node: "DeleteRows",
            operator: "DeleteRowsExec",
            columns: Vec::new(),
            in_place: Some(Vec::new()),
            keys: NewKeys::Any,
        };
        Ok(self.node(rows, effect))
    }

    fn update(&self) -> Result<LogicalPlan> {
        let LogicalPlan::Projection(projection) = self.dml.input.as_ref() else {
            return internal_err!("UPDATE of {} is not a projection", self.dml.table_name);
        };
        let input = self.with_versions(&projection.input)?;
        let [key, version] = self.row_columns(&input)?;
        let target = match &version {
            Expr::Column(column) => column.relation.clone(),
            _ => None,
        };
        let mut changed = Vec::new();
        let values = projection.expr.iter().zip(projection.schema.fields());
        for (expr, field) in values.clone() {
            let value = expr.clone().unalias();
            let same = matches!(&value, Expr::Column(column) if column.name == *field.name() && column.relation == target);
            if !same {
                changed.push(field.name().clone());
            }
        }
        let (columns, in_place) = self.written_columns(changed, false)?;
        let mut outputs = vec![lit(action::UPDATE).alias("action"), key, version];
        for column in &columns {
            match values.clone().find(|(_, field)| field.name() == column) {
                Some((expr, _)) => outputs.push(expr.clone().unalias().alias(format!("new.{column}"))),
                None => return internal_err!("UPDATE of {} has no column {column}", self.dml.table_name),
            }
        }
        let rows = LogicalPlanBuilder::from(input).project(outputs)?.build()?;
        let effect = Effect {
            node: "UpdateRows",
            operator: "UpdateRowsExec",
            columns,
            in_place,
            keys: NewKeys::Any,
        };
        Ok(self.node(rows, effect))
    }

    fn merge(&self, merge: &MergeIntoOp) -> Result<LogicalPlan> {
        let is = |kind: MergeIntoClauseKind| merge.clauses.iter().any(|clause| clause.kind == kind);
        let from_target = is(MergeIntoClauseKind::NotMatchedBySource);
        let from_source = is(MergeIntoClauseKind::NotMatched) || is(MergeIntoClauseKind::NotMatchedByTarget);
        let mut source = LogicalPlanBuilder::new_from_arc(Arc::clone(&self.dml.input));
        if from_target {
            let mut outputs: Vec<Expr> = source.schema().columns().into_iter().map(Expr::Column).collect();
            outputs.push(lit(true).alias(FROM_SOURCE));
            source = source.project(outputs)?;
        }
        let join_type = match (from_source, from_target) {
            (false, false) => JoinType::Inner,
            (true, false) => JoinType::Left,
            (false, true) => JoinType::Right,
            (true, true) => JoinType::Full,
        };
        let provider = provider_as_source(Arc::new(self.table.with_versions()));
        let target = LogicalPlanBuilder::scan(self.dml.table_name.clone(), provider, None)?.build()?;
        let joined = source.join_on(target, join_type, [merge.on.clone()])?.build()?;
        let [key, version] = self.row_columns(&joined)?;

        // Which clause a row falls under: the first one whose condition holds.
        let mut clause: Option<CaseBuilder> = None;
        for (number, one) in (0i32..).zip(&merge.clauses) {
            let there = version.clone().is_not_null();
            let given = || match from_target {
                true => Expr::Column(Column::from_name(FROM_SOURCE)).is_not_null(),
                false => lit(true),
            };
            let mut holds = match one.kind {
                MergeIntoClauseKind::Matched => there.and(given()),
                MergeIntoClauseKind::NotMatched | MergeIntoClauseKind::NotMatchedByTarget => {
                    version.clone().is_null()
                }
                MergeIntoClauseKind::NotMatchedBySource => there.and(Expr::Not(Box::new(given()))),
            };
            if let Some(predicate) = &one.predicate {
                holds = holds.and(predicate.clone());
            }
            clause = Some(match clause {
                None => when(holds, lit(number)),
                Some(mut earlier) => CaseBuilder::when(&mut earlier, holds, lit(number)),
            });
        }
        let Some(clause) = clause else {
            return plan_err!("MERGE INTO requires at least one WHEN clause");
        };
        let mut outputs: Vec<Expr> = joined.schema().columns().into_iter().map(Expr::Column).collect();
        outputs.push(clause.end()?.alias(CLAUSE));
        let clause = || Expr::Column(Column::from_name(CLAUSE));
        let found = LogicalPlanBuilder::from(joined)
            .project(outputs)?
            .filter(clause().is_not_null())?
            .build()?;

        let mut changed = Vec::new();
        let mut inserts = false;
        for one in &merge.clauses {
            match &one.action {
                MergeIntoAction::Update(assignments) => {
                    changed.extend(assignments.iter().map(|(column, _)| column.clone()));
                }
                MergeIntoAction::Insert { .. } => inserts = true,
                MergeIntoAction::Delete => {}
            }
        }
        let (columns, in_place) = self.written_columns(changed, inserts)?;
        let mut actions = Vec::new();
        for (number, one) in (0i32..).zip(&merge.clauses) {
            let action = match (&one.action, one.kind) {
                (MergeIntoAction::Update(_), kind) if kind_has_row(kind) => action::UPDATE,
                (MergeIntoAction::Delete, kind) if kind_has_row(kind) => action::DELETE,
                (MergeIntoAction::Insert { .. }, kind) if !kind_has_row(kind) => action::INSERT,
                (MergeIntoAction::Update(_) | MergeIntoAction::Delete, _) => {
                    return plan_err!(
                        "MERGE: WHEN NOT MATCHED has no row to update or delete, only INSERT is allowed"
                    );
                }
                (MergeIntoAction::Insert { .. }, _) => {
                    return plan_err!("MERGE: INSERT is allowed under WHEN NOT MATCHED only");
                }
            };
            actions.push((number, lit(action)));
        }
        let mut outputs = vec![
            choose(clause(), actions, None)?.alias("action"),
            key,
            version.clone(),
        ];
        for column in &columns {
            outputs.push(
                self.merged_value(merge, column, &version, &found)?
                    .alias(format!("new.{column}")),
            );
        }
        let rows = LogicalPlanBuilder::from(found).project(outputs)?.build()?;
        let effect = Effect {
            node: "MergeRows",
            operator: "MergeRowsExec",
            columns,
            in_place,
            keys: self.table.new_keys(),
        };
        Ok(self.node(rows, effect))
    }

    /// The value of a column under the clause that a row falls under.
    fn merged_value(
        &self,
        merge: &MergeIntoOp,
        column: &str,
        version: &Expr,
        rows: &LogicalPlan,
    ) -> Result<Expr> {
        let schema = self.dml.target.schema();
        let field = schema.field_with_name(column)?;
        let old = match version {
            Expr::Column(version) => Expr::Column(Column::new(version.relation.clone(), column)),
            _ => return internal_err!("a version is not a column"),
        };
        let mut values = Vec::new();
        for (number, one) in (0i32..).zip(&merge.clauses) {
            if let Some(value) = value_under(one, column, schema.as_ref())? {
                values.push((number, as_type_of(value, field, rows.schema())?));
            }
        }
        if values.is_empty() {
            return Ok(old);
        }
        choose(Expr::Column(Column::from_name(CLAUSE)), values, Some(old))
    }

    /// The columns that have to be read, and those that are changed in place; a vector or a key is not.
    fn written_columns(
        &self,
        changed: Vec<String>,
        whole: bool,
    ) -> Result<(Vec<String>, Option<Vec<String>>)> {
        let schema = self.table.collection().schema();
        let mut in_place: Vec<String> = Vec::new();
        for column in changed {
            if let Some(function) = schema.function_of(&column) {
                return plan_err!(
                    "column '{column}' is computed from '{}' and cannot be set",
                    function.input
                );
            }
            if !in_place.contains(&column) {
                in_place.push(column);
            }
        }
        let fixed = in_place.iter().any(|column| is_fixed(schema, column));
        let columns = if whole || fixed {
            let names = self.table.collection().arrow_schema();
            names.fields().iter().map(|field| field.name().clone()).collect()
        } else {
            in_place.clone()
        };
        Ok((columns, (!fixed).then_some(in_place)))
    }

    /// Key and version of the target's rows in a plan that [`Target::with_versions`] is under.
    fn row_columns(&self, plan: &LogicalPlan) -> Result<[Expr; 2]> {
        let schema = self.table.collection().schema();
        let key = &schema.primary_key().map_err(external)?.name;
        let columns = plan.schema().columns();
        let mut versions = columns
            .into_iter()
            .filter(|column| column.name == TIMESTAMP_COLUMN);
        match (versions.next(), versions.next()) {
            (Some(version), None) => Ok([
                Expr::Column(Column::new(version.relation.clone(), key)),
                Expr::Column(version),
            ]),
            _ => internal_err!(
                "a change of {} does not read its versions once",
                self.dml.table_name
            ),
        }
    }

    /// The plan with the row versions of its leftmost table, which is the one that is changed.
    fn with_versions(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if let LogicalPlan::TableScan(scan) = plan {
            let provider = provider_as_source(Arc::new(self.table.with_versions()));
            return LogicalPlanBuilder::scan_with_filters_fetch(
                scan.table_name.clone(),
                provider,
                None,
                scan.filters.clone(),
                scan.fetch,
            )?
            .build();
        }
        let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let Some(first) = inputs.first_mut() else {
            return not_impl_err!(
                "a change of {} whose rows are not from a table",
                self.dml.table_name
            );
        };
        *first = self.with_versions(first)?;
        plan.with_new_exprs(plan.expressions(), inputs)
    }

    fn node(&self, rows: LogicalPlan, effect: Effect) -> LogicalPlan {
        let node = ChangeRows {
            input: Arc::new(rows),
            collection: Arc::clone(self.table.collection()),
            effect: Arc::new(effect),
            table: self.dml.table_name.clone(),
            schema: Arc::clone(&self.dml.output_schema),
        };
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }
}

/// Whether a column decides where and how its row is kept, so that a change of it makes a new row.
fn is_fixed(schema: &CollectionSchema, column: &str) -> bool {
    schema.field(column).is_none_or(|field| schema.is_fixed(field))
}

fn kind_has_row(kind: MergeIntoClauseKind) -> bool {
    match kind {
        MergeIntoClauseKind::Matched | MergeIntoClauseKind::NotMatchedBySource => true,
        MergeIntoClauseKind::NotMatched | MergeIntoClauseKind::NotMatchedByTarget => false,
    }
}

/// What a clause gives a column; `None`: it stays.
fn value_under(clause: &MergeIntoClause, column: &str, schema: &Schema) -> Result<Option<Expr>> {
    Ok(match &clause.action {
        MergeIntoAction::Update(assignments) => {
            let assigned = assignments.iter().find(|(name, _)| name == column);
            assigned.map(|(_, value)| value.clone())
        }
        MergeIntoAction::Insert { columns, values } => {
            let position = match columns.is_empty() {
                true => schema.fields().iter().position(|field| field.name() == column),
                false => columns.iter().position(|name| name == column),
            };
            let value = position.and_then(|position| values.get(position)).cloned();
            Some(value.unwrap_or(Expr::Literal(ScalarValue::Null, None)))
        }
        MergeIntoAction::Delete => None,
    })
}

/// A value in the type of a column. Text becomes a vector by a rule of its own.
fn as_type_of(value: Expr, field: &Field, schema: &DFSchema) -> Result<Expr> {
    if let Expr::Placeholder(Placeholder { id, field: None }) = value {
        return Ok(Expr::Placeholder(Placeholder {
            id,
            field: Some(Arc::new(field.clone().with_nullable(true))),
        }));
    }
    match value.get_type(schema)? == *field.data_type() {
        true => Ok(value),
        false => Ok(cast(value, field.data_type().clone())),
    }
}

/// `CASE clause WHEN number THEN value .. ELSE otherwise END`.
fn choose(clause: Expr, values: Vec<(i32, Expr)>, otherwise: Option<Expr>) -> Result<Expr> {
    let mut builder = case(clause);
    for (number, value) in values {
        builder = builder.when(lit(number), value);
    }
    match otherwise {
        Some(value) => builder.otherwise(value),
        None => builder.end(),
    }
}

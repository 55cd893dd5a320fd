//! `milvus('price < 5 and tag in ["a"]')`: a Milvus expression as a condition of SQL.
//!
//! ```text
//!   Filter: milvus('price < 5') AND id > 3      =>      Filter: docs.price < Int32(5) AND id > 3
//!     TableScan: docs                                     TableScan: docs
//! ```
//!
//! The call is replaced before types are checked, by what the Milvus door makes of the text, so it may stand wherever a
//! condition may, is pushed into scans and searches, and means the same through both doors. Its names are columns of the
//! table that the statement reads; of several tables a second argument says which. Values for the places `{name}` of the text
//! follow as pairs of name and value, which may be parameters of the statement ([`crate::sql::milvus_calls`]). As long as one
//! of them has no value the call stays.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, TableReference, exec_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableScan,
    Volatility, WriteOp,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use elanus_collection::Collection;
use elanus_filter::{TemplateValue, Templates};
use elanus_udfs::membership::is_approximate;

use super::table_function::qualified;
use crate::error::external;
use crate::json_casts::with_casts;
use crate::table::CollectionTable;

pub(crate) const NAME: &str = "milvus";

/// The function, which is there to be found by its name; [`MilvusPredicateRule`] replaces each call.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MilvusPredicate {
    signature: Signature,
}

impl MilvusPredicate {
    /// To be registered.
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(Self {
            signature: Signature::variadic_any(Volatility::Stable),
        }))
    }
}

impl ScalarUDFImpl for MilvusPredicate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("milvus(..) takes a Milvus expression as a text literal")
    }
}

/// Replaces calls of `milvus` by the conditions that they mean.
#[derive(Debug, Default)]
pub(crate) struct MilvusPredicateRule;

impl AnalyzerRule for MilvusPredicateRule {
    fn name(&self) -> &str {
        "milvus_predicate"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changes = matches!(&plan, LogicalPlan::Dml(change) if matches!(change.op, WriteOp::Delete | WriteOp::Update));
        let replaced = plan.transform_up_with_subqueries(|node| {
            let inputs = node.inputs();
            if !has_call(&node)? {
                return Ok(Transformed::no(node));
            }
            let mut collections = Vec::new();
            let schema = match &node {
                // A call that waited for a value may have been pushed down.
                LogicalPlan::TableScan(scan) => {
                    add_collections(&node, &mut collections);
                    DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
                }
                _ if inputs.is_empty() => return Ok(Transformed::no(node)),
                _ => {
                    for input in &inputs {
                        add_collections(input, &mut collections);
                    }
                    merge_schema(&inputs)
                }
            };
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let replaced = expr.transform_up(|expr| match &expr {
                    Expr::ScalarFunction(call) if is_call(call) => {
                        match condition(call, &schema, &collections)? {
                            Some(condition) if changes && is_approximate(&condition) => {
                                plan_err!(
                                    "a change of rows cannot use membership_match with a set of type bloom, which finds \
                                     rows that are not in the set; use one of type roaring"
                                )
                            }
                            Some(condition) => Ok(Transformed::yes(condition)),
                            None => Ok(Transformed::no(expr)),
                        }
                    }
                    _ => Ok(Transformed::no(expr)),
                })?;
                Ok(match replaced.transformed {
                    true => replaced.update_data(|expr| name.restore(expr)),
                    false => replaced,
                })
            })
        })?;
        Ok(replaced.data)
    }
}

fn is_call(call: &ScalarFunction) -> bool {
    call.func.name() == NAME
}

fn has_call(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found =
            found || expr.exists(|part| Ok(matches!(part, Expr::ScalarFunction(call) if is_call(call))))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The collections that a plan reads as they are, and what they are called in it.
fn add_collections(plan: &LogicalPlan, found: &mut Vec<(TableReference, Arc<Collection>)>) {
    let mut add = |name: &TableReference, scan: &TableScan| {
        let source = scan.source.downcast_ref::<DefaultTableSource>();
        let table = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
        if let Some(table) = table {
            found.push((name.clone(), Arc::clone(table.collection())));
        }
    };
    if let LogicalPlan::TableScan(scan) = plan {
        add(&scan.table_name, scan);
    } else if let LogicalPlan::SubqueryAlias(alias) = plan {
        if let LogicalPlan::TableScan(scan) = alias.input.as_ref() {
            add(&alias.alias, scan);
        }
    } else {
        for input in plan.inputs() {
            add_collections(input, found);
        }
    }
}

fn condition(
    call: &ScalarFunction,
    schema: &DFSchema,
    collections: &[(TableReference, Arc<Collection>)],
) -> Result<Option<Expr>> {
    let literal = |expr: &Expr| match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    };
    let usage = || {
        plan_err!(
            "milvus takes a Milvus expression, the name of its table where there are several, both as text, and values \
             for what stands in braces: milvus('price < 5'), milvus('price < 5', 'docs'), milvus('price < {{most}}', most => 5)"
        )
    };
    let (first, table, values) = match call.args.as_slice() {
        [first] => (first, None, &[][..]),
        [first, table, values @ ..] => (first, Some(table), values),
        [] => return usage(),
    };
    let is_null = |table: &&Expr| matches!(table, Expr::Literal(value, _) if value.is_null());
    let table = match table.filter(|table| !is_null(table)) {
        Some(table) => match literal(table) {
            Some(table) => Some(table),
            None => return usage(),
        },
        None => None,
    };
    let (Some(filter), table) = (literal(first), table.as_deref()) else {
        return usage();
    };
    let mut templates = Templates::default();
    for pair in values.chunks(2) {
        let [name, value] = pair else { return usage() };
        let Some(name) = literal(name) else { return usage() };
        let Some(value) = constant(value)? else {
            return Ok(None);
        };
        let value = template(&name, &value)?;
        if templates.0.insert(name.clone(), value).is_some() {
            return plan_err!("milvus: the value '{name}' is given twice");
        }
    }
    let mut tables: Vec<&TableReference> = Vec::new();
    for (table, _) in schema.iter() {
        if let Some(table) = table
            && !tables.contains(&table)
        {
            tables.push(table);
        }
    }
    let named: Vec<&TableReference> = match table {
        Some(name) => tables
            .iter()
            .copied()
            .filter(|table| table.table() == name)
            .collect(),
        None => tables.clone(),
    };
    let known = || {
        let names: Vec<&str> = tables.iter().map(|table| table.table()).collect();
        names.join(", ")
    };
    let table = match (named.as_slice(), table) {
        ([only], _) => *only,
        ([], Some(name)) => return plan_err!("milvus: table '{name}' not found; there are {}", known()),
        ([], None) => return plan_err!("milvus: there is no table whose columns the expression could name"),
        (_, _) => {
            return plan_err!(
                "milvus: several tables, {}: say which one is meant, milvus('..', 'table')",
                known()
            );
        }
    };
    let fields: Vec<_> = schema
        .iter()
        .filter(|(of, _)| *of == Some(table))
        .map(|(_, field)| Arc::clone(field))
        .collect();
    let filter = elanus_filter::compile(&filter, &Schema::new(fields), &templates);
    let mut filter = filter.map_err(external)?;
    if let Some((_, collection)) = collections.iter().find(|(name, _)| name == table) {
        filter = with_casts(filter, collection)?;
    }
    qualified(filter, table).map(Some)
}

/// What an expression without columns comes to; none as long as a parameter in it has no value.
fn constant(expr: &Expr) -> Result<Option<ScalarValue>> {
    if expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))? {
        return Ok(None);
    }
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    let coerced = simplifier.coerce(expr.clone(), &DFSchema::empty())?;
    match simplifier.simplify(coerced)?.unalias() {
        Expr::Literal(value, _) => Ok(Some(value)),
        other => plan_err!("milvus: a value is a constant or a parameter, not {other}"),
    }
}

/// The value of the place `name`.
fn template(name: &str, value: &ScalarValue) -> Result<TemplateValue> {
    let refused = || {
        plan_err!(
            "milvus: the value '{name}' is of type {}: allowed are BOOLEAN, integers, numbers, texts, BYTEA (a set for \
             membership_match) and arrays of these, none of them NULL",
            value.data_type()
        )
    };
    if value.is_null() {
        return refused();
    }
    if let ScalarValue::List(list) = value {
        let items = list.value(0);
        let items = (0..items.len()).map(|row| template(name, &ScalarValue::try_from_array(&items, row)?));
        return Ok(TemplateValue::Array(items.collect::<Result<_>>()?));
    }
    if let Some(text) = value.try_as_str().flatten() {
        return Ok(TemplateValue::String(text.to_string()));
    }
    if let ScalarValue::Boolean(Some(flag)) = value {
        return Ok(TemplateValue::Bool(*flag));
    }
    if let ScalarValue::Binary(Some(bytes))
    | ScalarValue::LargeBinary(Some(bytes))
    | ScalarValue::BinaryView(Some(bytes)) = value
    {
        return Ok(TemplateValue::Bytes(bytes.as_slice().into()));
    }
    let data_type = value.data_type();
    if data_type.is_integer()
        && let ScalarValue::Int64(Some(number)) = value.cast_to(&DataType::Int64)?
    {
        return Ok(TemplateValue::Int(number));
    }
    if (data_type.is_floating() || data_type.is_decimal())
        && let ScalarValue::Float64(Some(number)) = value.cast_to(&DataType::Float64)?
    {
        return Ok(TemplateValue::Float(number));
    }
    refused()
}

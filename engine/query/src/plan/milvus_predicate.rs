//! `milvus('price < 5 and tag in ["a"]')`: a Milvus expression as a condition of SQL.
//!
//! ```text
//!   Filter: milvus('price < 5') AND id > 3      =>      Filter: docs.price < Int32(5) AND id > 3
//!     TableScan: docs                                     TableScan: docs
//! ```
//!
//! The call is replaced before types are checked, by what the Milvus door makes of the text, so it may stand wherever a
//! condition may, is pushed into scans and searches, and means the same through both doors. Its names are columns of the
//! table that the statement reads; of several tables a second argument says which.

use std::sync::Arc;

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
    TypeSignature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use elanus_collection::Collection;
use elanus_filter::Templates;

use super::table_function::qualified;
use crate::error::external;
use crate::json_casts::with_casts;
use crate::table::CollectionTable;

const NAME: &str = "milvus";

/// The function, which is there to be found by its name; [`MilvusPredicateRule`] replaces each call.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MilvusPredicate {
    signature: Signature,
}

impl MilvusPredicate {
    /// To be registered.
    pub fn function() -> Arc<ScalarUDF> {
        let texts = (1..=2).map(|count| TypeSignature::Exact(vec![DataType::Utf8; count]));
        Arc::new(ScalarUDF::from(Self {
            signature: Signature::one_of(texts.collect(), Volatility::Stable),
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
        let replaced = plan.transform_up_with_subqueries(|node| {
            let inputs = node.inputs();
            if inputs.is_empty() || !has_call(&node)? {
                return Ok(Transformed::no(node));
            }
            let schema = merge_schema(&inputs);
            let mut collections = Vec::new();
            for input in inputs {
                add_collections(input, &mut collections);
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let replaced = expr.transform_up(|expr| match &expr {
                    Expr::ScalarFunction(call) if is_call(call) => {
                        condition(call, &schema, &collections).map(Transformed::yes)
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
) -> Result<Expr> {
    let literal = |expr: &Expr| match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    };
    let texts: Option<Vec<String>> = call.args.iter().map(literal).collect();
    let (filter, table) = match texts.as_deref() {
        Some([filter]) => (filter, None),
        Some([filter, table]) => (filter, Some(table.as_str())),
        _ => {
            return plan_err!(
                "milvus takes a Milvus expression, and the name of its table where there are several, as text: \
                 milvus('price < 5'), milvus('price < 5', 'docs')"
            );
        }
    };
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
    let filter = elanus_filter::compile(filter, &Schema::new(fields), &Templates::default());
    let mut filter = filter.map_err(external)?;
    if let Some((_, collection)) = collections.iter().find(|(name, _)| name == table) {
        filter = with_casts(filter, collection)?;
    }
    qualified(filter, table)
}

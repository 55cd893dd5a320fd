//! Generated columns: `terms SPARSEVEC GENERATED ALWAYS AS (bm25(body)) STORED`.
//!
//! `bm25` counts the terms of a text column, as an analyzer makes them; a second argument describes the analyzer as in
//! `analyzer_params` of Milvus. The text column becomes one that is analyzed and may be matched. `minhash` makes the
//! signatures of the texts; a second argument has the parameters of Milvus' MinHash function. Its words are those of the
//! column's analyzer, if it has one.

use std::collections::BTreeMap;

use elanus_collection::{ANALYZER_PARAMS, ENABLE_ANALYZER, ENABLE_MATCH, Field, FunctionKind, TextFunction};
use serde_json::Value as Json;
use sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan,
};

use super::create_table::normalized;
use crate::error::{QueryError, Result};

const USAGE: &str = "a generated column is bm25(column) or bm25(column, '<analyzer params as JSON>'), or minhash(column) or \
                     minhash(column, '<params as JSON>')";

/// A column that is computed, and the analyzer it asks for.
pub(super) struct Generated {
    /// What computes it.
    pub function: TextFunction,
    analyzer: Option<String>,
}

/// The columns without their expressions, which come as functions.
///
/// # Errors
/// [`QueryError::Unsupported`] for any other expression.
pub(super) fn take(columns: &[ColumnDef]) -> Result<(Vec<ColumnDef>, Vec<Generated>)> {
    let (mut plain, mut functions) = (Vec::with_capacity(columns.len()), Vec::new());
    for column in columns {
        let mut column = column.clone();
        let at = column.options.iter().position(|option| {
            let generated = &option.option;
            matches!(
                generated,
                ColumnOption::Generated {
                    generation_expr: Some(_),
                    ..
                }
            )
        });
        if let Some(at) = at
            && let ColumnOption::Generated {
                generation_expr: Some(expr),
                ..
            } = column.options.remove(at).option
        {
            functions.push(function(&normalized(&column.name), &expr)?);
            column.options.push(sqlparser::ast::ColumnOptionDef {
                name: None,
                option: ColumnOption::NotNull,
            });
        }
        plain.push(column);
    }
    Ok((plain, functions))
}

fn function(column: &str, expr: &Expr) -> Result<Generated> {
    let other = || QueryError::Unsupported(format!("column '{column}' as ({expr}); {USAGE}"));
    let Expr::Function(call) = expr else {
        return Err(other());
    };
    let FunctionArguments::List(arguments) = &call.args else {
        return Err(other());
    };
    let name = call.name.to_string().to_ascii_lowercase();
    if !matches!(name.as_str(), "bm25" | "minhash") {
        return Err(other());
    }
    let plain = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let arguments: Option<Vec<Expr>> = arguments.args.iter().map(plain).collect();
    let (input, params) = match arguments.as_deref() {
        Some([Expr::Identifier(input)]) => (input, None),
        Some(
            [
                Expr::Identifier(input),
                Expr::Value(ValueWithSpan {
                    value: Value::SingleQuotedString(params),
                    ..
                }),
            ],
        ) => (input, Some(params.clone())),
        _ => return Err(other()),
    };
    let function = TextFunction::new(format!("{name}_{column}"), normalized(input), column);
    if name == "bm25" {
        return Ok(Generated {
            function,
            analyzer: params,
        });
    }
    let params = params.map_or_else(|| Ok(BTreeMap::new()), |text| params_of(column, &text))?;
    Ok(Generated {
        function: function.of_kind(FunctionKind::MinHash { params }),
        analyzer: None,
    })
}

/// The parameters of a function, written as an object of JSON.
fn params_of(column: &str, text: &str) -> Result<BTreeMap<String, String>> {
    let object: serde_json::Map<String, Json> = serde_json::from_str(text).map_err(|error| {
        QueryError::Plan(format!(
            "column '{column}': params of minhash are an object of JSON: {error}"
        ))
    })?;
    let value = |value: Json| match value {
        Json::String(text) => text,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    };
    Ok(object
        .into_iter()
        .map(|(name, given)| (name, value(given)))
        .collect())
}

/// Makes the columns whose terms are counted analyzed ones.
///
/// # Errors
/// [`QueryError::Plan`] when a column is not there, or two functions ask for different analyzers of one.
pub(super) fn analyze_inputs(functions: &[Generated], fields: &mut [Field]) -> Result<()> {
    for Generated { function, analyzer } in functions {
        if !function.is_bm25() {
            continue;
        }
        let Some(input) = fields.iter_mut().find(|field| field.name == function.input) else {
            return Err(QueryError::Plan(format!(
                "column '{}' is computed from '{}', which is not a column of the table",
                function.output, function.input
            )));
        };
        let params = analyzer.clone().unwrap_or_default();
        let before = input.params.insert(ANALYZER_PARAMS.into(), params.clone());
        if before.is_some_and(|before| before != params) {
            return Err(QueryError::Plan(format!(
                "column '{}' has one analyzer, two functions ask for different ones",
                input.name
            )));
        }
        for switch in [ENABLE_ANALYZER, ENABLE_MATCH] {
            input.params.insert(switch.into(), "true".into());
        }
    }
    Ok(())
}

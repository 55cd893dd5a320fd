//! `as_of(t, snapshot => 'before')`, `as_of(t, version => 7)`: what `t AS OF SNAPSHOT before` and `t AS OF VERSION 7` are read
//! as (`sql/as_of.rs`).
//!
//! The table keeps its name, so that its columns are called as ever. Planning does not wait for files: whoever plans a
//! statement has opened the states that it names.

use std::sync::Arc;

use datafusion::common::{Result, TableReference, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use elanus_collection::{Collection, SnapshotRef};
use sqlparser::ast::{
    Expr as SqlExpr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Value, ValueWithSpan,
};

use super::Call;
use super::arguments::{Function, literal_text};
use crate::error::external;
use crate::table::CollectionTable;

pub(super) const AS_OF: Function = Function {
    name: "as_of",
    arguments: &["table", "snapshot", "version"],
    usage: "as_of(table, snapshot => 'name') or as_of(table, version => 7)",
};

/// Whether this is the name of the function.
pub(crate) fn is_as_of(name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    part.as_ident().is_some_and(|ident| match ident.quote_style {
        None => ident.value.eq_ignore_ascii_case(AS_OF.name),
        Some(_) => ident.value == AS_OF.name,
    })
}

/// The arguments of a call that stands where an expression may.
pub(crate) fn arguments_of(call: &SqlFunction) -> Vec<FunctionArg> {
    match &call.args {
        FunctionArguments::List(list) => list.args.clone(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => Vec::new(),
    }
}

/// The table and its state that the arguments name; `None` when they are others.
pub(crate) fn target(arguments: &[FunctionArg]) -> Option<(Vec<Ident>, SnapshotRef)> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(table)), state] = arguments else {
        return None;
    };
    let table = match table {
        SqlExpr::Identifier(name) => vec![name.clone()],
        SqlExpr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    let (name, value) = match state {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            ..
        }
        | FunctionArg::ExprNamed {
            name: SqlExpr::Identifier(name),
            arg: FunctionArgExpr::Expr(value),
            ..
        } => (name, value),
        _ => return None,
    };
    let state = match name.value.to_ascii_lowercase().as_str() {
        "snapshot" => SnapshotRef::Name(literal_text(value)?),
        "version" => match value {
            SqlExpr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) => SnapshotRef::Version(number.parse().ok()?),
            _ => return None,
        },
        _ => return None,
    };
    Some((table, state))
}

impl Call<'_> {
    pub(super) fn past_table(mut self, arguments: &[FunctionArg]) -> Result<LogicalPlan> {
        let (table, past) = self.past(arguments)?;
        let provider = CollectionTable::new(past, Arc::clone(&self.planner.resources));
        LogicalPlanBuilder::scan(table, provider_as_source(Arc::new(provider)), None)?.build()
    }

    /// The table that is named and the state that it had.
    pub(super) fn past(&mut self, arguments: &[FunctionArg]) -> Result<(TableReference, Arc<Collection>)> {
        let (parts, wanted) = target(arguments).ok_or_else(|| {
            plan_datafusion_err!("{}: the state of a table is given as {}", AS_OF.name, AS_OF.usage)
        })?;
        let (table, collection) = self.table(SqlExpr::CompoundIdentifier(parts))?;
        let info = collection.snapshot_info(&wanted).map_err(external)?;
        let past = collection.opened_at(info.version).ok_or_else(|| {
            plan_datafusion_err!(
                "{wanted} of table {table} was made anew meanwhile: send the statement again"
            )
        })?;
        Ok((table, past))
    }
}

//! Reading the arguments of a search in FROM: by position, by name, as text, as numbers, as parameters of an index.

use std::collections::BTreeMap;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::logical_expr::planner::RelationPlannerContext;
use elanus_index::{IndexKind, SearchParams};
use sqlparser::ast::{
    Array, Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, UnaryOperator, Value, ValueWithSpan,
};

use crate::error::did_you_mean;

/// What can be called, and how.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name.
    pub name: &'static str,
    /// What may be given by name.
    pub arguments: &'static [&'static str],
    /// How it is called.
    pub usage: &'static str,
}

/// The arguments of a call by name, those that were given by position still in their order.
pub(super) struct Arguments {
    pub function: &'static Function,
    pub named: BTreeMap<String, SqlExpr>,
    pub positional: Vec<SqlExpr>,
}

impl Arguments {
    /// Reads the arguments of a call.
    ///
    /// # Errors
    /// A name that is not there or is there twice, a value without one behind one that has one.
    pub fn read(
        function: &'static Function,
        arguments: Vec<FunctionArg>,
        context: &dyn RelationPlannerContext,
    ) -> Result<Self> {
        let Function {
            name: of,
            arguments: known,
            usage,
        } = function;
        let (mut named, mut positional) = (BTreeMap::new(), Vec::new());
        for argument in arguments {
            let (name, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if named.is_empty() => {
                    positional.push(value);
                    continue;
                }
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(value),
                    ..
                } => (context.normalize_ident(name), value),
                FunctionArg::ExprNamed {
                    name: SqlExpr::Identifier(name),
                    arg: FunctionArgExpr::Expr(value),
                    ..
                } => (context.normalize_ident(name), value),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                    return plan_err!("{of}: '{value}' has no name but stands behind one that has; {usage}");
                }
                other => return plan_err!("{of}: '{other}' is no argument; {usage}"),
            };
            // As the clause is called.
            let name = if name == "limit" { "k".to_string() } else { name };
            if !known.contains(&name.as_str()) {
                let known = did_you_mean(&name, known, "arguments");
                return plan_err!("{of} has no argument '{name}'{known}");
            }
            if named.insert(name.clone(), value).is_some() {
                return plan_err!("{of}: argument '{name}' is given twice");
            }
        }
        Ok(Self {
            function,
            named,
            positional,
        })
    }

    /// The argument of this name, or else the next one by position.
    pub fn take(&mut self, name: &str) -> Option<SqlExpr> {
        match self.named.remove(name) {
            Some(value) => Some(value),
            None if self.positional.is_empty() => None,
            None => Some(self.positional.remove(0)),
        }
    }

    /// The same of one that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&mut self, name: &str) -> Result<SqlExpr> {
        let Function { name: of, usage, .. } = self.function;
        self.take(name)
            .ok_or_else(|| plan_datafusion_err!("{of}: argument '{name}' is missing; {usage}"))
    }

    /// Refuses values that no argument has taken.
    ///
    /// # Errors
    /// When there is one.
    pub fn finish(&self) -> Result<()> {
        let Function { name: of, usage, .. } = self.function;
        match self.positional.first() {
            Some(extra) => plan_err!("{of}: '{extra}' is one argument too many; {usage}"),
            None => Ok(()),
        }
    }

    /// The text of this name.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&mut self, name: &str, example: &str) -> Result<Option<String>> {
        let given = self.named.remove(name);
        given
            .map(|given| text(self.function, &given, name, example))
            .transpose()
    }

    /// Whether it is so; `default` when it does not say.
    ///
    /// # Errors
    /// Anything but true and false.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.named.remove(name) {
            None => Ok(default),
            Some(SqlExpr::Value(ValueWithSpan {
                value: Value::Boolean(flag),
                ..
            })) => Ok(flag),
            Some(other) => plan_err!("{}: {name} is true or false, not {other}", self.function.name),
        }
    }

    /// The number of this name.
    ///
    /// # Errors
    /// Anything but a number as it is written.
    pub fn number(&mut self, name: &str) -> Result<Option<f32>> {
        let Some(given) = self.named.remove(name) else {
            return Ok(None);
        };
        match literal_number(&given) {
            Some(number) => Ok(Some(number)),
            None => plan_err!("{}: {name} is a number, not {given}", self.function.name),
        }
    }

    /// The whole number of this name, at least 1.
    ///
    /// # Errors
    /// Anything but such a number as it is written.
    pub fn whole_number(&mut self, name: &str) -> Result<Option<usize>> {
        let Some(given) = self.named.remove(name) else {
            return Ok(None);
        };
        let number = match &given {
            SqlExpr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) => number.parse().ok().filter(|number| *number >= 1),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => plan_err!(
                "{}: {name} is a whole number of at least 1, not {given}",
                self.function.name
            ),
        }
    }

    /// The numbers of this name.
    ///
    /// # Errors
    /// Anything but a list of numbers as they are written.
    pub fn numbers(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(given) = self.named.remove(name) else {
            return Ok(None);
        };
        let numbers = match &given {
            SqlExpr::Array(Array { elem, .. }) => elem.iter().map(literal_number).collect(),
            _ => None,
        };
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => plan_err!(
                "{}: {name} is a list of numbers, such as [0.7, 0.3], not {given}",
                self.function.name
            ),
        }
    }

    /// The parameters of an index.
    ///
    /// # Errors
    /// Names that are not there, values out of range.
    pub fn search_params(&mut self) -> Result<SearchParams> {
        match self.text("params", "'ef=200'")? {
            Some(text) => search_params(self.function, &text),
            None => Ok(SearchParams::default()),
        }
    }
}

fn literal_number(given: &SqlExpr) -> Option<f32> {
    match given {
        SqlExpr::Value(ValueWithSpan {
            value: Value::Number(number, _),
            ..
        }) => number.parse().ok(),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => literal_number(expr).map(|number| -number),
        _ => None,
    }
}

/// The text that is written here.
pub(super) fn literal_text(given: &SqlExpr) -> Option<String> {
    match given {
        SqlExpr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text) => Some(text.clone()),
            Value::DollarQuotedString(text) => Some(text.value.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// A text, or a name without quotes.
pub(super) fn text(function: &Function, given: &SqlExpr, argument: &str, example: &str) -> Result<String> {
    match given {
        SqlExpr::Identifier(Ident { value, .. }) => Ok(value.clone()),
        other => literal_text(other).ok_or_else(|| {
            plan_datafusion_err!(
                "{}: {argument} is given as text, such as {example}, not {given}",
                function.name
            )
        }),
    }
}

/// What `params` may name.
const SEARCH_PARAMS: [&str; 19] = [
    "ef",
    "seed_ef",
    "nprobe",
    "max_empty_result_buckets",
    "refine_k",
    "reorder_k",
    "rbq_bits_query",
    "rbq_query_bits",
    "drop_ratio_search",
    "refine_factor",
    "dim_max_score_ratio",
    "search_list",
    "beamwidth",
    "itopk_size",
    "search_width",
    "min_iterations",
    "max_iterations",
    "team_size",
    "retrieval_ann_ratio",
];

/// `ef=200, nprobe=16`.
fn search_params(function: &Function, text: &str) -> Result<SearchParams> {
    let of = function.name;
    let mut given = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return plan_err!("{of}: '{}' of params is not name=value", pair.trim());
        };
        let name = name.trim().to_ascii_lowercase();
        if !SEARCH_PARAMS.contains(&name.as_str()) {
            let known = did_you_mean(&name, &SEARCH_PARAMS, "parameters");
            return plan_err!("{of}: params has no '{name}'{known}");
        }
        if given.insert(name.clone(), value.trim().to_string()).is_some() {
            return plan_err!("{of}: '{name}' is twice in params");
        }
    }
    let of_kind = |kind| SearchParams::parse(kind, &given, 0).map_err(|e| plan_datafusion_err!("{of}: {e}"));
    Ok(SearchParams {
        ef: of_kind(IndexKind::Hnsw)?.ef,
        seed_ef: of_kind(IndexKind::Hnsw)?.seed_ef,
        nprobe: of_kind(IndexKind::IvfFlat)?.nprobe,
        max_empty_result_buckets: of_kind(IndexKind::IvfFlat)?.max_empty_result_buckets,
        refine_k: of_kind(IndexKind::IvfPq)?.refine_k,
        reorder_k: of_kind(IndexKind::Scann)?.reorder_k,
        rbq_bits_query: of_kind(IndexKind::IvfRabitq)?.rbq_bits_query,
        disk: of_kind(IndexKind::DiskAnn)?.disk,
        cagra: of_kind(IndexKind::GpuCagra)?.cagra,
        sparse: of_kind(IndexKind::SparseInverted)?.sparse,
        retrieval_ann_ratio: of_kind(IndexKind::Flat)?.retrieval_ann_ratio,
        ..SearchParams::default()
    })
}

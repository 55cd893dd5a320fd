//! `hybrid_search(..)` in FROM: several searches of one table, fused into one list of rows.
//!
//! ```text
//!   FROM hybrid_search(docs, search(dense, $1, k => 50), search(sparse, $2, k => 50, filter => 'price < 5'), k => 10)
//!
//!   HybridSearch: k=10, fusion=rrf(k=60), searches=[..]     docs.*, _score
//!     TableScan: docs
//!     Projection: __elanus_row                              rows that all searches may find, only where the
//!       ..                                                  filter has IN (SELECT ..) or EXISTS
//! ```
//!
//! SQL has no clauses that a fusion could be written in without naming each search twice, so a call is a node of its own,
//! [`HybridSearch`].

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, Result, TableReference, plan_datafusion_err, plan_err};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, lit};
use elanus_collection::Collection;
use sqlparser::ast::{
    Expr as SqlExpr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments,
};

use super::Call;
use super::arguments::{Arguments, Function};
use super::columns::{Columns, Compared};
use crate::collapse::{ArmElements, Collapse, collapses as collapses_of};
use crate::error::{QueryError, external};
use crate::fusion::Fusion;
use crate::plan::distance::Distance;
use crate::plan::hybrid_search::{Arm, HybridSearch, RerankBy};
use crate::request::{ELEMENT_COLUMN, SCORE_COLUMN};
use crate::table::{ADDRESS_COLUMN, CollectionTable, SearchOptions};

pub(super) const HYBRID_SEARCH: Function = Function {
    name: "hybrid_search",
    arguments: &[
        "table",
        "k",
        "ranker",
        "rrf_k",
        "weights",
        "norm_score",
        "filter",
        "rerank",
        "rerank_params",
        "rerank_k",
        "rerank_text",
    ],
    usage: "hybrid_search(table, search(..), search(..), .., k => .., ranker => 'rrf' or 'weighted', rrf_k => .., \
            weights => [..], norm_score => .., filter => .., rerank => .., rerank_params => .., rerank_k => .., \
            rerank_text => ..)",
};

/// One of the searches of a hybrid search.
const SEARCH: Function = Function {
    name: "search",
    arguments: &[
        "column",
        "query",
        "k",
        "metric",
        "filter",
        "params",
        "exact",
        "collapse",
        "collapse_topk",
    ],
    usage: "search([column,] query, k => .., metric => .., filter => .., params => .., exact => .., collapse => .., \
            collapse_topk => ..)",
};

/// The constant of reciprocal rank fusion, as everywhere.
const RRF_K: f32 = 60.0;

impl Call<'_> {
    pub(super) fn hybrid_search(mut self, arguments: Vec<FunctionArg>) -> Result<LogicalPlan> {
        let mut searches = Vec::new();
        let mut others = Vec::new();
        for argument in arguments {
            match searched(&argument) {
                Some(arguments) => searches.push(arguments),
                None => others.push(argument),
            }
        }
        let mut arguments = Arguments::read(self.function, others, self.context)?;
        let (table, collection) = self.table(arguments.required("table")?)?;
        let k = arguments.required("k")?;
        let k = self.k(k)?;
        arguments.finish()?;
        if searches.is_empty() {
            return plan_err!("hybrid_search: there is no search(..); {}", HYBRID_SEARCH.usage);
        }
        let fusion = fusion(&mut arguments, searches.len())?;
        let filter = arguments.named.remove("filter");
        let rerank = self.rerank(&mut arguments)?;
        // A search finds as many rows as the reranker sees, unless it says itself how many.
        let of_arm = match rerank.as_ref().map(|rerank| rerank.candidates(&k)).transpose()? {
            Some(Some(candidates)) => lit(candidates),
            Some(None) | None => k.clone(),
        };
        self.function = &SEARCH;
        self.fused(
            &table,
            &collection,
            filter,
            (Some(fusion), rerank),
            |call, schema| {
                let (mut arms, mut collapses) = (Vec::new(), Vec::new());
                for arguments in searches {
                    let mut arguments = Arguments::read(&SEARCH, arguments, call.context)?;
                    let compared = call.compared(&mut arguments, &table, &collection, Columns::All)?;
                    collapses.push(collapse(&mut arguments)?);
                    let (table, of_arm) = ((&table, &*collection, schema), Some(&of_arm));
                    arms.push(call.search(&mut arguments, compared, table, of_arm)?.0);
                }
                bring_together(&mut arms, &collapses, schema)?;
                Ok((arms, k.clone()))
            },
        )
    }

    /// The node of several searches of a table, which `searches` gives over its columns, with the number of rows wanted.
    pub(super) fn fused(
        &mut self,
        table: &TableReference,
        collection: &Arc<Collection>,
        filter: Option<SqlExpr>,
        (fusion, rerank): (Option<Fusion>, Option<RerankBy>),
        searches: impl FnOnce(&mut Self, &DFSchema) -> Result<(Vec<Arm>, Expr)>,
    ) -> Result<LogicalPlan> {
        self.check_free(collection, table, SCORE_COLUMN)?;
        let given = filter;
        let provider = CollectionTable::new(Arc::clone(collection), Arc::clone(&self.planner.resources));
        let addressed = provider.with_addresses();
        let scan = scan_of(table, provider)?;
        let mut filter = None;
        let mut allowed = None;
        if let Some(given) = given {
            let given = self.filter(given, collection, table, scan.schema())?;
            if has_subquery(&given) {
                let address = Expr::Column(Column::new(Some(table.clone()), ADDRESS_COLUMN));
                let rows = LogicalPlanBuilder::from(scan_of(table, addressed)?)
                    .filter(given)?
                    .project([address])?;
                allowed = Some(Arc::new(rows.build()?));
            } else {
                filter = Some(given);
            }
        }
        let (arms, k) = searches(self, scan.schema())?;
        let rerank = match rerank {
            Some(rerank) => Some(Self::checked(collection, &arms, &k, rerank, scan.schema())?),
            None => None,
        };
        let order = (fusion, rerank);
        let elements = finds_elements(&arms, scan.schema());
        if elements {
            self.check_free(collection, table, ELEMENT_COLUMN)?;
        }
        let node = HybridSearch::new(Arc::new(scan), allowed, filter, arms, order, (k, elements), table)?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    /// One search, and its query; `k` is what it finds when it does not say.
    pub(super) fn search(
        &mut self,
        arguments: &mut Arguments,
        compared: Compared,
        (table, collection, schema): (&TableReference, &Collection, &DFSchema),
        k: Option<&Expr>,
    ) -> Result<(Arm, Expr)> {
        let query = arguments.required("query")?;
        let query = self.context.sql_to_expr(query, &DFSchema::empty())?;
        if query.contains_outer() {
            return Err(external(QueryError::Unsupported(format!(
                "{0}(..) for every row of another table: the query of {0}(..) cannot be a column",
                self.function.name
            ))));
        }
        let k = match (k, arguments.take("k")) {
            (_, Some(own)) => self.k(own)?,
            (Some(k), None) => k.clone(),
            (None, None) => {
                let k = arguments.required("k")?;
                self.k(k)?
            }
        };
        arguments.finish()?;
        let filter = match arguments.named.remove("filter") {
            Some(given) => Some(self.filter(given, collection, table, schema)?),
            None => None,
        };
        if filter.as_ref().is_some_and(has_subquery) {
            return Err(external(QueryError::Unsupported(
                "IN (SELECT ..) and EXISTS in the filter of one search(..); in the filter of hybrid_search, which is \
                 about all of them, they may be"
                    .into(),
            )));
        }
        let arm = Arm {
            distance: self.distance(compared, query.clone())?,
            k,
            filter,
            range: Vec::new(),
            groups: None,
            collapse: None,
            options: SearchOptions {
                params: arguments.search_params()?,
                exact: arguments.flag("exact", false)?,
            },
        };
        Ok((arm, query))
    }
}

/// How the elements that a search finds become rows, when it says so.
fn collapse(arguments: &mut Arguments) -> Result<Option<Collapse>> {
    let topk = arguments.whole_number("collapse_topk")?;
    let Some(given) = arguments.text("collapse", "'max'")? else {
        return match topk {
            Some(_) => plan_err!("search: collapse_topk is of collapse => 'topk_sum' and 'topk_avg'"),
            None => Ok(None),
        };
    };
    Ok(Some(match (given.to_ascii_lowercase().as_str(), topk) {
        ("max", None) => Collapse::Max,
        ("sum", None) => Collapse::Sum,
        ("avg", None) => Collapse::Avg,
        ("topk_sum", Some(topk)) => Collapse::TopSum(topk),
        ("topk_avg", Some(topk)) => Collapse::TopAvg(topk),
        ("topk_sum" | "topk_avg", None) => {
            return plan_err!(
                "search: collapse => '{given}' needs collapse_topk => .., the elements of a row that count"
            );
        }
        ("max" | "sum" | "avg", Some(_)) => {
            return plan_err!(
                "search: collapse_topk is of collapse => 'topk_sum' and 'topk_avg', not of '{given}'"
            );
        }
        _ => {
            return plan_err!(
                "search: there is no collapse '{given}'; allowed are 'max', 'sum', 'avg', 'topk_sum', 'topk_avg'"
            );
        }
    }))
}

/// Says of each search how its elements become rows, where they do.
fn bring_together(arms: &mut [Arm], collapses: &[Option<Collapse>], schema: &DFSchema) -> Result<()> {
    let parts: Vec<Distance> = arms
        .iter()
        .filter_map(|arm| Distance::of(&arm.distance, schema))
        .collect();
    let fields: Vec<String> = parts.iter().map(Distance::field).collect();
    let of_arms = parts.iter().zip(&fields).zip(collapses);
    let of_arms = of_arms.map(|((parts, field), collapse)| ArmElements {
        field,
        metric: parts.metric,
        elements: parts.elements,
        collapse: *collapse,
    });
    let of_arms: Vec<ArmElements<'_>> = of_arms.collect();
    let together = collapses_of(&of_arms).map_err(external)?;
    for (arm, collapse) in arms.iter_mut().zip(together) {
        arm.collapse = collapse;
    }
    Ok(())
}

/// Whether what the searches find together are elements of lists.
fn finds_elements(arms: &[Arm], schema: &DFSchema) -> bool {
    let is_one = |arm: &Arm| Distance::of(&arm.distance, schema).is_some_and(|parts| parts.elements);
    !arms.is_empty() && arms.iter().all(|arm| is_one(arm) && arm.collapse.is_none())
}

/// The arguments of `search(..)`, when the argument is that.
fn searched(argument: &FunctionArg) -> Option<Vec<FunctionArg>> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Function(call))) = argument else {
        return None;
    };
    let SqlFunction {
        name,
        args:
            FunctionArguments::List(FunctionArgumentList {
                args,
                duplicate_treatment: None,
                clauses,
            }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group,
        ..
    } = call
    else {
        return None;
    };
    let plain = clauses.is_empty() && within_group.is_empty();
    let ours = name.to_string().eq_ignore_ascii_case(SEARCH.name);
    (plain && ours).then(|| args.clone())
}

fn scan_of(table: &TableReference, provider: CollectionTable) -> Result<LogicalPlan> {
    let provider: Arc<dyn TableProvider> = Arc::new(provider);
    LogicalPlanBuilder::scan(table.clone(), provider_as_source(provider), None)?.build()
}

/// Whether the condition is about rows of another query.
pub(super) fn has_subquery(filter: &Expr) -> bool {
    let found = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
        ))
    });
    !matches!(found, Ok(false))
}

/// How so many searches become one.
fn fusion(arguments: &mut Arguments, searches: usize) -> Result<Fusion> {
    let ranker = arguments.text("ranker", "'rrf'")?;
    let ranker = ranker.map_or("rrf".to_string(), |name| name.to_ascii_lowercase());
    let rrf_k = arguments.number("rrf_k")?;
    let weights = arguments.numbers("weights")?;
    let says_norm_score = arguments.named.contains_key("norm_score");
    let normalize = arguments.flag("norm_score", true)?;
    let fusion = match ranker.as_str() {
        "rrf" if says_norm_score => {
            return plan_err!(
                "hybrid_search: norm_score is of the ranker 'weighted', 'rrf' looks at no scores"
            );
        }
        "rrf" => Fusion::Rrf {
            k: rrf_k.unwrap_or(RRF_K),
            weights,
        },
        "weighted" if rrf_k.is_some() => {
            return plan_err!("hybrid_search: rrf_k is of the ranker 'rrf', not of 'weighted'");
        }
        "weighted" => Fusion::Weighted {
            weights: weights.ok_or_else(|| {
                plan_datafusion_err!(
                    "hybrid_search: the ranker 'weighted' needs weights => [..], one for each search"
                )
            })?,
            normalize,
        },
        other => {
            return plan_err!("hybrid_search: there is no ranker '{other}'; rankers are 'rrf', 'weighted'");
        }
    };
    fusion.check(searches).map_err(external)?;
    Ok(fusion)
}

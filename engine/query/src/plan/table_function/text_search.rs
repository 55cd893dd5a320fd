//! `text_search(..)` in FROM: full-text search by BM25.
//!
//! ```text
//!   FROM text_search(posts, 'kite field', 10)       posts.*, _score: larger is better
//! ```
//!
//! A hybrid search with a single search: rows that share no term with the query are not found, as nobody would look for
//! them, which no `ORDER BY .. LIMIT` says.

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::FunctionArg;

use super::arguments::{Arguments, Function};
use super::{Call, Columns};
use crate::fusion::{Fusion, ScoreMode};

pub(super) const TEXT_SEARCH: Function = Function {
    name: "text_search",
    arguments: &[
        "table",
        "column",
        "query",
        "k",
        "filter",
        "params",
        "exact",
        "rerank",
        "rerank_params",
        "rerank_k",
        "rerank_text",
    ],
    usage: "text_search(table, [column,] query, k, filter => .., params => .., exact => .., rerank => .., \
            rerank_params => .., rerank_k => .., rerank_text => ..)",
};

impl Call<'_> {
    pub(super) fn text_search(mut self, arguments: Vec<FunctionArg>) -> Result<LogicalPlan> {
        let mut arguments = Arguments::read(self.function, arguments, self.context)?;
        let (table, collection) = self.table(arguments.required("table")?)?;
        // The score itself: there is nothing to fuse it with.
        let fusion = Fusion::Combined {
            mode: ScoreMode::Max,
            normalize: false,
        };
        let filter = arguments.named.remove("filter");
        let order = match self.rerank(&mut arguments)? {
            Some(rerank) => (None, Some(rerank)),
            None => (Some(fusion), None),
        };
        self.fused(&table, &collection, filter, order, |call, schema| {
            let compared = call.compared(&mut arguments, &table, &collection, Columns::OfTexts)?;
            let table = (&table, &*collection, schema);
            let (arm, _) = call.search(&mut arguments, compared, table, None)?;
            let k = arm.k.clone();
            Ok((vec![arm], k))
        })
    }
}

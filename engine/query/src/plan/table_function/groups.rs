//! `vector_search(.., group_by => shop, group_size => 2)`: the nearest groups of rows instead of the nearest rows.
//!
//! ```text
//!   Projection: docs.*, l2_distance(embedding, $1) AS _distance
//!     VectorSearch: k=10, group_by=[shop], group_size=2, distance=l2_distance(embedding, $1), filter=price < 5
//!       TableScan: docs
//! ```
//!
//! No clause of SQL says how far such a search goes ([`crate::grouping`]), so a call is a node of its own at once.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use elanus_collection::Collection;
use sqlparser::ast::{Array, Expr as SqlExpr};

use super::Call;
use super::arguments::{Arguments, text};
use super::hybrid_search::has_subquery;
use crate::error::{QueryError, external};
use crate::plan::vector_search::{Groups, VectorSearch};
use crate::search::MAX_NEIGHBOURS;

impl Call<'_> {
    /// The groups that a search wants, if it does.
    pub(super) fn groups(
        &self,
        arguments: &mut Arguments,
        collection: &Collection,
    ) -> Result<Option<Groups>> {
        let of = self.function.name;
        let size = arguments.whole_number("group_size")?;
        let says_fill = arguments.named.contains_key("strict_group_size");
        let fill = arguments.flag("strict_group_size", false)?;
        let Some(by) = arguments.named.remove("group_by") else {
            if size.is_some() || says_fill {
                return plan_err!("{of}: group_size and strict_group_size are about the groups of group_by");
            }
            return Ok(None);
        };
        let name = |given: &SqlExpr| match given {
            SqlExpr::Identifier(ident) => Ok(self.context.normalize_ident(ident.clone())),
            other => text(self.function, other, "group_by", "'shop'"),
        };
        let by = match &by {
            SqlExpr::Array(Array { elem, .. }) => elem.iter().map(name).collect::<Result<_>>()?,
            one => vec![name(one)?],
        };
        let groups = Groups {
            by,
            size: size.unwrap_or(1),
            fill,
        };
        groups.grouping().keys(collection.schema()).map_err(external)?;
        Ok(Some(groups))
    }

    /// The rows of the `k` nearest groups of a scan.
    pub(super) fn grouped(
        &self,
        scan: LogicalPlan,
        distance: Expr,
        filters: Vec<Expr>,
        k: &Expr,
        groups: Groups,
    ) -> Result<LogicalPlan> {
        let of = self.function.name;
        let unsupported =
            |what: &str| Err(external(QueryError::Unsupported(format!("{what} with group_by"))));
        let Expr::Literal(ScalarValue::Int64(Some(wanted)), _) = k else {
            return unsupported("a parameter as the k of a search");
        };
        let k = usize::try_from(*wanted).unwrap_or(usize::MAX);
        if k.saturating_mul(groups.size) > MAX_NEIGHBOURS {
            return plan_err!(
                "{of}: k groups of group_size rows are {MAX_NEIGHBOURS} rows at most, not {k} x {}",
                groups.size
            );
        }
        if distance.contains_outer() || filters.iter().any(Expr::contains_outer) {
            return unsupported("a search for every row of another table");
        }
        if filters.iter().any(has_subquery) {
            return unsupported("IN (SELECT ..) and EXISTS in the filter of a search");
        }
        let node = VectorSearch {
            input: Arc::new(scan),
            allowed: None,
            distance,
            range: Vec::new(),
            filters,
            k,
            groups: Some(groups),
            ties: false,
            nulls_first: false,
        };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

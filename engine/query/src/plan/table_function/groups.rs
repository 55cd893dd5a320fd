//! `vector_search(.., group_by => shop, group_size => 2)`: the nearest groups of rows instead of the nearest rows.
//!
//! ```text
//!   Projection: docs.*, l2_distance(embedding, $1) AS _distance
//!     HybridSearch: k=10, searches=[l2_distance(embedding, $1) k=10 group_by=[shop] group_size=2 ..], filter=price < 5
//!       TableScan: docs
//! ```
//!
//! No clause of SQL says how far such a search goes ([`crate::grouping`]), so a call is a node of its own at once ([`super::direct`]).

use datafusion::common::{Result, plan_err};
use elanus_collection::Collection;
use sqlparser::ast::{Array, Expr as SqlExpr};

use super::Call;
use super::arguments::{Arguments, text};
use crate::error::external;
use crate::plan::hybrid_search::Groups;

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
}

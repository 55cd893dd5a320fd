//! `vector_search(..)` as a node of its own: what a reranker puts in order, groups, and elements of lists.
//!
//! ```text
//!   vector_search(docs, embedding, $1, 10, rerank => 'mmr', rerank_params => '{"lambda": 0.7}', rerank_k => 50)
//!
//!   Projection: docs.*, l2_distance(embedding, $1) AS _distance, _score
//!     HybridSearch: k=10, searches=[l2_distance(embedding, $1) k=50], rerank=mmr(1.0.0)
//!       TableScan: docs
//!
//!   vector_search(docs, chunks['v'], $1, 10, metric => 'l2')
//!
//!   Projection: docs.*, _element, l2_distance(vector _element of chunks['v'], $1) AS _distance
//!     HybridSearch: k=10, searches=[l2_distance(vector 1 of chunks['v'], $1) k=10]
//!       TableScan: docs
//! ```
//!
//! A row of a search of elements is found once for each of its vectors that is near; `_element` is the place of the vector in
//! its list, counted from 1 as SQL counts.

use std::sync::Arc;

use datafusion::common::{Column, Result, TableReference, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use elanus_collection::Collection;

use super::arguments::Arguments;
use super::columns::Compared;
use super::{Call, DISTANCE_COLUMN};
use crate::error::{QueryError, external};
use crate::operators::take_rows::appended_columns;
use crate::plan::hybrid_search::RerankBy;
use crate::request::{ELEMENT_COLUMN, SCORE_COLUMN};

/// Arguments about groups.
pub(super) const OF_GROUPS: [&str; 3] = ["group_by", "group_size", "strict_group_size"];

impl Call<'_> {
    /// What the search finds, in the order of the plugin if there is one.
    pub(super) fn direct_search(
        mut self,
        mut arguments: Arguments,
        (table, collection): (TableReference, Arc<Collection>),
        compared: Compared,
        rerank: Option<RerankBy>,
    ) -> Result<LogicalPlan> {
        let of = self.function.name;
        if rerank.is_some()
            && let Some(name) = OF_GROUPS.iter().find(|name| arguments.named.contains_key(**name))
        {
            return Err(external(QueryError::Unsupported(format!(
                "{name} together with rerank of {of}"
            ))));
        }
        self.check_free(&collection, &table, DISTANCE_COLUMN)?;
        let filter = arguments.named.remove("filter");
        let groups = self.groups(&mut arguments, &collection)?;
        if let Some(groups) = groups.as_ref().filter(|_| compared.elements) {
            let key = &collection.schema().primary_key().map_err(external)?.name;
            if groups.by != [key.as_str()] {
                return plan_err!(
                    "{of}: a search of elements is grouped by the primary key '{key}' only, got {}",
                    groups.by.join(", ")
                );
            }
        }
        let (elements, scored) = (compared.elements, rerank.is_some());
        let place = Expr::Column(Column::new(Some(table.clone()), ELEMENT_COLUMN));
        let of_row = compared.at(place.clone());
        let mut query = None;
        let found = self.fused(&table, &collection, filter, (None, rerank), |call, schema| {
            let near = arguments.named.remove("range_filter");
            let far = arguments.named.remove("radius");
            let table = (&table, &*collection, schema);
            let (mut arm, given) = call.search(&mut arguments, compared, table, None)?;
            query = Some(given);
            if let Some(near) = near {
                let near = call.bound("range_filter", near)?;
                arm.range.push(arm.distance.clone().gt_eq(near));
            }
            if let Some(far) = far {
                let far = call.bound("radius", far)?;
                arm.range.push(arm.distance.clone().lt(far));
            }
            arm.groups = groups;
            let k = arm.k.clone();
            Ok((vec![arm], k))
        })?;
        let Some(query) = query else {
            return plan_err!("{of}: a search has something to search for");
        };
        let distance = self.distance(of_row, query)?;
        let appended = appended_columns(elements).len();
        let columns = found.schema().columns();
        let own = columns.len().saturating_sub(appended);
        let mut outputs: Vec<Expr> = columns.into_iter().take(own).map(Expr::Column).collect();
        if elements {
            outputs.push(place);
        }
        outputs.push(distance.alias_qualified(Some(table.clone()), DISTANCE_COLUMN));
        if scored {
            outputs.push(Expr::Column(Column::new(Some(table), SCORE_COLUMN)));
        }
        LogicalPlanBuilder::from(found).project(outputs)?.build()
    }
}

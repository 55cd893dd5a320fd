//! The hybrid request: several searches of one collection, fused into one answer.
//!
//! ```text
//!   arm: select -> search -> its best ──┐
//!   arm: select -> search -> its best ──┼─> fuse -> groups? -> rerank? -> page -> output columns -> scores
//!   arm: ..                             ┘
//! ```
//!
//! An arm that searches elements is collapsed to rows before, unless all arms search elements of the same structs; then
//! elements are fused. All arms see one snapshot, so that a row that one of them finds is there for the others.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use elanus_collection::Snapshot;
use elanus_index::AnyMetric;

use super::Engine;
use super::search::{Checked, output_schema, page};
use crate::collapse::{ArmElements, Collapse, collapses, same_structs};
use crate::error::{QueryError, Result};
use crate::grouping::{GroupSpec, best_groups};
use crate::operators::fuse::{FuseExec, fuse_queries};
use crate::operators::rerank::RerankExec;
use crate::operators::take_rows::TakeRowsExec;
use crate::plugins::Searched;
use crate::request::{HybridRequest, SearchResponse};
use crate::rerank::Reranker;
use crate::search::MAX_NEIGHBOURS;

/// Most arms of a hybrid search, Milvus' limit.
const MAX_ARMS: usize = 1_024;

/// A hybrid request that has been checked.
struct CheckedHybrid {
    arms: Vec<Checked>,
    metrics: Vec<AnyMetric>,
    /// How the elements of arms become rows.
    collapses: Vec<Option<Collapse>>,
    snapshot: Arc<Snapshot>,
    nq: usize,
    reranker: Option<Reranker>,
}

impl Engine {
    /// Finds the best rows of each query in several searches together.
    ///
    /// # Errors
    /// As [`Engine::search`] for each arm; [`QueryError::InvalidParameter`] for arms that do not go together.
    pub async fn hybrid_search(&self, request: HybridRequest) -> Result<SearchResponse> {
        let HybridRequest {
            collection,
            fusion,
            limit,
            offset,
            group,
            output,
            ..
        } = &request;
        let output = output_schema(collection, output)?;
        let checked = self.check_hybrid(&request)?;
        let CheckedHybrid {
            arms,
            metrics,
            collapses,
            snapshot,
            nq,
            reranker,
        } = checked;
        let key = &collection.schema().primary_key()?.name;
        let mut found = Vec::with_capacity(arms.len());
        for (arm, checked) in request.arms.iter().zip(arms) {
            found.push(self.find(arm, checked).await?);
        }
        let mut scoring = fusion.scoring(&metrics);
        let mut fused = fuse_queries(fusion, &metrics, (found, &collapses), &snapshot, key, nq).await?;
        if let Some(reranker) = &reranker {
            for (query, hits) in fused.iter_mut().enumerate() {
                *hits = reranker
                    .rerank(&snapshot.units, key, scoring, query, std::mem::take(hits))
                    .await?;
            }
            scoring = reranker.scoring(scoring);
        }
        if let Some(group) = group {
            let spec = GroupSpec {
                keys: group.keys(collection.schema())?,
                groups: usize::MAX,
                size: group.size,
                fill: group.fill,
            };
            for hits in &mut fused {
                let groups = spec.of_hits(&snapshot.units, hits).await?;
                let groups = best_groups(groups, request.group_score);
                *hits = groups.into_iter().skip(*offset).take(*limit).flatten().collect();
            }
            return self.answer(&snapshot, &output, fused, scoring, &[]).await;
        }
        let pages = fused
            .into_iter()
            .map(|hits| page(hits, *offset, *limit))
            .collect();
        self.answer(&snapshot, &output, pages, scoring, &[]).await
    }

    /// The plan that [`Engine::hybrid_search`] stands for, as `EXPLAIN` would show it.
    ///
    /// # Errors
    /// As [`Engine::hybrid_search`].
    pub fn explain_hybrid_search(&self, request: &HybridRequest) -> Result<String> {
        let plan = self.hybrid_plan(request)?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// The operators of a hybrid search, output and scores included; offsets and groups are not part of it.
    pub(crate) fn hybrid_plan(&self, request: &HybridRequest) -> Result<Arc<dyn ExecutionPlan>> {
        let HybridRequest {
            collection, fusion, ..
        } = request;
        let output = output_schema(collection, &request.output)?;
        let checked = self.check_hybrid(request)?;
        let (snapshot, metrics) = (checked.snapshot, checked.metrics);
        let arms = request
            .arms
            .iter()
            .zip(checked.arms)
            .zip(&metrics)
            .map(|((arm, checked), metric)| Ok((self.hits_plan(arm, checked)?, *metric)))
            .collect::<Result<Vec<_>>>()?;
        let mut scoring = fusion.scoring(&metrics);
        let fetch = match checked.reranker {
            // It may lift any row.
            Some(_) => usize::MAX,
            None => request.limit + request.offset,
        };
        let fuse = FuseExec::new(
            arms,
            fusion.clone(),
            Arc::clone(collection),
            Arc::clone(&snapshot),
            checked.nq,
            fetch,
        );
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(fuse.collapsing(checked.collapses));
        if let Some(reranker) = checked.reranker {
            let after = reranker.scoring(scoring);
            plan = Arc::new(RerankExec::new(
                plan,
                reranker,
                scoring,
                Arc::clone(collection),
                Arc::clone(&snapshot),
                checked.nq,
            ));
            scoring = after;
        }
        let collection = Arc::clone(collection);
        Ok(Arc::new(TakeRowsExec::with_score(
            plan, collection, snapshot, output, scoring,
        )))
    }

    fn check_hybrid(&self, request: &HybridRequest) -> Result<CheckedHybrid> {
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        let HybridRequest {
            collection,
            arms,
            limit,
            offset,
            ..
        } = request;
        let nq = match arms.as_slice() {
            [] => return invalid("a hybrid search needs at least one search request".into()),
            [first, ..] => first.nq,
        };
        if arms.len() > MAX_ARMS {
            return invalid(format!(
                "{} search requests in a hybrid search: at most {MAX_ARMS}",
                arms.len()
            ));
        }
        if *limit == 0 || limit.saturating_add(*offset) > MAX_NEIGHBOURS {
            return invalid(format!(
                "limit {limit} with offset {offset} is out of range: limit is at least 1, both together at most {MAX_NEIGHBOURS}"
            ));
        }
        if let Some(other) = arms.iter().find(|arm| arm.nq != nq) {
            return invalid(format!(
                "nq mismatch: all search requests of a hybrid search have as many vectors, got {nq} and {}",
                other.nq
            ));
        }
        let foreign = |arm: &&crate::request::SearchRequest| arm.collection.id() != collection.id();
        if let Some(foreign) = arms.iter().find(foreign) {
            return invalid(format!(
                "a hybrid search is of one collection, got {} and {}",
                collection.name(),
                foreign.collection.name()
            ));
        }
        request.fusion.check(arms.len())?;
        if let Some(group) = &request.group {
            group.keys(collection.schema())?;
        }
        let snapshot = request.snapshot.clone().unwrap_or_else(|| collection.snapshot());
        let arms = arms
            .iter()
            .map(|arm| self.check_search(arm, Some(&snapshot)))
            .collect::<Result<Vec<_>>>()?;
        let of_elements = request.arms.iter().zip(&arms);
        let of_elements = of_elements.map(|(arm, checked)| ArmElements {
            field: &arm.field,
            metric: checked.spec.metric,
            elements: checked.spec.elements,
            collapse: arm.collapse,
        });
        let of_elements: Vec<ArmElements<'_>> = of_elements.collect();
        let some_are = of_elements.iter().any(|arm| arm.elements);
        if some_are && request.group.is_some() && !same_structs(&of_elements) {
            return invalid(
                "a hybrid search with searches of elements is grouped only when all are of elements of the same structs"
                    .into(),
            );
        }
        let collapses = collapses(&of_elements)?;
        let compile = |filter: &crate::request::FilterText| self.compiled(collection, Some(filter));
        let reranker = request
            .rerank
            .as_ref()
            .map(|rerank| {
                let both = request.arms.iter().zip(&arms);
                let searched = || Searched {
                    arms: both
                        .map(|(arm, checked)| Self::searched_by(arm, checked))
                        .collect(),
                    text: None,
                    limit: limit + offset,
                };
                Reranker::new(rerank, collection.schema(), nq, searched, compile)
            })
            .transpose()?;
        Ok(CheckedHybrid {
            collapses,
            metrics: arms.iter().map(|arm| arm.spec.metric).collect(),
            arms,
            snapshot,
            nq,
            reranker,
        })
    }
}

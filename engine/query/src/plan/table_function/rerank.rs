//! `rerank => 'name'` of the searches in FROM: a plugin that says in which order their rows come.
//!
//! ```text
//!   vector_search(docs, embedding, $1, 10, rerank => 'mmr', rerank_params => '{"lambda": 0.7}', rerank_k => 50)
//!
//!   Projection: docs.*, l2_distance(embedding, $1) AS _distance, _score
//!     HybridSearch: k=10, searches=[l2_distance(embedding, $1) k=50], rerank=mmr(1.0.0)
//!       TableScan: docs
//! ```
//!
//! The plugin was loaded before the statement is planned ([`crate::plugins`]). What can be wrong with its parameters, and
//! with the columns that it asks for, is found here.

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::lit;
use elanus_collection::{Collection, DataType};

use super::arguments::Arguments;
use super::{Call, of_type};
use crate::error::{QueryError, external};
use crate::operators::ann_search::QuerySource;
use crate::plan::bm25::BM25;
use crate::plan::distance::Distance;
use crate::plan::hybrid_search::{Arm, RerankBy};
use crate::plan::vector_join::number_of_rows;
use crate::plugins::{PluginRerank, ReadyPlugin, Searched};
use crate::query_vectors::QueryVectors;

/// Arguments that say something only beside `rerank`.
const OF_RERANK: [&str; 3] = ["rerank_params", "rerank_k", "rerank_text"];

impl Call<'_> {
    /// The plugin that is asked for, with its parameters.
    pub(super) fn rerank(&mut self, arguments: &mut Arguments) -> Result<Option<RerankBy>> {
        let of = self.function.name;
        let Some(name) = arguments.text("rerank", "'mmr'")? else {
            return match OF_RERANK.iter().find(|name| arguments.named.contains_key(**name)) {
                Some(name) => plan_err!("{of}: {name} says something about rerank => .., which is not given"),
                None => Ok(None),
            };
        };
        let parameters = arguments.text("rerank_params", "'{\"weight\": 0.5}'")?;
        let candidates = arguments.whole_number("rerank_k")?;
        let text = match arguments.named.remove("rerank_text") {
            Some(text) => {
                let text = self.context.sql_to_expr(text, &DFSchema::empty())?;
                Some(of_type(text, "rerank_text", ArrowType::Utf8))
            }
            None => None,
        };
        let plugins = &self.planner.resources.plugins;
        let made = || {
            let reranker = plugins.ready_reranker(&self.planner.collections.0, &name)?;
            let mut plugin = PluginRerank::new(&name, reranker, parameters.as_deref())?;
            plugin.configure()?;
            plugin.candidates = candidates;
            Ok::<_, QueryError>(plugin)
        };
        let elsewhere = parameters.is_none() && arguments.named.contains_key("params");
        let plugin = made().map_err(|error| match error {
            QueryError::InvalidParameter(text) if elsewhere => external(QueryError::InvalidParameter(format!(
                "{text}; the parameters of a reranker are given as rerank_params => '{{..}}', params => .. are those of \
                 the index"
            ))),
            other => external(other),
        })?;
        Ok(Some(RerankBy { plugin, text }))
    }

    /// Finds what is wrong with a reranker for these searches of the collection. The text of the query is that of the first
    /// search by text, if none is given.
    pub(super) fn checked(
        collection: &Collection,
        arms: &[Arm],
        k: &Expr,
        mut rerank: RerankBy,
        schema: &DFSchema,
    ) -> Result<RerankBy> {
        let parts: Vec<Distance> = arms
            .iter()
            .filter_map(|arm| Distance::of(&arm.distance, schema))
            .collect();
        if rerank.text.is_none() {
            rerank.text = arms.iter().find_map(text_of);
        }
        let searched = parts.iter().filter_map(|parts| {
            let field = collection.schema().vector_column(&parts.field())?;
            let source = QuerySource::Vectors {
                vectors: QueryVectors::Null,
                nq: 1,
            };
            let data_type = match field.data_type {
                DataType::VectorArray { element } if parts.elements => *element,
                data_type => data_type,
            };
            Some((field.name, data_type, source))
        });
        let searched = Searched {
            arms: searched.collect(),
            text: rerank.text.is_some().then(|| lit("")),
            // A parameter has its value later, and is checked again then.
            limit: number_of_rows(k)?.unwrap_or(1),
        };
        ReadyPlugin::new(&rerank.plugin, collection.schema(), 1, searched).map_err(external)?;
        Ok(rerank)
    }
}

/// The text that a search by text is for.
fn text_of(arm: &Arm) -> Option<Expr> {
    match &arm.distance {
        Expr::ScalarFunction(call) if call.func.name() == BM25 => call.args.get(1).cloned(),
        _ => None,
    }
}

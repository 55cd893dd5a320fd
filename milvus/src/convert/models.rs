//! Rerankers by models that a service beside the server runs: the ranker `model`, and `rerank_model` of function chains.

use std::collections::BTreeMap;

use elanus_query::{Chain, ChainColumn, ChainExpr, ChainStep, Rerank};
use elanus_services::{Options, Provider, ServiceAccess, ServiceError, TextScorer};
use milvus::proto::schema::FunctionSchema;
use serde_json::Value;

use crate::convert::params::flag;
use crate::status::{Error, Result};

/// The reranking of a ranker `model` over its one field: the best score first, of equal ones the smaller key.
pub(crate) fn reranking(
    function: &FunctionSchema,
    params: BTreeMap<String, String>,
    services: &ServiceAccess,
) -> Result<Rerank> {
    let [field] = function.input_field_names.as_slice() else {
        return Err(Error::invalid(format!(
            "Rerank model only supports single input, but gets [{}] input",
            function.input_field_names.join(" ")
        )));
    };
    let score = text_score(ChainColumn::Named(field.clone()), params, services)?;
    Ok(Rerank::Chains(vec![Chain {
        steps: vec![
            ChainStep::Map {
                output: ChainColumn::Score,
                expr: score,
            },
            ChainStep::Sort {
                by: ChainColumn::Score,
                descending: true,
                tie: Some(ChainColumn::Key),
            },
        ],
        best_first: false,
    }]))
}

/// The score of a text by the model that `params` name.
pub(crate) fn text_score(
    input: ChainColumn,
    mut params: BTreeMap<String, String>,
    services: &ServiceAccess,
) -> Result<ChainExpr> {
    let lost = |name: &str| Error::invalid(format!("rerank function lost params {name}"));
    let provider = params.remove("provider").ok_or_else(|| lost("provider"))?;
    if provider.eq_ignore_ascii_case("zilliz") {
        return Err(Error::unsupported(
            "rerank provider zilliz, which is a part of its cloud",
        ));
    }
    let provider = Provider::named(&provider).ok_or_else(|| {
        let known = Provider::ALL.map(Provider::name).join(", ");
        Error::invalid(format!(
            "unknown rerank model provider:{provider}; allowed are {known}"
        ))
    })?;
    let queries = params.remove("queries").ok_or_else(|| lost("queries"))?;
    let queries: Vec<String> = serde_json::from_str(&queries).map_err(|error| {
        Error::invalid(format!(
            "Parse rerank params [queries] failed, it must be a list of strings: {error}"
        ))
    })?;
    if queries.is_empty() {
        return Err(lost("queries"));
    }
    let options = Options {
        endpoint: params.remove("endpoint"),
        model: params.remove("model_name"),
        credential: params.remove("credential"),
        batch: number(&mut params, "max_client_batch_size")?,
        timeout_ms: number(&mut params, "timeout_ms")?,
        more: more(params)?,
    };
    let scorer = TextScorer::new(provider, options, services);
    Ok(ChainExpr::TextScore {
        input,
        queries,
        scorer: scorer.map(Box::new).map_err(|error| match error {
            ServiceError::Refused(what) => Error::invalid(what),
            ServiceError::Failed(what) => Error::unexpected(what),
        })?,
    })
}

/// The parameters that are sent along, with their types.
fn more(mut params: BTreeMap<String, String>) -> Result<BTreeMap<String, Value>> {
    let mut more = BTreeMap::new();
    for name in ["truncate", "truncation"] {
        if params.contains_key(name) {
            more.insert(name.to_owned(), flag(&params, name)?.into());
            params.remove(name);
        }
    }
    for name in [
        "truncate_prompt_tokens",
        "max_tokens_per_doc",
        "max_chunks_per_doc",
        "overlap_tokens",
    ] {
        if let Some(given) = number::<i64>(&mut params, name)? {
            more.insert(name.to_owned(), given.into());
        }
    }
    for name in ["truncation_direction", "hf_provider"] {
        if let Some(given) = params.remove(name) {
            more.insert(name.to_owned(), given.into());
        }
    }
    match params.keys().next().map(String::as_str) {
        None => Ok(more),
        Some("integration_id") => Err(Error::unsupported("integration_id of rerank providers")),
        Some(name) => Err(Error::invalid(format!(
            "unknown parameter {name} of a rerank model"
        ))),
    }
}

fn number<T: std::str::FromStr>(params: &mut BTreeMap<String, String>, name: &str) -> Result<Option<T>> {
    let Some(text) = params.remove(name) else {
        return Ok(None);
    };
    let number = text.trim().parse().map(Some);
    number.map_err(|_| Error::invalid(format!("[{name} param's value: {text}] is not a valid number")))
}

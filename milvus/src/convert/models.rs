//! Rerankers by models that a service beside the server runs: the ranker `model`, and `rerank_model` of function chains.

use std::collections::BTreeMap;

use elanus_query::{Chain, ChainColumn, ChainExpr, ChainStep, Rerank};
use elanus_services::{Options, Provider, ServiceAccess, ServiceError, TextScorer};
use milvus::proto::schema::FunctionSchema;

use crate::convert::params::flag;
use crate::status::{Error, Result};

/// Providers of Milvus that are not there.
const OTHER_PROVIDERS: &[&str] = &[
    "cohere",
    "voyageai",
    "siliconflow",
    "ali",
    "dashscope",
    "huggingface",
    "sglang",
    "zilliz",
];

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
    let provider = match provider.to_lowercase().as_str() {
        "tei" => Provider::Tei,
        "vllm" => Provider::Vllm,
        other if OTHER_PROVIDERS.contains(&other) => {
            return Err(Error::unsupported(format!(
                "rerank provider {other}; tei and vllm are there"
            )));
        }
        _ => {
            return Err(Error::invalid(format!(
                "unknown rerank model provider:{provider}; allowed are tei, vllm"
            )));
        }
    };
    let queries = params.remove("queries").ok_or_else(|| lost("queries"))?;
    let queries: Vec<String> = serde_json::from_str(&queries).map_err(|error| {
        Error::invalid(format!(
            "Parse rerank params [queries] failed, it must be a list of strings: {error}"
        ))
    })?;
    if queries.is_empty() {
        return Err(lost("queries"));
    }
    let endpoint = params.remove("endpoint").ok_or_else(|| lost("endpoint"))?;
    let truncate = params.contains_key("truncate").then(|| flag(&params, "truncate"));
    let truncate = truncate.transpose()?;
    params.remove("truncate");
    let options = Options {
        batch: number(&mut params, "max_client_batch_size")?,
        timeout_ms: number(&mut params, "timeout_ms")?,
        truncate,
        truncation_direction: params.remove("truncation_direction"),
        truncate_prompt_tokens: number(&mut params, "truncate_prompt_tokens")?,
    };
    if let Some(name) = params.keys().next() {
        return Err(match name.as_str() {
            "credential" => Error::unsupported("credentials of rerank providers"),
            _ => Error::invalid(format!("unknown parameter {name} of a rerank model")),
        });
    }
    let scorer = TextScorer::new(provider, &endpoint, options, services);
    Ok(ChainExpr::TextScore {
        input,
        queries,
        scorer: scorer.map(Box::new).map_err(|error| match error {
            ServiceError::Refused(what) => Error::invalid(what),
            ServiceError::Failed(what) => Error::unexpected(what),
        })?,
    })
}

fn number<T: std::str::FromStr>(params: &mut BTreeMap<String, String>, name: &str) -> Result<Option<T>> {
    let Some(text) = params.remove(name) else {
        return Ok(None);
    };
    let number = text.trim().parse().map(Some);
    number.map_err(|_| Error::invalid(format!("[{name} param's value: {text}] is not a valid number")))
}

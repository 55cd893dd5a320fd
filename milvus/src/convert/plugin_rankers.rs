//! The ranker `wasm`: a rerank function whose reranker is a plugin that is registered on the server.
//!
//! ```text
//! Function(name="r", function_type=FunctionType.RERANK, input_field_names=[],
//!          params={"reranker": "wasm", "name": "mmr", "params": {"lambda": 0.7}, "rerank_k": 100})
//! ```
//!
//! | parameter | what it is |
//! |---|---|
//! | `name` | the name that the plugin is registered as |
//! | `params` | its own parameters, an object |
//! | `rerank_k` | how many rows it sees |
//! | `queries` | the text of each query, for a plugin that needs it |
//! | `ranker`, `rrf_k`, `weights`, `norm_score` | of a hybrid search: how the searches become one list before, as in SQL |

use elanus_query::{Engine, Fusion, PluginRerank, Rerank};
use milvus::proto::schema::{FunctionSchema, FunctionScore};

use crate::convert::rankers::{self, Params, Ranker, no_inputs, number};
use crate::status::{Error, Result};

/// The value of `reranker`.
const NAME: &str = "wasm";

/// The reranking of a search whose one function is a plugin; nothing when it is something else.
///
/// # Errors
/// Several functions, parameters that are missing or unknown, a plugin that is not there or does not take its own.
pub(crate) async fn of_search(score: &FunctionScore, engine: &Engine) -> Result<Option<Rerank>> {
    let Some((function, mut params)) = function_of(score)? else {
        return Ok(None);
    };
    let asked = Asked::take(function, &mut params)?;
    if let Some(name) = params.keys().next() {
        return Err(unknown(name, "name, params, rerank_k, queries"));
    }
    Ok(Some(Rerank::Plugin(asked.ready(engine).await?)))
}

/// The ranker of a hybrid search that is a plugin; nothing when it is something else.
///
/// # Errors
/// As [`of_search`], and parameters of the fusion.
pub(crate) async fn of_hybrid(score: &FunctionScore, engine: &Engine) -> Result<Option<Ranker>> {
    let Some((function, mut params)) = function_of(score)? else {
        return Ok(None);
    };
    let asked = Asked::take(function, &mut params)?;
    let fusion = fusion(&mut params)?;
    if let Some(name) = params.keys().next() {
        return Err(unknown(
            name,
            "name, params, rerank_k, queries, ranker, rrf_k, weights, norm_score",
        ));
    }
    Ok(Some(Ranker {
        fusion,
        rerank: Some(Rerank::Plugin(asked.ready(engine).await?)),
    }))
}

/// The function that names a plugin, with its parameters.
fn function_of(score: &FunctionScore) -> Result<Option<(&FunctionSchema, Params)>> {
    let mut found = None;
    for function in &score.functions {
        let (name, params) = rankers::reranker(function)?;
        if name == NAME {
            found = Some((function, params));
        }
    }
    match (found, score.functions.len()) {
        (None, _) => Ok(None),
        (Some((function, params)), 1) => Ok(Some((function, no_inputs(function, params)?))),
        (Some(_), several) => Err(Error::invalid(format!(
            "a reranker {NAME} is the only function of a search, got {several}"
        ))),
    }
}

/// Which plugin, and with what.
#[derive(Debug)]
struct Asked {
    name: String,
    /// Its own parameters, JSON.
    own: Option<String>,
    candidates: Option<usize>,
    texts: Vec<String>,
}

impl Asked {
    /// Takes what is about the plugin out of the parameters.
    ///
    /// # Errors
    /// No name, values of other types.
    fn take(function: &FunctionSchema, params: &mut Params) -> Result<Self> {
        let Some(name) = params.remove("name") else {
            return Err(Error::invalid(format!(
                "rerank function {} has no param name: the name that the plugin is registered as",
                function.name
            )));
        };
        let candidates = number(params, "rerank_k")?;
        params.remove("rerank_k");
        let texts = match params.remove("queries") {
            None => Vec::new(),
            Some(text) => serde_json::from_str(&text).map_err(|_| {
                Error::invalid(format!(
                    "rank param queries should be a list of strings, got {text}"
                ))
            })?,
        };
        Ok(Self {
            name,
            own: params.remove("params"),
            candidates,
            texts,
        })
    }

    /// The plugin, which has looked at its parameters.
    ///
    /// # Errors
    /// A plugin that is not there or does not take its parameters.
    async fn ready(self, engine: &Engine) -> Result<PluginRerank> {
        let mut rerank = engine.plugin_rerank(&self.name, self.own.as_deref()).await?;
        rerank.candidates = self.candidates;
        rerank.texts = self.texts;
        Ok(rerank)
    }
}

/// How the searches become the list that the plugin sees.
fn fusion(params: &mut Params) -> Result<Fusion> {
    let ranker = params.remove("ranker").unwrap_or_else(|| "rrf".to_owned());
    let mut of_fusion = Params::new();
    let names: &[(&str, &str)] = match ranker.to_lowercase().as_str() {
        "rrf" => &[("rrf_k", "k"), ("weights", "weights")],
        "weighted" => &[("weights", "weights"), ("norm_score", "norm_score")],
        _ => {
            return Err(Error::invalid(format!(
                "unsupported ranker {ranker} before a reranker {NAME}, allowed are rrf, weighted"
            )));
        }
    };
    for (ours, theirs) in names {
        if let Some(value) = params.remove(*ours) {
            of_fusion.insert((*theirs).to_owned(), value);
        }
    }
    if ranker.eq_ignore_ascii_case("rrf") {
        rankers::rrf(&of_fusion)
    } else {
        rankers::weighted(&of_fusion)
    }
}

fn unknown(name: &str, allowed: &str) -> Error {
    Error::invalid(format!(
        "unknown param {name} of a reranker {NAME}, allowed are {allowed}; what the plugin itself takes goes into params"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::pair;
    use milvus::proto::schema::FunctionType;

    fn function(params: &[(&str, &str)]) -> FunctionSchema {
        FunctionSchema {
            name: "f".into(),
            r#type: FunctionType::Rerank as i32,
            params: params.iter().map(|(key, value)| pair(key, *value)).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn only_a_plugin_alone_is_taken() {
        let score = |functions: Vec<FunctionSchema>| FunctionScore {
            functions,
            params: Vec::new(),
        };
        let wasm = || function(&[("reranker", "WASM"), ("name", "mmr")]);
        let rrf = || function(&[("reranker", "rrf")]);
        assert!(function_of(&score(vec![rrf()])).unwrap().is_none());
        let alone = score(vec![wasm()]);
        let (_, params) = function_of(&alone).unwrap().unwrap();
        assert_eq!(params.get("name").map(String::as_str), Some("mmr"));
        let error = function_of(&score(vec![wasm(), rrf()])).unwrap_err().to_string();
        assert!(error.contains("only function"), "{error}");
    }

    #[test]
    fn searches_are_fused_as_in_sql() {
        let fused = |pairs: &[(&str, &str)]| {
            let mut params: Params = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            fusion(&mut params).map_err(|error| error.to_string())
        };
        assert_eq!(
            fused(&[("rrf_k", "10")]),
            Ok(Fusion::Rrf {
                k: 10.0,
                weights: None
            })
        );
        let weighted = fused(&[("ranker", "weighted"), ("weights", "[0.5, 1.0]")]).unwrap();
        assert!(matches!(weighted, Fusion::Weighted { .. }));
        assert!(
            fused(&[("ranker", "best")])
                .unwrap_err()
                .contains("allowed are rrf, weighted")
        );
    }
}

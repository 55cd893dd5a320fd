//! Rankers: `rank_params` of older clients and `function_score` of newer ones, as fusion and reranking.
//!
//! | ranker | hybrid search | search |
//! |---|---|---|
//! | `rrf`, `weighted` | fusion | - |
//! | `decay` | fusion by `score_mode`, then reranking | reranking |
//! | `boost` | - | reranking |
//! | `model` | fusion by the best score, then reranking | reranking |
//! | `wasm` | fusion, then reranking: [`crate::convert::plugin_rankers`] | reranking |

use std::collections::BTreeMap;

use elanus_query::{
    Boost, BoostBy, Combine, Decay, DecayCurve, FilterText, Fusion, RandomScore, Rerank, ScoreMode,
};
use elanus_services::ServiceAccess;
use milvus::proto::common::KeyValuePair;
use milvus::proto::schema::{FunctionSchema, FunctionScore, FunctionType};
use serde_json::Value;

use crate::convert::models;
use crate::convert::params::{flag, nested};
use crate::convert::to_map;
use crate::status::{Error, Result};

/// Milvus' default of `k`.
const DEFAULT_RRF_K: f32 = 60.0;
/// Milvus' default of `decay`.
const DEFAULT_DECAY: f64 = 0.5;

/// Parameters of a function by name.
pub(crate) type Params = BTreeMap<String, String>;

/// How a hybrid search makes one list of several.
#[derive(Debug)]
pub(crate) struct Ranker {
    /// Fusion of the arms.
    pub fusion: Fusion,
    /// What changes the fused scores.
    pub rerank: Option<Rerank>,
}

/// The ranker that `rank_params` name; reciprocal rank fusion when they name none.
pub(crate) fn of_rank_params(params: &Params) -> Result<Ranker> {
    let inner = params
        .get("params")
        .map_or_else(|| Ok(Params::new()), |text| nested(text))?;
    let strategy = params.get("strategy").map_or("rrf", String::as_str);
    let fusion = match strategy.to_lowercase().as_str() {
        "rrf" | "" => rrf(&inner)?,
        "weighted" => weighted(&inner)?,
        _ => {
            return Err(Error::invalid(format!(
                "unsupported rank type {strategy}, allowed are rrf, weighted"
            )));
        }
    };
    Ok(Ranker { fusion, rerank: None })
}

/// The ranker that `function_score` describes.
pub(crate) fn of_hybrid(score: FunctionScore, services: &ServiceAccess) -> Result<Ranker> {
    let function = match <[FunctionSchema; 1]>::try_from(score.functions) {
        Ok([function]) => function,
        Err(functions) => {
            return Err(Error::invalid(format!(
                "a hybrid search has one rerank function, got {}",
                functions.len()
            )));
        }
    };
    let (name, params) = reranker(&function)?;
    Ok(match name.as_str() {
        "rrf" => Ranker {
            fusion: rrf(&no_inputs(&function, params)?)?,
            rerank: None,
        },
        "weighted" => Ranker {
            fusion: weighted(&no_inputs(&function, params)?)?,
            rerank: None,
        },
        "decay" => Ranker {
            fusion: Fusion::Combined {
                mode: score_mode(&params)?,
                normalize: flag(&params, "norm_score")?,
            },
            rerank: Some(Rerank::Decay(decay(&function, &params)?)),
        },
        "model" => Ranker {
            fusion: Fusion::Combined {
                mode: ScoreMode::Max,
                normalize: false,
            },
            rerank: Some(models::reranking(&function, params, services)?),
        },
        "boost" => return Err(Error::unsupported("a boost ranker on top of a hybrid search")),
        other => return Err(unknown(other)),
    })
}

/// The reranking that `function_score` of a search of one vector field describes.
pub(crate) fn of_search(score: FunctionScore, services: &ServiceAccess) -> Result<Rerank> {
    let overall = to_map(score.params);
    let functions = score.functions;
    let [first, rest @ ..] = functions.as_slice() else {
        return Err(Error::invalid("function_score has no functions"));
    };
    let (name, params) = reranker(first)?;
    match name.as_str() {
        "decay" if rest.is_empty() => Ok(Rerank::Decay(decay(first, &params)?)),
        "decay" => Err(Error::invalid(format!(
            "a decay ranker is the only function of a search, got {}",
            functions.len()
        ))),
        "model" if rest.is_empty() => models::reranking(first, params, services),
        "model" => Err(Error::invalid(format!(
            "a model ranker is the only function of a search, got {}",
            functions.len()
        ))),
        "boost" => {
            let boosts = functions.iter().map(boost).collect::<Result<_>>()?;
            Ok(Rerank::Boost(Boost {
                boosts,
                of_boosts: combine(&overall, "function_mode")?,
                with_score: combine(&overall, "boost_mode")?,
            }))
        }
        "rrf" | "weighted" => Err(Error::unsupported(format!(
            "ranker {name} in a search of one vector field; hybrid search has it"
        ))),
        other => Err(unknown(other)),
    }
}

fn unknown(name: &str) -> Error {
    match name {
        "xgboost" => Error::unsupported("reranker xgboost; function_chains has it"),
        _ => Error::invalid(format!(
            "unsupported rerank function {name}, allowed are rrf, weighted, decay, boost, model, wasm"
        )),
    }
}

/// Name and parameters of a rerank function.
pub(crate) fn reranker(function: &FunctionSchema) -> Result<(String, Params)> {
    if function.r#type != FunctionType::Rerank as i32 {
        return Err(Error::invalid(format!(
            "function {} is not of type RERANK",
            function.name
        )));
    }
    let mut params = to_map(function.params.clone());
    match params.remove("reranker") {
        Some(name) => Ok((name.to_lowercase(), params)),
        None => Err(Error::invalid(format!(
            "reranker name not specified in rerank function {}",
            function.name
        ))),
    }
}

/// The parameters of a function that takes no columns.
pub(crate) fn no_inputs(function: &FunctionSchema, params: Params) -> Result<Params> {
    if function.input_field_names.is_empty() {
        return Ok(params);
    }
    Err(Error::invalid(format!(
        "rerank function {} takes no input fields, got {}",
        function.name,
        function.input_field_names.join(", ")
    )))
}

/// Reciprocal rank fusion.
pub(crate) fn rrf(params: &Params) -> Result<Fusion> {
    Ok(Fusion::Rrf {
        k: number(params, "k")?.unwrap_or(DEFAULT_RRF_K),
        weights: weights(params)?,
    })
}

/// Weighted sums.
pub(crate) fn weighted(params: &Params) -> Result<Fusion> {
    let weights = weights(params)?;
    Ok(Fusion::Weighted {
        weights: weights.ok_or_else(|| Error::invalid("weights not found in rank params"))?,
        normalize: flag(params, "norm_score")?,
    })
}

fn weights(params: &Params) -> Result<Option<Vec<f32>>> {
    let Some(text) = params.get("weights") else {
        return Ok(None);
    };
    serde_json::from_str(text).map(Some).map_err(|_| {
        Error::invalid(format!(
            "rank param weights should be an array of numbers, got {text}"
        ))
    })
}

fn decay(function: &FunctionSchema, params: &Params) -> Result<Decay> {
    let [field] = function.input_field_names.as_slice() else {
        return Err(Error::invalid(format!(
            "decay function supports exactly one input field, got {}",
            function.input_field_names.len()
        )));
    };
    let name = params.get("function").map_or("", String::as_str);
    let curve = match name.to_lowercase().as_str() {
        "gauss" => DecayCurve::Gauss,
        "exp" => DecayCurve::Exp,
        "linear" => DecayCurve::Linear,
        _ => {
            return Err(Error::invalid(format!(
                "invalid decay function: {name}, only support [gauss, linear, exp]"
            )));
        }
    };
    let needed = |key: &str| -> Result<f64> {
        number(params, key)?.ok_or_else(|| Error::invalid(format!("decay function lost param: {key}")))
    };
    Ok(Decay {
        curve,
        field: field.clone(),
        origin: needed("origin")?,
        scale: needed("scale")?,
        offset: number(params, "offset")?.unwrap_or(0.0),
        decay: number(params, "decay")?.unwrap_or(DEFAULT_DECAY),
        normalize: flag(params, "norm_score")?,
    })
}

fn score_mode(params: &Params) -> Result<ScoreMode> {
    mode(params.get("score_mode"), "score_mode")
}

/// Which score stands for several: the largest when nothing is said.
pub(crate) fn mode(text: Option<&String>, key: &str) -> Result<ScoreMode> {
    let text = text.map_or("", |text| text.trim_matches('"'));
    match text.to_lowercase().as_str() {
        "" | "max" => Ok(ScoreMode::Max),
        "sum" => Ok(ScoreMode::Sum),
        "avg" => Ok(ScoreMode::Avg),
        _ => Err(Error::invalid(format!(
            "unsupported {key}: {text}, allowed are max, sum, avg"
        ))),
    }
}

fn boost(function: &FunctionSchema) -> Result<BoostBy> {
    let (name, params) = reranker(function)?;
    if name != "boost" {
        return Err(Error::invalid(format!(
            "only boost rankers go together in a search, got {name}"
        )));
    }
    let params = no_inputs(function, params)?;
    let weight = number(&params, "weight")?
        .ok_or_else(|| Error::invalid(format!("must set weight in boost function {}", function.name)))?;
    let filter = params.get("filter").filter(|text| !text.trim().is_empty());
    Ok(BoostBy {
        filter: filter.map(|text| FilterText {
            text: text.clone(),
            ..FilterText::default()
        }),
        weight,
        random: params
            .get("random_score")
            .map(|text| random_score(text))
            .transpose()?,
    })
}

fn random_score(text: &str) -> Result<RandomScore> {
    let wrong = || {
        Error::invalid(format!(
            "random_score should be an object of seed and field, got {text}"
        ))
    };
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    let seed = match object.get("seed") {
        None | Some(Value::Null) => 0,
        Some(seed) => seed.as_i64().ok_or_else(wrong)?,
    };
    let field = match object.get("field") {
        None | Some(Value::Null) => None,
        Some(field) => Some(field.as_str().ok_or_else(wrong)?.to_string()),
    };
    Ok(RandomScore { seed, field })
}

fn combine(params: &Params, key: &str) -> Result<Combine> {
    let text = params.get(key).map_or("multiply", String::as_str);
    match text.to_lowercase().as_str() {
        "multiply" => Ok(Combine::Multiply),
        "sum" => Ok(Combine::Sum),
        _ => Err(Error::invalid(format!(
            "unsupported {key}: {text}, allowed are multiply, sum"
        ))),
    }
}

/// The number of this name.
pub(crate) fn number<T: std::str::FromStr>(params: &Params, key: &str) -> Result<Option<T>> {
    let text = params.get(key).map(|text| text.trim());
    text.map(|text| {
        text.parse()
            .map_err(|_| Error::invalid(format!("rank param {key} should be a number, got {text}")))
    })
    .transpose()
}

/// The parameters of a hybrid search beside its ranker, with `params` still in them.
pub(crate) fn rank_params(pairs: Vec<KeyValuePair>) -> Params {
    to_map(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::pair;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    fn function(inputs: &[&str], list: &[(&str, &str)]) -> FunctionScore {
        FunctionScore {
            functions: vec![FunctionSchema {
                name: "f".into(),
                r#type: FunctionType::Rerank as i32,
                input_field_names: inputs.iter().map(ToString::to_string).collect(),
                params: list.iter().map(|(key, value)| pair(key, *value)).collect(),
                ..Default::default()
            }],
            params: Vec::new(),
        }
    }

    #[test]
    fn both_ways_to_name_a_ranker_mean_the_same() {
        let old = of_rank_params(&params(&[("strategy", "rrf"), ("params", r#"{"k": 10}"#)])).unwrap();
        let new = of_hybrid(
            function(&[], &[("reranker", "RRF"), ("k", "10")]),
            &ServiceAccess::default(),
        )
        .unwrap();
        assert_eq!(old.fusion, new.fusion);
        let text = r#"{"weights": [0.5, 1.0], "norm_score": true}"#;
        let old = of_rank_params(&params(&[("strategy", "weighted"), ("params", text)])).unwrap();
        let list = [
            ("reranker", "weighted"),
            ("weights", "[0.5, 1.0]"),
            ("norm_score", "True"),
        ];
        assert_eq!(
            old.fusion,
            of_hybrid(function(&[], &list), &ServiceAccess::default())
                .unwrap()
                .fusion
        );
        let none = of_rank_params(&params(&[])).unwrap();
        assert_eq!(
            none.fusion,
            Fusion::Rrf {
                k: 60.0,
                weights: None
            }
        );
    }

    #[test]
    fn a_decay_takes_one_field_and_its_numbers() {
        let list = [
            ("reranker", "decay"),
            ("function", "gauss"),
            ("origin", "10"),
            ("scale", "5"),
        ];
        let Rerank::Decay(decay) = of_search(function(&["n"], &list), &ServiceAccess::default()).unwrap()
        else {
            panic!("no decay");
        };
        assert_eq!(
            (decay.origin, decay.scale, decay.offset, decay.decay),
            (10.0, 5.0, 0.0, 0.5)
        );
        let reason = |inputs: &[&str], list: &[(&str, &str)]| {
            of_search(function(inputs, list), &ServiceAccess::default())
                .unwrap_err()
                .to_string()
        };
        assert!(reason(&[], &list).contains("exactly one input field"));
        assert!(reason(&["n"], &list[..3]).contains("lost param: scale"));
        assert!(
            reason(&["n"], &[list[0], ("function", "cubic")]).contains("only support [gauss, linear, exp]")
        );
    }

    #[test]
    fn rankers_that_are_not_there_are_refused() {
        let reason = |name: &str| {
            of_search(function(&[], &[("reranker", name)]), &ServiceAccess::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            reason("xgboost"),
            "not supported: reranker xgboost; function_chains has it"
        );
        assert!(reason("model").contains("only supports single input, but gets [] input"));
        assert!(reason("rrf").contains("hybrid search has it"));
        assert!(reason("best").contains("allowed are rrf, weighted, decay, boost"));
        let strategy = of_rank_params(&params(&[("strategy", "best")]))
            .unwrap_err()
            .to_string();
        assert!(strategy.contains("unsupported rank type best"));
    }
}

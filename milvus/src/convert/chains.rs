//! Function chains: the steps of `function_chains` as a reranking.
//!
//! | stage | in Milvus | here |
//! |---|---|---|
//! | L0 | over what each segment has found: `map` of `$score`, then best first | as if all rows were in one segment |
//! | L1 | over what a node has found: `map`, `sort`, `limit` | as if all rows were on one node |
//! | L2 | over what the whole search has found: `map`, `sort`, `limit` | the same |
//!
//! So what they give does not depend on how rows are spread. A stage has one chain at most. Functions of `map` are
//! `decay`, `num_combine`, `round_decimal`, `xgboost`, whose models are file resources, and `rerank_model`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use elanus_query::{
    Chain, ChainColumn, ChainExpr, ChainStep, CombineMode, Decay, DecayCurve, Engine, NullPolicy, Rerank,
};
use elanus_services::ServiceAccess;
use elanus_trees::Forest;
use milvus::proto::schema::function_chain_expr_arg::Arg;
use milvus::proto::schema::function_param_value::Value;
use milvus::proto::schema::{
    FunctionChain, FunctionChainExpr, FunctionChainOp, FunctionChainStage, FunctionParamValue,
};

use crate::convert::models;
use crate::status::{Error, Result};

/// Parameter of `xgboost`: the file resource that has the model.
const MODEL: &str = "model_resource";
/// Milvus' default of `decay`.
const DEFAULT_DECAY: f64 = 0.5;

/// The reranking that the chains of a search describe.
///
/// # Errors
/// Stages, steps and functions that are not there, and parameters that are missing, unknown or of another type.
pub(crate) async fn of_search(engine: &Engine, chains: Vec<FunctionChain>) -> Result<Option<Rerank>> {
    let forests = forests(engine, &chains).await?;
    let mut stages: BTreeMap<FunctionChainStage, Chain> = BTreeMap::new();
    for chain in chains {
        let stage = match FunctionChainStage::try_from(chain.stage) {
            Ok(
                stage @ (FunctionChainStage::L0Rerank
                | FunctionChainStage::L1Rerank
                | FunctionChainStage::L2Rerank),
            ) => stage,
            Ok(stage) => {
                return Err(Error::unsupported(format!(
                    "function chain stage {}; L0_RERANK, L1_RERANK and L2_RERANK are there",
                    name_of(stage)
                )));
            }
            Err(_) => return Err(invalid(format!("unknown stage {}", chain.stage))),
        };
        let steps = chain
            .ops
            .into_iter()
            .map(|op| step(op, &forests, engine.services()));
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let best_first = stage == FunctionChainStage::L0Rerank;
        if best_first {
            only_maps(&steps)?;
        }
        if stages.insert(stage, Chain { steps, best_first }).is_some() {
            return Err(invalid(format!("stage {} has two chains", name_of(stage))));
        }
    }
    if stages.is_empty() {
        return Ok(None);
    }
    Ok(Some(Rerank::Chains(stages.into_values().collect())))
}

/// The models of trees that chains name, by the names of their file resources.
type Forests = HashMap<String, Arc<Forest>>;

async fn forests(engine: &Engine, chains: &[FunctionChain]) -> Result<Forests> {
    let mut forests = Forests::new();
    for op in chains.iter().flat_map(|chain| &chain.ops) {
        let given = op.expr.as_ref().filter(|expr| expr.name == "xgboost");
        let given = given.and_then(|expr| expr.params.get(MODEL)?.value.as_ref());
        if let Some(Value::StringValue(name)) = given
            && !forests.contains_key(name)
        {
            forests.insert(name.clone(), engine.model(name).await?);
        }
    }
    Ok(forests)
}

fn name_of(stage: FunctionChainStage) -> &'static str {
    stage.as_str_name().trim_start_matches("FunctionChainStage")
}

/// Refuses what a chain of the first stage does not do: the hits are put in order by what comes after it.
fn only_maps(steps: &[ChainStep]) -> Result<()> {
    let other = steps.iter().find_map(|step| match step {
        ChainStep::Map { .. } => None,
        ChainStep::Sort { .. } => Some("sort"),
        ChainStep::Limit { .. } => Some("limit"),
    });
    match other {
        None => Ok(()),
        Some(other) => Err(invalid(format!(
            "{other} in a chain of stage L0_RERANK; allowed is map"
        ))),
    }
}

fn step(op: FunctionChainOp, forests: &Forests, services: &ServiceAccess) -> Result<ChainStep> {
    let mut params = Params(op.params);
    if params.0.remove("$input_data_types").is_some() {
        return Err(Error::unsupported("JSON paths in function chains"));
    }
    let step = match (op.op.as_str(), op.expr) {
        ("map", Some(expr)) => {
            let [output] = op.outputs.as_slice() else {
                return Err(invalid(format!("map has one output, got {}", op.outputs.len())));
            };
            ChainStep::Map {
                output: column(output),
                expr: expression(expr, forests, services)?,
            }
        }
        ("map", None) => return Err(invalid("map has no expression")),
        ("sort", _) => ChainStep::Sort {
            by: column(
                &params
                    .text("column")?
                    .ok_or_else(|| invalid("sort has no column"))?,
            ),
            descending: params.flag("desc")?.unwrap_or(true),
            tie: params.text("tie_break_col")?.as_deref().map(column),
        },
        ("limit", _) => ChainStep::Limit {
            limit: params
                .size("limit")?
                .ok_or_else(|| invalid("limit has no limit"))?,
            offset: params.size("offset")?.unwrap_or(0),
        },
        (other @ ("filter" | "select" | "group_by" | "merge"), _) => {
            return Err(Error::unsupported(format!(
                "step {other} of a function chain; map, sort, limit are there"
            )));
        }
        (other, _) => {
            return Err(invalid(format!(
                "unknown step {other}; allowed are map, sort, limit"
            )));
        }
    };
    params.nothing_left(&op.op)?;
    Ok(step)
}

fn expression(expr: FunctionChainExpr, forests: &Forests, services: &ServiceAccess) -> Result<ChainExpr> {
    let name = expr.name;
    let mut params = Params(expr.params);
    let inputs = expr
        .args
        .into_iter()
        .map(|arg| match arg.arg {
            Some(Arg::Column(input)) => Ok(column(&input.name)),
            Some(Arg::Literal(_)) | None => Err(invalid(format!("{name} takes columns alone"))),
        })
        .collect::<Result<Vec<_>>>()?;
    let one = || match inputs.as_slice() {
        [input] => Ok(input.clone()),
        _ => Err(invalid(format!("{name} takes one column, got {}", inputs.len()))),
    };
    let read = match name.as_str() {
        "decay" => ChainExpr::Decay {
            input: one()?,
            decay: decay(&mut params)?,
        },
        "round_decimal" => {
            let decimals = params.size("decimal")?;
            let decimals = decimals.ok_or_else(|| invalid("round_decimal has no decimal"))?;
            ChainExpr::Round {
                input: one()?,
                decimals: u32::try_from(decimals).unwrap_or(u32::MAX),
            }
        }
        "num_combine" => ChainExpr::Combine {
            mode: mode(&mut params)?,
            nulls: nulls(&mut params)?,
            inputs,
        },
        "xgboost" => {
            let name = params.text(MODEL)?;
            let model = name.as_ref().and_then(|name| forests.get(name));
            ChainExpr::Trees {
                model: model
                    .map(Arc::clone)
                    .ok_or_else(|| invalid(format!("xgboost has no {MODEL}")))?,
                margin: match params.text("output")?.as_deref() {
                    None | Some("default") => false,
                    Some("raw") => true,
                    Some(other) => {
                        return Err(invalid(format!(
                            "unknown xgboost output '{other}'; allowed are default, raw"
                        )));
                    }
                },
                inputs,
            }
        }
        "rerank_model" => models::text_score(one()?, params.take_texts()?, services)?,
        other => {
            return Err(invalid(format!(
                "unknown function {other}; allowed are decay, num_combine, round_decimal, xgboost, rerank_model"
            )));
        }
    };
    params.nothing_left(&name)?;
    Ok(read)
}

fn column(name: &str) -> ChainColumn {
    match name {
        "$score" => ChainColumn::Score,
        "$id" => ChainColumn::Key,
        other => ChainColumn::Named(other.to_owned()),
    }
}

fn decay(params: &mut Params) -> Result<Decay> {
    let curve = match params.text("function")?.as_deref() {
        Some("gauss") => DecayCurve::Gauss,
        Some("exp") => DecayCurve::Exp,
        Some("linear") => DecayCurve::Linear,
        other => {
            return Err(invalid(format!(
                "invalid decay function: {}, only support [gauss, linear, exp]",
                other.unwrap_or_default()
            )));
        }
    };
    let missing = |name: &str| invalid(format!("decay has no {name}"));
    Ok(Decay {
        curve,
        field: String::new(),
        origin: params.number("origin")?.ok_or_else(|| missing("origin"))?,
        scale: params.number("scale")?.ok_or_else(|| missing("scale"))?,
        offset: params.number("offset")?.unwrap_or(0.0),
        decay: params.number("decay")?.unwrap_or(DEFAULT_DECAY),
        normalize: false,
    })
}

fn mode(params: &mut Params) -> Result<CombineMode> {
    let weights = params.numbers("weights")?;
    let name = params.text("mode")?.unwrap_or_else(|| "sum".into());
    Ok(match (name.as_str(), weights) {
        ("weighted", Some(weights)) => CombineMode::Weighted(weights),
        ("weighted", None) => return Err(invalid("num_combine mode weighted requires weights")),
        (_, Some(_)) => {
            return Err(invalid(format!(
                "num_combine weights are for mode weighted, got {name}"
            )));
        }
        ("multiply", None) => CombineMode::Multiply,
        ("sum", None) => CombineMode::Sum,
        ("max", None) => CombineMode::Max,
        ("min", None) => CombineMode::Min,
        ("avg", None) => CombineMode::Avg,
        (other, None) => {
            return Err(invalid(format!(
                "unknown num_combine mode {other}; allowed are multiply, sum, max, min, avg, weighted"
            )));
        }
    })
}

fn nulls(params: &mut Params) -> Result<NullPolicy> {
    match params.text("null_policy")?.as_deref() {
        None | Some("propagate") => Ok(NullPolicy::Propagate),
        Some("as_zero") => Ok(NullPolicy::AsZero),
        Some("skip") => Ok(NullPolicy::Skip),
        Some(other) => Err(invalid(format!(
            "unknown null_policy '{other}'; allowed are propagate, as_zero, skip"
        ))),
    }
}

/// Typed parameters of a step or a function, taken one by one.
struct Params(HashMap<String, FunctionParamValue>);

impl Params {
    fn take(&mut self, name: &str) -> Option<Option<Value>> {
        self.0.remove(name).map(|value| value.value)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Some(Value::StringValue(text))) => Ok(Some(text)),
            Some(_) => Err(invalid(format!("{name} must be a text"))),
        }
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Some(Value::BoolValue(flag))) => Ok(Some(flag)),
            Some(_) => Err(invalid(format!("{name} must be true or false"))),
        }
    }

    fn size(&mut self, name: &str) -> Result<Option<usize>> {
        match self.take(name) {
            None => Ok(None),
            Some(Some(Value::Int64Value(number))) => match usize::try_from(number) {
                Ok(size) => Ok(Some(size)),
                Err(_) => Err(invalid(format!("{name} must be at least 0, got {number}"))),
            },
            Some(_) => Err(invalid(format!("{name} must be a whole number"))),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>> {
        self.take(name)
            .map(|value| number(name, value.as_ref()))
            .transpose()
    }

    fn numbers(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Some(Value::ArrayValue(array))) => {
                let numbers = array
                    .values
                    .into_iter()
                    .map(|value| number(name, value.value.as_ref()));
                numbers.collect::<Result<_>>().map(Some)
            }
            Some(_) => Err(invalid(format!("{name} must be a list of numbers"))),
        }
    }

    /// All that are left, as texts: strings as they are, everything else as JSON.
    fn take_texts(&mut self) -> Result<BTreeMap<String, String>> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|(name, value)| match json(value.value) {
            Some(serde_json::Value::String(text)) => Ok((name, text)),
            Some(other) => Ok((name, other.to_string())),
            None => Err(invalid(format!("{name} has no value"))),
        })
        .collect()
    }

    fn nothing_left(&self, of: &str) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(invalid(format!("{of} has no parameter {name}"))),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a whole number among floats")]
fn number(name: &str, value: Option<&Value>) -> Result<f64> {
    match value {
        Some(Value::DoubleValue(number)) => Ok(*number),
        Some(Value::Int64Value(number)) => Ok(*number as f64),
        _ => Err(invalid(format!("{name} must be a number"))),
    }
}

fn json(value: Option<Value>) -> Option<serde_json::Value> {
    Some(match value? {
        Value::StringValue(text) => text.into(),
        Value::BoolValue(flag) => flag.into(),
        Value::Int64Value(number) => number.into(),
        Value::DoubleValue(number) => number.into(),
        Value::ArrayValue(array) => {
            let values = array.values.into_iter();
            values.map(|value| json(value.value)).collect::<Option<_>>()?
        }
        Value::ObjectValue(_) | Value::BytesValue(_) => return None,
    })
}

fn invalid(reason: impl std::fmt::Display) -> Error {
    Error::invalid(format!("function chain: {reason}"))
}

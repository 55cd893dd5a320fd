//! `element_scope`: how the elements that a search of a hybrid one finds become rows.
//!
//! ```text
//!   {"collapse": {"strategy": "topk_avg", "topk": 3}}
//! ```

use elanus_query::Collapse;
use serde_json::{Map, Value};

use crate::status::{Error, Result};

/// The strategies, with whether each has `topk`.
const STRATEGIES: [(&str, bool); 5] = [
    ("max", false),
    ("sum", false),
    ("avg", false),
    ("topk_sum", true),
    ("topk_avg", true),
];

/// Reads the value of the parameter; `None` when it is not given.
pub(crate) fn collapse(text: Option<&str>) -> Result<Option<Collapse>> {
    let Some(text) = text.filter(|text| !matches!(text.trim(), "" | "null" | "None")) else {
        return Ok(None);
    };
    let scope: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| invalid(&format!("must be a JSON object, got '{text}' ({error})")))?;
    only(&scope, "element_scope", &["collapse"])?;
    let Some(collapse) = scope.get("collapse") else {
        return Err(invalid("has no collapse"));
    };
    let Value::Object(collapse) = collapse else {
        return Err(invalid(&format!("collapse must be an object, got {collapse}")));
    };
    only(collapse, "element_scope.collapse", &["strategy", "topk"])?;
    let strategy = match collapse.get("strategy") {
        None => "max",
        Some(Value::String(strategy)) => strategy.as_str(),
        Some(other) => return Err(unknown(&other.to_string())),
    };
    let known = STRATEGIES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(strategy));
    let Some((name, has_topk)) = known else {
        return Err(unknown(&format!("'{strategy}'")));
    };
    let topk = match (collapse.get("topk"), has_topk) {
        (None, false) => 0,
        (None, true) => return Err(invalid(&format!("collapse strategy {name} needs topk"))),
        (Some(topk), false) => {
            return Err(invalid(&format!(
                "collapse strategy {name} has no topk, got {topk}; topk_sum and topk_avg have"
            )));
        }
        (Some(topk), true) => topk
            .as_u64()
            .filter(|topk| *topk > 0)
            .and_then(|topk| usize::try_from(topk).ok())
            .ok_or_else(|| invalid(&format!("collapse topk must be a positive integer, got {topk}")))?,
    };
    Ok(Some(match *name {
        "sum" => Collapse::Sum,
        "avg" => Collapse::Avg,
        "topk_sum" => Collapse::TopSum(topk),
        "topk_avg" => Collapse::TopAvg(topk),
        _ => Collapse::Max,
    }))
}

fn only(object: &Map<String, Value>, what: &str, allowed: &[&str]) -> Result<()> {
    match object.keys().find(|key| !allowed.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::invalid(format!(
            "{what} has an unknown key '{key}', allowed are {}",
            allowed.join(", ")
        ))),
    }
}

fn unknown(strategy: &str) -> Error {
    let names = STRATEGIES.map(|(name, _)| name).join(", ");
    invalid(&format!(
        "collapse strategy {strategy} is unknown, allowed are {names}"
    ))
}

fn invalid(what: &str) -> Error {
    Error::invalid(format!("element_scope {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_with_their_topk() {
        let read = |text: &str| collapse(Some(text)).unwrap();
        assert_eq!(collapse(None).unwrap(), None);
        assert_eq!(read("null"), None);
        assert_eq!(read(r#"{"collapse": {}}"#), Some(Collapse::Max));
        for (strategy, expected) in [
            (r#""max""#, Collapse::Max),
            (r#""Sum""#, Collapse::Sum),
            (r#""avg""#, Collapse::Avg),
            (r#""topk_sum", "topk": 3"#, Collapse::TopSum(3)),
            (r#""topk_avg", "topk": 1"#, Collapse::TopAvg(1)),
        ] {
            let text = format!(r#"{{"collapse": {{"strategy": {strategy}}}}}"#);
            assert_eq!(read(&text), Some(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_refused_with_what_is_allowed() {
        let error = |text: &str| collapse(Some(text)).unwrap_err().to_string();
        for (text, reason) in [
            ("3", "element_scope must be a JSON object, got '3'"),
            ("{}", "element_scope has no collapse"),
            (r#"{"collapse": "max"}"#, "collapse must be an object"),
            (r#"{"expand": {}}"#, "unknown key 'expand', allowed are collapse"),
            (
                r#"{"collapse": {"k": 1}}"#,
                "unknown key 'k', allowed are strategy, topk",
            ),
            (
                r#"{"collapse": {"strategy": "min"}}"#,
                "strategy 'min' is unknown, allowed are max, sum, avg, topk_sum, topk_avg",
            ),
            (r#"{"collapse": {"strategy": 1}}"#, "strategy 1 is unknown"),
            (
                r#"{"collapse": {"strategy": "topk_sum"}}"#,
                "strategy topk_sum needs topk",
            ),
            (
                r#"{"collapse": {"strategy": "max", "topk": 2}}"#,
                "strategy max has no topk, got 2",
            ),
            (
                r#"{"collapse": {"strategy": "topk_avg", "topk": 0}}"#,
                "topk must be a positive integer, got 0",
            ),
        ] {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
    }
}

//! Messages of the planner that were written for its developers, in the words of a person who types SQL.

use crate::error::did_you_mean;

/// Functions that need OVER.
const WINDOW_FUNCTIONS: [&str; 10] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "nth_value",
];
const NO_MATCH: &str = "No function matches the given name and argument types '";
const CORRELATED: [&str; 3] = [
    "physical plan does not support logical expression OuterReferenceColumn",
    "physical plan does not support logical expression ScalarSubquery",
    "physical plan does not support logical expression Exists",
];

/// What is wrong with a call, when the message is about one.
pub(crate) fn of_call(text: &str) -> Option<String> {
    if let Some((before, after)) = text.split_once(NO_MATCH) {
        let (call, after) = after.split_once("'.")?;
        let candidates = after.split_once("Candidate functions:")?.1;
        let candidates: Vec<&str> = candidates
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        // Functions that check their arguments by themselves say what they take.
        if candidates
            .iter()
            .any(|candidate| candidate.contains("UserDefined"))
        {
            let (_, reason) = before.rsplit_once("coercion failed with: ")?;
            let reason = reason.split_once(": ").map_or(reason, |(_, reason)| reason);
            return Some(format!(
                "no function matches {call}: {}",
                reason.trim().trim_end_matches('.')
            ));
        }
        return Some(format!(
            "no function matches {call}; there are {}",
            candidates.join(", ")
        ));
    }
    let (name, rest) = text
        .strip_prefix("Invalid function '")
        .or_else(|| text.strip_prefix("invalid function '"))?
        .split_once('\'')?;
    if WINDOW_FUNCTIONS.contains(&name) {
        return Some(format!(
            "{name} is a window function: write {name}(..) OVER (ORDER BY ..)"
        ));
    }
    let near = rest
        .split_once("Did you mean '")
        .and_then(|(_, near)| near.split_once('\''));
    let near = near.map(|(near, _)| did_you_mean(name, &[near], "functions"));
    let near = near
        .filter(|near| near.contains("did you mean"))
        .unwrap_or_default();
    Some(format!("function '{name}' not found{near}"))
}

/// What is not supported, to be said after "not supported: ".
pub(crate) fn of_unsupported(text: &str) -> String {
    if CORRELATED.iter().any(|start| text.starts_with(start)) {
        return "a subquery for each row of another table, unless they meet in an equality and it has no ORDER BY and \
                no LIMIT, or it stands in FROM and finds the nearest rows of one table by conditions that are the same \
                for each row or equalities with it; join the tables and number the rows with row_number() OVER (PARTITION BY .. ORDER BY ..)"
            .to_string();
    }
    let text = text
        .strip_suffix(" is not supported yet")
        .or_else(|| text.strip_suffix(" is not supported"))
        .unwrap_or(text);
    let rest = text
        .strip_prefix("Unsupported ")
        .or_else(|| text.strip_prefix("unsupported "));
    rest.unwrap_or(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_fit_names_the_candidates() {
        let text = "Function 'sum' failed to match any signature, errors: [..]. No function matches the given name and \
                    argument types 'sum(Utf8)'. You might need to add explicit type casts.\n\tCandidate functions:\n\t\
                    sum(Decimal)\n\tsum(Int64)";
        let expected = "no function matches sum(Utf8); there are sum(Decimal), sum(Int64)";
        assert_eq!(of_call(text).as_deref(), Some(expected));
        assert_eq!(of_call("Another mistake"), None);
    }

    #[test]
    fn a_name_that_is_not_near_is_not_suggested() {
        let text = |near: &str| format!("Invalid function 'cosine_distnace'.\nDid you mean '{near}'?");
        assert_eq!(
            of_call(&text("cosine_distance")).as_deref(),
            Some("function 'cosine_distnace' not found; did you mean cosine_distance?")
        );
        assert_eq!(
            of_call(&text("list_union")).as_deref(),
            Some("function 'cosine_distnace' not found")
        );
    }

    #[test]
    fn nothing_is_called_unsupported_twice() {
        assert_eq!(
            of_unsupported("FETCH clause is not supported yet"),
            "FETCH clause"
        );
        assert_eq!(of_unsupported("Unsupported SQL type x"), "SQL type x");
        assert_eq!(of_unsupported("GROUPING SETS"), "GROUPING SETS");
    }
}

//! What the check of a plugin that is there as a file says, and what a user reads when one traps.

use std::fs;

use elanus_plugins::{Finding, Report, Value, check_with};

use crate::support::{HOST, given, patient, plugins};

fn checked(name: &str, values: &[(&str, Value)]) -> Report {
    let file = fs::read(plugins().join(format!("examples/prebuilt/{name}.wasm"))).unwrap();
    check_with(&HOST, &file, &patient(), &given(values))
}

#[test]
fn a_check_lists_what_a_reranker_takes_and_tries_it_with_made_up_values() {
    let report = checked("recency", &[]);
    let text = report.to_string();
    assert!(report.is_good(), "{text}");
    for line in [
        "note: parameter now (number), must be given",
        "note: the column that parameter column names, as s64s (of integers, or instants as microseconds since 1970)",
        "made up since they must be given, now = 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_check_tries_given_parameters_and_says_which_do_not_fit() {
    let good = [("now", Value::Integer(1000)), ("half_life", Value::Number(200.0))];
    let text = checked("recency", &good).to_string();
    assert!(
        text.contains("tried with 3 candidates, the parameters: "),
        "{text}"
    );
    let refused = [("now", Value::Integer(1000)), ("half_life", Value::Number(-1.0))];
    let text = checked("recency", &refused).to_string();
    assert!(
        text.contains("it refused them with 'invalid argument: half_life"),
        "{text}"
    );
    for (name, value, what) in [
        (
            "recency",
            ("now", Value::Text("x".to_owned())),
            "'now' takes a value of type number",
        ),
        (
            "recency",
            ("then", Value::Integer(1)),
            "there is no parameter 'then'",
        ),
        ("numbers", ("now", Value::Integer(1)), "they are for rerankers"),
    ] {
        let report = checked(name, &[value]);
        let is_problem = |finding: &Finding| matches!(finding, Finding::Problem(text) if text.contains(what));
        assert!(report.findings.iter().any(is_problem), "{what}: {report}");
    }
}

#[test]
fn a_trap_of_a_panic_says_where_its_message_is() {
    let file = fs::read(plugins().join("hostile/prebuilt/trap-in-post-return.wasm")).unwrap();
    let text = check_with(&HOST, &file, &patient(), &[]).to_string();
    assert!(
        text.contains("`unreachable` instruction executed") && text.contains("host::log_panics()"),
        "{text}"
    );
}

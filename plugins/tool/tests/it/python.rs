//! The SDK for Python: its examples beside native twins.

use elanus_plugins::{Argument, Candidates, Column, ColumnData, Keys, OwnedData, Request, Value, VectorData};
use regex::Regex;

use crate::support::{
    Texts, assert_scores, functions, numbers, refusal, relevance, rerank, rerankers, texts, time_of,
};

#[test]
fn popular_scores_as_its_twin() {
    for reranker in rerankers("popular-python") {
        let distances = numbers(60, 1);
        let sales: Vec<f64> = numbers(60, 2)
            .iter()
            .map(|number| f64::from(*number).abs() * 1e3)
            .collect();
        let there: Vec<u8> = (0..60).map(|at| u8::from(at % 7 != 0)).collect();
        let column = Column {
            data: ColumnData::F64s(&sales),
            validity: Some(&there),
        };
        for weight in [0.0, 0.1, 2.5] {
            let parameters = [("weight", Value::Number(weight))];
            let ranking = rerank(&reranker, &parameters, &distances, &[("sales", column)]);
            let twin: Vec<f64> = (0..60)
                .map(|at| relevance(distances[at]) + weight * (sales[at] * f64::from(there[at])).ln_1p())
                .collect();
            assert_scores(&ranking, &twin);
        }
        let error = refusal(&reranker, &[("weight", Value::Integer(-1))]);
        assert!(
            error.ends_with("invalid argument: weight is -1.0, at least 0 is allowed"),
            "{error}"
        );
        // What nobody meant to raise says where it was raised, and the plugin goes on.
        let negative = Column {
            data: ColumnData::F64s(&[-2.0]),
            validity: None,
        };
        let parameters = reranker.parameters(&[]).unwrap();
        let request = Request {
            query_vectors: VectorData { dim: 0, values: &[] },
            query_text: None,
            limit: 1,
        };
        let candidates = Candidates {
            keys: Keys::Integers(&[1]),
            distances: &[1.0],
            columns: &[("sales", negative)],
            vectors: None,
        };
        let error = reranker
            .rerank(&parameters, &request, &candidates)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ValueError: ") && error.contains("(reranker.py, line "),
            "{error}"
        );
        assert_eq!(reranker.stats().traps, 0);
    }
}

#[test]
fn clean_works_row_by_row() {
    let address = Regex::new(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+").unwrap();
    let rows = [
        "write to ann@example.org, or b.c+d@mail.example.com!",
        "none here: a@b",
        "",
        "gr\u{fc}\u{df}e an x@y.zz",
        "a null a@b.cc",
    ];
    let there = [1, 1, 1, 1, 0];
    let written = Texts::new(&rows);
    for functions in functions("clean-python") {
        let redact = functions.find("redact").unwrap();
        let argument = [Argument::Column(written.column(Some(&there)))];
        let (column, _) = functions.invoke(redact, &argument, rows.len()).unwrap();
        let expected: Vec<_> = rows
            .iter()
            .map(|row| address.replace_all(row, "[address]"))
            .collect();
        assert_eq!(texts(&column.data)[..4], expected[..4]);
        assert_eq!(column.validity, Some(there.to_vec()));
        let ratio = functions.find("ratio").unwrap();
        let part = Argument::Column(Column {
            data: ColumnData::F64s(&[1.0, 3.0, 5.0, 7.0]),
            validity: Some(&[1, 1, 1, 0]),
        });
        let whole = Argument::Column(Column {
            data: ColumnData::F64s(&[2.0, 0.0, 9.0, 2.0]),
            validity: Some(&[1, 1, 0, 1]),
        });
        let (column, _) = functions.invoke(ratio, &[part, whole], 4).unwrap();
        assert_eq!(column.validity, Some(vec![1, 0, 0, 0]));
        assert_eq!(column.data, OwnedData::F64s(vec![0.5, 0.0, 0.0, 0.0]));
        let constant = Argument::Constant(Column {
            data: ColumnData::F64s(&[4.0]),
            validity: None,
        });
        let (column, _) = functions.invoke(ratio, &[part, constant], 4).unwrap();
        assert_eq!(column.validity, Some(vec![1, 1, 1, 0]));
        assert_eq!(column.data, OwnedData::F64s(vec![0.25, 0.75, 1.25, 0.0]));
    }
}

#[test]
fn a_plugin_built_with_rights_may_ask_for_the_time() {
    let source = "
from elanus_plugin import function, library, now

library(name='time', version='1.0.0')


@function(volatility='volatile')
def milliseconds() -> int:
    return now()
";
    if let Some((rights, time)) = time_of("functions.py", source) {
        assert!(rights.clock && time > 1_600_000_000_000, "{rights}, {time}");
    }
}

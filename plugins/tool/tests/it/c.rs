//! The SDK for C: its examples beside native twins, its memory, its rights.

use elanus_plugins::{Argument, Column, ColumnData, OwnedData, Value};

use crate::support::{Texts, assert_scores, functions, numbers, refusal, rerank, rerankers, time_of};

/// Reciprocal rank fusion, by counting who is before whom.
fn fusion(values: &[Option<f64>], weight: f64, k: f64) -> Vec<f64> {
    let key = |at: usize| values[at].map_or(f64::NEG_INFINITY, |value| f64::from(value as f32));
    (0..values.len())
        .map(|at| {
            let before = |other: &usize| key(*other) > key(at) || (key(*other) == key(at) && *other < at);
            let place = (0..values.len()).filter(before).count() as f64;
            1.0 / (k + at as f64 + 1.0) + weight / (k + place + 1.0)
        })
        .collect()
}

#[test]
fn fusion_ranks_as_its_twin() {
    for reranker in rerankers("fusion-c") {
        // Configured again and again, with texts of different lengths: the memory of one instance is used again.
        for (round, count) in [1, 2, 7, 100, 1000, 33].into_iter().enumerate() {
            let values: Vec<f64> = numbers(count, round as u64).into_iter().map(f64::from).collect();
            let there: Vec<u8> = (0..count).map(|at| u8::from(at % 5 != 3)).collect();
            let distances: Vec<f32> = (0..count).map(|at| at as f32).collect();
            let name = "sales".repeat(round + 1);
            let weight = 0.25 * (round + 1) as f64;
            let parameters = [
                ("column", Value::Text(name.clone())),
                ("weight", Value::Number(weight)),
                ("k", Value::Integer(10)),
            ];
            let column = Column {
                data: ColumnData::F64s(&values),
                validity: Some(&there),
            };
            let ranking = rerank(&reranker, &parameters, &distances, &[(&name, column)]);
            let known: Vec<Option<f64>> = values
                .iter()
                .zip(&there)
                .map(|(value, there)| (*there == 1).then_some(*value))
                .collect();
            assert_scores(&ranking, &fusion(&known, weight, 10.0));
        }
        let column = ("column", Value::Text("sales".to_owned()));
        let error = refusal(&reranker, &[column.clone(), ("k", Value::Integer(0))]);
        assert!(error.ends_with("invalid argument: k is not positive"), "{error}");
        let error = refusal(&reranker, &[("column", Value::Text(String::new()))]);
        assert!(error.contains("column is empty"), "{error}");
    }
}

#[test]
fn memory_does_not_grow_with_calls() {
    for reranker in rerankers("fusion-c") {
        let distances: Vec<f32> = (0..500).map(|at| at as f32).collect();
        let values = vec![1.0; 500];
        let column = Column {
            data: ColumnData::F64s(&values),
            validity: None,
        };
        let mut peaks = Vec::new();
        for round in 0..2000 {
            let name = "x".repeat(1 + round % 700);
            let parameters = [("column", Value::Text(name.clone()))];
            rerank(&reranker, &parameters, &distances, &[(&name, column)]);
            peaks.push(reranker.stats().peak_memory);
        }
        assert_eq!((reranker.stats().instances, peaks[700]), (1, peaks[1999]));
    }
}

/// The whole table of Wagner and Fischer.
fn levenshtein(a: &str, b: &str) -> i64 {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for row in 0..=a.len() {
        for column in 0..=b.len() {
            table[row][column] = match (row, column) {
                (0, distance) | (distance, 0) => distance as i64,
                _ => {
                    let replaced = table[row - 1][column - 1] + i64::from(a[row - 1] != b[column - 1]);
                    replaced
                        .min(table[row - 1][column] + 1)
                        .min(table[row][column - 1] + 1)
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[test]
fn levenshtein_counts_as_its_twin() {
    let left = ["kitten", "", "flaw", "gr\u{fc}n", "same", "a", "null"];
    let right = ["sitting", "abc", "lawn", "grun", "same", "", "other"];
    let (a, b) = (Texts::new(&left), Texts::new(&right));
    let there = [1, 1, 1, 1, 1, 1, 0];
    for functions in functions("levenshtein-c") {
        let both = [
            Argument::Column(a.column(Some(&there))),
            Argument::Column(b.column(None)),
        ];
        let (column, _) = functions.invoke(0, &both, left.len()).unwrap();
        let expected: Vec<i64> = left.iter().zip(right).map(|(a, b)| levenshtein(a, b)).collect();
        assert_eq!(column.data, OwnedData::S64s(expected));
        assert_eq!(column.validity, Some(there.to_vec()));
        let one = Texts::new(&["kitten"]);
        let constant = [
            Argument::Constant(one.column(None)),
            Argument::Column(b.column(None)),
        ];
        let (column, _) = functions.invoke(0, &constant, right.len()).unwrap();
        let expected: Vec<i64> = right.iter().map(|b| levenshtein("kitten", b)).collect();
        assert_eq!(column.data, OwnedData::S64s(expected));
    }
}

/// What a plugin imports is what it calls, and nothing else.
#[test]
fn a_plugin_that_asks_for_the_time_needs_the_clock_alone() {
    let source = r#"
        #include <elanus_plugin.h>
        static const elanus_signature signatures[] = {
            {.name = ELANUS_TEXT("now"), .returns = {.tag = ELANUS_S64S}, .volatility = ELANUS_VOLATILE},
        };
        const elanus_functions elanus_library = {ELANUS_TEXT("time"), ELANUS_TEXT("1.0.0"), ELANUS_LIST(signatures)};
        elanus_outcome elanus_invoke(uint32_t f, const elanus_argument *a, uint32_t rows, elanus_column *result) {
            int64_t *times = elanus_alloc(rows * sizeof(int64_t));
            for (uint32_t row = 0; row < rows; row++)
                times[row] = (int64_t)elanus_now();
            result->data.tag = ELANUS_S64S;
            result->data.s64s.data = times;
            result->data.s64s.size = rows;
            return ELANUS_OK;
        }"#;
    if let Some((rights, time)) = time_of("functions.c", source) {
        assert!(
            rights.to_string() == "clock" && time > 1_600_000_000_000,
            "{rights}, {time}"
        );
    }
}

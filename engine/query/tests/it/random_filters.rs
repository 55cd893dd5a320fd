//! Tables of random rows and random filters on them, for tests that a shortcut selects the rows that the long way does.

use elanus_query::{DEFAULT_DATABASE, Engine};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{ints, load, query, sql};

/// A value of every column but the key, as SQL.
pub fn row() -> impl Strategy<Value = String> {
    let int = prop_oneof![
        3 => (-6i64..6).prop_map(|n| n.to_string()),
        1 => Just("NULL".to_string()),
    ];
    let small = prop_oneof![3 => (-128i64..128).prop_map(|n| n.to_string()), 1 => Just("NULL".to_string())];
    let float = prop_oneof![
        4 => (-4i32..4).prop_map(|n| format!("{}", f64::from(n) / 2.0)),
        1 => Just("-0.0".to_string()),
        1 => Just("NULL".to_string()),
    ];
    let word = prop_oneof![
        5 => "[abü%_]{0,4}".prop_map(|word| format!("'{word}'")),
        1 => Just("NULL".to_string()),
    ];
    let flag = prop::sample::select(vec!["true", "false", "NULL"]);
    let time = prop_oneof![
        3 => (1u32..9).prop_map(|day| format!("'2025-01-0{day}T00:00:00Z'")),
        1 => Just("NULL".to_string()),
    ];
    let tags = prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec!["1", "2", "3"]), 1..4)
            .prop_map(|tags| format!("ARRAY[{}]", tags.join(", "))),
        1 => Just("ARRAY[]::BIGINT[]".to_string()),
        1 => Just("NULL".to_string()),
    ];
    let place = prop::sample::select(vec![
        "1",
        "-2",
        "1.5",
        "-0.0",
        "1e2",
        "9007199254740993",
        "\"ab\"",
        "\"\"",
        "\"\\u0062\"",
        "true",
        "false",
        "null",
        "[1, \"a\", 2.0]",
        "[\"b\"]",
        "[]",
        "{\"k\": 1}",
    ]);
    let json = prop_oneof![
        5 => place.prop_map(|value| format!("'{{\"x\": {{\"y\": {value}}}, \"z\": 1}}'")),
        1 => Just("'{\"x\": 3}'".to_string()),
        1 => Just("NULL".to_string()),
    ];
    (int, small, float, word, flag, time, tags, json)
        .prop_map(|(i, s, f, w, b, t, a, j)| format!("{i}, {s}, {f}, {w}, {b}, {t}, {a}, {j}"))
}

const COLUMNS: [&str; 9] = ["i", "s", "f", "w", "b", "t", "a", "j", "j[\"x\"][\"y\"]"];

/// A filter of Milvus on these columns.
pub fn filter() -> impl Strategy<Value = String> {
    let compare = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let number = || prop::sample::select(vec!["-3", "0", "2", "1.5", "-0.0", "300"]);
    let text = || prop::sample::select(vec!["\"\"", "\"a\"", "\"ab\"", "\"ü\"", "\"b%\""]);
    let pattern = prop::sample::select(vec!["a%", "%b%", "%ab%", "_", "%ü", "a_%", "\\\\%%", "%", "ab"]);
    let day = (0u32..9).prop_map(|day| format!("ISO '2025-01-0{}T12:00:00Z'", day.max(1)));
    let list = |values: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(values.to_vec()), 0..4)
            .prop_map(|values| format!("[{}]", values.join(", ")))
    };
    let leaf = prop_oneof![
        (prop::sample::select(vec!["i", "s", "f"]), compare(), number())
            .prop_map(|(column, op, value)| format!("{column} {op} {value}")),
        (number(), compare(), prop::sample::select(vec!["i", "f"]))
            .prop_map(|(value, op, column)| format!("{value} {op} {column}")),
        (compare(), text()).prop_map(|(op, value)| format!("w {op} {value}")),
        pattern.prop_map(|pattern| format!("w like \"{pattern}\"")),
        prop::sample::select(vec!["a+", "^b", "ü$"]).prop_map(|regex| format!("w =~ \"{regex}\"")),
        prop::sample::select(vec!["b == true", "b != true", "b in [false]"]).prop_map(str::to_string),
        (compare(), day).prop_map(|(op, day)| format!("t {op} {day}")),
        (
            prop::sample::select(vec!["in", "not in"]),
            list(&["-1", "0", "3", "5"])
        )
            .prop_map(|(op, list)| format!("i {op} {list}")),
        (
            prop::sample::select(vec!["in", "not in"]),
            list(&["0.0", "1.5", "-2"])
        )
            .prop_map(|(op, list)| format!("f {op} {list}")),
        (
            prop::sample::select(vec!["in", "not in"]),
            list(&["\"a\"", "\"b\"", "\"\""])
        )
            .prop_map(|(op, list)| format!("w {op} {list}")),
        prop::sample::select(vec![
            "-2 < i < 3",
            "i % 3 == 1",
            "s & 3 == 1",
            "i + 1 > 2",
            "12 / i > 3"
        ])
        .prop_map(str::to_string),
        (
            prop::sample::select(COLUMNS.to_vec()),
            prop::sample::select(vec!["is null", "is not null"])
        )
            .prop_map(|(column, test)| format!("{column} {test}")),
        prop::sample::select(vec!["1", "2", "7"]).prop_map(|one| format!("array_contains(a, {one})")),
        (prop::sample::select(vec!["any", "all"]), list(&["1", "2", "3"]))
            .prop_map(|(mode, list)| format!("array_contains_{mode}(a, {list})")),
        Just("array_length(a) == 2".to_string()),
        (
            compare(),
            prop::sample::select(vec![
                "1",
                "0",
                "-2.0",
                "9007199254740993",
                "9007199254740992",
                "1.5",
                "\"b\"",
                "\"\""
            ])
        )
            .prop_map(|(op, value)| format!("j[\"x\"][\"y\"] {op} {value}")),
        prop::sample::select(vec![
            "== true",
            "!= false",
            "in [1, 2]",
            "not in [\"ab\", \"b\"]",
            "in [1, \"b\"]",
            "like \"%b\"",
            "=~ \"^a\"",
            "!~ \"a\""
        ])
        .prop_map(|test| format!("j[\"x\"][\"y\"] {test}")),
        prop::sample::select(vec![
            "(j[\"x\"][\"y\"], 1)",
            "(j[\"x\"][\"y\"], \"b\")",
            "_any(j[\"x\"][\"y\"], [2, 7])",
            "_all(j[\"x\"][\"y\"], [1, 2])",
            "_all(j[\"x\"][\"y\"], [1, \"a\"])"
        ])
        .prop_map(|test| format!("json_contains{test}")),
        (
            compare(),
            prop::sample::select(vec!["0", "17", "30", "77", "1000"])
        )
            .prop_map(|(op, key)| format!("id {op} {key}")),
        (
            prop::sample::select(vec!["in", "not in"]),
            list(&["3", "8", "21", "40", "5000"])
        )
            .prop_map(|(op, list)| format!("id {op} {list}")),
        Just("n > 50".to_string()),
        Just("n % 7 == 3".to_string()),
    ];
    leaf.prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            part.prop_map(|part| format!("not ({part})")),
        ]
    })
}

/// The same draws in every run.
pub fn runner() -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

pub async fn create(engine: &Engine, table: &str) {
    let columns = "id BIGINT PRIMARY KEY, n INTEGER NOT NULL, i BIGINT, s TINYINT, f DOUBLE, w VARCHAR(20), \
                   b BOOLEAN, t TIMESTAMPTZ, a BIGINT[], j JSON, v VECTOR(2) NOT NULL";
    sql(engine, &format!("CREATE TABLE {table} ({columns})")).await;
    sql(
        engine,
        &format!("CREATE INDEX {table}_v ON {table} USING flat (v)"),
    )
    .await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, table).unwrap();
    load(&collection).await;
}

/// What a filter selects in a table: keys in their order, or that it fails.
pub async fn selected(engine: &Engine, table: &str, filter: &str) -> Result<Vec<i64>, ()> {
    let collection = engine.collections().collection(DEFAULT_DATABASE, table).unwrap();
    let found = engine.query(query(&collection, filter)).await;
    let mut keys = ints(&[found.map_err(|_| ())?]);
    keys.sort_unstable();
    Ok(keys)
}

/// Whether as many random filters select the same rows of two tables; `trusted` reads every value.
pub async fn compare(
    engine: &Engine,
    tables: [&str; 2],
    runner: &mut TestRunner,
    filters: usize,
    moment: &str,
) {
    compare_with(engine, tables, runner, &filter(), filters, moment).await;
}

/// As [`compare`], with filters of one's own.
pub async fn compare_with(
    engine: &Engine,
    [table, trusted]: [&str; 2],
    runner: &mut TestRunner,
    strategy: &impl Strategy<Value = String>,
    filters: usize,
    moment: &str,
) {
    let mut compared = 0;
    for _ in 0..filters {
        let filter = strategy.new_tree(runner).unwrap().current();
        let found = selected(engine, table, &filter).await;
        let expected = selected(engine, trusted, &filter).await;
        // A value that makes a filter fail may be in a row that an index or the bounds of its values have left out.
        if expected.is_ok() {
            assert_eq!(found, expected, "{moment}: {filter}");
            compared += 1;
        }
    }
    assert!(
        compared * 10 > filters * 7,
        "{moment}: {compared} of {filters} filters ran"
    );
}

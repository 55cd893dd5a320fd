//! Expressions and the rows they match.

use elanus_filter::TemplateValue::{Array, Bool, Float, Int, String as Text};
use elanus_filter::Templates;

use crate::table::{matching, matching_through_planner, table, truth};

/// Every filter matches exactly these rows, evaluated directly and through the planner.
async fn check(cases: &[(&str, &[usize])]) {
    let batch = table();
    for (filter, expected) in cases {
        let direct = matching(&batch, filter, &Templates::new()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(direct, *expected, "{filter}");
        assert_eq!(
            matching_through_planner(&batch, filter, &Templates::new()).await,
            *expected,
            "{filter} through the planner"
        );
    }
}

#[tokio::test]
async fn comparisons_of_a_field_and_a_literal() {
    check(&[
        ("id == 3", &[3]),
        ("3 == id", &[3]),
        ("2 < id", &[3, 4, 5]),
        ("id >= 4", &[4, 5]),
        ("id != 0", &[1, 2, 3, 4, 5]),
        ("small < 300", &[0, 1, 2, 3, 5]),
        ("small == 300", &[]),
        ("small > -129", &[0, 1, 2, 3, 5]),
        ("small == -128", &[3]),
        ("big == 9223372036854775807", &[2]),
        ("big == -9223372036854775808", &[3]),
        ("small > 0.5", &[0, 2]),
        ("small >= 1.0", &[0, 2]),
        ("small < -1.5", &[1, 3]),
        ("small != 0.5", &[0, 1, 2, 3, 5]),
        ("small == 0.5", &[]),
        ("big == 9007199254740992.0", &[]),
        ("big > 9007199254740992.0", &[2, 5]),
        ("big < 1e300", &[0, 1, 2, 3, 5]),
        ("big >= -9223372036854775808.0", &[0, 1, 2, 3, 5]),
        ("real == 0.1", &[0]),
        ("double == 0.1", &[0]),
        ("real == 0", &[3]),
        ("real <= 0", &[1, 3]),
        ("real < 0", &[1]),
        ("real != 0", &[0, 1, 2, 5]),
        ("real >= 0.0", &[0, 2, 3, 5]),
        ("double > 0", &[0, 2, 5]),
        ("double >= 1e300", &[2]),
        ("real < 1e300", &[0, 1, 2, 3, 5]),
        ("flag == true", &[0, 2, 5]),
        ("flag != True", &[1, 3]),
        ("text == 'apple'", &[0]),
        ("text != 'apple'", &[1, 2, 3, 5]),
        ("text > 'a'", &[0, 1, 5]),
        ("text == ''", &[3]),
        ("text == \"a\\\\b\\nc\"", &[5]),
        ("Text == 'z'", &[1, 3, 4]),
    ])
    .await;
}

#[tokio::test]
async fn texts_by_their_terms() {
    check(&[
        ("text_match(body, 'foxes')", &[0, 1, 2]),
        ("text_match(body, 'bear fix')", &[2, 5]),
        ("not text_match(body, 'fox')", &[3, 5]),
        ("text_match(body, 'quick brown', minimum_should_match=2)", &[0, 2]),
        ("text_match(body, 'the of')", &[]),
        (
            "text_match_fuzzy(body, 'fax', max_edit_distance=1)",
            &[0, 1, 2, 5],
        ),
        ("text_match_fuzzy(body, 'fax', max_edit_distance=0)", &[]),
        ("phrase_match(body, 'quick brown fox')", &[0]),
        ("phrase_match(body, 'quick fox')", &[2]),
        ("phrase_match(body, 'quick fox', 1)", &[0, 2]),
        ("phrase_match(body, 'fox quick', 3) and id < 2", &[0, 1]),
    ])
    .await;
}

#[tokio::test]
async fn comparisons_of_two_fields() {
    check(&[
        ("id == small", &[]),
        ("small > id", &[0, 2]),
        ("small == big", &[0]),
        ("real == double", &[3]),
        ("small < real", &[3, 5]),
        ("big > double", &[0, 5]),
        ("text == Text", &[0]),
        ("text < Text", &[3]),
        ("flag == flag", &[0, 1, 2, 3, 5]),
    ])
    .await;
}

#[tokio::test]
async fn logic_has_three_values() {
    check(&[
        ("not (small > 0)", &[1, 3, 5]),
        ("!(small > 0)", &[1, 3, 5]),
        ("not not (small > 0)", &[0, 2]),
        ("small > 0 and id < 5", &[0, 2]),
        ("small > 0 && flag == true", &[0, 2]),
        ("small > 0 or id == 4", &[0, 2, 4]),
        ("small > 0 || small <= 0", &[0, 1, 2, 3, 5]),
        ("not (small > 0 and id == 4)", &[0, 1, 2, 3, 5]),
        ("not (small > 0 or id == 99)", &[1, 3, 5]),
        ("id == 1 or id == 2 and flag == false", &[1]),
        ("true", &[0, 1, 2, 3, 4, 5]),
        ("1 == 1", &[0, 1, 2, 3, 4, 5]),
        ("1 > 2.5 or 'a' < 'b'", &[0, 1, 2, 3, 4, 5]),
        ("not (1 == 1)", &[]),
        ("1 == 1 and id == 2", &[2]),
        (
            "2 ** 3 == 8 and 7 / 2 == 3 and -7 % 3 == -1 and 7 / 2.0 == 3.5 and (6 & 3) == 2",
            &[0, 1, 2, 3, 4, 5],
        ),
        ("id == 1 + 2 * 2", &[5]),
        ("id == -(-3)", &[3]),
        ("9007199254740993 == 9007199254740992.0", &[]),
        ("9007199254740992.0 < 9007199254740993", &[0, 1, 2, 3, 4, 5]),
        ("9223372036854775807 < 9223372036854775808.0", &[0, 1, 2, 3, 4, 5]),
    ])
    .await;
}

#[tokio::test]
async fn chained_ranges() {
    check(&[
        ("1 < id <= 3", &[2, 3]),
        ("3 >= id > 1", &[2, 3]),
        ("0 <= id <= 0", &[0]),
        ("-2 <= small < 1.5", &[0, 1, 5]),
        ("'a' <= text < 'b'", &[0, 5]),
        ("0 < meta[\"n\"] < 2", &[0, 1]),
        ("not (0 < meta[\"n\"] < 2)", &[5]),
        ("5 < n <= 10", &[0, 5]),
        ("0 < ints[0] < 3", &[0, 5]),
    ])
    .await;
}

#[tokio::test]
async fn membership() {
    check(&[
        ("id in [1, 3, 99]", &[1, 3]),
        ("id not in [1, 3]", &[0, 2, 4, 5]),
        ("small in [1, 300, -128]", &[0, 3]),
        ("small in [300]", &[]),
        ("small not in [300]", &[0, 1, 2, 3, 5]),
        ("small not in [1, 0]", &[1, 2, 3]),
        ("id in []", &[]),
        ("small in []", &[]),
        ("small not in []", &[0, 1, 2, 3, 5]),
        ("double in [1, 0, 0.5]", &[3, 5]),
        ("real in [0.1, 0]", &[0, 3]),
        ("flag in [true]", &[0, 2, 5]),
        ("text in ['apple', '50%', 'x']", &[0, 2]),
        ("text not in ['apple']", &[1, 2, 3, 5]),
        ("meta[\"n\"] in [1, 1.5, \"1\"]", &[0, 1, 2]),
        ("meta[\"n\"] in [1, -3]", &[0, 5]),
        ("meta[\"n\"] not in [1, -3]", &[1]),
        ("meta[\"n\"] in [1.0]", &[0]),
        ("ints[0] in [3, 2]", &[2, 5]),
        ("color in ['red', 3]", &[0, 2]),
        ("color in []", &[]),
        ("not (color in [])", &[0, 1, 2, 3, 4, 5]),
    ])
    .await;
}

#[tokio::test]
async fn patterns() {
    check(&[
        ("text like 'app%'", &[0]),
        ("text like '%l%'", &[0, 1]),
        ("text like '%e'", &[0]),
        ("text like 'apple'", &[0]),
        ("text like '_pfel\\_1'", &[1]),
        ("text like '_____'", &[0, 5]),
        ("text like '50\\%'", &[2]),
        ("text like '50_'", &[2]),
        ("text like 'a\\\\\\\\b%'", &[5]),
        ("text like r'a\\\\b%'", &[5]),
        ("text like ''", &[3]),
        ("text like '%'", &[0, 1, 2, 3, 5]),
        ("not (text like 'a%')", &[1, 2, 3]),
        ("text like 'a.*'", &[]),
        ("meta[\"s\"] like 're%'", &[0, 3]),
        ("meta[\"s\"] like '%\\%%'", &[3]),
        ("tags[0] like 'x%'", &[0, 3]),
        ("text =~ '^a'", &[0, 5]),
        ("text =~ '(?i)APP'", &[0]),
        ("text !~ 'p'", &[2, 3, 5]),
        ("text =~ r'\\d+'", &[1, 2]),
        ("text =~ ''", &[0, 1, 2, 3, 5]),
        ("text like 'a%e'", &[0]),
        ("text like 'a%p%l_'", &[0]),
        ("text like '%%l%%'", &[0, 1]),
        ("meta[\"s\"] =~ '^(red|blue)$'", &[0, 1]),
        ("meta[\"s\"] !~ 'e'", &[2, 4, 5]),
        ("not (meta[\"s\"] =~ 'e')", &[5]),
        ("starts_with(text, '50%')", &[2]),
        ("empty(text)", &[3]),
    ])
    .await;
}

#[tokio::test]
async fn arithmetic_with_one_constant() {
    check(&[
        ("id + 1 == 3", &[2]),
        ("1 + id == 3", &[2]),
        ("id - 1 >= 3", &[4, 5]),
        ("id * 2 == 6", &[3]),
        ("2 * id < 3", &[0, 1]),
        ("id / 2 == 1", &[2, 3]),
        ("id % 2 == 1", &[1, 3, 5]),
        ("big / 2 == -3", &[1]),
        ("big % 4 == -3", &[1]),
        ("small + 1 == 128", &[2]),
        ("small * 2 == -256", &[3]),
        ("small / -1 == 128", &[3]),
        ("big / -1 == -1", &[0]),
        ("big % -1 == 0", &[0, 1, 2, 3, 5]),
        ("id + 1 > 2.5", &[2, 3, 4, 5]),
        ("double * 2 == 1", &[5]),
        ("double + 0.5 == 1.0", &[5]),
        ("real / 2 == 0.5", &[2]),
        ("real + 1 == 1", &[3]),
        // constants that a FLOAT cannot hold
        ("real * 1e300 > 5", &[0, 2, 5]),
        ("real * 1e300 == 0", &[3]),
        ("real / 1e-50 > 5", &[0, 2, 5]),
        ("real / 1e-50 == 0", &[3]),
        ("3 == id + 1", &[2]),
        ("(id & 1) == 1", &[1, 3, 5]),
        ("(id | 1) == 3", &[2, 3]),
        ("(id ^ 1) == 0", &[1]),
        ("meta[\"n\"] + 1 == 2", &[0]),
        ("meta[\"n\"] * 2 == 3", &[1]),
        ("meta[\"n\"] / 2 == -1", &[5]),
        ("meta[\"n\"] % 2 == -1", &[5]),
        ("(meta[\"n\"] & 1) == 1", &[0, 5]),
        ("n - 10 == 0", &[0, 5]),
        ("ints[0] + 1 == 4", &[2]),
        ("not (small + 1 > 1)", &[1, 3, 5]),
    ])
    .await;
}

#[tokio::test]
async fn null_tests_and_existence() {
    check(&[
        ("small is null", &[4]),
        ("small is not null", &[0, 1, 2, 3, 5]),
        ("id IS NULL", &[]),
        ("ints is null", &[4]),
        ("meta is null", &[4]),
        ("ts is null or flag is not null", &[0, 1, 2, 3, 4, 5]),
        ("not small is null", &[0, 1, 2, 3, 5]),
        ("meta[\"n\"] is null", &[3, 4]),
        ("meta[\"n\"] is not null", &[0, 1, 2, 5]),
        ("exists meta[\"n\"]", &[0, 1, 2, 5]),
        ("not exists meta[\"deep\"][\"a\"][0]", &[1, 2, 3, 4, 5]),
        ("exists color", &[0, 1, 2]),
        ("color is null", &[3, 4, 5]),
        ("exists $meta[\"color\"]", &[0, 1, 2]),
        ("exists nowhere", &[]),
    ])
    .await;
}

#[tokio::test]
async fn json_paths_compare_by_value_and_kind() {
    check(&[
        ("meta[\"n\"] == 1", &[0]),
        ("meta['n'] == 1.0", &[0]),
        ("meta[\"n\"] != 1", &[1, 5]),
        ("not (meta[\"n\"] == 1)", &[1, 5]),
        ("meta[\"n\"] > -5", &[0, 1, 5]),
        ("1 < meta[\"n\"]", &[1]),
        ("meta[\"n\"] == \"1\"", &[2]),
        ("meta[\"n\"] > \"0\"", &[2]),
        ("meta[\"b\"] == true", &[0]),
        ("meta[\"b\"] != true", &[1]),
        ("meta[\"s\"] == \"red\"", &[0]),
        ("meta[\"s\"] < \"c\"", &[1, 5]),
        ("meta[\"deep\"][\"a\"][0][\"k\"] == 7", &[0]),
        ("meta[\"0\"] == \"zero\"", &[0]),
        ("meta[0] == \"zero\"", &[0]),
        ("meta[\"list\"][1] == 2", &[0]),
        ("meta[\"list\"] == [2, 'y']", &[2]),
        ("meta[\"list\"] == []", &[1]),
        ("meta[\"list\"] != []", &[0, 2, 5]),
        ("color == 'red'", &[0]),
        ("$meta[\"color\"] == 'red'", &[0]),
        ("color == 3", &[2]),
        ("$meta[\"id\"] == 99", &[0]),
        ("$meta[\"a/b\"] == 1", &[0]),
        ("tags[0] == 'x'", &[0]),
        ("$meta[\"tags\"][1] == 'q'", &[5]),
        ("n == 10", &[0, 5]),
        ("n > 10", &[1]),
        ("nowhere == 1", &[]),
        ("not (nowhere == 1)", &[]),
    ])
    .await;
}

#[tokio::test]
async fn arrays_and_containment() {
    check(&[
        ("ints[0] == 3", &[2]),
        ("ints[1] == 3", &[3]),
        ("ints[7] == 3", &[]),
        ("ints[2147483647] == 3", &[]),
        ("not (ints[2147483648] == 3)", &[]),
        ("ints[18446744073709551615] in [3]", &[]),
        ("not (ints[1] == 3)", &[0, 5]),
        ("ints[0] > 1.5", &[2, 5]),
        ("tags[1] != 'x'", &[0]),
        ("floats[0] == 0.1", &[2]),
        ("array_contains(ints, 3)", &[0, 2, 3]),
        ("json_contains(ints, 3)", &[0, 2, 3]),
        ("not array_contains(ints, 3)", &[1, 5]),
        ("array_contains(floats, 0.5)", &[0, 5]),
        ("array_contains(floats, 2)", &[3]),
        ("array_contains(tags, 'x')", &[0, 5]),
        ("array_contains_all(ints, [1, 2])", &[0, 5]),
        ("array_contains_all(ints, [])", &[0, 1, 2, 3, 5]),
        ("ARRAY_CONTAINS_ANY(ints, [-1, 2])", &[0, 3, 5]),
        ("array_contains_any(ints, [])", &[]),
        ("array_contains_any(tags, ['y', 'z'])", &[2, 5]),
        ("array_length(ints) == 1", &[2]),
        ("array_length(ints) < 2", &[1, 2]),
        ("0 == array_length(ints)", &[1]),
        ("ints == [1, 2, 3]", &[0]),
        ("[1, 2, 3] == ints", &[0]),
        ("ints == []", &[1]),
        ("ints != []", &[0, 2, 3, 5]),
        ("tags == ['x', 'yes']", &[0]),
        ("json_contains(meta[\"list\"], 2)", &[0, 2]),
        ("json_contains(meta[\"list\"], 'x')", &[0, 5]),
        ("json_contains(meta[\"list\"], [5])", &[0]),
        ("not json_contains(meta[\"list\"], 2)", &[1, 5]),
        ("json_contains_all(meta[\"list\"], [1, 'x'])", &[0, 5]),
        ("json_contains_any(meta[\"list\"], ['y', [5.0]])", &[0, 2]),
        ("json_contains($meta[\"tags\"], 'p')", &[5]),
        ("array_length(meta[\"list\"]) == 2", &[2, 5]),
        ("array_length(meta[\"list\"]) == 0", &[1]),
    ])
    .await;
}

#[tokio::test]
async fn timestamps() {
    check(&[
        ("ts == ISO '2025-01-01T00:00:00Z'", &[0]),
        ("ts > ISO '2025-01-01T00:00:00Z'", &[2, 5]),
        ("ts >= ISO '2025-01-01T08:00:00+08:00'", &[0, 2, 5]),
        ("ISO '2025-01-01' > ts", &[1, 3]),
        ("ts != ISO '1970-01-01T00:00:00Z'", &[0, 1, 2, 5]),
        ("ts == ISO '2025-01-01T00:00:00.000001Z'", &[5]),
        ("ts + INTERVAL 'P1D' == ISO '2025-01-01T00:00:00Z'", &[1]),
        ("ts - INTERVAL 'P31D' >= ISO '2025-01-01T00:00:00Z'", &[2]),
        ("ISO '2025-01-02T00:00:00Z' <= ts + interval 'PT24H'", &[0, 2, 5]),
        ("ts + INTERVAL 'P1M' == ISO '2025-02-01T00:00:00Z'", &[0]),
        ("ts - INTERVAL 'P1M' == ISO '2025-01-01T00:00:00Z'", &[2]),
        (
            "ts - INTERVAL 'P1MT3000000H' < ISO '1900-01-01'",
            &[0, 1, 2, 3, 5],
        ),
        ("ts + INTERVAL 'P9999Y' > ISO '2025-01-01'", &[0, 1, 2, 3, 5]),
        ("ts < ISO '2025-01-01T00:00:00Z' and id == 3", &[3]),
        ("not (ts < ISO '2025-01-01T00:00:00Z')", &[0, 2, 5]),
    ])
    .await;
}

#[test]
fn templates_stand_for_constants_of_every_type() {
    let batch = table();
    let templates: Templates = [
        ("int", Int(3)),
        ("float", Float(0.1)),
        ("text", Text("a\\b\nc".to_owned())),
        ("yes", Bool(true)),
        ("list", Array(vec![Int(1), Int(3)])),
        ("mixed", Array(vec![Int(1), Text("1".to_owned()), Float(1.5)])),
        ("nested", Array(vec![Array(vec![Int(5)])])),
        ("empty", Array(vec![])),
        ("prefix", Text("app%".to_owned())),
    ]
    .into_iter()
    .collect();
    for (filter, expected) in [
        ("id == {int}", &[3][..]),
        ("{int} <= id", &[3, 4, 5]),
        ("double == {float}", &[0]),
        ("text == {text}", &[5]),
        ("flag == {yes}", &[0, 2, 5]),
        ("id in {list}", &[1, 3]),
        ("id not in {list}", &[0, 2, 4, 5]),
        ("id in {empty}", &[]),
        ("id in [{int}, 4]", &[3, 4]),
        ("meta[\"n\"] in {mixed}", &[0, 1, 2]),
        (
            "json_contains(meta[\"list\"], {int}) or json_contains_any(meta[\"list\"], {nested})",
            &[0],
        ),
        ("array_contains_all(ints, {list})", &[0]),
        ("0 < id < {int}", &[1, 2]),
        ("{int} < id < 2", &[]),
        ("id + {int} == 5", &[2]),
        ("id + 1 == {int}", &[2]),
        ("text like {prefix}", &[0]),
        ("text =~ {prefix}", &[]),
        ("id == -{int}", &[]),
        ("array_length(ints) == {int}", &[0]),
    ] {
        assert_eq!(
            matching(&batch, filter, &templates).unwrap(),
            expected,
            "{filter}"
        );
    }
}

#[test]
fn unknown_stays_unknown_under_not() {
    let batch = table();
    for filter in [
        "small > 0",
        "text like 'a%'",
        "text =~ 'a'",
        "small in [1]",
        "ints[0] == 1",
        "array_contains(ints, 1)",
        "array_length(ints) == 1",
        "ints == [1]",
        "ts > ISO '2025-01-01'",
        "meta[\"n\"] == 1",
        "small + 1 == 2",
        "small in []",
        "small != 0.5",
        "small < 300",
    ] {
        let plain = truth(&batch, filter, &Templates::new()).unwrap();
        let negated = truth(&batch, &format!("not ({filter})"), &Templates::new()).unwrap();
        assert_eq!(plain[4], None, "{filter}");
        let expected: Vec<_> = plain.iter().map(|truth| truth.map(|truth| !truth)).collect();
        assert_eq!(negated, expected, "{filter}");
    }
}

#[test]
fn ten_thousand_conditions_evaluate() {
    let batch = table();
    let filter = (0..10_000)
        .map(|value| format!("id == {value}"))
        .collect::<Vec<_>>()
        .join(" or ");
    assert_eq!(
        matching(&batch, &filter, &Templates::new()).unwrap(),
        [0, 1, 2, 3, 4, 5]
    );
}

#[test]
fn a_list_of_a_hundred_thousand_values_evaluates() {
    let batch = table();
    let values: Vec<_> = (2..100_002).map(|value| value.to_string()).collect();
    let list = values.join(", ");
    for (filter, expected) in [
        (format!("id in [{list}]"), &[2, 3, 4, 5][..]),
        (format!("id not in [{list}]"), &[0, 1]),
        (format!("n in [{list}]"), &[0, 5]),
    ] {
        assert_eq!(matching(&batch, &filter, &Templates::new()).unwrap(), expected);
    }
}

#[test]
fn what_the_depth_limit_lets_through_evaluates_on_the_stack_of_a_worker() {
    let deepest = || {
        let batch = table();
        let nots = format!("{}(id == 3)", "not ".repeat(190));
        // each level is a chain of a thousand with the next one at its end, ten levels of a balanced tree
        let mut chains = "id == 3".to_owned();
        for level in 0..19 {
            let op = if level % 2 == 0 { " and " } else { " or " };
            let always = if level % 2 == 0 { "id < 9" } else { "id > 9" };
            chains = format!("({}{op}{chains})", vec![always; 1_023].join(op));
        }
        for filter in [nots, chains] {
            assert_eq!(matching(&batch, &filter, &Templates::new()).unwrap(), [3]);
        }
    };
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(deepest);
    worker.unwrap().join().unwrap();
}

#[test]
fn floats_in_json_compare_with_every_digit() {
    use arrow::array::{RecordBatch, StringArray};
    use std::sync::Arc;

    let value = "-6.429518083252981e+46";
    let json = StringArray::from(vec![format!("{{\"n\": {value}, \"l\": [{value}]}}")]);
    let batch = RecordBatch::try_from_iter([("$meta", Arc::new(json) as _)]).unwrap();
    for filter in [
        "n == X",
        "n in [X, 1]",
        "json_contains(l, X)",
        "json_contains_all(l, [X])",
        "l == [X]",
        "n * 1 == X",
        "l[0] <= X",
    ] {
        let filter = filter.replace('X', value);
        assert_eq!(
            matching(&batch, &filter, &Templates::new()).unwrap(),
            [0],
            "{filter}"
        );
    }
}

//! The SDK for JavaScript: its examples beside native twins.

use std::collections::HashMap;

use elanus_plugins::{Argument, Column, ColumnData, OwnedData, Value};

use crate::support::{
    Texts, assert_scores, functions, numbers, refusal, relevance, rerank, rerankers, texts, time_of,
};

fn diversity(distances: &[f32], groups: &[Option<&str>], most: usize, factor: f64) -> Vec<f64> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut scores = Vec::new();
    for (distance, group) in distances.iter().zip(groups) {
        let beyond = group.map_or(0, |group| {
            let place = seen.entry(group).or_default();
            *place += 1;
            place.saturating_sub(most)
        });
        scores.push(relevance(*distance) * factor.powi(beyond as i32));
    }
    scores
}

#[test]
fn diversity_scores_as_its_twin() {
    let groups = [
        "acme",
        "acme",
        "\u{f6}zg\u{fc}r",
        "acme",
        "acme",
        "\u{f6}zg\u{fc}r",
        "acme",
        "acme",
    ];
    let there = [1, 1, 1, 1, 0, 1, 1, 1];
    let known: Vec<Option<&str>> = groups
        .iter()
        .zip(there)
        .map(|(group, there)| (there == 1).then_some(*group))
        .collect();
    let (written, distances) = (Texts::new(&groups), numbers(groups.len(), 3));
    for reranker in rerankers("diversity-js") {
        for (most, factor) in [(2, 0.5), (1, 0.0), (3, 1.0)] {
            let parameters = [
                ("column", Value::Text("brand".to_owned())),
                ("most", Value::Integer(most)),
                ("factor", Value::Number(factor)),
            ];
            let columns = [("brand", written.column(Some(&there)))];
            let ranking = rerank(&reranker, &parameters, &distances, &columns);
            assert_scores(&ranking, &diversity(&distances, &known, most as usize, factor));
        }
        let column = ("column", Value::Text("brand".to_owned()));
        let error = refusal(&reranker, &[column, ("factor", Value::Integer(2))]);
        assert!(
            error.ends_with("invalid argument: factor is 2, 0 to 1 are allowed"),
            "{error}"
        );
        assert_eq!(reranker.stats().traps, 0);
    }
}

/// Kilometres on a sphere, by the angle between two vectors.
fn kilometres([latitude1, longitude1, latitude2, longitude2]: [f64; 4]) -> f64 {
    let place = |latitude: f64, longitude: f64| {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        [
            latitude.cos() * longitude.cos(),
            latitude.cos() * longitude.sin(),
            latitude.sin(),
        ]
    };
    let ([x1, y1, z1], [x2, y2, z2]) = (place(latitude1, longitude1), place(latitude2, longitude2));
    let cross = [y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2];
    let sine = cross.iter().map(|part| part * part).sum::<f64>().sqrt();
    6371.0088 * sine.atan2(x1 * x2 + y1 * y2 + z1 * z2)
}

#[test]
fn the_functions_of_web_work_row_by_row() {
    let rows = 200;
    let scaled = |seed, by: f64| -> Vec<f64> {
        numbers(rows, seed)
            .into_iter()
            .map(|number| f64::from(number) * by)
            .collect()
    };
    let places = [
        scaled(1, 90.0),
        scaled(2, 180.0),
        scaled(3, 90.0),
        scaled(4, 180.0),
    ];
    for functions in functions("web-js") {
        let arguments = places.each_ref().map(|values| {
            Argument::Column(Column {
                data: ColumnData::F64s(values),
                validity: None,
            })
        });
        let (column, _) = functions
            .invoke(functions.find("kilometres").unwrap(), &arguments, rows)
            .unwrap();
        let OwnedData::F64s(found) = column.data else {
            panic!("no floats")
        };
        for (row, found) in found.iter().enumerate() {
            let twin = kilometres(places.each_ref().map(|values| values[row]));
            assert!((found - twin).abs() < 1e-6 * twin.max(1.0), "{found}, not {twin}");
        }
        let titles = Texts::new(&[
            "Cr\u{e8}me Br\u{fb}l\u{e9}e!",
            "",
            "  100% \u{4f60}\u{597d} & more",
            "null",
        ]);
        let argument = [Argument::Column(titles.column(Some(&[1, 1, 1, 0])))];
        let slug = functions.find("slug").unwrap();
        let (column, _) = functions.invoke(slug, &argument, 4).unwrap();
        assert_eq!(texts(&column.data), ["creme-brulee", "", "100-more", ""]);
        assert_eq!(column.validity, Some(vec![1, 1, 1, 0]));
        let (a, b) = (
            Texts::new(&["a", "b", "\u{1f600}"]),
            Texts::new(&["d", "\u{e9}", "f"]),
        );
        let both = [
            Argument::Column(a.column(Some(&[1, 0, 1]))),
            Argument::Column(b.column(None)),
        ];
        let (column, _) = functions
            .invoke(functions.find("first_of").unwrap(), &both, 3)
            .unwrap();
        assert_eq!(texts(&column.data), ["a", "\u{e9}", "\u{1f600}"]);
        assert_eq!(column.validity, None);
    }
}

#[test]
fn a_plugin_built_with_rights_may_ask_for_the_time() {
    let source = r#"
        import { functions } from "elanus-plugin";
        import { now } from "elanus:plugin/clock@1.0.0";
        export const scalarFunctions = functions({
          name: "time",
          version: "1.0.0",
          functions: { now: { takes: {}, returns: "s64s", volatility: "volatile", call: () => now() } },
        });"#;
    if let Some((rights, time)) = time_of("functions.js", source) {
        assert!(rights.clock && time > 1_600_000_000_000, "{rights}, {time}");
    }
}

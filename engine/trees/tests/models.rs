//! Models that XGBoost has saved answer here what they answer there. `models/make.py` says how they were made.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use elanus_trees::{Forest, ModelError};
use proptest::prelude::*;
use serde_json::Value;

fn file(name: &str) -> Vec<u8> {
    // Tests run in the folder of their package.
    std::fs::read(Path::new("tests/models").join(name)).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    let number = |value: &Value| value.as_f64().map_or(f32::NAN, |number| number as f32);
    value.as_array().unwrap().iter().map(number).collect()
}

/// Equal but for the last bits, which the order of additions changes.
fn alike(ours: f32, theirs: f32) -> bool {
    (ours - theirs).abs() <= 2e-6 * theirs.abs().max(1.0)
}

#[test]
fn answers_are_those_of_xgboost() {
    for name in [
        "squared_v3.ubj",
        "logistic_v3.ubj",
        "logitraw_v3.ubj",
        "poisson_v3.ubj",
        "tweedie_v3.ubj",
        "ndcg_v3.ubj",
        "forest_v3.ubj",
        "asjson_v3.json",
        "squared_v2.ubj",
        "logistic_v2.ubj",
        "ndcg_v2.ubj",
        "logitraw_v2.ubj",
    ] {
        let forest = Forest::read(&file(name)).unwrap();
        assert_eq!(forest.features(), 4, "{name}");
        let stem = name.split('.').next().unwrap();
        let expected: Value = serde_json::from_slice(&file(&format!("{stem}.expected.json"))).unwrap();
        let rows = expected["rows"].as_array().unwrap();
        let (raw, default) = (numbers(&expected["raw"]), numbers(&expected["default"]));
        assert!(rows.len() >= 20);
        for ((row, raw), default) in rows.iter().zip(raw).zip(default) {
            let row = numbers(row);
            let (margin, answer) = (forest.margin(&row), forest.predict(&row));
            assert!(alike(margin, raw), "{name} {row:?}: {margin}, expected {raw}");
            assert!(
                alike(answer, default),
                "{name} {row:?}: {answer}, expected {default}"
            );
        }
    }
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    for (name, what) in [
        ("dart_v3.ubj", "booster 'dart'"),
        ("linear_v3.ubj", "booster 'gblinear'"),
        ("multi.ubj", "objective 'multi:softprob'"),
        ("targets.ubj", "answers per row (num_target)"),
        ("categories.ubj", "splits by categories"),
    ] {
        let error = Forest::read(&file(name)).unwrap_err();
        assert!(matches!(error, ModelError::Unsupported(_)), "{name}: {error}");
        assert!(error.to_string().contains(what), "{name}: {error}");
    }
    for bytes in [
        b"".as_slice(),
        b"binf\x00\x00",
        b"{}",
        b"{\"learner\": {}}",
        b"[1, 2]",
    ] {
        let error = Forest::read(bytes).unwrap_err();
        assert!(matches!(error, ModelError::Invalid(_)), "{error}");
    }
}

#[test]
fn a_tree_that_leads_back_is_an_error() {
    let text = String::from_utf8(file("asjson_v3.json")).unwrap();
    let mut model: Value = serde_json::from_str(&text).unwrap();
    let path = "/learner/gradient_booster/model/trees/0/left_children/1";
    *model.pointer_mut(path).unwrap() = Value::from(0);
    let error = Forest::read(model.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "tree 0: a node has two parents");
    *model.pointer_mut(path).unwrap() = Value::from(1000);
    let error = Forest::read(model.to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("tree 0: node 1 asks for feature"), "{error}");
}

proptest! {
    #[test]
    fn damaged_models_do_not_panic(place in 0_usize..14_000, byte: u8, cut in any::<bool>()) {
        let mut bytes = file("squared_v3.ubj");
        let place = place % bytes.len();
        if cut {
            bytes.truncate(place);
            prop_assert!(Forest::read(&bytes).is_err());
        } else {
            bytes[place] = byte;
            if let Ok(forest) = Forest::read(&bytes) {
                let _ = forest.predict(&[0.5, -0.5, f32::NAN, 1.0]);
            }
        }
    }
}

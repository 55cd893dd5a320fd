//! The examples: built from source where a compiler for WebAssembly is there, and compared with their native twins.
//!
//! Some of them are also in the repository as files, so that they are run everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use elanus_plugin_tool::{BuildError, BuildOptions, build};
use elanus_plugins::{
    Argument, Candidates, Column, ColumnData, Failure, Functions, Host, Keys, LoadOptions, OwnedData, Plugin,
    Ranking, Refusal, Request, Reranker, Rights, TextData, Value, VectorData, check,
};

use crate::calls::host;
use crate::guests::plugins;
use crate::twins;

static HOST: LazyLock<Host> = LazyLock::new(host);

/// The files of the examples that can be had here, by name: the built one before the one of the repository.
static FILES: LazyLock<BTreeMap<String, Vec<Vec<u8>>>> = LazyLock::new(|| {
    let mut files: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let prebuilt = fs::read_dir(plugins().join("examples/prebuilt")).unwrap();
    let prebuilt = prebuilt.map(|entry| entry.unwrap().path());
    for path in built(&plugins().join("examples")).into_iter().chain(prebuilt) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        files.entry(name).or_default().push(fs::read(path).unwrap());
    }
    files
});

/// Builds all plugins of a crate or workspace; none where there is no compiler for WebAssembly.
fn built(directory: &Path) -> Vec<PathBuf> {
    let options = BuildOptions {
        target_dir: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/guests").into()),
        ..BuildOptions::default()
    };
    match build(directory, &options) {
        Ok(plugins) => plugins,
        Err(error @ BuildError::Missing { .. }) => {
            eprintln!("nothing is built from source: {error}");
            Vec::new()
        }
        Err(error) => panic!("the examples do not build: {error}"),
    }
}

fn load(name: &str) -> Vec<Plugin> {
    let files = FILES.get(name).map(Vec::as_slice).unwrap_or_default();
    if files.is_empty() {
        eprintln!("skipped: {name} is not built");
    }
    let options = LoadOptions::default();
    files
        .iter()
        .map(|file| {
            HOST.load(file, &options)
                .unwrap_or_else(|error| panic!("{name}: {error}"))
        })
        .collect()
}

fn rerankers(name: &str) -> Vec<Arc<Reranker>> {
    let only = |plugin| match plugin {
        Plugin::Reranker(reranker) => reranker,
        Plugin::Functions(_) => panic!("{name} is no reranker"),
    };
    load(name).into_iter().map(only).collect()
}

fn functions(name: &str) -> Vec<Arc<Functions>> {
    let only = |plugin| match plugin {
        Plugin::Functions(functions) => functions,
        Plugin::Reranker(_) => panic!("{name} has no functions"),
    };
    load(name).into_iter().map(only).collect()
}

/// A fixed sequence of numbers between -1 and 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn given(values: &[(&str, Value)]) -> Vec<(String, Value)> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn request(limit: usize) -> Request<'static> {
    Request {
        query_vectors: VectorData { dim: 0, values: &[] },
        query_text: None,
        limit: limit as u32,
    }
}

/// Candidates with these distances and columns, and keys from 0.
fn rerank(
    reranker: &Reranker,
    parameters: &[(&str, Value)],
    request: &Request<'_>,
    distances: &[f32],
    columns: &[(&str, Column<'_>)],
    vectors: Option<VectorData<'_>>,
) -> Ranking {
    let keys: Vec<i64> = (0..distances.len() as i64).collect();
    let candidates = Candidates {
        keys: Keys::Integers(&keys),
        distances,
        columns,
        vectors,
    };
    let parameters = reranker.parameters(&given(parameters)).unwrap();
    reranker
        .rerank(&parameters, request, &candidates)
        .unwrap_or_else(|error| panic!("{error}"))
        .0
}

/// Every score is its twin's, and the order is by score.
fn assert_scores(ranking: &Ranking, twin: impl Fn(usize) -> f64) {
    for (at, score) in ranking.order.iter().zip(&ranking.scores) {
        let expected = twin(*at as usize);
        let difference = (f64::from(*score) - expected).abs();
        assert!(
            difference <= 1e-5 * expected.abs().max(1.0),
            "{at}: {score}, not {expected}"
        );
    }
    assert!(ranking.scores.is_sorted_by(|a, b| a >= b), "{ranking:?}");
}

#[test]
fn mmr_chooses_as_its_twin() {
    for reranker in rerankers("mmr") {
        for (dim, count, lambda) in [(3, 1, 0.5), (8, 20, 0.3), (37, 60, 0.7), (16, 30, 1.0)] {
            let (query, vectors) = (numbers(dim, 1), numbers(dim * count, 2));
            let request = Request {
                query_vectors: VectorData {
                    dim: dim as u32,
                    values: &query,
                },
                query_text: None,
                limit: 10,
            };
            let vectors_of = VectorData {
                dim: dim as u32,
                values: &vectors,
            };
            let distances = vec![0.0; count];
            let parameters = [("lambda", Value::Number(lambda))];
            let ranking = rerank(
                &reranker,
                &parameters,
                &request,
                &distances,
                &[],
                Some(vectors_of),
            );
            let twin = twins::mmr(&query, &vectors, lambda, 10);
            let order: Vec<u32> = twin.iter().map(|(at, _)| *at).collect();
            assert_eq!(ranking.order, order, "dim {dim}");
            for (score, (_, expected)) in ranking.scores.iter().zip(&twin) {
                assert!(
                    (f64::from(*score) - expected).abs() < 1e-5,
                    "{score}, not {expected}"
                );
            }
        }
        let parameters = reranker
            .parameters(&given(&[("lambda", Value::Integer(2))]))
            .unwrap();
        let error = reranker.configure(&parameters).unwrap_err();
        assert!(
            matches!(error.failure, Failure::Refused(Refusal::InvalidArgument(_))),
            "{error}"
        );
        assert!(
            error.to_string().contains("lambda is 2, 0 to 1 are allowed"),
            "{error}"
        );
    }
}

#[test]
fn recency_decays_as_its_twin() {
    let distances = [-2.0, -0.5, 0.0, 0.1, 0.5, 2.0];
    let times = [0, 1000, 500, 2000, 900, 0];
    let there = [1, 1, 1, 1, 1, 0];
    let column = Column {
        data: ColumnData::S64s(&times),
        validity: Some(&there),
    };
    for reranker in rerankers("recency") {
        for weight in [0.0, 0.4, 1.0] {
            let parameters = [
                ("column", text("time")),
                ("now", Value::Number(1000.0)),
                ("half_life", Value::Integer(250)),
                ("weight", Value::Number(weight)),
            ];
            let ranking = rerank(
                &reranker,
                &parameters,
                &request(6),
                &distances,
                &[("time", column)],
                None,
            );
            assert_eq!(ranking.order.len(), 6);
            assert_scores(&ranking, |at| {
                let time = (there[at] == 1).then_some(times[at]);
                twins::recency(distances[at], time, 1000.0, 250.0, weight)
            });
        }
        let error = reranker
            .parameters(&given(&[("now", Value::Number(1.0))]))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("parameter 'half_life' (number) is needed"),
            "{error}"
        );
    }
}

#[test]
fn boost_multiplies() {
    let categories = TextData {
        offsets: &[0, 5, 9, 9, 14],
        bytes: b"shoesbagsshoes",
    };
    let category = Column {
        data: ColumnData::Text(categories),
        validity: Some(&[1, 1, 1, 0]),
    };
    let price = Column {
        data: ColumnData::F64s(&[10.0, 20.0, 30.0, 40.0]),
        validity: None,
    };
    for reranker in rerankers("boost") {
        let parameters = [
            ("category_column", text("c")),
            ("categories", text("shoes = 1.5, bags=0.5")),
            ("price_column", text("p")),
            ("price_from", Value::Number(15.0)),
            ("price_to", Value::Number(30.0)),
            ("price_factor", Value::Number(3.0)),
        ];
        let columns = [("c", category), ("p", price)];
        let ranking = rerank(&reranker, &parameters, &request(4), &[0.0; 4], &columns, None);
        assert_eq!(
            (ranking.order, ranking.scores),
            (vec![2, 0, 1, 3], vec![3.0, 1.5, 1.5, 1.0])
        );
        // Only the price counts.
        let ranking = rerank(
            &reranker,
            &parameters[2..],
            &request(4),
            &[0.0; 4],
            &columns[1..],
            None,
        );
        assert_eq!(ranking.scores, [3.0, 3.0, 1.0, 1.0]);
        let wrong = reranker
            .parameters(&given(&[("categories", text("shoes"))]))
            .unwrap();
        let error = reranker.configure(&wrong).unwrap_err();
        assert!(
            error.to_string().contains("'shoes' is not 'name=factor'"),
            "{error}"
        );
    }
}

#[test]
fn gbdt_predicts_as_xgboost_does() {
    let folder = plugins().join("examples/gbdt/test");
    for name in ["squarederror", "logistic"] {
        let model = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let rows = fs::read_to_string(folder.join(format!("{name}.rows.json"))).unwrap();
        let rows: Vec<Vec<Option<f64>>> = serde_json::from_str::<Vec<Vec<serde_json::Value>>>(&rows)
            .unwrap()
            .iter()
            .map(|row| row.iter().map(serde_json::Value::as_f64).collect())
            .collect();
        // A distance is always there.
        let rows: Vec<&Vec<Option<f64>>> = rows.iter().filter(|row| row[2].is_some()).collect();
        assert!(rows.len() > 40 && rows.iter().any(|row| row[0].is_none()));
        let column = |at: usize| -> (Vec<f32>, Vec<u8>) {
            let value =
                |row: &&Vec<Option<f64>>| (row[at].unwrap_or(0.0) as f32, u8::from(row[at].is_some()));
            rows.iter().map(value).unzip()
        };
        let ((prices, price_there), (ratings, rating_there), (distances, _)) =
            (column(0), column(1), column(2));
        let price = Column {
            data: ColumnData::F32s(&prices),
            validity: Some(&price_there),
        };
        let rating = Column {
            data: ColumnData::F32s(&ratings),
            validity: Some(&rating_there),
        };
        for reranker in rerankers("gbdt") {
            let parameters = [
                ("model", text(&model)),
                ("columns", text("rating, price")),
                ("distance", text("distance")),
            ];
            let columns = [("rating", rating), ("price", price)];
            let ranking = rerank(
                &reranker,
                &parameters,
                &request(rows.len()),
                &distances,
                &columns,
                None,
            );
            assert_eq!(ranking.order.len(), rows.len());
            assert_scores(&ranking, |at| rows[at][3].unwrap());
            let missing = [
                ("model", text(&model)),
                ("columns", text("price")),
                ("distance", text("distance")),
            ];
            let error = reranker
                .configure(&reranker.parameters(&given(&missing)).unwrap())
                .unwrap_err();
            assert!(error.to_string().contains("a feature 'rating'"), "{error}");
        }
    }
}

#[test]
fn broken_models_are_refused() {
    let folder = plugins().join("examples/gbdt/test");
    let model = fs::read_to_string(folder.join("logistic.json")).unwrap();
    for reranker in rerankers("gbdt") {
        for (from, to, words) in [
            ("{\"learner\"", "", "no JSON"),
            ("\"gbtree\"", "\"dart\"", "a booster \"dart\""),
            (
                "\"left_children\":[1,",
                "\"left_children\":[0,",
                "a tree that is none",
            ),
            ("binary:logistic", "multi:softmax", "an objective 'multi:softmax'"),
        ] {
            assert!(model.contains(from), "{from}");
            let given = given(&[("model", text(&model.replacen(from, to, 1)))]);
            let error = reranker
                .configure(&reranker.parameters(&given).unwrap())
                .unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(reranker.stats().traps, 0);
    }
}

#[test]
fn lexical_counts_words_as_its_twin() {
    let texts = [
        "the quick brown fox",
        "Quick, QUICK!",
        "",
        "gr\u{fc}n und blau",
        "a lazy dog",
    ];
    let mut offsets = vec![0];
    offsets.extend(texts.iter().scan(0, |sum, text| {
        *sum += text.len() as u32;
        Some(*sum)
    }));
    let bytes = texts.concat();
    let data = ColumnData::Text(TextData {
        offsets: &offsets,
        bytes: bytes.as_bytes(),
    });
    let distances = [0.3, 0.2, 0.1, 0.5, 0.4];
    for reranker in rerankers("lexical") {
        for query in ["quick fox", "GR\u{dc}N dog", "", "nothing"] {
            let request = Request {
                query_text: Some(query),
                ..request(5)
            };
            let columns = [("body", Column { data, validity: None })];
            let parameters = [("column", text("body")), ("weight", Value::Number(0.25))];
            let ranking = rerank(&reranker, &parameters, &request, &distances, &columns, None);
            assert_scores(&ranking, |at| {
                twins::lexical(distances[at], query, texts[at], 0.25)
            });
        }
    }
}

#[test]
fn haversine_measures_as_its_twin() {
    let rows = 1000;
    let scaled = |seed, by: f64| -> Vec<f64> {
        numbers(rows, seed)
            .into_iter()
            .map(|number| f64::from(number) * by)
            .collect()
    };
    let columns = [
        scaled(1, 90.0),
        scaled(2, 180.0),
        scaled(3, 90.0),
        scaled(4, 180.0),
    ];
    for functions in functions("numbers") {
        let place = functions.find("haversine").unwrap();
        let argument = |at: usize| {
            Argument::Column(Column {
                data: ColumnData::F64s(&columns[at]),
                validity: None,
            })
        };
        let home = Argument::Constant(Column {
            data: ColumnData::F64s(&[52.5]),
            validity: None,
        });
        for arguments in [
            [argument(0), argument(1), argument(2), argument(3)],
            [home, argument(1), argument(2), argument(3)],
        ] {
            let (column, _) = functions.invoke(place, &arguments, rows).unwrap();
            let OwnedData::F64s(values) = column.data else {
                panic!("no floats")
            };
            for (at, value) in values.iter().enumerate() {
                let own = [
                    if arguments[0] == home {
                        52.5
                    } else {
                        columns[0][at]
                    },
                    columns[1][at],
                    columns[2][at],
                    columns[3][at],
                ];
                let expected = twins::haversine(own);
                assert!(
                    (value - expected).abs() < 1e-6 * expected.max(1.0),
                    "{value}, not {expected}"
                );
            }
        }
        let linear = functions.find("linear").unwrap();
        let floats = |values| {
            Argument::Column(Column {
                data: ColumnData::F32s(values),
                validity: None,
            })
        };
        let two = Argument::Constant(Column {
            data: ColumnData::F32s(&[2.0]),
            validity: None,
        });
        let arguments = [two, floats(&[1.0, 2.0, 3.0]), floats(&[0.5, 0.0, -1.0])];
        let (column, _) = functions.invoke(linear, &arguments, 3).unwrap();
        assert_eq!(column.data, OwnedData::F32s(vec![2.5, 4.0, 5.0]));
    }
}

#[test]
fn texts_are_normalized() {
    let (first, last) = ("  Cr\u{e8}me\tBr\u{fb}l\u{e9}e ", "\u{fb01}x");
    let bytes = [first, last].concat();
    let (middle, end) = (first.len() as u32, bytes.len() as u32);
    let data = TextData {
        offsets: &[0, middle, middle, end],
        bytes: bytes.as_bytes(),
    };
    for functions in functions("normalize") {
        let column = Column {
            data: ColumnData::Text(data),
            validity: Some(&[1, 0, 1]),
        };
        let (column, _) = functions.invoke(0, &[Argument::Column(column)], 3).unwrap();
        let OwnedData::Text { offsets, bytes } = &column.data else {
            panic!("no texts")
        };
        let text = |row: usize| {
            std::str::from_utf8(&bytes[offsets[row] as usize..offsets[row + 1] as usize]).unwrap()
        };
        assert_eq!((text(0), text(1), text(2)), ("creme brulee", "", "fix"));
        assert_eq!(column.validity, Some(vec![1, 0, 1]));
    }
}

/// The block of a language in a document.
fn block<'a>(document: &'a str, language: &str) -> &'a str {
    let start = format!("```{language}\n");
    let (_, rest) = document.split_once(&start).expect("the block starts");
    rest.split_once("```").expect("the block ends").0
}

#[test]
fn the_reranker_of_the_sdk_readme_works_as_it_stands_there() {
    let sdk = plugins().join("sdk/rust").canonicalize().unwrap();
    let readme = fs::read_to_string(sdk.join("README.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("src")).unwrap();
    fs::write(directory.path().join("src/lib.rs"), block(&readme, "rust")).unwrap();
    let published = "git = \"https://github.com/elanus-db/elanus\"";
    let manifest = block(&readme, "toml");
    assert!(manifest.contains(published));
    let manifest = manifest.replace(published, &format!("path = \"{}\"", sdk.display()));
    fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
    // The versions that the examples are built with.
    fs::copy(
        plugins().join("examples/Cargo.lock"),
        directory.path().join("Cargo.lock"),
    )
    .unwrap();
    for path in built(directory.path()) {
        let file = fs::read(path).unwrap();
        let Plugin::Reranker(plugin) = HOST.load(&file, &LoadOptions::default()).unwrap() else {
            panic!("not a reranker");
        };
        let sales = Column {
            data: ColumnData::F32s(&[0.0, 1000.0]),
            validity: None,
        };
        let ranking = rerank(&plugin, &[], &request(2), &[0.1, 0.2], &[("sales", sales)], None);
        assert_eq!(ranking.order, [1, 0]);
    }
}

#[test]
fn every_example_passes_the_check_without_a_right() {
    for (name, files) in FILES.iter() {
        for file in files {
            let report = check(&HOST, file, &LoadOptions::default());
            assert!(report.is_good(), "{name}: {report}");
            assert_eq!(report.rights, Rights::default(), "{name}");
        }
    }
}

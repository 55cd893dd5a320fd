//! Building the examples, and calls that several tests make.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use elanus_plugin_tool::{BuildError, BuildOptions, build};
use elanus_plugins::{
    Candidates, Column, ColumnData, Functions, Host, HostConfig, Keys, Limits, LoadOptions, OwnedData,
    Plugin, Ranking, Request, Reranker, Rights, TextData, Value, VectorData, check,
};

pub static HOST: LazyLock<Host> = LazyLock::new(|| {
    // A file that is loaded again is not compiled again.
    let config = HostConfig {
        cache: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins").into()),
        ..HostConfig::default()
    };
    Host::new(config).unwrap()
});

/// The folder of all plugins of the repository.
pub fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An interpreter takes its time to start, and the machine may be busy.
pub fn patient() -> LoadOptions {
    let limits = Limits {
        deadline: Duration::from_secs(20),
        start_deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    LoadOptions {
        limits,
        ..LoadOptions::default()
    }
}

/// Builds a folder; nothing where the compiler is not installed.
pub fn built(folder: &Path, options: &BuildOptions) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        output: Some(directory.path().join("plugin.wasm")),
        ..options.clone()
    };
    match build(folder, &options) {
        Ok(paths) => Some(fs::read(&paths[0]).unwrap()),
        Err(error @ BuildError::Missing { .. }) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{}: {error}", folder.display()),
    }
}

/// The files of an example that can be had here: built from source, and as it is in the repository. Each passes the check
/// without a right.
pub fn example(folder: &str) -> Vec<Plugin> {
    let prebuilt = plugins().join(format!("examples/prebuilt/{folder}.wasm"));
    let built = built(&plugins().join("examples").join(folder), &BuildOptions::default());
    let files = built.into_iter().chain(fs::read(prebuilt));
    files
        .map(|file| {
            let report = check(&HOST, &file, &patient());
            assert!(
                report.is_good() && report.rights == Rights::default(),
                "{folder}: {report}"
            );
            HOST.load(&file, &patient()).unwrap()
        })
        .collect()
}

pub fn rerankers(folder: &str) -> Vec<Arc<Reranker>> {
    let only = |plugin| match plugin {
        Plugin::Reranker(reranker) => reranker,
        Plugin::Functions(_) => panic!("{folder} is no reranker"),
    };
    example(folder).into_iter().map(only).collect()
}

pub fn functions(folder: &str) -> Vec<Arc<Functions>> {
    let only = |plugin| match plugin {
        Plugin::Functions(functions) => functions,
        Plugin::Reranker(_) => panic!("{folder} has no functions"),
    };
    example(folder).into_iter().map(only).collect()
}

/// The time, as a plugin of one function built from this file tells it with the rights that it says it needs.
pub fn time_of(name: &str, source: &str) -> Option<(Rights, i64)> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), source).unwrap();
    let options = BuildOptions {
        with_rights: true,
        ..BuildOptions::default()
    };
    let file = built(folder.path(), &options)?;
    let report = check(&HOST, &file, &patient());
    assert!(report.is_good(), "{name}: {report}");
    let error = HOST.load(&file, &patient()).unwrap_err().to_string();
    let remedy = format!("register it WITH (rights = '{}')", report.rights);
    assert!(
        error.contains("the right 'clock' is not granted") && error.contains(&remedy),
        "{error}"
    );
    let granted = LoadOptions {
        rights: report.rights,
        ..patient()
    };
    let Plugin::Functions(functions) = HOST.load(&file, &granted).unwrap() else {
        panic!("{name} has no functions")
    };
    let (column, _) = functions.invoke(0, &[], 2).unwrap();
    let OwnedData::S64s(times) = column.data else {
        panic!("no integers: {column:?}")
    };
    Some((report.rights, times[1]))
}

pub fn given(values: &[(&str, Value)]) -> Vec<(String, Value)> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// Reranks all candidates with these distances and columns.
pub fn rerank(
    reranker: &Reranker,
    parameters: &[(&str, Value)],
    distances: &[f32],
    columns: &[(&str, Column<'_>)],
) -> Ranking {
    let keys: Vec<i64> = (0..distances.len() as i64).collect();
    let request = Request {
        query_vectors: VectorData { dim: 0, values: &[] },
        query_text: None,
        limit: distances.len() as u32,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&keys),
        distances,
        columns,
        vectors: None,
    };
    let parameters = reranker.parameters(&given(parameters)).unwrap();
    reranker
        .rerank(&parameters, &request, &candidates)
        .unwrap_or_else(|error| panic!("{error}"))
        .0
}

/// What the plugin says against these parameters.
pub fn refusal(reranker: &Reranker, parameters: &[(&str, Value)]) -> String {
    let parameters = reranker.parameters(&given(parameters)).unwrap();
    reranker.configure(&parameters).unwrap_err().to_string()
}

/// All candidates are there, every score is its twin's, and the order is by score.
pub fn assert_scores(ranking: &Ranking, expected: &[f64]) {
    assert_eq!(ranking.order.len(), expected.len());
    for (at, score) in ranking.order.iter().zip(&ranking.scores) {
        let twin = expected[*at as usize];
        assert!(
            (f64::from(*score) - twin).abs() <= 1e-5 * twin.abs() + 1e-7,
            "{at}: {score}, not {twin}"
        );
    }
    assert!(ranking.scores.is_sorted_by(|a, b| a >= b), "{ranking:?}");
}

/// Relevance as all SDKs define it.
pub fn relevance(distance: f32) -> f64 {
    let distance = f64::from(distance);
    if distance < 0.0 {
        1.0 - distance
    } else {
        1.0 / (1.0 + distance)
    }
}

/// A fixed sequence of numbers between -1 and 1.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Texts as they cross.
pub struct Texts {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
}

impl Texts {
    pub fn new(texts: &[&str]) -> Self {
        let mut offsets = vec![0];
        offsets.extend(texts.iter().scan(0, |sum, text| {
            *sum += text.len() as u32;
            Some(*sum)
        }));
        Self {
            offsets,
            bytes: texts.concat().into_bytes(),
        }
    }

    pub fn column<'a>(&'a self, validity: Option<&'a [u8]>) -> Column<'a> {
        let Self { offsets, bytes } = self;
        Column {
            data: ColumnData::Text(TextData { offsets, bytes }),
            validity,
        }
    }
}

/// The texts of a column that a function returned.
pub fn texts(data: &OwnedData) -> Vec<&str> {
    let OwnedData::Text { offsets, bytes } = data else {
        panic!("no texts: {data:?}")
    };
    offsets
        .windows(2)
        .map(|ends| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).unwrap())
        .collect()
}

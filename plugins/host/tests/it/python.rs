//! The reranker in Python. Building it takes a minute: it is done if `COMPONENTIZE_PY` names the program.

use std::process::Command;
use std::time::Duration;

use elanus_plugins::{
    Candidates, Column, ColumnData, Keys, Limits, LoadOptions, Plugin, Request, VectorData,
};

use crate::calls::host;
use crate::guests::plugins;

#[test]
fn a_reranker_in_python_orders() {
    let Ok(program) = std::env::var("COMPONENTIZE_PY") else {
        eprintln!("skipped: COMPONENTIZE_PY does not name componentize-py");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("popular.wasm");
    let built = Command::new(program)
        .current_dir(plugins().join("examples/popular-python"))
        .args([
            "-d",
            "../../wit/v1",
            "-w",
            "reranker",
            "componentize",
            "--stub-wasi",
            "app",
            "-o",
        ])
        .arg(&output)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let limits = Limits {
        deadline: Duration::from_secs(1),
        start_deadline: Duration::from_secs(10),
        ..Limits::default()
    };
    let options = LoadOptions {
        limits,
        ..LoadOptions::default()
    };
    let file = std::fs::read(output).unwrap();
    let Plugin::Reranker(plugin) = host().load(&file, &options).unwrap() else {
        panic!("not a reranker");
    };
    let sales = Column {
        data: ColumnData::F32s(&[0.0, 1000.0, 3.0]),
        validity: None,
    };
    let request = Request {
        query_vectors: VectorData { dim: 0, values: &[] },
        query_text: None,
        limit: 3,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&[1, 2, 3]),
        distances: &[0.1, 0.2, 0.3],
        columns: &[("sales", sales)],
        vectors: None,
    };
    let parameters = plugin.parameters(&[]).unwrap();
    for _ in 0..3 {
        let (ranking, stats) = plugin.rerank(&parameters, &request, &candidates).unwrap();
        assert_eq!(ranking.order, [1, 0, 2], "{stats:?}");
    }
}

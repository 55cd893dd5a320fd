//! Two tests for each file of `slt/`, by its path: `embedded::FILE` and `flight::FILE`.

use std::path::{Path, PathBuf};

use elanus_sql_tests::{ColumnKind, Embedded, EngineError, OverFlight};
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, Runner, default_normalizer, default_validator, strict_column_validator};

fn main() {
    // `--complete` is ours; the rest of the command line is the test harness's.
    let complete = std::env::args().any(|argument| argument == "--complete");
    let arguments = Arguments::from_iter(std::env::args().filter(|argument| argument != "--complete"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no .slt file in {}", root.display());
    let mut trials = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        // What the embedded engine answers is what is written.
        if !complete {
            let file = file.clone();
            let over_flight = move || run(&file, OverFlight::start, complete);
            trials.push(Trial::test(format!("flight::{name}"), over_flight));
        }
        let embedded = move || run(&file, Embedded::start, complete);
        trials.push(Trial::test(format!("embedded::{name}"), embedded));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
}

fn run<D, F, M>(file: &Path, engine: M, complete: bool) -> Result<(), Failed>
where
    D: AsyncDB<Error = EngineError, ColumnType = ColumnKind>,
    F: Future<Output = Result<D, EngineError>>,
    M: Fn(PathBuf) -> F,
{
    let files = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut runner = Runner::new(|| engine(files.path().to_path_buf()));
        runner.set_var("FILES".to_string(), files.path().display().to_string());
        runner.with_column_validator(strict_column_validator);
        let result = if complete {
            runner
                .update_test_file(
                    file,
                    " ",
                    default_validator,
                    default_normalizer,
                    strict_column_validator,
                )
                .await
                .map_err(|e| Failed::from(e.to_string()))
        } else {
            runner
                .run_file_async(file)
                .await
                .map_err(|e| Failed::from(e.display(false).to_string()))
        };
        runner.shutdown_async().await;
        result
    })
}

//! Which files statements may touch.

use std::fs;
use std::sync::Arc;

use elanus_query::{Engine, EngineOptions, FileAccess};
use object_store::memory::InMemory;

use crate::support::{engine, engine_with, sql, sql_error, text};

async fn engine_within(folder: &std::path::Path) -> Engine {
    let options = EngineOptions {
        files: FileAccess::Within(vec![folder.to_path_buf()]),
        ..EngineOptions::default()
    };
    engine_with(Arc::new(InMemory::new()), options).await
}

#[tokio::test]
async fn nothing_outside_the_allowed_folders_is_read_or_written() {
    let root = tempfile::tempdir().unwrap();
    let (inside, outside) = (root.path().join("in"), root.path().join("out"));
    for folder in [&inside, &outside] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a.csv"), "id\n1\n").unwrap();
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("a.csv"), inside.join("linked.csv")).unwrap();
    }
    let engine = engine_within(&inside).await;
    sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    let (inside, outside) = (inside.display(), outside.display());
    sql(&engine, &format!("COPY t FROM '{inside}/a.csv'")).await;
    sql(&engine, &format!("COPY t FROM '{inside}/../in/a.csv'")).await;
    sql(&engine, &format!("COPY t TO '{inside}/b.csv'")).await;
    let mut refused = vec![
        format!("COPY t FROM '{outside}/a.csv'"),
        format!("COPY t FROM '{outside}/missing.csv'"),
        format!("COPY t FROM '{outside}/*.csv'"),
        format!("COPY t FROM '{inside}/../out/a.csv'"),
        format!("COPY t FROM '{inside}/../*/a.csv'"),
        format!("COPY t TO '{outside}/b.csv'"),
        format!("COPY t TO '{inside}/../out/b.csv'"),
        format!("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '{outside}/a.csv'"),
        "COPY t FROM '/etc/passwd' (FORMAT csv)".to_string(),
    ];
    if cfg!(unix) {
        refused.push(format!("COPY t FROM '{inside}/link/a.csv'"));
        refused.push(format!("COPY t FROM '{inside}/linked.csv'"));
        refused.push(format!("COPY t FROM '{inside}/l*.csv'"));
        refused.push(format!("COPY t TO '{inside}/link/b.csv'"));
        refused.push(format!("COPY t TO '{inside}/linked.csv'"));
    }
    for statement in refused {
        let error = sql_error(&engine, &statement).await;
        assert!(
            error.contains("outside the folders") && error.contains("--allow-files"),
            "{statement}: {error}"
        );
    }
    assert_eq!(
        fs::read_to_string(root.path().join("out/a.csv")).unwrap(),
        "id\n1\n"
    );
    assert!(!root.path().join("out/b.csv").exists());
    assert_eq!(text(&sql(&engine, "SELECT count(*) FROM t").await), "2");
}

#[tokio::test]
async fn without_a_folder_there_are_no_files() {
    let engine = engine().await;
    sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    for statement in [
        "COPY t FROM '/etc/passwd' (FORMAT csv)",
        "COPY t TO '/tmp/elanus-must-not-be.csv'",
        "COPY (SELECT 1) TO '/tmp/elanus-must-not-be.csv'",
        "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'",
    ] {
        let error = sql_error(&engine, statement).await;
        assert!(error.contains("--allow-files DIR"), "{statement}: {error}");
    }
    let error = sql_error(&engine, "SELECT * FROM '/etc/passwd'").await;
    assert!(error.contains("not found"), "{error}");
}

#[tokio::test]
async fn an_external_table_is_gone_when_its_folder_is_not_allowed_any_more() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.csv"), "id\n1\n").unwrap();
    let store = Arc::new(InMemory::new());
    let allowed = EngineOptions {
        files: FileAccess::Everywhere,
        ..EngineOptions::default()
    };
    let engine = engine_with(Arc::clone(&store), allowed).await;
    let location = root.path().join("a.csv");
    let create = format!(
        "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '{}'",
        location.display()
    );
    sql(&engine, &create).await;
    engine.collections().close().await;
    let engine = engine_with(store, EngineOptions::default()).await;
    let error = sql_error(&engine, "SELECT * FROM e").await;
    assert!(
        error.contains("external table 'e'") && error.contains("--allow-files"),
        "{error}"
    );
    let listed = sql(
        &engine,
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'default'",
    )
    .await;
    assert_eq!(text(&listed), "e|BASE TABLE");
    sql(&engine, "DROP TABLE e").await;
}

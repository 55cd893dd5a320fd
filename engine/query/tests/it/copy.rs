//! `COPY`: files into tables and back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use elanus_query::{Engine, EngineOptions, FileAccess};
use object_store::memory::InMemory;

use crate::support::{engine_with, sql, sql_error, text};

async fn engine() -> Engine {
    engine_in_steps(1 << 30).await
}

async fn engine_in_steps(copy_step_bytes: usize) -> Engine {
    let options = EngineOptions {
        files: FileAccess::Everywhere,
        copy_step_bytes,
        ..EngineOptions::default()
    };
    engine_with(Arc::new(InMemory::new()), options).await
}

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, price DOUBLE PRECISION, ok BOOLEAN, \
                     at TIMESTAMPTZ, tags VARCHAR(20)[8], extra JSON, v VECTOR(3))";
const ROWS: &str = "SELECT id, name, price, ok, at, tags, extra, v FROM t ORDER BY id";

fn place(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[tokio::test]
async fn what_goes_out_in_any_format_comes_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(&engine, TABLE).await;
    let values = "INSERT INTO t VALUES \
        (1, 'plain', 1.5, true, '2024-01-02T03:04:05Z', ARRAY['a', 'b, \"c\"'], '{\"a\": [1, null]}', '[1, 2, 3.5]'), \
        (2, '', NULL, false, NULL, ARRAY[]::VARCHAR[], '7', '[0, -1, 1e-7]'), \
        (3, 'quote \" comma , line\nend', -0.25, NULL, '1969-12-31T23:59:59.000001Z', NULL, NULL, NULL), \
        (4, NULL, 0, true, NULL, NULL, '\"text\"', '[1, 1, 1]')";
    sql(&engine, values).await;
    let before = text(&sql(&engine, ROWS).await);
    for name in ["t.csv", "t.tsv", "t.json", "t.parquet", "t.arrow"] {
        let path = place(folder.path(), name);
        let written = sql(&engine, &format!("COPY t TO '{path}'")).await;
        assert_eq!(written.affected, Some(4), "{name}");
        sql(&engine, "DELETE FROM t").await;
        let read = sql(&engine, &format!("COPY t FROM '{path}'")).await;
        assert_eq!(read.affected, Some(4), "{name}");
        assert_eq!(text(&sql(&engine, ROWS).await), before, "{name}");
    }
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 5, "nothing but the files: {left:?}");
}

#[tokio::test]
async fn csv_is_written_as_postgresql_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    let path = place(folder.path(), "out.txt");
    let query = "SELECT 1 AS id, 'a;b' AS name, NULL AS nothing, '[1,2]'::vector(2) AS v";
    sql(
        &engine,
        &format!("COPY ({query}) TO '{path}' (FORMAT csv, HEADER, DELIMITER ';', NULL 'nil')"),
    )
    .await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "id;name;nothing;v\n1;\"a;b\";nil;[1.0, 2.0]\n"
    );
    sql(
        &engine,
        &format!("COPY ({query}) TO '{path}' STORED AS CSV OPTIONS ('format.has_header' 'false', 'format.delimiter' ',')"),
    )
    .await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "1,a;b,,\"[1.0, 2.0]\"\n");
    sql(
        &engine,
        &format!("COPY ({query}) TO '{path}' WITH (format = 'json')"),
    )
    .await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\"id\":1,\"name\":\"a;b\",\"v\":[1.0,2.0]}\n"
    );
}

#[tokio::test]
async fn columns_are_found_by_name_or_taken_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT DEFAULT 'none', v VECTOR(2))",
    )
    .await;
    let path = place(folder.path(), "a.csv");
    fs::write(&path, "v,more,id\n\"[1,2]\",x,1\n").unwrap();
    let error = sql_error(&engine, &format!("COPY t FROM '{path}'")).await;
    assert!(error.contains("a.csv: column 'more': the file has it"), "{error}");
    sql(&engine, &format!("COPY t (id, v) FROM '{path}'")).await;
    let error = sql_error(&engine, &format!("COPY t (id, name) FROM '{path}'")).await;
    assert!(error.contains("the file has no column 'name'"), "{error}");
    fs::write(&path, "2,two\n3,\n").unwrap();
    sql(
        &engine,
        &format!("COPY t (id, name) FROM '{path}' (HEADER false)"),
    )
    .await;
    assert_eq!(
        text(&sql(&engine, "SELECT * FROM t ORDER BY id").await),
        "1|none|[1.0, 2.0]\n2|two|NULL\n3|none|NULL"
    );
    let error = sql_error(&engine, &format!("COPY t (id, nam) FROM '{path}'")).await;
    assert!(error.contains("'nam'") && error.contains("name"), "{error}");
}

#[tokio::test]
async fn json_vectors_are_lists_or_texts_and_absent_fields_are_null() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(&engine, TABLE).await;
    let path = place(folder.path(), "a.ndjson");
    let lines = "{\"id\": 1, \"v\": [1, 2.5, 3], \"extra\": {\"b\": 2}}\n\n{\"v\": \"[4, 5, 6]\", \"id\": 2, \"tags\": [\"x\"]}\n";
    fs::write(&path, lines).unwrap();
    assert_eq!(
        sql(&engine, &format!("COPY t FROM '{path}'")).await.affected,
        Some(2)
    );
    assert_eq!(
        text(&sql(&engine, "SELECT id, extra, tags, v FROM t ORDER BY id").await),
        "1|{\"b\":2}|NULL|[1.0, 2.5, 3.0]\n2|NULL|[x]|[4.0, 5.0, 6.0]"
    );
    // A column of the statement that some lines lack.
    fs::write(&path, "{\"id\": 3}\n{\"id\": 4, \"name\": \"four\"}\n").unwrap();
    sql(&engine, &format!("COPY t (id, name) FROM '{path}'")).await;
    let rows = text(&sql(&engine, "SELECT id, name FROM t WHERE id > 2 ORDER BY id").await);
    assert_eq!(rows, "3|NULL\n4|four");
}

#[tokio::test]
async fn parquet_lists_of_doubles_become_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2))").await;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20_000));
    let vectors = (0..20_000).map(|i| Some(vec![Some(f64::from(i)), Some(0.5)]));
    let vectors: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(vectors));
    let rows = RecordBatch::try_from_iter([("id", ids), ("v", vectors)]).unwrap();
    let path = folder.path().join("a.arrow");
    let mut writer =
        arrow::ipc::writer::FileWriter::try_new(fs::File::create(&path).unwrap(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    assert_eq!(
        sql(&engine, &format!("COPY t FROM '{}'", path.display()))
            .await
            .affected,
        Some(20_000)
    );
    let parquet = place(folder.path(), "a.parquet");
    sql(&engine, &format!("COPY (SELECT id, v FROM t) TO '{parquet}'")).await;
    sql(&engine, "DELETE FROM t").await;
    sql(&engine, &format!("COPY t FROM '{parquet}'")).await;
    let nearest = sql(
        &engine,
        "SELECT id, v FROM t ORDER BY v <-> '[12345, 0.5]' LIMIT 1",
    )
    .await;
    assert_eq!(text(&nearest), "12345|[12345.0, 0.5]");
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_named_by_file_and_row_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER NOT NULL, s VARCHAR(3), v VECTOR(2))",
    )
    .await;
    for (content, expected) in [
        (
            "id,n,v\n1,1,\"[1,2]\"\n2,2,\"[1,2,3]\"\n",
            "row 2: column 'v': expected a vector of dimension 2, got one of 3",
        ),
        (
            "id,n\n1,1\n,2\n",
            "row 2: field 'id' is not nullable, but the value is null",
        ),
        ("id,n\n1,\n", "row 1: field 'n' is not nullable"),
        (
            "id,n\n1,1\n2,x\n",
            "row 2: column 'n': 'x' is no value of type Int32",
        ),
        ("id,n,s\n1,1,abc\n2,2,abcd\n", "row 2: "),
        ("id,n\n1,1\n2\n", "row 2: it has 1 fields, expected are 2"),
        ("id,n\n1,1\n2,\"2\n", "row 2: the file ends within quotes"),
    ] {
        let path = place(folder.path(), "bad.csv");
        fs::write(&path, content).unwrap();
        let error = sql_error(&engine, &format!("COPY t FROM '{path}'")).await;
        assert!(
            error.contains("bad.csv: ") && error.contains(expected),
            "{content}: {error}"
        );
    }
    for (content, expected) in [
        ("{\"id\": 1, \"n\": 1}\n{\"id\": \"x\", \"n\": 2}\n", "row 2: "),
        ("{\"id\": 1, \"n\": 1}\n[]\n", "row 2: it is no JSON object"),
        (
            "{\"id\": 1, \"n\": 1, \"v\": [1]}\n",
            "row 1: column 'v': expected a vector of dimension 2, got one of 1",
        ),
        ("[{\"id\": 1}]\n", "not supported: a JSON file that is one array"),
    ] {
        let path = place(folder.path(), "bad.json");
        fs::write(&path, content).unwrap();
        let error = sql_error(&engine, &format!("COPY t FROM '{path}'")).await;
        assert!(
            error.contains("bad.json") && error.contains(expected),
            "{content}: {error}"
        );
    }
    let path = place(folder.path(), "bad.parquet");
    fs::write(&path, "this is no parquet file").unwrap();
    let error = sql_error(&engine, &format!("COPY t FROM '{path}'")).await;
    assert!(error.contains("bad.parquet"), "{error}");
    assert_eq!(text(&sql(&engine, "SELECT count(*) FROM t").await), "0");
}

#[tokio::test]
async fn folders_and_patterns_are_read_as_one_write() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    for (name, content) in [
        ("b-1.csv", "id\n1\n"),
        ("b-2.csv", "id\n2\n"),
        ("c.json", "{\"id\": 3}\n"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    fs::write(folder.path().join("readme.txt"), "no data").unwrap();
    let copy = |what: &str| format!("COPY t FROM '{}'", place(folder.path(), what));
    assert_eq!(sql(&engine, &copy("b-?.csv")).await.affected, Some(2));
    assert_eq!(sql(&engine, &copy("")).await.affected, Some(3));
    let error = sql_error(&engine, &copy("x*.csv")).await;
    assert!(error.contains("has no files"), "{error}");
    let error = sql_error(&engine, &copy("missing.csv")).await;
    assert!(error.contains("there is no file"), "{error}");
    let error = sql_error(&engine, &copy("readme.txt")).await;
    assert!(error.contains("tells no file format"), "{error}");
    fs::write(folder.path().join("b-3.csv"), "id\nx\n").unwrap();
    let error = sql_error(&engine, &copy("b-*.csv")).await;
    assert!(error.contains("b-3.csv: row 1"), "{error}");
    assert_eq!(text(&sql(&engine, "SELECT count(*) FROM t").await), "5");
}

#[tokio::test]
async fn rows_beyond_a_step_are_written_in_steps_and_an_error_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_in_steps(1).await;
    sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    let mut lines: Vec<String> = (0..20_000).map(|id| id.to_string()).collect();
    lines.push("x".into());
    let path = place(folder.path(), "a.csv");
    fs::write(&path, format!("id\n{}\n", lines.join("\n"))).unwrap();
    let error = sql_error(&engine, &format!("COPY t FROM '{path}'")).await;
    assert!(
        error.contains("row 20001") && error.contains("the first 8192 rows were written before"),
        "{error}"
    );
    assert_eq!(text(&sql(&engine, "SELECT count(*) FROM t").await), "8192");
}

#[tokio::test]
async fn a_failed_export_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    let path = place(folder.path(), "a.csv");
    fs::write(&path, "old").unwrap();
    let failing = "SELECT CASE WHEN value < 9000 THEN 1 ELSE CAST(value || 'x' AS BIGINT) END FROM generate_series(1, 20000)";
    let error = sql_error(&engine, &format!("COPY ({failing}) TO '{path}'")).await;
    assert!(error.contains("9000x"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    for (statement, expected) in [
        (
            format!("COPY (SELECT 1) TO '{}/'", folder.path().display()),
            "name a file",
        ),
        (
            format!("COPY (SELECT 1) TO '{}/no/a.csv'", folder.path().display()),
            "there is no file",
        ),
        (
            format!("COPY (SELECT 1) TO '{path}' (FORMAT xml)"),
            "unknown file format 'xml'",
        ),
        (
            format!("COPY (SELECT 1) TO '{path}' (FORMAT parquet, HEADER)"),
            "options of the format csv only",
        ),
        (format!("COPY missing TO '{path}'"), "table 'missing' not found"),
        (format!("COPY missing FROM '{path}'"), "table 'missing' not found"),
        (
            "COPY (SELECT 1) TO 's3://b/a.csv'".to_string(),
            "not supported: s3://",
        ),
        ("COPY t FROM STDIN".to_string(), "not supported: COPY with STDIN"),
        (
            format!("EXPLAIN COPY (SELECT 1) TO '{path}'"),
            "not supported: EXPLAIN COPY",
        ),
        (
            format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{path}'"),
            "not supported: EXPLAIN COPY",
        ),
        (
            format!("COPY t FROM '{path}' (SPEED 9)"),
            "one of the options format, header",
        ),
        (format!("COPY t FROM '{path}' x"), "options in parentheses"),
    ] {
        let error = sql_error(&engine, &statement).await;
        assert!(error.contains(expected), "{statement}: {error}");
    }
}

#[tokio::test]
async fn text_in_a_column_of_numbers_is_read_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE PRECISION)",
    )
    .await;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["7"; 5]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("x", texts)]).unwrap();
    let path = folder.path().join("a.arrows");
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(fs::File::create(&path).unwrap(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    sql(&engine, &format!("COPY t FROM '{}'", path.display())).await;
    assert_eq!(
        text(&sql(&engine, "SELECT CAST(sum(x) AS BIGINT) FROM t").await),
        "35"
    );
}

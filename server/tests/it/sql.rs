//! `elanus sql -c`.

use std::path::Path;

use crate::process::{Finished, Server, elanus, run};

fn sql(data: &Path, statement: &str) -> Finished {
    run(elanus().args(["sql", "-c", statement, "--data"]).arg(data))
}

fn sql_ok(data: &Path, statement: &str) -> String {
    let finished = sql(data, statement);
    assert_eq!(finished.code, Some(0), "{statement}: {}", finished.err);
    finished.out
}

#[test]
fn a_table_is_made_filled_and_printed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    sql_ok(
        data,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20), v VECTOR(2))",
    );
    let out = sql_ok(
        data,
        "INSERT INTO t (id, name, v) VALUES (1, 'one', '[1,0]'), (2, 'two', '[0,1]'), (3, 'three', '[3,0]')",
    );
    assert_eq!(out, "3 rows affected\n");
    let out = sql_ok(
        data,
        "SELECT id, name, v <-> '[1,0]' AS distance FROM t ORDER BY distance LIMIT 2",
    );
    let expected = "\
+----+------+--------------------+
| id | name | distance           |
+----+------+--------------------+
| 1  | one  | 0.0                |
| 2  | two  | 1.4142135623730951 |
+----+------+--------------------+
(2 rows)
";
    assert_eq!(out, expected);
    let out = sql_ok(data, "SELECT id FROM t WHERE id > 100");
    assert_eq!(out, "+----+\n| id |\n+----+\n+----+\n(0 rows)\n");
    let out = sql_ok(data, "SELECT NULL AS nothing");
    assert!(out.contains("| NULL ") && out.ends_with("(1 row)\n"), "{out}");
}

#[test]
fn a_mistake_is_one_line_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    for statement in ["SELEKT 1", "SELECT * FROM missing_table"] {
        let finished = sql(directory.path(), statement);
        assert_eq!(finished.code, Some(1), "{statement}: {finished:?}");
        assert_eq!(finished.out, "");
        assert!(
            finished.err.starts_with("error: "),
            "{statement}: {}",
            finished.err
        );
    }
}

#[test]
fn a_directory_that_a_server_has_is_refused_politely() {
    let directory = tempfile::tempdir().unwrap();
    let _server = Server::start(directory.path());
    let finished = sql(directory.path(), "SELECT 1");
    assert_eq!(finished.code, Some(1));
    for part in [
        "in use by process",
        "stop that process",
        directory.path().to_str().unwrap(),
    ] {
        assert!(finished.err.contains(part), "{part} is missing: {}", finished.err);
    }
}

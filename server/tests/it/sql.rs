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
fn several_statements_print_each_result_until_one_fails() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let out = sql_ok(
        data,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2));
         INSERT INTO t VALUES (1, '[1,0]'); SELECT id FROM t; SELECT v FROM t;",
    );
    let expected = "\
OK
1 row affected
+----+
| id |
+----+
| 1  |
+----+
(1 row)
+------------+
| v          |
+------------+
| [1.0, 0.0] |
+------------+
(1 row)
";
    assert_eq!(out, expected);
    let finished = sql(
        data,
        "INSERT INTO t VALUES (2, '[0,1]'); SELECT missing FROM t; DELETE FROM t",
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.out, "1 row affected\n");
    assert!(finished.err.contains("missing"), "{}", finished.err);
    let finished = sql(data, "DELETE FROM t; SELEKT 1");
    assert_eq!((finished.code, finished.out.as_str()), (Some(1), ""));
    let out = sql_ok(data, "SELECT count(*) AS rows FROM t");
    assert!(
        out.contains("| 2    |"),
        "nothing ran before the mistake was found: {out}"
    );
}

#[test]
fn all_statements_share_one_session() {
    let directory = tempfile::tempdir().unwrap();
    let out = sql_ok(
        directory.path(),
        "PREPARE next(BIGINT) AS SELECT $1 + 1 AS n; EXECUTE next(41)",
    );
    assert!(out.starts_with("OK\n") && out.contains("| 42 |"), "{out}");
}

/// `/dev/full` is a disk without room.
#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = elanus();
    command
        .args(["sql", "-c", "SELECT 1", "--data"])
        .arg(directory.path());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command.stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = elanus();
    command
        .args(["sql", "-c", "SELECT 1", "--data"])
        .arg(directory.path());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_database_that_does_not_exist_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(elanus()
        .args(["sql", "-c", "SELECT 1", "--database", "nowhere", "--data"])
        .arg(directory.path()));
    assert_eq!(finished.code, Some(1));
    assert!(finished.err.contains("nowhere"), "{}", finished.err);
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

#[test]
fn a_server_touches_files_in_its_allowed_folders_only() {
    let directory = tempfile::tempdir().unwrap();
    let (data, files) = (directory.path().join("data"), directory.path().join("files"));
    std::fs::create_dir(&files).unwrap();
    let mut command = elanus();
    command
        .arg("serve")
        .arg("--data")
        .arg(&data)
        .arg("--allow-files")
        .arg(&files);
    let server =
        Server::start_with(command.args(["--milvus-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]));
    let connected = |server: &Server, statement: &str| {
        let uri = format!("grpc://{}", server.flight);
        run(elanus().args(["sql", "--connect", &uri, "--format", "csv", "-c", statement]))
    };
    let files = files.display();
    let done = connected(
        &server,
        &format!(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2)); INSERT INTO t VALUES (1, '[1,0]'), (2, '[0,1]'); \
             COPY t TO '{files}/t.parquet'; DELETE FROM t WHERE id = 2; COPY t (id, v) FROM '{files}/t.parquet'; \
             CREATE EXTERNAL TABLE e STORED AS PARQUET LOCATION '{files}/t.parquet'; \
             SELECT count(*) AS n FROM t JOIN e ON t.id = e.id; VACUUM t"
        ),
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    let (counted, vacuumed) = done
        .out
        .split_once('\n')
        .and_then(|(_, rest)| rest.split_once('\n'))
        .unwrap();
    assert_eq!(counted, "3");
    assert!(
        vacuumed.starts_with("table,segments_before,segments_after,deleted_rows_dropped,bytes_reclaimed\nt,"),
        "{vacuumed}"
    );
    let refused = connected(&server, &format!("COPY t TO '{}/t.csv'", data.display()));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .err
            .contains("outside the folders that statements may use"),
        "{}",
        refused.err
    );
    drop(server);
    let server = Server::start(&data);
    for statement in [
        "SELECT * FROM e".to_string(),
        format!("COPY t TO '{files}/no.csv'"),
    ] {
        let refused = connected(&server, &statement);
        assert!(
            refused.code == Some(1) && refused.err.contains("--allow-files DIR"),
            "{statement}: {refused:?}"
        );
    }
}

#[test]
fn dictionaries_of_the_tokenizer_lindera_are_named_on_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let (source, folder) = (
        directory.path().join("source"),
        directory.path().join("dictionaries"),
    );
    std::fs::create_dir(&source).unwrap();
    // Sources as MeCab has them: kinds of characters, unknown words, words, costs of neighbours.
    for (name, text) in [
        ("char.def", "DEFAULT 0 1 0\nKANJI 0 0 2\n0x4E00..0x9FFF KANJI\n"),
        (
            "unk.def",
            "DEFAULT,0,0,5000,記号,一般,*,*,*,*,*,*,*\nKANJI,0,0,5000,名詞,一般,*,*,*,*,*,*,*\n",
        ),
        (
            "lex.csv",
            "東京,0,0,100,名詞,固有名詞,地域,一般,*,*,東京,トウキョウ,トウキョウ\n都,0,0,300,名詞,接尾,地域,*,*,*,都,ト,ト\n",
        ),
        ("matrix.def", "1 1\n0 0 0\n"),
    ] {
        std::fs::write(source.join(name), text).unwrap();
    }
    let builder = lindera_dictionary::builder::DictionaryBuilder::new(Default::default());
    builder.build_dictionary(&source, &folder.join("ipadic")).unwrap();
    let analyzer = r#"{"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}}"#;
    let statement = format!(
        "SELECT text_match('東京都', '東京', 1, '{analyzer}') AS word, text_match('東京都', '京都', 1, '{analyzer}') AS part"
    );
    let data = directory.path().join("data");
    let run_sql = |command: &mut std::process::Command| {
        run(command
            .args(["sql", "--format", "csv", "-c", &statement, "--data"])
            .arg(&data))
    };
    let found = run_sql(elanus().env("ELANUS_ANALYZER_DICTIONARIES", &folder));
    assert_eq!(found.out, "word,part\ntrue,false\n", "{found:?}");
    let refused = run_sql(&mut elanus());
    assert!(refused.err.contains("--analyzer-dictionaries"), "{refused:?}");
}

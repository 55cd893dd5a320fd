//! Plugins through statements and searches: registered, used, replaced, dropped, and what is said when they cannot be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use elanus_plugins::{SigningKey, TrustedKeys};
use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions, FileAccess, PluginOptions};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::{engine, engine_with, ints, sql, sql_error, text};

fn prebuilt() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples/prebuilt")
}

fn options() -> EngineOptions {
    EngineOptions {
        files: FileAccess::Within(vec![prebuilt()]),
        plugins: PluginOptions {
            register: true,
            ..PluginOptions::default()
        },
        ..EngineOptions::default()
    }
}

fn file(name: &str) -> String {
    prebuilt().join(name).display().to_string()
}

/// Rows that are further away the larger their key, and newer the larger it is.
async fn with_rows(store: Arc<InMemory>, options: EngineOptions) -> Engine {
    let engine = engine_with(store, options).await;
    sql(
        &engine,
        "CREATE TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY, created_at BIGINT, body TEXT, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(
        &engine,
        "INSERT INTO t VALUES (1, 100, 'red kite', '[1, 0]'), (2, 200, 'kite', '[1, 0.1]'), (3, 300, 'red', '[1, 0.2]'), \
         (4, NULL, NULL, '[1, 0.3]'), (5, 500, 'blue kite', '[1, 0.4]') ON CONFLICT DO NOTHING",
    )
    .await;
    engine
}

async fn ready() -> Engine {
    let engine = with_rows(Arc::default(), options()).await;
    for (name, of) in [("newest", "recency"), ("diverse", "mmr"), ("words", "lexical")] {
        let path = file(&format!("{of}.wasm"));
        sql(&engine, &format!("CREATE RERANKER {name} FROM '{path}'")).await;
    }
    engine
}

const NEWEST: &str = r#"rerank => 'newest', rerank_params => '{"now": 500, "half_life": 50}'"#;

#[tokio::test]
async fn a_reranker_says_in_which_order_rows_come() {
    let engine = ready().await;
    let query =
        format!("SELECT id, _distance, _score FROM vector_search(t, '[1, 0]', 3, metric => 'l2', {NEWEST})");
    let found = sql(&engine, &query).await;
    assert_eq!(ints(&found.batches), [5, 3, 2]);
    assert_eq!(found.schema.fields().len(), 3);
    // It sees what the search has found, and no other row.
    let seen = query.replace("rerank =>", "rerank_k => 3, rerank =>");
    assert_eq!(ints(&sql(&engine, &seen).await.batches), [3, 2, 1]);
    let filtered = query.replace("rerank =>", "filter => 'id != 5', rerank =>");
    assert_eq!(ints(&sql(&engine, &filtered).await.batches), [3, 2, 1]);
    // A subquery decides on rows, and what comes after is SQL as ever.
    let among = query.replace(
        "rerank =>",
        "filter => id IN (SELECT id FROM t WHERE id < 3), rerank =>",
    );
    assert_eq!(ints(&sql(&engine, &among).await.batches), [2, 1]);
    let plan = text(&sql(&engine, &format!("EXPLAIN ANALYZE {query}")).await);
    for word in [
        "RerankExec: rerank=newest(1.0.0)",
        "plugin_calls=1",
        "plugin_rows=5",
        "plugin_peak_memory",
    ] {
        assert!(plan.contains(word), "{word}: {plan}");
    }
}

#[tokio::test]
async fn vectors_and_texts_go_along() {
    let engine = ready().await;
    let diverse = "SELECT id FROM vector_search(t, '[1, 0]', 2, metric => 'cosine', rerank => 'diverse', \
                   rerank_params => '{\"lambda\": 0}')";
    // Only difference counts: the second is the furthest from the first.
    let found = ints(&sql(&engine, diverse).await.batches);
    assert_eq!((found.len(), found.contains(&5)), (2, true));
    let words = "SELECT id FROM vector_search(t, '[1, 0]', 1, metric => 'l2', rerank => 'words', \
                 rerank_params => '{\"column\": \"body\", \"weight\": 1}', rerank_text => 'blue')";
    assert_eq!(ints(&sql(&engine, words).await.batches), [5]);
    let hybrid = format!(
        "SELECT id FROM hybrid_search(t, search('[1, 0]', metric => 'l2'), search('[0, 1]', metric => 'ip'), k => 2, {NEWEST})"
    );
    assert_eq!(ints(&sql(&engine, &hybrid).await.batches), [5, 3]);
}

#[tokio::test]
async fn what_does_not_fit_a_reranker_fails_before_the_search() {
    let engine = ready().await;
    let call = |rerank: &str| {
        format!("EXPLAIN SELECT id FROM vector_search(t, '[1, 0]', 2, metric => 'l2', {rerank})")
    };
    for (rerank, what) in [
        (
            "rerank => 'newset'",
            "there is no reranker 'newset'; did you mean newest?",
        ),
        ("rerank => 'newest'", "parameter 'now' (number) is needed"),
        (
            r#"rerank => 'newest', params => '{"now": 1}'"#,
            "parameters of a reranker are given as rerank_params",
        ),
        (
            "rerank => 'newest', rerank_params => '[1]'",
            "rerank_params is a JSON object",
        ),
        (
            r#"rerank => 'newest', rerank_params => '{"now": 1, "half_life": 0}'"#,
            "half_life",
        ),
        (
            r#"rerank => 'newest', rerank_params => '{"now": 1, "half_life": 1, "column": "created"}'"#,
            "needs the column 'created', which there is not",
        ),
        (
            r#"rerank => 'newest', rerank_params => '{"now": 1, "half_life": 1, "column": "body"}'"#,
            "needs the column 'body' as BIGINT, it is TEXT",
        ),
        (
            r#"rerank => 'words', rerank_params => '{"column": "body"}'"#,
            "needs the text of the query",
        ),
        ("rerank => 'diverse', rerank_k => 1", "rerank_k is 1: for 2 rows"),
        ("rerank => 'diverse', rerank_k => 20000", "allowed are 2 to 10000"),
        ("rerank_k => 5", "rerank_k says something about rerank"),
        (
            "rerank => 'diverse', group_by => id",
            "not supported: group_by together with rerank",
        ),
    ] {
        let error = sql_error(&engine, &call(rerank)).await;
        assert!(error.contains(what), "{rerank}: {error}");
    }
}

#[tokio::test]
async fn functions_are_called_by_batches_wherever_sql_has_expressions() {
    let engine = with_rows(Arc::default(), options()).await;
    let path = file("numbers.wasm");
    sql(&engine, &format!("CREATE FUNCTIONS FROM '{path}'")).await;
    sql(
        &engine,
        &format!(
            "CREATE FUNCTION line(slope real, x real, real) RETURNS real IMMUTABLE LANGUAGE WASM AS '{path}', 'linear' \
             WITH (memory = '8MB')"
        ),
    )
    .await;
    let rows = sql(
        &engine,
        "SELECT id, line(2, created_at, 1) FROM t WHERE linear(1, id, 0) > 2 ORDER BY line(-1, id, 0)",
    )
    .await;
    assert_eq!(text(&rows), "5|1001.0\n4|NULL\n3|601.0");
    let constant = sql(
        &engine,
        "SELECT round(haversine(52.52, 13.4, 48.14, 11.58)), line(NULL, 1, 1)",
    )
    .await;
    assert_eq!(text(&constant), "504.0|NULL");
    let sum = sql(&engine, "SELECT sum(line(1, value, 0)) FROM range(0, 100000)").await;
    assert_eq!(text(&sum), "4999950000.0");
    sql(
        &engine,
        "CREATE VIEW lines AS SELECT id, line(1, id, 0.5) AS y FROM t",
    )
    .await;
    assert_eq!(
        text(&sql(&engine, "SELECT y FROM lines WHERE id = 2").await),
        "2.5"
    );
    for (query, what) in [
        (
            "SELECT line(1, 2)",
            "takes 3 arguments, not 2: line(slope REAL, x REAL, offset REAL)",
        ),
        (
            "SELECT line('a', 2, 3)",
            "argument 'slope' of line is REAL, not Utf8",
        ),
        (
            "DROP FUNCTION nothing",
            "there is no function 'nothing' of a plugin",
        ),
    ] {
        let error = sql_error(&engine, query).await;
        assert!(error.contains(what), "{query}: {error}");
    }
    for (statement, what) in [
        (
            "CREATE FUNCTION abs LANGUAGE WASM AS '{}', 'linear'",
            "'abs' is a function of the engine",
        ),
        (
            "CREATE FUNCTION f LANGUAGE WASM AS '{}'",
            "has no function 'f', only haversine, linear",
        ),
        (
            "CREATE FUNCTION line LANGUAGE WASM AS '{}', 'linear'",
            "there is a function 'line' already",
        ),
        (
            "CREATE FUNCTION g(bigint) LANGUAGE WASM AS '{}', 'linear'",
            "has (REAL, REAL, REAL)",
        ),
        (
            "CREATE FUNCTION g VOLATILE LANGUAGE WASM AS '{}', 'linear'",
            "it is VOLATILE",
        ),
        (
            "CREATE FUNCTION g LANGUAGE sql AS '{}'",
            "not supported: functions in the LANGUAGE sql",
        ),
        ("CREATE FUNCTION g AS '{}'", "LANGUAGE WASM"),
        (
            "CREATE FUNCTIONS FROM '{}' WITH (memroy = 1)",
            "did you mean memory?",
        ),
        ("CREATE RERANKER r FROM '{}'", "has functions and is no reranker"),
    ] {
        let error = sql_error(&engine, &statement.replace("{}", &path)).await;
        assert!(error.contains(what), "{statement}: {error}");
    }
}

#[tokio::test]
async fn what_is_replaced_or_dropped_is_so_for_every_session() {
    let engine = with_rows(Arc::default(), options()).await;
    let path = file("numbers.wasm");
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    sql(
        &engine,
        &format!("CREATE FUNCTION f LANGUAGE WASM AS '{path}', 'linear'"),
    )
    .await;
    let prepared = engine.prepare(&session, "SELECT f(1, 2, 3)").await.unwrap();
    let run = async || engine.execute(&session, &prepared, None).await?.collect().await;
    assert_eq!(text(&run().await.unwrap()), "5.0");
    sql(
        &engine,
        &format!("CREATE OR REPLACE FUNCTION f LANGUAGE WASM AS '{path}', 'haversine'"),
    )
    .await;
    let error = run().await.unwrap_err().to_string();
    assert!(error.contains("takes 4 arguments, not 3"), "{error}");
    sql(&engine, "DROP FUNCTION IF EXISTS f, nobody").await;
    assert!(run().await.is_err());
    assert_eq!(
        text(&sql(&engine, "SELECT count(*) FROM elanus.plugins").await),
        "0"
    );
}

#[tokio::test]
async fn plugins_are_there_after_a_restart_and_their_files_go_with_their_names() {
    let store = Arc::new(InMemory::new());
    let bytes = std::fs::read(prebuilt().join("recency.wasm")).unwrap();
    let at = object_store::path::Path::from("plugins-of-ours/newest.wasm");
    store.put(&at, bytes.into()).await.unwrap();
    let engine = with_rows(Arc::clone(&store), options()).await;
    sql(
        &engine,
        "CREATE RERANKER newest FROM 'plugins-of-ours/newest.wasm' WITH (reuse = false)",
    )
    .await;
    sql(
        &engine,
        "CREATE RERANKER other FROM 'plugins-of-ours/newest.wasm'",
    )
    .await;
    sql(
        &engine,
        &format!("CREATE FUNCTIONS FROM '{}'", file("numbers.wasm")),
    )
    .await;
    store.delete(&at).await.unwrap();
    engine.collections().close().await;
    drop(engine);

    // What is registered works where nothing may be registered.
    let engine = with_rows(Arc::clone(&store), EngineOptions::default()).await;
    let listed = "SELECT name, kind, version, loaded FROM elanus.plugins ORDER BY 2, 1";
    assert_eq!(
        text(&sql(&engine, listed).await),
        "haversine|function|1.0.0|false\nlinear|function|1.0.0|false\nnewest|reranker|1.0.0|false\nother|reranker|1.0.0|false"
    );
    let found = sql(
        &engine,
        &format!("SELECT id FROM vector_search(t, '[1, 0]', 1, metric => 'l2', {NEWEST})"),
    )
    .await;
    assert_eq!(ints(&found.batches), [5]);
    assert_eq!(text(&sql(&engine, "SELECT linear(2, 3, 4)").await), "10.0");
    let stats = "SELECT name, calls > 0, traps, last_error IS NULL FROM elanus.plugins WHERE loaded AND kind = 'reranker'";
    assert_eq!(text(&sql(&engine, stats).await), "newest|true|0|true");
    let refused = sql_error(&engine, "DROP RERANKER newest").await;
    assert!(refused.contains("--allow-plugins"), "{refused}");
    engine.collections().close().await;
    drop(engine);

    let engine = with_rows(Arc::clone(&store), options()).await;
    let objects = async || {
        let prefix = object_store::path::Path::from("plugins");
        let listed = store.list_with_delimiter(Some(&prefix)).await.unwrap();
        listed.objects.len()
    };
    assert_eq!(objects().await, 2);
    sql(&engine, "DROP RERANKER newest").await;
    assert_eq!(objects().await, 2);
    sql(&engine, "DROP RERANKER other").await;
    assert_eq!(objects().await, 1);
    assert_eq!(text(&sql(&engine, "SHOW RERANKERS").await), "");
}

#[tokio::test]
async fn files_that_may_not_be_read_and_servers_that_do_not_register() {
    let engine = engine().await;
    let refused = sql_error(&engine, "CREATE RERANKER r FROM 'r.wasm'").await;
    assert!(refused.contains("--allow-plugins"), "{refused}");
    let upload = engine
        .upload_plugin(&engine.session(DEFAULT_DATABASE).unwrap(), vec![1].into())
        .await
        .unwrap_err()
        .to_string();
    assert!(upload.contains("--allow-plugins"), "{upload}");
    let engine = engine_with(Arc::default(), options()).await;
    for (path, what) in [
        ("/etc/hostname", "outside the folders"),
        ("catalog/x.json", "catalog is the engine's own"),
        ("none.wasm", "there is no file 'none.wasm' in the data directory"),
        ("sha256:abc", "is no SHA-256"),
    ] {
        let error = sql_error(&engine, &format!("CREATE RERANKER r FROM '{path}'")).await;
        assert!(error.contains(what), "{path}: {error}");
    }
    let error = engine
        .upload_plugin(
            &engine.session(DEFAULT_DATABASE).unwrap(),
            b"no wasm".to_vec().into(),
        )
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is WebAssembly, and this one is not"), "{error}");
    // What begins as WebAssembly is looked at when it is registered, and then has the name of the statement.
    let digest = engine
        .upload_plugin(
            &engine.session(DEFAULT_DATABASE).unwrap(),
            b"\0asm rubbish".to_vec().into(),
        )
        .await
        .unwrap();
    let error = sql_error(&engine, &format!("CREATE RERANKER r FROM 'sha256:{digest}'")).await;
    assert!(
        error.contains("plugin 'r' failed to load: it is WebAssembly of a version"),
        "{error}"
    );
    let bytes = std::fs::read(prebuilt().join("mmr.wasm")).unwrap();
    let digest = engine
        .upload_plugin(&engine.session(DEFAULT_DATABASE).unwrap(), bytes.into())
        .await
        .unwrap();
    sql(&engine, &format!("CREATE RERANKER r FROM 'sha256:{digest}'")).await;
}

#[tokio::test]
async fn where_keys_are_trusted_only_what_they_have_signed_is_registered() {
    let (key, _) = SigningKey::generate().unwrap();
    let mut keys = TrustedKeys::default();
    keys.add("ours", &key.public_key()).unwrap();
    let mut options = options();
    options.plugins.keys = Some(keys);
    let engine = engine_with(Arc::default(), options).await;
    let path = file("mmr.wasm");
    let unsigned = sql_error(&engine, &format!("CREATE RERANKER r FROM '{path}'")).await;
    assert!(unsigned.contains("signed plugins only"), "{unsigned}");
    let statement =
        |signature: &str| format!("CREATE RERANKER r FROM '{path}' WITH (signature = '{signature}')");
    let other = sql_error(&engine, &statement(&key.sign(b"another file"))).await;
    assert!(other.contains("trusted are ours"), "{other}");
    let signature = key.sign(&std::fs::read(&path).unwrap());
    sql(&engine, &statement(&signature)).await;
    // It is no setting that is kept.
    assert_eq!(
        text(&sql(&engine, "SELECT settings FROM elanus.plugins").await),
        "NULL"
    );
}

#[tokio::test]
async fn memory_of_plugins_comes_out_of_the_pool_of_statements() {
    let options = EngineOptions {
        sql_memory_bytes: Some(1 << 20),
        ..options()
    };
    let engine = engine_with(Arc::default(), options).await;
    let error = sql_error(&engine, &format!("CREATE RERANKER r FROM '{}'", file("mmr.wasm"))).await;
    assert!(
        error.contains("--sql-memory-limit") && error.contains("plugin r"),
        "{error}"
    );
}

#[tokio::test]
async fn functions_take_and_return_other_arrow_types() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/host/tests/guests");
    let options = EngineOptions {
        files: FileAccess::Within(vec![guests.clone()]),
        ..options()
    };
    let engine = engine_with(Arc::default(), options).await;
    let path = guests.join("ipc-copy.wasm").display().to_string();
    sql(
        &engine,
        &format!("CREATE FUNCTION same LANGUAGE WASM AS '{path}', 'copy'"),
    )
    .await;
    let query =
        "SELECT same(x) AS y, arrow_typeof(same(x)) AS of FROM (VALUES (1.25), (NULL), (-0.07)) AS v(x)";
    let shown = text(&sql(&engine, query).await);
    for part in ["1.25", "-0.07", "Decimal128(10, 2)"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let counted =
        "SELECT count(*) FILTER (WHERE same(x) IS NULL) AS n FROM (VALUES (1.25), (NULL), (-0.07)) AS v(x)";
    assert_eq!(ints(&sql(&engine, counted).await.batches), [1]);
    let constant = sql(&engine, "SELECT CAST(same(7) AS BIGINT) AS n").await;
    assert_eq!(ints(&constant.batches), [7]);
    let error = sql_error(&engine, "SELECT same('a')").await.to_string();
    assert!(
        error.contains("argument 'x' of same is Decimal128(10, 2), not Utf8"),
        "{error}"
    );
}

//! Statements of users: what they may run follows from what their roles were granted, whichever way a collection is reached.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use elanus_collection::access::{Need, Privilege};
use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions, IngestMode};
use object_store::memory::InMemory;

use crate::support::{engine_with, text};

/// An engine that asks for users: `root`, and `ann`, a member of the role `r` that has nothing.
async fn guarded() -> Engine {
    let options = EngineOptions {
        authentication: true,
        ..EngineOptions::default()
    };
    let engine = engine_with(Arc::new(InMemory::new()), options).await;
    engine
        .collections()
        .create_user("root", "Secret-0", "")
        .await
        .unwrap();
    let root = session(&engine, "root");
    for statement in [
        "CREATE TABLE docs (id BIGINT PRIMARY KEY, n INTEGER NOT NULL, v VECTOR(2) NOT NULL)",
        "CREATE TABLE other (id BIGINT PRIMARY KEY, n INTEGER NOT NULL, v VECTOR(2) NOT NULL)",
        "INSERT INTO docs VALUES (1, 10, '[1, 0]'), (2, 20, '[0, 1]')",
        "CREATE SNAPSHOT before ON docs",
        "CREATE VIEW both AS SELECT d.id FROM docs d JOIN other o ON d.id = o.id",
        "CREATE VIEW over_both AS SELECT * FROM both",
        "CREATE VIEW one AS SELECT * FROM docs",
        "CREATE USER ann PASSWORD 'Secret-1'",
        "CREATE ROLE r",
        "GRANT r TO ann",
    ] {
        run(&engine, &root, statement).await.unwrap();
    }
    engine
}

fn session(engine: &Engine, user: &str) -> SessionContext {
    engine.session_of(DEFAULT_DATABASE, Some(user)).unwrap()
}

async fn run(engine: &Engine, session: &SessionContext, statement: &str) -> Result<String, String> {
    match engine.sql_in(session, statement).await {
        Ok(output) => Ok(text(&output)),
        Err(error) => Err(error.to_string()),
    }
}

async fn as_root(engine: &Engine, statement: &str) {
    run(engine, &session(engine, "root"), statement).await.unwrap();
}

/// Runs a statement of ann's, which is refused for want of a privilege whose name begins so.
async fn refused(engine: &Engine, statement: &str, privilege: &str) {
    let error = run(engine, &session(engine, "ann"), statement).await.unwrap_err();
    let is_denied = error.contains(privilege) && error.contains(": permission deny to ann");
    assert!(is_denied, "{statement}: {error}");
}

async fn allowed(engine: &Engine, statement: &str) {
    if let Err(error) = run(engine, &session(engine, "ann"), statement).await {
        panic!("{statement}: {error}");
    }
}

#[tokio::test]
async fn every_way_to_rows_needs_query_on_every_collection_that_is_reached() {
    let engine = guarded().await;
    let ways = [
        "SELECT * FROM docs",
        "SELECT count(*) FROM docs",
        "SELECT * FROM docs ORDER BY v <-> '[1, 0]' LIMIT 1",
        "SELECT * FROM docs AS OF SNAPSHOT before",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM docs)",
        "SELECT (SELECT max(n) FROM docs)",
        "WITH d AS (SELECT * FROM docs) SELECT * FROM d",
        "SELECT * FROM one",
        "EXPLAIN SELECT * FROM docs",
        "EXPLAIN ANALYZE SELECT * FROM docs",
        "PREPARE p AS SELECT * FROM docs",
        "SELECT 1 UNION ALL SELECT n FROM docs",
    ];
    for way in ways {
        refused(&engine, way, "PrivilegeQuery").await;
    }
    refused(&engine, "ANALYZE docs", "PrivilegeQuery").await;
    refused(
        &engine,
        "SELECT * FROM vector_search(docs, '[1, 0]', 1, metric => 'l2')",
        "PrivilegeSearch",
    )
    .await;
    refused(
        &engine,
        "SELECT * FROM vector_search(docs AS OF SNAPSHOT before, '[1, 0]', 1, metric => 'l2')",
        "PrivilegeSearch",
    )
    .await;
    as_root(&engine, "GRANT Query ON docs TO r").await;
    for way in ways {
        allowed(&engine, way).await;
    }
    allowed(&engine, "ANALYZE docs").await;
    refused(
        &engine,
        "SELECT * FROM vector_search(docs, '[1, 0]', 1, metric => 'l2')",
        "PrivilegeSearch",
    )
    .await;
    // Views reach what their definitions name, however deep.
    refused(&engine, "SELECT * FROM both", "PrivilegeQuery").await;
    refused(&engine, "SELECT * FROM over_both", "PrivilegeQuery").await;
    refused(
        &engine,
        "SELECT * FROM docs WHERE id IN (SELECT id FROM other)",
        "PrivilegeQuery",
    )
    .await;
    as_root(&engine, "GRANT Search ON ALL TABLES IN SCHEMA default TO r").await;
    allowed(
        &engine,
        "SELECT * FROM vector_search(docs, '[1, 0]', 1, metric => 'l2')",
    )
    .await;
    as_root(&engine, "GRANT Query ON default.* TO r").await;
    allowed(&engine, "SELECT * FROM over_both").await;
}

#[tokio::test]
async fn writes_need_their_own_privileges() {
    let engine = guarded().await;
    let insert = "INSERT INTO docs VALUES (7, 1, '[1, 1]')";
    let both = "INSERT INTO docs SELECT id + 100, n, v FROM docs";
    let update = "UPDATE docs SET n = 5 WHERE id = 7";
    let delete = "DELETE FROM docs WHERE id = 7";
    let merge = "INSERT INTO docs VALUES (7, 1, '[1, 1]') ON CONFLICT (id) DO UPDATE SET n = 2";
    for statement in [
        insert,
        both,
        update,
        delete,
        merge,
        "TRUNCATE docs",
        "PREPARE i AS INSERT INTO docs VALUES (1, 1, '[1, 1]')",
    ] {
        refused(&engine, statement, "Privilege").await;
    }
    as_root(&engine, "GRANT Query ON docs TO r").await;
    refused(&engine, insert, "PrivilegeInsert").await;
    refused(&engine, update, "PrivilegeUpsert").await;
    refused(&engine, delete, "PrivilegeDelete").await;
    refused(&engine, merge, "Privilege").await;
    refused(
        &engine,
        "EXPLAIN ANALYZE INSERT INTO docs VALUES (1, 1, '[1, 1]')",
        "PrivilegeInsert",
    )
    .await;
    refused(
        &engine,
        "PREPARE i AS INSERT INTO docs VALUES (1, 1, '[1, 1]')",
        "PrivilegeInsert",
    )
    .await;
    as_root(&engine, "GRANT Insert, Upsert, Delete ON docs TO r").await;
    for statement in [insert, both, merge, update, delete, "TRUNCATE docs"] {
        allowed(&engine, statement).await;
    }
    // Who may only insert does not read, not even what is inserted into.
    as_root(&engine, "REVOKE Query ON docs FROM r").await;
    allowed(&engine, insert).await;
    refused(&engine, both, "PrivilegeQuery").await;
    refused(&engine, "INSERT INTO docs SELECT * FROM one", "PrivilegeQuery").await;
    refused(&engine, delete, "PrivilegeQuery").await;
    let ingest = |mode| engine.permit_ingest(&session(&engine, "ann"), DEFAULT_DATABASE, "docs", mode);
    ingest(IngestMode::Append).unwrap();
    assert!(
        ingest(IngestMode::Replace)
            .unwrap_err()
            .to_string()
            .contains("PrivilegeCreateCollection")
    );
}

/// Statements without a plan, the privilege that each needs, and on what it is granted. `None`: for every user.
const COMMANDS: &[(&str, Option<(&str, &str)>)] = &[
    (
        "CREATE TABLE t2 (id BIGINT PRIMARY KEY, v VECTOR(2) NOT NULL)",
        Some(("CreateCollection", "default.*")),
    ),
    (
        "ALTER TABLE docs ADD COLUMN extra BIGINT",
        Some(("AddCollectionField", "docs")),
    ),
    (
        "ALTER TABLE docs DROP COLUMN extra",
        Some(("AlterCollectionSchema", "docs")),
    ),
    (
        "ALTER TABLE t2 RENAME TO t3",
        Some(("RenameCollection", "default.*")),
    ),
    (
        "CREATE INDEX i ON docs USING flat (v vector_l2_ops)",
        Some(("CreateIndex", "docs")),
    ),
    ("DROP INDEX i", Some(("DropIndex", "docs"))),
    (
        "CREATE VIEW w AS SELECT 1 AS one",
        Some(("CreateCollection", "default.*")),
    ),
    ("DROP VIEW w", Some(("DropCollection", "default.*"))),
    ("DROP TABLE t3", Some(("DropCollection", "default.*"))),
    ("CREATE SNAPSHOT later ON docs", Some(("CreateSnapshot", "docs"))),
    ("DROP SNAPSHOT later ON docs", Some(("DropSnapshot", "docs"))),
    ("CREATE DATABASE d2", Some(("CreateDatabase", "*"))),
    ("DROP SCHEMA d2", Some(("DropDatabase", "*"))),
    ("VACUUM docs", Some(("Compaction", "docs"))),
    (
        "CREATE USER bob PASSWORD 'Secret-2'",
        Some(("CreateOwnership", "*")),
    ),
    ("ALTER USER bob PASSWORD 'Secret-3'", Some(("UpdateUser", "*"))),
    ("CREATE ROLE s", Some(("CreateOwnership", "*"))),
    ("GRANT s TO bob", Some(("ManageOwnership", "*"))),
    ("GRANT Query ON docs TO s", Some(("ManageOwnership", "*"))),
    ("REVOKE Query ON docs FROM s", Some(("ManageOwnership", "*"))),
    ("REVOKE s FROM bob", Some(("ManageOwnership", "*"))),
    ("DROP ROLE s", Some(("DropOwnership", "*"))),
    ("DROP USER bob", Some(("DropOwnership", "*"))),
    ("SHOW USERS", Some(("SelectOwnership", "*"))),
    ("SHOW GRANTS FOR r", Some(("SelectOwnership", "*"))),
    (
        "SELECT * FROM elanus_catalog.grants",
        Some(("SelectOwnership", "*")),
    ),
    ("SELECT * FROM elanus.users", Some(("SelectOwnership", "*"))),
    ("ALTER USER ann PASSWORD 'Secret-4'", None),
    ("USE \"default\"", None),
    ("SET elanus.statement_timeout = 1000", None),
    ("RESET elanus.statement_timeout", None),
    ("SHOW TABLES", None),
    ("SHOW elanus.statement_timeout", None),
    ("SELECT table_name FROM information_schema.tables", None),
    ("SELECT collection FROM elanus_catalog.collections", None),
];

#[tokio::test]
async fn every_command_needs_what_the_table_says() {
    let engine = guarded().await;
    for (statement, need) in COMMANDS {
        if let Some((privilege, place)) = need {
            refused(&engine, statement, &format!("Privilege{privilege}")).await;
            as_root(&engine, &format!("GRANT {privilege} ON {place} TO r")).await;
            allowed(&engine, statement).await;
            as_root(&engine, &format!("REVOKE {privilege} ON {place} FROM r")).await;
        } else {
            allowed(&engine, statement).await;
        }
    }
}

#[tokio::test]
async fn files_and_plugins_need_privileges_of_the_server() {
    let engine = guarded().await;
    for (statement, privilege) in [
        ("COPY docs FROM '/tmp/x.csv'", "UseFiles"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "UseFiles"),
        (
            "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/tmp/x.csv'",
            "UseFiles",
        ),
        ("CREATE RERANKER r FROM 'r.wasm'", "RegisterPlugin"),
        ("CREATE FUNCTION f LANGUAGE WASM AS 'f.wasm'", "RegisterPlugin"),
        ("CREATE FUNCTIONS FROM 'f.wasm'", "RegisterPlugin"),
        ("DROP RERANKER r", "RegisterPlugin"),
        ("DROP FUNCTION f", "RegisterPlugin"),
    ] {
        refused(&engine, statement, &format!("Privilege{privilege}")).await;
        as_root(&engine, &format!("GRANT {privilege} ON * TO r")).await;
        let error = run(&engine, &session(&engine, "ann"), statement)
            .await
            .unwrap_err();
        assert!(
            !error.contains("RegisterPlugin") && !error.contains("UseFiles"),
            "{statement}: {error}"
        );
        as_root(&engine, &format!("REVOKE {privilege} ON * FROM r")).await;
    }
    let upload = engine
        .upload_plugin(&session(&engine, "ann"), b"\0asm".to_vec().into())
        .await;
    assert!(
        upload
            .unwrap_err()
            .to_string()
            .contains("PrivilegeRegisterPlugin")
    );
    // With the privilege it is not the flag that decides.
    engine
        .upload_plugin(&session(&engine, "root"), b"\0asm".to_vec().into())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_nobody_thought_of_is_for_admins() {
    let engine = guarded().await;
    for statement in [
        "CALL something('x')",
        "CALL change_users('{}')",
        "LOCK TABLE docs",
        "CREATE SEQUENCE s",
        "COMMENT ON TABLE docs IS 'x'",
    ] {
        let error = run(&engine, &session(&engine, "ann"), statement)
            .await
            .unwrap_err();
        assert!(
            error.contains("permission deny to ann") || error.contains("parse"),
            "{statement}: {error}"
        );
    }
    let running = "SELECT * FROM elanus_catalog.queries";
    let error = run(&engine, &session(&engine, "ann"), running).await.unwrap_err();
    assert!(error.contains("is for members of the role admin"), "{error}");
    as_root(&engine, "GRANT admin TO ann").await;
    allowed(&engine, running).await;
}

#[tokio::test]
async fn rights_are_those_of_the_moment_also_for_what_was_prepared_before() {
    let engine = guarded().await;
    as_root(&engine, "GRANT SELECT ON docs TO r").await;
    let ann = session(&engine, "ann");
    let prepared = engine.prepare(&ann, "SELECT id FROM docs").await.unwrap();
    engine.execute(&ann, &prepared, None).await.unwrap();
    run(&engine, &ann, "PREPARE p AS SELECT id FROM docs")
        .await
        .unwrap();
    assert_eq!(run(&engine, &ann, "EXECUTE p").await.unwrap(), "1\n2");
    as_root(&engine, "REVOKE SELECT ON docs FROM r").await;
    // A second statement of the name is refused, and leaves what the first one needs as it is.
    assert!(run(&engine, &ann, "PREPARE p AS SELECT 1").await.is_err());
    assert!(engine.execute(&ann, &prepared, None).await.is_err());
    assert!(engine.pin(&ann, &prepared, None).await.is_err());
    let error = run(&engine, &ann, "EXECUTE p").await.unwrap_err();
    assert!(error.contains("PrivilegeQuery"), "{error}");
    as_root(&engine, "DROP USER ann").await;
    let error = run(&engine, &ann, "SELECT 1").await.unwrap_err();
    assert!(error.contains("permission deny"), "{error}");
}

#[tokio::test]
async fn nobody_runs_nothing_and_a_name_is_not_an_alias() {
    let engine = guarded().await;
    let nobody = engine.sql(DEFAULT_DATABASE, "SELECT 1").await.unwrap_err();
    assert!(nobody.to_string().contains("auth check failure"), "{nobody}");
    assert!(engine.authorize(None, &Need::Nothing).is_err());
    engine
        .collections()
        .create_alias(DEFAULT_DATABASE, "d", "docs")
        .await
        .unwrap();
    as_root(&engine, "GRANT Query ON other TO r").await;
    refused(&engine, "SELECT * FROM d", "PrivilegeQuery").await;
    as_root(&engine, "GRANT Query ON d TO r").await;
    allowed(&engine, "SELECT * FROM docs").await;
    assert!(
        engine
            .authorize(Some("ann"), &Need::cluster(Privilege::RegisterPlugin))
            .is_err()
    );
}

#[tokio::test]
async fn passwords_are_checked_changed_and_kept_over_a_restart() {
    let store = Arc::new(InMemory::new());
    let engine = engine_with(Arc::clone(&store), EngineOptions::default()).await;
    let users = engine.collections();
    users.create_user("ann", "Secret-1", "first").await.unwrap();
    users.authenticate("ann", "Secret-1").await.unwrap();
    users.authenticate("ann", "Secret-1").await.unwrap();
    for (user, password) in [("ann", "Secret-2"), ("bob", "Secret-1"), ("ann", ""), ("", "")] {
        assert!(users.authenticate(user, password).await.is_err(), "{user}");
    }
    users.change_password("ann", "Secret-2").await.unwrap();
    assert!(users.authenticate("ann", "Secret-1").await.is_err());
    users.authenticate("ann", "Secret-2").await.unwrap();
    for wrong in ["a b", "", "1a", &"x".repeat(33)] {
        assert!(users.create_user(wrong, "Secret-1", "").await.is_err(), "{wrong}");
    }
    assert!(users.create_user("ann", "Secret-1", "").await.is_err());
    assert!(users.create_user("bob", "short", "").await.is_err());
    assert!(users.drop_user("root").await.is_err() && users.drop_role("admin", true).await.is_err());
    users.close().await;
    let again = engine_with(store, EngineOptions::default()).await;
    again.collections().authenticate("ann", "Secret-2").await.unwrap();
    assert_eq!(again.collections().user("ann").unwrap().description, "first");
}

//! Vectors of other types than 32-bit floats: bound as parameters, ingested as Arrow, and the operator that searches them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Int8Array, Int64Array,
    ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type};
use elanus_query::{DEFAULT_DATABASE, Engine, IngestMode, Queries, SearchRequest};

use crate::support::{engine, ints, load, search, sql, sql_error};

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let names = (0..columns.len()).map(|n| format!("c{n}"));
    RecordBatch::try_from_iter(names.zip(columns)).unwrap()
}

async fn run(engine: &Engine, text: &str, parameters: RecordBatch) -> Vec<RecordBatch> {
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let prepared = engine.prepare(&session, text).await.unwrap();
    let answer = engine
        .execute(&session, &prepared, Some(parameters))
        .await
        .unwrap();
    answer.collect().await.unwrap().batches
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const COLUMNS: [(&str, &str, [&str; 3], &str); 5] = [
    ("h", "HALFVEC(2)", ["[0,0]", "[5,0]", "[9,0]"], "<->"),
    ("b", "BFLOAT16_VECTOR(2)", ["[0,0]", "[5,0]", "[9,0]"], "<->"),
    ("i", "INT8_VECTOR(2)", ["[0,0]", "[5,0]", "[9,0]"], "<->"),
    ("bits", "BIT(8)", ["00000000", "00011111", "11111111"], "<~>"),
    ("s", "SPARSEVEC", ["{0:1}", "{1:5}", "{2:9}"], "<->"),
];

async fn table(engine: &Engine) {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|(name, kind, ..)| format!("{name} {kind}"))
        .collect();
    sql(
        engine,
        &format!("CREATE TABLE t (id BIGINT PRIMARY KEY, {})", columns.join(", ")),
    )
    .await;
}

#[tokio::test]
async fn text_parameters_are_stored_and_searched_by() {
    let engine = engine().await;
    table(&engine).await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2]));
    let columns = COLUMNS.iter().map(|(_, _, values, _)| text(values));
    let rows = batch(std::iter::once(ids).chain(columns).collect());
    run(&engine, "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)", rows).await;
    for (name, kind, values, operator) in COLUMNS {
        for statement in [
            format!("SELECT id FROM t ORDER BY {name} {operator} $1 LIMIT 1"),
            format!("SELECT id FROM t ORDER BY {name} {operator} CAST($1 AS {kind}) LIMIT 1"),
        ] {
            for (id, value) in (0..).zip(values) {
                let found = run(&engine, &statement, batch(vec![text(&[value])])).await;
                assert_eq!(ints(&found), [id], "{statement} with {value}");
            }
        }
    }
}

#[tokio::test]
async fn arrow_parameters_are_taken_as_they_are_or_rounded() {
    let engine = engine().await;
    table(&engine).await;
    sql(&engine, "INSERT INTO t (id, h, i, bits) VALUES (1, '[1,1]', '[1,1]', '00000001'), (2, '[5,5]', '[5,5]', '11110000')").await;
    let floats: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([Some([
        Some(4.0),
        Some(6.0),
    ])]));
    let item = Arc::new(Field::new_list_field(DataType::Int8, false));
    let int8: ArrayRef =
        Arc::new(FixedSizeListArray::try_new(item, 2, Arc::new(Int8Array::from(vec![4, 6])), None).unwrap());
    let bits: ArrayRef =
        Arc::new(FixedSizeBinaryArray::try_from_iter([[0b1110_0000u8]].into_iter()).unwrap());
    for (statement, bound) in [
        ("SELECT id FROM t ORDER BY h <-> $1 LIMIT 1", &floats),
        ("SELECT id FROM t ORDER BY i <-> $1 LIMIT 1", &floats),
        ("SELECT id FROM t ORDER BY i <-> $1 LIMIT 1", &int8),
        ("SELECT id FROM t ORDER BY bits <~> $1 LIMIT 1", &bits),
    ] {
        let found = run(&engine, statement, batch(vec![Arc::clone(bound)])).await;
        assert_eq!(ints(&found), [2], "{statement} with {}", bound.data_type());
    }
}

#[tokio::test]
async fn arrow_rows_make_a_table_of_their_types() {
    let engine = engine().await;
    table(&engine).await;
    sql(
        &engine,
        "INSERT INTO t VALUES (7, '[1,2]', '[1,2]', '[1,2]', '00000001', '{3: 4}')",
    )
    .await;
    let all = sql(&engine, "SELECT * FROM t").await;
    engine
        .ingest(
            DEFAULT_DATABASE,
            "copy",
            IngestMode::Create,
            Arc::clone(&all.schema),
            futures::stream::iter(all.batches.clone().into_iter().map(Ok)),
        )
        .await
        .unwrap();
    let both = "SELECT h::text, b::text, i::text, bits::text, s::text FROM ";
    let (left, right) = (
        sql(&engine, &format!("{both} t")).await,
        sql(&engine, &format!("{both} copy")).await,
    );
    assert_eq!(left.batches[0].columns(), right.batches[0].columns());
    // Floats that are appended to halves are rounded.
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let floats: ArrayRef = Arc::new(
        FixedSizeListArray::try_new(item, 2, Arc::new(Float32Array::from(vec![0.1, 3.0])), None).unwrap(),
    );
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![8]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("h", floats)]).unwrap();
    engine
        .ingest(
            DEFAULT_DATABASE,
            "copy",
            IngestMode::Append,
            rows.schema(),
            futures::stream::iter([Ok(rows)]),
        )
        .await
        .unwrap();
    let stored = sql(&engine, "SELECT h::text FROM copy WHERE id = 8").await;
    assert_eq!(
        stored.batches[0].column(0).as_string::<i32>().value(0),
        "[0.099975586,3]"
    );
}

#[tokio::test]
async fn the_search_operator_runs_them_and_names_the_metric() {
    let engine = engine().await;
    table(&engine).await;
    sql(
        &engine,
        "INSERT INTO t (id, bits) VALUES (1, '00000001'), (2, '11110000')",
    )
    .await;
    let plan = sql(
        &engine,
        "EXPLAIN SELECT id FROM t ORDER BY bits <%> '11110001' LIMIT 1",
    )
    .await;
    let plan = arrow::util::pretty::pretty_format_batches(&plan.batches)
        .unwrap()
        .to_string();
    assert!(
        plan.contains("AnnSearchExec: table=t, column=bits, metric=JACCARD, k=1, index=none"),
        "{plan}"
    );
    let error = sql_error(&engine, "SELECT id FROM t ORDER BY bits <-> '11110001' LIMIT 1").await;
    assert!(
        error.contains("l2_distance takes vectors of numbers, got BIT(8)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_is_of_the_type_of_its_field() {
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIT(16) NOT NULL)",
    )
    .await;
    sql(
        &engine,
        "INSERT INTO t VALUES (1, '0000000000000001'), (2, '1111000011110000')",
    )
    .await;
    sql(&engine, "CREATE INDEX v ON t USING bin_flat (v)").await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    load(&collection).await;
    let column = |bytes: &[[u8; 2]]| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter(bytes.iter()).unwrap())
    };
    let request = |queries: Queries| SearchRequest {
        queries,
        nq: 1,
        ..search(&collection, &[0.0, 0.0], 2)
    };
    let found = engine
        .search(request(Queries::Column(column(&[[0xf0, 0xf1]]))))
        .await
        .unwrap();
    assert_eq!(ints(std::slice::from_ref(&found.rows)), [2, 1]);
    assert_eq!(crate::support::scores(&found.rows), [1.0, 8.0]);
    let error = engine
        .search(request(vec![0.0, 0.0].into()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("query vectors of 32-bit floats given, field 'v' is BinaryVector"),
        "{error}"
    );
    let error = engine
        .search(request(Queries::Column(column(&[[0, 0], [1, 1]]))))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("2 query vectors given for 1 queries"),
        "{error}"
    );
}

/// Lists on every type that has them: what they find is what a table without an index finds.
#[tokio::test]
async fn indexes_of_lists_are_made_and_searched() {
    let engine = engine().await;
    for (kind, method, class, options, operator) in [
        ("HALFVEC(8)", "ivf_flat", "halfvec_l2_ops", "nlist = 4", "<->"),
        (
            "HALFVEC(8)",
            "ivf_pq",
            "halfvec_cosine_ops",
            "nlist = 4, m = 4",
            "<=>",
        ),
        (
            "BFLOAT16_VECTOR(8)",
            "ivf_sq8",
            "bfloat16_vector_ip_ops",
            "nlist = 4",
            "<#>",
        ),
        (
            "BFLOAT16_VECTOR(8)",
            "scann",
            "bfloat16_vector_l2_ops",
            "nlist = 4",
            "<->",
        ),
        ("BIT(8)", "ivfflat", "bit_hamming_ops", "lists = 4", "<~>"),
        ("BIT(8)", "bin_ivf_flat", "bit_jaccard_ops", "nlist = 4", "<%>"),
    ] {
        sql(
            &engine,
            &format!("CREATE TABLE l (id BIGINT PRIMARY KEY, v {kind})"),
        )
        .await;
        sql(
            &engine,
            &format!("CREATE INDEX i ON l USING {method} (v {class}) WITH ({options})"),
        )
        .await;
        let value = |id: u8| {
            if operator == "<~>" || operator == "<%>" {
                return format!("{id:08b}");
            }
            let numbers: Vec<String> = (0..8).map(|bit| (id >> bit & 1).to_string()).collect();
            format!("[{}]", numbers.join(","))
        };
        let rows: Vec<String> = (1..=200).map(|id| format!("({id}, '{}')", value(id))).collect();
        sql(&engine, &format!("INSERT INTO l VALUES {}", rows.join(", "))).await;
        let wanted = value(77);
        let found = sql(
            &engine,
            &format!("SELECT id FROM l ORDER BY v {operator} '{wanted}', id LIMIT 1"),
        )
        .await;
        assert_eq!(ints(&found.batches), [77], "{kind} {method}");
        sql(&engine, "DROP TABLE l").await;
    }
    sql(
        &engine,
        "CREATE TABLE l (id BIGINT PRIMARY KEY, v INT8_VECTOR(8), h HALFVEC(8), b BIT(8))",
    )
    .await;
    for (statement, message) in [
        ("ivf_flat (v)", "not supported: index type IVF_FLAT on field 'v'"),
        ("ivf_flat (b)", "not supported: index type IVF_FLAT on field 'b'"),
        (
            "bin_ivf_flat (h)",
            "not supported: index type BIN_IVF_FLAT on field 'h'",
        ),
        (
            "ivf_pq (h) WITH (m = 3)",
            "the dimension should be a multiple of 'm'",
        ),
        (
            "ivf_flat (h) WITH (nlist = 0)",
            "param 'nlist' (0) should be in range [1, 65536]",
        ),
    ] {
        let error = sql_error(&engine, &format!("CREATE INDEX i ON l USING {statement}")).await;
        assert!(error.contains(message), "{statement}: {error}");
    }
}

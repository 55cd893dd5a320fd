//! Bulk ingest: all rows of a call or none of them, whatever goes wrong.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::TableDefinitionOptions;
use arrow_flight::sql::{
    CommandStatementIngest, DoPutUpdateResult, ProstMessageExt, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{FlightData, FlightDescriptor};
use flight_prost::Message;
use flight_tonic::{Code, Status};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::support::{Server, ints, query, refused, status, texts};

fn command(table: &str, absent: TableNotExistOption, present: TableExistsOption) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: absent.into(),
            if_exists: present.into(),
        }),
        table: table.to_string(),
        schema: None,
        catalog: None,
        temporary: false,
        transaction_id: None,
        options: Default::default(),
    }
}

fn create() -> CommandStatementIngest {
    command("docs", TableNotExistOption::Create, TableExistsOption::Fail)
}

fn append() -> CommandStatementIngest {
    command("docs", TableNotExistOption::Fail, TableExistsOption::Append)
}

/// The rows `from..to` of the columns `id` and `v`, a vector of `dim` dimensions.
fn rows(from: i64, to: i64, dim: i32) -> RecordBatch {
    let count = usize::try_from(to - from).unwrap() * usize::try_from(dim).unwrap();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let floats = Float32Array::from_iter_values((0..count).map(|n| n as f32));
    let v = FixedSizeListArray::new(Arc::clone(&item), dim, Arc::new(floats), None);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::FixedSizeList(item, dim), false),
    ]);
    let id = Int64Array::from_iter_values(from..to);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(id), Arc::new(v)]).unwrap()
}

async fn ingest(
    server: &Server,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<i64, Status> {
    let mut client = server.client().await;
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    client.execute_ingest(command, batches).await.map_err(status)
}

/// An upload as the messages that travel.
fn messages(
    command: &CommandStatementIngest,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    dictionaries: DictionaryHandling,
) -> impl Stream<Item = FlightData> + use<> {
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_schema(schema)
        .with_dictionary_handling(dictionaries)
        .build(futures::stream::iter(
            batches.into_iter().map(Ok::<_, FlightError>),
        ))
        .map(|message| message.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_appended_to_and_replaced() {
    let server = Server::start().await;
    assert_eq!(
        ingest(&server, create(), vec![rows(0, 10, 2), rows(10, 15, 2)])
            .await
            .unwrap(),
        15
    );
    refused(
        ingest(&server, create(), vec![rows(0, 1, 2)]).await,
        Code::AlreadyExists,
        "docs",
    );
    assert_eq!(ingest(&server, append(), vec![rows(15, 20, 2)]).await.unwrap(), 5);
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 20);
    let replace = command("docs", TableNotExistOption::Create, TableExistsOption::Replace);
    assert_eq!(ingest(&server, replace, vec![rows(0, 3, 4)]).await.unwrap(), 3);
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 3);
    assert_eq!(server.int("SELECT vector_dims(v) FROM docs LIMIT 1").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ingest_asks_for_and_is_not_there_is_refused() {
    let server = Server::start().await;
    refused(
        ingest(&server, append(), vec![rows(0, 1, 2)]).await,
        Code::NotFound,
        "docs",
    );
    let fail = TableExistsOption::Fail;
    let odd = command("docs", TableNotExistOption::Fail, fail);
    refused(
        ingest(&server, odd, vec![rows(0, 1, 2)]).await,
        Code::InvalidArgument,
        "not one of create, append, replace",
    );
    let temporary = CommandStatementIngest {
        temporary: true,
        ..create()
    };
    refused(
        ingest(&server, temporary, vec![rows(0, 1, 2)]).await,
        Code::Unimplemented,
        "not supported: temporary tables",
    );
    let elsewhere = CommandStatementIngest {
        catalog: Some("elsewhere".to_string()),
        ..create()
    };
    refused(
        ingest(&server, elsewhere, vec![rows(0, 1, 2)]).await,
        Code::NotFound,
        "catalog 'elsewhere' not found; the only one is 'elanus'",
    );
    let nowhere = CommandStatementIngest {
        schema: Some("nowhere".to_string()),
        ..create()
    };
    refused(
        ingest(&server, nowhere, vec![rows(0, 1, 2)]).await,
        Code::NotFound,
        "nowhere",
    );
    assert!(server.engine.collections().list("default").unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_leaves_nothing_of_its_call() {
    let server = Server::start().await;
    server
        .sql("CREATE TABLE docs (id BIGINT PRIMARY KEY, v VECTOR(2) NOT NULL, name VARCHAR(3))")
        .await;
    let named = |name: &str| {
        let batch = rows(0, 1, 2);
        let mut fields = batch.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("name", DataType::Utf8, true)));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(StringArray::from(vec![name])) as ArrayRef);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let batches = vec![named("abc"), named("abc"), named("too long")];
    refused(
        ingest(&server, append(), batches).await,
        Code::InvalidArgument,
        "max length",
    );
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 0);
    refused(
        ingest(&server, append(), vec![rows(0, 5, 3)]).await,
        Code::InvalidArgument,
        "dim",
    );
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_for_bad_rows_is_not_there() {
    let server = Server::start().await;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let floats = Float32Array::from(vec![1.0, f32::NAN]);
    let v: ArrayRef = Arc::new(FixedSizeListArray::new(
        Arc::clone(&item),
        2,
        Arc::new(floats),
        None,
    ));
    let batch =
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("v", v)])
            .unwrap();
    let error = ingest(&server, create(), vec![rows(0, 9, 2), batch])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert!(server.engine.collections().list("default").unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_has_written_nothing() {
    let server = Server::start().await;
    ingest(&server, create(), vec![rows(0, 5, 2)]).await.unwrap();
    let mut plain = server.plain().await;
    let batch = rows(5, 10, 2);
    let first = messages(
        &append(),
        batch.schema(),
        vec![batch],
        DictionaryHandling::Hydrate,
    );
    // The upload never ends: the server waits for more when the client goes.
    let (sent, mut all_sent) = tokio::sync::mpsc::channel::<()>(1);
    let upload = first.chain(futures::stream::once(async move {
        sent.send(()).await.unwrap();
        std::future::pending::<FlightData>().await
    }));
    let put = tokio::spawn(async move { plain.do_put(upload).await.map(|_| ()) });
    all_sent.recv().await.unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    // A later write is not behind it.
    assert_eq!(ingest(&server, append(), vec![rows(10, 12, 2)]).await.unwrap(), 2);
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_batches_are_an_error_and_leave_nothing() {
    let server = Server::start().await;
    ingest(&server, create(), vec![rows(0, 5, 2)]).await.unwrap();
    let batch = rows(5, 10, 2);
    let mut upload: Vec<_> = messages(
        &append(),
        batch.schema(),
        vec![batch],
        DictionaryHandling::Hydrate,
    )
    .collect()
    .await;
    let last = upload.last_mut().unwrap();
    last.data_body = last.data_body.slice(..last.data_body.len() / 2);
    let mut plain = server.plain().await;
    let put = plain.do_put(futures::stream::iter(upload)).await;
    let error = put.map(|_| ()).unwrap_err();
    assert_ne!(error.code(), Code::Ok);
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 5);
    let mut client = server.client().await;
    assert_eq!(
        ints(&query(&mut client, "SELECT count(*) FROM docs").await.unwrap()),
        [5]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_with_dictionaries_are_ingested_as_their_values() {
    for dictionaries in [DictionaryHandling::Hydrate, DictionaryHandling::Resend] {
        let server = Server::start().await;
        let words = ["red", "green", "red", "blue"];
        let batch = |from: i64| {
            let colours: DictionaryArray<Int32Type> = words.into_iter().collect();
            RecordBatch::try_from_iter([
                (
                    "id",
                    Arc::new(Int64Array::from_iter_values(from..from + 4)) as ArrayRef,
                ),
                ("colour", Arc::new(colours) as ArrayRef),
            ])
            .unwrap()
        };
        let upload = messages(
            &create(),
            batch(0).schema(),
            vec![batch(0), batch(4)],
            dictionaries,
        );
        let mut plain = server.plain().await;
        let put = plain.do_put(upload).await.unwrap().into_inner();
        let answer: Vec<_> = put.try_collect().await.unwrap();
        let result = DoPutUpdateResult::decode(&*answer[0].app_metadata).unwrap();
        assert_eq!(result.record_count, 8);
        let mut client = server.client().await;
        let found = query(&mut client, "SELECT colour FROM docs ORDER BY id")
            .await
            .unwrap();
        assert_eq!(texts(&found), [words, words].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_one_write() {
    let server = Server::start().await;
    assert_eq!(
        ingest(&server, create(), vec![rows(0, 100_000, 32)])
            .await
            .unwrap(),
        100_000
    );
    assert_eq!(server.int("SELECT count(DISTINCT id) FROM docs").await, 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_are_no_error() {
    let server = Server::start().await;
    assert_eq!(ingest(&server, create(), vec![rows(0, 0, 2)]).await.unwrap(), 0);
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 0);
}

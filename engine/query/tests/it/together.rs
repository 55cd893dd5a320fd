//! UPDATE and DELETE with many rows of parameters: as if they ran one after the other, in one write where they may.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use elanus_query::{Answer, DEFAULT_DATABASE, Engine, QueryError};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::{engine, ints, line, sql};

/// Statements over `(id, n)` with the values `$1` (INTEGER) and `$2` (BIGINT).
const CHANGES: [&str; 10] = [
    "UPDATE t SET n = $1 WHERE id = $2",
    "UPDATE t AS x SET n = x.n * 3 + $1 WHERE $2 = x.id AND x.id < 6",
    "UPDATE t SET n = $1 WHERE n = CAST($2 AS INTEGER)",
    "UPDATE t SET n = $1 WHERE id = $2 AND n > 2",
    "UPDATE t SET id = $2, n = n + 1 WHERE n = $1",
    "UPDATE t SET v = ARRAY[n, $1] WHERE id = $2",
    "UPDATE t SET n = n + $1 WHERE id >= $2",
    "UPDATE t SET n = n + $1 WHERE id = $2 AND id IN (SELECT id FROM t WHERE n > 1)",
    "DELETE FROM t WHERE id = $2 AND n <> $1",
    "DELETE FROM t WHERE n = $1 AND (SELECT count(*) FROM t) > 5 AND $2 > 0",
];

fn values(rows: &[(Option<i32>, Option<i64>)]) -> RecordBatch {
    let (first, second): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(Int32Array::from(first))),
        ("id", Arc::new(Int64Array::from(second))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

async fn affected(engine: &Engine, text: &str, values: RecordBatch) -> Result<u64, QueryError> {
    let session = engine.session(DEFAULT_DATABASE)?;
    let prepared = engine.prepare(&session, text).await?;
    match engine.execute(&session, &prepared, Some(values)).await? {
        Answer::Affected(rows) => Ok(rows),
        other @ (Answer::Rows(_) | Answer::Done) => panic!("{other:?}"),
    }
}

async fn table(engine: &Engine) -> String {
    let all = sql(engine, "SELECT id, n, v FROM t ORDER BY id, n").await;
    arrow::util::pretty::pretty_format_batches(&all.batches)
        .unwrap()
        .to_string()
}

proptest! {
    #![proptest_config(Config::with_cases(24))]

    #[test]
    fn many_changes_are_as_one_after_the_other(
        statement in prop::sample::select(&CHANGES[..]),
        rows in prop::collection::vec((prop::option::weighted(0.9, 0..8i32), prop::option::weighted(0.9, 0..12i64)), 2..8),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (together, apart) = (engine().await, engine().await);
            line(&together, 10).await;
            line(&apart, 10).await;
            let counted = affected(&together, statement, values(&rows)).await;
            let mut summed = Ok(0);
            for row in &rows {
                summed = match affected(&apart, statement, values(&[*row])).await {
                    Ok(count) => summed.map(|sum: u64| sum + count),
                    Err(error) => Err(error),
                };
                if summed.is_err() {
                    break;
                }
            }
            match (counted, summed) {
                (Ok(counted), Ok(summed)) => {
                    assert_eq!(counted, summed, "{statement} {rows:?}");
                    assert_eq!(table(&together).await, table(&apart).await, "{statement} {rows:?}");
                }
                // NULL where there must be a value: both say so.
                (Err(one), Err(other)) => {
                    // Rows are counted from the first of what is written together.
                    let plain = |error: String| error.replace(char::is_numeric, "");
                    assert_eq!(plain(one.to_string()), plain(other.to_string()));
                }
                (one, other) => panic!("{statement} {rows:?}: {one:?} but {other:?}"),
            }
        });
    }
}

#[tokio::test]
async fn changes_of_different_rows_are_one_write() {
    let engine = engine().await;
    line(&engine, 10).await;
    let update = "UPDATE t SET n = $1 WHERE id = $2";
    let bad = values(&[(Some(70), Some(7)), (None, Some(8))]);
    let error = affected(&engine, update, bad).await.unwrap_err().to_string();
    assert!(error.contains("'n'"), "{error}");
    let changed = sql(&engine, "SELECT id FROM t WHERE n = 70").await;
    assert_eq!(ints(&changed.batches), Vec::<i64>::new());
    // The same row twice: one after the other, the last one stays.
    let twice = values(&[(Some(70), Some(7)), (Some(71), Some(7))]);
    assert_eq!(affected(&engine, update, twice).await.unwrap(), 2);
    assert_eq!(
        ints(&sql(&engine, "SELECT id FROM t WHERE n = 71").await.batches),
        [7]
    );
}

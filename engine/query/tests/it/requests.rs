//! The typed requests: search, query, count, delete.

use std::sync::Arc;

use elanus_collection::{Collection, Error, Keys};
use elanus_index::Metric;
use elanus_query::{
    Engine, FilterText, Grouping, JsonCast, QueryError, QueryRequest, Scoring, SearchRequest,
};

use crate::support::{engine, filter_of, ints, line, query, scores, search, sql};

#[tokio::test]
async fn a_search_gives_the_nearest_rows_best_first_with_scores() {
    let engine = engine().await;
    let t = line(&engine, 50).await;
    let found = engine.search(search(&t, &[20.2, 0.0], 3)).await.unwrap();
    assert_eq!(found.counts, [3]);
    assert_eq!(ints(std::slice::from_ref(&found.rows)), [20, 21, 19]);
    assert_eq!(found.scoring, Scoring::Metric(Metric::L2.into()));
    let expected = [0.04, 0.64, 1.44];
    assert!(
        scores(&found.rows)
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-4)
    );
}

#[tokio::test]
async fn several_queries_are_answered_in_their_order() {
    let engine = engine().await;
    let t = line(&engine, 50).await;
    let found = engine
        .search(search(&t, &[5.0, 0.0, 40.0, 0.0, -9.0, 0.0], 2))
        .await
        .unwrap();
    assert_eq!(found.counts, [2, 2, 2]);
    assert_eq!(ints(&[found.rows]), [5, 4, 40, 39, 0, 1]);
}

#[tokio::test]
async fn an_offset_skips_rows_of_each_query() {
    let engine = engine().await;
    let t = line(&engine, 4).await;
    let request = SearchRequest {
        offset: 2,
        ..search(&t, &[0.0, 0.0, 3.0, 0.0], 3)
    };
    let found = engine.search(request).await.unwrap();
    assert_eq!(found.counts, [2, 2]);
    assert_eq!(ints(&[found.rows]), [2, 3, 1, 0]);
}

/// Six rows at one place, in three segments, whose keys do not ascend.
async fn rows_at_one_place(engine: &Engine) -> Arc<Collection> {
    let t = line(engine, 0).await;
    for ids in [[9, 3], [7, 1], [8, 2]] {
        let rows = ids.map(|id| format!("({id}, {}, '[1,1]')", id % 3)).join(", ");
        sql(engine, &format!("INSERT INTO t VALUES {rows}")).await;
        t.flush().await.unwrap();
    }
    t
}

#[tokio::test]
async fn equal_distances_come_in_key_order() {
    let engine = engine().await;
    let t = rows_at_one_place(&engine).await;
    let found = engine.search(search(&t, &[1.0, 1.0], 6)).await.unwrap();
    assert_eq!(ints(&[found.rows]), [1, 2, 3, 7, 8, 9]);
}

#[tokio::test]
async fn pages_of_equal_distances_have_every_row_once() {
    let engine = engine().await;
    let t = rows_at_one_place(&engine).await;
    let groups = |by: &str, size| Grouping {
        by: vec![by.to_string()],
        json: JsonCast::default(),
        size,
        fill: true,
    };
    for group in [None, Some(groups("id", 1))] {
        for size in 1..=4 {
            let mut all = Vec::new();
            for offset in (0..8).step_by(size) {
                let request = SearchRequest {
                    offset,
                    group: group.clone(),
                    ..search(&t, &[1.0, 1.0], size)
                };
                let page = ints(&[engine.search(request).await.unwrap().rows]);
                assert!(page.is_sorted(), "{page:?}");
                all.extend(page);
            }
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 7, 8, 9], "pages of {size}, {group:?}");
        }
    }
    let page = |offset, limit| SearchRequest {
        offset,
        group: Some(groups("n", 2)),
        ..search(&t, &[1.0, 1.0], limit)
    };
    let of_page = async |offset, limit| ints(&[engine.search(page(offset, limit)).await.unwrap().rows]);
    assert_eq!(of_page(0, 3).await, [1, 7, 2, 8, 3, 9]);
    let pages = [of_page(0, 1).await, of_page(1, 1).await, of_page(2, 1).await];
    for group in [[1, 7], [2, 8], [3, 9]] {
        assert!(pages.contains(&group.to_vec()), "{pages:?}");
    }
}

#[tokio::test]
async fn the_filter_is_inside_the_search() {
    let engine = engine().await;
    let t = line(&engine, 200).await;
    let request = SearchRequest {
        filter: filter_of("n == 7 and id > 100"),
        ..search(&t, &[0.0, 0.0], 3)
    };
    assert_eq!(
        ints(&[engine.search(request.clone()).await.unwrap().rows]),
        [107, 117, 127]
    );
    // the bits of the filter are kept, and a delete makes them stale
    sql(&engine, "DELETE FROM t WHERE id = 107").await;
    assert_eq!(
        ints(&[engine.search(request).await.unwrap().rows]),
        [117, 127, 137]
    );
}

#[tokio::test]
async fn a_filter_on_keys_finds_them_in_every_segment() {
    let engine = engine().await;
    let t = line(&engine, 20).await;
    sql(&engine, "INSERT INTO t VALUES (100, 3, '[100, 0]')").await;
    let request = SearchRequest {
        filter: filter_of("id in [3, 100, 999] and n == 3"),
        ..search(&t, &[0.0, 0.0], 5)
    };
    assert_eq!(ints(&[engine.search(request).await.unwrap().rows]), [3, 100]);
}

#[tokio::test]
async fn collections_with_equal_filters_do_not_answer_for_each_other() {
    let engine = engine().await;
    // a table dropped and made again is another one as well
    for ids in [[1, 2, 3], [4, 5, 6]] {
        sql(&engine, "DROP TABLE IF EXISTS t").await;
        let t = line(&engine, 0).await;
        let values: Vec<String> = ids
            .iter()
            .map(|id| format!("({id}, {}, '[{id}, 0]')", id % 2))
            .collect();
        sql(&engine, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        let expected: Vec<i64> = ids.into_iter().filter(|id| id % 2 == 1).collect();
        let found = engine.query(query(&t, "n == 1")).await.unwrap();
        assert_eq!(ints(&[found]), expected);
        let rows = sql(&engine, "SELECT id FROM t WHERE n = 1 ORDER BY id").await;
        assert_eq!(ints(&rows.batches), expected);
        t.release(None).await.unwrap();
    }
}

#[tokio::test]
async fn growing_rows_can_be_left_out() {
    let engine = engine().await;
    let t = line(&engine, 5).await;
    sql(&engine, "INSERT INTO t VALUES (100, 0, '[2, 0]')").await;
    let all = engine.search(search(&t, &[2.0, 0.0], 2)).await.unwrap();
    assert_eq!(ints(&[all.rows]), [2, 100]);
    let sealed = SearchRequest {
        ignore_growing: true,
        ..search(&t, &[2.0, 0.0], 2)
    };
    assert_eq!(ints(&[engine.search(sealed).await.unwrap().rows]), [2, 1]);
}

#[tokio::test]
async fn partitions_are_searched_by_name() {
    let engine = engine().await;
    let t = line(&engine, 5).await;
    t.create_partition("late").await.unwrap();
    let empty = SearchRequest {
        partitions: vec!["late".into()],
        ..search(&t, &[2.0, 0.0], 2)
    };
    assert_eq!(engine.search(empty.clone()).await.unwrap().counts, [0]);
    let unknown = SearchRequest {
        partitions: vec!["nowhere".into()],
        ..empty
    };
    let error = engine.search(unknown).await.unwrap_err();
    assert!(
        matches!(error, QueryError::Collection(Error::PartitionNotFound { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn another_metric_than_the_indexes_is_searched_exactly() {
    let engine = engine().await;
    let t = line(&engine, 30).await;
    let request = SearchRequest {
        metric: Some(Metric::Ip.into()),
        ..search(&t, &[1.0, 0.0], 2)
    };
    let found = engine.search(request).await.unwrap();
    assert_eq!(ints(std::slice::from_ref(&found.rows)), [29, 28]);
    assert_eq!(scores(&found.rows), [29.0, 28.0]);
}

#[tokio::test]
async fn an_answer_that_memory_may_not_hold_is_refused_by_what_is_there() {
    let engine = engine().await;
    let t = line(&engine, 1_100).await;
    let request = SearchRequest {
        nq: 16_384,
        queries: vec![1.0; 32_768].into(),
        limit: 16_384,
        ..search(&t, &[1.0, 0.0], 2)
    };
    let error = engine.search(request.clone()).await.unwrap_err().to_string();
    assert!(error.contains("find 18022400 rows: at most 16777216"), "{error}");
    let few = SearchRequest {
        filter: filter_of("id < 2"),
        ..request
    };
    assert_eq!(engine.search(few).await.unwrap().rows.num_rows(), 32_768);
}

#[tokio::test]
async fn what_a_search_cannot_do_is_said() {
    let engine = engine().await;
    let t = line(&engine, 5).await;
    let good = search(&t, &[1.0, 0.0], 2);
    let cases = [
        (
            SearchRequest {
                limit: 0,
                ..good.clone()
            },
            "limit is at least 1",
        ),
        (
            SearchRequest {
                offset: 20_000,
                ..good.clone()
            },
            "at most 16384",
        ),
        (
            SearchRequest {
                queries: vec![1.0; 3].into(),
                ..good.clone()
            },
            "dimension 3",
        ),
        (
            SearchRequest {
                field: "w".into(),
                ..good.clone()
            },
            "vector fields are v",
        ),
        (
            SearchRequest {
                field: "n".into(),
                ..good.clone()
            },
            "not a vector field",
        ),
        (
            SearchRequest {
                output: vec!["idd".into()],
                ..good.clone()
            },
            "did you mean id?",
        ),
        (
            SearchRequest {
                filter: filter_of("n =="),
                ..good.clone()
            },
            "cannot parse expression",
        ),
        (
            SearchRequest {
                filter: filter_of("m == 1"),
                ..good
            },
            "m",
        ),
    ];
    for (request, expected) in cases {
        let error = engine.search(request).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected}");
    }
}

#[tokio::test]
async fn a_released_collection_is_not_searched() {
    let engine = engine().await;
    let t = line(&engine, 5).await;
    t.release(None).await.unwrap();
    let error = engine.search(search(&t, &[1.0, 0.0], 2)).await.unwrap_err();
    assert!(
        matches!(error, QueryError::Collection(Error::CollectionNotLoaded { .. })),
        "{error}"
    );
    let error = engine.count(query(&t, "")).await.unwrap_err();
    assert!(
        matches!(error, QueryError::Collection(Error::CollectionNotLoaded { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_query_gives_rows_in_key_order() {
    let engine = engine().await;
    let t = line(&engine, 0).await;
    sql(&engine, "INSERT INTO t VALUES (5, 1, '[0,0]'), (3, 1, '[0,0]')").await;
    t.flush().await.unwrap();
    sql(
        &engine,
        "INSERT INTO t VALUES (4, 1, '[0,0]'), (9, 2, '[0,0]'), (1, 1, '[0,0]')",
    )
    .await;
    assert_eq!(
        ints(&[engine.query(query(&t, "")).await.unwrap()]),
        [1, 3, 4, 5, 9]
    );
    let page = QueryRequest {
        limit: Some(2),
        offset: 1,
        ..query(&t, "n == 1")
    };
    assert_eq!(ints(&[engine.query(page).await.unwrap()]), [3, 4]);
    let beyond = QueryRequest {
        limit: Some(2),
        offset: 10,
        ..query(&t, "n == 1")
    };
    assert_eq!(engine.query(beyond).await.unwrap().num_rows(), 0);
}

#[tokio::test]
async fn a_query_by_keys_may_have_a_filter_too() {
    let engine = engine().await;
    let t = line(&engine, 20).await;
    let keys = Some(Keys::Int64(vec![12, 3, 77, 3]));
    let request = QueryRequest {
        keys,
        ..query(&t, "")
    };
    assert_eq!(ints(&[engine.query(request.clone()).await.unwrap()]), [3, 12]);
    let request = QueryRequest {
        filter: filter_of("n == 2"),
        ..request
    };
    assert_eq!(ints(&[engine.query(request.clone()).await.unwrap()]), [12]);
    assert_eq!(engine.count(request).await.unwrap(), 1);
}

#[tokio::test]
async fn counting_is_exact_after_deletes() {
    let engine = engine().await;
    let t = line(&engine, 100).await;
    assert_eq!(engine.count(query(&t, "")).await.unwrap(), 100);
    let filter = FilterText {
        text: "n in [1, 2]".into(),
        ..FilterText::default()
    };
    let deleted = engine
        .delete_where(Arc::clone(&t), filter.clone(), Vec::new())
        .await
        .unwrap();
    assert_eq!(deleted.rows, 20);
    assert_eq!(engine.count(query(&t, "")).await.unwrap(), 80);
    assert_eq!(engine.count(query(&t, "n < 5")).await.unwrap(), 30);
    let again = engine.delete_where(t, filter, Vec::new()).await.unwrap();
    assert_eq!(again.rows, 0);
}

#[tokio::test]
async fn a_search_explains_itself_as_operators() {
    let engine = engine().await;
    let t = line(&engine, 30).await;
    let request = SearchRequest {
        filter: filter_of("n == 3"),
        ..search(&t, &[1.0, 0.0, 2.0, 0.0], 4)
    };
    let plan = engine.explain_search(&request).unwrap();
    for operator in [
        "TakeRowsExec: table=t, columns=[id]",
        "TopKPerQueryExec: k=4",
        "AnnSearchExec: table=t, column=v",
    ] {
        assert!(plan.contains(operator), "{plan}");
    }
}

//! Scorers against services that answer well, badly and not at all.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use axum::routing::post;
use axum::{Json, Router};
use elanus_services::{Options, Provider, ServiceAccess, ServiceError, TextScorer};
use serde_json::{Value, json};

/// What a service makes of a body.
type Answer = fn(Value) -> Value;

/// A service that answers `POST /rerank` with what `answer` makes of the body.
async fn service(answer: Answer) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route(
        "/rerank",
        post(move |Json(body): Json<Value>| async move { Json(answer(body)) }),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn scorer(provider: Provider, address: &str, options: Options) -> TextScorer {
    let access = ServiceAccess::to(&[address.to_owned()]).unwrap();
    TextScorer::new(provider, address, options, &access).unwrap()
}

/// The length of each text, in an order of the service's own.
fn lengths(texts: &Value) -> Vec<(usize, usize)> {
    let texts = texts.as_array().unwrap().iter().enumerate();
    let mut lengths: Vec<_> = texts
        .map(|(index, text)| (index, text.as_str().unwrap().len()))
        .collect();
    lengths.reverse();
    lengths
}

#[tokio::test]
async fn every_text_has_its_score_batch_by_batch() {
    let tei = service(|body| {
        assert_eq!(body["query"], "q");
        assert_eq!(body["truncate"], true);
        assert!(body["texts"].as_array().unwrap().len() <= 2);
        let lengths = lengths(&body["texts"]);
        lengths
            .iter()
            .map(|(index, length)| json!({"index": index, "score": length}))
            .collect()
    })
    .await;
    let options = Options {
        batch: Some(2),
        truncate: Some(true),
        ..Default::default()
    };
    let texts = ["a", "", "ccc", "bb", "eeeee"];
    let scores = scorer(Provider::Tei, &tei, options).scores("q", &texts).await;
    assert_eq!(scores.unwrap(), [1.0, 0.0, 3.0, 2.0, 5.0]);

    let vllm = service(|body| {
        assert_eq!(body["truncate_prompt_tokens"], 7);
        let lengths = lengths(&body["documents"]);
        let results: Vec<_> = lengths
            .iter()
            .map(|(index, length)| json!({"index": index, "relevance_score": length}))
            .collect();
        json!({"id": "x", "results": results})
    })
    .await;
    let options = Options {
        truncate_prompt_tokens: Some(7),
        ..Default::default()
    };
    let scorer = scorer(Provider::Vllm, &vllm, options);
    assert_eq!(
        scorer.scores("q", &texts).await.unwrap(),
        [1.0, 0.0, 3.0, 2.0, 5.0]
    );
    assert_eq!(scorer.scores("q", &[]).await.unwrap(), [0.0_f32; 0]);
}

#[tokio::test]
async fn answers_that_are_no_scores_are_errors() {
    let failures: [(Answer, &str); 6] = [
        (|_| json!([{"index": 0, "score": 1}]), "1 scores for 2 texts"),
        (
            |_| json!([{"index": 0, "score": 1}, {"index": 0, "score": 1}]),
            "two scores for text 0",
        ),
        (
            |_| json!([{"index": 0, "score": 1}, {"index": 2, "score": 1}]),
            "a score for text 2 of 2",
        ),
        (
            |_| json!([{"index": 0, "score": 1e39}, {"index": 1, "score": 1}]),
            "the score of text 0 is inf",
        ),
        (|_| json!({"error": "no model"}), "no scores"),
        (|_| json!("x".repeat(17 << 20)), "an answer of more than"),
    ];
    for (answer, what) in failures {
        let address = service(answer).await;
        let scorer = scorer(Provider::Tei, &address, Options::default());
        let error = scorer.scores("q", &["a", "b"]).await.unwrap_err();
        assert!(matches!(error, ServiceError::Failed(_)));
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
    // Nobody listens on a port that was just given back.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = scorer(Provider::Tei, &address, Options::default())
        .scores("q", &["a"])
        .await;
    assert!(matches!(error, Err(ServiceError::Failed(_))), "{error:?}");
    // A listener that never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let options = Options {
        timeout_ms: Some(50),
        ..Default::default()
    };
    let error = scorer(Provider::Tei, &address, options)
        .scores("q", &["a"])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed_and_a_status_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let elsewhere = || async { axum::response::Redirect::temporary("http://127.0.0.1:1/") };
    let router = Router::new().route("/rerank", post(elsewhere));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let error = scorer(Provider::Vllm, &address, Options::default())
        .scores("q", &["a"])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("status 307"), "{error}");
}

#[test]
fn options_are_checked() {
    let access = ServiceAccess::to(&["http://h".into()]).unwrap();
    let error = |provider, options| {
        TextScorer::new(provider, "http://h/x", options, &access)
            .unwrap_err()
            .to_string()
    };
    let options = |batch| Options {
        batch,
        ..Default::default()
    };
    assert!(error(Provider::Tei, options(Some(0))).contains("must be greater than 0"));
    let direction = Options {
        truncation_direction: Some("Up".into()),
        ..Default::default()
    };
    assert!(error(Provider::Tei, direction.clone()).contains("[Left/Right]"));
    let left = Options {
        truncation_direction: Some("Left".into()),
        ..Default::default()
    };
    assert!(error(Provider::Vllm, left).contains("vllm has no parameter truncation_direction"));
}

//! Scorers against services that answer well, badly and not at all.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use axum::{Json, Router};
use elanus_services::{ApiKey, Options, Provider, ProviderSettings, ServiceAccess, ServiceError, TextScorer};
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
    let endpoint = Some(address.to_owned());
    TextScorer::new(provider, Options { endpoint, ..options }, &access).unwrap()
}

fn more(options: &[(&str, Value)]) -> BTreeMap<String, Value> {
    options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
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
        more: more(&[("truncate", json!(true))]),
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
        more: more(&[("truncate_prompt_tokens", json!(7))]),
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

/// What a hosted provider was asked: the path, the key and the body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A hosted provider that scores texts by their lengths, in the form that `answer` gives it.
async fn hosted(answer: fn(Vec<(usize, usize)>) -> Value) -> (String, Asked) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let all = move |uri: Uri, headers: HeaderMap, Json(body): Json<Value>| async move {
        let key = headers
            .get("authorization")
            .map(|key| key.to_str().unwrap().to_owned());
        let texts = [
            &body["documents"],
            &body["input"]["documents"],
            &body["inputs"]["sentences"],
        ];
        let texts = texts.into_iter().find(|texts| texts.is_array()).unwrap();
        let answer = answer(lengths(texts));
        seen.lock()
            .unwrap()
            .push((uri.path().to_owned(), key.unwrap_or_default(), body));
        Json(answer)
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(all))).await });
    (address, asked)
}

fn relevance(lengths: Vec<(usize, usize)>) -> Value {
    let scores = lengths.into_iter();
    scores
        .map(|(index, length)| json!({"index": index, "relevance_score": length}))
        .collect()
}

#[tokio::test]
async fn hosted_providers_are_asked_in_their_own_words() {
    type Form = fn(Vec<(usize, usize)>) -> Value;
    // The provider, its answer, the path, what is sent along, and the body.
    type Case<'a> = (Provider, Form, &'a str, &'a [(&'a str, Value)], Value);
    let results: Form = |lengths| json!({"results": relevance(lengths)});
    let flat: Form = |mut lengths| {
        lengths.sort_unstable();
        lengths.into_iter().map(|(_, length)| json!(length)).collect()
    };
    let plain = json!({"model": "m/x", "query": "q", "documents": ["a", "ccc"]});
    let with = |name: &str, value: Value| {
        let mut body = plain.clone();
        body[name] = value;
        body
    };
    let cases: [Case<'_>; 5] = [
        (
            Provider::Cohere,
            results,
            "/own",
            &[("max_tokens_per_doc", json!(9))],
            with("max_tokens_per_doc", json!(9)),
        ),
        (
            Provider::VoyageAi,
            |lengths| json!({"object": "list", "data": relevance(lengths)}),
            "/own",
            &[("truncation", json!(false))],
            with("truncation", json!(false)),
        ),
        (
            Provider::SiliconFlow,
            results,
            "/own",
            &[("overlap_tokens", json!(3))],
            with("overlap_tokens", json!(3)),
        ),
        (
            Provider::Ali,
            |lengths| json!({"output": {"results": relevance(lengths)}, "request_id": "r"}),
            "/own",
            &[],
            json!({"model": "m/x", "input": {"query": "q", "documents": ["a", "ccc"]}}),
        ),
        (
            Provider::HuggingFace,
            flat,
            "/own/hf-inference/models/m/x/pipeline/sentence-similarity",
            &[("hf_provider", json!("hf-inference"))],
            json!({"inputs": {"source_sentence": "q", "sentences": ["a", "ccc"]}}),
        ),
    ];
    for (provider, answer, path, given, body) in cases {
        let (address, asked) = hosted(answer).await;
        let settings = ProviderSettings {
            url: Some(format!("{address}/own")),
            ..ProviderSettings::default()
        };
        let keys = BTreeMap::from([("team".to_owned(), ApiKey::from("secret".to_owned()))]);
        let access = ServiceAccess::to(&[address]).unwrap().with_keys(keys);
        let access = access.with_provider(provider, settings);
        let options = Options {
            model: Some("m/x".into()),
            credential: Some("team".into()),
            more: more(given),
            ..Options::default()
        };
        let scorer = TextScorer::new(provider, options, &access).unwrap();
        assert!(!format!("{scorer:?}").contains("secret"));
        assert_eq!(
            scorer.scores("q", &["a", "ccc"]).await.unwrap(),
            [1.0, 3.0],
            "{provider:?}"
        );
        let asked = asked.lock().unwrap();
        assert_eq!(
            *asked,
            [(path.to_owned(), "Bearer secret".to_owned(), body)],
            "{provider:?}"
        );
    }
}

#[tokio::test]
async fn one_s_own_services_need_no_key() {
    let (address, asked) = hosted(|lengths| {
        let scores = lengths.into_iter();
        scores
            .map(|(index, length)| json!({"index": index, "score": length}))
            .collect()
    })
    .await;
    let options = Options {
        model: Some("m".into()),
        ..Options::default()
    };
    let scorer = scorer(Provider::SgLang, &address, options);
    assert_eq!(scorer.scores("q", &["bb", ""]).await.unwrap(), [2.0, 0.0]);
    let (path, key, _) = asked.lock().unwrap().pop().unwrap();
    assert_eq!((path.as_str(), key.as_str()), ("/v1/rerank", ""));
}

#[test]
fn options_are_checked() {
    let here = || Options {
        endpoint: Some("http://h/x".into()),
        ..Options::default()
    };
    let hosted = || Options {
        model: Some("m".into()),
        ..Options::default()
    };
    let access = ServiceAccess::to(&["http://h".into()]).unwrap();
    let error_with = |access: &ServiceAccess, provider, options| {
        TextScorer::new(provider, options, access)
            .unwrap_err()
            .to_string()
    };
    let error = |provider, options| error_with(&access, provider, options);
    let none = Options {
        batch: Some(0),
        ..here()
    };
    assert!(error(Provider::Tei, none).contains("must be greater than 0"));
    let direction = |side: &str| Options {
        more: more(&[("truncation_direction", json!(side))]),
        ..here()
    };
    assert!(error(Provider::Tei, direction("Up")).contains("[Left/Right]"));
    assert!(error(Provider::Vllm, direction("Left")).contains("vllm has no parameter truncation_direction"));
    assert!(error(Provider::Vllm, Options::default()).contains("lost params endpoint"));
    assert!(error(Provider::SgLang, here()).contains("sglang rerank model name is required"));
    assert!(error(Provider::Cohere, here()).contains("cohere rerank model name is required"));
    let both = Options {
        model: Some("m".into()),
        ..here()
    };
    assert!(error(Provider::Cohere, both).contains("cohere has no parameter endpoint"));
    assert!(
        error(Provider::Cohere, hosted()).contains("'https://api.cohere.com/v2/rerank' may not be asked")
    );

    let open = ServiceAccess::to(&[
        "https://api.cohere.com".into(),
        "https://router.huggingface.co".into(),
    ])
    .unwrap();
    assert!(
        error_with(&open, Provider::Cohere, hosted()).contains("environment variable MILVUS_COHERE_API_KEY")
    );
    let unknown = Options {
        credential: Some("k".into()),
        ..hosted()
    };
    assert!(error_with(&open, Provider::Cohere, unknown).contains("credential 'k' is not in"));
    let off = open.clone().with_provider(
        Provider::Cohere,
        ProviderSettings {
            disabled: true,
            ..ProviderSettings::default()
        },
    );
    assert!(error_with(&off, Provider::Cohere, hosted()).contains("rerank provider: [cohere] is disabled"));
    let elsewhere = Options {
        more: more(&[("hf_provider", json!("together"))]),
        ..hosted()
    };
    assert!(error_with(&open, Provider::HuggingFace, elsewhere).contains("only supports hf-inference"));
    let model = Options {
        model: Some("../x".into()),
        ..Options::default()
    };
    assert!(error_with(&open, Provider::HuggingFace, model).contains("no name of a model"));
    assert_eq!(Provider::named("DashScope"), Some(Provider::Ali));
}

//! [`TextScorer`]: asks a service for the scores of texts.

use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::ServiceAccess;

/// Texts of a request to the service, where nothing else is said.
const DEFAULT_BATCH: usize = 32;
/// How long a request to the service may take, where nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;
/// Characters of an answer that an error shows.
const SHOWN: usize = 300;

/// Why there are no scores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// What was asked for is wrong or not allowed.
    #[error("{0}")]
    Refused(String),
    /// The service did not answer as it should.
    #[error("{0}")]
    Failed(String),
}

/// The protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Hugging Face's text-embeddings-inference.
    Tei,
    /// vLLM.
    Vllm,
}

/// How a service is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Most texts of a request; 32 when absent.
    pub batch: Option<usize>,
    /// Milliseconds that a request may take; 30,000 when absent.
    pub timeout_ms: Option<u64>,
    /// TEI: whether texts that are too long for the model are cut.
    pub truncate: Option<bool>,
    /// TEI: the side that is cut, `Left` or `Right`.
    pub truncation_direction: Option<String>,
    /// vLLM: tokens that are left of a longer text.
    pub truncate_prompt_tokens: Option<i64>,
}

/// A service that scores texts by how well they answer a query. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TextScorer {
    provider: Provider,
    url: Url,
    batch: usize,
    timeout: Duration,
    options: Options,
    client: Client,
}

#[derive(Deserialize)]
struct TeiScore {
    index: usize,
    score: f32,
}

#[derive(Deserialize)]
struct VllmAnswer {
    results: Vec<VllmScore>,
}

#[derive(Deserialize)]
struct VllmScore {
    index: usize,
    relevance_score: f32,
}

impl TextScorer {
    /// The service at `endpoint`, which is not asked before there are texts.
    ///
    /// # Errors
    /// An endpoint that is none or not allowed, and options out of range or of the other provider.
    pub fn new(
        provider: Provider,
        endpoint: &str,
        options: Options,
        access: &ServiceAccess,
    ) -> Result<Self, ServiceError> {
        let mut url = access.check(endpoint)?;
        url.set_path("/rerank");
        url.set_query(None);
        let batch = options.batch.unwrap_or(DEFAULT_BATCH);
        if batch == 0 {
            return Err(ServiceError::Refused(
                "[max_client_batch_size param's value: 0] must be greater than 0".into(),
            ));
        }
        if let Some(direction) = &options.truncation_direction
            && !matches!(direction.as_str(), "Left" | "Right")
        {
            return Err(ServiceError::Refused(format!(
                "[truncation_direction param's value: {direction}] is invalid, only supports [Left/Right]"
            )));
        }
        let other = match provider {
            Provider::Tei => [("truncate_prompt_tokens", options.truncate_prompt_tokens.is_some())].to_vec(),
            Provider::Vllm => [
                ("truncate", options.truncate.is_some()),
                ("truncation_direction", options.truncation_direction.is_some()),
            ]
            .to_vec(),
        };
        if let Some((name, _)) = other.iter().find(|(_, given)| *given) {
            return Err(ServiceError::Refused(format!(
                "the provider {} has no parameter {name}",
                provider.name()
            )));
        }
        Ok(Self {
            provider,
            url,
            batch,
            timeout: options.timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
            options,
            client: access.client()?,
        })
    }

    /// The score of each of `texts`, larger is better.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] when the service cannot be reached, says no, or answers something else than one number
    /// for each text.
    pub async fn scores(&self, query: &str, texts: &[&str]) -> Result<Vec<f32>, ServiceError> {
        let mut scores = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.batch) {
            scores.extend(self.ask(query, batch).await?);
        }
        Ok(scores)
    }

    async fn ask(&self, query: &str, texts: &[&str]) -> Result<Vec<f32>, ServiceError> {
        let failed = |what: String| {
            ServiceError::Failed(format!(
                "the {} service at {}: {what}",
                self.provider.name(),
                self.url
            ))
        };
        let sent = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .json(&self.body(query, texts))
            .send();
        let mut response = sent.await.map_err(|error| {
            failed(if error.is_timeout() {
                "no answer in time".into()
            } else {
                reasons(&error)
            })
        })?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(reasons(&error)))? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX_ANSWER {
                return Err(failed(format!(
                    "an answer of more than {MAX_ANSWER} bytes for {} texts",
                    texts.len()
                )));
            }
        }
        if !status.is_success() {
            return Err(failed(format!("status {status}: {}", beginning(&answer))));
        }
        let scores = match self.provider {
            Provider::Tei => serde_json::from_slice::<Vec<TeiScore>>(&answer)
                .map(|scores| scores.into_iter().map(|one| (one.index, one.score)).collect()),
            Provider::Vllm => serde_json::from_slice::<VllmAnswer>(&answer).map(|answer| {
                let scores = answer.results.into_iter();
                scores.map(|one| (one.index, one.relevance_score)).collect()
            }),
        };
        let scores: Vec<(usize, f32)> =
            scores.map_err(|error| failed(format!("no scores ({error}): {}", beginning(&answer))))?;
        in_order(&scores, texts.len()).map_err(failed)
    }

    fn body(&self, query: &str, texts: &[&str]) -> Value {
        let mut body = match self.provider {
            Provider::Tei => json!({"query": query, "texts": texts}),
            Provider::Vllm => json!({"query": query, "documents": texts}),
        };
        let options = [
            ("truncate", self.options.truncate.map(Value::from)),
            (
                "truncation_direction",
                self.options.truncation_direction.clone().map(Value::from),
            ),
            (
                "truncate_prompt_tokens",
                self.options.truncate_prompt_tokens.map(Value::from),
            ),
        ];
        for (name, value) in options {
            if let (Some(value), Some(members)) = (value, body.as_object_mut()) {
                members.insert(name.into(), value);
            }
        }
        body
    }
}

impl Provider {
    fn name(self) -> &'static str {
        match self {
            Self::Tei => "tei",
            Self::Vllm => "vllm",
        }
    }
}

/// The scores of texts 0, 1, ..: each once, and numbers.
fn in_order(scores: &[(usize, f32)], texts: usize) -> Result<Vec<f32>, String> {
    if scores.len() != texts {
        return Err(format!("{} scores for {texts} texts", scores.len()));
    }
    let mut ordered = vec![None; texts];
    for &(index, score) in scores {
        match ordered.get_mut(index) {
            Some(place @ None) if score.is_finite() => *place = Some(score),
            Some(None) => return Err(format!("the score of text {index} is {score}")),
            Some(Some(_)) => return Err(format!("two scores for text {index}")),
            None => return Err(format!("a score for text {index} of {texts}")),
        }
    }
    Ok(ordered.into_iter().flatten().collect())
}

fn beginning(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(SHOWN).collect()
}

/// An error of the client with what caused it: what went wrong is at the end of the chain.
fn reasons(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

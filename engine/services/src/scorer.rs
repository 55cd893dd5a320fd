//! [`TextScorer`]: asks a service for the scores of texts.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::Value;

use crate::access::{ApiKey, ServiceAccess};
use crate::provider::{Provider, check_hf_provider};

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

/// How a service is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Where it is: a scheme, a host and, if wanted, a port. Only of providers without a place of their own.
    pub endpoint: Option<String>,
    /// Name of the model, of providers with several.
    pub model: Option<String>,
    /// Name of the key among those of the server's settings.
    pub credential: Option<String>,
    /// Most texts of a request; 32 or 128 when absent, as the provider allows.
    pub batch: Option<usize>,
    /// Milliseconds that a request may take; 30,000 when absent.
    pub timeout_ms: Option<u64>,
    /// What is sent along: `truncate`, `truncation_direction` (`Left` or `Right`) of TEI, `truncate_prompt_tokens` of vLLM,
    /// `max_tokens_per_doc` of Cohere, `truncation` of Voyage AI, `max_chunks_per_doc` and `overlap_tokens` of SiliconFlow;
    /// and `hf_provider` of Hugging Face, which is a part of the address.
    pub more: BTreeMap<String, Value>,
}

/// A service that scores texts by how well they answer a query. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TextScorer {
    provider: Provider,
    url: Url,
    model: String,
    key: Option<ApiKey>,
    batch: usize,
    timeout: Duration,
    more: BTreeMap<String, Value>,
    client: Client,
}

impl TextScorer {
    /// The service of this provider, which is not asked before there are texts.
    ///
    /// # Errors
    /// A provider that is switched off, a place that is none or not allowed, a key or a model that is missing, and options
    /// out of range or of another provider.
    pub fn new(provider: Provider, options: Options, access: &ServiceAccess) -> Result<Self, ServiceError> {
        let refused = |what: String| Err(ServiceError::Refused(what));
        let name = provider.name();
        let settings = access.provider(provider)?;
        let known = provider.known_options();
        if let Some(other) = options
            .more
            .keys()
            .find(|option| !known.contains(&option.as_str()))
        {
            return refused(format!("the provider {name} has no parameter {other}"));
        }
        check(&options.more)?;
        let model = options.model.unwrap_or_default();
        if provider.needs_model() && model.is_empty() {
            return refused(format!("{name} rerank model name is required"));
        }
        let mut url = match (&options.endpoint, provider.default_url()) {
            (Some(endpoint), None) => access.check(endpoint)?,
            (None, None) => return refused("rerank function lost params endpoint".into()),
            (Some(_), Some(_)) => return refused(format!("the provider {name} has no parameter endpoint")),
            (None, Some(default)) => access.check(settings.url.as_deref().unwrap_or(default))?,
        };
        if let Some(path) = provider.path(&model)? {
            let before = url.path().trim_end_matches('/').to_owned();
            // Of an endpoint only the host counts, of a provider's own address all.
            let before = if provider.default_url().is_some() {
                before.as_str()
            } else {
                ""
            };
            url.set_path(&format!("{before}{path}"));
            url.set_query(None);
        }
        let batch = options.batch.unwrap_or_else(|| provider.default_batch());
        if batch == 0 {
            return refused("[max_client_batch_size param's value: 0] must be greater than 0".into());
        }
        let mut more = options.more;
        more.remove("hf_provider");
        Ok(Self {
            provider,
            url,
            model,
            key: access.key(provider, options.credential.as_deref())?,
            batch,
            timeout: options.timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
            more,
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
        let mut body = self.provider.body(&self.model, query, texts);
        if let Some(members) = body.as_object_mut() {
            members.extend(self.more.clone());
        }
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.secret());
        }
        let sent = request.send();
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
        let scores = self.provider.scores(&answer);
        let scores =
            scores.map_err(|error| failed(format!("no scores ({error}): {}", beginning(&answer))))?;
        in_order(&scores, texts.len()).map_err(failed)
    }
}

/// Refuses options whose values are no good, as the provider would not.
fn check(options: &BTreeMap<String, Value>) -> Result<(), ServiceError> {
    for (name, value) in options {
        match (name.as_str(), value) {
            ("truncation_direction", Value::String(direction))
                if !matches!(direction.as_str(), "Left" | "Right") =>
            {
                return Err(ServiceError::Refused(format!(
                    "[truncation_direction param's value: {direction}] is invalid, only supports [Left/Right]"
                )));
            }
            ("hf_provider", Value::String(name)) => check_hf_provider(name)?,
            _ => {}
        }
    }
    Ok(())
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

//! The protocols of services: where each is asked, what it is sent and what it answers.
//!
//! | provider | asked | body | answer |
//! |---|---|---|---|
//! | `tei` | `POST {endpoint}/rerank` | `query`, `texts` | `[{index, score}]` |
//! | `vllm` | `POST {endpoint}/rerank` | `query`, `documents` | `{results: [{index, relevance_score}]}` |
//! | `sglang` | `POST {endpoint}/v1/rerank` | `model`, `query`, `documents` | `[{index, score}]` |
//! | `cohere`, `siliconflow` | `POST {url}` | `model`, `query`, `documents` | `{results: [{index, relevance_score}]}` |
//! | `voyageai` | `POST {url}` | `model`, `query`, `documents` | `{data: [{index, relevance_score}]}` |
//! | `ali` | `POST {url}` | `model`, `input: {query, documents}` | `{output: {results: [{index, relevance_score}]}}` |
//! | `huggingface` | `POST {url}/hf-inference/models/{model}/pipeline/sentence-similarity` | `inputs: {source_sentence, sentences}` | `[score]` |

use serde::Deserialize;
use serde_json::{Value, json};

use crate::scorer::ServiceError;

/// The protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Hugging Face's text-embeddings-inference.
    Tei,
    /// vLLM.
    Vllm,
    /// SGLang.
    SgLang,
    /// Cohere.
    Cohere,
    /// Voyage AI.
    VoyageAi,
    /// SiliconFlow.
    SiliconFlow,
    /// Alibaba Cloud's DashScope.
    Ali,
    /// Hugging Face's inference providers.
    HuggingFace,
}

/// The one name of Hugging Face's own inference.
const HF_INFERENCE: &str = "hf-inference";

impl Provider {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Tei,
        Self::Vllm,
        Self::SgLang,
        Self::Cohere,
        Self::VoyageAi,
        Self::SiliconFlow,
        Self::Ali,
        Self::HuggingFace,
    ];

    /// The provider of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        match name.as_str() {
            "dashscope" => Some(Self::Ali),
            _ => Self::ALL.into_iter().find(|provider| provider.name() == name),
        }
    }

    /// Its name in parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tei => "tei",
            Self::Vllm => "vllm",
            Self::SgLang => "sglang",
            Self::Cohere => "cohere",
            Self::VoyageAi => "voyageai",
            Self::SiliconFlow => "siliconflow",
            Self::Ali => "ali",
            Self::HuggingFace => "huggingface",
        }
    }

    /// Where it is asked when nothing else is said; none: a request must say it, as `endpoint`.
    pub fn default_url(self) -> Option<&'static str> {
        match self {
            Self::Tei | Self::Vllm | Self::SgLang => None,
            Self::Cohere => Some("https://api.cohere.com/v2/rerank"),
            Self::VoyageAi => Some("https://api.voyageai.com/v1/rerank"),
            Self::SiliconFlow => Some("https://api.siliconflow.cn/v1/rerank"),
            Self::Ali => {
                Some("https://dashscope.aliyuncs.com/api/v1/services/rerank/text-rerank/text-rerank")
            }
            Self::HuggingFace => Some("https://router.huggingface.co"),
        }
    }

    /// The environment variable with its key; none: it may be asked without one.
    pub fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::Tei | Self::Vllm | Self::SgLang => None,
            Self::Cohere => Some("MILVUS_COHERE_API_KEY"),
            Self::VoyageAi => Some("MILVUS_VOYAGEAI_API_KEY"),
            Self::SiliconFlow => Some("MILVUS_SILICONFLOW_API_KEY"),
            Self::Ali => Some("MILVUS_DASHSCOPE_API_KEY"),
            Self::HuggingFace => Some("MILVUS_HUGGINGFACE_API_KEY"),
        }
    }

    /// Whether requests must name a model.
    pub(crate) fn needs_model(self) -> bool {
        !matches!(self, Self::Tei | Self::Vllm)
    }

    /// Texts of a request, where nothing else is said.
    pub(crate) fn default_batch(self) -> usize {
        match self {
            Self::Tei | Self::Vllm | Self::SgLang | Self::HuggingFace => 32,
            Self::Cohere | Self::VoyageAi | Self::SiliconFlow | Self::Ali => 128,
        }
    }

    /// The options that it knows besides those of every provider.
    pub(crate) fn known_options(self) -> &'static [&'static str] {
        match self {
            Self::Tei => &["truncate", "truncation_direction"],
            Self::Vllm => &["truncate_prompt_tokens"],
            Self::Cohere => &["max_tokens_per_doc"],
            Self::VoyageAi => &["truncation"],
            Self::SiliconFlow => &["max_chunks_per_doc", "overlap_tokens"],
            Self::HuggingFace => &["hf_provider"],
            Self::SgLang | Self::Ali => &[],
        }
    }

    /// The path below the address that was given; none: the address is whole.
    pub(crate) fn path(self, model: &str) -> Result<Option<String>, ServiceError> {
        match self {
            Self::Tei | Self::Vllm => Ok(Some("/rerank".into())),
            Self::SgLang => Ok(Some("/v1/rerank".into())),
            Self::HuggingFace => {
                let outside = |part: &str| matches!(part, "" | "." | "..");
                if model.split('/').any(outside) {
                    return Err(ServiceError::Refused(format!(
                        "'{model}' is no name of a model of Hugging Face; allowed is one such as BAAI/bge-m3"
                    )));
                }
                Ok(Some(format!(
                    "/{HF_INFERENCE}/models/{model}/pipeline/sentence-similarity"
                )))
            }
            Self::Cohere | Self::VoyageAi | Self::SiliconFlow | Self::Ali => Ok(None),
        }
    }

    /// What is sent for the scores of `texts`, without options.
    pub(crate) fn body(self, model: &str, query: &str, texts: &[&str]) -> Value {
        match self {
            Self::Tei => json!({"query": query, "texts": texts}),
            Self::Vllm => json!({"query": query, "documents": texts}),
            Self::SgLang | Self::Cohere | Self::VoyageAi | Self::SiliconFlow => {
                json!({"model": model, "query": query, "documents": texts})
            }
            Self::Ali => json!({"model": model, "input": {"query": query, "documents": texts}}),
            Self::HuggingFace => json!({"inputs": {"source_sentence": query, "sentences": texts}}),
        }
    }

    /// The scores in an answer, with the index of the text of each.
    pub(crate) fn scores(self, answer: &[u8]) -> serde_json::Result<Vec<(usize, f32)>> {
        let relevance = |scores: Vec<Relevance>| {
            let scores = scores.into_iter();
            scores.map(|one| (one.index, one.relevance_score)).collect()
        };
        match self {
            Self::Tei | Self::SgLang => {
                let scores: Vec<Score> = serde_json::from_slice(answer)?;
                Ok(scores.into_iter().map(|one| (one.index, one.score)).collect())
            }
            Self::Vllm | Self::Cohere | Self::SiliconFlow => {
                Ok(relevance(serde_json::from_slice::<Results>(answer)?.results))
            }
            Self::VoyageAi => Ok(relevance(serde_json::from_slice::<Data>(answer)?.data)),
            Self::Ali => Ok(relevance(
                serde_json::from_slice::<Output>(answer)?.output.results,
            )),
            Self::HuggingFace => {
                let scores: Vec<f32> = serde_json::from_slice(answer)?;
                Ok(scores.into_iter().enumerate().collect())
            }
        }
    }
}

/// Refuses a provider behind Hugging Face that speaks another protocol.
pub(crate) fn check_hf_provider(name: &str) -> Result<(), ServiceError> {
    if name == HF_INFERENCE {
        return Ok(());
    }
    Err(ServiceError::Refused(format!(
        "Hugging Face hf_provider only supports {HF_INFERENCE}, got '{name}'"
    )))
}

#[derive(Deserialize)]
struct Score {
    index: usize,
    score: f32,
}

#[derive(Deserialize)]
struct Relevance {
    index: usize,
    relevance_score: f32,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Relevance>,
}

#[derive(Deserialize)]
struct Data {
    data: Vec<Relevance>,
}

#[derive(Deserialize)]
struct Output {
    output: Results,
}

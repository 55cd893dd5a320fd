//! What can be wrong with the parameters of an analyzer.

/// Parameters that make no analyzer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalyzerError {
    /// The parameters are wrong; the text says what was given and what is allowed.
    #[error("invalid analyzer params: {0}")]
    Invalid(String),
    /// The parameters name something that Milvus has and this crate has not.
    #[error("not supported: {0}")]
    Unsupported(String),
}

//! The one error of this layer, and the one place where the errors of the layers around it become it.
//!
//! DataFusion wraps what it carries ("External error: ..", "Arrow error: ..", contexts of optimizer
//! rules). A person who typed a statement needs the innermost message, so the conversion unwraps all
//! of it and gives an engine error back with its type, for the door above to turn into a code.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use elanus_filter::FilterError;

use crate::planner_messages;

/// Result with a [`QueryError`].
pub type Result<T, E = QueryError> = std::result::Result<T, E>;

/// Why a request could not be planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The collection layer refused or failed.
    #[error(transparent)]
    Collection(#[from] elanus_collection::Error),
    /// A Milvus boolean expression is not valid for the collection.
    #[error("{}\n{}", .0, .0.excerpt())]
    Filter(#[from] FilterError),
    /// A parameter of the request is out of its range.
    #[error("{0}")]
    InvalidParameter(String),
    /// SQL text that cannot be parsed.
    #[error("{0}")]
    Syntax(String),
    /// SQL that names something unknown or combines types that do not fit.
    #[error("{0}")]
    Plan(String),
    /// Something that this version does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A value made the running query fail.
    #[error("{0}")]
    Execution(String),
    /// A query took longer than the session allows.
    #[error("the query took longer than {0} ms, the elanus.statement_timeout of this session")]
    Timeout(u64),
    /// A memory or size limit was reached.
    #[error("resources exhausted: {0}")]
    Resources(String),
    /// A broken invariant of the engine.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => from_boxed(inner),
            DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Collection(errors) => match errors.into_iter().next() {
                Some(first) => Self::from(first),
                None => Self::Internal("an empty list of errors".into()),
            },
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(inner) => Self::from(inner),
                Err(shared) => from_shared(&shared),
            },
            DataFusionError::SQL(inner, _) => Self::Syntax(format!(
                "cannot parse SQL: {}",
                parser_message(&inner.to_string())
            )),
            DataFusionError::SchemaError(inner, _) => Self::Plan(schema_message(&inner)),
            DataFusionError::Plan(text) => {
                let text = without_backtrace(&text);
                Self::Plan(planner_messages::of_call(&text).unwrap_or_else(|| lower_first(&text)))
            }
            DataFusionError::NotImplemented(text) => {
                let text = lower_first(&without_backtrace(&text));
                Self::Unsupported(planner_messages::of_unsupported(&text))
            }
            DataFusionError::Configuration(text) => {
                Self::InvalidParameter(lower_first(&without_backtrace(&text)))
            }
            DataFusionError::ResourcesExhausted(text) => Self::Resources(without_backtrace(&text)),
            DataFusionError::Execution(text) => Self::Execution(lower_first(&without_backtrace(&text))),
            DataFusionError::Internal(text) => {
                let text = without_backtrace(&text);
                match planner_messages::of_call(&text) {
                    Some(message) => Self::Plan(message),
                    None => Self::Internal(text),
                }
            }
            other => Self::Execution(without_backtrace(&other.strip_backtrace())),
        }
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        from_arrow(error)
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Carries a collection error through DataFusion so that [`QueryError::from`] finds it again.
pub(crate) fn external(error: impl Into<QueryError>) -> DataFusionError {
    error.into().into()
}

fn from_boxed(inner: Box<dyn std::error::Error + Send + Sync>) -> QueryError {
    let inner = match inner.downcast::<QueryError>() {
        Ok(error) => return *error,
        Err(inner) => inner,
    };
    let inner = match inner.downcast::<elanus_collection::Error>() {
        Ok(error) => return QueryError::Collection(*error),
        Err(inner) => inner,
    };
    let inner = match inner.downcast::<FilterError>() {
        Ok(error) => return QueryError::Filter(*error),
        Err(inner) => inner,
    };
    match inner.downcast::<DataFusionError>() {
        Ok(error) => QueryError::from(*error),
        Err(inner) => QueryError::Execution(inner.to_string()),
    }
}

fn from_arrow(error: ArrowError) -> QueryError {
    match error {
        ArrowError::ExternalError(inner) => from_boxed(inner),
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text) => QueryError::Execution(lower_first(&text)),
        other => QueryError::Execution(lower_first(&other.to_string())),
    }
}

/// A shared error is behind an `Arc` that others hold too: only its text can be kept.
fn from_shared(error: &DataFusionError) -> QueryError {
    let root = error.find_root();
    if let DataFusionError::ResourcesExhausted(text) = root {
        return QueryError::Resources(without_backtrace(text));
    }
    let text = without_backtrace(&root.strip_backtrace());
    let text = NOISE.iter().fold(text.as_str(), |text, noise| {
        text.strip_prefix(noise).unwrap_or(text)
    });
    QueryError::Execution(text.to_string())
}

const NOISE: [&str; 4] = [
    "External error: ",
    "Arrow error: ",
    "Execution error: ",
    "Error during planning: ",
];

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            // With a qualifier given, qualifiers matter: `x.id` is not `t.id`.
            let shown = |column: &Column| match &field.relation {
                Some(_) => column.flat_name(),
                None => column.name.clone(),
            };
            let names: Vec<String> = valid_fields.iter().map(shown).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let field = shown(field);
            format!(
                "column '{field}' not found{}",
                did_you_mean(&field, &names, "columns")
            )
        }
        other @ (SchemaError::AmbiguousReference { .. }
        | SchemaError::DuplicateQualifiedField { .. }
        | SchemaError::DuplicateUnqualifiedField { .. }) => lower_first(&other.to_string()),
    }
}

/// `; did you mean a or b?`, or what there is when nothing is near, or nothing when there is nothing.
pub(crate) fn did_you_mean(given: &str, known: &[&str], what: &str) -> String {
    // A name of another length is not near; comparing long ones would cost their product.
    let length = given.chars().count();
    let alike = |name: &&&str| name.chars().count().abs_diff(length) <= (name.chars().count() + 1) / 3;
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter(alike)
        .map(|name| {
            (
                strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(distance, name)| *distance <= (name.chars().count() + 1) / 3)
        .collect();
    near.sort_unstable();
    near.dedup();
    let near: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
    if !near.is_empty() {
        return format!("; did you mean {}?", near.join(" or "));
    }
    let mut all = known.to_vec();
    all.sort_unstable();
    all.dedup();
    let shown = all.iter().take(20).copied().collect::<Vec<_>>().join(", ");
    if shown.is_empty() {
        String::new()
    } else {
        format!("; {what} are {shown}")
    }
}

fn parser_message(text: &str) -> String {
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    lower_first(text)
}

fn without_backtrace(text: &str) -> String {
    text.split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(text)
        .trim_end()
        .to_string()
}

/// Lower-cases a leading capital unless the first word is an acronym or a name such as `VECTOR`.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => first
            .to_lowercase()
            .chain(std::iter::once(second))
            .chain(chars)
            .collect(),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_error_survives_every_wrapping_of_datafusion() {
        let inner = elanus_collection::Error::CollectionNotLoaded { name: "c".into() };
        let wrapped = DataFusionError::Context(
            "while optimizing".into(),
            Box::new(DataFusionError::ArrowError(
                Box::new(ArrowError::ExternalError(Box::new(external(inner)))),
                None,
            )),
        );
        let error = QueryError::from(wrapped);
        assert!(
            matches!(
                error,
                QueryError::Collection(elanus_collection::Error::CollectionNotLoaded { .. })
            ),
            "{error:?}"
        );
    }

    #[test]
    fn near_names_come_first_and_all_names_when_none_is_near() {
        assert_eq!(
            did_you_mean("embeding", &["id", "embedding"], "columns"),
            "; did you mean embedding?"
        );
        assert_eq!(
            did_you_mean("zzz", &["id", "embedding"], "columns"),
            "; columns are embedding, id"
        );
        assert_eq!(did_you_mean("zzz", &[], "columns"), "");
    }

    #[test]
    fn acronyms_keep_their_case() {
        assert_eq!(lower_first("Expected a number"), "expected a number");
        assert_eq!(lower_first("VECTOR(0) is empty"), "VECTOR(0) is empty");
    }
}

//! Errors of every layer as Milvus' status: numeric code, legacy code and reason, in one place.
//!
//! A reason follows Milvus' pattern `<what happened>: <text of the code>[key=value]`, because client
//! tests and user code match on parts of it; what would be allowed is added to the first half.

use std::collections::HashMap;
use std::fmt;

use arrow::error::ArrowError;
use elanus_collection::NameKind;
use elanus_filter::{FilterError, FilterErrorKind};
use elanus_query::QueryError;
use milvus::proto::common;

/// Result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Milvus' numeric error codes that this door answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// The service is shutting down; another try may succeed.
    Unavailable = 2,
    /// The memory budget of the node is used up.
    MemoryLimitExceeded = 3,
    /// The call itself is not there.
    Unimplemented = 10,
    /// A resource such as a second replica is not there.
    ResourceInsufficient = 12,
    /// No such collection.
    CollectionNotFound = 100,
    /// The collection must be loaded first.
    CollectionNotLoaded = 101,
    /// The client works with the schema of another collection or of an earlier time.
    SchemaMismatch = 109,
    /// No such partition.
    PartitionNotFound = 200,
    /// The partition must be loaded first.
    PartitionNotLoaded = 201,
    /// No such index.
    IndexNotFound = 700,
    /// No such database.
    DatabaseNotFound = 800,
    /// A bad database name.
    DatabaseInvalidName = 802,
    /// A parameter is wrong.
    ParameterInvalid = 1100,
    /// A parameter is too large.
    ParameterTooLarge = 1102,
    /// A password that is not right.
    NotAuthenticated = 1400,
    /// The user may not do this.
    NotPermitted = 1401,
    /// No such alias.
    AliasNotFound = 1600,
    /// An alias and a collection cannot share a name.
    AliasCollectionNameConflict = 1601,
    /// The alias names another collection.
    AliasAlreadyExists = 1602,
    /// No such field.
    FieldNotFound = 1700,
    /// A bad field name.
    FieldInvalidName = 1701,
    /// An operation or option is not there.
    Unsupported = 3000,
    /// Everything else.
    Unexpected = 65_535,
}

impl Code {
    /// Milvus' short text of the code.
    fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "service unavailable",
            Self::MemoryLimitExceeded => "memory limit exceeded",
            Self::Unimplemented => "service unimplemented",
            Self::ResourceInsufficient => "service resource insufficient",
            Self::CollectionNotFound => "collection not found",
            Self::CollectionNotLoaded => "collection not loaded",
            Self::SchemaMismatch => "collection schema mismatch",
            Self::PartitionNotFound => "partition not found",
            Self::PartitionNotLoaded => "partition not loaded",
            Self::IndexNotFound => "index not found",
            Self::DatabaseNotFound => "database not found",
            Self::DatabaseInvalidName => "invalid database name",
            Self::ParameterInvalid => "invalid parameter",
            Self::ParameterTooLarge => "parameter too large",
            Self::NotAuthenticated => "not authenticated",
            Self::NotPermitted => "privilege not permitted",
            Self::AliasNotFound => "alias not found",
            Self::AliasCollectionNameConflict => "alias and collection name conflict",
            Self::AliasAlreadyExists => "alias already exist",
            Self::FieldNotFound => "field not found",
            Self::FieldInvalidName => "field name invalid",
            Self::Unsupported => "unsupported operation",
            Self::Unexpected => "unexpected error",
        }
    }

    /// The code that clients older than Milvus 2.3 look at.
    fn legacy(self) -> common::ErrorCode {
        match self {
            Self::CollectionNotFound => common::ErrorCode::CollectionNotExists,
            // pymilvus refreshes its copy of the schema and tries once more on this one.
            Self::SchemaMismatch => common::ErrorCode::SchemaMismatch,
            Self::ParameterInvalid => common::ErrorCode::IllegalArgument,
            Self::PartitionNotFound => common::ErrorCode::MetaFailed,
            Self::MemoryLimitExceeded => common::ErrorCode::InsufficientMemoryToLoad,
            Self::IndexNotFound => common::ErrorCode::IndexNotExist,
            Self::Unavailable
            | Self::Unimplemented
            | Self::ResourceInsufficient
            | Self::CollectionNotLoaded
            | Self::PartitionNotLoaded
            | Self::DatabaseNotFound
            | Self::DatabaseInvalidName
            | Self::ParameterTooLarge
            | Self::NotAuthenticated
            | Self::NotPermitted
            | Self::AliasNotFound
            | Self::AliasCollectionNameConflict
            | Self::AliasAlreadyExists
            | Self::FieldNotFound
            | Self::FieldInvalidName
            | Self::Unsupported
            | Self::Unexpected => common::ErrorCode::UnexpectedError,
        }
    }

    /// Whether the same request may succeed later.
    fn retriable(self) -> bool {
        matches!(self, Self::Unavailable | Self::ResourceInsufficient)
    }

    /// Whether the caller sent something wrong, as opposed to the server being in trouble.
    fn is_input_error(self) -> bool {
        !matches!(
            self,
            Self::Unavailable | Self::MemoryLimitExceeded | Self::ResourceInsufficient | Self::Unexpected
        )
    }
}

/// A failed call: Milvus' code and the full reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    reason: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error whose reason is complete as given.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// `<what>: <text of the code>`.
    fn wrapped(code: Code, what: impl fmt::Display) -> Self {
        Self::new(code, format!("{what}: {}", code.text()))
    }

    /// A wrong parameter: what was given and what is allowed.
    pub fn invalid(what: impl fmt::Display) -> Self {
        Self::wrapped(Code::ParameterInvalid, what)
    }

    /// A wrong parameter with Milvus' `[expected=..][actual=..]` tail.
    pub fn expected(what: impl fmt::Display, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        let text = Code::ParameterInvalid.text();
        Self::new(
            Code::ParameterInvalid,
            format!("{what}: {text}[expected={expected}][actual={actual}]"),
        )
    }

    /// An option or value that is not there yet.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(Code::Unsupported, format!("not supported: {what}"))
    }

    /// A call that is not there yet.
    pub fn unimplemented(rpc: &str) -> Self {
        Self::new(Code::Unimplemented, format!("not supported: {rpc}"))
    }

    /// An error without a code of its own in Milvus.
    pub fn unexpected(what: impl fmt::Display) -> Self {
        Self::new(Code::Unexpected, what.to_string())
    }

    /// The same error in the words that one call of Milvus uses where others say it differently.
    #[must_use]
    pub fn reworded(mut self, from: &str, to: &str) -> Self {
        self.reason = self.reason.replacen(from, to, 1);
        self
    }

    /// Milvus' numeric code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The wire form.
    #[expect(deprecated, reason = "older clients read the legacy code only")]
    pub fn to_status(&self) -> common::Status {
        let mut extra_info = HashMap::new();
        if self.code.is_input_error() {
            extra_info.insert("is_input_error".to_string(), "true".to_string());
        }
        common::Status {
            error_code: self.code.legacy() as i32,
            reason: self.reason.clone(),
            code: self.code as i32,
            retriable: self.code.retriable(),
            detail: self.reason.clone(),
            extra_info,
        }
    }
}

/// The name errors of Milvus differ by kind in code and wording.
fn invalid_name(kind: NameKind, name: &str, reason: &str) -> Error {
    let reason = &if reason.contains("reserved word") {
        format!("the name {name} is keyword in milvus, a reserved word")
    } else {
        reason.to_string()
    };
    let sentence = |text: &str| {
        let mut chars = text.chars();
        chars
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    match kind {
        NameKind::Database => Error::new(
            Code::DatabaseInvalidName,
            format!("{reason}: invalid database name[database={name}]"),
        ),
        NameKind::Field => Error::new(
            Code::FieldInvalidName,
            format!(
                "Invalid field name: {name}. {}.: field name invalid[field={name}]",
                sentence(reason)
            ),
        ),
        NameKind::Collection | NameKind::Alias if name.trim().is_empty() => {
            let what = if kind == NameKind::Alias { "alias" } else { "name" };
            Error::invalid(format!("collection {what} should not be empty"))
        }
        NameKind::Collection => Error::invalid(format!("Invalid collection name: {name}. {reason}")),
        NameKind::Alias => Error::invalid(format!(
            "Invalid collection alias: {name}. {}",
            reason.replace("collection alias name", "collection alias")
        )),
        NameKind::Snapshot => Error::invalid(format!("Invalid snapshot name: {name}. {reason}")),
        NameKind::Partition => {
            Error::invalid(format!("Invalid partition name: {name}. {}.", sentence(reason)))
        }
        NameKind::Index => Error::invalid(format!("Invalid index name: {name}. {reason}")),
    }
}

impl From<elanus_collection::Error> for Error {
    fn from(error: elanus_collection::Error) -> Self {
        use elanus_collection::Error as E;
        let text = error.to_string();
        match error {
            E::DatabaseNotFound { .. } => Self::new(Code::DatabaseNotFound, text),
            E::CollectionNotFound { .. } => Self::new(Code::CollectionNotFound, text),
            E::CollectionNotLoaded { .. } => Self::new(Code::CollectionNotLoaded, text),
            E::PartitionNotFound { .. } => Self::new(Code::PartitionNotFound, text),
            E::PartitionNotLoaded { .. } => Self::new(Code::PartitionNotLoaded, text),
            E::IndexNotFound { .. } => Self::new(Code::IndexNotFound, text),
            E::NotAuthenticated => Self::new(Code::NotAuthenticated, text),
            E::NotPermitted { .. } => Self::new(Code::NotPermitted, text),
            E::AliasNotFound { .. } => Self::new(Code::AliasNotFound, text),
            E::AliasExists { .. } => Self::new(Code::AliasAlreadyExists, text),
            E::AliasCollectionNameConflict { .. } => Self::new(Code::AliasCollectionNameConflict, text),
            E::FieldNotFound { .. } => Self::new(Code::FieldNotFound, text),
            E::InvalidName { kind, name, reason } => invalid_name(kind, &name, &reason),
            E::InvalidParameter(what)
            | E::InvalidSchema(what)
            | E::InvalidData(what)
            | E::LimitExceeded(what) => Self::invalid(what),
            E::MemoryBudget { .. } => Self::wrapped(Code::MemoryLimitExceeded, text),
            E::Unsupported(what) => Self::unsupported(what),
            E::Closed(_) => Self::new(Code::Unavailable, text),
            // Clients read the schema again and send the write once more.
            E::SchemaChanged(name) => Self::new(
                Code::SchemaMismatch,
                format!("collection schema mismatch[collection={name}]"),
            ),
            // No code of their own in Milvus; the enum is open, so later variants land here too.
            E::DatabaseExists { .. }
            | E::DatabaseNotEmpty { .. }
            | E::CollectionExists { .. }
            | E::CollectionHasAliases { .. }
            | E::PartitionExists { .. }
            | E::StillLoaded { .. }
            | E::IndexExists(_)
            | E::Storage(_)
            | E::Arrow(_)
            | E::IndexBuild(_)
            | _ => Self::unexpected(text),
        }
    }
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        match error.kind() {
            FilterErrorKind::Unsupported => {
                Self::new(Code::Unsupported, format!("failed to create query plan: {error}"))
            }
            FilterErrorKind::Parse
            | FilterErrorKind::FieldNotFound { .. }
            | FilterErrorKind::Type
            | FilterErrorKind::TemplateMissing { .. }
            | _ => Self::invalid(format!("failed to create query plan: {error}")),
        }
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Collection(inner) => inner.into(),
            QueryError::Filter(inner) => inner.into(),
            QueryError::InvalidParameter(what) => Self::invalid(what),
            QueryError::Unsupported(what) => Self::unsupported(what),
            QueryError::Resources(what) => Self::wrapped(Code::MemoryLimitExceeded, what),
            QueryError::Syntax(what)
            | QueryError::Plan(what)
            | QueryError::Execution(what)
            | QueryError::Internal(what) => Self::unexpected(what),
            other @ (QueryError::Timeout(_) | _) => Self::unexpected(other),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::unexpected(error)
    }
}

/// The status of a call that went well.
pub(crate) fn success() -> common::Status {
    common::Status::default()
}

#[cfg(test)]
mod tests {
    use elanus_collection::Error as E;

    use super::*;

    fn status(error: E) -> common::Status {
        Error::from(error).to_status()
    }

    #[test]
    #[expect(deprecated, reason = "older clients read the legacy code only")]
    fn not_found_carries_both_codes_and_the_names() {
        let status = status(E::CollectionNotFound {
            database: "default".into(),
            name: "foo".into(),
        });
        assert_eq!(
            (status.code, status.error_code),
            (100, common::ErrorCode::CollectionNotExists as i32)
        );
        assert_eq!(
            status.reason,
            "collection not found[database=default][collection=foo]"
        );
        assert!(!status.retriable);
    }

    #[test]
    fn bad_names_read_as_in_milvus() {
        let reason = |kind: NameKind, name: &str| {
            let error = elanus_collection::validate_name(kind, name).unwrap_err();
            let status = status(error);
            (status.code, status.reason)
        };
        let (code, text) = reason(NameKind::Collection, "12-s");
        assert_eq!(code, 1100);
        assert_eq!(
            text,
            "Invalid collection name: 12-s. the first character of a collection name must be an underscore or letter: invalid parameter"
        );
        let (code, text) = reason(NameKind::Alias, "12-s");
        assert_eq!(code, 1100);
        assert!(text.starts_with(
            "Invalid collection alias: 12-s. the first character of a collection alias must be an underscore or letter"
        ));
        let (code, text) = reason(NameKind::Field, "12-s");
        assert_eq!(code, 1701);
        assert!(
            text.starts_with("Invalid field name: 12-s. The first character of a field name"),
            "{text}"
        );
        assert!(text.ends_with("field name invalid[field=12-s]"));
        let (code, text) = reason(NameKind::Database, "12-s");
        assert_eq!(code, 802);
        assert!(text.ends_with("invalid database name[database=12-s]"));
        let (_, text) = reason(NameKind::Collection, &"x".repeat(256));
        assert!(
            text.contains("the length of a collection name must be less than 255 characters"),
            "{text}"
        );
        assert!(reason(NameKind::Field, "like").1.contains("keyword in milvus"));
        assert_eq!(
            reason(NameKind::Collection, "").1,
            "collection name should not be empty: invalid parameter"
        );
    }

    #[test]
    fn wrong_values_say_what_was_expected() {
        let error = Error::expected("metric type not match", "COSINE", "L2");
        assert_eq!(
            error.to_string(),
            "metric type not match: invalid parameter[expected=COSINE][actual=L2]"
        );
        let status = error.to_status();
        assert_eq!(status.code, 1100);
        assert_eq!(
            status.extra_info.get("is_input_error").map(String::as_str),
            Some("true")
        );
    }

    #[test]
    fn what_is_not_there_says_so() {
        let status = Error::unimplemented("CalcDistance").to_status();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (10, "not supported: CalcDistance")
        );
        let status = Error::unsupported("radius").to_status();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (3000, "not supported: radius")
        );
    }

    #[test]
    #[expect(deprecated, reason = "older clients read the legacy code only")]
    fn success_is_all_zero() {
        assert_eq!((success().code, success().error_code), (0, 0));
    }
}

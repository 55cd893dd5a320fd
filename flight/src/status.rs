//! Errors of the engine as gRPC statuses, in one place.

use elanus_collection::Error;
use elanus_query::QueryError;
use flight_tonic::{Code, Status};

/// The status for an error of the engine; its message is the error's.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn of(error: QueryError) -> Status {
    let code = match &error {
        QueryError::Collection(inner) => of_collection(inner),
        QueryError::Filter(_)
        | QueryError::InvalidParameter(_)
        | QueryError::Syntax(_)
        | QueryError::Plan(_)
        | QueryError::Execution(_) => Code::InvalidArgument,
        QueryError::Unsupported(_) => Code::Unimplemented,
        QueryError::Resources(_) => Code::ResourceExhausted,
        QueryError::Timeout(_) => Code::DeadlineExceeded,
        QueryError::Internal(_) | _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn of_collection(error: &Error) -> Code {
    match error {
        Error::DatabaseNotFound { .. }
        | Error::CollectionNotFound { .. }
        | Error::AliasNotFound { .. }
        | Error::PartitionNotFound { .. }
        | Error::IndexNotFound { .. } => Code::NotFound,
        Error::DatabaseExists { .. }
        | Error::CollectionExists { .. }
        | Error::AliasExists { .. }
        | Error::AliasCollectionNameConflict { .. }
        | Error::PartitionExists { .. }
        | Error::IndexExists(_) => Code::AlreadyExists,
        Error::NotAuthenticated => Code::Unauthenticated,
        Error::NotPermitted { .. } => Code::PermissionDenied,
        Error::DatabaseNotEmpty { .. }
        | Error::CollectionHasAliases { .. }
        | Error::CollectionNotLoaded { .. }
        | Error::PartitionNotLoaded { .. }
        | Error::StillLoaded { .. } => Code::FailedPrecondition,
        Error::FieldNotFound { .. }
        | Error::InvalidName { .. }
        | Error::InvalidParameter(_)
        | Error::InvalidSchema(_)
        | Error::InvalidData(_) => Code::InvalidArgument,
        Error::LimitExceeded(_) | Error::MemoryBudget { .. } => Code::ResourceExhausted,
        Error::Unsupported(_) => Code::Unimplemented,
        // Nothing was done; the same request is planned anew when it is sent again.
        Error::SchemaChanged(_) => Code::Aborted,
        Error::Closed(_) | Error::WriterFailed { .. } => Code::Unavailable,
        Error::Broken { .. } | Error::Storage(_) | Error::Arrow(_) | Error::IndexBuild(_) | _ => {
            Code::Internal
        }
    }
}

/// What stops a write because the rows for it could not be read.
pub(crate) fn of_upload(status: &Status) -> QueryError {
    if status.code() == Code::ResourceExhausted {
        QueryError::Resources(status.message().to_string())
    } else {
        QueryError::Execution(status.message().to_string())
    }
}

/// The status for bytes of a client that are not what they should be.
pub(crate) fn malformed(what: &str, error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{what} cannot be read: {error}"))
}

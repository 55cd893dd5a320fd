//! The one error type of this crate.
//!
//! Errors are `Clone`, because one failed group commit is the answer to every write that waited for it.

use std::path::PathBuf;
use std::sync::Arc;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between the engine and its files.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An object that must exist does not.
    #[error("not found: {path}")]
    NotFound {
        /// Object path relative to the root of the store.
        path: String,
    },
    /// An object that must not exist yet does.
    #[error("already exists: {path}")]
    AlreadyExists {
        /// Object path relative to the root of the store.
        path: String,
    },
    /// The bytes of an object are not what was written.
    #[error("corrupt file {path}: {what}")]
    Corrupt {
        /// Object path relative to the root of the store.
        path: String,
        /// What does not fit, with the expected and the found value where there is one.
        what: String,
    },
    /// Another writer has taken the collection over; this one can never write again.
    #[error("collection {collection} was taken over by another writer: epoch {newer} replaced epoch {epoch}")]
    Fenced {
        /// Collection id.
        collection: i64,
        /// The epoch of the writer that got this error.
        epoch: u64,
        /// The epoch that replaced it.
        newer: u64,
    },
    /// An earlier write failed with an unknown outcome; the collection must be opened again before it can be written.
    #[error(
        "the writer of collection {collection} has stopped after a failed write ({why}); open the collection again"
    )]
    Poisoned {
        /// Collection id.
        collection: i64,
        /// The failure that stopped the writer.
        why: String,
    },
    /// The data directory belongs to another process.
    #[error("data directory {} is in use by {}", .directory.display(), holder_text(.holder))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// Process id found in the lock file, when it could be read.
        holder: Option<u32>,
    },
    /// A feature that is not there; the text says "not supported: X".
    #[error("{0}")]
    Unsupported(String),
    /// The caller broke a rule of this crate, for example a batch without the timestamp column.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was being touched.
        path: String,
        /// The operating system's reason.
        source: Arc<std::io::Error>,
    },
    /// The object store refused.
    #[error("object store: {0}")]
    ObjectStore(Arc<object_store::Error>),
    /// Arrow encoding or decoding failed.
    #[error("arrow: {0}")]
    Arrow(Arc<arrow::error::ArrowError>),
    /// Parquet encoding or decoding failed.
    #[error("parquet: {0}")]
    Parquet(Arc<parquet::errors::ParquetError>),
    /// A background task of the runtime was cancelled or died.
    #[error("background task failed: {0}")]
    Task(String),
}

impl Error {
    pub(crate) fn corrupt(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.into(),
            what: what.into(),
        }
    }

    pub(crate) fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().display().to_string(),
            source: Arc::new(source),
        }
    }

    /// True for damage on disk, as opposed to a refused or failed operation.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

fn holder_text(holder: &Option<u32>) -> String {
    match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        if let object_store::Error::NotFound { path, .. } = &error {
            return Self::NotFound { path: path.clone() };
        }
        if let object_store::Error::AlreadyExists { path, .. } = &error {
            return Self::AlreadyExists { path: path.clone() };
        }
        Self::ObjectStore(Arc::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Arrow(Arc::new(error))
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Parquet(Arc::new(error))
    }
}

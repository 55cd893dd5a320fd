//! The versions of the contract, as generated from `plugins/wit`, and their mapping to the types of this crate.
//!
//! Everything else in the crate knows one set of types; a new version of the contract adds a module here.

pub(crate) mod reranker;
pub(crate) mod udf;

/// The files of version 1 of the contract, by name: for tools that hand them to plugin authors.
pub const WIT_V1: [(&str, &str); 5] = [
    ("types.wit", include_str!("../../../wit/v1/types.wit")),
    ("parameters.wit", include_str!("../../../wit/v1/parameters.wit")),
    ("rights.wit", include_str!("../../../wit/v1/rights.wit")),
    ("reranker.wit", include_str!("../../../wit/v1/reranker.wit")),
    ("udf.wit", include_str!("../../../wit/v1/udf.wit")),
];

/// Both worlds have the same types, generated twice.
macro_rules! map_common_types {
    ($types:path) => {
        mod common {
            use $types as raw;

            impl From<raw::ColumnKind> for crate::values::ColumnKind {
                fn from(kind: raw::ColumnKind) -> Self {
                    match kind {
                        raw::ColumnKind::F32s => Self::F32s,
                        raw::ColumnKind::F64s => Self::F64s,
                        raw::ColumnKind::S64s => Self::S64s,
                        raw::ColumnKind::Bools => Self::Bools,
                        raw::ColumnKind::Text => Self::Text,
                        raw::ColumnKind::Vectors(dim) => Self::Vectors(dim),
                        raw::ColumnKind::Ipc(name) => Self::Ipc(name),
                    }
                }
            }

            impl From<raw::Error> for crate::error::Refusal {
                fn from(error: raw::Error) -> Self {
                    let shown = |text: String| Self::presentable(&text);
                    match error {
                        raw::Error::InvalidArgument(text) => Self::InvalidArgument(shown(text)),
                        raw::Error::Unsupported(text) => Self::Unsupported(shown(text)),
                        raw::Error::Internal(text) => Self::Internal(shown(text)),
                    }
                }
            }
        }
    };
}
pub(crate) use map_common_types;

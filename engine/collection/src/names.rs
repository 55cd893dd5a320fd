//! Name rules of databases, collections, aliases, partitions, fields and indexes.

use std::fmt;

use crate::error::{Error, Result};

/// Longest name in characters.
const MAX_NAME_LENGTH: usize = 255;

/// Words that a field cannot be called: system columns and words of the filter language.
const RESERVED_FIELD_NAMES: &[&str] = &[
    "RowID",
    "Timestamp",
    "$meta",
    "$namespace_id",
    "__virtual_pk__",
    "like",
    "LIKE",
    "exists",
    "EXISTS",
    "and",
    "AND",
    "or",
    "OR",
    "not",
    "NOT",
    "in",
    "IN",
    "json_contains",
    "JSON_CONTAINS",
    "json_contains_all",
    "JSON_CONTAINS_ALL",
    "json_contains_any",
    "JSON_CONTAINS_ANY",
    "array_contains",
    "ARRAY_CONTAINS",
    "array_contains_all",
    "ARRAY_CONTAINS_ALL",
    "array_contains_any",
    "ARRAY_CONTAINS_ANY",
    "array_length",
    "ARRAY_LENGTH",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "text_match",
    "TEXT_MATCH",
    "phrase_match",
    "PHRASE_MATCH",
    "random_sample",
    "RANDOM_SAMPLE",
    "null",
    "NULL",
];

/// What the names of hidden columns begin with, as that of the versions of rows.
const OWN_COLUMNS: &str = "__elanus";

/// What a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A database.
    Database,
    /// A collection.
    Collection,
    /// A second name of a collection.
    Alias,
    /// A partition.
    Partition,
    /// A field.
    Field,
    /// An index.
    Index,
    /// A snapshot.
    Snapshot,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Collection => "collection",
            Self::Alias => "collection alias",
            Self::Partition => "partition",
            Self::Field => "field",
            Self::Index => "index",
            Self::Snapshot => "snapshot",
        })
    }
}

/// Checks a name.
///
/// # Errors
/// [`Error::InvalidName`] with the rule that it breaks.
pub fn validate_name(kind: NameKind, name: &str) -> Result<()> {
    let bad = |reason: String| {
        Err(Error::InvalidName {
            kind,
            name: name.to_string(),
            reason,
        })
    };
    if name.is_empty() {
        return bad(format!("the {kind} name should not be empty"));
    }
    if name.len() > MAX_NAME_LENGTH {
        return bad(format!(
            "the length of a {kind} name must be less than {MAX_NAME_LENGTH} characters"
        ));
    }
    if kind == NameKind::Field && (RESERVED_FIELD_NAMES.contains(&name) || name.starts_with(OWN_COLUMNS)) {
        return bad("it is a reserved word and cannot be a field name".to_string());
    }
    if !name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) {
        return bad(format!(
            "the first character of a {kind} name must be an underscore or letter"
        ));
    }
    let dollar = matches!(kind, NameKind::Collection | NameKind::Alias | NameKind::Partition);
    let allowed = |c: char| c == '_' || c.is_ascii_alphanumeric() || (dollar && c == '$');
    if !name.chars().all(allowed) {
        let extra = if dollar {
            ", underscores and $"
        } else {
            ", and underscores"
        };
        return bad(format!("{kind} name can only contain numbers, letters{extra}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_their_kind() {
        for ok in ["a", "_a1", "Z_9"] {
            validate_name(NameKind::Field, ok).unwrap();
        }
        validate_name(NameKind::Collection, "a$b").unwrap();
        for bad in ["", "12-s", "a-b", "a b", "ä", "like", "$meta", "a$b"] {
            validate_name(NameKind::Field, bad).unwrap_err();
        }
        validate_name(NameKind::Collection, "like").unwrap();
        validate_name(NameKind::Collection, &"x".repeat(255)).unwrap();
        let error = validate_name(NameKind::Collection, &"x".repeat(256)).unwrap_err();
        assert!(error.to_string().contains("255"));
    }
}

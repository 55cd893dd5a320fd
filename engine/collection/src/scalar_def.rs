//! Definitions of scalar indexes: which types of fields each type of index takes, and with which parameters.
//!
//! Milvus has many names for one thing: the distinct values in order with the rows of each. What a name allows is checked
//! as Milvus does; what is built is the same ([`elanus_index::scalar`]), for NGRAM with the parts of texts.

use std::collections::BTreeMap;

use elanus_index::scalar::GramLengths;

use crate::error::{Error, Result};
use crate::scalar_index::ScalarBuild;
use crate::types::{DataType, Field};

/// Whether an index can be on a field of this type.
type AcceptsType = fn(&DataType) -> bool;

/// Index types that Milvus knows, and the test of the field types each accepts.
const TYPES: &[(&str, AcceptsType)] = &[
    ("AUTOINDEX", |_| true),
    ("INVERTED", |t| *t != DataType::Geometry),
    ("BITMAP", |t| {
        if let DataType::Array { element, .. } = t {
            is_bitmap_type(element)
        } else {
            is_bitmap_type(t)
        }
    }),
    ("STL_SORT", |t| {
        matches!(
            t,
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float
                | DataType::Double
                | DataType::VarChar { .. }
                | DataType::TimestampTz
        )
    }),
    ("Trie", |t| matches!(t, DataType::VarChar { .. })),
    ("RTREE", |t| *t == DataType::Geometry),
    (NGRAM, |t| matches!(t, DataType::VarChar { .. } | DataType::Json)),
];

const NGRAM: &str = "NGRAM";
const MIN_GRAM: &str = "min_gram";
const MAX_GRAM: &str = "max_gram";

/// Parameters that every type takes and that change nothing here: where the index is kept is not up to a request, the
/// structure follows the values, and `params` is the text that nested parameters came in.
const WITHOUT_EFFECT: &[&str] = &["mmap.enabled", "warmup", "params", "bitmap_cardinality_limit"];

fn is_bitmap_type(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::VarChar { .. }
    )
}

/// Refuses an index that a field cannot have.
///
/// # Errors
/// [`Error::InvalidParameter`] for a type, or a parameter, that the field does not allow.
pub(crate) fn check(index_type: &str, field: &Field, params: &BTreeMap<String, String>) -> Result<()> {
    let Some((_, accepts)) = TYPES.iter().find(|(name, _)| *name == index_type) else {
        let known: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        return Err(Error::InvalidParameter(format!(
            "invalid index type: {index_type} for scalar field '{}'; allowed are {}",
            field.name,
            known.join(", ")
        )));
    };
    let primary_bitmap = index_type == "BITMAP" && field.primary_key;
    if primary_bitmap || !accepts(&field.data_type) {
        return Err(Error::InvalidParameter(format!(
            "{index_type} index is not supported on field '{}' of type {}{}",
            field.name,
            field.data_type.name(),
            if primary_bitmap { " (primary key)" } else { "" }
        )));
    }
    let of_type: &[&str] = if index_type == NGRAM {
        &[MIN_GRAM, MAX_GRAM]
    } else {
        &[]
    };
    let known = |name: &str| of_type.contains(&name) || WITHOUT_EFFECT.contains(&name);
    if let Some(unknown) = params.keys().find(|name| !known(name)) {
        let allowed = if of_type.is_empty() {
            "it has none".to_string()
        } else {
            format!("allowed are {}", of_type.join(", "))
        };
        return Err(Error::InvalidParameter(format!(
            "unknown parameter {unknown} of an index of type {index_type} on field '{}'; {allowed}",
            field.name
        )));
    }
    grams(index_type, params).map(|_| ())
}

/// What a checked definition builds.
pub(crate) fn build_of(index_type: &str, params: &BTreeMap<String, String>) -> Option<ScalarBuild> {
    let grams = grams(index_type, params).ok()?;
    Some(ScalarBuild {
        grams,
        analyzer: None,
    })
}

/// The lengths of the parts of texts that NGRAM indexes.
fn grams(index_type: &str, params: &BTreeMap<String, String>) -> Result<Option<GramLengths>> {
    if index_type != NGRAM {
        return Ok(None);
    }
    let (Some(min), Some(max)) = (params.get(MIN_GRAM), params.get(MAX_GRAM)) else {
        return Err(Error::InvalidParameter(
            "Ngram index must specify both min_gram and max_gram".into(),
        ));
    };
    let number = |name: &str, text: &String| {
        text.trim().parse::<i64>().map_err(|_| {
            Error::InvalidParameter(format!("{name} for Ngram index must be an integer, got: {text}"))
        })
    };
    let (min, max) = (number(MIN_GRAM, min)?, number(MAX_GRAM, max)?);
    let lengths = u32::try_from(min)
        .ok()
        .zip(u32::try_from(max).ok())
        .and_then(|(min, max)| GramLengths::new(min, max));
    lengths.map(Some).ok_or_else(|| {
        Error::InvalidParameter(format!(
            "invalid min_gram or max_gram value for Ngram index, min_gram: {min}, max_gram: {max}; \
             both are 1 or more, min_gram is at most max_gram"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(index_type: &str, data_type: DataType, params: &[(&str, &str)]) -> String {
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_string(), (*value).to_string()))
            .collect();
        match check(index_type, &Field::new("f", data_type), &params) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn types_and_parameters_are_checked_as_milvus_does() {
        let text = || DataType::VarChar { max_length: 9 };
        assert_eq!(
            refused("INVERTED", DataType::Float, &[("mmap.enabled", "true")]),
            ""
        );
        assert!(refused("BITMAP", DataType::Float, &[]).contains("of type Float"));
        assert!(refused("Trie", DataType::Int8, &[]).contains("of type Int8"));
        assert!(refused("HNSW", text(), &[]).contains("allowed are AUTOINDEX, INVERTED"));
        assert!(
            refused("STL_SORT", text(), &[("M", "3")])
                .contains("unknown parameter M of an index of type STL_SORT")
        );
        assert!(
            refused("NGRAM", text(), &[("min_gram", "2")])
                .contains("must specify both min_gram and max_gram")
        );
        assert!(
            refused("NGRAM", text(), &[("min_gram", "2"), ("max_gram", "x")])
                .contains("max_gram for Ngram index must be an integer, got: x")
        );
        assert!(
            refused("NGRAM", text(), &[("min_gram", "3"), ("max_gram", "2")])
                .contains("min_gram: 3, max_gram: 2")
        );
        assert_eq!(
            refused("NGRAM", text(), &[("min_gram", "2"), ("max_gram", "4")]),
            ""
        );
    }
}

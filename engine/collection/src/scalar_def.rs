//! Definitions of scalar indexes: which types of fields each type of index takes, and with which parameters.
//!
//! Milvus has many names for one thing: the distinct values in order with the rows of each. What a name allows is checked
//! as Milvus does; what is built is the same ([`elanus_index::scalar`]), for NGRAM with the parts of texts.
//!
//! An index on JSON is on one place in it, `json_path`, and on the values there that are of one type, `json_cast_type`.

use std::collections::BTreeMap;

use elanus_index::scalar::GramLengths;

use crate::error::{Error, Result};
use crate::json_values::{JsonCast, STRING_TO_DOUBLE, escaped};
use crate::scalar_index::ScalarBuild;
use crate::types::{DataType, Field};

/// Whether an index can be on a field of this type.
type AcceptsType = fn(&DataType) -> bool;

/// Index types that Milvus knows, and the test of the field types each accepts.
const TYPES: &[(&str, AcceptsType)] = &[
    ("AUTOINDEX", |t| !matches!(t, DataType::StructArray { .. })),
    ("INVERTED", |t| {
        !matches!(t, DataType::Geometry | DataType::StructArray { .. })
    }),
    ("BITMAP", |t| {
        if let DataType::Array { element, .. } = t {
            is_bitmap_type(element)
        } else {
            is_bitmap_type(t) || *t == DataType::Json
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
                | DataType::Text
                | DataType::TimestampTz
                | DataType::Json
        )
    }),
    ("Trie", DataType::is_text),
    ("RTREE", |t| *t == DataType::Geometry),
    (NGRAM, |t| t.is_text() || *t == DataType::Json),
];

const NGRAM: &str = "NGRAM";
const MIN_GRAM: &str = "min_gram";
const MAX_GRAM: &str = "max_gram";
const JSON_PATH: &str = "json_path";
const JSON_CAST_TYPE: &str = "json_cast_type";
const JSON_CAST_FUNCTION: &str = "json_cast_function";

/// Parameters that every type takes and that change nothing here: where the index is kept is not up to a request, the
/// structure follows the values, and `params` is the text that nested parameters came in.
const WITHOUT_EFFECT: &[&str] = &["mmap.enabled", "warmup", "params", CARDINALITY_LIMIT];
/// Distinct values up to which Milvus' hybrid index is a bitmap.
const CARDINALITY_LIMIT: &str = "bitmap_cardinality_limit";

fn is_bitmap_type(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::VarChar { .. }
            | DataType::Text
    )
}

/// Refuses an index that a field cannot have. Gives what is indexed of a JSON field.
///
/// # Errors
/// [`Error::InvalidParameter`] for a type, or a parameter, that the field does not allow.
pub(crate) fn check(
    index_type: &str,
    field: &Field,
    params: &BTreeMap<String, String>,
) -> Result<Option<JsonCast>> {
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
    let is_json = field.data_type == DataType::Json;
    let mut of_type = Vec::new();
    if index_type == NGRAM {
        of_type.extend([MIN_GRAM, MAX_GRAM]);
    }
    if is_json {
        of_type.extend([JSON_PATH, JSON_CAST_TYPE, JSON_CAST_FUNCTION]);
    }
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
    if let Some(given) = params.get(CARDINALITY_LIMIT)
        && !given.parse().is_ok_and(|limit: u32| (1..=1_000).contains(&limit))
    {
        return Err(Error::InvalidParameter(format!(
            "{CARDINALITY_LIMIT} is '{given}', allowed is an integer from 1 to 1000"
        )));
    }
    grams(index_type, params)?;
    if is_json {
        return json_cast(index_type, field, params).map(Some);
    }
    Ok(None)
}

/// What is indexed of a JSON field.
fn json_cast(index_type: &str, field: &Field, params: &BTreeMap<String, String>) -> Result<JsonCast> {
    let Some(given) = params.get(JSON_CAST_TYPE) else {
        return Err(Error::InvalidParameter(format!(
            "json index must specify cast type: {JSON_CAST_TYPE} of the index on field '{}' is missing",
            field.name
        )));
    };
    let cast = given.trim().to_ascii_uppercase();
    let allowed: Vec<&str> = match index_type {
        "BITMAP" => vec!["BOOL", "VARCHAR"],
        "STL_SORT" => vec!["DOUBLE", "VARCHAR"],
        NGRAM => vec!["VARCHAR"],
        _ => JsonCast::names().collect(),
    };
    if !allowed.contains(&cast.as_str()) {
        return Err(Error::InvalidParameter(format!(
            "json_cast_type {given} is not supported for {index_type} index; allowed are {}",
            allowed.join(", ")
        )));
    }
    let function = params
        .get(JSON_CAST_FUNCTION)
        .map(|given| given.trim().to_ascii_uppercase());
    if let Some(unknown) = function.as_ref().filter(|function| *function != STRING_TO_DOUBLE) {
        return Err(Error::InvalidParameter(format!(
            "json_cast_function {unknown} is not supported; allowed is {STRING_TO_DOUBLE}"
        )));
    }
    if function.is_some() && cast != "DOUBLE" {
        return Err(Error::InvalidParameter(format!(
            "json_cast_function {STRING_TO_DOUBLE} is for {JSON_CAST_TYPE} DOUBLE, got {given}"
        )));
    }
    let pointer = match params.get(JSON_PATH) {
        None => String::new(),
        Some(path) => pointer_of(path, field).ok_or_else(|| {
            let name = if field.dynamic { "key" } else { &field.name };
            Error::InvalidParameter(format!(
                "invalid json_path {path} of field '{}'; one is written like {name}[\"a\"][0]",
                field.name
            ))
        })?,
    };
    Ok(JsonCast {
        pointer,
        cast,
        function,
    })
}

/// The JSON pointer of a path like `meta["a"][0]`; one in the dynamic field may begin with the key.
fn pointer_of(path: &str, field: &Field) -> Option<String> {
    let path = path.trim();
    let end = path.find('[').unwrap_or(path.len());
    let (name, mut rest) = path.split_at(end);
    let mut pointer = String::new();
    let mut push = |step: &str| {
        pointer.push('/');
        pointer.push_str(&escaped(step));
    };
    let name = name.trim();
    if name != field.name {
        if !field.dynamic || name.is_empty() {
            return None;
        }
        push(name);
    }
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[')?.trim_start();
        rest = match inside.chars().next()? {
            quote @ ('"' | '\'') => {
                let (key, after) = inside.get(1..)?.split_once(quote)?;
                if key.is_empty() || key.contains('\\') {
                    return None;
                }
                push(key);
                after.trim_start().strip_prefix(']')?
            }
            _ => {
                let (index, after) = inside.split_once(']')?;
                let index: usize = index.trim().parse().ok()?;
                push(&index.to_string());
                after
            }
        }
        .trim_start();
    }
    Some(pointer)
}

/// What a checked definition builds.
pub(crate) fn build_of(
    index_type: &str,
    params: &BTreeMap<String, String>,
    json: Option<&JsonCast>,
) -> Option<ScalarBuild> {
    let grams = grams(index_type, params).ok()?;
    Some(ScalarBuild {
        grams,
        analyzer: None,
        json: json.cloned(),
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
            Ok(_) => String::new(),
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
        let limited = |limit| refused("BITMAP", DataType::Int8, &[("bitmap_cardinality_limit", limit)]);
        assert_eq!(limited("1000"), "");
        assert!(limited("1001").contains("allowed is an integer from 1 to 1000"));
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

    #[test]
    fn json_needs_a_type_and_a_path_of_its_field() {
        let json = |params: &[(&str, &str)]| refused("INVERTED", DataType::Json, params);
        assert!(json(&[]).contains("json index must specify cast type"));
        assert!(json(&[(JSON_CAST_TYPE, "FLOAT")]).contains("json_cast_type FLOAT is not supported"));
        assert!(json(&[(JSON_CAST_TYPE, "DOUBLE"), (JSON_PATH, "g[1]")]).contains("like f[\"a\"][0]"));
        let with_function =
            |cast: &str, function: &str| json(&[(JSON_CAST_TYPE, cast), (JSON_CAST_FUNCTION, function)]);
        assert_eq!(with_function("DOUBLE", "string_to_double"), "");
        assert!(with_function("DOUBLE", "TO_INT").contains("allowed is STRING_TO_DOUBLE"));
        assert!(
            with_function("VARCHAR", STRING_TO_DOUBLE).contains("is for json_cast_type DOUBLE, got VARCHAR")
        );
        assert!(
            refused("BITMAP", DataType::Json, &[(JSON_CAST_TYPE, "DOUBLE")])
                .contains("allowed are BOOL, VARCHAR")
        );
        assert_eq!(json(&[(JSON_CAST_TYPE, "double"), (JSON_PATH, "f['a'][0]")]), "");
        let mut field = Field::new("f", DataType::Json);
        for (path, pointer) in [
            ("f", Some("")),
            ("f[\"a/b\"] [3]", Some("/a~1b/3")),
            ("f['x'][\"y]\"]", Some("/x/y]")),
            ("f.a", None),
            ("f[a]", None),
            ("f[\"a\"", None),
            ("g", None),
        ] {
            assert_eq!(pointer_of(path, &field).as_deref(), pointer, "{path}");
        }
        field.dynamic = true;
        assert_eq!(pointer_of("g[\"a\"]", &field).as_deref(), Some("/g/a"));
    }
}

//! Output fields: what a client names, the columns to read for it, and the names in the reply.
//!
//! `*` stands for every field, vectors and the dynamic object included, but for counted terms (BM25), which are not sent. A name that the schema does
//! not have is a key of the dynamic object when there is one: the object is read, and only the keys
//! asked for are sent.

use std::collections::BTreeMap;

use elanus_collection::{CollectionSchema, DYNAMIC_FIELD, Field, split_sub_field_name};

use crate::status::{Error, Result};

/// What a request reads and what its reply says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Output {
    /// Columns to read, in the order of the reply, without repeats.
    pub columns: Vec<String>,
    /// `output_fields` of the reply.
    pub names: Vec<String>,
    /// Keys of the dynamic object to send; `None`: all of them.
    pub dynamic_keys: Option<Vec<String>>,
    /// Sub-fields to send of an array of structs; of one that is not here all of them.
    pub sub_fields: BTreeMap<String, Vec<String>>,
}

impl Output {
    fn column(&mut self, name: &str) {
        if !self.columns.iter().any(|column| column == name) {
            self.columns.push(name.to_string());
        }
    }

    fn name(&mut self, name: &str) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_string());
        }
    }
}

/// Resolves the output fields of a request.
///
/// # Errors
/// When a name is not a field and there is no dynamic field.
pub(crate) fn resolve(schema: &CollectionSchema, requested: &[String]) -> Result<Output> {
    let mut output = Output::default();
    let mut keys: Vec<String> = Vec::new();
    let mut whole_dynamic = false;
    for name in requested {
        let name = name.trim();
        if name == "*" {
            let readable = |field: &&Field| schema.bm25_of(&field.name).is_none();
            for field in schema.fields.iter().filter(readable) {
                output.column(&field.name);
                output.name(&field.name);
                whole_dynamic |= field.dynamic;
            }
        } else if let Some(field) = schema.field(name) {
            if let Some(function) = schema.bm25_of(name) {
                return Err(Error::invalid(format!(
                    "not allowed to retrieve raw data of field {name}: it is the output of function {}",
                    function.name
                )));
            }
            output.column(&field.name);
            output.name(&field.name);
            whole_dynamic |= field.dynamic;
        } else if let Some((field, sub)) = sub_field(schema, name)? {
            output.column(&field.name);
            output.name(name);
            let subs = output.sub_fields.entry(field.name.clone()).or_default();
            subs.push(sub.to_string());
        } else {
            let Some(dynamic) = schema.dynamic_field() else {
                return Err(unknown(schema, name));
            };
            let key = explicit_key(name).unwrap_or(name);
            if key.is_empty() || key.contains(['[', ']', '"', '\'']) {
                return Err(Error::invalid(format!(
                    "not support getting subkeys of json field yet: {name}; ask for the key at the top or for the whole field"
                )));
            }
            output.column(&dynamic.name);
            output.name(key);
            keys.push(key.to_string());
        }
    }
    // Whoever asks for the whole gets it.
    let names = &output.names;
    output.sub_fields.retain(|field, _| !names.contains(field));
    output.dynamic_keys = (!whole_dynamic && !keys.is_empty()).then_some(keys);
    Ok(output)
}

/// The array of structs and the sub-field that `chunks[text]` names.
fn sub_field<'a>(schema: &'a CollectionSchema, name: &'a str) -> Result<Option<(&'a Field, &'a str)>> {
    let Some((field, sub)) = split_sub_field_name(name) else {
        return Ok(None);
    };
    let Some(field) = schema.field(field).filter(|field| !field.sub_fields().is_empty()) else {
        return Ok(None);
    };
    let known: Vec<_> = field.sub_fields().iter().map(|sub| sub.name.as_str()).collect();
    if known.contains(&sub) {
        return Ok(Some((field, sub)));
    }
    Err(Error::invalid(format!(
        "field {name} not exist; sub-fields of {} are {}",
        field.name,
        known.join(", ")
    )))
}

/// The key of `$meta["key"]`, the long form of a dynamic key.
fn explicit_key(name: &str) -> Option<&str> {
    let quoted = name.strip_prefix(DYNAMIC_FIELD)?.trim().strip_prefix('[')?;
    let quoted = quoted.strip_suffix(']')?.trim();
    ['"', '\'']
        .into_iter()
        .find_map(|quote| quoted.strip_prefix(quote)?.strip_suffix(quote))
}

/// As [`resolve`] for a query, whose reply always has the primary key.
pub(crate) fn resolve_with_key(
    schema: &CollectionSchema,
    requested: &[String],
    key: &Field,
) -> Result<Output> {
    let mut output = resolve(schema, requested)?;
    output.column(&key.name);
    if output.names.is_empty() {
        output.name(&key.name);
    }
    Ok(output)
}

fn unknown(schema: &CollectionSchema, name: &str) -> Error {
    let known: Vec<_> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    let near = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), *known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match near {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!("fields are {}", known.join(", ")),
    };
    Error::invalid(format!("field {name} not exist; {hint}"))
}

#[cfg(test)]
mod tests {
    use elanus_collection::DataType;

    use super::*;

    fn schema(dynamic: bool) -> CollectionSchema {
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("city", DataType::VarChar { max_length: 10 }),
            Field::new("v", DataType::FloatVector { dim: 2 }),
        ]);
        schema.enable_dynamic_field = dynamic;
        schema.validate().unwrap();
        schema
    }

    fn run(dynamic: bool, names: &[&str]) -> Result<Output> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        resolve(&schema(dynamic), &names)
    }

    #[test]
    fn a_star_is_everything() {
        let output = run(true, &["*"]).unwrap();
        assert_eq!(output.columns, ["id", "city", "v", "$meta"]);
        assert_eq!(output.names, output.columns);
        assert_eq!(output.dynamic_keys, None);
        assert_eq!(
            run(false, &["city", "*", "id"]).unwrap().columns,
            ["city", "id", "v"]
        );
    }

    #[test]
    fn other_names_are_dynamic_keys() {
        let output = run(true, &["color", "city", "size"]).unwrap();
        assert_eq!(output.columns, ["$meta", "city"]);
        assert_eq!(output.names, ["color", "city", "size"]);
        assert_eq!(
            output.dynamic_keys.as_deref(),
            Some(["color".to_string(), "size".to_string()].as_slice())
        );
        let whole = run(true, &["color", "$meta"]).unwrap();
        assert_eq!(whole.dynamic_keys, None);
        for long in ["$meta[\"color\"]", "$meta['color']", "$meta [ \"color\" ]"] {
            let output = run(true, &[long, "color"]).unwrap();
            assert_eq!(
                (output.columns, output.names),
                (vec!["$meta".to_string()], vec!["color".to_string()])
            );
            assert!(output.dynamic_keys.unwrap().iter().all(|key| key == "color"));
        }
        for below in [
            "$meta[\"a\"][\"b\"]",
            "color[0]",
            "color[\"a\"]",
            "$meta[\"\"]",
            "$meta[]",
            "$meta[\"]",
            "",
        ] {
            let reason = run(true, &[below]).unwrap_err().to_string();
            assert!(
                reason.contains("not support getting subkeys"),
                "{below}: {reason}"
            );
        }
    }

    #[test]
    fn sub_fields_of_structs_have_names_of_their_own() {
        let mut schema = schema(true);
        schema.fields.push(Field::new(
            "chunks",
            DataType::StructArray {
                fields: ["text", "tag"]
                    .map(|name| elanus_collection::SubField::new(name, DataType::VarChar { max_length: 9 }))
                    .to_vec(),
                max_capacity: 4,
            },
        ));
        let run = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            resolve(&schema, &names)
        };
        let output = run(&["chunks[tag]", "city"]).unwrap();
        assert_eq!(output.columns, ["chunks", "city"]);
        assert_eq!(output.names, ["chunks[tag]", "city"]);
        assert_eq!(output.sub_fields["chunks"], ["tag"]);
        assert!(run(&["chunks[tag]", "chunks"]).unwrap().sub_fields.is_empty());
        let reason = run(&["chunks[no]"]).unwrap_err().to_string();
        assert!(reason.contains("sub-fields of chunks are text, tag"), "{reason}");
    }

    #[test]
    fn unknown_fields_are_named_with_a_hint() {
        assert!(
            run(false, &["citty"])
                .unwrap_err()
                .to_string()
                .starts_with("field citty not exist; did you mean city?")
        );
        assert!(
            run(false, &["zzz"])
                .unwrap_err()
                .to_string()
                .contains("fields are id, city, v")
        );
    }

    #[test]
    fn a_query_always_has_its_key() {
        let schema = schema(false);
        let key = schema.primary_key().unwrap();
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            resolve_with_key(&schema, &names(&["city"]), key).unwrap().columns,
            ["city", "id"]
        );
        assert_eq!(resolve_with_key(&schema, &[], key).unwrap().names, ["id"]);
    }
}

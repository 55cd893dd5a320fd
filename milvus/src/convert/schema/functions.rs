//! Functions of a schema: BM25 and MinHash.

use elanus_collection::{CollectionSchema, FunctionKind, TextFunction};
use milvus::proto::schema as wire;
use wire::FunctionType;

use crate::convert::{to_map, to_pairs};
use crate::status::{Error, Result};

/// A function of a CreateCollection request.
pub(super) fn from_wire(function: wire::FunctionSchema) -> Result<TextFunction> {
    let name = function.name;
    let kind = match FunctionType::try_from(function.r#type) {
        Ok(FunctionType::Bm25) => FunctionKind::Bm25,
        Ok(FunctionType::MinHash) => FunctionKind::MinHash {
            params: to_map(function.params.clone())
                .into_iter()
                .map(|(key, value)| (key.to_lowercase(), value))
                .collect(),
        },
        Ok(other @ (FunctionType::TextEmbedding | FunctionType::Rerank | FunctionType::MolFingerprint)) => {
            return Err(Error::unsupported(format!(
                "function type {} (function {name}); allowed are BM25, MinHash",
                other.as_str_name()
            )));
        }
        Ok(FunctionType::Unknown) | Err(_) => {
            return Err(Error::invalid(format!(
                "check function {name} with unknown function type {}; allowed are BM25, MinHash",
                function.r#type
            )));
        }
    };
    if let (FunctionKind::Bm25, Some(pair)) = (&kind, function.params.first()) {
        return Err(Error::invalid(format!(
            "BM25 function accepts no params, function {name} has {}",
            pair.key
        )));
    }
    let one = |mut names: Vec<String>, what: &str| match (names.pop(), names.len()) {
        (Some(only), 0) => Ok(only),
        (last, more) => Err(Error::invalid(format!(
            "{} function should have exactly one {what} field, function {name} has {}",
            kind.name(),
            more + usize::from(last.is_some())
        ))),
    };
    let input = one(function.input_field_names, "input")?;
    let output = one(function.output_field_names, "output")?;
    let mut read = TextFunction::new(name, input, output).of_kind(kind);
    read.description = function.description;
    Ok(read)
}

/// The functions as DescribeCollection shows them.
pub(super) fn to_wire(schema: &CollectionSchema) -> Vec<wire::FunctionSchema> {
    let id = |name: &str| schema.field(name).map(|field| field.id).into_iter().collect();
    let functions = schema.functions.iter().map(|function| wire::FunctionSchema {
        name: function.name.clone(),
        id: function.id,
        description: function.description.clone(),
        r#type: match function.kind {
            FunctionKind::Bm25 => FunctionType::Bm25,
            FunctionKind::MinHash { .. } => FunctionType::MinHash,
        } as i32,
        input_field_names: vec![function.input.clone()],
        input_field_ids: id(&function.input),
        output_field_names: vec![function.output.clone()],
        output_field_ids: id(&function.output),
        params: to_pairs(&function.described_params(&schema.fields)),
    });
    functions.collect()
}

//! Functions of a schema: BM25.

use elanus_collection::{CollectionSchema, TextFunction};
use milvus::proto::schema as wire;
use wire::FunctionType;

use crate::status::{Error, Result};

/// A function of a CreateCollection request.
pub(super) fn from_wire(function: wire::FunctionSchema) -> Result<TextFunction> {
    let name = function.name;
    match FunctionType::try_from(function.r#type) {
        Ok(FunctionType::Bm25) => {}
        Ok(
            other @ (FunctionType::TextEmbedding
            | FunctionType::Rerank
            | FunctionType::MinHash
            | FunctionType::MolFingerprint),
        ) => {
            return Err(Error::unsupported(format!(
                "function type {} (function {name}); allowed is BM25",
                other.as_str_name()
            )));
        }
        Ok(FunctionType::Unknown) | Err(_) => {
            return Err(Error::invalid(format!(
                "check function {name} with unknown function type {}; allowed is BM25",
                function.r#type
            )));
        }
    }
    if let Some(pair) = function.params.first() {
        return Err(Error::invalid(format!(
            "BM25 function accepts no params, function {name} has {}",
            pair.key
        )));
    }
    let one = |mut names: Vec<String>, what: &str| match (names.pop(), names.len()) {
        (Some(only), 0) => Ok(only),
        (last, more) => Err(Error::invalid(format!(
            "BM25 function should have exactly one {what} field, function {name} has {}",
            more + usize::from(last.is_some())
        ))),
    };
    let input = one(function.input_field_names, "input")?;
    let output = one(function.output_field_names, "output")?;
    let mut read = TextFunction::new(name, input, output);
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
        r#type: FunctionType::Bm25 as i32,
        input_field_names: vec![function.input.clone()],
        input_field_ids: id(&function.input),
        output_field_names: vec![function.output.clone()],
        output_field_ids: id(&function.output),
        params: Vec::new(),
    });
    functions.collect()
}

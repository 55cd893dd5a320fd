//! A collection's schema: its fields, the rules Milvus sets for them, and the Arrow form.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

pub use crate::types::metadata_keys;

use crate::analyzers::{Analyzers, several};
use crate::error::{Error, Result};
use crate::function::{
    ENABLE_ANALYZER, ENABLE_MATCH, MULTI_ANALYZER_PARAMS, TextFunction, is_analyzed, is_matched,
};
use crate::names::{NameKind, validate_name};
use crate::rows::default_array;
use crate::structs::{self, split_sub_field_name};
use crate::types::{DataType, Field, MAX_ARRAY_CAPACITY, MAX_VARCHAR_LENGTH};

/// Name of the hidden JSON column that holds what the schema does not name.
pub const DYNAMIC_FIELD: &str = "$meta";
/// Name of the hidden column with each row's write timestamp.
pub const TIMESTAMP_COLUMN: &str = elanus_storage::TIMESTAMP_COLUMN;

/// Id of the first user field; smaller ids are system fields.
const FIRST_FIELD_ID: i64 = 100;
const MAX_FIELDS: usize = 64;
const MAX_VECTOR_FIELDS: usize = 10;
const DIM_RANGE: std::ops::RangeInclusive<u32> = 2..=32_768;
const BIT_RANGE: std::ops::RangeInclusive<u32> = 8..=262_144;

const DESCRIPTION_KEY: &str = "elanus.description";
const DYNAMIC_KEY: &str = "elanus.enable_dynamic_field";
const FUNCTIONS_KEY: &str = "elanus.functions";

/// The fields of a collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CollectionSchema {
    /// Free text.
    pub description: String,
    /// Fields in declaration order; the dynamic field, when enabled, is the last one.
    pub fields: Vec<Field>,
    /// Whether unknown keys of a row are kept in [`DYNAMIC_FIELD`].
    pub enable_dynamic_field: bool,
    /// Functions that fill fields.
    pub functions: Vec<TextFunction>,
}

impl CollectionSchema {
    /// A schema of these fields, not validated yet.
    pub fn new(fields: Vec<Field>) -> Self {
        Self {
            description: String::new(),
            fields,
            enable_dynamic_field: false,
            functions: Vec::new(),
        }
    }

    /// The same schema with the dynamic field switched on.
    #[must_use]
    pub fn with_dynamic_field(mut self) -> Self {
        self.enable_dynamic_field = true;
        self
    }

    /// Checks every rule, assigns field ids and appends the dynamic field.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`], [`Error::InvalidName`] or [`Error::LimitExceeded`] naming the
    /// field, what was given and what is allowed.
    pub fn validate(&mut self) -> Result<()> {
        let dynamic = self.fields.iter().find(|field| field.dynamic).cloned();
        self.fields.retain(|field| !field.dynamic);
        let count = self.fields.iter().map(|field| 1 + field.sub_fields().len());
        let count: usize = count.sum();
        if count > MAX_FIELDS {
            return Err(Error::LimitExceeded(format!(
                "maximum field's number should be limited to {MAX_FIELDS}, got {count}"
            )));
        }
        let mut seen = HashSet::new();
        for field in &self.fields {
            validate_name(NameKind::Field, &field.name)?;
            if !seen.insert(field.name.as_str()) {
                return Err(Error::InvalidSchema(format!(
                    "duplicated field name '{}'",
                    field.name
                )));
            }
            validate_field(field)?;
        }
        self.validate_keys()?;
        let vectors = self.vector_columns().count();
        if vectors > MAX_VECTOR_FIELDS {
            return Err(Error::LimitExceeded(format!(
                "maximum vector field's number should be limited to {MAX_VECTOR_FIELDS}, got {vectors}"
            )));
        }
        if self.enable_dynamic_field {
            self.fields.push(dynamic.unwrap_or_else(|| Field {
                dynamic: true,
                description: "dynamic schema".to_string(),
                ..Field::new(DYNAMIC_FIELD, DataType::Json)
            }));
        }
        let next = self.assign_ids();
        self.validate_functions(next)
    }

    /// Gives the fields without one an id, in Milvus' order: arrays of structs come last, each followed by its sub-fields.
    /// Returns the next free one.
    fn assign_ids(&mut self) -> i64 {
        let mut next = self.next_id();
        let mut assign = |id: &mut i64| {
            if *id < FIRST_FIELD_ID {
                *id = next;
                next += 1;
            }
        };
        let is_struct = |field: &Field| !field.sub_fields().is_empty();
        for field in self.fields.iter_mut().filter(|field| !is_struct(field)) {
            assign(&mut field.id);
        }
        for field in self.fields.iter_mut().filter(|field| is_struct(field)) {
            assign(&mut field.id);
            for sub in field.sub_fields_mut() {
                assign(&mut sub.id);
            }
        }
        next
    }

    /// An id above those of all fields and sub-fields.
    pub(crate) fn next_id(&self) -> i64 {
        let own = self.fields.iter().map(|field| field.id);
        let subs = self.fields.iter().flat_map(Field::sub_fields).map(|sub| sub.id);
        own.chain(subs).max().map_or(0, |id| id + 1).max(FIRST_FIELD_ID)
    }

    fn validate_keys(&self) -> Result<()> {
        let primary: Vec<_> = self.fields.iter().filter(|field| field.primary_key).collect();
        let [key] = primary.as_slice() else {
            return Err(Error::InvalidSchema(if primary.is_empty() {
                "primary key is not specified: exactly one INT64 or VARCHAR field must be the primary key"
                    .into()
            } else {
                format!(
                    "there are more than one primary key: '{}' and '{}'",
                    primary[0].name, primary[1].name
                )
            }));
        };
        if !matches!(key.data_type, DataType::Int64 | DataType::VarChar { .. }) {
            return Err(Error::InvalidSchema(format!(
                "the data type of primary key should be Int64 or VarChar, field '{}' is {}",
                key.name,
                key.data_type.name()
            )));
        }
        if key.nullable || key.default.is_some() {
            return Err(Error::InvalidSchema(format!(
                "primary field '{}' cannot be nullable or have a default value",
                key.name
            )));
        }
        for (what, fields) in [
            (
                "partition key",
                self.fields.iter().filter(|f| f.partition_key).collect::<Vec<_>>(),
            ),
            (
                "clustering key",
                self.fields
                    .iter()
                    .filter(|f| f.clustering_key)
                    .collect::<Vec<_>>(),
            ),
        ] {
            if let [first, second, ..] = fields.as_slice() {
                return Err(Error::InvalidSchema(format!(
                    "there are more than one {what}, field name = {}, {}",
                    first.name, second.name
                )));
            }
        }
        if let Some(field) = self.partition_key() {
            if !matches!(field.data_type, DataType::Int64 | DataType::VarChar { .. }) {
                return Err(Error::InvalidSchema(format!(
                    "the data type of partition key should be Int64 or VarChar, field '{}' is {}",
                    field.name,
                    field.data_type.name()
                )));
            }
            if field.primary_key || field.nullable {
                return Err(Error::InvalidSchema(format!(
                    "partition key field '{}' must not be primary field and cannot be nullable",
                    field.name
                )));
            }
        }
        Ok(())
    }

    /// Checks the functions and gives those without one an id.
    fn validate_functions(&mut self, mut next: i64) -> Result<()> {
        for (at, function) in self.functions.iter().enumerate() {
            function.validate(&self.fields)?;
            for other in self.functions.iter().take(at) {
                if other.name == function.name {
                    return Err(Error::InvalidSchema(format!(
                        "duplicate function name '{}'",
                        other.name
                    )));
                }
                if other.output == function.output {
                    return Err(Error::InvalidSchema(format!(
                        "functions '{}' and '{}' fill the same field '{}'",
                        other.name, function.name, other.output
                    )));
                }
            }
        }
        for field in self.fields.iter().filter(|field| is_analyzed(field)) {
            if !field.data_type.is_text() {
                return Err(Error::InvalidSchema(format!(
                    "field '{}' is {}: only VarChar and Text fields can have an analyzer",
                    field.name,
                    field.data_type.name()
                )));
            }
            Analyzers::of(field)?;
        }
        if let Some(field) = self
            .fields
            .iter()
            .find(|field| is_matched(field) && !is_analyzed(field))
        {
            return Err(Error::InvalidSchema(format!(
                "field '{}' has {ENABLE_MATCH} without {ENABLE_ANALYZER}",
                field.name
            )));
        }
        let mut of_several = self.fields.iter().filter(|field| several(field).is_some());
        if let Some(field) = of_several.clone().find(|field| !is_analyzed(field)) {
            return Err(Error::InvalidSchema(format!(
                "field '{}' has {MULTI_ANALYZER_PARAMS} without {ENABLE_ANALYZER}",
                field.name
            )));
        }
        if let Some(field) = of_several.find(|field| is_matched(field)) {
            return Err(Error::InvalidSchema(format!(
                "field '{}' has {ENABLE_MATCH} with {MULTI_ANALYZER_PARAMS}: only one analyzer can be matched by",
                field.name
            )));
        }
        for function in self.functions.iter_mut().filter(|function| function.id == 0) {
            function.id = next;
            next += 1;
        }
        Ok(())
    }

    /// Whether the values of this field stay what they are as long as their row is there: they decide where the row is kept, or an
    /// index or another field is made of them.
    pub fn is_fixed(&self, field: &Field) -> bool {
        field.primary_key
            || field.partition_key
            || field.data_type.is_vector()
            || structs::vector_columns(field).next().is_some()
            || self
                .functions
                .iter()
                .any(|function| function.reads(&field.name, &self.fields))
    }

    /// The function that fills this field.
    pub fn function_of(&self, output: &str) -> Option<&TextFunction> {
        self.functions.iter().find(|function| function.output == output)
    }

    /// The function that counts terms in this field.
    pub fn bm25_of(&self, output: &str) -> Option<&TextFunction> {
        self.function_of(output).filter(|function| function.is_bm25())
    }

    /// The Arrow schema without hidden columns, everything else in metadata.
    pub fn to_arrow(&self) -> SchemaRef {
        let fields: Vec<_> = self.fields.iter().map(Field::to_arrow).collect();
        let mut metadata = HashMap::from([
            (DESCRIPTION_KEY.to_string(), self.description.clone()),
            (DYNAMIC_KEY.to_string(), self.enable_dynamic_field.to_string()),
        ]);
        if !self.functions.is_empty() {
            let functions = serde_json::json!(self.functions);
            metadata.insert(FUNCTIONS_KEY.to_string(), functions.to_string());
        }
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// Reads a schema back from its Arrow form.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when a field is not of a supported form.
    pub fn from_arrow(schema: &Schema) -> Result<Self> {
        let fields = schema
            .fields()
            .iter()
            .filter(|field| field.name() != TIMESTAMP_COLUMN)
            .map(|field| Field::from_arrow(field))
            .collect::<Result<Vec<_>>>()?;
        let metadata = schema.metadata();
        let functions = metadata.get(FUNCTIONS_KEY).map(|text| serde_json::from_str(text));
        let functions = functions
            .transpose()
            .map_err(|error| Error::InvalidSchema(format!("functions of the schema: {error}")))?;
        Ok(Self {
            functions: functions.unwrap_or_default(),
            description: metadata.get(DESCRIPTION_KEY).cloned().unwrap_or_default(),
            enable_dynamic_field: fields.iter().any(|field| field.dynamic)
                || metadata.get(DYNAMIC_KEY).is_some_and(|value| value == "true"),
            fields,
        })
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The primary key; a validated schema has exactly one.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] on a schema that was never validated and has none.
    pub fn primary_key(&self) -> Result<&Field> {
        self.fields
            .iter()
            .find(|field| field.primary_key)
            .ok_or_else(|| Error::InvalidSchema("primary key is not specified".into()))
    }

    /// The partition key, if there is one.
    pub fn partition_key(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.partition_key)
    }

    /// The hidden JSON column of the dynamic field, if enabled.
    pub fn dynamic_field(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.dynamic)
    }

    /// The vector fields in declaration order.
    pub fn vector_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.data_type.is_vector())
    }

    /// What can be searched for near vectors: the vector fields, and the vectors in arrays of structs under names like
    /// `chunks[embedding]`.
    pub fn vector_columns(&self) -> impl Iterator<Item = Field> + '_ {
        let in_structs = self.fields.iter().flat_map(structs::vector_columns);
        self.vector_fields().cloned().chain(in_structs)
    }

    /// The one of [`CollectionSchema::vector_columns`] with this name.
    pub fn vector_column(&self, name: &str) -> Option<Field> {
        match split_sub_field_name(name) {
            None => self
                .field(name)
                .filter(|field| field.data_type.is_vector())
                .cloned(),
            Some((field, _)) => {
                structs::vector_columns(self.field(field)?).find(|column| column.name == name)
            }
        }
    }
}

fn validate_field(field: &Field) -> Result<()> {
    let bad = |what: String| Err(Error::InvalidSchema(format!("field '{}': {what}", field.name)));
    match &field.data_type {
        DataType::VarChar { max_length } if !(1..=MAX_VARCHAR_LENGTH).contains(max_length) => {
            return bad(format!(
                "the maximum length {max_length} must be in range [1, {MAX_VARCHAR_LENGTH}]"
            ));
        }
        DataType::Array {
            element,
            max_capacity,
        } => {
            if !(1..=MAX_ARRAY_CAPACITY).contains(max_capacity) {
                return bad(format!(
                    "the maximum capacity {max_capacity} must be in range [1, {MAX_ARRAY_CAPACITY}]"
                ));
            }
            match element.as_ref() {
                DataType::VarChar { max_length } if !(1..=MAX_VARCHAR_LENGTH).contains(max_length) => {
                    return bad(format!(
                        "the maximum length {max_length} must be in range [1, {MAX_VARCHAR_LENGTH}]"
                    ));
                }
                DataType::Text
                | DataType::Json
                | DataType::Array { .. }
                | DataType::StructArray { .. }
                | DataType::TimestampTz
                | DataType::Geometry
                | DataType::FloatVector { .. }
                | DataType::Float16Vector { .. }
                | DataType::BFloat16Vector { .. }
                | DataType::Int8Vector { .. }
                | DataType::BinaryVector { .. }
                | DataType::SparseFloatVector
                | DataType::VectorArray { .. } => {
                    return bad(format!(
                        "element type {} is not supported: allowed are Bool, Int8, Int16, Int32, Int64, Float, Double, VarChar",
                        element.name()
                    ));
                }
                DataType::VarChar { .. }
                | DataType::Bool
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float
                | DataType::Double => {}
            }
        }
        DataType::StructArray { fields, max_capacity } => {
            if !(1..=MAX_ARRAY_CAPACITY).contains(max_capacity) {
                return bad(format!(
                    "the maximum capacity {max_capacity} must be in range [1, {MAX_ARRAY_CAPACITY}]"
                ));
            }
            structs::validate(&field.name, fields)?;
        }
        DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. } => validate_dim(&field.name, &field.data_type)?,
        DataType::VectorArray { .. } => {
            return bad("vectors in lists are sub-fields of an array of structs".into());
        }
        DataType::SparseFloatVector
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::Json
        | DataType::TimestampTz
        | DataType::Geometry => {}
    }
    if field.auto_id && !field.primary_key {
        return bad("only the primary field can be auto id".into());
    }
    for default in field.default.iter().chain(&field.fill) {
        if field.data_type.is_vector()
            || matches!(
                field.data_type,
                DataType::Json | DataType::Array { .. } | DataType::StructArray { .. }
            )
        {
            return bad(format!(
                "type not support default_value, type:{}",
                field.data_type.name()
            ));
        }
        default_array(field, default, 1)?;
    }
    Ok(())
}

/// Refuses a dimension that dense vectors of this type cannot have.
///
/// # Errors
/// [`Error::InvalidSchema`] naming the field, the dimension and what is allowed.
pub(crate) fn validate_dim(name: &str, data_type: &DataType) -> Result<()> {
    let Some(dim) = data_type.dim() else { return Ok(()) };
    let bits = matches!(data_type, DataType::BinaryVector { .. });
    let what = if bits && (!BIT_RANGE.contains(&dim) || dim % 8 != 0) {
        format!(
            "binary vector dimension should be a multiple of 8 in range {} ~ {}",
            BIT_RANGE.start(),
            BIT_RANGE.end()
        )
    } else if !bits && !DIM_RANGE.contains(&dim) {
        format!("should be in range {} ~ {}", DIM_RANGE.start(), DIM_RANGE.end())
    } else {
        return Ok(());
    };
    Err(Error::InvalidSchema(format!(
        "field '{name}': invalid dimension: {dim}. {what}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> CollectionSchema {
        CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("text", DataType::VarChar { max_length: 10 }).nullable(),
            Field::new(
                "tags",
                DataType::Array {
                    element: Box::new(DataType::Int32),
                    max_capacity: 5,
                },
            ),
            Field::new("v", DataType::FloatVector { dim: 4 }),
        ])
        .with_dynamic_field()
    }

    #[test]
    fn a_schema_survives_its_arrow_form() {
        let mut schema = valid();
        schema.fields[1].default = Some(serde_json::json!("none"));
        schema.validate().unwrap();
        assert_eq!(
            schema.fields.iter().map(|f| f.id).collect::<Vec<_>>(),
            [100, 101, 102, 103, 104]
        );
        assert_eq!(CollectionSchema::from_arrow(&schema.to_arrow()).unwrap(), schema);
    }

    #[test]
    fn every_vector_type_survives_its_arrow_form() {
        let types = [
            DataType::Float16Vector { dim: 4 },
            DataType::BFloat16Vector { dim: 4 },
            DataType::Int8Vector { dim: 4 },
            DataType::BinaryVector { dim: 16 },
            DataType::SparseFloatVector,
        ];
        let mut schema = valid();
        for (place, data_type) in types.into_iter().enumerate() {
            schema.fields.push(Field::new(format!("v{place}"), data_type));
        }
        schema.validate().unwrap();
        assert_eq!(CollectionSchema::from_arrow(&schema.to_arrow()).unwrap(), schema);
    }

    #[test]
    fn validating_twice_changes_nothing() {
        let mut schema = valid();
        schema.validate().unwrap();
        let once = schema.clone();
        schema.validate().unwrap();
        assert_eq!(schema, once);
    }

    #[test]
    fn broken_rules_are_named() {
        let error = |change: fn(&mut CollectionSchema)| {
            let mut schema = valid();
            change(&mut schema);
            schema.validate().unwrap_err().to_string()
        };
        assert!(error(|s| s.fields[0].primary_key = false).contains("primary key is not specified"));
        assert!(error(|s| s.fields[1].primary_key = true).contains("more than one primary key"));
        assert!(
            error(|s| s.fields[3].data_type = DataType::FloatVector { dim: 1 }).contains("range 2 ~ 32768")
        );
        let vector = |data_type: DataType| {
            let mut schema = valid();
            schema.fields[3].data_type = data_type;
            schema.validate().unwrap_err().to_string()
        };
        assert!(vector(DataType::Int8Vector { dim: 40_000 }).contains("range 2 ~ 32768"));
        assert!(vector(DataType::BinaryVector { dim: 12 }).contains("multiple of 8 in range 8 ~ 262144"));
        assert!(vector(DataType::BinaryVector { dim: 0 }).contains("invalid dimension: 0"));
        assert!(error(|s| s.fields[1].name = "12-s".into()).contains("12-s"));
        assert!(error(|s| s.fields[1].default = Some(serde_json::json!(7))).contains("text"));
        assert!(error(|s| s.fields[1].name = "id".into()).contains("duplicated"));
    }
}

//! The Milvus field types and their Arrow form.
//!
//! A field's Milvus type, limits and flags live in the Arrow field's metadata (`elanus.*` keys), so
//! that an Arrow schema is the one schema value everywhere: on disk, in a plan, over the wire.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields, TimeUnit};

use crate::error::{Error, Result};
use crate::structs::{self, SubField};

/// Keys of the Arrow field metadata that carry what Arrow itself cannot say.
pub mod metadata_keys {
    /// Numeric id of the field, stable across renames.
    pub const FIELD_ID: &str = "elanus.field_id";
    /// Milvus name of the type, for example `VarChar`.
    pub const TYPE: &str = "elanus.type";
    /// `true` on the primary key.
    pub const PRIMARY_KEY: &str = "elanus.primary_key";
    /// `true` when the engine assigns the primary key.
    pub const AUTO_ID: &str = "elanus.auto_id";
    /// Limit of a VARCHAR value (or ARRAY<VARCHAR> element) in bytes.
    pub const MAX_LENGTH: &str = "elanus.max_length";
    /// Limit of an ARRAY value, or of an array of structs, in elements.
    pub const MAX_CAPACITY: &str = "elanus.max_capacity";
    /// The sub-fields of an array of structs as a JSON list.
    pub const SUB_FIELDS: &str = "elanus.sub_fields";
    /// Default value as JSON.
    pub const DEFAULT: &str = "elanus.default";
    /// `true` on the partition key.
    pub const PARTITION_KEY: &str = "elanus.partition_key";
    /// `true` on the clustering key.
    pub const CLUSTERING_KEY: &str = "elanus.clustering_key";
    /// `true` on the hidden JSON column of the dynamic field.
    pub const DYNAMIC: &str = "elanus.dynamic";
    /// Name of the field's column in files and in the log; absent when it is the field's own name. It never changes and
    /// is never given to another field.
    pub const STORED_NAME: &str = "elanus.stored_name";
    /// Value, as JSON, of the rows that are older than the field; absent for NULL.
    pub const FILL: &str = "elanus.fill";
    /// Free text about the field.
    pub const DESCRIPTION: &str = "elanus.description";
    /// Further type parameters exactly as the client gave them, as a JSON object.
    pub const PARAMS: &str = "elanus.params";
    /// Arrow's key for the name of an extension type.
    pub const EXTENSION_NAME: &str = "ARROW:extension:name";
    /// The canonical Arrow extension name of JSON text.
    pub const JSON_EXTENSION: &str = "arrow.json";
    /// The extension name of shapes in well-known binary.
    pub const GEOMETRY_EXTENSION: &str = "geoarrow.wkb";
    /// The extension name that tells bfloat16 vectors from bits.
    pub const BFLOAT16_EXTENSION: &str = "elanus.bfloat16";
}

use metadata_keys as keys;

/// The type of a field, as Milvus names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Boolean.
    Bool,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// 32-bit float; NaN and infinities are rejected.
    Float,
    /// 64-bit float; NaN and infinities are rejected.
    Double,
    /// UTF-8 text of at most `max_length` bytes.
    VarChar {
        /// Limit in bytes, 1 to 65,535.
        max_length: u32,
    },
    /// UTF-8 text of at most 64 MiB. It is no primary key, partition key or element of an array.
    Text,
    /// Any JSON value, at most 65,536 bytes of text.
    Json,
    /// A list of scalars.
    Array {
        /// Type of the elements: a scalar other than JSON, ARRAY, TIMESTAMPTZ and GEOMETRY.
        element: Box<DataType>,
        /// Limit in elements, 1 to 4,096.
        max_capacity: u32,
    },
    /// A list of structs of scalars and vectors, all of the same sub-fields.
    StructArray {
        /// The sub-fields, at least one.
        fields: Vec<SubField>,
        /// Limit in elements, 1 to 4,096.
        max_capacity: u32,
    },
    /// An instant: microseconds since 1970-01-01 UTC.
    TimestampTz,
    /// A shape of two coordinates, as well-known binary.
    Geometry,
    /// `dim` 32-bit floats.
    FloatVector {
        /// Dimension, 2 to 32,768.
        dim: u32,
    },
    /// `dim` 16-bit floats of IEEE 754 (binary16).
    Float16Vector {
        /// Dimension, 2 to 32,768.
        dim: u32,
    },
    /// `dim` bfloat16s: the upper halves of 32-bit floats.
    BFloat16Vector {
        /// Dimension, 2 to 32,768.
        dim: u32,
    },
    /// `dim` signed 8-bit integers.
    Int8Vector {
        /// Dimension, 2 to 32,768.
        dim: u32,
    },
    /// `dim` bits, the first one the highest of its byte.
    BinaryVector {
        /// Dimension, 8 to 262,144, a multiple of 8.
        dim: u32,
    },
    /// 32-bit floats at ascending indexes, all others zero; there is no fixed dimension.
    SparseFloatVector,
    /// A list of vectors: what a sub-field of an array of structs holds in a row. No field of a schema is of this type, see
    /// [`CollectionSchema::vector_column`](crate::CollectionSchema::vector_column).
    VectorArray {
        /// Type of the elements: a dense vector.
        element: Box<DataType>,
    },
}

impl DataType {
    /// The Milvus name of the type without its parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Int8 => "Int8",
            Self::Int16 => "Int16",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::VarChar { .. } => "VarChar",
            Self::Text => "Text",
            Self::Json => "JSON",
            Self::Array { .. } => "Array",
            Self::StructArray { .. } => "ArrayOfStruct",
            Self::TimestampTz => "Timestamptz",
            Self::Geometry => "Geometry",
            Self::FloatVector { .. } => "FloatVector",
            Self::Float16Vector { .. } => "Float16Vector",
            Self::BFloat16Vector { .. } => "BFloat16Vector",
            Self::Int8Vector { .. } => "Int8Vector",
            Self::BinaryVector { .. } => "BinaryVector",
            Self::SparseFloatVector => "SparseFloatVector",
            Self::VectorArray { .. } => "ArrayOfVector",
        }
    }

    /// Whether this is a vector type.
    pub fn is_vector(&self) -> bool {
        matches!(
            self,
            Self::FloatVector { .. }
                | Self::Float16Vector { .. }
                | Self::BFloat16Vector { .. }
                | Self::Int8Vector { .. }
                | Self::BinaryVector { .. }
                | Self::SparseFloatVector
                | Self::VectorArray { .. }
        )
    }

    /// Whether this is a vector type that has a dimension, and is no list of vectors.
    pub fn is_dense_vector(&self) -> bool {
        self.is_vector() && !matches!(self, Self::SparseFloatVector | Self::VectorArray { .. })
    }

    /// Whether values are free text: VARCHAR or TEXT.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::VarChar { .. } | Self::Text)
    }

    /// The type itself, or for TEXT the longest VARCHAR: what keys and elements of arrays of texts are.
    #[must_use]
    pub fn bounded(self) -> Self {
        if self != Self::Text {
            return self;
        }
        Self::VarChar {
            max_length: MAX_VARCHAR_LENGTH,
        }
    }

    /// The dimension of a vector type that has one, or of the elements of lists of such vectors.
    pub fn dim(&self) -> Option<u32> {
        match self {
            Self::FloatVector { dim }
            | Self::Float16Vector { dim }
            | Self::BFloat16Vector { dim }
            | Self::Int8Vector { dim }
            | Self::BinaryVector { dim } => Some(*dim),
            Self::VectorArray { element } => element.dim(),
            Self::SparseFloatVector
            | Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Double
            | Self::VarChar { .. }
            | Self::Text
            | Self::Json
            | Self::Array { .. }
            | Self::StructArray { .. }
            | Self::TimestampTz
            | Self::Geometry => None,
        }
    }

    /// The Arrow type at rest, in plans and on the wire.
    pub fn to_arrow(&self) -> ArrowType {
        match self {
            Self::Bool => ArrowType::Boolean,
            Self::Int8 => ArrowType::Int8,
            Self::Int16 => ArrowType::Int16,
            Self::Int32 => ArrowType::Int32,
            Self::Int64 => ArrowType::Int64,
            Self::Float => ArrowType::Float32,
            Self::Double => ArrowType::Float64,
            Self::VarChar { .. } | Self::Text | Self::Json => ArrowType::Utf8,
            Self::Array { element, .. } => {
                ArrowType::List(Arc::new(ArrowField::new_list_field(element.to_arrow(), true)))
            }
            Self::StructArray { fields, .. } => {
                let element = ArrowType::Struct(structs::arrow_fields(fields));
                ArrowType::List(Arc::new(ArrowField::new_list_field(element, true)))
            }
            Self::TimestampTz => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Geometry => ArrowType::Binary,
            Self::FloatVector { dim } => fixed_list(ArrowType::Float32, *dim),
            Self::Float16Vector { dim } => fixed_list(ArrowType::Float16, *dim),
            Self::Int8Vector { dim } => fixed_list(ArrowType::Int8, *dim),
            Self::BFloat16Vector { dim } => {
                ArrowType::FixedSizeBinary(i32::try_from(*dim).unwrap_or(i32::MAX).saturating_mul(2))
            }
            Self::BinaryVector { dim } => {
                ArrowType::FixedSizeBinary(i32::try_from(*dim / 8).unwrap_or(i32::MAX))
            }
            Self::SparseFloatVector => ArrowType::List(Arc::new(ArrowField::new_list_field(
                ArrowType::Struct(sparse_fields()),
                false,
            ))),
            Self::VectorArray { element } => {
                ArrowType::List(Arc::new(ArrowField::new_list_field(element.to_arrow(), true)))
            }
        }
    }
}

fn fixed_list(item: ArrowType, dim: u32) -> ArrowType {
    let item = Arc::new(ArrowField::new_list_field(item, false));
    ArrowType::FixedSizeList(item, i32::try_from(dim).unwrap_or(i32::MAX))
}

/// Index and value of one element of a sparse vector.
pub(crate) fn sparse_fields() -> Fields {
    Fields::from(vec![
        ArrowField::new("index", ArrowType::UInt32, false),
        ArrowField::new("value", ArrowType::Float32, false),
    ])
}

/// One field of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Numeric id; user fields start at 100. 0 means "not assigned yet".
    pub id: i64,
    /// Name, unique in the collection.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Type and its limits.
    pub data_type: DataType,
    /// Whether this is the primary key.
    pub primary_key: bool,
    /// Whether the engine assigns the primary key.
    pub auto_id: bool,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Value that stands in for a missing or NULL input.
    pub default: Option<serde_json::Value>,
    /// Value of the rows that were written before the field was added; `None`: NULL. A later change of the default
    /// leaves it as it is.
    pub fill: Option<serde_json::Value>,
    /// Name of the field's column in files, when it is not the field's name: the field was added or renamed.
    pub stored_name: Option<String>,
    /// Whether rows are spread over partitions by this field.
    pub partition_key: bool,
    /// Whether compaction may cluster by this field.
    pub clustering_key: bool,
    /// Whether this is the hidden JSON column of the dynamic field.
    pub dynamic: bool,
    /// Further type parameters exactly as the client gave them (for example `mmap.enabled`).
    pub params: BTreeMap<String, String>,
}

impl Field {
    /// A plain field: not null, no key, no default.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            id: 0,
            name: name.into(),
            description: String::new(),
            data_type,
            primary_key: false,
            auto_id: false,
            nullable: false,
            default: None,
            fill: None,
            stored_name: None,
            partition_key: false,
            clustering_key: false,
            dynamic: false,
            params: BTreeMap::new(),
        }
    }

    /// The same field as primary key.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.primary_key = true;
        self
    }

    /// The same field, its value assigned by the engine.
    #[must_use]
    pub fn auto_id(mut self) -> Self {
        self.auto_id = true;
        self
    }

    /// The same field, allowing NULL.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// The sub-fields of an array of structs; none for any other type.
    pub fn sub_fields(&self) -> &[SubField] {
        if let DataType::StructArray { fields, .. } = &self.data_type {
            fields
        } else {
            &[]
        }
    }

    pub(crate) fn sub_fields_mut(&mut self) -> &mut [SubField] {
        if let DataType::StructArray { fields, .. } = &mut self.data_type {
            fields
        } else {
            &mut []
        }
    }

    /// The name of the field's column in files and in the log.
    pub fn stored_name(&self) -> &str {
        self.stored_name.as_deref().unwrap_or(&self.name)
    }

    /// The Arrow field with everything in its metadata.
    pub fn to_arrow(&self) -> ArrowField {
        let mut metadata = HashMap::new();
        let mut put = |key: &str, value: String| {
            metadata.insert(key.to_string(), value);
        };
        put(keys::FIELD_ID, self.id.to_string());
        put(keys::TYPE, self.data_type.name().to_string());
        for (key, on) in [
            (keys::PRIMARY_KEY, self.primary_key),
            (keys::AUTO_ID, self.auto_id),
            (keys::PARTITION_KEY, self.partition_key),
            (keys::CLUSTERING_KEY, self.clustering_key),
            (keys::DYNAMIC, self.dynamic),
        ] {
            if on {
                put(key, "true".to_string());
            }
        }
        if !self.description.is_empty() {
            put(keys::DESCRIPTION, self.description.clone());
        }
        if let Some(default) = &self.default {
            put(keys::DEFAULT, default.to_string());
        }
        if let Some(fill) = &self.fill {
            put(keys::FILL, fill.to_string());
        }
        if let Some(stored_name) = &self.stored_name {
            put(keys::STORED_NAME, stored_name.clone());
        }
        if !self.params.is_empty()
            && let Ok(text) = serde_json::to_string(&self.params)
        {
            put(keys::PARAMS, text);
        }
        match &self.data_type {
            DataType::VarChar { max_length } => put(keys::MAX_LENGTH, max_length.to_string()),
            DataType::Json => put(keys::EXTENSION_NAME, keys::JSON_EXTENSION.to_string()),
            DataType::Geometry => put(keys::EXTENSION_NAME, keys::GEOMETRY_EXTENSION.to_string()),
            DataType::Array {
                element,
                max_capacity,
            } => {
                put(keys::MAX_CAPACITY, max_capacity.to_string());
                if let DataType::VarChar { max_length } = element.as_ref() {
                    put(keys::MAX_LENGTH, max_length.to_string());
                }
            }
            DataType::StructArray { fields, max_capacity } => {
                put(keys::MAX_CAPACITY, max_capacity.to_string());
                put(keys::SUB_FIELDS, structs::to_metadata(fields));
            }
            DataType::BFloat16Vector { .. } => {
                put(keys::EXTENSION_NAME, keys::BFLOAT16_EXTENSION.to_string());
            }
            DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::Text
            | DataType::TimestampTz
            | DataType::FloatVector { .. }
            | DataType::Float16Vector { .. }
            | DataType::Int8Vector { .. }
            | DataType::BinaryVector { .. }
            | DataType::SparseFloatVector
            | DataType::VectorArray { .. } => {}
        }
        ArrowField::new(&self.name, self.data_type.to_arrow(), self.nullable).with_metadata(metadata)
    }

    /// Reads a field back from its Arrow form.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when the Arrow type or the metadata is not one this engine writes.
    pub fn from_arrow(field: &ArrowField) -> Result<Self> {
        let metadata = field.metadata();
        let flag = |key: &str| metadata.get(key).is_some_and(|value| value == "true");
        let number = |key: &str| metadata.get(key).and_then(|value| value.parse::<u32>().ok());
        let bad = |what: String| Error::InvalidSchema(format!("field '{}': {what}", field.name()));
        let value = |key: &str| {
            let text = metadata.get(key);
            let value = text.map(|text| serde_json::from_str(text)).transpose();
            value.map_err(|e| bad(format!("default value is not JSON: {e}")))
        };
        let (default, fill) = (value(keys::DEFAULT)?, value(keys::FILL)?);
        let params = metadata
            .get(keys::PARAMS)
            .map(|text| serde_json::from_str(text))
            .transpose()
            .map_err(|e| bad(format!("parameters are not JSON: {e}")))?
            .unwrap_or_default();
        let max_length = number(keys::MAX_LENGTH);
        let extension = metadata.get(keys::EXTENSION_NAME).map(String::as_str);
        let data_type = type_from_arrow(
            field.data_type(),
            metadata.get(keys::TYPE).map(String::as_str),
            extension,
            max_length,
            number(keys::MAX_CAPACITY),
            metadata.get(keys::SUB_FIELDS).map(String::as_str),
        )
        .ok_or_else(|| bad(format!("Arrow type {} is not supported", field.data_type())))?;
        Ok(Self {
            id: metadata
                .get(keys::FIELD_ID)
                .and_then(|id| id.parse().ok())
                .unwrap_or(0),
            name: field.name().clone(),
            description: metadata.get(keys::DESCRIPTION).cloned().unwrap_or_default(),
            data_type,
            primary_key: flag(keys::PRIMARY_KEY),
            auto_id: flag(keys::AUTO_ID),
            nullable: field.is_nullable(),
            default,
            fill,
            stored_name: metadata.get(keys::STORED_NAME).cloned(),
            partition_key: flag(keys::PARTITION_KEY),
            clustering_key: flag(keys::CLUSTERING_KEY),
            dynamic: flag(keys::DYNAMIC),
            params,
        })
    }
}

/// Largest TEXT in bytes: as much as one request through the Milvus door.
pub(crate) const MAX_TEXT_BYTES: u32 = 64 << 20;
/// Largest VARCHAR in bytes, the limit when none is given.
pub(crate) const MAX_VARCHAR_LENGTH: u32 = 65_535;
/// Largest ARRAY in elements, the limit when none is given.
pub(crate) const MAX_ARRAY_CAPACITY: u32 = 4_096;

fn type_from_arrow(
    arrow: &ArrowType,
    name: Option<&str>,
    extension: Option<&str>,
    max_length: Option<u32>,
    max_capacity: Option<u32>,
    sub_fields: Option<&str>,
) -> Option<DataType> {
    if arrow == &ArrowType::Utf8 && extension == Some(keys::JSON_EXTENSION) {
        return Some(DataType::Json);
    }
    if arrow == &ArrowType::Utf8 && name == Some(DataType::Text.name()) {
        return Some(DataType::Text);
    }
    if let Some(scalar) = scalar_from_arrow(arrow, max_length) {
        return Some(scalar);
    }
    if arrow == &ArrowType::Binary && extension == Some(keys::GEOMETRY_EXTENSION) {
        return Some(DataType::Geometry);
    }
    if let Some(vector) = vector_from_arrow(arrow, extension) {
        return Some(vector);
    }
    if let Some(fields) = structs::from_arrow(arrow, sub_fields) {
        return Some(DataType::StructArray {
            fields,
            max_capacity: max_capacity.unwrap_or(MAX_ARRAY_CAPACITY),
        });
    }
    if let ArrowType::List(item) = arrow {
        let element = Box::new(scalar_from_arrow(item.data_type(), max_length)?);
        return Some(DataType::Array {
            element,
            max_capacity: max_capacity.unwrap_or(MAX_ARRAY_CAPACITY),
        });
    }
    None
}

/// The vector type of this Arrow form; the name of items and lists does not matter.
pub(crate) fn vector_from_arrow(arrow: &ArrowType, extension: Option<&str>) -> Option<DataType> {
    if let ArrowType::FixedSizeList(item, dim) = arrow {
        let dim = u32::try_from(*dim).ok()?;
        let vectors = [
            (ArrowType::Float32, DataType::FloatVector { dim }),
            (ArrowType::Float16, DataType::Float16Vector { dim }),
            (ArrowType::Int8, DataType::Int8Vector { dim }),
        ];
        let vector = vectors
            .into_iter()
            .find(|(element, _)| element == item.data_type());
        return vector.map(|(_, vector)| vector);
    }
    if let ArrowType::FixedSizeBinary(bytes) = arrow {
        let bytes = u32::try_from(*bytes).ok()?;
        return Some(if extension == Some(keys::BFLOAT16_EXTENSION) {
            DataType::BFloat16Vector { dim: bytes / 2 }
        } else {
            DataType::BinaryVector {
                dim: bytes.checked_mul(8)?,
            }
        });
    }
    let is_sparse =
        matches!(arrow, ArrowType::List(item) if item.data_type() == &ArrowType::Struct(sparse_fields()));
    is_sparse.then_some(DataType::SparseFloatVector)
}

pub(crate) fn scalar_from_arrow(arrow: &ArrowType, max_length: Option<u32>) -> Option<DataType> {
    if arrow == &ArrowType::Utf8 {
        return Some(DataType::VarChar {
            max_length: max_length.unwrap_or(MAX_VARCHAR_LENGTH),
        });
    }
    let plain = [
        DataType::Bool,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float,
        DataType::Double,
        DataType::TimestampTz,
    ];
    plain.into_iter().find(|candidate| &candidate.to_arrow() == arrow)
}

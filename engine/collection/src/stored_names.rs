//! Two names of a column: what statements call it, and what files call it.
//!
//! ```text
//!   statements, filters, schemas   "price"                        a column can be renamed, dropped and added again
//!            |  Unit, writes                                      <- the one place where names are exchanged
//!   log, memtable, segments        "price" or "price-105"         never changes, never given to another column
//! ```
//!
//! A column of the first schema is stored under its own name. One that was added later gets its field id appended, which
//! no field name can have: so it cannot be mistaken for a column that had the same name before. Renaming leaves the stored
//! name as it is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::rows::default_array;
use crate::schema::TIMESTAMP_COLUMN;
use crate::structs::sub_field_name;
use crate::types::{Field, metadata_keys};

/// Metadata of a field in the stored form of a schema: what statements call it.
const LOGICAL_NAME: &str = "elanus.name";

/// The stored name of a field that is added with this id.
pub(crate) fn name_of_added(name: &str, id: i64) -> String {
    format!("{name}-{id}")
}

/// The collection's schema with the columns named as in files.
pub(crate) fn physical_schema(schema: &SchemaRef) -> SchemaRef {
    let renamed = |field: &Arc<ArrowField>| field.metadata().contains_key(metadata_keys::STORED_NAME);
    if !schema.fields().iter().any(renamed) {
        return Arc::clone(schema);
    }
    let fields: Vec<Arc<ArrowField>> = schema
        .fields()
        .iter()
        .map(|field| match field.metadata().get(metadata_keys::STORED_NAME) {
            None => Arc::clone(field),
            Some(stored) => {
                let mut metadata = field.metadata().clone();
                metadata.insert(LOGICAL_NAME.to_string(), field.name().clone());
                let field = field.as_ref().clone();
                Arc::new(field.with_name(stored).with_metadata(metadata))
            }
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The schema of stored rows: the collection's columns, named as in files, and the hidden timestamp.
pub(crate) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = physical_schema(schema).fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(
        TIMESTAMP_COLUMN,
        ArrowType::UInt64,
        false,
    )));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Whether rows may be older than this column of a stored schema.
pub(crate) fn may_be_missing(field: &ArrowField) -> bool {
    field.metadata().contains_key(metadata_keys::STORED_NAME)
}

/// The column of `rows` rows that are older than it.
///
/// # Errors
/// [`Error::InvalidSchema`] when the field is not one that this engine writes.
pub(crate) fn missing_column(field: &ArrowField, rows: usize) -> Result<ArrayRef> {
    let target = field.data_type();
    let field = Field::from_arrow(field)?;
    match &field.fill {
        Some(value) => default_array(&field, value, rows),
        // A vector column of NULLs is untouched zero pages: no memory until somebody writes to it.
        None => Ok(new_null_array(target, rows)),
    }
}

/// From what statements call a column to what files call it.
#[derive(Debug, Default)]
pub(crate) struct StoredNames {
    /// Every column when any of them has two names; `None` when all have one.
    by_name: Option<HashMap<String, String>>,
}

impl StoredNames {
    /// The names of a stored schema.
    pub fn of(stored: &Schema) -> Self {
        if !stored.fields().iter().any(|field| may_be_missing(field)) {
            return Self::default();
        }
        let mut names = HashMap::new();
        for field in stored.fields() {
            let name = field.metadata().get(LOGICAL_NAME).unwrap_or(field.name());
            names.insert(name.clone(), field.name().clone());
            // The vectors in an array of structs are searched under names of their own.
            for sub in Field::from_arrow(field).iter().flat_map(Field::sub_fields) {
                let stored = sub_field_name(field.name(), &sub.name);
                names.insert(sub_field_name(name, &sub.name), stored);
            }
        }
        Self { by_name: Some(names) }
    }

    /// The stored name of a column; `None` when there is no such column any more. A name that was never there comes back
    /// as it is where all columns have one name only.
    pub fn stored<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match &self.by_name {
            None => Some(name),
            Some(names) => names.get(name).map(String::as_str),
        }
    }

    /// The stored names of these columns.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`].
    pub fn all_stored<'a>(&'a self, names: &'a [&'a str]) -> Result<Cow<'a, [&'a str]>> {
        if self.by_name.is_none() {
            return Ok(Cow::Borrowed(names));
        }
        let stored = names.iter().map(|name| {
            self.stored(name).ok_or_else(|| Error::FieldNotFound {
                field: (*name).to_string(),
                near: Vec::new(),
            })
        });
        stored.collect::<Result<Vec<_>>>().map(Cow::Owned)
    }

    /// `batch`, which has the stored names of `names`, with those names.
    ///
    /// # Errors
    /// An error of Arrow, when the batch has other columns.
    pub fn named(&self, batch: RecordBatch, names: &[&str]) -> Result<RecordBatch> {
        if self.by_name.is_none() {
            return Ok(batch);
        }
        let schema = batch.schema();
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .zip(names)
            .map(|(field, name)| {
                if field.name() == name {
                    Arc::clone(field)
                } else {
                    Arc::new(field.as_ref().clone().with_name(*name))
                }
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        Ok(RecordBatch::try_new_with_options(
            schema,
            batch.columns().to_vec(),
            &options,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::CollectionSchema;
    use crate::types::DataType;

    fn schema() -> SchemaRef {
        let mut renamed = Field::new("cost", DataType::Int64);
        renamed.stored_name = Some("price".into());
        let mut added = Field::new("price", DataType::Int64).nullable();
        added.stored_name = Some(name_of_added("price", 103));
        let mut schema =
            CollectionSchema::new(vec![Field::new("id", DataType::Int64).primary(), renamed, added]);
        schema.validate().unwrap();
        schema.to_arrow()
    }

    #[test]
    fn a_new_column_does_not_get_the_file_column_of_the_one_that_had_its_name() {
        let stored = stored_schema(&schema());
        let names: Vec<_> = stored
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["id", "price", "price-103", TIMESTAMP_COLUMN]);
        let names = StoredNames::of(&stored);
        assert_eq!(names.stored("cost"), Some("price"));
        assert_eq!(names.stored("price"), Some("price-103"));
        assert_eq!(names.stored("id"), Some("id"));
        assert_eq!(names.stored("price-103"), None);
        assert_eq!(names.stored("gone"), None);
    }

    #[test]
    fn a_schema_that_was_never_altered_is_stored_as_it_is() {
        let mut schema = CollectionSchema::new(vec![Field::new("id", DataType::Int64).primary()]);
        schema.validate().unwrap();
        let schema = schema.to_arrow();
        assert!(Arc::ptr_eq(&physical_schema(&schema), &schema));
    }
}

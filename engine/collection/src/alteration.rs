//! Changes of a collection's schema and properties: what may be changed, and what comes of it.
//!
//! Pure rules over two values, the schema and the state; the writer makes the result durable in one commit
//! (`writer/alter.rs`). Rows are never rewritten: those of older segments get the value that a new field has for them when
//! they are read (`stored_names.rs`), and a dropped field's column stays in the files, unread, until they are merged.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::function::{TextFunction, is_matched};
use crate::index_def::IndexDef;
use crate::load::LoadScope;
use crate::rows::{UNIQUE_KEY, near};
use crate::schema::CollectionSchema;
use crate::state::CollectionState;
use crate::stored_names::name_of_added;
use crate::structs::{split_sub_field_name, sub_field_name, vector_columns};
use crate::types::{DataType, Field};

/// One change. Several are made together or not at all, each on what the ones before it leave.
#[derive(Debug, Clone, PartialEq)]
pub enum Alteration {
    /// Adds a field, behind all others; it must allow NULL or have a default. Rows that are there get the default or NULL.
    AddField {
        /// The field; id and stored name are assigned.
        field: Box<Field>,
        /// Whether nothing is to be done when there is a field of that name.
        if_not_exists: bool,
    },
    /// Drops a field with the scalar indexes on it.
    DropField {
        /// Its name.
        name: String,
        /// Whether nothing is to be done when there is no such field.
        if_exists: bool,
        /// Whether a vector index on it is dropped too; it is a reason to refuse otherwise.
        with_vector_index: bool,
    },
    /// Gives a field another name.
    RenameField {
        /// Name now.
        from: String,
        /// Name then.
        to: String,
    },
    /// Sets the default value of rows to come, or (`None`) removes it.
    SetDefault {
        /// The field.
        field: String,
        /// The value.
        value: Option<serde_json::Value>,
    },
    /// Allows NULL.
    AllowNull {
        /// The field.
        field: String,
    },
    /// Sets the limit of a VARCHAR, or of the elements of an ARRAY of them, for rows to come.
    SetMaxLength {
        /// The field.
        field: String,
        /// Bytes.
        max_length: u32,
    },
    /// Makes a VARCHAR a TEXT.
    MakeText {
        /// The field.
        field: String,
    },
    /// Sets the limit of an ARRAY for rows to come.
    SetMaxCapacity {
        /// The field.
        field: String,
        /// Elements.
        max_capacity: u32,
    },
    /// Sets the free text about a field.
    SetDescription {
        /// The field.
        field: String,
        /// The text.
        description: String,
    },
    /// Sets and removes further parameters of a field.
    SetParams {
        /// The field.
        field: String,
        /// Parameters to set.
        set: BTreeMap<String, String>,
        /// Keys to remove.
        unset: Vec<String>,
    },
    /// Sets and removes properties of the collection.
    SetProperties {
        /// Properties to set.
        set: BTreeMap<String, String>,
        /// Keys to remove.
        unset: Vec<String>,
    },
}

/// What a collection is after some changes; `now` becomes the time of its schema if that differs.
///
/// # Errors
/// [`Error::FieldNotFound`], [`Error::InvalidParameter`] for what may not be changed, and whatever the changed schema
/// breaks; nothing is changed then.
pub(crate) fn altered(
    collection: &str,
    schema: &CollectionSchema,
    state: &CollectionState,
    changes: &[Alteration],
    now: Timestamp,
) -> Result<(CollectionSchema, CollectionState)> {
    let mut draft = Draft {
        collection,
        schema: schema.clone(),
        state: state.clone(),
    };
    draft.state.next_field_id = schema.next_id().max(state.next_field_id);
    for change in changes {
        draft.apply(change)?;
    }
    draft.schema.validate()?;
    if draft.schema == *schema {
        draft.state.next_field_id = state.next_field_id;
    } else {
        draft.state.schema_ts = now;
    }
    Ok((draft.schema, draft.state))
}

struct Draft<'a> {
    collection: &'a str,
    schema: CollectionSchema,
    state: CollectionState,
}

impl Draft<'_> {
    fn apply(&mut self, change: &Alteration) -> Result<()> {
        match change {
            Alteration::AddField { field, if_not_exists } => {
                if *if_not_exists && self.schema.field(&field.name).is_some() {
                    return Ok(());
                }
                self.add(field)
            }
            Alteration::DropField {
                name,
                if_exists,
                with_vector_index,
            } => {
                if *if_exists && self.schema.field(name).is_none() {
                    return Ok(());
                }
                self.drop(name, *with_vector_index)
            }
            Alteration::RenameField { from, to } => self.rename(from, to),
            Alteration::SetDefault { field, value } => {
                self.field(field)?.default.clone_from(value);
                Ok(())
            }
            Alteration::AllowNull { field } => {
                self.field(field)?.nullable = true;
                Ok(())
            }
            Alteration::SetMaxLength { field, max_length } => self.set_max_length(field, *max_length),
            Alteration::MakeText { field } => {
                let found = self.field(field)?;
                if !found.data_type.is_text() {
                    return Err(Error::InvalidParameter(format!(
                        "field '{field}' of type {} can not become TEXT, only VarChar can",
                        found.data_type.name()
                    )));
                }
                found.data_type = DataType::Text;
                Ok(())
            }
            Alteration::SetMaxCapacity { field, max_capacity } => {
                let found = self.field(field)?;
                let name = found.data_type.name();
                let (DataType::Array {
                    max_capacity: limit, ..
                }
                | DataType::StructArray {
                    max_capacity: limit, ..
                }) = &mut found.data_type
                else {
                    return Err(has_no_limit(field, name, "max_capacity", "Array"));
                };
                *limit = *max_capacity;
                Ok(())
            }
            Alteration::SetDescription { field, description } => {
                self.field(field)?.description.clone_from(description);
                Ok(())
            }
            Alteration::SetParams { field, set, unset } => {
                change_map(&mut self.field(field)?.params, set, unset);
                Ok(())
            }
            Alteration::SetProperties { set, unset } => {
                let unique = self.state.properties.get(UNIQUE_KEY).cloned();
                change_map(&mut self.state.properties, set, unset);
                // Rows with the same key may be there already, and whoever relies on there being none would not know.
                if self.state.properties.get(UNIQUE_KEY) != unique.as_ref() {
                    return Err(Error::InvalidParameter(format!(
                        "the property {UNIQUE_KEY} is given when a collection is made and cannot be changed"
                    )));
                }
                Ok(())
            }
        }
    }

    /// The field of this name, to change it. The hidden field of the dynamic keys is none.
    fn field(&mut self, name: &str) -> Result<&mut Field> {
        if self.schema.field(name).is_none_or(|field| field.dynamic) {
            return Err(Error::FieldNotFound {
                field: name.to_string(),
                near: near(&self.schema, name),
            });
        }
        let mut fields = self.schema.fields.iter_mut();
        fields
            .find(|field| field.name == name)
            .ok_or_else(|| Error::FieldNotFound {
                field: name.to_string(),
                near: Vec::new(),
            })
    }

    fn add(&mut self, field: &Field) -> Result<()> {
        let name = &field.name;
        if self.schema.field(name).is_some() {
            return Err(Error::InvalidParameter(format!(
                "duplicated field name '{name}': collection '{}' has a field of that name",
                self.collection
            )));
        }
        let keys = [
            (field.primary_key, "the primary key"),
            (field.auto_id, "a generated key"),
            (field.partition_key, "a partition key"),
            (field.clustering_key, "a clustering key"),
        ];
        if let Some((_, what)) = keys.iter().find(|(is, _)| *is) {
            return Err(Error::InvalidParameter(format!(
                "added field '{name}' cannot be {what}: keys are chosen when the collection is made"
            )));
        }
        if field.data_type.is_vector() && !field.nullable {
            return Err(Error::InvalidParameter(format!(
                "added vector field '{name}' must be nullable: the rows that are there have no vector"
            )));
        }
        if !field.nullable && field.default.is_none() {
            return Err(Error::InvalidParameter(format!(
                "added field '{name}' must be nullable or have a default value: the rows that are there need one"
            )));
        }
        let mut field = field.clone();
        field.id = self.state.next_field_id;
        self.state.next_field_id += 1;
        for sub in field.sub_fields_mut() {
            sub.id = self.state.next_field_id;
            self.state.next_field_id += 1;
        }
        field.fill.clone_from(&field.default);
        field.stored_name = Some(name_of_added(name, field.id));
        // The field of the dynamic keys stays the last one.
        if is_matched(&field) {
            let id = self.state.take_id();
            self.state.indexes.extend(IndexDef::of_terms(&field, id));
        }
        let fields = &mut self.schema.fields;
        let at = fields
            .iter()
            .position(|field| field.dynamic)
            .unwrap_or(fields.len());
        fields.insert(at, field);
        Ok(())
    }

    fn drop(&mut self, name: &str, with_vector_index: bool) -> Result<()> {
        let field = self.field(name)?.clone();
        let keys = [
            (field.primary_key, "the primary key"),
            (field.partition_key, "the partition key"),
            (field.clustering_key, "the clustering key"),
        ];
        if let Some((_, what)) = keys.iter().find(|(is, _)| *is) {
            return Err(Error::InvalidParameter(format!(
                "field '{name}' cannot be dropped: it is {what}"
            )));
        }
        self.not_of_a_function(name, "dropped")?;
        let vectors: Vec<String> = if field.data_type.is_vector() {
            vec![name.to_owned()]
        } else {
            vector_columns(&field).map(|column| column.name).collect()
        };
        if !vectors.is_empty() {
            if self.schema.vector_columns().count() == vectors.len() {
                return Err(Error::InvalidParameter(format!(
                    "field '{name}' cannot be dropped: it is the last vector field of collection '{}'",
                    self.collection
                )));
            }
            for column in &vectors {
                self.drop_vector_index(column, with_vector_index)?;
            }
        }
        self.state
            .indexes
            .retain(|index| index.field != name && !vectors.contains(&index.field));
        self.schema.fields.retain(|field| field.name != name);
        Ok(())
    }

    fn not_of_a_function(&self, field: &str, verb: &str) -> Result<()> {
        let fields = &self.schema.fields;
        let uses = |function: &&TextFunction| function.reads(field, fields) || function.output == field;
        match self.schema.functions.iter().find(uses) {
            None => Ok(()),
            Some(function) => Err(Error::InvalidParameter(format!(
                "field '{field}' cannot be {verb}: function '{}' uses it",
                function.name
            ))),
        }
    }

    fn drop_vector_index(&mut self, field: &str, allowed: bool) -> Result<()> {
        let Some(index) = self.state.indexes.iter().find(|index| index.field == field) else {
            return Ok(());
        };
        if !allowed {
            return Err(Error::InvalidParameter(format!(
                "field '{field}' cannot be dropped: index '{}' is on it, drop that first",
                index.name
            )));
        }
        if self.state.load != LoadScope::None {
            return Err(Error::StillLoaded {
                what: format!(
                    "vector index '{}' cannot be dropped: collection '{}'",
                    index.name, self.collection
                ),
            });
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.field(from)?;
        if from == to {
            return Ok(());
        }
        if self.schema.field(to).is_some() {
            return Err(Error::InvalidParameter(format!(
                "duplicated field name '{to}': collection '{}' has a field of that name",
                self.collection
            )));
        }
        self.not_of_a_function(from, "renamed")?;
        let field = self.field(from)?;
        let stored = field.stored_name().to_string();
        field.stored_name = (stored != to).then_some(stored);
        field.name = to.to_string();
        for index in &mut self.state.indexes {
            if index.field == from {
                index.field = to.to_string();
            } else if let Some((field, sub)) = split_sub_field_name(&index.field)
                && field == from
            {
                index.field = sub_field_name(to, sub);
            }
        }
        Ok(())
    }

    fn set_max_length(&mut self, field: &str, new: u32) -> Result<()> {
        let found = self.field(field)?;
        let name = found.data_type.name();
        let of_text = if let DataType::Array { element, .. } = &mut found.data_type {
            element.as_mut()
        } else {
            &mut found.data_type
        };
        let DataType::VarChar { max_length } = of_text else {
            return Err(has_no_limit(field, name, "max_length", "VarChar"));
        };
        *max_length = new;
        Ok(())
    }
}

fn has_no_limit(field: &str, given: &str, what: &str, of: &str) -> Error {
    Error::InvalidParameter(format!(
        "{what} can not be modified for field '{field}' of type {given}, only for {of}"
    ))
}

fn change_map(map: &mut BTreeMap<String, String>, set: &BTreeMap<String, String>, unset: &[String]) {
    map.extend(set.clone());
    map.retain(|key, _| !unset.contains(key));
}

//! Schema changes: fields added, dropped, and their limits changed.
//!
//! Newer clients add a field with AlterCollectionSchema, older ones with AddCollectionField.

use elanus_collection::{Alteration, Collection, DataType};
use milvus::proto::common::Status;
use milvus::proto::milvus as wire;
use milvus::proto::schema::FieldSchema;
use prost::Message;
use wire::alter_collection_schema_request::action::Op;
use wire::alter_collection_schema_request::drop_request::Identifier;
use wire::alter_collection_schema_request::{AddRequest, DropRequest};

use crate::context::Context;
use crate::convert::{schema, to_map};
use crate::door::Door;
use crate::status::{Code, Error, Result};

/// Parameters of a field that only tune Milvus' own machinery: kept and described.
const KEPT_PARAMS: [&str; 3] = ["mmap.enabled", "mmap_enabled", "warmup"];

pub(crate) async fn add_field(
    door: &Door,
    context: &Context,
    request: wire::AddCollectionFieldRequest,
) -> Result<Status> {
    let name = request.collection_name;
    let field = FieldSchema::decode(request.schema.as_slice()).map_err(|e| {
        Error::invalid(format!(
            "the field to add to collection {name} cannot be decoded: {e}"
        ))
    })?;
    let collection = door.collection(context, &request.db_name, &name)?;
    let change = addition(door, &collection, field)?;
    alter_now(door, context.database(&request.db_name), &name, change).await?;
    Ok(Status::default())
}

pub(crate) async fn add_struct_field(
    door: &Door,
    context: &Context,
    request: wire::AddCollectionStructFieldRequest,
) -> Result<Status> {
    let name = request.collection_name;
    let collection = door.collection(context, &request.db_name, &name)?;
    let Some(field) = request.struct_array_field_schema else {
        return Err(Error::invalid(format!(
            "the request to add a struct field to collection {name} has no field"
        )));
    };
    if !field.nullable {
        return Err(Error::invalid(format!(
            "added struct field must be nullable, please check it, field name = {}",
            field.name
        )));
    }
    if collection.schema().field(&field.name).is_some() {
        return Err(Error::invalid(format!("duplicated field name {}", field.name)));
    }
    let change = Alteration::AddField {
        field: Box::new(schema::struct_from_wire(&name, field)?),
        if_not_exists: false,
    };
    alter_now(door, context.database(&request.db_name), &name, change).await?;
    Ok(Status::default())
}

pub(crate) async fn alter(
    door: &Door,
    context: &Context,
    request: wire::AlterCollectionSchemaRequest,
) -> Result<wire::AlterCollectionSchemaResponse> {
    let name = request.collection_name;
    let collection = door.collection(context, &request.db_name, &name)?;
    let change = match request.action.and_then(|action| action.op) {
        Some(Op::AddRequest(add)) => {
            let field = only_field(add)?;
            addition(door, &collection, field)?
        }
        Some(Op::DropRequest(drop)) => removal(&collection, drop)?,
        None => {
            return Err(Error::invalid(format!(
                "no action given for the schema of collection {name}: add or drop one field"
            )));
        }
    };
    alter_now(door, context.database(&request.db_name), &name, change).await?;
    Ok(wire::AlterCollectionSchemaResponse::default())
}

pub(crate) async fn alter_field(
    door: &Door,
    context: &Context,
    request: wire::AlterCollectionFieldRequest,
) -> Result<Status> {
    let name = request.collection_name;
    let collection = door.collection(context, &request.db_name, &name)?;
    let mut set = to_map(request.properties);
    if !set.is_empty() && !request.delete_keys.is_empty() {
        return Err(Error::invalid(
            "cannot provide both DeleteKeys and Properties: set or drop properties, one at a time",
        ));
    }
    if set.is_empty() && request.delete_keys.is_empty() {
        return Err(Error::invalid("no properties or delete keys provided"));
    }
    let field = request.field_name;
    let Some(known) = collection.schema().field(&field).filter(|known| !known.dynamic) else {
        return Err(no_field(&field));
    };
    let mut changes = Vec::new();
    if set.contains_key(schema::MAX_LENGTH) {
        let of_text = if let DataType::Array { element, .. } = &known.data_type {
            element.as_ref()
        } else {
            &known.data_type
        };
        let is_text = matches!(of_text, DataType::VarChar { .. });
        if !is_text {
            return Err(Error::invalid(format!(
                "{field} can not modify the maxlength for non-string types"
            )));
        }
        let max_length = schema::max_length(&name, &field, &mut set)?;
        changes.push(Alteration::SetMaxLength {
            field: field.clone(),
            max_length,
        });
    }
    if set.contains_key(schema::MAX_CAPACITY) {
        if !matches!(
            known.data_type,
            DataType::Array { .. } | DataType::StructArray { .. }
        ) {
            return Err(Error::invalid(format!(
                "{field} can not modify the maxcapacity for non-array types"
            )));
        }
        let max_capacity = schema::max_capacity(&name, &field, &mut set)?;
        changes.push(Alteration::SetMaxCapacity {
            field: field.clone(),
            max_capacity,
        });
    }
    if let Some(description) = set.remove("field.description") {
        changes.push(Alteration::SetDescription {
            field: field.clone(),
            description,
        });
    }
    refuse_unknown(set.keys(), "update")?;
    refuse_unknown(request.delete_keys.iter(), "drop")?;
    changes.push(Alteration::SetParams {
        field,
        set,
        unset: request.delete_keys,
    });
    let database = context.database(&request.db_name);
    door.collections()
        .alter_collection(database, &name, changes)
        .await?;
    Ok(Status::default())
}

fn refuse_unknown<'a>(mut keys: impl Iterator<Item = &'a String>, verb: &str) -> Result<()> {
    match keys.find(|key| !KEPT_PARAMS.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::invalid(format!(
            "{key} does not allow {verb} in collection field param; allowed are max_length, max_capacity, {}",
            KEPT_PARAMS.join(", ")
        ))),
    }
}

async fn alter_now(door: &Door, database: &str, name: &str, change: Alteration) -> Result<()> {
    door.collections()
        .alter_collection(database, name, vec![change])
        .await?;
    Ok(())
}

/// Adding `field`, with Milvus' wording for what it does not allow.
fn addition(door: &Door, collection: &Collection, field: FieldSchema) -> Result<Alteration> {
    let name = field.name.clone();
    if field.is_primary_key {
        return Err(Error::invalid(format!(
            "not support to add pk field, field name = {name}"
        )));
    }
    if field.auto_id {
        return Err(Error::invalid(format!(
            "only primary field can speficy AutoID with true, field name = {name}"
        )));
    }
    if field.is_partition_key {
        return Err(Error::invalid(format!(
            "not support to add partition key field, field name  = {name}"
        )));
    }
    if field.is_clustering_key {
        return Err(Error::invalid(format!(
            "not support to add clustering key field, field name  = {name}"
        )));
    }
    if field.is_dynamic {
        return Err(Error::unsupported(format!(
            "switching the dynamic field on after the collection is made (field {name})"
        )));
    }
    if !field.nullable {
        return Err(Error::invalid(format!(
            "added field must be nullable, please check it, field name = {name}"
        )));
    }
    if collection.schema().field(&name).is_some() {
        return Err(Error::invalid(format!("duplicated field name {name}")));
    }
    let zone = door.zone(&collection.database(), &collection.properties())?;
    Ok(Alteration::AddField {
        field: Box::new(schema::field_from_wire(&collection.name(), field, zone)?),
        if_not_exists: false,
    })
}

/// The field of a request that adds one without a function or an index.
fn only_field(add: AddRequest) -> Result<FieldSchema> {
    if !add.func_schema.is_empty() {
        return Err(Error::unsupported("functions in the schema"));
    }
    if add.do_physical_backfill {
        return Err(Error::unsupported(
            "a backfill of an added field (do_physical_backfill)",
        ));
    }
    let Ok([info]) = <[_; 1]>::try_from(add.field_infos) else {
        return Err(Error::invalid("exactly one field can be added at a time"));
    };
    if !info.index_name.is_empty() || !info.extra_params.is_empty() {
        return Err(Error::unsupported(
            "an index in the request that adds a field; create it afterwards",
        ));
    }
    info.field_schema
        .ok_or_else(|| Error::invalid("the request to add a field has no field"))
}

fn removal(collection: &Collection, drop: DropRequest) -> Result<Alteration> {
    let schema = collection.schema();
    let name = match drop.identifier {
        Some(Identifier::FieldName(name)) => name,
        Some(Identifier::FieldId(id)) => match schema.fields.iter().find(|field| field.id == id) {
            Some(field) => field.name.clone(),
            None => return Err(no_field(&id.to_string())),
        },
        Some(Identifier::FunctionName(name)) => {
            return Err(Error::unsupported(format!("dropping function {name}")));
        }
        None => {
            return Err(Error::invalid(
                "the request to drop a field names none: give field_name or field_id",
            ));
        }
    };
    match schema.field(&name) {
        Some(field) if !field.dynamic => Ok(Alteration::DropField {
            name,
            if_exists: false,
            with_vector_index: true,
        }),
        _ => Err(no_field(&name)),
    }
}

fn no_field(name: &str) -> Error {
    Error::new(Code::FieldNotFound, format!("field not found[field={name}]"))
}

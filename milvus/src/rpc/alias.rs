//! Aliases: second names of collections.

use elanus_collection::{NameKind, validate_name};
use milvus::proto::{common::Status, milvus as wire};

use crate::context::Context;
use crate::door::Door;
use crate::status::Result;

pub(crate) async fn create(
    door: &Door,
    context: &Context,
    request: wire::CreateAliasRequest,
) -> Result<Status> {
    let database = context.database(&request.db_name);
    validate_name(NameKind::Collection, &request.collection_name)?;
    door.collections()
        .create_alias(database, &request.alias, &request.collection_name)
        .await?;
    Ok(Status::default())
}

pub(crate) async fn drop(door: &Door, context: &Context, request: wire::DropAliasRequest) -> Result<Status> {
    validate_name(NameKind::Alias, &request.alias)?;
    door.collections()
        .drop_alias(context.database(&request.db_name), &request.alias)
        .await?;
    Ok(Status::default())
}

pub(crate) async fn alter(
    door: &Door,
    context: &Context,
    request: wire::AlterAliasRequest,
) -> Result<Status> {
    let database = context.database(&request.db_name);
    validate_name(NameKind::Alias, &request.alias)?;
    validate_name(NameKind::Collection, &request.collection_name)?;
    door.collections()
        .alter_alias(database, &request.alias, &request.collection_name)
        .await?;
    Ok(Status::default())
}

pub(crate) fn describe(
    door: &Door,
    context: &Context,
    request: &wire::DescribeAliasRequest,
) -> Result<wire::DescribeAliasResponse> {
    let database = context.database(&request.db_name);
    validate_name(NameKind::Alias, &request.alias)?;
    door.collections().database(database)?;
    let collection = door.collections().alias(database, &request.alias)?;
    Ok(wire::DescribeAliasResponse {
        db_name: database.to_string(),
        alias: request.alias.clone(),
        collection,
        ..Default::default()
    })
}

pub(crate) fn list(
    door: &Door,
    context: &Context,
    request: &wire::ListAliasesRequest,
) -> Result<wire::ListAliasesResponse> {
    let database = context.database(&request.db_name);
    let named = !request.collection_name.is_empty();
    if named {
        door.collection(context, &request.db_name, &request.collection_name)?;
    }
    let aliases = door
        .collections()
        .aliases(database, named.then_some(request.collection_name.as_str()))?;
    Ok(wire::ListAliasesResponse {
        db_name: database.to_string(),
        collection_name: request.collection_name.clone(),
        aliases,
        ..Default::default()
    })
}

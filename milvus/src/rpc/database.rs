//! Databases.

use elanus_collection::Error as CollectionError;
use milvus::proto::{common::Status, milvus as wire};

use crate::context::Context;
use crate::convert::{properties, to_map, to_pairs};
use crate::door::Door;
use crate::status::{Error, Result};

pub(crate) async fn create(
    door: &Door,
    _context: &Context,
    request: wire::CreateDatabaseRequest,
) -> Result<Status> {
    let properties = to_map(request.properties);
    properties::check_database(&properties)?;
    door.collections()
        .create_database(&request.db_name, properties)
        .await?;
    Ok(Status::default())
}

pub(crate) async fn drop(
    door: &Door,
    _context: &Context,
    request: wire::DropDatabaseRequest,
) -> Result<Status> {
    match door.collections().drop_database(&request.db_name).await {
        // Dropping what is not there is no mistake in Milvus.
        Ok(()) | Err(CollectionError::DatabaseNotFound { .. }) => Ok(Status::default()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn list(
    door: &Door,
    _context: &Context,
    _request: &wire::ListDatabasesRequest,
) -> Result<wire::ListDatabasesResponse> {
    let databases = door.collections().databases();
    Ok(wire::ListDatabasesResponse {
        created_timestamp: databases.iter().map(|database| database.created_ts).collect(),
        db_ids: databases.iter().map(|database| database.id).collect(),
        db_names: databases.into_iter().map(|database| database.name).collect(),
        ..Default::default()
    })
}

pub(crate) async fn alter(
    door: &Door,
    context: &Context,
    request: wire::AlterDatabaseRequest,
) -> Result<Status> {
    let set = to_map(request.properties);
    if !set.is_empty() && !request.delete_keys.is_empty() {
        return Err(Error::invalid(
            "cannot provide both DeleteKeys and Properties: set or drop properties, one at a time",
        ));
    }
    if set.is_empty() && request.delete_keys.is_empty() {
        return Err(Error::invalid("no properties or delete keys provided"));
    }
    properties::check_database(&set)?;
    let database = context.database(&request.db_name);
    door.collections()
        .alter_database(database, set, &request.delete_keys)
        .await?;
    Ok(Status::default())
}

pub(crate) fn describe(
    door: &Door,
    context: &Context,
    request: &wire::DescribeDatabaseRequest,
) -> Result<wire::DescribeDatabaseResponse> {
    let database = door.collections().database(context.database(&request.db_name))?;
    Ok(wire::DescribeDatabaseResponse {
        db_id: database.id,
        created_timestamp: database.created_ts,
        properties: to_pairs(&database.properties),
        db_name: database.name,
        ..Default::default()
    })
}

//! File resources: files of the data directory (or of a folder that the server may use) under names.

use milvus::proto::{common::Status, milvus as wire};

use crate::context::Context;
use crate::door::Door;
use crate::status::Result;

pub(crate) async fn add(
    door: &Door,
    _context: &Context,
    request: wire::AddFileResourceRequest,
) -> Result<Status> {
    door.engine()
        .add_file_resource(&request.name, &request.path)
        .await?;
    Ok(Status::default())
}

/// Removing what is not there is no mistake in Milvus.
pub(crate) async fn remove(
    door: &Door,
    _context: &Context,
    request: wire::RemoveFileResourceRequest,
) -> Result<Status> {
    door.collections().remove_file_resource(&request.name).await?;
    Ok(Status::default())
}

pub(crate) fn list(
    door: &Door,
    _context: &Context,
    _request: &wire::ListFileResourcesRequest,
) -> Result<wire::ListFileResourcesResponse> {
    let resources = door.collections().file_resources();
    let resources = resources.into_iter().map(|resource| wire::FileResourceInfo {
        name: resource.name,
        path: resource.path,
        ..Default::default()
    });
    Ok(wire::ListFileResourcesResponse {
        resources: resources.collect(),
        ..Default::default()
    })
}

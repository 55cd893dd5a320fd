//! Registered files: what a user has put into the data directory, or into a folder that statements may use.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use elanus_trees::Forest;

use super::Engine;
use crate::error::{QueryError, Result};

impl Engine {
    /// Registers a file under a name. A relative path is one in the data directory (where the engine's own files are not
    /// to be named), an absolute one that of a file in a folder that statements may use.
    ///
    /// # Errors
    /// A name that stands for another file, and a file that is not there or may not be used.
    pub async fn add_file_resource(&self, name: &str, path: &str) -> Result<()> {
        let collections = self.collections();
        if !Path::new(path).is_absolute() {
            return Ok(collections.add_stored_file_resource(name, path).await?);
        }
        let files = self.inner.resources.files.sources(path, |_| true)?;
        let [file] = files.as_slice() else {
            return Err(QueryError::InvalidParameter(format!(
                "'{path}' is a folder; a file resource is one file"
            )));
        };
        let bytes = tokio::fs::read(file).await.map(Bytes::from);
        let bytes = bytes.map_err(|error| QueryError::Execution(format!("'{path}': {error}")))?;
        Ok(collections.add_file_resource(name, path, bytes).await?)
    }

    /// The model that a file resource has.
    ///
    /// # Errors
    /// A name that is not there, and bytes that are no model that can be evaluated.
    pub async fn model(&self, name: &str) -> Result<Arc<Forest>> {
        self.inner.resources.models.get(self.collections(), name).await
    }
}

//! Models of rerankers: read from registered files once, and kept while they are used.

use std::sync::Arc;

use elanus_collection::Collections;
use elanus_trees::{Forest, ModelError};
use lru::LruCache;
use parking_lot::Mutex;

use crate::error::{QueryError, Result};
use crate::selection::bounded;

/// Models that are kept.
const KEPT: usize = 16;

/// The models that were used lately, by the id of the file resource.
#[derive(Debug)]
pub(crate) struct Models {
    kept: Mutex<LruCache<String, Arc<Forest>>>,
}

impl Default for Models {
    fn default() -> Self {
        Self { kept: bounded(KEPT) }
    }
}

impl Models {
    /// The model of a file resource.
    ///
    /// # Errors
    /// A name that is not there, and bytes that are no model that can be evaluated.
    pub(crate) async fn get(&self, collections: &Collections, name: &str) -> Result<Arc<Forest>> {
        let id = collections.file_resource(name).map(|resource| resource.id);
        if let Some(id) = &id
            && let Some(model) = self.kept.lock().get(id)
        {
            return Ok(Arc::clone(model));
        }
        let bytes = collections.read_file_resource(name).await?;
        let read = tokio::task::spawn_blocking(move || Forest::read(&bytes)).await;
        let model = match read {
            Ok(Ok(model)) => Arc::new(model),
            Ok(Err(ModelError::Invalid(what))) => {
                return Err(QueryError::InvalidParameter(format!(
                    "file resource '{name}' is no model: {what}"
                )));
            }
            Ok(Err(ModelError::Unsupported(what))) => {
                return Err(QueryError::Unsupported(format!(
                    "{what}, which the model '{name}' has"
                )));
            }
            Err(error) => return Err(QueryError::Internal(format!("reading a model: {error}"))),
        };
        if let Some(id) = id {
            self.kept.lock().put(id, Arc::clone(&model));
        }
        Ok(model)
    }
}

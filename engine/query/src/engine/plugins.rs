//! Plugins, for doors that are not SQL: rerankers of searches, and uploads.

use bytes::Bytes;
use datafusion::prelude::SessionContext;
use elanus_collection::access::{Need, Privilege};
use elanus_plugins::Digest;

use super::Engine;
use crate::error::{QueryError, Result};
use crate::plugins::{MAX_PLUGIN_BYTES, PluginRerank};

impl Engine {
    /// The reranker that is registered as `name`, with parameters out of a JSON object, which it has looked at.
    ///
    /// # Errors
    /// No such reranker, one that cannot be loaded, and parameters that it does not take.
    pub async fn plugin_rerank(&self, name: &str, parameters: Option<&str>) -> Result<PluginRerank> {
        let plugins = &self.inner.resources.plugins;
        let reranker = plugins.reranker(self.collections(), name).await?;
        let rerank = PluginRerank::new(name, reranker, parameters)?;
        // A hand-over to another thread and back takes longer than most plugins.
        if rerank.is_configured() {
            return Ok(rerank);
        }
        let looks = rerank.clone();
        let looked = tokio::task::spawn_blocking(move || looks.configure()).await;
        looked.map_err(|error| QueryError::Internal(format!("a reranker stopped: {error}")))??;
        Ok(rerank)
    }

    /// Keeps the file of a plugin, for a statement to register it `FROM 'sha256:..'`. Gives that digest. A file that no
    /// statement registers goes with the next start, or when many others have come.
    ///
    /// # Errors
    /// Nobody may register plugins here, or the user of the session may not; an empty file, one that is too large, or no WebAssembly.
    pub async fn upload_plugin(&self, session: &SessionContext, bytes: Bytes) -> Result<String> {
        self.permit(session, &[Need::cluster(Privilege::RegisterPlugin)])?;
        self.inner.resources.plugins.check_registration()?;
        if bytes.is_empty() || bytes.len() as u64 > MAX_PLUGIN_BYTES {
            return Err(QueryError::InvalidParameter(format!(
                "the file of a plugin has {} bytes: allowed are 1 to {MAX_PLUGIN_BYTES}",
                bytes.len()
            )));
        }
        if !bytes.starts_with(b"\0asm") {
            return Err(QueryError::InvalidParameter(
                "the file of a plugin is WebAssembly, and this one is not".to_owned(),
            ));
        }
        let digest = Digest::of(&bytes).to_string();
        self.collections().upload_plugin(&digest, bytes).await?;
        Ok(digest)
    }
}

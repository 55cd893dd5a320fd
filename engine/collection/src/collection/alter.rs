//! Changing the schema: asking the writer for it, and the handle with the new one.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Collection;
use crate::alteration::Alteration;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::stored_names::physical_schema;
use crate::writer::Request;

impl Collection {
    /// When the schema was changed last: at the creation, if never.
    pub fn schema_ts(&self) -> Timestamp {
        self.shared.state.load().schema_ts.max(self.created_ts)
    }

    /// Numbers the schemas that the collection has had in this process; with its id, a name for the schema.
    pub fn schema_version(&self) -> u64 {
        self.shared.schema_version
    }

    /// Whether the collection still has the schema of this handle.
    pub fn is_current(&self) -> bool {
        self.shared.successor.get().is_none()
    }

    /// Makes these changes, all or none; they are durable when this returns.
    ///
    /// # Errors
    /// What the changes break; [`SchemaChanged`](crate::Error::SchemaChanged) when others came first; a storage error.
    pub(crate) async fn alter(&self, changes: Vec<Alteration>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Alter { changes, reply }).await?;
        self.receive(answer).await
    }

    /// The handle with the schema after this one; `None` when there is no later one.
    pub(crate) fn successor(&self) -> Option<Arc<Self>> {
        let next = self.shared.successor.get()?;
        Some(Arc::new(Self {
            id: self.id,
            names: Arc::clone(&self.names),
            created_ts: self.created_ts,
            schema: Arc::clone(&next.schema),
            physical_schema: physical_schema(&next.arrow_schema),
            arrow_schema: Arc::clone(&next.arrow_schema),
            shared: Arc::clone(&next.shared),
            requests: next.requests.clone(),
            wal_files: self.wal_files.clone(),
            oracle: Arc::clone(&self.oracle),
            budget: Arc::clone(&self.budget),
            warmup: Arc::clone(&self.warmup),
            opened: Arc::clone(&self.opened),
            past: self.past,
        }))
    }
}

//! Changes of the collection's state: properties, partitions, index definitions, what is loaded.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{Edit, Writer};
use crate::error::Result;
use crate::state::CollectionState;

impl Writer {
    /// Changes the collection state and commits it.
    pub(super) async fn edit_state(&mut self, edit: Edit) -> Result<i64> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let mut state = self.state.clone();
        let value = edit(&mut state)?;
        if state != self.state {
            let new_index = state.indexes.len() > self.state.indexes.len();
            let let_go = state.snapshots.len() < self.state.snapshots.len();
            self.commit_state(state, None).await?;
            // A new index should cover what is there, so the growing rows are sealed for it.
            if new_index && self.options.background && self.growing_rows() > 0 {
                self.want_flush = true;
            }
            self.publish();
            if let_go {
                self.collect_garbage().await;
            }
        }
        Ok(value)
    }

    /// Commits the state, with a new schema if there is one.
    pub(super) async fn commit_state(
        &mut self,
        state: CollectionState,
        schema: Option<&SchemaRef>,
    ) -> Result<()> {
        let bytes = state.encode()?;
        let kept: Vec<i64> = state.indexes.iter().map(|def| def.id).collect();
        let partitions: Vec<i64> = state.partitions.iter().map(|partition| partition.id).collect();
        self.store
            .commit(|manifest| {
                manifest.state.clone_from(&bytes);
                if let Some(schema) = schema {
                    manifest.schema = Arc::clone(schema);
                }
                manifest
                    .segments
                    .retain(|segment| partitions.contains(&segment.partition));
                for segment in &mut manifest.segments {
                    segment.indexes.retain(|file| kept.contains(&file.index_id));
                }
            })
            .await
            .map_err(|error| self.stopped_by(error))?;
        for id in &partitions {
            self.partitions.entry(*id).or_default();
        }
        self.partitions.retain(|id, _| partitions.contains(id));
        for entry in self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments)
        {
            let before = entry.indexes.len();
            entry.indexes.retain(|id, _| kept.contains(id));
            entry.failed.retain(|id, _| kept.contains(id));
            if entry.indexes.len() != before {
                entry.refresh();
            }
        }
        self.state = state;
        Ok(())
    }
}

//! Changing the schema: every row of the old one goes into segments, then one commit has the new one.
//!
//! ```text
//!  alter ──► flush, other requests wait ──► commit (schema, state) ──► segments seen with the new schema
//!                                                                  ──► a new channel; the old one is dropped
//! ```
//!
//! The log never has rows of two schemas behind one manifest: requests are not taken between the flush and the commit. A
//! crash leaves the old schema or the new one, with every row in both cases. What was made ready for the old schema and
//! comes late finds its channel closed and is refused as a whole; readers keep the snapshot that they hold.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use super::{Reply, Request, Shared, Writer};
use crate::alteration::{Alteration, altered};
use crate::error::{Error, Result};
use crate::schema::CollectionSchema;
use crate::segment::SealedSegment;
use crate::snapshot::SnapshotInfo;
use crate::state::CollectionState;
use crate::stored_names::stored_schema;

/// Requests that may wait for the writer before senders wait too.
const QUEUE: usize = 1_024;

/// The way to a writer.
pub(crate) fn request_channel() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(QUEUE)
}

/// How to go on with a collection whose schema has changed.
pub(crate) struct Successor {
    pub schema: Arc<CollectionSchema>,
    pub arrow_schema: SchemaRef,
    pub shared: Arc<Shared>,
    pub requests: mpsc::Sender<Request>,
}

/// What waits until all rows are in segments.
pub(super) enum Pending {
    /// A new schema.
    Alter {
        schema: Box<CollectionSchema>,
        state: Box<CollectionState>,
        reply: Reply<()>,
    },
    /// A name for that state.
    Keep {
        name: String,
        reply: Reply<SnapshotInfo>,
    },
}

impl Writer {
    /// Checks the changes. Those of the state alone are made at once.
    pub(super) async fn begin_alter(&mut self, changes: &[Alteration], reply: Reply<()>) {
        match self.changed(changes) {
            Err(error) => drop(reply.send(Err(error))),
            Ok((None, state)) => {
                let result = if state == self.state {
                    Ok(())
                } else {
                    self.commit_state(state, None).await
                };
                self.publish();
                drop(reply.send(result));
            }
            Ok((Some(schema), state)) => {
                self.wait_for_segments(Pending::Alter {
                    schema: Box::new(schema),
                    state: Box::new(state),
                    reply,
                });
            }
        }
    }

    /// Takes no requests until all rows are in segments, and then does what is pending.
    pub(super) fn wait_for_segments(&mut self, pending: Pending) {
        self.pending = Some(pending);
        if !self.is_flushed() {
            self.flush_now();
        }
    }

    /// The state after the changes, and the schema if it is another one.
    fn changed(&self, changes: &[Alteration]) -> Result<(Option<CollectionSchema>, CollectionState)> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let old = CollectionSchema::from_arrow(&self.schema)?;
        let (schema, state) = altered(&self.name, &old, &self.state, changes, self.oracle.next())?;
        Ok(((schema != old).then_some(schema), state))
    }

    /// Whether segments and bitmaps have all that the log has.
    fn is_flushed(&self) -> bool {
        self.store.manifest().wal_flushed >= self.last_sequence && self.growing_rows() == 0
    }

    /// Does what is pending once nothing is left outside of segments. Gives the new channel when the schema is another one.
    pub(super) async fn pending_if_ready(&mut self) -> Option<mpsc::Receiver<Request>> {
        self.pending.as_ref()?;
        let refused = self.failed().or_else(|| {
            let failed = self.failed_flush.as_ref()?;
            // Beside one that runs now, the failure is of an earlier one.
            self.flushing.is_none().then(|| Error::FlushFailed {
                collection: self.name.clone(),
                reason: failed.reason.clone(),
            })
        });
        if refused.is_none() && (self.flushing.is_some() || !self.is_flushed()) {
            return None;
        }
        match self.pending.take()? {
            Pending::Alter { schema, state, reply } => {
                let result = match refused {
                    Some(error) => Err(error),
                    None => self.commit_schema(*schema, *state).await,
                };
                let (channel, result) = match result {
                    Ok(channel) => (Some(channel), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                // Whoever hears of it finds the way to the new schema there already.
                drop(reply.send(result));
                channel
            }
            Pending::Keep { name, reply } => {
                let result = match refused {
                    Some(error) => Err(error),
                    None => self.keep(name).await,
                };
                drop(reply.send(result));
                None
            }
        }
    }

    async fn commit_schema(
        &mut self,
        schema: CollectionSchema,
        state: CollectionState,
    ) -> Result<mpsc::Receiver<Request>> {
        let arrow = schema.to_arrow();
        let stored = stored_schema(&arrow);
        let key = schema.primary_key()?.stored_name().to_string();
        let entries = self.partitions.values().flat_map(|partition| &partition.segments);
        let segments: Vec<Arc<SealedSegment>> = entries
            .map(|entry| entry.segment.with_schema(&stored).map(Arc::new))
            .collect::<Result<_>>()?;
        self.commit_state(state, Some(&arrow)).await?;
        (self.schema, self.stored_schema, self.primary_key) = (arrow, stored, key);
        let entries = self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments);
        for (entry, segment) in entries.zip(segments) {
            self.pins.add(&segment);
            entry.segment = segment;
            entry.refresh();
        }
        Ok(self.hand_over(Arc::new(schema)))
    }

    /// Serves the handles of this schema from now on; those of the one before are told that it has changed.
    pub(super) fn hand_over(&mut self, schema: Arc<CollectionSchema>) -> mpsc::Receiver<Request> {
        let (requests, receiver) = request_channel();
        let old = Arc::clone(&self.shared);
        self.shared = Arc::new(Shared {
            snapshot: ArcSwap::new(old.snapshot.load_full()),
            state: ArcSwap::new(old.state.load_full()),
            indexes: ArcSwap::new(old.indexes.load_full()),
            building: ArcSwap::new(old.building.load_full()),
            schema_version: old.schema_version + 1,
            successor: OnceLock::new(),
        });
        self.publish();
        let next = Successor {
            schema,
            arrow_schema: Arc::clone(&self.schema),
            shared: Arc::clone(&self.shared),
            requests,
        };
        // Each is succeeded once: this writer does it, and has just left it for the next one.
        let _first = old.successor.set(next);
        receiver
    }

    /// A segment that was written under the schema of another moment, as the schema of now sees it.
    pub fn in_this_schema(&self, segment: Arc<SealedSegment>) -> Result<Arc<SealedSegment>> {
        if segment.schema() == &self.stored_schema {
            return Ok(segment);
        }
        segment.with_schema(&self.stored_schema).map(Arc::new)
    }
}

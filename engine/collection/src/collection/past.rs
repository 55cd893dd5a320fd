//! Earlier states of a collection: keeping one under a name, reading it, letting it go.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Collection;
use crate::error::{Error, Result};
use crate::names::{NameKind, validate_name};
use crate::snapshot::{SnapshotInfo, SnapshotRef};
use crate::stored_names::physical_schema;
use crate::writer::{Past, Request, request_channel};

/// The earlier states that someone reads now, by version.
pub(super) type Opened = Mutex<HashMap<u64, Weak<Collection>>>;

impl Collection {
    /// Keeps the state of now under a name, until [`Collection::drop_snapshot`]. Every acknowledged write is in it. Writes
    /// that come meanwhile wait until the rows in memory are in segments, and are not in it.
    ///
    /// # Errors
    /// A bad name, a name in use, too many snapshots, or a storage error.
    pub async fn create_snapshot(&self, name: &str) -> Result<SnapshotInfo> {
        validate_name(NameKind::Snapshot, name)?;
        let (reply, answer) = oneshot::channel();
        let name = name.to_string();
        self.send(Request::Keep { name, reply }).await?;
        self.receive(answer).await
    }

    /// Lets a state go; what only it needed is removed from disk after a while. Whoever reads it reads on.
    ///
    /// # Errors
    /// No snapshot of this name, or a storage error.
    pub async fn drop_snapshot(&self, name: &str) -> Result<()> {
        let (collection, wanted) = (self.name(), SnapshotRef::Name(name.to_string()));
        self.edit(Box::new(move |state| {
            found(&collection, &state.snapshots, &wanted)?;
            state.snapshots.retain(|info| !wanted.is(info));
            Ok(0)
        }))
        .await
        .map(|_| ())
    }

    /// The states that are kept, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.shared.state.load().snapshots.clone()
    }

    /// One of the states that are kept.
    ///
    /// # Errors
    /// When there is none of this name or version.
    pub fn snapshot_info(&self, wanted: &SnapshotRef) -> Result<SnapshotInfo> {
        found(&self.name(), &self.shared.state.load().snapshots, wanted).cloned()
    }

    /// The collection as it was: its rows, schema, partitions and indexes of then, to be read. As long as it is held, its
    /// files stay.
    ///
    /// # Errors
    /// When there is no such snapshot, or its files cannot be read.
    pub async fn at(&self, wanted: &SnapshotRef) -> Result<Arc<Self>> {
        let info = self.snapshot_info(wanted)?;
        if let Some(open) = self.opened_at(info.version) {
            return Ok(open);
        }
        let (reply, answer) = oneshot::channel();
        let version = info.version;
        self.send(Request::OpenPast { version, reply }).await?;
        let Past { schema, shared } = self.receive(answer).await?;
        let arrow_schema = Arc::clone(&shared.snapshot.load().schema);
        // Nobody listens: a state of the past takes no writes.
        let (requests, _) = request_channel();
        let past = Arc::new(Self {
            id: self.id,
            names: Arc::clone(&self.names),
            created_ts: self.created_ts,
            schema,
            physical_schema: physical_schema(&arrow_schema),
            arrow_schema,
            shared,
            requests,
            wal_files: self.wal_files.clone(),
            oracle: Arc::clone(&self.oracle),
            budget: Arc::clone(&self.budget),
            warmup: Arc::default(),
            opened: Arc::default(),
            past: Some(info.version),
        });
        let mut opened = self.opened.lock();
        opened.retain(|_, past| past.strong_count() > 0);
        opened.insert(info.version, Arc::downgrade(&past));
        Ok(past)
    }

    /// What [`Collection::at`] gave for this version, while someone holds it.
    pub fn opened_at(&self, version: u64) -> Option<Arc<Self>> {
        self.opened.lock().get(&version)?.upgrade()
    }

    /// Whether this is an earlier state, which only gives rows.
    pub fn is_past(&self) -> bool {
        self.past.is_some()
    }

    /// The version of an earlier state; `None` for the collection as it is now.
    pub fn past_version(&self) -> Option<u64> {
        self.past
    }
}

fn found<'a>(collection: &str, kept: &'a [SnapshotInfo], wanted: &SnapshotRef) -> Result<&'a SnapshotInfo> {
    kept.iter().find(|info| wanted.is(info)).ok_or_else(|| {
        let known: Vec<String> = kept
            .iter()
            .map(|info| format!("'{}' (version {})", info.name, info.version))
            .collect();
        let known = match known.as_slice() {
            [] => "it has none".to_string(),
            known => format!("it has {}", known.join(", ")),
        };
        Error::InvalidParameter(format!("collection '{collection}' has no {wanted}: {known}"))
    })
}

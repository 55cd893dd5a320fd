//! The single writer of one collection: append to the WAL, commit manifests, take over after a crash.
//!
//! # Taking over
//!
//! `open` first commits a manifest with a higher epoch, then reads the WAL after `wal_flushed`, then writes a *fence*
//! (an empty WAL object) at the next sequence. A writer of the old epoch that is still alive finds the next manifest
//! version or the next WAL name taken and stops with [`Error::Fenced`]: both are written with *create if absent*.
//! What it managed to append before the fence is part of what the new writer recovers. An opening that is itself
//! overtaken between its claim and its fence finds a higher epoch in the WAL, writes nothing, and is `Fenced` too.
//!
//! # Unknown outcomes
//!
//! A put can fail although it was applied. The random id inside the object settles that when it can be read back;
//! when it cannot, or when nothing is there (the write may still arrive), the writer is *poisoned*: every later call
//! fails until the collection is opened again, in this process with [`CollectionStore::reopen`], and the fence of that
//! opening shuts out the late write.

mod replay;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use ulid::Ulid;

pub use replay::TornTail;

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::segment::SegmentFiles;
use crate::segment::fetch::fetch;
use crate::versioned::{Outcome, Versioned, VersionedLog, numbered_path};
use crate::wal::{EncodedOps, WalEntry, WalFiles, object};

/// How many claims a manifest remembers, and how many fences stay in the WAL. A writer would have to sleep through
/// that many openings of its collection to miss that it was taken over.
pub(crate) const KEPT_FENCES: usize = 256;

/// How often a commit is repeated on top of another one, and an opening after another opening.
const COMMIT_ATTEMPTS: usize = 64;

/// The paths of one collection.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: Path,
}

impl Layout {
    pub(crate) fn new(collection: i64) -> Self {
        Self {
            root: Path::from("c").join(collection.to_string()),
        }
    }

    fn manifests(&self, store: &Arc<dyn ObjectStore>) -> VersionedLog<Manifest> {
        VersionedLog::new(Arc::clone(store), self.root.clone().join("manifest"), "pb")
    }

    pub(crate) fn wal(&self) -> Path {
        self.root.clone().join("wal")
    }

    fn segments(&self) -> Path {
        self.root.clone().join("segments")
    }
}

/// What `open` found.
#[derive(Debug)]
pub struct Recovered {
    /// The manifest that this opening committed.
    pub manifest: Arc<Manifest>,
    /// Entries after `wal_flushed`, in order. They are acknowledged writes, or unacknowledged ones that made it.
    pub entries: Vec<WalEntry>,
    /// Set when the newest WAL object was cut short.
    pub torn: Option<TornTail>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct CollectionStore {
    id: i64,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) layout: Layout,
    pub(crate) manifests: VersionedLog<Manifest>,
    files: SegmentFiles,
    wal_files: WalFiles,
    manifest: Arc<Manifest>,
    next_sequence: u64,
    /// Set by the first write whose outcome is unknown, and by fencing.
    stopped: Option<Error>,
}

impl CollectionStore {
    /// Creates a collection; `state` is the opaque state of the layer above.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is one with this id, or when the store fails.
    pub async fn create(
        store: Arc<dyn ObjectStore>,
        id: i64,
        schema: SchemaRef,
        state: Vec<u8>,
    ) -> Result<Self> {
        let layout = Layout::new(id);
        let manifests = layout.manifests(&store);
        if !manifests.versions().await?.is_empty() {
            return Err(Error::AlreadyExists {
                path: layout.root.to_string(),
            });
        }
        let manifest = Manifest {
            version: 1,
            epoch: 1,
            commit_id: Ulid::new(),
            collection: id,
            schema,
            segments: Vec::new(),
            wal_flushed: 0,
            state,
            last_timestamp: 0,
            claims: vec![1],
        };
        match manifests.commit(&manifest).await? {
            Outcome::Committed => Ok(Self::assemble(store, layout, manifests, manifest, 1)),
            Outcome::Conflict => Err(Error::AlreadyExists {
                path: layout.root.to_string(),
            }),
        }
    }

    /// Takes a collection over: claims the next epoch, replays the WAL, fences off earlier writers.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such collection, [`Error::Corrupt`] when the newest manifest or a WAL
    /// object after `wal_flushed` is damaged, [`Error::Fenced`] when another opening overtook this one, or when the
    /// store fails.
    pub async fn open(store: Arc<dyn ObjectStore>, id: i64) -> Result<(Self, Recovered)> {
        let layout = Layout::new(id);
        let manifests = layout.manifests(&store);
        let manifest = claim(&manifests, &layout, id).await?;
        let replayed = fence_off(store.as_ref(), &layout, &manifest).await?;
        let opened = Self::assemble(store, layout, manifests, manifest, replayed.next_sequence + 1);
        let recovered = opened.recovered(replayed);
        Ok((opened, recovered))
    }

    /// Opens the collection again after a write of unknown outcome has stopped this writer. What came of that write is
    /// in the manifest or among the entries, or will never be. Another writer that took over meanwhile is not disturbed.
    /// Segment files that were written and not committed count as given up: call it when none is being written.
    ///
    /// # Errors
    /// As [`open`](Self::open); the writer stays stopped then, and this can be called again unless the error is
    /// [`Error::Fenced`].
    pub async fn reopen(&mut self) -> Result<Recovered> {
        if let Some(fenced @ Error::Fenced { .. }) = &self.stopped {
            return Err(fenced.clone());
        }
        if let Err(error) = self.newest().await {
            return Err(self.stop(error));
        }
        let claimed = claim(&self.manifests, &self.layout, self.id).await?;
        // From here on the new epoch is this writer's, also when the rest fails and is tried again.
        self.manifest = Arc::new(claimed);
        let replayed = match fence_off(self.store.as_ref(), &self.layout, &self.manifest).await {
            Ok(replayed) => replayed,
            Err(error) => return Err(self.stop(error)),
        };
        self.next_sequence = replayed.next_sequence + 1;
        self.files.abandon_all();
        self.stopped = None;
        Ok(self.recovered(replayed))
    }

    fn recovered(&self, replayed: replay::Replayed) -> Recovered {
        self.wal_files.recovered(replayed.files);
        Recovered {
            manifest: self.manifest(),
            entries: replayed.entries,
            torn: replayed.torn,
        }
    }

    fn assemble(
        store: Arc<dyn ObjectStore>,
        layout: Layout,
        manifests: VersionedLog<Manifest>,
        manifest: Manifest,
        next_sequence: u64,
    ) -> Self {
        Self {
            id: manifest.collection,
            files: SegmentFiles::new(Arc::clone(&store), layout.segments()),
            wal_files: WalFiles::new(Arc::clone(&store), layout.wal()),
            store,
            layout,
            manifests,
            manifest: Arc::new(manifest),
            next_sequence,
            stopped: None,
        }
    }

    /// Collection id.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The manifest that this writer committed last.
    #[must_use]
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest)
    }

    /// An earlier version of the manifest.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was removed, [`Error::Corrupt`], or when the store fails.
    pub async fn manifest_at(&self, version: u64) -> Result<Manifest> {
        self.manifests.load(version).await
    }

    /// The sequence that the next appended entry gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The error that stopped this writer for good, if one did.
    #[must_use]
    pub fn stopped(&self) -> Option<&Error> {
        self.stopped.as_ref()
    }

    /// Access to the segment files, for readers and background tasks.
    #[must_use]
    pub fn files(&self) -> SegmentFiles {
        self.files.clone()
    }

    /// Where large writes are made, for the threads that make them.
    #[must_use]
    pub fn wal_files(&self) -> WalFiles {
        self.wal_files.clone()
    }

    /// Makes a group of entries durable with one object and returns their sequences. Each entry is a timestamp and
    /// the result of [`encode_ops`](crate::encode_ops) or of a [`WalFileWriter`](crate::WalFileWriter). When this returns, the entries survive a power loss.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the collection was taken over; any other error leaves it open whether the group is
    /// there. Either way the writer is stopped.
    pub async fn append(&mut self, group: Vec<(u64, EncodedOps)>) -> Result<Vec<u64>> {
        self.check()?;
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.next_sequence;
        let id = Ulid::new();
        // A group that cannot be encoded was not written: no reason to stop.
        let payload = object::encode_group(id, self.manifest.epoch, first, &group)?;
        // Before the outcome is known: a file must not go while the log may name it.
        for (sequence, (_, encoded)) in (first..).zip(&group) {
            encoded.named_by(sequence);
        }
        let put = put_wal(self.store.as_ref(), &self.layout.wal(), first, id, payload).await;
        match put {
            Ok(WalPut::Written) => {
                self.next_sequence = first + group.len() as u64;
                Ok((first..self.next_sequence).collect())
            }
            Ok(WalPut::Taken(header)) => Err(self.stop(Error::Fenced {
                collection: self.id,
                epoch: self.manifest.epoch,
                newer: header.epoch,
            })),
            Err(error) => Err(self.stop(error)),
        }
    }

    /// Commits the next manifest. `edit` changes a copy of the newest one; it runs again when another commit of the
    /// same epoch came first. Version, epoch, commit id, collection and claims are not its to change.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the collection was taken over; [`Error::Invalid`] when `wal_flushed` went backwards or
    /// beyond what was appended (nothing is written, the writer goes on); any other error stops the writer.
    pub async fn commit(&mut self, mut edit: impl FnMut(&mut Manifest)) -> Result<Arc<Manifest>> {
        self.check()?;
        let epoch = self.manifest.epoch;
        for _ in 0..COMMIT_ATTEMPTS {
            let base = Arc::clone(&self.manifest);
            let mut next = base.as_ref().clone();
            edit(&mut next);
            if next.wal_flushed < base.wal_flushed || next.wal_flushed >= self.next_sequence {
                return Err(Error::Invalid(format!(
                    "wal_flushed {} must lie between {} and the last appended sequence {}",
                    next.wal_flushed,
                    base.wal_flushed,
                    self.next_sequence - 1
                )));
            }
            next.version = base.version + 1;
            next.epoch = epoch;
            next.commit_id = Ulid::new();
            next.collection = self.id;
            next.claims.clone_from(&base.claims);
            match self.manifests.commit(&next).await {
                Ok(Outcome::Committed) => {
                    self.files.committed(&next);
                    self.manifest = Arc::new(next);
                    return Ok(self.manifest());
                }
                Ok(Outcome::Conflict) => self.rebase().await?,
                Err(error) => return Err(self.stop(error)),
            }
        }
        Err(Error::Invalid(format!(
            "others committed to collection {} {COMMIT_ATTEMPTS} times in a row",
            self.id
        )))
    }

    /// Loads the newest manifest after a lost race.
    async fn rebase(&mut self) -> Result<()> {
        match self.newest().await {
            Ok(newest) => {
                self.manifest = Arc::new(newest);
                Ok(())
            }
            Err(error) => Err(self.stop(error)),
        }
    }

    /// The newest manifest on disk, if it is still of this writer's epoch.
    pub(crate) async fn newest(&self) -> Result<Manifest> {
        let newest = self
            .manifests
            .load_newest()
            .await?
            .ok_or_else(|| Error::NotFound {
                path: self.layout.root.to_string(),
            })?;
        if newest.epoch == self.manifest.epoch {
            return Ok(newest);
        }
        Err(Error::Fenced {
            collection: self.id,
            epoch: self.manifest.epoch,
            newer: newest.epoch,
        })
    }

    fn check(&self) -> Result<()> {
        match &self.stopped {
            None => Ok(()),
            Some(fenced @ Error::Fenced { .. }) => Err(fenced.clone()),
            Some(error) => Err(Error::Poisoned {
                collection: self.id,
                why: error.to_string(),
            }),
        }
    }

    fn stop(&mut self, error: Error) -> Error {
        self.stopped = Some(error.clone());
        error
    }
}

/// Commits a manifest with the next epoch.
async fn claim(manifests: &VersionedLog<Manifest>, layout: &Layout, id: i64) -> Result<Manifest> {
    for _ in 0..COMMIT_ATTEMPTS {
        let newest = manifests.load_newest().await?.ok_or_else(|| Error::NotFound {
            path: layout.root.to_string(),
        })?;
        if newest.collection != id {
            let path = manifests.path(newest.version());
            return Err(Error::corrupt(
                path.as_ref(),
                format!("a manifest of collection {}, expected {id}", newest.collection),
            ));
        }
        let mut next = newest;
        next.version += 1;
        next.epoch += 1;
        next.commit_id = Ulid::new();
        next.claims.push(next.version);
        let surplus = next.claims.len().saturating_sub(KEPT_FENCES);
        next.claims.drain(..surplus);
        if manifests.commit(&next).await? == Outcome::Committed {
            return Ok(next);
        }
    }
    Err(Error::Invalid(format!(
        "collection {id} was opened by others {COMMIT_ATTEMPTS} times in a row"
    )))
}

/// Reads the WAL after `wal_flushed` and ends it with a fence of this epoch.
async fn fence_off(
    store: &dyn ObjectStore,
    layout: &Layout,
    manifest: &Manifest,
) -> Result<replay::Replayed> {
    let (id, epoch, wal) = (manifest.collection, manifest.epoch, layout.wal());
    let fenced_by = |newer| Error::Fenced {
        collection: id,
        epoch,
        newer,
    };
    for _ in 0..COMMIT_ATTEMPTS {
        let replayed = replay::replay(store, &wal, manifest.wal_flushed).await?;
        if replayed.epoch > epoch {
            // A fence of a lower epoch behind that would make the log unreadable.
            return Err(fenced_by(replayed.epoch));
        }
        let sequence = replayed.next_sequence;
        let fence_id = Ulid::new();
        let fence = object::encode_fence(fence_id, epoch, sequence, replayed.void_from);
        match put_wal(store, &wal, sequence, fence_id, fence).await? {
            WalPut::Written => {
                if let Some(torn) = &replayed.torn {
                    tracing::warn!(collection = id, path = %torn.path, kept = torn.kept, "the newest WAL object was cut short; its missing part was never acknowledged");
                }
                return Ok(replayed);
            }
            WalPut::Taken(header) if header.epoch > epoch => return Err(fenced_by(header.epoch)),
            // An earlier writer appended between the replay and the fence: its write counts.
            WalPut::Taken(_) => {}
        }
    }
    Err(Error::Invalid(format!(
        "another writer kept appending to collection {id} while it was opened"
    )))
}

/// What came of writing a WAL object.
#[derive(Debug)]
enum WalPut {
    /// It is there, and ours.
    Written,
    /// Another object has the name.
    Taken(object::Header),
}

async fn put_wal(
    store: &dyn ObjectStore,
    wal: &Path,
    sequence: u64,
    id: Ulid,
    payload: PutPayload,
) -> Result<WalPut> {
    let path = numbered_path(wal, sequence, "wal");
    let put = store
        .put_opts(&path, payload, PutOptions::from(PutMode::Create))
        .await;
    let Err(put_error) = put else {
        return Ok(WalPut::Written);
    };
    let Ok(found) = fetch(store, &path).await else {
        return Err(put_error.into());
    };
    match object::Header::decode(path.as_ref(), &found)? {
        Some(header) if header.id == id => Ok(WalPut::Written),
        Some(header) => Ok(WalPut::Taken(header)),
        None => Err(Error::corrupt(path.as_ref(), "too short for a WAL header")),
    }
}

/// Ids of all collections that have files, ascending. A collection whose removal was interrupted is among them.
///
/// # Errors
/// When the store fails.
pub async fn list_collections(store: &dyn ObjectStore) -> Result<Vec<i64>> {
    let listed = store.list_with_delimiter(Some(&Path::from("c"))).await?;
    let ids = listed.common_prefixes.iter().filter_map(|path| {
        let name = path.filename()?;
        let id: i64 = name.parse().ok()?;
        (id.to_string() == name).then_some(id)
    });
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Removes every file of a collection and returns how many there were. The catalog must not name it any more; a
/// removal that was interrupted is finished by calling this again.
///
/// # Errors
/// When the store fails.
pub async fn remove_collection(store: &dyn ObjectStore, id: i64) -> Result<u64> {
    let root = Layout::new(id).root;
    let listed: Vec<Path> = store
        .list(Some(&root))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
    let count = listed.len() as u64;
    let locations = futures::stream::iter(listed.into_iter().map(Ok)).boxed();
    let mut deleted = store.delete_stream(locations);
    while let Some(result) = deleted.next().await {
        if let Err(error) = result
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            return Err(error.into());
        }
    }
    Ok(count)
}

//! Garbage collection: removing what nothing needs any more.
//!
//! The order makes it safe against everything that goes on meanwhile: files are listed first, then the newest manifest
//! is read, so that a file which is committed in between is seen as named. Files that this process has written and not
//! committed are known and left alone; files of other processes are protected by the grace period.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::collection::{CollectionStore, KEPT_FENCES};
use crate::error::Result;
use crate::manifest::{Manifest, SegmentId};
use crate::segment::SegmentFiles;
use crate::versioned::{list_numbered, remove_if_present};
use crate::wal::files::id_of;
use crate::wal::object::HEADER_LEN;

/// What one collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Files of segments, among them replaced delete bitmaps and index blobs.
    pub segment_files: u64,
    /// WAL objects that are flushed, and files of large writes that are flushed or never came.
    pub wal_objects: u64,
    /// Superseded manifest versions.
    pub manifests: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl CollectionStore {
    /// Removes segment files that no manifest names, superseded manifests, and what the WAL has up to `wal_flushed`.
    ///
    /// Kept are: whatever a manifest names that was the newest one within the last `grace`; unnamed files younger than
    /// `grace`; the `kept` manifest versions with their files; all files of the `pinned` segments; what this process wrote
    /// and did not commit yet.
    ///
    /// # Errors
    /// [`Error::Fenced`](crate::Error::Fenced) when the collection was taken over: nothing is removed then.
    pub async fn collect_garbage(
        &self,
        pinned: &HashSet<SegmentId>,
        kept: &[u64],
        grace: Duration,
    ) -> Result<GcReport> {
        let files = self.files();
        let listed: Vec<ObjectMeta> = self.store.list(Some(files.prefix())).try_collect().await?;
        let newest = self.newest().await?;
        let now = SystemTime::now();
        let mut report = GcReport::default();

        let versions = self.manifests.versions().await?;
        let (kept, superseded) = sort_manifests(&versions, &newest, kept, now, grace);
        let mut named = HashSet::new();
        name_files(&files, &newest, &mut named);
        let is_garbage = |meta: &ObjectMeta| {
            let Some(segment) = segment_of(&files, &meta.location) else {
                return false;
            };
            // A pinned segment that is still in the manifest only keeps its named files: bitmaps and blobs that were
            // replaced have been read, and the grace period covers a reader that is about to.
            let is_pinned = pinned.contains(&segment) && newest.segment(segment).is_none();
            !named.contains(&meta.location)
                && !is_pinned
                && !files.is_uncommitted(&meta.location)
                && !is_younger(meta, now, grace)
        };
        let mut garbage: Vec<ObjectMeta> = listed.into_iter().filter(is_garbage).collect();
        // Older manifests are only read when they can save something.
        let mut recently_named = HashSet::new();
        if !garbage.is_empty() {
            for version in kept {
                name_files(&files, &self.manifests.load(version).await?, &mut recently_named);
            }
        }
        garbage.retain(|meta| !recently_named.contains(&meta.location));
        for meta in garbage {
            remove_if_present(self.store.as_ref(), &meta.location).await?;
            files.forget(&meta.location);
            report.segment_files += 1;
            report.bytes += meta.size;
        }
        self.collect_wal(&newest, &mut report).await?;
        self.collect_wal_files(&newest, &mut report).await?;
        for (version, meta) in superseded {
            self.manifests.remove(version).await?;
            report.manifests += 1;
            report.bytes += meta.size;
        }
        Ok(report)
    }

    /// Removes flushed WAL objects, oldest first. The newest object stays, since it tells the next sequence; so do the
    /// newest fences.
    async fn collect_wal(&self, newest: &Manifest, report: &mut GcReport) -> Result<()> {
        let objects = list_numbered(self.store.as_ref(), &self.layout.wal(), "wal").await?;
        // Nothing else is as short as a fence.
        let is_fence = |meta: &ObjectMeta| meta.size == HEADER_LEN as u64;
        let fences = objects.iter().filter(|(_, meta)| is_fence(meta)).count();
        let mut surplus_fences = fences.saturating_sub(KEPT_FENCES);
        for pair in objects.windows(2) {
            let [(_, meta), (next, _)] = pair else {
                continue;
            };
            if *next > newest.wal_flushed.saturating_add(1) {
                break;
            }
            if is_fence(meta) {
                if surplus_fences == 0 {
                    continue;
                }
                surplus_fences -= 1;
            }
            remove_if_present(self.store.as_ref(), &meta.location).await?;
            report.wal_objects += 1;
            report.bytes += meta.size;
        }
        Ok(())
    }

    /// Removes files of large writes, once the objects that name them are gone or could be.
    async fn collect_wal_files(&self, newest: &Manifest, report: &mut GcReport) -> Result<()> {
        let (wal, files) = (self.layout.wal(), self.wal_files());
        let listed: Vec<ObjectMeta> = self.store.list(Some(&wal)).try_collect().await?;
        for meta in listed {
            let Some(id) = id_of(&wal, &meta.location) else {
                continue;
            };
            if !files.is_needed(id, newest.wal_flushed) {
                remove_if_present(self.store.as_ref(), &meta.location).await?;
                report.wal_objects += 1;
                report.bytes += meta.size;
            }
        }
        Ok(())
    }
}

/// Splits the versions before the newest: those that are `wanted` or were current within the grace period, whose files are
/// kept, and those that can go. Claims stay in place but keep no files.
fn sort_manifests(
    versions: &[(u64, ObjectMeta)],
    newest: &Manifest,
    wanted: &[u64],
    now: SystemTime,
    grace: Duration,
) -> (Vec<u64>, Vec<(u64, ObjectMeta)>) {
    let mut kept = Vec::new();
    let mut superseded = Vec::new();
    for pair in versions.windows(2) {
        let [(version, meta), (_, successor)] = pair else {
            continue;
        };
        if *version >= newest.version {
            continue;
        }
        if wanted.contains(version) || is_younger(successor, now, grace) {
            kept.push(*version);
        } else if !newest.claims.contains(version) {
            superseded.push((*version, meta.clone()));
        }
    }
    (kept, superseded)
}

fn name_files(files: &SegmentFiles, manifest: &Manifest, named: &mut HashSet<Path>) {
    for segment in &manifest.segments {
        for file in segment.all_files() {
            named.insert(files.path(segment.id, &file.name));
        }
    }
}

/// The segment that a path belongs to; `None` for files that are not ours to touch.
fn segment_of(files: &SegmentFiles, location: &Path) -> Option<SegmentId> {
    let mut parts = location.prefix_match(files.prefix())?;
    let segment = parts.next()?.as_ref().parse().ok()?;
    let _name = parts.next()?;
    parts.next().is_none().then_some(segment)
}

/// A clock that went backwards makes everything young: garbage then stays a little longer.
fn is_younger(meta: &ObjectMeta, now: SystemTime, grace: Duration) -> bool {
    if grace.is_zero() {
        return false;
    }
    let modified = SystemTime::from(meta.last_modified);
    now.duration_since(modified).map_or(true, |age| age < grace)
}

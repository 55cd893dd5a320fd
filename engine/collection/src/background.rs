//! Slow work beside the writer: writing segments, building indexes, merging segments.
//!
//! A job works on frozen units and sends an [`Event`] back; the writer decides what becomes of the
//! result. At most one flush and one maintenance job run per collection, and maintenance takes a
//! permit of the whole engine, since an index build uses every core.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use elanus_index::{BuildOptions, Progress};
use elanus_storage::{IndexFile, SegmentFiles, SegmentId, SegmentMeta};
use tokio::sync::mpsc;

use crate::built_index::{BuiltIndex, BuiltIndexes, IndexBuild, open_index, vectors_blob};
use crate::compaction::{carry, groups, merge_units, pick, pick_any, with_room};
use crate::error::{Error, Result};
use crate::index_def::IndexDef;
use crate::options::Options;
use crate::scalar_index;
use crate::segment::SealedSegment;
use crate::unit::{Block, Over, Unit, UnitIndexes};
use crate::writer::{PartitionData, SegmentEntry, Writer};

/// What a job reports.
pub(crate) enum Event {
    Flushed(Result<Vec<FlushOutput>>),
    Compacted {
        units: Vec<Arc<Unit>>,
        result: Result<Option<NewSegment>>,
    },
    Indexed {
        segment: SegmentId,
        index_id: i64,
        result: Result<(IndexFile, BuiltIndex)>,
    },
}

/// Rows of one partition, on disk now.
pub(crate) struct FlushOutput {
    pub partition: i64,
    pub units: Vec<Arc<Unit>>,
    pub segment: Option<Arc<SealedSegment>>,
}

/// A merged segment with its indexes.
pub(crate) struct NewSegment {
    segment: Arc<SealedSegment>,
    files: Vec<IndexFile>,
    indexes: BuiltIndexes,
}

/// A running build: how far it is, and the way to stop it.
#[derive(Debug, Default)]
pub(crate) struct BuildControl {
    pub index_id: AtomicU64,
    pub rows_done: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress for BuildControl {
    fn advance(&self, rows_done: u64, _rows_total: u64) {
        self.rows_done.store(rows_done, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// The maintenance job in flight.
pub(crate) struct Maintenance {
    control: Arc<BuildControl>,
    /// Whether it compacts what all who asked for a compaction so far asked for.
    pub as_asked: bool,
}

impl Writer {
    /// Writes the sealed growing rows of each partition as a segment, or as several where they are many.
    pub fn spawn_flush(&self, work: &[(i64, Vec<Arc<Unit>>)]) {
        let work: Vec<(i64, Vec<Arc<Unit>>)> = work
            .iter()
            .flat_map(|(partition, units)| {
                let groups = groups(&self.options, units).into_iter();
                groups.map(|units| (*partition, units))
            })
            .collect();
        let files = self.files.clone();
        let schema = Arc::clone(&self.stored_schema);
        let primary_key = self.primary_key.clone();
        let events = self.events.clone();
        tokio::spawn(async move {
            let writing = flush_all(files.clone(), schema, primary_key, work);
            let result = guarded(writing).await;
            if let Err(mpsc::error::SendError(Event::Flushed(Ok(outputs)))) =
                events.send(Event::Flushed(result))
            {
                // The collection was closed meanwhile; the log still has the rows.
                discard(&files, &outputs).await;
            }
        });
    }

    /// Starts the most useful maintenance job if none runs.
    pub fn schedule_maintenance(&mut self) {
        // A failed writer cannot install what comes of it.
        if self.maintenance.is_some() || self.failed().is_some() || !self.driven() {
            return;
        }
        let started = self.start_compaction() || self.start_index_build();
        if !started {
            self.to_compact = None;
        }
    }

    fn start_compaction(&mut self) -> bool {
        let automatic = self.options.background && self.auto_compaction() && self.compaction_failed.is_none();
        let asked_for = |data: &PartitionData| {
            let to_compact = self.to_compact.as_ref()?;
            let segments = data.segments.iter();
            let there = segments.filter_map(|entry| {
                let is_new = *to_compact.get(&entry.segment.meta.id)?;
                Some((Arc::clone(&entry.unit), is_new))
            });
            pick_any(&self.options, &there.collect::<Vec<_>>())
        };
        let by_itself = |data: &PartitionData| {
            let units = data.segments.iter().map(|entry| Arc::clone(&entry.unit));
            automatic.then(|| pick(&self.options, &units.collect::<Vec<_>>()))?
        };
        let mut partitions = self.partitions.iter();
        let asked = partitions.find_map(|(id, data)| Some((*id, asked_for(data)?, true)));
        let picked = asked.or_else(|| {
            let mut partitions = self.partitions.iter();
            partitions.find_map(|(id, data)| Some((*id, by_itself(data)?, false)))
        });
        let Some((partition, units, as_asked)) = picked else {
            return false;
        };
        let control = self.new_control(0, as_asked);
        let job = Job {
            files: self.files.clone(),
            options: Arc::clone(&self.options),
            control: Arc::clone(&control),
        };
        let schema = Arc::clone(&self.stored_schema);
        let primary_key = self.primary_key.clone();
        let defs = self.state.indexes.clone();
        let events = self.events.clone();
        let permits = Arc::clone(&self.maintenance_permits);
        tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            if job.control.cancelled() {
                // The writer is gone.
                return;
            }
            let files = job.files.clone();
            let compaction = job.compact(schema, primary_key, partition, units.clone(), defs);
            let result = guarded(compaction).await;
            if let Err(mpsc::error::SendError(Event::Compacted {
                result: Ok(Some(new)),
                ..
            })) = events.send(Event::Compacted { units, result })
            {
                files.discard(new.segment.meta.id).await;
            }
        });
        true
    }

    fn auto_compaction(&self) -> bool {
        self.state
            .properties
            .get("collection.autocompaction.enabled")
            .is_none_or(|value| value != "false")
    }

    fn start_index_build(&mut self) -> bool {
        let missing = self
            .partitions
            .values()
            .flat_map(|partition| &partition.segments)
            .find_map(|entry| {
                let lacks = |def: &&IndexDef| {
                    def.what_to_build().is_some()
                        && !entry.failed.contains_key(&def.id)
                        && !entry.indexes.contains_key(&def.id)
                };
                let def = self.state.indexes.iter().find(lacks)?;
                Some((Arc::clone(&entry.segment), Arc::clone(&entry.unit), def.clone()))
            });
        let Some((segment, unit, def)) = missing else {
            return false;
        };
        let control = self.new_control(def.id, false);
        let job = Job {
            files: self.files.clone(),
            options: Arc::clone(&self.options),
            control,
        };
        let events = self.events.clone();
        let permits = Arc::clone(&self.maintenance_permits);
        tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            let (id, index_id) = (segment.meta.id, def.id);
            let result = guarded(async move { job.build(&segment, Some(&unit), &def, &[]).await }).await;
            let event = Event::Indexed {
                segment: id,
                index_id,
                result,
            };
            drop(events.send(event));
        });
        true
    }

    fn new_control(&mut self, index_id: i64, as_asked: bool) -> Arc<BuildControl> {
        let control = Arc::new(BuildControl::default());
        control
            .index_id
            .store(u64::try_from(index_id).unwrap_or(0), Ordering::Relaxed);
        self.maintenance = Some(Maintenance {
            control: Arc::clone(&control),
            as_asked,
        });
        self.shared.building.store(Arc::new(Some(Arc::clone(&control))));
        control
    }

    /// Asks the running job to stop; its files are garbage then.
    pub fn cancel_maintenance(&self) {
        if let Some(maintenance) = &self.maintenance {
            maintenance.control.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the result of a job into the collection.
    pub async fn handle_event(&mut self, event: Event) {
        let mut as_asked = false;
        if !matches!(event, Event::Flushed(_)) {
            as_asked = self.maintenance.take().is_some_and(|job| job.as_asked);
            self.shared.building.store(Arc::new(None));
        }
        match event {
            Event::Flushed(outputs) => self.finish_flush(outputs).await,
            Event::Indexed {
                segment,
                index_id,
                result,
            } => self.install_index(segment, index_id, result).await,
            Event::Compacted { units, result } => {
                if let Err(error) = self.install_compaction(&units, result, as_asked).await {
                    tracing::error!(collection = %self.name, %error, "compaction failed, the old segments stay");
                    // Trying again at once would loop; the next flush or request does.
                    self.to_compact = None;
                    self.compaction_failed = Some(error.to_string());
                }
            }
        }
        self.publish();
    }

    async fn install_index(
        &mut self,
        segment: SegmentId,
        index_id: i64,
        result: Result<(IndexFile, BuiltIndex)>,
    ) {
        let is_wanted = self.state.indexes.iter().any(|def| def.id == index_id);
        let entries = self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments);
        let entry = entries.into_iter().find(|entry| entry.segment.meta.id == segment);
        let Some(entry) = entry.filter(|_| is_wanted) else {
            // The index or the partition was dropped meanwhile.
            if let Ok((file, _)) = result {
                self.files.abandon_file(segment, &file.file);
            }
            return;
        };
        let (file, index) = match result {
            Ok(built) => built,
            Err(error) => {
                tracing::error!(collection = %self.name, %segment, %error, "index build failed, searches of this segment are exact");
                entry.failed.insert(index_id, error.to_string());
                return;
            }
        };
        let committed = self
            .store
            .commit(|manifest| {
                if let Some(meta) = manifest.segments.iter_mut().find(|meta| meta.id == segment) {
                    meta.indexes.retain(|old| old.index_id != index_id);
                    meta.indexes.push(file.clone());
                }
            })
            .await;
        match committed {
            Ok(_) => {
                entry.indexes.insert(index_id, index);
                entry.refresh();
            }
            Err(error) => drop(self.stopped_by(error)),
        }
    }

    async fn install_compaction(
        &mut self,
        units: &[Arc<Unit>],
        result: Result<Option<NewSegment>>,
        as_asked: bool,
    ) -> Result<()> {
        let mut new = result?;
        let written = new.as_ref().map(|new| new.segment.meta.id);
        if let Some(new) = &mut new {
            // The schema may have changed while it was written.
            let seen = self.in_this_schema(Arc::clone(&new.segment));
            new.segment = self.or_discard(written, seen).await?;
        }
        let Some(partition_id) = units.first().map(|unit| unit.partition()) else {
            return Ok(());
        };
        let entry_of = |unit: &Arc<Unit>| {
            let segments = &self.partitions.get(&partition_id)?.segments;
            segments.iter().find(|entry| entry.unit.id() == unit.id())
        };
        let current: Option<Vec<_>> = units
            .iter()
            .map(|unit| entry_of(unit).map(|entry| (unit, entry)))
            .collect();
        let Some(current) = current else {
            // The partition was dropped meanwhile.
            if let Some(written) = written {
                self.files.discard(written).await;
            }
            return Ok(());
        };
        let old: HashSet<SegmentId> = current.iter().map(|(_, entry)| entry.segment.meta.id).collect();
        let carried = carry(current.iter().map(|(unit, entry)| (&***unit, &entry.over)));
        let carried = carried.and_then(|over| match &new {
            Some(new) => with_room(&self.options, &new.segment.meta, over),
            None => Ok(over),
        });
        let carried = self.or_discard(written, carried).await?;
        let mut added: Option<(SegmentMeta, SegmentEntry)> = None;
        if let Some(new) = new {
            let kept = |id: i64| self.state.indexes.iter().any(|def| def.id == id);
            let mut meta = new.segment.meta.clone();
            meta.indexes = new.files.into_iter().filter(|file| kept(file.index_id)).collect();
            let (deletes, updates) = (!carried.deletes.is_empty(), !carried.overlay.is_empty());
            let files = self.write_over(meta.id, &carried, deletes, updates).await;
            self.or_discard(written, files).await?.name_in(&mut meta);
            let indexes = new.indexes.into_iter().filter(|(id, _)| kept(*id)).collect();
            added = Some((meta, SegmentEntry::new(new.segment, carried, indexes)));
        }
        let committed = self
            .store
            .commit(|manifest| {
                manifest.segments.retain(|meta| !old.contains(&meta.id));
                manifest
                    .segments
                    .extend(added.iter().map(|(meta, _)| meta.clone()));
            })
            .await;
        if let Err(error) = committed {
            return Err(self.stopped_by(error));
        }
        if let Some((meta, entry)) = &added {
            self.pins.add(&entry.segment);
            if let Some(to_compact) = &mut self.to_compact
                && old.iter().any(|id| to_compact.contains_key(id))
            {
                to_compact.insert(meta.id, as_asked);
            }
        }
        if let Some(partition) = self.partitions.get_mut(&partition_id) {
            partition
                .segments
                .retain(|entry| !old.contains(&entry.segment.meta.id));
            partition.segments.extend(added.map(|(_, entry)| entry));
        }
        self.publish();
        self.collect_garbage().await;
        Ok(())
    }

    /// Removes a segment that no commit was tried for yet when the next step towards it failed.
    async fn or_discard<T>(&self, segment: Option<SegmentId>, step: Result<T>) -> Result<T> {
        if let (Some(segment), Err(_)) = (segment, &step) {
            self.files.discard(segment).await;
        }
        step
    }
}

/// Runs a job to a result even when it panics: one that never reports would hold up its collection for good.
async fn guarded<T: Send + 'static>(job: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(job).await {
        Ok(result) => result,
        Err(error) => Err(elanus_storage::Error::Task(error.to_string()).into()),
    }
}

/// Writes each of these groups of units as a segment: all of them, or none.
async fn flush_all(
    files: SegmentFiles,
    schema: SchemaRef,
    primary_key: String,
    work: Vec<(i64, Vec<Arc<Unit>>)>,
) -> Result<Vec<FlushOutput>> {
    let mut outputs = Vec::with_capacity(work.len());
    for (partition, units) in work {
        match merge(&files, &schema, &primary_key, partition, &units).await {
            Ok(segment) => outputs.push(FlushOutput {
                partition,
                units,
                segment,
            }),
            Err(error) => {
                discard(&files, &outputs).await;
                return Err(error);
            }
        }
    }
    Ok(outputs)
}

/// Writes the live rows of some units as a segment and opens it; `None` when no row is live.
async fn merge(
    files: &SegmentFiles,
    schema: &SchemaRef,
    primary_key: &str,
    partition: i64,
    units: &[Arc<Unit>],
) -> Result<Option<Arc<SealedSegment>>> {
    let Some(meta) = merge_units(files, schema, primary_key, partition, units).await? else {
        return Ok(None);
    };
    let id = meta.id;
    match SealedSegment::open(files.clone(), meta, Arc::clone(schema), primary_key).await {
        Ok(segment) => Ok(Some(Arc::new(segment))),
        Err(error) => {
            files.discard(id).await;
            Err(error)
        }
    }
}

/// Removes what a flush wrote and nobody will commit.
async fn discard(files: &SegmentFiles, outputs: &[FlushOutput]) {
    for segment in outputs.iter().filter_map(|output| output.segment.as_ref()) {
        files.discard(segment.meta.id).await;
    }
}

/// What every build needs.
struct Job {
    files: SegmentFiles,
    options: Arc<Options>,
    control: Arc<BuildControl>,
}

impl Job {
    /// Merges units into one segment and builds its indexes, out of theirs where that is faster.
    async fn compact(
        self,
        schema: SchemaRef,
        primary_key: String,
        partition: i64,
        units: Vec<Arc<Unit>>,
        defs: Vec<IndexDef>,
    ) -> Result<Option<NewSegment>> {
        let Some(segment) = merge(&self.files, &schema, &primary_key, partition, &units).await? else {
            return Ok(None);
        };
        let (mut files, mut indexes) = (Vec::new(), BuiltIndexes::new());
        for def in &defs {
            // A failed build leaves the segment without this index; it is tried on its own later.
            if let Ok((file, index)) = self.build(&segment, None, def, &units).await {
                indexes.insert(def.id, index);
                files.push(file);
            }
        }
        Ok(Some(NewSegment {
            segment,
            files,
            indexes,
        }))
    }

    /// Builds, writes and maps the index of one definition over one segment, which was made of the units in `merged`.
    async fn build(
        &self,
        segment: &Arc<SealedSegment>,
        unit: Option<&Arc<Unit>>,
        def: &IndexDef,
        merged: &[Arc<Unit>],
    ) -> Result<(IndexFile, BuiltIndex)> {
        let build = def
            .what_to_build()
            .ok_or_else(|| Error::IndexBuild(format!("index '{}' has no build of its own", def.name)))?;
        let stored = segment
            .names()
            .stored(&def.field)
            .unwrap_or(&def.field)
            .to_string();
        let blob = match build {
            IndexBuild::Vectors(metric, params) => {
                let target = unit.map_or_else(
                    || {
                        let block = Block::Sealed(Arc::clone(segment));
                        let partition = segment.meta.partition;
                        Arc::new(Unit::new(
                            block,
                            partition,
                            Over::default(),
                            UnitIndexes::default(),
                        ))
                    },
                    Arc::clone,
                );
                let (field, merged) = (def.field.clone(), merged.to_vec());
                let work = move |options: &BuildOptions<'_>| {
                    vectors_blob(&target, &field, metric, &params, &merged, options)
                };
                self.blocking(def, work).await?
            }
            IndexBuild::Scalars(build) => {
                let column = segment.column_once(&stored).await?;
                let work = move |options: &BuildOptions<'_>| {
                    scalar_index::build(&build, &column, options).map(|index| index.serialize())
                };
                self.blocking(def, work).await?
            }
        };
        let file = self
            .files
            .write_index(segment.meta.id, &stored, def.id, blob.into())
            .await?;
        let index = open_index(&self.files, segment.meta.id, &file, def).await?;
        Ok((file, index))
    }

    /// Runs a build on a thread of its own.
    async fn blocking(
        &self,
        def: &IndexDef,
        work: impl FnOnce(&BuildOptions<'_>) -> Result<Vec<u8>> + Send + 'static,
    ) -> Result<Vec<u8>> {
        let (seed, threads) = (self.options.seed, self.options.build_threads);
        let memory = self
            .options
            .build_memory
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let control = Arc::clone(&self.control);
        let build = move || {
            let threads = if threads == 0 {
                std::thread::available_parallelism().map_or(1, usize::from)
            } else {
                threads
            };
            work(&BuildOptions {
                seed,
                threads,
                memory,
                progress: control.as_ref(),
            })
        };
        tokio::task::spawn_blocking(build)
            .await
            .map_err(|e| Error::IndexBuild(format!("the build of '{}' stopped: {e}", def.name)))?
    }
}

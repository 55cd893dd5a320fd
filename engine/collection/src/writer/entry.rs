//! What the writer keeps of each partition: its segments, the rows being flushed, the growing rows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use elanus_index::VectorIndex;
use elanus_storage::SegmentId;
use roaring::RoaringBitmap;

use crate::memtable::{GrowingEntry, Memtable};
use crate::segment::SealedSegment;
use crate::unit::{Block, Unit};

/// A sealed segment as the writer tracks it.
pub(crate) struct SegmentEntry {
    pub segment: Arc<SealedSegment>,
    pub deletes: Arc<RoaringBitmap>,
    /// Deletes that the manifest names already.
    pub persisted: u64,
    /// Built indexes by the field's stored name, with the id of their definition.
    pub indexes: HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    /// Definitions whose build failed here, and why.
    pub failed: HashMap<i64, String>,
    pub unit: Arc<Unit>,
}

impl SegmentEntry {
    pub fn new(
        segment: Arc<SealedSegment>,
        deletes: RoaringBitmap,
        persisted: u64,
        indexes: HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    ) -> Self {
        let deletes = Arc::new(deletes);
        let unit = Self::make_unit(&segment, &deletes, &indexes);
        Self {
            segment,
            deletes,
            persisted,
            indexes,
            failed: HashMap::new(),
            unit,
        }
    }

    fn make_unit(
        segment: &Arc<SealedSegment>,
        deletes: &Arc<RoaringBitmap>,
        indexes: &HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    ) -> Arc<Unit> {
        let indexes = indexes
            .iter()
            .map(|(field, (_, index))| (field.clone(), Arc::clone(index)))
            .collect();
        let block = Block::Sealed(Arc::clone(segment));
        Arc::new(Unit::new(
            block,
            segment.meta.partition,
            Arc::clone(deletes),
            indexes,
        ))
    }

    pub fn refresh(&mut self) {
        self.unit = Self::make_unit(&self.segment, &self.deletes, &self.indexes);
    }

    /// Marks rows deleted; returns how many were live.
    pub fn delete(&mut self, rows: Vec<u32>) -> u64 {
        let before = self.deletes.len();
        if rows.iter().any(|row| !self.deletes.contains(*row)) {
            Arc::make_mut(&mut self.deletes).extend(rows);
            self.refresh();
        }
        self.deletes.len() - before
    }
}

/// The rows of one partition.
#[derive(Default)]
pub(crate) struct PartitionData {
    pub segments: Vec<SegmentEntry>,
    pub sealing: Vec<GrowingEntry>,
    pub growing: Memtable,
}

/// Every segment that this process opened, for as long as a reader or the writer holds it.
#[derive(Default)]
pub(crate) struct Pins(HashMap<SegmentId, Vec<Weak<SealedSegment>>>);

impl Pins {
    pub fn add(&mut self, segment: &Arc<SealedSegment>) {
        // One for each schema that the segment was seen with.
        let seen = self.0.entry(segment.meta.id).or_default();
        seen.retain(|segment| segment.strong_count() > 0);
        seen.push(Arc::downgrade(segment));
    }

    /// The segments that are still held: their files stay.
    pub fn held(&mut self) -> HashSet<SegmentId> {
        self.0
            .retain(|_, seen| seen.iter().any(|segment| segment.strong_count() > 0));
        self.0.keys().copied().collect()
    }
}

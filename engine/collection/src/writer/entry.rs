//! What the writer keeps of each partition: its segments, the rows being flushed, the growing rows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use elanus_storage::SegmentId;

use crate::built_index::{BuiltIndex, BuiltIndexes, FieldIndex};
use crate::error::Result;
use crate::memtable::{GrowingEntry, Memtable};
use crate::overlay::NewValues;
use crate::scalar_index::ScalarField;
use crate::segment::SealedSegment;
use crate::unit::{Block, Over, Unit, UnitIndexes};

/// A sealed segment as the writer tracks it.
pub(crate) struct SegmentEntry {
    pub segment: Arc<SealedSegment>,
    pub over: Over,
    /// What the manifest names already: the number of deletes, the newest update.
    pub persisted: (u64, u64),
    pub indexes: BuiltIndexes,
    /// Definitions whose build failed here, and why.
    pub failed: HashMap<i64, String>,
    pub unit: Arc<Unit>,
}

impl SegmentEntry {
    /// An entry of a segment whose deletes and updates the manifest names.
    pub fn new(segment: Arc<SealedSegment>, over: Over, indexes: BuiltIndexes) -> Self {
        let unit = Self::make_unit(&segment, &over, &indexes);
        Self {
            segment,
            persisted: state_of(&over),
            over,
            indexes,
            failed: HashMap::new(),
            unit,
        }
    }

    fn make_unit(segment: &Arc<SealedSegment>, over: &Over, built: &BuiltIndexes) -> Arc<Unit> {
        let mut indexes = UnitIndexes::default();
        for BuiltIndex {
            name,
            field,
            json,
            index,
        } in built.values()
        {
            match index {
                FieldIndex::Vectors(index) => {
                    indexes.vectors.insert(field.clone(), index.clone());
                }
                FieldIndex::Scalars(index) => indexes.scalars.push(ScalarField {
                    name: Arc::clone(name),
                    field: field.clone(),
                    analyzer: None,
                    json: json.clone(),
                    index: Arc::clone(index),
                }),
                FieldIndex::Terms(analyzer, index) => indexes.scalars.push(ScalarField {
                    name: Arc::clone(name),
                    field: field.clone(),
                    analyzer: Some(Arc::clone(analyzer)),
                    json: None,
                    index: Arc::clone(index),
                }),
            }
        }
        let block = Block::Sealed(Arc::clone(segment));
        Arc::new(Unit::new(block, segment.meta.partition, over.clone(), indexes))
    }

    pub fn refresh(&mut self) {
        self.unit = Self::make_unit(&self.segment, &self.over, &self.indexes);
    }

    /// Marks rows deleted; returns how many were live.
    pub fn delete(&mut self, rows: Vec<u32>) -> u64 {
        let before = self.over.deletes.len();
        if rows.iter().any(|row| !self.over.deletes.contains(*row)) {
            Arc::make_mut(&mut self.over.deletes).extend(rows);
            self.refresh();
        }
        self.over.deletes.len() - before
    }

    /// Lays new values over the rows.
    pub fn update(&mut self, values: Vec<NewValues>, newest: u64) -> Result<()> {
        Arc::make_mut(&mut self.over.overlay).put(values, newest)?;
        self.refresh();
        Ok(())
    }

    /// Whether there are deletes that the manifest does not name.
    pub fn has_new_deletes(&self) -> bool {
        self.persisted.0 != self.over.deletes.len()
    }

    /// Whether there are updates that the manifest does not name.
    pub fn has_new_updates(&self) -> bool {
        self.persisted.1 != self.over.overlay.newest()
    }

    /// Notes that the manifest names all deletes and updates.
    pub fn is_persisted(&mut self) {
        self.persisted = state_of(&self.over);
    }
}

fn state_of(over: &Over) -> (u64, u64) {
    (over.deletes.len(), over.overlay.newest())
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

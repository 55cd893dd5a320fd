//! Turning frozen units into one new segment, and deciding which units that should be.
//!
//! A flush and a compaction are the same act: the live rows of some units are written as a segment
//! that takes their place. Deletes and updates that arrive meanwhile are carried over by row arithmetic.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use elanus_index::GONE;
use elanus_storage::{SegmentFiles, SegmentMeta};
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::overlay::Overlay;
use crate::unit::{Over, Unit, live_batch};

/// Writes the live rows of these units as one segment; `None` when no row is live.
///
/// `schema` has all columns, the hidden timestamp included.
pub(crate) async fn merge_units(
    files: &SegmentFiles,
    schema: &SchemaRef,
    primary_key: &str,
    partition: i64,
    units: &[Arc<Unit>],
) -> Result<Option<SegmentMeta>> {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut batches: Vec<RecordBatch> = Vec::with_capacity(units.len());
    for unit in units {
        let batch = live_batch(unit, &names).await?;
        if batch.num_rows() > 0 {
            batches.push(RecordBatch::try_new(
                Arc::clone(schema),
                batch.columns().to_vec(),
            )?);
        }
    }
    if batches.is_empty() {
        return Ok(None);
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if u32::try_from(rows).is_err() {
        return Err(Error::LimitExceeded(format!(
            "a segment of {rows} rows is too large"
        )));
    }
    Ok(Some(files.write_segment(partition, batches, primary_key).await?))
}

/// For each row of each of these units, in the order they were merged, its row in the new segment; [`GONE`] of those that were
/// deleted before.
pub(crate) fn places(units: &[Arc<Unit>]) -> Vec<Vec<u32>> {
    let mut next = 0;
    let mut place_of = |is_live: bool| {
        let place = if is_live { next } else { GONE };
        next += u32::from(is_live);
        place
    };
    units
        .iter()
        .map(|unit| {
            let deletes = unit.deletes();
            (0..unit.rows())
                .map(|row| place_of(!deletes.contains(row)))
                .collect()
        })
        .collect()
}

/// What lies over the new segment: rows of the inputs deleted or updated since they were frozen.
///
/// Each input is its frozen unit and what lies over it now, in the order they were merged.
pub(crate) fn carry<'a>(inputs: impl IntoIterator<Item = (&'a Unit, &'a Over)>) -> Result<Over> {
    let mut deletes = RoaringBitmap::new();
    let mut overlay = Overlay::default();
    let mut base = 0u64;
    for (unit, now) in inputs {
        let frozen = unit.deletes().as_ref();
        let place = |row: u32| {
            let live_before = u64::from(row) - frozen.rank(row);
            u32::try_from(base + live_before).unwrap_or(u32::MAX)
        };
        deletes.extend((now.deletes.as_ref() - frozen).iter().map(place));
        let live_place = |row: u32| (!frozen.contains(row)).then(|| place(row));
        let updates = now.overlay.since(&unit.over().overlay, live_place)?;
        overlay.put(updates, now.overlay.newest())?;
        base += unit.live_rows();
    }
    Ok(Over {
        deletes: Arc::new(deletes),
        overlay: Arc::new(overlay),
    })
}

/// Picks the sealed units of one partition that should become one segment, if any.
///
/// Size-tiered: units of one power-of-four size class are merged once there are
/// [`Options::merge_factor`] of them; a unit with many deleted rows is rewritten alone.
pub(crate) fn pick(options: &Options, units: &[Arc<Unit>]) -> Option<Vec<Arc<Unit>>> {
    let rewrite = units.iter().find(|unit| {
        #[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact digits")]
        let deleted = unit.deletes().len() as f64 / f64::from(unit.rows().max(1));
        deleted >= options.rewrite_deleted && deleted > 0.0
    });
    if let Some(unit) = rewrite {
        return Some(vec![Arc::clone(unit)]);
    }
    let mut by_size: Vec<&Arc<Unit>> = units.iter().collect();
    by_size.sort_by_key(|unit| (unit.bytes(), unit.id()));
    let mut start = 0;
    while start < by_size.len() {
        let smallest = by_size[start].bytes().max(CLASS_FLOOR);
        let class = by_size[start..]
            .iter()
            .take_while(|unit| unit.bytes() <= smallest.saturating_mul(4));
        let mut total = 0;
        let picked: Vec<_> = class
            .take_while(|unit| {
                total += unit.bytes();
                total <= options.max_segment_bytes
            })
            .map(|unit| Arc::clone(unit))
            .collect();
        if picked.len() >= options.merge_factor.max(2) {
            return Some(picked);
        }
        start += 1;
    }
    None
}

/// Everything smaller counts as one size class: tiny segments merge with each other.
const CLASS_FLOOR: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::segment::GrowingChunk;
    use crate::unit::{Block, UnitIndexes};

    fn unit(rows: i64, deletes: RoaringBitmap) -> Unit {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(schema, vec![column]).unwrap();
        let chunk = GrowingChunk::new(1, batch, "id").unwrap();
        Unit::new(
            Block::Growing(Arc::new(chunk)),
            1,
            deletes.into(),
            UnitIndexes::default(),
        )
    }

    proptest! {
        #[test]
        fn late_deletes_hit_the_same_rows_of_the_merged_segment(
            inputs in prop::collection::vec((1i64..40, prop::collection::vec(any::<u16>(), 0..20), prop::collection::vec(any::<u16>(), 0..20)), 1..5)
        ) {
            let mut units = Vec::new();
            let mut merged_rows = Vec::new();
            let mut expected = RoaringBitmap::new();
            for (at, (rows, frozen, late)) in inputs.iter().enumerate() {
                let rows_u32 = *rows as u32;
                let frozen: RoaringBitmap = frozen.iter().map(|row| u32::from(*row) % rows_u32).collect();
                let now = &frozen | &late.iter().map(|row| u32::from(*row) % rows_u32).collect::<RoaringBitmap>();
                for row in 0..rows_u32 {
                    if !frozen.contains(row) {
                        if now.contains(row) {
                            expected.insert(merged_rows.len() as u32);
                        }
                        merged_rows.push((at, row));
                    }
                }
                units.push((unit(*rows, frozen), Over::from(now)));
            }
            let carried = carry(units.iter().map(|(unit, now)| (unit, now))).unwrap();
            prop_assert_eq!(carried.deletes.as_ref(), &expected);
            let units: Vec<Arc<Unit>> = units.into_iter().map(|(unit, _)| Arc::new(unit)).collect();
            for (at, places) in places(&units).iter().enumerate() {
                for (row, place) in places.iter().enumerate() {
                    let merged = merged_rows.iter().position(|found| *found == (at, row as u32));
                    prop_assert_eq!(*place, merged.map_or(GONE, |place| place as u32));
                }
            }
        }
    }

    #[test]
    fn equal_sizes_merge_and_a_lone_large_one_stays() {
        let options = Options {
            merge_factor: 3,
            ..Default::default()
        };
        let small = || Arc::new(unit(10, RoaringBitmap::new()));
        assert!(pick(&options, &[small(), small()]).is_none());
        assert_eq!(pick(&options, &[small(), small(), small()]).unwrap().len(), 3);
        let mostly_deleted = Arc::new(unit(10, (0..5).collect()));
        assert_eq!(pick(&options, &[small(), mostly_deleted]).unwrap().len(), 1);
    }
}

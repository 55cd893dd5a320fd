//! Turning frozen units into one new segment, and deciding which units that should be.
//!
//! A flush and a compaction are the same act: the live rows of some units are written as a segment
//! that takes their place. Deletes and updates that arrive meanwhile are carried over by row arithmetic.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use elanus_index::GONE;
use elanus_storage::{SegmentFiles, SegmentMeta};
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::overlay::Overlay;
use crate::unit::{Over, Unit, UnitId, live_batch};

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

/// What was carried over a new segment, if the segment's columns can take it in: else nobody could read them as a whole.
pub(crate) fn with_room(options: &Options, segment: &SegmentMeta, carried: Over) -> Result<Over> {
    let newer = carried.overlay.widest_column();
    if newer > 0 && segment.widest_column + newer > options.max_column_bytes {
        return Err(Error::LimitExceeded(format!(
            "rows were updated while they were written as segment {}: {newer} bytes of newer values for columns of up to {}, \
             together at most {} are allowed; the rows stay where they are",
            segment.id, segment.widest_column, options.max_column_bytes
        )));
    }
    Ok(carried)
}

/// The first of these units that may become one segment together; none when the first is too large for any other.
pub(crate) fn fitting<'a>(
    options: &Options,
    units: impl IntoIterator<Item = &'a Arc<Unit>>,
) -> Vec<Arc<Unit>> {
    let (mut bytes, mut widest_column) = (0u64, 0u64);
    let fits = |unit: &&Arc<Unit>| {
        bytes = bytes.saturating_add(unit.bytes());
        widest_column = widest_column.saturating_add(unit.widest_column());
        bytes <= options.max_segment_bytes && widest_column <= options.max_column_bytes / 2
    };
    units.into_iter().take_while(fits).cloned().collect()
}

/// All of these units, as many together as may become one segment.
pub(crate) fn groups(options: &Options, units: &[Arc<Unit>]) -> Vec<Vec<Arc<Unit>>> {
    let mut groups = Vec::new();
    let mut rest = units;
    while !rest.is_empty() {
        let (group, later) = rest.split_at(fitting(options, rest).len().max(1));
        groups.push(group.to_vec());
        rest = later;
    }
    groups
}

/// Sealed units of one partition that become one segment when these units are to be compact: the smallest that fit
/// together, in the order they have here, or one with something laid over it, unless it is new: true beside it.
pub(crate) fn pick_any(options: &Options, units: &[(Arc<Unit>, bool)]) -> Option<Vec<Arc<Unit>>> {
    let rewritten = units.iter().filter(|(unit, is_new)| {
        let is_clean = unit.deletes().is_empty() && unit.over().overlay.is_empty();
        !is_new && !is_clean
    });
    let rewritten: HashSet<UnitId> = rewritten.map(|(unit, _)| unit.id()).collect();
    let mut by_size: Vec<Arc<Unit>> = units.iter().map(|(unit, _)| Arc::clone(unit)).collect();
    by_size.sort_by_key(|unit| (unit.bytes(), unit.id()));
    let mut groups = groups(options, &by_size).into_iter();
    let group = groups.find(|group| {
        let mut ids = group.iter().map(|unit| unit.id());
        group.len() > 1 || ids.any(|id| rewritten.contains(&id))
    })?;
    let picked: HashSet<UnitId> = group.iter().map(|unit| unit.id()).collect();
    let in_order = units.iter().filter(|(unit, _)| picked.contains(&unit.id()));
    Some(in_order.map(|(unit, _)| Arc::clone(unit)).collect())
}

/// Picks the sealed units of one partition that should become one segment, if any.
///
/// Size-tiered: units of one power-of-four size class are merged once there are
/// [`Options::merge_factor`] of them; a unit with many deleted rows or large newer values is rewritten alone.
pub(crate) fn pick(options: &Options, units: &[Arc<Unit>]) -> Option<Vec<Arc<Unit>>> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact digits")]
    let is_due = |part: u64, whole: u64| part > 0 && part as f64 / whole as f64 >= options.rewrite_share;
    let rewrite = units.iter().find(|unit| {
        let newer = unit.over().overlay.bytes() as u64;
        is_due(unit.deletes().len(), u64::from(unit.rows())) || is_due(newer, unit.bytes().max(CLASS_FLOOR))
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
        let picked = fitting(options, class.copied());
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::overlay::NewValues;
    use crate::segment::GrowingChunk;
    use crate::unit::{Block, UnitIndexes};

    fn unit(rows: i64, deletes: RoaringBitmap) -> Unit {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(schema, vec![column]).unwrap();
        static IDS: AtomicU64 = AtomicU64::new(0);
        let chunk = GrowingChunk::new(IDS.fetch_add(1, Ordering::Relaxed), batch, "id").unwrap();
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

    #[test]
    fn units_are_put_together_up_to_the_size_of_a_segment() {
        let units = |rows: &[i64]| -> Vec<Arc<Unit>> {
            let units = rows.iter().map(|rows| unit(*rows, RoaringBitmap::new()));
            units.map(Arc::new).collect()
        };
        let rows_of = |units: &[Arc<Unit>]| units.iter().map(|unit| unit.rows()).collect::<Vec<_>>();
        let options = Options {
            max_segment_bytes: units(&[25])[0].bytes(),
            ..Default::default()
        };
        let grouped = |rows: &[i64]| -> Vec<Vec<u32>> {
            let groups = groups(&options, &units(rows));
            groups.iter().map(|group| rows_of(group)).collect()
        };
        assert_eq!(grouped(&[]), Vec::<Vec<u32>>::new());
        assert_eq!(
            grouped(&[10, 15, 10, 10, 10]),
            [vec![10, 15], vec![10, 10], vec![10]]
        );
        assert_eq!(grouped(&[100, 10, 100]), [[100], [10], [100]]);

        let picked_of = |units: &[Arc<Unit>], is_new: bool| {
            let units: Vec<_> = units.iter().map(|unit| (Arc::clone(unit), is_new)).collect();
            pick_any(&options, &units).map(|picked| rows_of(&picked))
        };
        let picked = |units: &[Arc<Unit>]| picked_of(units, false);
        assert_eq!(
            picked(&units(&[20, 10, 10])),
            Some(vec![10, 10]),
            "the first one is large and clean"
        );
        assert_eq!(
            picked(&units(&[12, 20, 11])),
            Some(vec![12, 11]),
            "in the order they have"
        );
        assert_eq!(picked(&units(&[20, 20])), None);
        let mut with_deletes = units(&[20]);
        with_deletes.push(Arc::new(unit(100, RoaringBitmap::from_iter([7]))));
        assert_eq!(picked(&with_deletes), Some(vec![100]));
        assert_eq!(picked_of(&with_deletes, true), None, "it was rewritten already");
        assert_eq!(picked_of(&units(&[20, 10, 10]), true), Some(vec![10, 10]));
    }

    #[test]
    fn a_column_of_a_merged_segment_has_room_to_grow() {
        let texts = |bytes: usize| {
            let key: ArrayRef = Arc::new(Int64Array::from(vec![1]));
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(bytes)]));
            let batch = RecordBatch::try_from_iter([("id", key), ("text", text)]).unwrap();
            let mut chunk = GrowingChunk::new(1, batch, "id").unwrap();
            assert_eq!(chunk.widest_column, bytes as u64);
            chunk.widest_column *= 1 << 20;
            let block = Block::Growing(Arc::new(chunk));
            Arc::new(Unit::new(block, 1, Over::default(), UnitIndexes::default()))
        };
        // As if each had so many MiB.
        let units = [texts(400), texts(600), texts(100), texts(1500), texts(10)];
        let sizes: Vec<usize> = groups(&Options::default(), &units).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
    }

    #[test]
    fn newer_values_are_carried_only_where_the_segment_has_room() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(60), "y".repeat(41)]));
        let mut overlay = Overlay::default();
        let values = NewValues {
            column: "text".into(),
            rows: vec![3, 5],
            values: texts,
        };
        overlay.put(vec![values], 1).unwrap();
        let over = Over {
            overlay: Arc::new(overlay),
            ..Over::default()
        };
        let options = Options {
            max_column_bytes: 1_000,
            ..Default::default()
        };
        let segment = |widest_column| SegmentMeta {
            id: elanus_storage::SegmentId::generate(),
            partition: 1,
            rows: 10,
            bytes: 1,
            vector_fields: Vec::new(),
            files: Vec::new(),
            deletes: None,
            updates: None,
            indexes: Vec::new(),
            min_ts: 0,
            max_ts: 0,
            key_range: None,
            widest_column,
        };
        let kept = with_room(&options, &segment(899), over.clone()).unwrap();
        assert_eq!(kept.overlay.widest_column(), 101);
        let refused = with_room(&options, &segment(900), over).unwrap_err();
        assert!(matches!(refused, Error::LimitExceeded(_)), "{refused}");
        with_room(&options, &segment(2_000), Over::default()).unwrap();
    }

    #[test]
    fn large_newer_values_are_written_into_their_segment() {
        let with_newer = |rows: u32| {
            let newer: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(i64::from)));
            let mut overlay = Overlay::default();
            let values = NewValues {
                column: "n".into(),
                rows: (0..rows).collect(),
                values: newer,
            };
            overlay.put(vec![values], 1).unwrap();
            let over = Over {
                overlay: Arc::new(overlay),
                ..Over::default()
            };
            let base = unit(30_000, RoaringBitmap::new());
            Arc::new(Unit::new(base.block().clone(), 1, over, UnitIndexes::default()))
        };
        let options = Options::default();
        assert!(pick(&options, &[with_newer(1_000)]).is_none());
        assert_eq!(
            pick(&options, &[with_newer(1_000), with_newer(20_000)])
                .unwrap()
                .len(),
            1
        );
    }
}

//! Newer values of single rows, laid over the columns of a block that never changes.
//!
//! ```text
//!  column "n" of a block   10 11 12 13 14 15 16 17
//!  older layer                21    23       26        rows 1 3 6
//!  newer layer                      33                 row  3
//!  what a reader sees      10 21 12 33 14 15 26 17
//! ```
//!
//! An update is a new layer on each column that it changes, so that vectors and their indexes stay as they are. A layer
//! is merged with the one below it unless that is more than twice as large: a column has a logarithmic number of
//! layers, and a value is copied a logarithmic number of times. All of it is immutable and shared by snapshots.
//!
//! Every update also changes the hidden timestamp column: the value there names one state of one row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type, UInt64Type};
use elanus_storage::{TIMESTAMP_COLUMN, variable_bytes};

use crate::error::{Error, Result};
use crate::segment::bytes_of;

/// Newer values of some columns. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    columns: BTreeMap<Arc<str>, Layers>,
}

/// The values of one column, newest layer last.
#[derive(Debug, Clone, Default)]
struct Layers {
    layers: Vec<Arc<Layer>>,
    /// Timestamp of the newest value.
    newest: u64,
}

/// Values of these rows, ascending and distinct.
#[derive(Debug)]
struct Layer {
    rows: Vec<u32>,
    values: ArrayRef,
}

/// New values of one column for some rows.
#[derive(Debug)]
pub(crate) struct NewValues {
    pub column: Arc<str>,
    /// Ascending and distinct.
    pub rows: Vec<u32>,
    pub values: ArrayRef,
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Timestamp of the newest update; 0 without any.
    pub fn newest(&self) -> u64 {
        self.columns
            .get(TIMESTAMP_COLUMN)
            .map_or(0, |layers| layers.newest)
    }

    /// Changes whenever a value of one of these columns does; 0 while none has any.
    pub fn version_of(&self, names: &[&str]) -> u64 {
        let newest = names
            .iter()
            .filter_map(|name| Some(self.columns.get(*name)?.newest));
        newest.max().unwrap_or(0)
    }

    /// Whether one of these columns has newer values.
    pub fn touches(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.columns.contains_key(*name))
    }

    /// The rows that have a newer value in this column; some may come several times.
    pub fn rows_of(&self, name: &str) -> impl Iterator<Item = u32> {
        let layers = self
            .columns
            .get(name)
            .into_iter()
            .flat_map(|layers| &layers.layers);
        layers.flat_map(|layer| layer.rows.iter().copied())
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        let layers = self.columns.values().flat_map(|layers| &layers.layers);
        layers
            .map(|layer| layer.rows.len() * size_of::<u32>() + bytes_of(&layer.values))
            .sum()
    }

    /// What the offsets of the values of this column count, as [`variable_bytes`].
    pub fn width_of(&self, name: &str) -> u64 {
        self.columns.get(name).map_or(0, Layers::width)
    }

    /// The largest [`Overlay::width_of`].
    pub fn widest_column(&self) -> u64 {
        self.columns.values().map(Layers::width).max().unwrap_or(0)
    }

    /// Lays new values over what is there; `newest` is the largest timestamp of the update.
    pub fn put(&mut self, update: Vec<NewValues>, newest: u64) -> Result<()> {
        for NewValues { column, rows, values } in update {
            if !rows.is_empty() {
                self.columns
                    .entry(column)
                    .or_default()
                    .put(rows, values, newest)?;
            }
        }
        Ok(())
    }

    /// A whole column of the block as it is now.
    pub fn whole(&self, name: &str, column: &ArrayRef) -> Result<ArrayRef> {
        match self.columns.get(name) {
            None => Ok(Arc::clone(column)),
            Some(layers) => layers.whole(column),
        }
    }

    /// `taken` are the block's values of `rows`; the values as they are now.
    pub fn taken(&self, name: &str, taken: &ArrayRef, rows: &[u32]) -> Result<ArrayRef> {
        match self.columns.get(name) {
            None => Ok(Arc::clone(taken)),
            Some(layers) => layers.taken(taken, rows),
        }
    }

    /// The newest timestamp of a row that was updated.
    pub fn timestamp(&self, row: u32) -> Option<u64> {
        let layers = self.columns.get(TIMESTAMP_COLUMN)?;
        let (layer, position) = layers.find(row)?;
        let values = layers
            .layers
            .get(layer)?
            .values
            .as_primitive_opt::<UInt64Type>()?;
        values.values().get(position).copied()
    }

    /// The values of rows that were updated after `frozen` was current, each row under the number that `place` gives it
    /// (ascending with the old one, `None` for a row that is gone).
    pub fn since(&self, frozen: &Self, place: impl Fn(u32) -> Option<u32>) -> Result<Vec<NewValues>> {
        let before = frozen.newest();
        if self.newest() <= before {
            return Ok(Vec::new());
        }
        let mut carried = Vec::with_capacity(self.columns.len());
        for (name, layers) in &self.columns {
            let all = layers.flat()?;
            let mut rows = Vec::new();
            let mut kept = Vec::new();
            for (position, row) in (0u32..).zip(&all.rows) {
                if self.timestamp(*row).is_some_and(|timestamp| timestamp > before)
                    && let Some(new) = place(*row)
                {
                    rows.push(new);
                    kept.push(position);
                }
            }
            carried.push(NewValues {
                column: Arc::clone(name),
                rows,
                values: take(&all.values, &UInt32Array::from(kept), None)?,
            });
        }
        Ok(carried)
    }

    /// For each column a batch of row numbers and values, to be stored.
    pub fn to_batches(&self) -> Result<Vec<RecordBatch>> {
        let batch = |(name, layers): (&Arc<str>, &Layers)| {
            let all = layers.flat()?;
            let schema = Schema::new(vec![
                Field::new("row", DataType::UInt32, false),
                Field::new(name.as_ref(), all.values.data_type().clone(), true),
            ]);
            let rows: ArrayRef = Arc::new(UInt32Array::from(all.rows.clone()));
            Ok(RecordBatch::try_new(
                Arc::new(schema),
                vec![rows, Arc::clone(&all.values)],
            )?)
        };
        self.columns.iter().map(batch).collect()
    }

    /// What [`Overlay::to_batches`] gave.
    pub fn from_batches(batches: &[RecordBatch]) -> Result<Self> {
        let mut columns = BTreeMap::new();
        for batch in batches {
            let ([rows, values], [_, field]) = (batch.columns(), batch.schema_ref().fields().as_ref()) else {
                return Err(not_updates());
            };
            let rows = rows.as_primitive_opt::<UInt32Type>().ok_or_else(not_updates)?;
            let layer = Layer {
                rows: rows.values().to_vec(),
                values: Arc::clone(values),
            };
            let layers = Layers {
                layers: vec![Arc::new(layer)],
                newest: 0,
            };
            columns.insert(Arc::from(field.name().as_str()), layers);
        }
        let newest = columns
            .get(TIMESTAMP_COLUMN)
            .and_then(|layers| layers.layers.first()?.values.as_primitive_opt::<UInt64Type>())
            .and_then(|timestamps: &UInt64Array| timestamps.values().iter().max().copied())
            .unwrap_or(0);
        for layers in columns.values_mut() {
            layers.newest = newest;
        }
        Ok(Self { columns })
    }
}

impl Layers {
    fn width(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| variable_bytes(&layer.values))
            .sum()
    }

    fn put(&mut self, rows: Vec<u32>, values: ArrayRef, newest: u64) -> Result<()> {
        let mut layer = Layer { rows, values };
        while let Some(below) = self.layers.last()
            && below.rows.len() <= 2 * layer.rows.len()
        {
            layer = below.under(&layer)?;
            self.layers.pop();
        }
        self.layers.push(Arc::new(layer));
        self.newest = self.newest.max(newest);
        Ok(())
    }

    /// Layer and position of the newest value of a row.
    fn find(&self, row: u32) -> Option<(usize, usize)> {
        let newest_first = self.layers.iter().enumerate().rev();
        newest_first
            .filter_map(|(number, layer)| Some((number, layer.rows.binary_search(&row).ok()?)))
            .next()
    }

    fn whole(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let mut sources: Vec<(usize, usize)> = (0..column.len()).map(|row| (0, row)).collect();
        for (layer, number) in self.layers.iter().zip(1..) {
            for (position, row) in layer.rows.iter().enumerate() {
                if let Some(source) = sources.get_mut(*row as usize) {
                    *source = (number, position);
                }
            }
        }
        self.gather(column, &sources)
    }

    fn taken(&self, taken: &ArrayRef, rows: &[u32]) -> Result<ArrayRef> {
        let source = |(position, row): (usize, &u32)| match self.find(*row) {
            Some((layer, position)) => (layer + 1, position),
            None => (0, position),
        };
        let sources: Vec<_> = rows.iter().enumerate().map(source).collect();
        if sources.iter().all(|(layer, _)| *layer == 0) {
            return Ok(Arc::clone(taken));
        }
        self.gather(taken, &sources)
    }

    /// Values by source: 0 is `base`, 1 the oldest layer.
    fn gather(&self, base: &ArrayRef, sources: &[(usize, usize)]) -> Result<ArrayRef> {
        let mut arrays = vec![base.as_ref()];
        arrays.extend(self.layers.iter().map(|layer| layer.values.as_ref()));
        Ok(interleave(&arrays, sources)?)
    }

    /// All layers as one.
    fn flat(&self) -> Result<Arc<Layer>> {
        let mut newest_first = self.layers.iter().rev();
        let mut flat = newest_first.next().map(Arc::clone).ok_or_else(not_updates)?;
        for below in newest_first {
            flat = Arc::new(below.under(&flat)?);
        }
        Ok(flat)
    }
}

impl Layer {
    /// This layer with a newer one over it.
    fn under(&self, newer: &Self) -> Result<Self> {
        let mut rows = Vec::with_capacity(self.rows.len() + newer.rows.len());
        let mut sources = Vec::with_capacity(rows.capacity());
        let (mut old, mut new) = (0, 0);
        loop {
            match (self.rows.get(old), newer.rows.get(new)) {
                (None, None) => break,
                (Some(row), next) if next.is_none_or(|next| row < next) => {
                    rows.push(*row);
                    sources.push((0, old));
                    old += 1;
                }
                (below, Some(row)) => {
                    rows.push(*row);
                    sources.push((1, new));
                    new += 1;
                    old += usize::from(below == Some(row));
                }
                (Some(_), None) => break,
            }
        }
        let values = interleave(&[self.values.as_ref(), newer.values.as_ref()], &sources)?;
        Ok(Self { rows, values })
    }
}

fn not_updates() -> Error {
    Error::InvalidSchema("updated values are not batches of row numbers and values".into())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    /// One update: its rows and the value that all of them get.
    type Update = Vec<u32>;

    fn overlay_of(updates: &[Update]) -> Overlay {
        let mut overlay = Overlay::default();
        for (number, rows) in updates.iter().enumerate() {
            let number = number as u64 + 1;
            let text = if number.is_multiple_of(5) {
                None
            } else {
                Some(format!("u{number}"))
            };
            let texts: ArrayRef = Arc::new(StringArray::from(vec![text; rows.len()]));
            let stamps: ArrayRef = Arc::new(UInt64Array::from(vec![number; rows.len()]));
            let values = [("text", texts), (TIMESTAMP_COLUMN, stamps)];
            let update = values.map(|(column, values)| NewValues {
                column: column.into(),
                rows: rows.clone(),
                values,
            });
            overlay.put(update.into(), number).unwrap();
        }
        overlay
    }

    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        let texts = array.as_string::<i32>();
        texts.iter().map(|text| text.map(str::to_string)).collect()
    }

    fn updates() -> impl Strategy<Value = Vec<Update>> {
        let rows = prop::collection::btree_set(0u32..40, 0..12);
        prop::collection::vec(rows.prop_map(|rows| rows.into_iter().collect()), 0..30)
    }

    proptest! {
        #[test]
        fn readers_see_the_newest_value_of_each_row(updates in updates(), wanted in prop::collection::vec(0u32..40, 0..20), split in any::<prop::sample::Index>()) {
            let base: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|row| format!("b{row}"))));
            let mut model = texts(&base);
            for (number, rows) in updates.iter().enumerate() {
                for row in rows {
                    let number = number + 1;
                    model[*row as usize] = if number.is_multiple_of(5) { None } else { Some(format!("u{number}")) };
                }
            }
            let overlay = overlay_of(&updates);
            prop_assert_eq!(texts(&overlay.whole("text", &base).unwrap()), model.clone());
            let taken = take(&base, &UInt32Array::from(wanted.clone()), None).unwrap();
            let expected: Vec<_> = wanted.iter().map(|row| model[*row as usize].clone()).collect();
            prop_assert_eq!(texts(&overlay.taken("text", &taken, &wanted).unwrap()), expected);

            let stored = Overlay::from_batches(&overlay.to_batches().unwrap()).unwrap();
            prop_assert_eq!(texts(&stored.whole("text", &base).unwrap()), model.clone());
            prop_assert_eq!(stored.newest(), overlay.newest());

            // What a merge of blocks carries over: rows that were updated after the block was frozen.
            let frozen = overlay_of(&updates[..split.index(updates.len() + 1)]);
            let place = |row: u32| (!row.is_multiple_of(3)).then_some(row * 2);
            let mut carried = Overlay::default();
            carried.put(overlay.since(&frozen, place).unwrap(), overlay.newest()).unwrap();
            let folded = frozen.whole("text", &base).unwrap();
            let mut doubled = vec![None; 80];
            for (row, text) in texts(&folded).into_iter().enumerate() {
                doubled[row * 2] = text;
            }
            let doubled: ArrayRef = Arc::new(StringArray::from(doubled));
            let now = texts(&carried.whole("text", &doubled).unwrap());
            for row in (0..40).filter(|row| row % 3 != 0) {
                prop_assert_eq!(&now[row * 2], &model[row]);
            }
        }
    }

    #[test]
    fn single_updates_keep_few_layers() {
        let updates: Vec<Update> = (0..1_000).map(|row| vec![row * 7 % 1_000]).collect();
        let overlay = overlay_of(&updates);
        for layers in overlay.columns.values() {
            assert!(layers.layers.len() <= 11, "{} layers", layers.layers.len());
        }
        assert_eq!(overlay.timestamp(7), Some(2));
    }
}

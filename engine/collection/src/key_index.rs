//! Finding rows by primary key inside one block of rows.
//!
//! The key column itself plus a permutation that sorts it (none when it is sorted already, the
//! usual case): four bytes a row, built on first use.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use elanus_storage::Keys;

use crate::error::{Error, Result};

/// Sorted access to a key column.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    column: KeyColumn,
    /// Row numbers in key order; `None` when row order is key order.
    order: Option<Vec<u32>>,
}

#[derive(Debug)]
enum KeyColumn {
    Int64(Int64Array),
    VarChar(StringArray),
}

impl KeyIndex {
    /// An index over a key column without nulls.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when the column is neither Int64 nor Utf8.
    pub fn new(column: &ArrayRef) -> Result<Self> {
        let rows = u32::try_from(column.len())
            .map_err(|_| Error::LimitExceeded(format!("a block of {} rows is too large", column.len())))?;
        if let Some(keys) = column.as_primitive_opt::<Int64Type>() {
            let values = keys.values();
            let order = (!values.is_sorted()).then(|| {
                let mut order: Vec<u32> = (0..rows).collect();
                order.sort_by_key(|row| values[*row as usize]);
                order
            });
            return Ok(Self {
                column: KeyColumn::Int64(keys.clone()),
                order,
            });
        }
        if let Some(keys) = column.as_string_opt::<i32>() {
            let sorted = (1..keys.len()).all(|row| keys.value(row - 1) <= keys.value(row));
            let order = (!sorted).then(|| {
                let mut order: Vec<u32> = (0..rows).collect();
                order.sort_by(|a, b| keys.value(*a as usize).cmp(keys.value(*b as usize)));
                order
            });
            return Ok(Self {
                column: KeyColumn::VarChar(keys.clone()),
                order,
            });
        }
        Err(Error::InvalidSchema(format!(
            "a primary key cannot be of type {}",
            column.data_type()
        )))
    }

    /// Rows with any of these keys, in no particular order. Keys of another type match nothing.
    pub fn find(&self, keys: &Keys) -> Vec<u32> {
        let mut rows = Vec::new();
        self.find_each(keys, |_, row| rows.push(row));
        rows
    }

    /// Calls `found` with the position of each key and each row that has it.
    pub fn find_each(&self, keys: &Keys, mut found: impl FnMut(usize, u32)) {
        match (&self.column, keys) {
            (KeyColumn::Int64(column), Keys::Int64(keys)) => {
                let values = column.values();
                for (position, key) in keys.iter().enumerate() {
                    self.visit(
                        values.len(),
                        |row| values[row].cmp(key),
                        |row| found(position, row),
                    );
                }
            }
            (KeyColumn::VarChar(column), Keys::VarChar(keys)) => {
                for (position, key) in keys.iter().enumerate() {
                    let compare = |row| column.value(row).cmp(key.as_str());
                    self.visit(column.len(), compare, |row| found(position, row));
                }
            }
            (KeyColumn::Int64(_), Keys::VarChar(_)) | (KeyColumn::VarChar(_), Keys::Int64(_)) => {}
        }
    }

    fn visit(&self, len: usize, compare: impl Fn(usize) -> Ordering, mut found: impl FnMut(u32)) {
        let row_at = |position: usize| {
            self.order
                .as_ref()
                .map_or(position, |order| order[position] as usize)
        };
        let mut low = 0;
        let mut high = len;
        while low < high {
            let middle = usize::midpoint(low, high);
            if compare(row_at(middle)) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < len && compare(row_at(low)) == Ordering::Equal {
            found(u32::try_from(row_at(low)).unwrap_or(u32::MAX));
            low += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_of_a_key_is_found(keys in prop::collection::vec(-20i64..20, 0..60), ask in prop::collection::vec(-25i64..25, 0..5)) {
            let mut ask = ask;
            ask.sort_unstable();
            ask.dedup();
            let expected: Vec<u32> =
                (0..keys.len()).filter(|row| ask.contains(&keys[*row])).map(|row| row as u32).collect();
            let numbers: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
            let mut found = KeyIndex::new(&numbers).unwrap().find(&Keys::Int64(ask.clone()));
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(|k| format!("k{k}"))));
            let ask = ask.iter().map(|k| format!("k{k}")).collect();
            let mut found = KeyIndex::new(&texts).unwrap().find(&Keys::VarChar(ask));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}

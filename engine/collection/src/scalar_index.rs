//! Scalar indexes of segments: what one is built from, and asking one.
//!
//! An index is of the values that a segment was written with; of rows with newer values ([`crate::overlay`]) it says
//! nothing, which [`Unit::ask`] takes care of.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use elanus_index::scalar::{GramLengths, ScalarColumn, ScalarIndex, Values, Verdict};
use elanus_index::{Bitset, BuildOptions};

use crate::error::{Error, Result};
use crate::json_values::{Found, JsonCast};
use crate::unit::Unit;

/// What a definition of a scalar index asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScalarBuild {
    /// Whether parts of texts are indexed, and which.
    pub grams: Option<GramLengths>,
    /// Where in JSON the values are, if they are in JSON.
    pub json: Option<JsonCast>,
}

/// What is indexed: a column, or a place in a JSON column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTarget {
    /// Name of the column.
    pub field: String,
    /// The place in JSON.
    pub json: Option<JsonPlace>,
}

/// A place in a JSON column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPlace {
    /// JSON pointer; empty is the whole value.
    pub pointer: String,
    /// Whether the elements of an array there are meant, and not the value itself.
    pub elements: bool,
}

impl From<&JsonCast> for JsonPlace {
    fn from(cast: &JsonCast) -> Self {
        Self {
            pointer: cast.pointer.clone(),
            elements: cast.elements(),
        }
    }
}

/// A scalar index of a unit.
#[derive(Debug, Clone)]
pub(crate) struct ScalarField {
    /// Name of the index.
    pub name: Arc<str>,
    /// Stored name of the field.
    pub field: String,
    /// The place in JSON.
    pub json: Option<JsonPlace>,
    pub index: Arc<ScalarIndex>,
}

/// Builds the index of a column.
///
/// # Errors
/// [`Error::IndexBuild`] for a column of a type that has none, and what the build says.
pub(crate) fn build(
    build: &ScalarBuild,
    column: &ArrayRef,
    options: &BuildOptions<'_>,
) -> Result<ScalarIndex> {
    let failed = |error: elanus_index::BuildError| Error::IndexBuild(error.to_string());
    if let (Some(cast), Some(texts)) = (&build.json, column.as_string_opt::<i32>()) {
        let found = Found::of(texts, cast);
        return ScalarIndex::build(found.column(), build.grams, options).map_err(failed);
    }
    let rows = column.len();
    let nulls = Bitset::from_fn(rows, |row| column.is_null(row));
    let values = match column.as_list_opt::<i32>() {
        None => values(column, &|row| row as u32),
        Some(lists) => {
            let mut row_of = vec![u32::MAX; lists.values().len()];
            for (row, bounds) in lists.value_offsets().windows(2).enumerate() {
                if let [start, end] = bounds
                    && lists.is_valid(row)
                    && let Some(elements) = row_of.get_mut(*start as usize..*end as usize)
                {
                    elements.fill(row as u32);
                }
            }
            values(lists.values(), &|element| {
                row_of.get(element).copied().unwrap_or(u32::MAX)
            })
        }
    };
    let values = values
        .ok_or_else(|| Error::IndexBuild(format!("a column of type {} has no index", column.data_type())))?;
    let column = ScalarColumn {
        rows,
        values,
        nulls,
        others: Bitset::new(rows),
    };
    ScalarIndex::build(column, build.grams, options).map_err(failed)
}

/// The values of an array that are not NULL, each with its row; `u32::MAX` is none.
fn values<'a>(array: &'a ArrayRef, row_of: &dyn Fn(usize) -> u32) -> Option<Values<'a>> {
    macro_rules! of {
        ($array:expr, $convert:expr) => {{
            let array = $array;
            let there = (0..array.len()).filter(|place| array.is_valid(*place));
            let rows = there.map(|place| ($convert(array.value(place)), row_of(place)));
            rows.filter(|(_, row)| *row != u32::MAX).collect()
        }};
    }
    let data_type = array.data_type();
    if let Some(array) = array.as_string_opt::<i32>() {
        return Some(Values::Texts(of!(array, |value| value)));
    }
    if let Some(array) = array.as_boolean_opt() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        return Some(Values::Ints(of!(array, |value| value)));
    }
    if let Some(array) = array.as_primitive_opt::<Int32Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int16Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int8Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Some(Values::Floats(of!(array, |value| value)));
    }
    if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        return Some(Values::Floats(of!(array, f64::from)));
    }
    if matches!(data_type, ArrowType::Timestamp(TimeUnit::Microsecond, _)) {
        let array = array.as_primitive_opt::<TimestampMicrosecondType>()?;
        return Some(Values::Ints(of!(array, |value| value)));
    }
    None
}

impl Unit {
    /// Whether there is a scalar index on this here.
    pub fn has_scalar_index(&self, target: &IndexTarget) -> bool {
        self.scalar_field(target).is_some()
    }

    /// What the scalar index on `target` says of each row, and the name of the index. `None` when there is no index, or
    /// `question` gets no answer from it. Nothing is known of rows whose value was updated.
    pub fn ask(
        &self,
        target: &IndexTarget,
        question: impl FnOnce(&ScalarIndex) -> Option<Verdict>,
    ) -> Option<(Verdict, Arc<str>)> {
        let scalar = self.scalar_field(target)?;
        let mut verdict = question(&scalar.index)?;
        for row in self.over().overlay.rows_of(&scalar.field) {
            verdict.doubt(row as usize);
        }
        Some((verdict, Arc::clone(&scalar.name)))
    }
}
